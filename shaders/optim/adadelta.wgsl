// Adadelta (Zeiler 2012), as PyTorch computes it.
//
//   s = rho s + (1 - rho) g²
//   d = √(u + eps) / √(s + eps) · g
//   u = rho u + (1 - rho) d²
//   p -= lr d
//
// States: 0 square_avg, 1 acc_delta. Bytes an element, f32: 28.

#permute STATE_0 STATE_1
#import shared/elementwise

struct AdadeltaConstants {
    rho: f32,
    one_minus_rho: f32,
    eps: f32,
    seed: vec2<u32>,
}

@group(0) @binding(0) var<uniform> constants: AdadeltaConstants;

fn update(c: AdadeltaConstants, k: Scalars, p: ptr<function, vec4<f32>>, g: vec4<f32>, s: ptr<function, vec4<f32>>, u: ptr<function, vec4<f32>>, s2: ptr<function, vec4<f32>>) {
    *s = c.rho * *s + c.one_minus_rho * g * g;
    let d = sqrt(*u + vec4(c.eps)) / sqrt(*s + vec4(c.eps)) * g;
    *u = c.rho * *u + c.one_minus_rho * d * d;
    *p -= k.step_size * d;
}
