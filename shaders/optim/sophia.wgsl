// Sophia (Liu et al. 2024, arXiv:2305.14342, algorithm 3).
//
//   m = beta1 m + (1 - beta1) g;  p -= lr clamp(m / max(rho h, eps), -1, 1)
//
// Decoupled decay comes before. h is hessian, the average of estimates that the program makes every few steps. Bytes an element,
// f32: 24.
fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, exp_avg: ptr<function, vec4<f32>>, hessian: vec4<f32>) {
    *exp_avg = k.beta1 * *exp_avg + k.one_minus_beta1 * g;
    let scaled = k.rho * hessian;
    let quotient = *exp_avg / select(scaled, vec4(k.eps), scaled < vec4(k.eps));
    // a NaN is neither above nor below
    *p -= k.lr * select(select(quotient, vec4(1.0), quotient > vec4(1.0)), vec4(-1.0), quotient < vec4(-1.0));
}
