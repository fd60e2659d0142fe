//! The density of spectra, and products with inverses, against explicit matrices in f64.

#![cfg(feature = "curvature")]

mod common;
#[path = "common/matrices.rs"]
mod matrices;

use common::{gpu, noise};
use gradus::curvature::{self, DensityOptions, DiagonalOptions, Inverse, SpectralDensity, TraceOptions};
use gradus::gpu::Checks;
use gradus::krylov::{self, CgOptions, Status};
use gradus::reference::{curvature as reference, vector as f64s};
use gradus::{DType, Error, Tensor};
use matrices::{Matrix, Operator, SIZES, close, estimate_is, gpus, signs};
use pollster::block_on;

/// The option that an error is about.
fn option(error: Error) -> String {
    match error {
        Error::Option { option, .. } => option,
        other => panic!("{other}"),
    }
}

// ---------------------------------------------------------------------------------- spectrum

fn density(operator: &Operator, options: &DensityOptions) -> SpectralDensity {
    block_on(curvature::spectral_density(operator, options)).unwrap()
}

/// By the trapezoidal rule.
fn integral(found: &SpectralDensity, f: impl Fn(f64) -> f64) -> f64 {
    let points: Vec<(f64, f64)> = found.grid.iter().map(|&t| f(t)).zip(found.density.iter().copied()).collect();
    let pairs = found.grid.windows(2).zip(points.windows(2));
    pairs.map(|(t, p)| 0.5 * (t[1] - t[0]) * (p[0].0 * p[0].1 + p[1].0 * p[1].1)).sum()
}

fn spectra() -> Vec<Vec<f64>> {
    let clusters = [(-1.0, 20), (2.0, 50), (2.5, 29), (10.0, 2)];
    vec![
        vec![3.0],
        vec![0.0],
        vec![-2.0; 5],
        vec![0.0; 6],
        vec![1e-3, 1e3],
        (0..101).map(|i| f64::from(i) / 10.0 - 3.0).collect(),
        clusters.iter().flat_map(|&(value, count)| vec![value; count]).collect(),
        (0..64).map(|i| 0.5f64.powi(i)).collect(),
    ]
}

#[test]
fn densities_integrate_to_one() {
    let gpu = gpu(Checks::Unchecked);
    for eigenvalues in spectra() {
        let operator = Operator::new(&gpu, &Matrix::with_eigenvalues(&eigenvalues));
        for options in [
            DensityOptions { steps: 20, probes: 2, ..Default::default() },
            DensityOptions { steps: 1, probes: 1, points: 200, ..Default::default() },
            DensityOptions { steps: 5, probes: 3, sigma: Some(4.0), ..Default::default() },
        ] {
            let found = density(&operator, &options);
            let what = format!("{eigenvalues:?} {options:?}");
            assert_eq!((found.grid.len(), found.density.len(), found.probes.len()), (options.points, options.points, options.probes));
            close(integral(&found, |_| 1.0), 1.0, 1e-6, &what);
            assert!(found.density.iter().all(|&p| p >= 0.0) && found.sigma > 0.0, "{what}");
            // the smoothing leaves the mean and adds to the variance
            let (mean, square) = (found.quadrature(|t| t).value, found.quadrature(|t| t * t).value);
            let scale = mean.abs() + found.sigma;
            close(integral(&found, |t| t), mean, 1e-6 * scale, &what);
            close(integral(&found, |t| t * t), square + found.sigma.powi(2), 1e-6 * scale * scale + 1e-6 * square, &what);
            for probe in &found.probes {
                assert!(probe.nodes.len() <= options.steps.min(operator.n), "{what}");
                assert!(probe.nodes.is_sorted_by(|a, b| a >= b) && probe.weights.iter().all(|&w| w >= 0.0), "{what}");
                close(probe.weights.iter().sum(), 1.0, 1e-12, &what);
            }
            assert_eq!(found, density(&operator, &options));
        }
    }
}

