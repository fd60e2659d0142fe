//! Reductions at the edges of f32, against f64.

mod common;

use common::{f32s, gpu, gpu_for, noise, read};
use gradus::gpu::{Checks, Target};
use gradus::{DType, Gpu, Recording, Tensor, vector};

fn gpus() -> [Gpu; 3] {
    [gpu_for(Target::discrete()), gpu_for(Target::software()), gpu(Checks::Checked)]
}

/// ⟨x, x⟩ and ‖x‖
fn measured(gpu: &Gpu, x: &Tensor) -> [f64; 2] {
    let out = [f32s(gpu, &[1]), f32s(gpu, &[1])];
    let mut recording = Recording::new();
    vector::dot(gpu, &mut recording, x, x, &out[0]).unwrap();
    vector::norm(gpu, &mut recording, x, &out[1]).unwrap();
    gpu.submit([&recording]);
    out.map(|out| read(gpu, &out)[0])
}

#[test]
fn norms_of_any_magnitude() {
    for gpu in gpus() {
        for dtype in [DType::F32, DType::Bf16] {
            for n in [1, 3, 6, 9000, 40_001] {
                for magnitude in [1e-34f32, 1e-30, 1e-25, 1e-16, 8.9e-16, 1.0, 3.5e13, 1e19, 1e25, 1e30, 1e36] {
                    // alone, and with elements of all magnitudes below
                    for spread in [0.0, 30.0] {
                        let shrink = noise(2, n).into_iter().map(|u| 10f32.powf(-spread * u.abs()));
                        let values: Vec<f32> = noise(1, n).iter().zip(shrink).map(|(x, s)| x * s * magnitude).collect();
                        let x = Tensor::zeros(&gpu, &[n], dtype).unwrap();
                        common::write(&gpu, &x, &values);
                        let expected = read(&gpu, &x).iter().map(|x| x * x).sum::<f64>().sqrt();
                        if expected < 1e-36 {
                            continue;
                        }
                        let [_, found] = measured(&gpu, &x);
                        assert!((found / expected - 1.0).abs() < 3e-6, "{dtype} [{n}] {magnitude} {spread}: {found} for {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn special_elements() {
    let (infinity, nan) = (f32::INFINITY, f32::NAN);
    // x, ⟨x, x⟩ and ‖x‖
    let table: [(&[f32], f64, f64); 9] = [
        (&[], 0.0, 0.0),
        (&[0.0, -0.0], 0.0, 0.0),
        (&[3e30, -4e30], f64::INFINITY, 5e30),
        (&[3e-30, -4e-30], 0.0, 5e-30),
        (&[f32::MAX; 2], f64::INFINITY, f64::INFINITY),
        (&[1e30, infinity], f64::INFINITY, f64::INFINITY),
        (&[1.0, nan, 1e-30], f64::NAN, f64::NAN),
        (&[infinity, -nan], f64::NAN, f64::NAN),
        (&[f32::MAX], f64::INFINITY, f32::MAX as f64),
    ];
    for gpu in gpus() {
        for (values, dot, norm) in table {
            // at the end of a long tensor too
            for zeros in [0, 8192] {
                let mut all = vec![0.0; zeros];
                all.extend_from_slice(values);
                let found = measured(&gpu, &Tensor::from_slice(&gpu, &[all.len()], &all).unwrap());
                for (found, expected) in found.into_iter().zip([dot, norm]) {
                    let near = (found - expected).abs() <= 4e-7 * expected.abs();
                    let same = found == expected || (found.is_nan() && expected.is_nan());
                    assert!(near || same, "{values:?} after {zeros}: {found} for {expected}");
                }
            }
        }
    }
}
