// AdaHessian (Yao et al. 2021, arXiv:2006.00719, algorithm 1), as the authors' code computes it.
//
//   m = beta1 m + (1 - beta1) g;  h = beta2 h + (1 - beta2) d²
//   p = p (1 - lr wd) - (lr / bc1) m / ((√h / √bc2)^hessian_power + eps)
//
// d is hessian_diag, the program's. With POWER hessian_power is not 1. Bytes an element, f32: 32.
#ifdef PREPARE
#import shared/adam_step
#else
#ifdef POWER
#import shared/raised
#endif

fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, exp_avg: ptr<function, vec4<f32>>, exp_hessian_diag_sq: ptr<function, vec4<f32>>, hessian_diag: vec4<f32>) {
    *exp_avg = k.beta1 * *exp_avg + k.one_minus_beta1 * g;
    *exp_hessian_diag_sq = k.beta2 * *exp_hessian_diag_sq + k.one_minus_beta2 * hessian_diag * hessian_diag;
    var root = sqrt(*exp_hessian_diag_sq) * k.root_scale;
#ifdef POWER
    let y = k.hessian_power;
    root = vec4(raised(root.x, y), raised(root.y, y), raised(root.z, y), raised(root.w, y));
#endif
    *p -= k.step_size * *exp_avg / (root + vec4(k.eps));
}
#endif
