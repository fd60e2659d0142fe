// Lion (Chen et al. 2023, arXiv:2302.06675, algorithm 2), as the authors' code computes it.
//
//   u = sign(beta1 m + (1 - beta1) g);  p -= lr u;  m = beta2 m + (1 - beta2) g
//
// Decoupled decay comes before. Bytes an element, f32: 20.
#import shared/signum

fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, exp_avg: ptr<function, vec4<f32>>) {
    *p -= k.lr * signum(k.beta1 * *exp_avg + k.one_minus_beta1 * g);
    *exp_avg = k.beta2 * *exp_avg + k.one_minus_beta2 * g;
}
