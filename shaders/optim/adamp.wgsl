// AdamP (Heo et al. 2021, arXiv:2006.08217), as the authors' code computes it, in three dispatches: the template optim/rows with
// `advance`, optim/projection.wgsl, and the template optim/elements with `update`.
//
//   advance  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g²
//            u = m / (√v / √bc2 + eps), with Nesterov (beta1 m + (1 - beta1) g) in m's place
//            ⟨p,p⟩, ⟨g,g⟩, ⟨p,g⟩, ⟨p,u⟩ by row
//   update   p = p (1 - lr wd ratio) - (lr / bc1) (u - c_row p), u recomputed
//
// Bytes an element, f32: 24 + 16, with Nesterov 24 + 20.
#ifdef PREPARE
#import shared/adam_step
#else
#import shared/moments

fn direction(k: Step, g: vec4<f32>, m: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
#ifdef NESTEROV
    let numerator = k.beta1 * m + k.one_minus_beta1 * g;
#else
    let numerator = m;
#endif
    return numerator / (sqrt(v) * k.root_scale + vec4(k.eps));
}

fn advance(k: Step, p: vec4<f32>, g: vec4<f32>, exp_avg: ptr<function, vec4<f32>>, exp_avg_sq: ptr<function, vec4<f32>>) -> vec4<f32> {
    update_moments(k, g, exp_avg, exp_avg_sq);
    return direction(k, g, *exp_avg, *exp_avg_sq);
}

fn update(k: Step, coefficient: vec4<f32>, p: ptr<function, vec4<f32>>, g: vec4<f32>, exp_avg: ptr<function, vec4<f32>>, exp_avg_sq: ptr<function, vec4<f32>>) {
    *p = decayed(*p, k.decay, k.dither) - k.step_size * (direction(k, g, *exp_avg, *exp_avg_sq) - coefficient * *p);
}
#endif
