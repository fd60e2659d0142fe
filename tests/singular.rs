//! Linear systems with a null space.

#![cfg(feature = "krylov")]

mod common;
#[path = "common/systems.rs"]
mod systems;

use common::{f32s, gpu, gpu_for, noise, read};
use gradus::gpu::{Checks, Target};
use gradus::krylov::{Cg, CgOptions, Dense, FlexibleCg, FlexibleCgOptions, Report, Status};
use gradus::reference::krylov as reference;
use gradus::{Gpu, Tensor};
use systems::{Grid, distance, norm, upload, wide};

fn gpus() -> [Gpu; 3] {
    [gpu(Checks::Unchecked), gpu(Checks::Checked), gpu_for(Target::discrete())]
}

/// Two closed components, one of which is a lone cell, one open, and one that touches nothing but a corner of
/// the open one.
fn several() -> Grid {
    Grid::new(&["~~~~#....", "....#....", "....##...", "....#.#..", "####.####", "........."])
}

/// By both methods.
fn solve(gpu: &Gpu, grid: &Grid, b: &[f32], x: &[f32], tolerance: f64) -> [(Report, Vec<f64>); 2] {
    let operator = grid.operator(gpu);
    let (b, first, second) = (upload(gpu, b), upload(gpu, x), upload(gpu, x));
    let options = CgOptions { relative_tolerance: tolerance, ..Default::default() };
    let flexible = FlexibleCgOptions { relative_tolerance: tolerance, ..Default::default() };
    let cg = pollster::block_on(Cg::new(&operator, None, &b, &first, &options).unwrap().solve()).unwrap();
    let fcg = pollster::block_on(FlexibleCg::new(&operator, None, &b, &second, &flexible).unwrap().solve()).unwrap();
    [(cg, read(gpu, &first)), (fcg, read(gpu, &second))]
}

#[test]
fn what_no_solution_exists_for_is_left_out() {
    for gpu in gpus() {
        for (grid, closed) in [(several(), 3), (Grid::closed_box(1, 1), 1), (Grid::closed_box(31, 17), 1), (Grid::open_box(8, 9), 0)] {
            assert_eq!(grid.closed.len(), closed);
            // means far from 0, of the right-hand side and of where the iterations begin
            let b: Vec<f32> = noise(3, grid.n).iter().map(|b| b + 20.0).collect();
            let start: Vec<f32> = noise(4, grid.n).iter().map(|x| x - 50.0).collect();
            let consistent = grid.project(&wide(&b));
            let expected = reference::cg(|x| grid.apply(x), |r| grid.project(r), &consistent, &vec![0.0; grid.n], 1e-12, 0.0, 1000);
            for (report, x) in solve(&gpu, &grid, &b, &start, 1e-5) {
                assert!(matches!(report.status, Status::Converged | Status::PrecisionLimited), "{report:?}");
                let residual = distance(&grid.apply(&x), &consistent);
                // f32 does not know it better than to a few units of ‖A‖ ‖x‖
                let unknown = 1e-6 * norm(&x) + 1e-6 * norm(&consistent);
                assert!(residual <= 1e-5 * norm(&consistent) + unknown, "{residual}");
                assert!(!report.converged() || residual <= 1e-5 * norm(&consistent), "{residual}");
                assert!((report.residual - residual).abs() <= unknown, "{} for {residual}", report.residual);
                // of all solutions the one in the range
                let (outside, size) = (distance(&grid.project(&x), &x), norm(&expected.x));
                assert!(outside <= 1e-6 * size + 1e-6, "{outside}");
                assert!(distance(&x, &expected.x) <= 2e-3 * size, "{}", distance(&x, &expected.x) / size);
            }
        }
    }
}

