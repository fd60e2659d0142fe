// RMSProp (Hinton 2012; centered: Graves 2013), as PyTorch computes it.
//
//   s = alpha s + (1 - alpha) g²
//   centered: a += (1 - alpha) (g - a), and v = s - a², else v = s
//   d = g / (√v + eps)
//   with momentum: b = momentum b + d, and b takes d's place
//   p -= lr d
//
// v is taken as 0 where rounding makes it negative; a NaN in s or a stays. States: 0 square_avg, then momentum_buffer with
// momentum, then grad_avg if centered. Bytes an element, f32: 20, and 8 more for each of the two.

#permute STATE_0 | STATE_0 STATE_1 MOMENTUM | STATE_0 STATE_1 CENTERED | STATE_0 STATE_1 STATE_2 MOMENTUM CENTERED
#import shared/elementwise
#import shared/maximum

struct RmsPropConstants {
    alpha: f32,
    one_minus_alpha: f32,
    eps: f32,
    momentum: f32,
    seed: vec2<u32>,
}

@group(0) @binding(0) var<uniform> constants: RmsPropConstants;

fn centered(c: RmsPropConstants, s: vec4<f32>, g: vec4<f32>, a: ptr<function, vec4<f32>>) -> vec4<f32> {
    *a += c.one_minus_alpha * (g - *a);
    return not_negative(s - *a * *a);
}

fn update(c: RmsPropConstants, k: Scalars, p: ptr<function, vec4<f32>>, g: vec4<f32>, s: ptr<function, vec4<f32>>, s1: ptr<function, vec4<f32>>, s2: ptr<function, vec4<f32>>) {
    *s = c.alpha * *s + c.one_minus_alpha * g * g;
    var v = *s;
#ifdef CENTERED
#ifdef MOMENTUM
    v = centered(c, v, g, s2);
#else
    v = centered(c, v, g, s1);
#endif
#endif
    var d = g / (sqrt(v) + vec4(c.eps));
#ifdef MOMENTUM
    *s1 = c.momentum * *s1 + d;
    d = *s1;
#endif
    *p -= k.step_size * d;
}
