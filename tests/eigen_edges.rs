//! Eigenvalues where they are multiple, and operators of any scale.

#![cfg(feature = "krylov")]

mod common;

use common::{gpu, gpu_for, noise, read};
use gradus::gpu::{Checks, Target};
use gradus::krylov::{
    Csr, Diagonal, EigenOptions, Eigenpairs, LanczosEnd, LanczosOptions, LinearOperator, PowerOptions, Which, eigenpairs, lanczos,
    power_iteration,
};
use gradus::{Error, Gpu, Tensor};
use pollster::block_on;

fn gpus() -> [Gpu; 3] {
    [gpu(Checks::Checked), gpu_for(Target::software()), gpu_for(Target::discrete())]
}

fn diagonal(gpu: &Gpu, d: &[f32]) -> Diagonal {
    Diagonal::new(gpu, &Tensor::from_slice(gpu, &[d.len()], d).unwrap()).unwrap()
}

fn pairs(operator: &dyn LinearOperator, k: usize, which: Which) -> Eigenpairs {
    block_on(eigenpairs(operator, k, which, &EigenOptions::default())).unwrap()
}

/// Five points on `side`² cells with zeros around, times `scale`.
fn laplacian(gpu: &Gpu, side: usize, scale: f32) -> Csr {
    let (mut offsets, mut columns, mut values) = (vec![0u32], Vec::new(), Vec::new());
    for i in 0..side * side {
        let (x, y) = (i % side, i / side);
        let mut put = |present: bool, column: usize, value: f32| {
            if present {
                columns.push(column as u32);
                values.push(value * scale);
            }
        };
        put(y > 0, i.wrapping_sub(side), -1.0);
        put(x > 0, i.wrapping_sub(1), -1.0);
        put(true, i, 4.0);
        put(x + 1 < side, i + 1, -1.0);
        put(y + 1 < side, i + side, -1.0);
        offsets.push(columns.len() as u32);
    }
    Csr::new(gpu, &offsets, &columns, &values).unwrap()
}

