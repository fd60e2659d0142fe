//! Traces, diagonals and checks of operators against explicit matrices in f64, and against the same
//! estimators in f64 with the same random vectors.

#![cfg(feature = "curvature")]

mod common;
#[path = "common/matrices.rs"]
mod matrices;

use common::{gpu, noise};
use gradus::Error;
use gradus::curvature::{self, DensityOptions, DiagonalOptions, Estimate, HutchPlusPlusOptions, TraceOptions};
use gradus::gpu::Checks;
use gradus::reference::{curvature as reference, vector as f64s};
use matrices::{Matrix, Operator, SIZES, close, estimate_is, gpus, signs};
use pollster::block_on;

// ---------------------------------------------------------------------------------- trace

/// The same random vectors, so the same samples but for rounding; the same bits in a second run.
#[test]
fn traces_are_those_of_the_reference() {
    for gpu in gpus() {
        for n in SIZES.into_iter().chain([30_001]) {
            let matrix = Matrix::random(n, if n > 1000 { 2 } else { n });
            let operator = Operator::new(&gpu, &matrix);
            let options = TraceOptions { samples: 5, seed: (7 << 32) + n as u64 };
            let found = block_on(curvature::trace(&operator, &options)).unwrap();
            let samples = reference::hutchinson(|x| matrix.product(x), &signs(options.seed, 0..5, n));
            estimate_is(found, &samples, 2e-6 * (n as f64).sqrt() * matrix.norm(), &format!("n = {n}"));
            assert_eq!(found, block_on(curvature::trace(&operator, &options)).unwrap());
        }
    }
}

/// Over seeds, errors of the size of the standard errors; over numbers of samples, standard errors that
/// theory gives.
#[test]
fn standard_errors_are_honest() {
    let gpu = gpu(Checks::Unchecked);
    let matrix = Matrix::random(64, 64);
    let operator = Operator::new(&gpu, &matrix);
    let run = |samples, seed| block_on(curvature::trace(&operator, &TraceOptions { samples, seed })).unwrap();
    let seeds = 40;
    let mut squares = 0.0;
    for seed in 0..seeds {
        let Estimate { value, standard_error, .. } = run(50, seed);
        let z = (value - matrix.trace()) / standard_error;
        assert!(z.abs() < 3.0, "seed {seed}: {z} standard errors");
        squares += z * z;
    }
    let spread = (squares / seeds as f64).sqrt();
    assert!((0.75..1.25).contains(&spread), "errors of {spread} standard errors");
    let deviation = (2.0 * matrix.off_diagonal().iter().sum::<f64>()).sqrt();
    for samples in [100, 400, 1600] {
        let expected = deviation / (samples as f64).sqrt();
        let tolerance = 3.0 * expected / (2.0 * samples as f64).sqrt();
        close(run(samples, 5).standard_error, expected, tolerance, &format!("{samples} samples"));
    }
}

/// Exact whatever the vectors, with no error.
#[test]
fn traces_of_diagonal_matrices_are_exact() {
    let gpu = gpu(Checks::Unchecked);
    let matrix = Matrix::new(101, 0, |i, _| i as f64 - 20.0);
    let found = block_on(curvature::trace(&Operator::new(&gpu, &matrix), &TraceOptions { samples: 2, seed: 1 })).unwrap();
    assert_eq!(found, Estimate { value: matrix.trace(), standard_error: 0.0, samples: 2 });
}

#[test]
fn block_traces_are_those_of_the_reference() {
    for gpu in gpus() {
        let n = 101;
        let matrix = Matrix::random(n, n);
        let operator = Operator::new(&gpu, &matrix);
        let options = TraceOptions { samples: 6, seed: 3 };
        // the first three cut up the matrix
        let blocks = [0..37, 37..38, 38..101, 20..60, 0..101, 5..5, 101..101];
        let found = block_on(curvature::block_traces(&operator, &blocks, &options)).unwrap();
        assert_eq!(found.len(), blocks.len());
        for (block, found) in blocks.iter().zip(&found) {
            let samples: Vec<f64> =
                signs(3, 0..6, n).iter().map(|x| f64s::dot(&x[block.clone()], &matrix.product(x)[block.clone()])).collect();
            estimate_is(*found, &samples, 2e-5 * matrix.norm(), &format!("{block:?}"));
        }
        let whole = block_on(curvature::trace(&operator, &options)).unwrap();
        close(found[..3].iter().map(|f| f.value).sum(), whole.value, 1e-5 * matrix.norm(), "the sum of the blocks");
        assert_eq!(block_on(curvature::block_traces(&operator, &[], &options)).unwrap(), []);
    }
}

