// Schedule-free SGD (Defazio et al. 2024, arXiv:2405.15682), as the authors' code computes it. The parameter is y, where gradients
// are taken.
//
//   y += c (z - y) + rate (momentum (1 - c) - 1) g;  z -= rate g;  rate and c: shared/schedule_free.wgsl
//
// Bytes an element, f32: 20.
#ifdef PREPARE
#import shared/schedule_free

fn prepare(g: Group, k: ptr<function, Step>) {
    prepare_average(k, (*k).momentum);
}
#else
fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, z: ptr<function, vec4<f32>>) {
    *p += k.share * (*z - *p) + k.step_of_y * g;
    *z -= k.rate * g;
}
#endif
