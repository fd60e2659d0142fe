// Adagrad (Duchi, Hazan & Singer 2011), as PyTorch computes it.
//
//   s += g²
//   p -= lr / (1 + (t - 1) lr_decay) · g / (√s + eps)
//
// States: 0 sum, which starts at initial_accumulator_value. Bytes an element, f32: 20.

#permute STATE_0
#import shared/elementwise

struct AdagradConstants {
    eps: f32,
    seed: vec2<u32>,
}

@group(0) @binding(0) var<uniform> constants: AdagradConstants;

fn update(c: AdagradConstants, k: Scalars, p: ptr<function, vec4<f32>>, g: vec4<f32>, s: ptr<function, vec4<f32>>, s1: ptr<function, vec4<f32>>, s2: ptr<function, vec4<f32>>) {
    *s += g * g;
    *p -= k.step_size * g / (sqrt(*s) + vec4(c.eps));
}