/// Of m steps: exact for polynomials of degree 2 m - 1, and for any function if m is the number of distinct
/// eigenvalues.
#[test]
fn quadratures_are_exact() {
    for gpu in gpus() {
        for eigenvalues in spectra() {
            let n = eigenvalues.len();
            let operator = Operator::new(&gpu, &Matrix::with_eigenvalues(&eigenvalues));
            let scale = eigenvalues.iter().fold(0.0, |m: f64, a| m.max(a.abs()));
            type Function = fn(f64) -> f64;
            let cases: [(usize, Function); 4] = [(1, |t| t), (2, |t| t * t * t - t * t), (3, |t| t.powi(5)), (n, |t| (-t * t).exp())];
            for (steps, f) in cases {
                // in units of the greatest eigenvalue
                let f = |t: f64| if scale == 0.0 { f(t) } else { f(t / scale) };
                let found = density(&operator, &DensityOptions { steps, probes: 3, seed: 9, ..Default::default() }).quadrature(f);
                let function = Matrix::with_eigenvalues(&eigenvalues.iter().map(|&t| f(t)).collect::<Vec<f64>>());
                let samples = reference::hutchinson(|x| function.product(x), &signs(9, 0..3, n));
                let samples: Vec<f64> = samples.into_iter().map(|sample| sample / n as f64).collect();
                estimate_is(found, &samples, 3e-6, &format!("{steps} steps, {n} eigenvalues"));
            }
        }
    }
}

/// The mean of the nodes is the trace, and the logarithm's that of the determinant.
#[test]
fn quadratures_are_traces_of_functions() {
    let gpu = gpu(Checks::Unchecked);
    let eigenvalues: Vec<f64> = (0..101).map(|i| 0.1 + f64::from(i * i) / 1000.0).collect();
    let operator = Operator::new(&gpu, &Matrix::with_eigenvalues(&eigenvalues));
    let spectrum = density(&operator, &DensityOptions { steps: 60, probes: 20, seed: 2, ..Default::default() });
    let mean = spectrum.quadrature(|t| t);
    let trace = block_on(curvature::trace(&operator, &TraceOptions { samples: 20, seed: 2 })).unwrap();
    close(101.0 * mean.value, trace.value, 1e-5 * trace.value, "the trace from the same vectors");
    close(101.0 * mean.standard_error, trace.standard_error, 1e-5 * trace.value, "its error");
    for f in [f64::ln, f64::sqrt, f64::recip] {
        let found = spectrum.quadrature(f);
        let expected = eigenvalues.iter().map(|&t| f(t)).sum::<f64>() / 101.0;
        assert!((found.value - expected).abs() < 3.0 * found.standard_error, "{found:?}, and {expected} was expected");
        assert!(found.standard_error < 0.05 * expected.abs(), "{found:?}");
    }
    let one = density(&operator, &DensityOptions { probes: 1, ..Default::default() }).quadrature(|t| t);
    assert_eq!((one.standard_error, one.samples), (f64::INFINITY, 1));
}

/// Peaks where the clusters are, as high as their shares.
#[test]
fn densities_show_clusters() {
    let gpu = gpu(Checks::Unchecked);
    let clusters = [(-1.0, 80), (2.0, 200), (2.5, 117), (10.0, 4)];
    let eigenvalues: Vec<f64> = clusters.iter().flat_map(|&(value, count)| vec![value; count]).collect();
    let operator = Operator::new(&gpu, &Matrix::with_eigenvalues(&eigenvalues));
    let options = DensityOptions { steps: 30, probes: 16, sigma: Some(0.05), points: 3000, range: Some([-3.0, 12.0]), seed: 3 };
    let found = density(&operator, &options);
    assert_eq!((found.grid[0], found.grid[2999]), (-3.0, 12.0));
    let n = eigenvalues.len() as f64;
    let weights = vec![1.0 / n; eigenvalues.len()];
    let peak = 1.0 / (0.05 * (2.0 * std::f64::consts::PI).sqrt());
    for (&t, &p) in found.grid.iter().zip(&found.density) {
        // a cluster's share errs by no more than √(2 share / n / probes)
        let expected = reference::density(&eigenvalues, &weights, 0.05, t);
        let share = (expected / peak).min(1.0);
        let tolerance = 4.0 * peak * (2.0 * share * (1.0 - share) / n / 16.0).sqrt() + 1e-4 * peak;
        close(p, expected, tolerance, &format!("the density at {t}"));
    }
    for (value, count) in clusters {
        let near = found.grid.iter().zip(&found.density).filter(|(t, _)| (*t - value).abs() < 0.2);
        let (top, height) = near.fold((0.0, 0.0), |best, (&t, &p)| if p > best.1 { (t, p) } else { best });
        close(top, value, 0.006, "the place of a peak");
        let share = count as f64 / n;
        close(height / peak, share, 4.0 * (2.0 * share / n / 16.0).sqrt(), "the height of a peak");
    }
    // half of the spectrum in a range
    let part = density(&operator, &DensityOptions { range: Some([2.25, 12.0]), ..options });
    close(integral(&part, |_| 1.0), 121.0 / n, 0.03, "the share beyond 2.25");
}

