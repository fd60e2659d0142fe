// The two moments of Adam and its kin (Kingma & Ba 2015), not bias-corrected:
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g²
fn update_moments(k: Step, g: vec4<f32>, m: ptr<function, vec4<f32>>, v: ptr<function, vec4<f32>>) {
    *m = k.beta1 * *m + k.one_minus_beta1 * g;
    *v = k.beta2 * *v + k.one_minus_beta2 * g * g;
}