/// Its eigenvalues, in ascending order.
fn spectrum(side: usize) -> Vec<f64> {
    let line = |i: usize| 2.0 - 2.0 * (std::f64::consts::PI * (i + 1) as f64 / (side + 1) as f64).cos();
    let mut all: Vec<f64> = (0..side * side).map(|i| line(i % side) + line(i / side)).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// The values, their residuals, and that the vectors are orthonormal.
fn check(gpu: &Gpu, found: &Eigenpairs, expected: &[f64], norm: f64, what: &str) {
    assert!(found.converged, "{what}: {found:?}");
    for (value, expected) in found.values.iter().zip(expected) {
        assert!((value - expected).abs() <= 1e-5 * norm, "{what}: {:?}, and {expected:?} was expected", found.values);
    }
    assert_eq!(found.values.len(), expected.len());
    let vectors = read(gpu, &found.vectors);
    let n = vectors.len() / expected.len();
    for (i, a) in vectors.chunks(n).enumerate() {
        for (j, b) in vectors.chunks(n).enumerate() {
            let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            assert!((dot - f64::from(u8::from(i == j))).abs() < 2e-5, "{what}: {dot} of {i} and {j}");
        }
    }
}

#[test]
fn double_eigenvalues_of_a_square() {
    for gpu in gpus() {
        let (side, all) = (32, spectrum(32));
        let operator = laplacian(&gpu, side, 1.0);
        let expected: Vec<f64> = all.iter().rev().take(3).copied().collect();
        assert!((expected[2] - 7.95480).abs() < 5e-6 && expected[1] == expected[2], "{expected:?}");
        check(&gpu, &pairs(&operator, 3, Which::Largest), &expected, 8.0, "largest");
    }
    let gpu = gpu(Checks::Unchecked);
    let operator = laplacian(&gpu, 20, 1.0);
    check(&gpu, &pairs(&operator, 6, Which::Smallest), &spectrum(20)[..6], 8.0, "smallest");
}

/// The values, their multiplicities, both ends.
#[test]
fn eigenvalues_many_times_over() {
    let gpu = gpu(Checks::Unchecked);
    let n = 300;
    // 2 at the end of a dense spectrum, five times, and -2 twice
    let mut d = noise(3, n);
    [5, 17, 130, 131, 299].into_iter().for_each(|i| d[i] = 2.0);
    [40, 41].into_iter().for_each(|i| d[i] = -2.0);
    let mut sorted: Vec<f64> = d.iter().copied().map(f64::from).collect();
    sorted.sort_by(f64::total_cmp);
    let operator = diagonal(&gpu, &d);
    for k in [1, 2, 5, 7] {
        let expected: Vec<f64> = sorted.iter().rev().take(k).copied().collect();
        check(&gpu, &pairs(&operator, k, Which::Largest), &expected, 2.0, "largest");
        check(&gpu, &pairs(&operator, k.min(4), Which::Smallest), &sorted[..k.min(4)], 2.0, "smallest");
    }
    // too few vectors to look for copies: the pairs are there, and nobody says that they are all
    let options = EigenOptions { max_steps: 3, ..Default::default() };
    let mut two = vec![1.0f32; n];
    (two[0], two[1], two[2]) = (3.0, 3.0, 2.0);
    let found = block_on(eigenpairs(&diagonal(&gpu, &two), 3, Which::Largest, &options)).unwrap();
    assert!(!found.converged, "{found:?}");
}

#[test]
fn operators_of_any_scale() {
    let gpu = gpu(Checks::Unchecked);
    let all = spectrum(12);
    let largest: Vec<f64> = all.iter().rev().take(4).copied().collect();
    for scale in [1e-30f32, 1e-20, 1e-15, 1e15, 1e20, 1e30] {
        let (operator, c) = (laplacian(&gpu, 12, scale), f64::from(scale));
        let found = pairs(&operator, 4, Which::Largest);
        let relative = Eigenpairs { values: found.values.iter().map(|value| value / c).collect(), ..found.clone() };
        check(&gpu, &relative, &largest, 8.0, &format!("{scale}"));
        // residuals are of the scale of rounding: not lost
        assert!(found.residuals.iter().all(|residual| (1e-9 * c..8e-5 * c).contains(residual)), "{found:?}");

        let run = block_on(lanczos(&operator, None, &LanczosOptions { steps: 60, seed: 0 })).unwrap();
        assert!((run.ritz().values[0] / c - largest[0]).abs() < 1e-4, "{scale}: {:?}", run.ritz().values);
        let options = PowerOptions { tolerance: 3e-3, ..Default::default() };
        let power = block_on(power_iteration(&operator, None, &options)).unwrap();
        assert!(power.converged && (power.value / c - largest[0]).abs() < 0.1, "{scale}: {power:?}");
        assert!(power.residual > 0.0 && power.residual <= 3e-3 * power.value);
        // a start of any scale
        let start = Tensor::from_slice(&gpu, &[144], &noise(1, 144).iter().map(|x| x * scale).collect::<Vec<f32>>()).unwrap();
        let run = block_on(lanczos(&operator, Some(&start), &LanczosOptions { steps: 3, seed: 0 })).unwrap();
        assert_eq!((run.steps(), run.end), (3, LanczosEnd::Steps));
        assert!(block_on(power_iteration(&operator, Some(&start), &options)).unwrap().converged);
    }
}

#[test]
fn the_smallest_operators() {
    let gpu = gpu(Checks::Unchecked);
    for scale in [1e-20f32, 1.0, 1e20] {
        let c = f64::from(scale);
        for (d, k, which, expected) in [
            (vec![3.0], 1, Which::Largest, vec![3.0]),
            (vec![3.0, -4.0], 2, Which::Smallest, vec![-4.0, 3.0]),
            (vec![3.0, 3.0], 2, Which::Largest, vec![3.0, 3.0]),
            (vec![3.0; 40], 5, Which::Smallest, vec![3.0; 5]),
            (vec![0.0; 40], 2, Which::Largest, vec![0.0; 2]),
            (vec![0.0], 1, Which::Largest, vec![0.0]),
        ] {
            let scaled: Vec<f32> = d.iter().map(|d: &f32| d * scale).collect();
            let found = pairs(&diagonal(&gpu, &scaled), k, which);
            let relative = Eigenpairs { values: found.values.iter().map(|value| value / c).collect(), ..found };
            check(&gpu, &relative, &expected, 4.0, &format!("{scale} {d:?}"));
        }
    }
    let broken = diagonal(&gpu, &[1.0, f32::NAN, 2.0]);
    assert!(matches!(block_on(eigenpairs(&broken, 1, Which::Largest, &Default::default())), Err(Error::NonFinite { .. })));
    assert!(matches!(block_on(power_iteration(&broken, None, &Default::default())), Err(Error::NonFinite { .. })));
    assert_eq!(block_on(lanczos(&broken, None, &Default::default())).unwrap().end, LanczosEnd::NonFinite);
    // products that f32 do not hold
    let large = diagonal(&gpu, &[3e38, -3e38, 3e38, 3e38]);
    let found = block_on(eigenpairs(&large, 1, Which::Largest, &Default::default()));
    assert!(found.as_ref().map_or(true, |found| !found.converged || (found.values[0] / 3e38 - 1.0).abs() < 1e-5), "{found:?}");
}
