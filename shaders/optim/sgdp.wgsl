// SGDP (Heo et al. 2021, arXiv:2006.08217), as the authors' code computes it, in three dispatches:
// this kernel with SUMS, optim/projection.wgsl, and this kernel with APPLY.
//
//   SUMS   b = momentum b + (1 - dampening) g;  d = g + momentum b with Nesterov, else b
//          ⟨p,p⟩, ⟨g,g⟩, ⟨p,g⟩, ⟨p,d⟩ by row
//   APPLY  d -= c_row p;  p = p (1 - lr wd ratio / (1 - momentum)) - lr d
//          without Nesterov b = d: the authors' code projects the momentum in place
//
// States: 0 momentum. Bytes an element, f32: 16 + 16.

#permute SUMS | SUMS NESTEROV | APPLY PROJECTION NO_GRAD | APPLY PROJECTION NO_GRAD WHOLE_ROWS | APPLY PROJECTION NO_GRAD SHORT_ROWS | APPLY PROJECTION READ_STATES NESTEROV | APPLY PROJECTION READ_STATES NESTEROV WHOLE_ROWS | APPLY PROJECTION READ_STATES NESTEROV SHORT_ROWS
#permute STATE_0

#import shared/access
#import shared/runs
#ifdef SUMS
#import shared/rows
#else
#import shared/elementwise
#endif

struct SgdPConstants {
    momentum: f32,
    seed: vec2<u32>,
}

alias Constants = SgdPConstants;
@group(0) @binding(0) var<uniform> constants: Constants;

fn direction(c: SgdPConstants, g: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
#ifdef NESTEROV
    return g + c.momentum * b;
#else
    return b;
#endif
}

#ifdef SUMS
fn moments(c: SgdPConstants, k: Scalars, p: vec4<f32>, g: vec4<f32>, b: ptr<function, vec4<f32>>, s1: ptr<function, vec4<f32>>) -> vec4<f32> {
    *b = c.momentum * *b + k.blend * g;
    return direction(c, g, *b);
}
#else
fn update(c: SgdPConstants, k: Scalars, coefficient: vec4<f32>, p: ptr<function, vec4<f32>>, g: vec4<f32>, b: ptr<function, vec4<f32>>, s1: ptr<function, vec4<f32>>, s2: ptr<function, vec4<f32>>) {
    let d = direction(c, g, *b) - coefficient * *p;
#ifndef NESTEROV
    *b = d;
#endif
    *p = decayed(*p, k.decay, k.dither) - k.step_size * d;
}
#endif
