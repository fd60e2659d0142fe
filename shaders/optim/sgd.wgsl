// Stochastic gradient descent with momentum, dampening and Nesterov's look-ahead (Sutskever et al.
// 2013), as PyTorch computes it.
//
//   b = momentum b + (1 - dampening) g, and b = g on the first step
//   d = g + momentum b with Nesterov, else b, or g without momentum
//   p -= lr d
//
// States: 0 momentum_buffer, with momentum only. Bytes an element, f32: 12, with momentum 20.

#permute - | STATE_0 | STATE_0 NESTEROV
#import shared/elementwise

struct SgdConstants {
    momentum: f32,
    seed: vec2<u32>,
}

@group(0) @binding(0) var<uniform> constants: SgdConstants;

fn update(c: SgdConstants, k: Scalars, p: ptr<function, vec4<f32>>, g: vec4<f32>, b: ptr<function, vec4<f32>>, s1: ptr<function, vec4<f32>>, s2: ptr<function, vec4<f32>>) {
#ifdef STATE_0
    *b = c.momentum * *b + k.blend * g;
#ifdef NESTEROV
    let d = g + c.momentum * *b;
#else
    let d = *b;
#endif
#else
    let d = g;
#endif
    *p -= k.step_size * d;
}