// ---------------------------------------------------------------------------------- Hutch++

#[test]
fn hutch_plus_plus_is_that_of_the_reference() {
    for gpu in gpus() {
        for (n, rank, samples) in [(1, 1, 2), (2, 4, 3), (7, 3, 3), (64, 10, 5), (101, 7, 6), (30_001, 4, 4)] {
            let matrix = Matrix::random(n, if n > 1000 { 2 } else { n });
            let operator = Operator::new(&gpu, &matrix);
            let options = HutchPlusPlusOptions { rank, samples, seed: 11 };
            let found = block_on(curvature::hutch_plus_plus(&operator, &options)).unwrap();
            let streams = rank.min(n) as u32..(rank.min(n) + samples) as u32;
            let probes = signs(11, streams.clone(), n);
            let expected = reference::hutch_plus_plus(|x| matrix.product(x), &signs(11, 0..streams.start, n), &probes);
            let tolerance = 2e-6 * (n as f64).sqrt() * matrix.norm();
            close(found.value, expected[0], tolerance, &format!("n = {n}"));
            close(found.standard_error, expected[1], tolerance, &format!("the error of n = {n}"));
            assert_eq!(found.samples, samples);
            assert_eq!(found, block_on(curvature::hutch_plus_plus(&operator, &options)).unwrap());
        }
    }
}

/// All of the trace is computed where the sketch has the matrix's whole range: of low rank, of small size, or nothing.
#[test]
fn hutch_plus_plus_is_exact_for_low_ranks() {
    let gpu = gpu(Checks::Unchecked);
    let mut low = vec![0.0; 64];
    low[..5].copy_from_slice(&[10.0, -7.0, 3.0, 3.0, 1.0]);
    let full: Vec<f64> = (0..12).map(|i| f64::from(i) - 3.0).collect();
    for (eigenvalues, rank) in [(low, 8), (full, 20), (vec![1.0; 33], 33), (vec![0.0; 9], 3), (vec![-2.0], 1)] {
        let matrix = Matrix::with_eigenvalues(&eigenvalues);
        let options = HutchPlusPlusOptions { rank, samples: 3, seed: 5 };
        let found = block_on(curvature::hutch_plus_plus(&Operator::new(&gpu, &matrix), &options)).unwrap();
        let what = format!("{} rows, rank {rank}", matrix.n);
        close(found.value, matrix.trace(), 3e-6 * matrix.norm(), &what);
        close(found.standard_error, 0.0, 1e-6 * matrix.norm(), &what);
    }
}

/// With as many products, where eigenvalues decay.
#[test]
fn hutch_plus_plus_is_better_where_eigenvalues_decay() {
    let gpu = gpu(Checks::Unchecked);
    let matrix = Matrix::with_eigenvalues(&(0..100).map(|i| 0.6f64.powi(i)).collect::<Vec<f64>>());
    let operator = Operator::new(&gpu, &matrix);
    let (mut simple, mut better, mut z) = (0.0, 0.0, 0.0);
    for seed in 0..20 {
        let options = TraceOptions { samples: 30, seed };
        simple += (block_on(curvature::trace(&operator, &options)).unwrap().value - matrix.trace()).powi(2);
        let options = HutchPlusPlusOptions { rank: 10, samples: 10, seed };
        let found = block_on(curvature::hutch_plus_plus(&operator, &options)).unwrap();
        better += (found.value - matrix.trace()).powi(2);
        z += ((found.value - matrix.trace()) / found.standard_error).powi(2);
    }
    let ratio = (better / simple).sqrt();
    assert!(ratio < 0.06, "the ratio of the errors is {ratio}");
    let spread = (z / 20.0).sqrt();
    assert!((0.6..1.6).contains(&spread), "errors of {spread} standard errors");
}

