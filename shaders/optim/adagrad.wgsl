// Adagrad (Duchi, Hazan & Singer 2011), as PyTorch computes it.
//
//   s += g²
//   p -= lr / (1 + (t - 1) lr_decay) · g / (√s + eps)
//
// s is sum, which starts at initial_accumulator_value. Bytes an element, f32: 20.
#ifdef PREPARE
fn prepare(g: Group, k: ptr<function, Step>) {
    (*k).step_size = (*k).lr / (1.0 + f32(max((*k).step, 1u) - 1u) * (*k).lr_decay);
}
#else
fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, sum: ptr<function, vec4<f32>>) {
    *sum += g * g;
    *p -= k.step_size * g / (sqrt(*sum) + vec4(k.eps));
}
#endif
