// Adam, AdamW (Kingma & Ba 2015; Loshchilov & Hutter 2019) and AMSGrad (Reddi et al. 2018), as PyTorch computes them.
//
//   m = beta1 m + (1 - beta1) g
//   v = beta2 v + (1 - beta2) g²
//   AMSGrad: vmax = max(vmax, v), and vmax takes v's place below; a NaN in v stays in vmax
//   p -= (lr / bc1) m / (√v / √bc2 + eps)
//
// Decay, coupled (Adam) or decoupled (AdamW), and the gradient's scale come before. Bytes an element, f32: 28, AMSGrad 36.
#ifdef PREPARE
#import shared/adam_step
#else
#import shared/moments
#import shared/maximum

#ifdef AMSGRAD
fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, exp_avg: ptr<function, vec4<f32>>, exp_avg_sq: ptr<function, vec4<f32>>, max_exp_avg_sq: ptr<function, vec4<f32>>) {
    update_moments(k, g, exp_avg, exp_avg_sq);
    *max_exp_avg_sq = maximum(*max_exp_avg_sq, *exp_avg_sq);
    let root = sqrt(*max_exp_avg_sq);
#else
fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, exp_avg: ptr<function, vec4<f32>>, exp_avg_sq: ptr<function, vec4<f32>>) {
    update_moments(k, g, exp_avg, exp_avg_sq);
    let root = sqrt(*exp_avg_sq);
#endif
    *p -= k.step_size * *exp_avg / (root * k.root_scale + vec4(k.eps));
}
#endif
