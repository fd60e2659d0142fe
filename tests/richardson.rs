//! Stationary iterations: against convergence factors known in closed form, and where they fail.

#![cfg(feature = "poisson")]

mod common;
#[path = "common/systems.rs"]
mod systems;

use common::{bits, f32s, gpu, gpu_for, noise, read};
use gradus::gpu::{Checks, Target};
use gradus::krylov::{Diagonal, LinearOperator, Preconditioner, Report, Richardson, RichardsonOptions, Status};
use gradus::poisson::{self, Jacobi, Laplacian};
use gradus::reference::krylov as reference;
use gradus::{Error, Gpu, Tensor};
use systems::{Grid, distance, norm, upload, wide};

fn gpus() -> [Gpu; 3] {
    [gpu(Checks::Unchecked), gpu(Checks::Checked), gpu_for(Target::discrete())]
}

fn solve(
    operator: &dyn LinearOperator,
    preconditioner: &dyn Preconditioner,
    b: &Tensor,
    x: &Tensor,
    options: &RichardsonOptions,
) -> Report {
    pollster::block_on(Richardson::new(operator, preconditioner, b, x, options).unwrap().solve()).unwrap()
}

fn all(gpu: &Gpu, n: usize, value: f32) -> Diagonal {
    Diagonal::new(gpu, &upload(gpu, &vec![value; n])).unwrap()
}

/// The lowest mode of a square with air around, of n by n cells, is multiplied by cos(π/(n+1)) in each sweep of Jacobi.
#[test]
fn the_factor_of_jacobi() {
    for gpu in gpus() {
        let n = 9;
        let grid = poisson::Grid::new(&[n, n]).unwrap().with_open(&[[true; 2]; 2]).unwrap();
        let (laplacian, jacobi) = (Laplacian::new(&gpu, &grid).unwrap(), Jacobi::new(&gpu, &grid).unwrap());
        let sine = |i: usize| ((i + 1) as f64 * std::f64::consts::PI / (n + 1) as f64).sin();
        let mode: Vec<f32> = (0..n * n).map(|k| (sine(k / n) * sine(k % n)) as f32).collect();
        let x = f32s(&gpu, &[n, n]);
        let options = RichardsonOptions { relative_tolerance: 1e-4, ..Default::default() };
        let report = solve(&laplacian, &jacobi, &upload(&gpu, &mode), &x, &options);
        let factor = (std::f64::consts::PI / (n + 1) as f64).cos();
        let iterations = 1e-4f64.ln() / factor.ln();
        assert_eq!((report.status, f64::from(report.iterations)), (Status::Converged, iterations.ceil()));
        for (k, found) in report.history.iter().enumerate() {
            let expected = norm(&wide(&mode)) * factor.powi(k as i32);
            assert!((found - expected).abs() <= 1e-5 * norm(&wide(&mode)), "{k}: {found} for {expected}");
        }
        // of eigenvalue λ = 4 (1 - factor), φ of the mode's multiple t is ‖mode‖² (½ λ t² - t)
        let (lambda, square) = (4.0 * (1.0 - factor), norm(&wide(&mode)).powi(2));
        for (k, found) in report.objectives.iter().enumerate() {
            let t = (1.0 - factor.powi(k as i32)) / lambda;
            let expected = square * (0.5 * lambda * t * t - t);
            assert!((found - expected).abs() <= 1e-5 * square / lambda, "{k}: {found} for {expected}");
        }
        let solution: Vec<f64> = mode.iter().map(|&m| f64::from(m) / lambda).collect();
        assert!(distance(&read(&gpu, &x), &solution) <= 1.01e-4 * norm(&solution));
    }
}

