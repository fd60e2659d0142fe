//! What multigrid cycles are tested for, whatever they are made of.

use gradus::krylov::LinearOperator;
use gradus::{DType, Gpu, Recording, Tensor};

use crate::common::{bits, f32s, read};
use crate::scenes::Scene;
use crate::systems::upload;

pub fn apply(gpu: &Gpu, cycle: &dyn LinearOperator, r: &[f32]) -> Vec<f64> {
    let (r, z) = (upload(gpu, r), f32s(gpu, &[r.len()]));
    z.write(gpu, &vec![f32::NAN; r.len()]).unwrap();
    let mut recording = Recording::new();
    cycle.record(&mut recording, &r, &z).unwrap();
    gpu.submit([&recording]);
    read(gpu, &z)
}

/// That it does not matter where vectors are in the caller's buffers, nor what is in cells that are not fluid. Returns
/// ⟨r, z⟩ for each of the places.
pub fn applied_anywhere(gpu: &Gpu, cycle: &dyn LinearOperator, scene: &Scene, r: &[f32]) -> Vec<f64> {
    let n = scene.flags.len();
    let expected = apply(gpu, cycle, r);
    let mut r = r.to_vec();
    r.iter_mut().zip(&scene.flags).filter(|&(_, &flag)| flag != 0).for_each(|(r, _)| *r = f32::NAN);

    let arena = Tensor::arena(gpu, &[&[n], &[n], &[1]], DType::F32).unwrap();
    let buffer = f32s(gpu, &[2 * n + 9]);
    let at = |offset: usize, n: usize| Tensor::from_buffer(buffer.buffer(), 4 * offset as u64, &[n], DType::F32).unwrap();
    let places = [
        [upload(gpu, &r), f32s(gpu, &scene.sizes), f32s(gpu, &[1])],
        [arena[0].clone(), arena[1].clone(), arena[2].clone()],
        [at(3, n), at(n + 5, n), at(2 * n + 7, 1)],
    ];
    let mut dots = Vec::new();
    for [from, to, dot] in &places {
        from.write(gpu, &r).unwrap();
        to.write(gpu, &vec![f32::NAN; n]).unwrap();
        let mut recording = Recording::new();
        cycle.record_dot(&mut recording, from, to, dot).unwrap();
        gpu.submit([&recording]);
        assert_eq!(read(gpu, to), expected);
        dots.push(read(gpu, dot)[0]);
    }
    let outside: Vec<f64> = (0..3).chain(n + 3..n + 5).map(|i| read(gpu, &buffer)[i]).collect();
    assert!(outside.iter().all(|&v| v == 0.0), "{outside:?}");
    dots
}

/// That a recording says the same however often it is submitted.
pub fn submitted_again(gpu: &Gpu, cycle: &dyn LinearOperator, r: &[f32]) {
    let n = r.len();
    let (r, z, w) = (upload(gpu, r), f32s(gpu, &[n]), f32s(gpu, &[n]));
    let mut recording = Recording::new();
    cycle.record(&mut recording, &r, &z).unwrap();
    cycle.record(&mut recording, &z, &w).unwrap();
    gpu.submit([&recording]);
    let first = [bits(gpu, &z), bits(gpu, &w)];
    gpu.submit([&recording, &recording]);
    assert_eq!([bits(gpu, &z), bits(gpu, &w)], first);
}
