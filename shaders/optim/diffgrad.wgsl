// diffGrad (Dubey et al. 2020, arXiv:1909.11015), the corrected release 2 of the authors' code.
//
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g²
//   xi = 1 / (1 + exp(-|g_prev - g|));  g_prev = g
//   p -= lr √bc2 / bc1 · m xi / (√v + eps)
//
// g includes the coupled decay; g_prev starts at zero; m is stored without xi.
// States: 0 exp_avg, 1 exp_avg_sq, 2 previous_grad. Bytes an element, f32: 36.

#permute STATE_0 STATE_1 STATE_2
#import shared/elementwise
#import shared/moments

fn update(c: Constants, k: Scalars, p: ptr<function, vec4<f32>>, g: vec4<f32>, m: ptr<function, vec4<f32>>, v: ptr<function, vec4<f32>>, previous: ptr<function, vec4<f32>>) {
    update_moments(c, g, m, v);
    let friction = vec4(1.0) + exp(-abs(*previous - g));
    *previous = g;
    *p -= k.step_size * *m / (friction * (sqrt(*v) + vec4(c.eps)));
}