#[test]
fn as_in_f64_and_however_it_is_submitted() {
    for gpu in gpus() {
        let grid = Grid::open_box(13, 11);
        let (b, start) = (noise(1, grid.n), noise(2, grid.n));
        let operator = grid.operator(&gpu);
        let damped = all(&gpu, grid.n, 0.23);
        let run = |check_every: u32, submitted: bool| {
            let x = upload(&gpu, &start);
            let options = RichardsonOptions { max_iterations: 40, check_every, relative_tolerance: 0.0, ..Default::default() };
            let mut solver = Richardson::new(&operator, &damped, &upload(&gpu, &b), &x, &options).unwrap();
            let report = if submitted {
                pollster::block_on(solver.solve())
            } else {
                let mut encoder = gpu.device().create_command_encoder(&Default::default());
                solver.encode(&mut encoder, 50);
                gpu.queue().submit([encoder.finish()]);
                pollster::block_on(solver.report())
            };
            (bits(&gpu, &x), report.unwrap(), read(&gpu, &x))
        };
        let (first, report, found) = run(4, true);
        let precondition = |r: &[f64]| r.iter().map(|r| f64::from(0.23f32) * r).collect::<Vec<_>>();
        let (expected, history) = reference::richardson(|x| grid.apply(x), precondition, &wide(&b), &wide(&start), 0.0, 40);
        assert_eq!((report.status, report.iterations), (Status::IterationLimit, 40));
        assert!(distance(&found, &expected) <= 1e-5 * norm(&expected));
        assert!(report.history.iter().zip(&history).all(|(found, expected)| (found - expected).abs() <= 1e-5 * history[0]));
        assert_eq!(report.history.len(), history.len());
        for (check_every, submitted) in [(1, true), (64, true), (4, false)] {
            let (bits, report, _) = run(check_every, submitted);
            assert_eq!((bits, report.status, report.iterations), (first.clone(), Status::IterationLimit, 40));
        }
    }
}

/// With the inverse one step is enough, and rounding is what is left.
#[test]
fn the_inverse() {
    for gpu in gpus() {
        let n = 301;
        let d: Vec<f32> = (0..n).map(|i| 10f32.powf(4.0 * i as f32 / (n - 1) as f32)).collect();
        let diagonal = upload(&gpu, &d);
        let (operator, inverse) = (Diagonal::new(&gpu, &diagonal).unwrap(), Diagonal::inverse(&gpu, &diagonal).unwrap());
        let b = noise(5, n);
        for (tolerance, most, status) in [(1e-5, 1, Status::Converged), (0.0, 30, Status::PrecisionLimited)] {
            let x = f32s(&gpu, &[n]);
            let options = RichardsonOptions { relative_tolerance: tolerance, ..Default::default() };
            let report = solve(&operator, &inverse, &upload(&gpu, &b), &x, &options);
            assert_eq!(report.status, status, "{report:?}");
            assert!(report.iterations >= 1 && report.iterations <= most, "{report:?}");
            let found = read(&gpu, &x);
            let rest: Vec<f64> = found.iter().zip(&d).map(|(x, &d)| x * f64::from(d)).collect();
            assert!(distance(&rest, &wide(&b)) <= 2e-7 * norm(&wide(&b)));
        }
    }
}

/// It takes what it can get of a singular system.
#[test]
fn a_singular_operator() {
    for gpu in gpus() {
        let grid = Grid::closed_box(9, 8);
        let b: Vec<f32> = noise(3, grid.n).iter().map(|b| b + 20.0).collect();
        let consistent = grid.project(&wide(&b));
        let x = upload(&gpu, &vec![-50.0; grid.n]);
        let options = RichardsonOptions { relative_tolerance: 1e-4, ..Default::default() };
        let report = solve(&grid.operator(&gpu), &all(&gpu, grid.n, 0.2), &upload(&gpu, &b), &x, &options);
        let damped = |r: &[f64]| r.iter().map(|r| 0.2 * r).collect::<Vec<_>>();
        let tolerance = 1e-4 * norm(&consistent);
        let (expected, history) = reference::richardson(|x| grid.apply(x), damped, &consistent, &vec![0.0; grid.n], tolerance, 1000);
        assert_eq!(report.status, Status::Converged);
        assert!((f64::from(report.iterations) - (history.len() - 1) as f64).abs() <= 2.0, "{}", report.iterations);
        assert!(distance(&read(&gpu, &x), &expected) <= 1e-3 * norm(&expected));
    }
}