#[test]
fn options_of_densities_are_checked() {
    let gpu = gpu(Checks::Unchecked);
    let operator = Operator::new(&gpu, &Matrix::random(5, 5));
    let default = DensityOptions::default();
    for (options, name) in [
        (DensityOptions { steps: 0, ..default }, "steps"),
        (DensityOptions { probes: 0, ..default }, "probes"),
        (DensityOptions { points: 1, ..default }, "points"),
        (DensityOptions { sigma: Some(0.0), ..default }, "sigma"),
        (DensityOptions { sigma: Some(f64::NAN), ..default }, "sigma"),
        (DensityOptions { range: Some([1.0, 1.0]), ..default }, "range"),
        (DensityOptions { range: Some([f64::NAN, 1.0]), ..default }, "range"),
        (DensityOptions { range: Some([f64::MIN, f64::MAX]), ..default }, "range"),
        // too far apart to show the peaks
        (DensityOptions { sigma: Some(1e-4), ..default }, "points"),
        (DensityOptions { points: 90, ..default }, "points"),
    ] {
        assert_eq!(option(block_on(curvature::spectral_density(&operator, &options)).unwrap_err()), name);
    }
}

// ---------------------------------------------------------------------------------- inverse

/// `(A + damping I)⁻¹ b` by elimination.
fn solution(matrix: &Matrix, damping: f64, b: &[f64]) -> Vec<f64> {
    let n = matrix.n;
    let mut rows: Vec<Vec<f64>> =
        (0..n).map(|i| (0..n).map(|j| matrix.at(i, j) + if i == j { damping } else { 0.0 }).chain([b[i]]).collect()).collect();
    for i in 0..n {
        let pivot = (i..n).max_by(|&j, &k| rows[j][i].abs().total_cmp(&rows[k][i].abs())).unwrap();
        rows.swap(i, pivot);
        let row = rows[i].clone();
        for (j, other) in rows.iter_mut().enumerate() {
            if j != i {
                let factor = other[i] / row[i];
                f64s::axpy(-factor, &row, other);
            }
        }
    }
    (0..n).map(|i| rows[i][n] / rows[i][i]).collect()
}

#[test]
fn inverses_solve() {
    for gpu in gpus() {
        for n in SIZES {
            // indefinite without the damping
            let matrix = Matrix::with_eigenvalues(&(0..n).map(|i| -1.0 + 10.0 * i as f64 / n as f64).collect::<Vec<f64>>());
            let operator = Operator::new(&gpu, &matrix);
            let options = CgOptions { relative_tolerance: 2e-6, ..Default::default() };
            let mut inverse = Inverse::new(&operator, 1.5, None, &options).unwrap();
            for (seed, damping) in [(1, 1.5), (2, 4.0)] {
                inverse.set_damping(damping).unwrap();
                // places and shapes of their own each time
                let tensors = Tensor::arena(&gpu, &[&[1], &[1, n], &[n, 1]], DType::F32).unwrap();
                let (b, x) = (&tensors[1], &tensors[2]);
                let values = noise(seed, n);
                common::write(&gpu, b, &values);
                let report = block_on(inverse.solve(b, x)).unwrap();
                assert_eq!(report.status, Status::Converged, "n = {n}");
                let expected = solution(&matrix, damping, &values.into_iter().map(f64::from).collect::<Vec<f64>>());
                let mut difference = common::read(&gpu, x);
                f64s::axpy(-1.0, &expected, &mut difference);
                // the tolerance times the condition, or less
                let error = f64s::norm(&difference) / f64s::norm(&expected);
                assert!(error < 5e-5, "n = {n}, damping {damping}: {error}");
                // from the solution there is nothing to do
                let again = block_on(inverse.solve(b, x)).unwrap();
                assert_eq!((again.status, again.iterations), (Status::Converged, 0));
            }
        }
    }
}

