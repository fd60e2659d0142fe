// Averaged stochastic gradient descent (Polyak & Juditsky 1992), as PyTorch computes it.
//
//   eta = lr / (1 + lambd lr (t - 1))^alpha;  p *= 1 - lambd eta;  p -= eta g
//   a += (p - a) / max(1, t - 1 - t0), and a = p up to step t0 + 2
//
// a is ax. Coupled decay is of the parameter before it shrinks. Bytes an element, f32: 20.
#ifdef PREPARE
#import shared/elementary

fn prepare(g: Group, k: ptr<function, Step>) {
    let before = f32((*k).step - 1u);
    (*k).eta = (*k).lr * exponential(-(*k).alpha * log1p((*k).lambd * (*k).lr * before));
    (*k).mu = 1.0 / max(1.0, before - (*k).t0);
    (*k).shrink = (*k).lambd * (*k).eta;
}
#else
fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, ax: ptr<function, vec4<f32>>) {
    *p = decayed(*p, k.shrink, k.dither) - k.eta * g;
    *ax = select(*ax + k.mu * (*p - *ax), *p, vec4(k.mu == 1.0));
}
#endif
