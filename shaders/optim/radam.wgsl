// RAdam (Liu et al. 2020, arXiv:1908.03265), as PyTorch computes it.
//
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g²
//   rho = rho_inf - 2 t beta2^t / bc2,  rho_inf = 2 / (1 - beta2) - 1
//   rho > 5:  p -= lr / bc1 · m r √bc2 / (√v + eps),  r² = (rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho)
//   else:     p -= lr / bc1 · m
//
// The difference in rho cancels; it is taken of numbers of 64 bits. Bytes an element, f32: 28.
#ifdef PREPARE
fn prepare(g: Group, k: ptr<function, Step>) {
    let t = (*k).step;
    (*k).step_size = (*k).lr / correction(g.exact_beta1, t);
    let bc2 = correction(g.exact_beta2, t);
    // rho bc2 = rho_inf - beta2^t (rho_inf + 2 t), in units of 2^-32; beta2^t is 0 long before 2 t has more than 32 bits
    let sum = vec2(g.scaled_rho_inf.x, g.scaled_rho_inf.y + 2u * min(t, 0x3fffffffu));
    let product = multiply_high(power_of(g.exact_beta2, t), sum);
    let difference = vec2(g.scaled_rho_inf.x - product.x, g.scaled_rho_inf.y - product.y - select(0u, 1u, g.scaled_rho_inf.x < product.x));
    let rho = (f32(difference.y) + f32(difference.x) * 2.3283064365386963e-10) / bc2;
    let square = (rho - 4.0) * (rho - 2.0) / rho * (*k).rectification;
    (*k).adapts = select(0.0, 1.0, rho > 5.0);
    (*k).rectified_root = sqrt(max(square, 0.0)) * sqrt(bc2);
}
#else
#import shared/moments

fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, exp_avg: ptr<function, vec4<f32>>, exp_avg_sq: ptr<function, vec4<f32>>) {
    update_moments(k, g, exp_avg, exp_avg_sq);
    let adaptive = k.rectified_root / (sqrt(*exp_avg_sq) + vec4(k.eps));
    *p -= k.step_size * *exp_avg * select(vec4(1.0), adaptive, k.adapts != 0.0);
}
#endif
