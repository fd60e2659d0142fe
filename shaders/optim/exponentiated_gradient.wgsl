// The exponentiated gradient (Kivinen & Warmuth 1997; Cornford et al. 2024): a multiplicative step, in which weights keep their sign.
//
//   p *= exp(-lr sign(p) g)
//
// 0 stays 0. Bytes an element, f32: 12.
#import shared/elementary
#import shared/signum

fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>) {
    let x = -k.lr * signum(*p) * g;
    *p *= vec4(exponential(x.x), exponential(x.y), exponential(x.z), exponential(x.w));
}
