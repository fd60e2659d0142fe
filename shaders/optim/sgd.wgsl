// Stochastic gradient descent with momentum, dampening and Nesterov's look-ahead (Sutskever et al. 2013), as PyTorch computes it.
//
//   b = momentum b + (1 - dampening) g, and b = g on the first step
//   d = g + momentum b with Nesterov, else b, or g without momentum
//   p -= lr d
//
// Bytes an element, f32: 12, with momentum 20.
#ifdef PREPARE
#ifdef MOMENTUM
fn prepare(g: Group, k: ptr<function, Step>) {
    (*k).blend = select((*k).one_minus_dampening, 1.0, (*k).step == 1u);
}
#endif
#else
#ifdef MOMENTUM
fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, momentum_buffer: ptr<function, vec4<f32>>) {
    *momentum_buffer = k.momentum * *momentum_buffer + k.blend * g;
#ifdef NESTEROV
    *p -= k.lr * (g + k.momentum * *momentum_buffer);
#else
    *p -= k.lr * *momentum_buffer;
#endif
}
#else
fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>) {
    *p -= k.lr * g;
}
#endif
#endif
