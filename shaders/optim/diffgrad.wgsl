// diffGrad (Dubey et al. 2020, arXiv:1909.11015), the corrected release 2 of the authors' code.
//
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g²
//   xi = 1 / (1 + exp(-|g_prev - g|));  g_prev = g
//   p -= lr √bc2 / bc1 · m xi / (√v + eps)
//
// g includes the coupled decay; g_prev starts at zero; m is stored without xi. Bytes an element, f32: 36.
#ifdef PREPARE
fn prepare(g: Group, k: ptr<function, Step>) {
    (*k).step_size = (*k).lr * sqrt(correction(g.exact_beta2, (*k).step)) / correction(g.exact_beta1, (*k).step);
}
#else
#import shared/moments

fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, exp_avg: ptr<function, vec4<f32>>, exp_avg_sq: ptr<function, vec4<f32>>, previous_grad: ptr<function, vec4<f32>>) {
    update_moments(k, g, exp_avg, exp_avg_sq);
    let friction = vec4(1.0) + exp(-abs(*previous_grad - g));
    *previous_grad = g;
    *p -= k.step_size * *exp_avg / (friction * (sqrt(*exp_avg_sq) + vec4(k.eps)));
}
#endif