// ---------------------------------------------------------------------------------- diagonal

fn diagonal(operator: &Operator, options: &DiagonalOptions) -> [Vec<f64>; 2] {
    let found = curvature::diagonal(operator, options).unwrap();
    assert_eq!((found.value.shape(), found.standard_error.shape()), ([operator.n].as_slice(), [operator.n].as_slice()));
    assert_eq!(found.samples, options.samples);
    [common::read(&operator.gpu, &found.value), common::read(&operator.gpu, &found.standard_error)]
}

#[test]
fn diagonals_are_those_of_the_reference() {
    for gpu in gpus() {
        for n in SIZES.into_iter().chain([30_001]) {
            let matrix = Matrix::random(n, if n > 1000 { 2 } else { n });
            let operator = Operator::new(&gpu, &matrix);
            let options = DiagonalOptions { samples: 7, seed: u64::MAX - n as u64 };
            let found = diagonal(&operator, &options);
            let expected = reference::diagonal(|x| matrix.product(x), &signs(options.seed, 0..7, n));
            let tolerance = 5e-7 * (n.min(101) as f64).sqrt();
            for (i, [value, error]) in expected.into_iter().enumerate() {
                close(found[0][i], value, tolerance, &format!("element {i} of {n}"));
                close(found[1][i], error, tolerance, &format!("the error of element {i} of {n}"));
            }
            assert_eq!(found, diagonal(&operator, &options));
        }
    }
}

#[test]
fn diagonals_converge() {
    let gpu = gpu(Checks::Unchecked);
    let matrix = Matrix::random(101, 101);
    let [found, errors] = diagonal(&Operator::new(&gpu, &matrix), &DiagonalOptions { samples: 1000, seed: 2 });
    let mut squares = 0.0;
    for (i, (a, variance)) in matrix.diagonal().into_iter().zip(matrix.off_diagonal()).enumerate() {
        let expected = (variance / 1000.0).sqrt();
        close(errors[i], expected, 0.12 * expected, &format!("the error of element {i}"));
        let z = (found[i] - a) / errors[i];
        // the greatest of a hundred
        assert!(z.abs() < 4.0, "element {i}: {z} standard errors");
        squares += z * z / 101.0;
    }
    assert!((0.8..1.2).contains(&squares.sqrt()), "errors of {} standard errors", squares.sqrt());
}

/// To the last bit, with errors of exactly 0.
#[test]
fn diagonals_of_diagonal_matrices_are_exact() {
    for gpu in gpus() {
        for n in [1, 5, 1026] {
            let matrix = Matrix::new(n, 0, |i, _| f64::from(noise(i as u64, 1)[0]));
            let [value, error] = diagonal(&Operator::new(&gpu, &matrix), &DiagonalOptions { samples: 9, seed: 4 });
            assert_eq!(value, matrix.diagonal());
            assert_eq!(error, vec![0.0; n]);
        }
    }
}

// ---------------------------------------------------------------------------------- check

#[test]
fn checks_tell_symmetric_operators_from_others() {
    let gpu = gpu(Checks::Unchecked);
    for n in SIZES {
        let symmetric = Matrix::random(n, n);
        let found = block_on(curvature::check(&Operator::new(&gpu, &symmetric), 1)).unwrap();
        assert!(found.deterministic && found.asymmetry < 2e-6, "n = {n}: {found:?}");
        // a part of what is above the diagonal is added once more
        let share = 1e-3;
        let skewed = Matrix::new(n, n, |i, j| symmetric.at(i, j) * if i < j { 1.0 + share } else { 1.0 });
        let mut asymmetry: f64 = 0.0;
        for seed in 0..8 {
            let found = block_on(curvature::check(&Operator::new(&gpu, &skewed), seed)).unwrap();
            assert!(found.deterministic);
            asymmetry = asymmetry.max(found.asymmetry);
        }
        let expected = share * (symmetric.off_diagonal().iter().sum::<f64>() / symmetric.norm().powi(2)).sqrt();
        assert!(n == 1 || (0.3 * expected..5.0 * expected).contains(&asymmetry), "n = {n}: {asymmetry}, not about {expected}");
    }
    let zero = block_on(curvature::check(&Operator::new(&gpu, &Matrix::new(5, 0, |_, _| 0.0)), 1)).unwrap();
    assert_eq!((zero.deterministic, zero.asymmetry), (true, 0.0));
}

