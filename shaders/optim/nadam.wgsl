// NAdam (Dozat 2016), as PyTorch computes it.
//
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g²
//   mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2);  mu_product = mu_1 mu_2 ... mu_t
//   p -= lr ((1 - mu_t) / (1 - mu_product) g + mu_(t+1) / (1 - mu_product mu_(t+1)) m) / (√v / √bc2 + eps)
//
// Bytes an element, f32: 28.
#ifdef PREPARE
#import shared/elementary

// log_decay = momentum_decay log 0.96
fn mu_at(k: Step, t: f32) -> f32 {
    return k.beta1 * (1.0 - 0.5 * exponential(t * k.log_decay));
}

fn prepare(g: Group, k: ptr<function, Step>) {
    let t = f32((*k).step);
    let mu = mu_at(*k, t);
    let next = mu_at(*k, t + 1.0);
    let product = (*k).mu_product * mu;
    (*k).mu_product = product;
    (*k).step_of_g = (*k).lr * (1.0 - mu) / (1.0 - product);
    (*k).step_of_m = (*k).lr * next / (1.0 - product * next);
    (*k).root_scale = 1.0 / sqrt(correction(g.exact_beta2, (*k).step));
}
#else
#import shared/moments

fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, exp_avg: ptr<function, vec4<f32>>, exp_avg_sq: ptr<function, vec4<f32>>) {
    update_moments(k, g, exp_avg, exp_avg_sq);
    *p -= (k.step_of_g * g + k.step_of_m * *exp_avg) / (sqrt(*exp_avg_sq) * k.root_scale + vec4(k.eps));
}
#endif
