// Adan (Xie et al. 2022, arXiv:2208.06677), as the authors' code computes it.
//
//   d = g - g_previous, 0 on the first step
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) d;  n = beta3 n + (1 - beta3) (g + beta2 d)²
//   u = lr (m / bc1 + beta2 v / bc2) / (√n / √bc3 + eps)
//   p = (p - u) / (1 + lr wd), or with NO_PROX p = (1 - lr wd) p - u
//
// The states are m, v, n and -g. Bytes an element, f32: 44.
#ifdef PREPARE
fn prepare(g: Group, k: ptr<function, Step>) {
    let t = (*k).step;
    (*k).step_of_m = (*k).lr / correction(g.exact_beta1, t);
    (*k).step_of_v = (*k).lr * (*k).beta2 / correction(g.exact_beta2, t);
    (*k).root_scale = 1.0 / sqrt(correction(g.exact_beta3, t));
    (*k).first = select(0.0, 1.0, t == 1u);
    (*k).shrink = (*k).decay / (1.0 + (*k).decay);
}
#else
fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, exp_avg: ptr<function, vec4<f32>>, exp_avg_diff: ptr<function, vec4<f32>>, exp_avg_sq: ptr<function, vec4<f32>>, neg_pre_grad: ptr<function, vec4<f32>>) {
    let d = select(g + *neg_pre_grad, vec4(0.0), vec4(k.first != 0.0));
    *neg_pre_grad = -g;
    let ahead = g + k.beta2 * d;
    *exp_avg = k.beta1 * *exp_avg + k.one_minus_beta1 * g;
    *exp_avg_diff = k.beta2 * *exp_avg_diff + k.one_minus_beta2 * d;
    *exp_avg_sq = k.beta3 * *exp_avg_sq + k.one_minus_beta3 * ahead * ahead;
    let u = (k.step_of_m * *exp_avg + k.step_of_v * *exp_avg_diff) / (sqrt(*exp_avg_sq) * k.root_scale + vec4(k.eps));
#ifdef NO_PROX
    *p = decayed(*p, k.decay, k.dither) - u;
#else
    *p = decayed(*p - u, k.shrink, k.dither);
#endif
}
#endif
