// Schedule-free AdamW (Defazio et al. 2024, arXiv:2405.15682), as the authors' code computes it. The parameter is y, where gradients
// are taken.
//
//   v = beta2 v + (1 - beta2) g²;  u = g / (√v / √bc2 + eps) + wd y
//   y += c (z - y) + rate (beta1 (1 - c) - 1) u;  z -= rate u;  rate and c: shared/schedule_free.wgsl
//
// Bytes an element, f32: 28.
#ifdef PREPARE
#import shared/schedule_free

fn prepare(g: Group, k: ptr<function, Step>) {
    prepare_average(k, (*k).beta1);
    (*k).root_scale = 1.0 / sqrt(correction(g.exact_beta2, (*k).step));
}
#else
fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, z: ptr<function, vec4<f32>>, exp_avg_sq: ptr<function, vec4<f32>>) {
    *exp_avg_sq = k.beta2 * *exp_avg_sq + k.one_minus_beta2 * g * g;
    var u = g / (sqrt(*exp_avg_sq) * k.root_scale + vec4(k.eps));
    // 0 p would be NaN for an infinite p
    if k.weight_decay != 0.0 {
        u += k.weight_decay * *p;
    }
    *p += k.share * (*z - *p) + k.step_of_y * u;
    *z -= k.rate * u;
}
#endif