#[test]
fn inverses_report_negative_curvature() {
    let gpu = gpu(Checks::Unchecked);
    let operator = Operator::new(&gpu, &Matrix::new(2, 0, |_, _| -1.0));
    let b = Tensor::from_slice(&gpu, &[2], &[1.0f32, 2.0]).unwrap();
    let x = common::f32s(&gpu, &[2]);
    let mut inverse = Inverse::new(&operator, 0.5, None, &CgOptions::default()).unwrap();
    assert_eq!(block_on(inverse.solve(&b, &x)).unwrap().status, Status::NegativeCurvature);
    assert_eq!(common::read(&gpu, &x), [0.0, 0.0]);
    inverse.set_damping(3.0).unwrap();
    assert_eq!(block_on(inverse.solve(&b, &x)).unwrap().status, Status::Converged);
    assert_eq!(common::read(&gpu, &x), [0.5, 1.0]);
}

/// The estimated diagonal, damped, is a preconditioner.
#[test]
fn inverses_take_preconditioners() {
    let gpu = gpu(Checks::Unchecked);
    let n = 101;
    // scales over four decades
    let matrix = Matrix::new(n, 1, |i, j| if i == j { 10f64.powf(i as f64 / 25.0) } else { 0.3 });
    let operator = Operator::new(&gpu, &matrix);
    let diagonal = curvature::diagonal(&operator, &DiagonalOptions { samples: 50, seed: 1 }).unwrap().value;
    let jacobi = krylov::Diagonal::inverse(&gpu, &diagonal).unwrap();
    let b = Tensor::from_slice(&gpu, &[n], &noise(3, n)).unwrap();
    let solve = |preconditioner: Option<&dyn krylov::Preconditioner>| {
        let x = common::f32s(&gpu, &[n]);
        let mut inverse = Inverse::new(&operator, 0.0, preconditioner, &CgOptions::default()).unwrap();
        let report = block_on(inverse.solve(&b, &x)).unwrap();
        assert_eq!(report.status, Status::Converged);
        report.iterations
    };
    let (without, with) = (solve(None), solve(Some(&jacobi)));
    assert!(3 * with < without, "{with} iterations, and {without} without a preconditioner");
}

#[test]
fn arguments_of_inverses_are_checked() {
    let gpu = gpu(Checks::Unchecked);
    let operator = Operator::new(&gpu, &Matrix::random(5, 5));
    for damping in [f64::NAN, f64::INFINITY, 1e39] {
        assert_eq!(option(Inverse::new(&operator, damping, None, &CgOptions::default()).unwrap_err()), "damping");
    }
    let mut inverse = Inverse::new(&operator, 1.0, None, &CgOptions::default()).unwrap();
    assert_eq!(option(inverse.set_damping(f64::NAN).unwrap_err()), "damping");
    let (right, short) = (common::f32s(&gpu, &[5]), common::f32s(&gpu, &[4]));
    let half = Tensor::zeros(&gpu, &[5], DType::F16).unwrap();
    assert!(matches!(block_on(inverse.solve(&short, &right)), Err(Error::Length { tensor, .. }) if tensor == "b"));
    assert!(matches!(block_on(inverse.solve(&right, &short)), Err(Error::Length { tensor, .. }) if tensor == "x"));
    assert!(matches!(block_on(inverse.solve(&right, &half)), Err(Error::DType { tensor, .. }) if tensor == "x"));
    assert!(matches!(block_on(inverse.solve(&right, &right)), Err(Error::Overlap { .. })));
}
