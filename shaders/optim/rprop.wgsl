// Rprop (Riedmiller & Braun 1993), as PyTorch computes it.
//
//   s *= etas[1] where g and q have the same sign, etas[0] and g = 0 where they have opposite ones
//   s = clamp(s, step_sizes);  p -= sign(g) s;  q = g
//
// q is prev, s is step_size, which starts at the learning rate. A NaN in g stays in s. Bytes an element, f32: 28.
#import shared/signum

fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, prev: ptr<function, vec4<f32>>, step_size: ptr<function, vec4<f32>>) {
    let sign = signum(g) * signum(*prev);
    let turned = sign < vec4(0.0);
    let factor = select(select(vec4(1.0), vec4(k.etaplus), sign > vec4(0.0)), vec4(k.etaminus), turned);
    let bounded = clamp(*step_size * factor, vec4(k.least), vec4(k.greatest));
    // what a NaN is multiplied with, clamp() may drop
    let known = bitcast<vec4<u32>>(abs(sign)) <= vec4(0x3f800000u);
    *step_size = select(sign, bounded, known);
    *prev = select(g, vec4(0.0), turned);
    *p -= signum(*prev) * *step_size;
}