#[test]
fn nothing_but_a_null_space() {
    for gpu in gpus() {
        for grid in [several(), Grid::closed_box(13, 7), Grid::closed_box(3, 1), Grid::closed_box(1, 1)] {
            // a constant on each closed component, which f32 does not take away exactly
            let mut b = vec![0.0; grid.n];
            for (value, cells) in [1234.567, -0.1, 3e7].into_iter().zip(&grid.closed) {
                cells.iter().for_each(|&i| b[i] = value);
            }
            for (report, x) in solve(&gpu, &grid, &b, &vec![7.0; grid.n], 1e-6) {
                assert_eq!((report.status, report.iterations, report.residual), (Status::Converged, 0, 0.0));
                assert_eq!(x, vec![0.0; grid.n]);
            }
        }
    }
}

/// The iterations are those of f64: rounding does not feed the null space.
#[test]
fn as_many_iterations_as_in_f64() {
    for gpu in [gpu(Checks::Unchecked), gpu_for(Target::discrete())] {
        for tolerance in [1e-3, 1e-5] {
            let grid = Grid::closed_box(48, 40);
            let b = noise(8, grid.n);
            let consistent = grid.project(&wide(&b));
            let expected = reference::cg(
                |x| grid.apply(x),
                |r| grid.project(r),
                &consistent,
                &vec![0.0; grid.n],
                // how far iterations go below the tolerance
                0.98 * tolerance * norm(&consistent),
                0.0,
                1000,
            );
            let iterations = expected.history.len() as f64 - 1.0;
            for (report, _) in solve(&gpu, &grid, &b, &vec![0.0; grid.n], tolerance) {
                assert_eq!(report.status, Status::Converged);
                let found = f64::from(report.iterations);
                // near 1e-5 rounding takes a restart
                assert!((found - iterations).abs() <= 1.0 + 0.05 * iterations, "{found} for {iterations}");
            }
        }
    }
}

#[test]
fn what_is_not_finite_leaves_x_as_it_was() {
    for gpu in gpus() {
        let grid = several();
        for bad in [f32::NAN, f32::INFINITY] {
            let mut b = noise(1, grid.n);
            b[2] = bad;
            for (report, x) in solve(&gpu, &grid, &b, &vec![0.25; grid.n], 1e-5) {
                assert_eq!((report.status, report.iterations), (Status::NonFinite, 0));
                assert_eq!(x, vec![0.25; grid.n]);
            }
            let mut start = vec![0.25; grid.n];
            start[2] = bad;
            for (report, x) in solve(&gpu, &grid, &noise(1, grid.n), &start, 1e-5) {
                assert_eq!((report.status, report.iterations), (Status::NonFinite, 0));
                assert!(x.iter().zip(&wide(&start)).all(|(x, start)| x.to_bits() == start.to_bits()));
            }
        }
    }
}

/// A smooth right-hand side, of which what rounding leaves outside the range is greater than the tolerance: as many
/// iterations as in f64, and a solution, even where nothing begins again.
#[test]
fn rounding_does_not_lead_astray() {
    for gpu in [gpu(Checks::Unchecked), gpu_for(Target::discrete())] {
        let grid = Grid::closed_box(64, 64);
        let b: Vec<f32> = (0..grid.n).map(|i| 1.0 + 0.3 * ((i % 64) as f32 / 20.0).cos()).collect();
        let consistent = grid.project(&wide(&b));
        let tolerance = 1e-6 * norm(&consistent);
        let expected = reference::cg(|x| grid.apply(x), |r| grid.project(r), &consistent, &vec![0.0; grid.n], tolerance, 0.0, 1000);
        let (b, first, second) = (upload(&gpu, &b), f32s(&gpu, &[grid.n]), f32s(&gpu, &[grid.n]));
        let operator = grid.operator(&gpu);
        let cg = Cg::new(&operator, None, &b, &first, &CgOptions { relative_tolerance: 1e-6, ..Default::default() }).unwrap();
        let options = FlexibleCgOptions { relative_tolerance: 1e-6, ..Default::default() };
        let flexible = FlexibleCg::new(&operator, None, &b, &second, &options).unwrap();
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        cg.encode(&mut encoder, 200);
        flexible.encode(&mut encoder, 200);
        gpu.queue().submit([encoder.finish()]);
        for (report, x) in [(pollster::block_on(cg.report()), &first), (pollster::block_on(flexible.report()), &second)] {
            let report = report.unwrap();
            assert_eq!(report.status, Status::PrecisionLimited, "{} {}", report.iterations, report.residual);
            // rounding costs what the many equal eigenvalues of a square save
            let most = 2 * expected.history.len() as u32;
            assert!(report.iterations <= most, "{} of {most}", report.iterations);
            assert!(distance(&read(&gpu, x), &grid.project(&expected.x)) <= 1e-5 * norm(&expected.x));
        }
    }
}