/// Some modes shrink while one grows: the residual has a smallest, and that iterate is what is left.
#[test]
fn the_best_iterate_is_not_lost() {
    for gpu in gpus() {
        let n = 50;
        // the residual's element i is multiplied by 1 - d_i each time: by 0.5, and one by -1.5
        let d: Vec<f32> = (0..n).map(|i| if i == 7 { 2.5 } else { 0.5 }).collect();
        let b: Vec<f32> = (0..n).map(|i| if i == 7 { 0.01 } else { 1.0 }).collect();
        let operator = Diagonal::new(&gpu, &upload(&gpu, &d)).unwrap();
        let identity = all(&gpu, n, 1.0);
        let residual = |k: i32| (49.0 * 0.25f64.powi(k) + 1e-4 * 2.25f64.powi(k)).sqrt();
        let best = (0..40).min_by(|&i, &j| residual(i).total_cmp(&residual(j))).unwrap();
        for encoded in [false, true] {
            let x = f32s(&gpu, &[n]);
            let mut solver = Richardson::new(&operator, &identity, &upload(&gpu, &b), &x, &RichardsonOptions::default()).unwrap();
            let report = if encoded {
                let mut encoder = gpu.device().create_command_encoder(&Default::default());
                solver.encode(&mut encoder, 60);
                gpu.queue().submit([encoder.finish()]);
                pollster::block_on(solver.report())
            } else {
                pollster::block_on(solver.solve())
            };
            let report = report.unwrap();
            assert_eq!((report.status, report.iterations as i32), (Status::Stagnated, best + 10));
            assert!((report.residual - residual(best)).abs() <= 1e-4 * residual(best), "{} {}", report.residual, residual(best));
            let expected: Vec<f64> = (0..n).map(|i| f64::from(b[i] / d[i]) * (1.0 - (1.0 - f64::from(d[i])).powi(best))).collect();
            assert!(distance(&read(&gpu, &x), &expected) <= 1e-6 * norm(&expected));
        }
    }
}

#[test]
fn what_is_not_finite() {
    for gpu in gpus() {
        let n = 36;
        let (one, b) = (all(&gpu, n, 1.0), upload(&gpu, &noise(1, n)));
        // what explodes leaves x as it was, for nothing was better
        let x = upload(&gpu, &vec![0.25; n]);
        let report = solve(&one, &all(&gpu, n, 1e8), &b, &x, &RichardsonOptions::default());
        assert_eq!(report.status, Status::NonFinite, "{report:?}");
        assert_eq!(read(&gpu, &x), vec![0.25; n]);
        // and what diverges slowly
        let report = solve(&one, &all(&gpu, n, 2.5), &b, &x, &RichardsonOptions::default());
        assert_eq!((report.status, report.iterations), (Status::Stagnated, 10), "{report:?}");
        assert_eq!(read(&gpu, &x), vec![0.25; n]);
        for bad in [f32::NAN, f32::INFINITY] {
            let mut with = noise(1, n);
            with[20] = bad;
            let report = solve(&one, &one, &upload(&gpu, &with), &x, &RichardsonOptions::default());
            assert_eq!((report.status, report.iterations), (Status::NonFinite, 0));
            assert_eq!(read(&gpu, &x), vec![0.25; n]);
            let report = solve(&one, &all(&gpu, n, bad), &b, &x, &RichardsonOptions::default());
            assert_eq!((report.status, report.iterations), (Status::NonFinite, 1));
            assert_eq!(read(&gpu, &x), vec![0.25; n]);
        }
        // b of 0, whatever x is
        for start in [1.0f32, f32::NAN] {
            let x = upload(&gpu, &vec![start; n]);
            let report = solve(&one, &one, &f32s(&gpu, &[n]), &x, &RichardsonOptions::default());
            assert_eq!((report.status, report.iterations, report.residual), (Status::Converged, 0, 0.0));
            assert_eq!(read(&gpu, &x), vec![0.0; n]);
        }
    }
}

#[test]
fn what_is_refused_and_what_an_iteration_costs() {
    let gpu = gpu(Checks::Unchecked);
    let one = all(&gpu, 4096, 1.0);
    let (b, x) = (f32s(&gpu, &[4096]), f32s(&gpu, &[4096]));
    let new = |b: &Tensor, options: &RichardsonOptions| Richardson::new(&one, &one, b, &x, options);
    assert!(matches!(new(&f32s(&gpu, &[15]), &Default::default()), Err(Error::Length { tensor, .. }) if tensor == "b"));
    assert!(matches!(new(&x, &Default::default()), Err(Error::Overlap { .. })));
    let options = RichardsonOptions { check_every: 0, ..Default::default() };
    assert!(matches!(new(&b, &options), Err(Error::Option { option, .. }) if option == "check_every"));
    let solver = new(&b, &Default::default()).unwrap();
    // the preconditioner, the step, the product, the residual and the scalars
    assert_eq!(solver.iteration().len(), 5);
}
