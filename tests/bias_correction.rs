//! scratch
mod common;
use common::{gpu, read, step};
use gradus::Tensor;
use gradus::gpu::Checks;
use gradus::optim::{Adam, Optimizer, Param};
#[test]
fn t() {
    let gpu = gpu(Checks::Unchecked);
    for betas in [[0.9, 0.999], [0.0, 0.999], [0.9, 0.0]] {
        let p = Tensor::from_slice(&gpu, &[1], &[1.0f32]).unwrap();
        let g = Tensor::from_slice(&gpu, &[1], &[1.0f32]).unwrap();
        let o = Optimizer::new(&gpu, &Adam { betas, ..Default::default() }, &[Param::new("a", &p, &g)]).unwrap();
        for i in 0..500 {
            step(&gpu, &o);
            if i % 50 == 0 {
                println!("{betas:?} {i} {:?}", read(&gpu, &p));
            }
        }
    }
}
