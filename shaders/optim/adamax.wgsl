// Adamax (Kingma & Ba 2015, algorithm 2), as PyTorch computes it.
//
//   m = beta1 m + (1 - beta1) g;  u = max(beta2 u, |g| + eps), where a NaN stays;  p -= lr / bc1 · m / u
//
// u is exp_inf. Bytes an element, f32: 28.
#ifdef PREPARE
fn prepare(g: Group, k: ptr<function, Step>) {
    (*k).step_size = (*k).lr / correction(g.exact_beta1, (*k).step);
}
#else
#import shared/maximum

fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, exp_avg: ptr<function, vec4<f32>>, exp_inf: ptr<function, vec4<f32>>) {
    *exp_avg = k.beta1 * *exp_avg + k.one_minus_beta1 * g;
    *exp_inf = maximum(k.beta2 * *exp_inf, abs(g) + vec4(k.eps));
    *p -= k.step_size * *exp_avg / *exp_inf;
}
#endif
