// AdamP (Heo et al. 2021, arXiv:2006.08217), as the authors' code computes it, in three dispatches:
// this kernel with SUMS, optim/projection.wgsl, and this kernel with APPLY.
//
//   SUMS   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g²
//          u = m / (√v / √bc2 + eps), with Nesterov (beta1 m + (1 - beta1) g) in m's place
//          ⟨p,p⟩, ⟨g,g⟩, ⟨p,g⟩, ⟨p,u⟩ by row
//   APPLY  p = p (1 - lr wd ratio) - (lr / bc1) (u - c_row p), u recomputed
//
// States: 0 exp_avg, 1 exp_avg_sq. Bytes an element, f32: 24 + 16, with Nesterov 24 + 20.

#permute SUMS | SUMS NESTEROV | APPLY PROJECTION READ_STATES NO_GRAD | APPLY PROJECTION READ_STATES NO_GRAD WHOLE_ROWS | APPLY PROJECTION READ_STATES NO_GRAD SHORT_ROWS | APPLY PROJECTION READ_STATES NESTEROV | APPLY PROJECTION READ_STATES NESTEROV WHOLE_ROWS | APPLY PROJECTION READ_STATES NESTEROV SHORT_ROWS
#permute STATE_0 STATE_1

#import shared/access
#import shared/moments
#import shared/runs
#ifdef SUMS
#import shared/rows
#else
#import shared/elementwise
#endif

fn direction(c: Constants, k: Scalars, g: vec4<f32>, m: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
#ifdef NESTEROV
    let numerator = c.beta1 * m + c.one_minus_beta1 * g;
#else
    let numerator = m;
#endif
    return numerator / (sqrt(v) * k.root_scale + vec4(c.eps));
}

#ifdef SUMS
fn moments(c: Constants, k: Scalars, p: vec4<f32>, g: vec4<f32>, m: ptr<function, vec4<f32>>, v: ptr<function, vec4<f32>>) -> vec4<f32> {
    update_moments(c, g, m, v);
    return direction(c, k, g, *m, *v);
}
#else
fn update(c: Constants, k: Scalars, coefficient: vec4<f32>, p: ptr<function, vec4<f32>>, g: vec4<f32>, m: ptr<function, vec4<f32>>, v: ptr<function, vec4<f32>>, s2: ptr<function, vec4<f32>>) {
    *p = decayed(*p, k.decay, k.dither) - k.step_size * (direction(c, k, g, *m, *v) - coefficient * *p);
}
#endif
