// Adadelta (Zeiler 2012), as PyTorch computes it.
//
//   s = rho s + (1 - rho) g²
//   d = √(u + eps) / √(s + eps) · g
//   u = rho u + (1 - rho) d²
//   p -= lr d
//
// s is square_avg, u is acc_delta. Bytes an element, f32: 28.
fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, square_avg: ptr<function, vec4<f32>>, acc_delta: ptr<function, vec4<f32>>) {
    *square_avg = k.rho * *square_avg + k.one_minus_rho * g * g;
    let d = sqrt(*acc_delta + vec4(k.eps)) / sqrt(*square_avg + vec4(k.eps)) * g;
    *acc_delta = k.rho * *acc_delta + k.one_minus_rho * d * d;
    *p -= k.lr * d;
}
