// SGDP (Heo et al. 2021, arXiv:2006.08217), as the authors' code computes it, in three dispatches: the template optim/rows with
// `advance`, optim/projection.wgsl, and the template optim/elements with `update`.
//
//   advance  b = momentum b + (1 - dampening) g;  d = g + momentum b with Nesterov, else b
//            ⟨p,p⟩, ⟨g,g⟩, ⟨p,g⟩, ⟨p,d⟩ by row
//   update   d -= c_row p;  p = p (1 - lr wd ratio / (1 - momentum)) - lr d
//            without Nesterov b = d: the authors' code projects the momentum in place
//
// Bytes an element, f32: 16 + 16.

fn direction(k: Step, g: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
#ifdef NESTEROV
    return g + k.momentum * b;
#else
    return b;
#endif
}

fn advance(k: Step, p: vec4<f32>, g: vec4<f32>, momentum: ptr<function, vec4<f32>>) -> vec4<f32> {
    *momentum = k.momentum * *momentum + k.one_minus_dampening * g;
    return direction(k, g, *momentum);
}

fn update(k: Step, coefficient: vec4<f32>, p: ptr<function, vec4<f32>>, g: vec4<f32>, momentum: ptr<function, vec4<f32>>) {
    let d = direction(k, g, *momentum) - coefficient * *p;
#ifndef NESTEROV
    *momentum = d;
#endif
    *p = decayed(*p, k.decay, k.dither) - k.lr * d;
}
