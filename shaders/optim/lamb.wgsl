// LAMB (You et al. 2020, arXiv:1904.00962), as pytorch_optimizer computes it, in three dispatches: the template optim/rows with
// `advance`, optim/projection.wgsl in its mode RATIO, and the template optim/elements with `update`.
//
//   advance  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g²;  u = m / (√v + eps);  ⟨p,p⟩, ⟨u,u⟩ of the tensor
//   update   p = p (1 - lr wd) - (lr / bc1) ratio u, u recomputed
//
// Bytes an element, f32: 24 + 16.
#ifdef PREPARE
fn prepare(g: Group, k: ptr<function, Step>) {
    (*k).step_size = (*k).lr / correction(g.exact_beta1, (*k).step);
}
#else
#import shared/moments

fn direction(k: Step, m: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
    return m / (sqrt(v) + vec4(k.eps));
}

fn advance(k: Step, p: vec4<f32>, g: vec4<f32>, exp_avg: ptr<function, vec4<f32>>, exp_avg_sq: ptr<function, vec4<f32>>) -> vec4<f32> {
    update_moments(k, g, exp_avg, exp_avg_sq);
    return direction(k, *exp_avg, *exp_avg_sq);
}

fn update(k: Step, coefficient: vec4<f32>, p: ptr<function, vec4<f32>>, g: vec4<f32>, exp_avg: ptr<function, vec4<f32>>, exp_avg_sq: ptr<function, vec4<f32>>) {
    *p = decayed(*p, k.decay, k.dither) - k.step_size * coefficient * direction(k, *exp_avg, *exp_avg_sq);
}
#endif