/// A preconditioner all but the inverse, by which what rounding leaves of r outside the range is multiplied by hundreds,
/// and comes back within it: it is not enough to project what a preconditioner returns.
#[test]
fn a_preconditioner_that_magnifies_the_null_space() {
    for gpu in [gpu(Checks::Unchecked), gpu_for(Target::discrete())] {
        let grid = Grid::closed_box(32, 32);
        let n = grid.n;
        let b: Vec<f32> = (0..n).map(|i| 1.0 + 0.3 * ((i % 32) as f32 / 10.0).cos() + 0.01 * ((i * i) as f32).sin()).collect();
        let consistent = grid.project(&wide(&b));
        // A + a small diagonal that is not constant
        let shifted = nalgebra::DMatrix::from_fn(n, n, |i, j| if i == j { 0.002 * (j % 3) as f64 } else { 0.0 });
        let columns = (0..n).map(|j| grid.apply(&(0..n).map(|i| f64::from(u8::from(i == j))).collect::<Vec<_>>()));
        let a = nalgebra::DMatrix::from_iterator(n, n, columns.flatten());
        let inverse = (a + shifted).try_inverse().unwrap();
        let matrix: Vec<f32> = (0..n * n).map(|k| (0.5 * (inverse[(k / n, k % n)] + inverse[(k % n, k / n)])) as f32).collect();
        let precondition = |r: &[f64]| grid.project((&inverse * nalgebra::DVector::from_column_slice(r)).as_slice());
        let expected = reference::cg(|x| grid.apply(x), precondition, &consistent, &vec![0.0; n], 1e-6 * norm(&consistent), 0.0, 1000);
        let magnifying = Dense::new(&gpu, &Tensor::from_slice(&gpu, &[n, n], &matrix).unwrap()).unwrap();
        let (operator, b, first, second) = (grid.operator(&gpu), upload(&gpu, &b), f32s(&gpu, &[n]), f32s(&gpu, &[n]));
        let options = CgOptions { relative_tolerance: 1e-6, ..Default::default() };
        let flexible = FlexibleCgOptions { relative_tolerance: 1e-6, ..Default::default() };
        let cg = pollster::block_on(Cg::new(&operator, Some(&magnifying), &b, &first, &options).unwrap().solve()).unwrap();
        let fcg = pollster::block_on(FlexibleCg::new(&operator, Some(&magnifying), &b, &second, &flexible).unwrap().solve()).unwrap();
        for (report, x) in [(cg, &first), (fcg, &second)] {
            assert_eq!(report.status, Status::PrecisionLimited, "{} {}", report.iterations, report.residual);
            assert!(report.iterations as usize <= expected.history.len() + 1, "{} of {}", report.iterations, expected.history.len());
            assert!(distance(&read(&gpu, x), &grid.project(&expected.x)) <= 1e-5 * norm(&expected.x));
        }
    }
}

/// Not even of a singular operator, where no preconditioner asks for it: it comes after every eighth.
#[test]
fn an_iteration_holds_no_projection() {
    let gpu = gpu(Checks::Unchecked);
    let dispatches = |grid: &Grid| {
        let (b, x) = (f32s(&gpu, &[grid.n]), f32s(&gpu, &[grid.n]));
        Cg::new(&grid.operator(&gpu), None, &b, &x, &CgOptions::default()).unwrap().iteration().len()
    };
    assert_eq!(dispatches(&Grid::closed_box(4, 4)), dispatches(&Grid::open_box(4, 4)));
}
