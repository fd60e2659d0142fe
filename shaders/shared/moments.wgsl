// The two moments of Adam and its kin (Kingma & Ba 2015), not bias-corrected:
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g²

struct MomentsConstants {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
    seed: vec2<u32>,
}

alias Constants = MomentsConstants;
@group(0) @binding(0) var<uniform> constants: Constants;

fn update_moments(c: Constants, g: vec4<f32>, m: ptr<function, vec4<f32>>, v: ptr<function, vec4<f32>>) {
    *m = c.beta1 * *m + c.one_minus_beta1 * g;
    *v = c.beta2 * *v + c.one_minus_beta2 * g * g;
}