#[test]
fn checks_find_operators_that_do_not_overwrite() {
    let gpu = gpu(Checks::Unchecked);
    let operator = Operator::with(&gpu, &Matrix::random(7, 7), true);
    assert!(!block_on(curvature::check(&operator, 1)).unwrap().deterministic);
}

// ---------------------------------------------------------------------------------- errors

#[test]
fn options_are_checked() {
    let gpu = gpu(Checks::Unchecked);
    let operator = Operator::new(&gpu, &Matrix::random(5, 5));
    let option = |error: Error| match error {
        Error::Option { option, .. } => option,
        other => panic!("{other}"),
    };
    for samples in [0, 1, (1 << 24) + 1] {
        let options = TraceOptions { samples, seed: 0 };
        assert_eq!(option(block_on(curvature::trace(&operator, &options)).unwrap_err()), "samples");
        assert_eq!(option(block_on(curvature::block_traces(&operator, std::slice::from_ref(&(0..5)), &options)).unwrap_err()), "samples");
        assert_eq!(option(curvature::diagonal(&operator, &DiagonalOptions { samples, seed: 0 }).unwrap_err()), "samples");
    }
    #[expect(clippy::reversed_empty_ranges, reason = "the error that is to be found")]
    for block in [4..3, 0..6, 6..6] {
        let error = block_on(curvature::block_traces(&operator, &[0..1, block], &TraceOptions::default())).unwrap_err();
        assert_eq!(option(error), "blocks[1]");
    }
    for rank in [0, (1 << 24) + 1] {
        let options = HutchPlusPlusOptions { rank, ..Default::default() };
        assert_eq!(option(block_on(curvature::hutch_plus_plus(&operator, &options)).unwrap_err()), "rank");
    }
    let mut nothing = Operator::new(&gpu, &Matrix::random(1, 1));
    nothing.n = 0;
    assert!(matches!(block_on(curvature::trace(&nothing, &TraceOptions::default())), Err(Error::Length { .. })));
    assert!(matches!(curvature::diagonal(&nothing, &DiagonalOptions::default()), Err(Error::Length { .. })));
    assert!(matches!(block_on(curvature::hutch_plus_plus(&nothing, &HutchPlusPlusOptions::default())), Err(Error::Length { .. })));
    assert!(matches!(block_on(curvature::spectral_density(&nothing, &DensityOptions::default())), Err(Error::Length { .. })));
    assert!(matches!(block_on(curvature::check(&nothing, 0)), Err(Error::Length { .. })));
}

/// What is not a number is not hidden.
#[test]
fn products_that_are_not_finite_show() {
    let gpu = gpu(Checks::Unchecked);
    let mut matrix = Matrix::random(7, 7);
    matrix.rows[3][2].1 = f64::NAN;
    let operator = Operator::new(&gpu, &matrix);
    assert!(block_on(curvature::trace(&operator, &TraceOptions::default())).unwrap().value.is_nan());
    let blocks = block_on(curvature::block_traces(&operator, &[0..3, 3..4], &TraceOptions::default())).unwrap();
    assert!(blocks[0].value.is_finite() && blocks[1].value.is_nan());
    assert!(block_on(curvature::hutch_plus_plus(&operator, &HutchPlusPlusOptions::default())).unwrap().value.is_nan());
    let [value, error] = diagonal(&operator, &DiagonalOptions::default());
    assert!((0..7).all(|i| value[i].is_nan() == (i == 3) && error[i].is_nan() == (i == 3)));
    let density = block_on(curvature::spectral_density(&operator, &DensityOptions::default()));
    assert!(matches!(density, Err(Error::NonFinite { .. })));
    assert!(block_on(curvature::check(&operator, 1)).unwrap().asymmetry.is_nan());
}
