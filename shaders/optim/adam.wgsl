// Adam, AdamW (Kingma & Ba 2015; Loshchilov & Hutter 2019) and AMSGrad (Reddi et al. 2018), as
// PyTorch computes them.
//
//   m = beta1 m + (1 - beta1) g
//   v = beta2 v + (1 - beta2) g²
//   AMSGrad: vmax = max(vmax, v), and vmax takes v's place below; a NaN in v stays in vmax
//   p -= (lr / bc1) m / (√v / √bc2 + eps)
//
// Decay, coupled (Adam) or decoupled (AdamW), and the gradient's scale are the traversal's.
// States: 0 exp_avg, 1 exp_avg_sq, 2 max_exp_avg_sq. Bytes an element, f32: 28, AMSGrad 36.

#permute STATE_0 STATE_1 | STATE_0 STATE_1 STATE_2
#import shared/elementwise
#import shared/maximum
#import shared/moments

fn update(c: Constants, k: Scalars, p: ptr<function, vec4<f32>>, g: vec4<f32>, m: ptr<function, vec4<f32>>, v: ptr<function, vec4<f32>>, vmax: ptr<function, vec4<f32>>) {
    update_moments(c, g, m, v);
#ifdef STATE_2
    *vmax = maximum(*vmax, *v);
    let root = sqrt(*vmax);
#else
    let root = sqrt(*v);
#endif
    *p -= k.step_size * *m / (root * k.root_scale + vec4(c.eps));
}
