//! Conjugate gradients: against f64, at the edges, and however they are submitted.

#![cfg(feature = "krylov")]

mod common;
#[path = "common/systems.rs"]
mod systems;

use common::{bits, f32s, gpu, gpu_for, noise, read};
use gradus::gpu::{Checks, Target};
use gradus::krylov::{
    Cg, CgOptions, Csr, Dense, Diagonal, FlexibleCg, FlexibleCgOptions, FromFn, LinearOperator, Preconditioner, Report, Shifted, Status,
};
use gradus::reference::krylov::{self as reference, CgEnd};
use gradus::{DType, Error, Gpu, Recording, Result, Tensor, vector};
use systems::{distance, norm, upload, wide};

fn gpus() -> [Gpu; 3] {
    [gpu(Checks::Unchecked), gpu(Checks::Checked), gpu_for(Target::discrete())]
}

/// The five-point Laplacian of a grid, 4 on the diagonal: Dirichlet all around.
struct Grid {
    offsets: Vec<u32>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl Grid {
    fn new(width: usize, height: usize) -> Self {
        let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        for i in 0..width * height {
            let (x, y) = (i % width, i / width);
            let neighbours = [
                (y > 0, i.wrapping_sub(width)),
                (x > 0, i.wrapping_sub(1)),
                (true, i),
                (x + 1 < width, i + 1),
                (y + 1 < height, i + width),
            ];
            for (_, column) in neighbours.into_iter().filter(|&(inside, _)| inside) {
                columns.push(column as u32);
                values.push(if column == i { 4.0 } else { -1.0 });
            }
            offsets.push(columns.len() as u32);
        }
        Self { offsets, columns, values }
    }

    fn operator(&self, gpu: &Gpu) -> Csr {
        Csr::new(gpu, &self.offsets, &self.columns, &self.values).unwrap()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        reference::csr_product(&self.offsets, &self.columns, &wide(&self.values), x)
    }
}

fn solve(
    operator: &dyn LinearOperator,
    preconditioner: Option<&dyn Preconditioner>,
    b: &Tensor,
    x: &Tensor,
    options: &CgOptions,
) -> Report {
    pollster::block_on(Cg::new(operator, preconditioner, b, x, options).unwrap().solve()).unwrap()
}

#[test]
fn laplacians_as_in_f64() {
    for gpu in gpus() {
        for (width, height) in [(1, 1), (3, 1), (13, 11), (64, 50), (130, 129)] {
            let grid = Grid::new(width, height);
            let n = width * height;
            let b = noise(n as u64, n);
            let options = CgOptions { relative_tolerance: 1e-4, ..Default::default() };
            let x = f32s(&gpu, &[n]);
            let report = solve(&grid.operator(&gpu), None, &upload(&gpu, &b), &x, &options);
            assert_eq!(report.status, Status::Converged, "{width} x {height}");

            let b = wide(&b);
            let expected = reference::cg(|x| grid.apply(x), <[f64]>::to_vec, &b, &vec![0.0; n], 1e-4 * norm(&b), 0.0, 1000);
            let iterations = expected.history.len() as f64 - 1.0;
            assert!((f64::from(report.iterations) - iterations).abs() <= 1.0 + 0.02 * iterations, "{} for {iterations}", report.iterations);
            let found = read(&gpu, &x);
            let residual = distance(&grid.apply(&found), &b);
            assert!(residual <= 1.001e-4 * norm(&b), "{residual}");
            // what is reported is what is
            assert!((report.residual - residual).abs() <= 1e-3 * residual + 1e-6 * norm(&b), "{} for {residual}", report.residual);
            // the beginning is the same, before rounding has had its way
            assert_eq!(report.history.len(), report.iterations as usize + 1);
            assert_eq!(report.objectives.len(), report.history.len());
            let compared = report.history.len().min(expected.history.len()).min(12);
            for i in 0..compared - 1 {
                let (found, expected) = (report.history[i], expected.history[i]);
                assert!((found - expected).abs() <= 1e-4 * expected + 1e-6 * norm(&b), "{width} x {height}, {i}: {found} for {expected}");
            }
            for (found, expected) in report.objectives.iter().zip(&expected.objectives) {
                let scale = expected.abs().max(norm(&b));
                assert!((found - expected).abs() <= 1e-4 * scale, "{width} x {height}: {found} for {expected}");
            }
        }
    }
}

#[test]
fn any_place_and_shape() {
    for gpu in gpus() {
        let grid = Grid::new(9, 7);
        let b = noise(3, 63);
        let whole = upload(&gpu, &[&[f32::NAN; 5], &b[..], &[f32::NAN; 2], &[0.0; 63], &[f32::NAN; 3]].concat());
        let part = |at: u64| Tensor::from_buffer(whole.buffer(), 4 * at, &[7, 9], DType::F32).unwrap();
        let options = CgOptions::default();
        let report = solve(&grid.operator(&gpu), None, &part(5), &part(70), &options);
        assert_eq!(report.status, Status::Converged);
        let found = read(&gpu, &part(70));
        assert!(distance(&grid.apply(&found), &wide(&b)) <= 1.01e-5 * norm(&wide(&b)));
        let all = read(&gpu, &whole);
        assert_eq!(all.iter().filter(|x| x.is_nan()).count(), 10);
    }
}

#[test]
fn a_warm_start_needs_less() {
    let gpu = gpu(Checks::Unchecked);
    let grid = Grid::new(40, 40);
    let b = upload(&gpu, &noise(1, 1600));
    let x = f32s(&gpu, &[1600]);
    let mut cg = Cg::new(&grid.operator(&gpu), None, &b, &x, &CgOptions { relative_tolerance: 1e-3, ..Default::default() }).unwrap();
    let cold = pollster::block_on(cg.solve()).unwrap();
    let again = pollster::block_on(cg.solve()).unwrap();
    assert_eq!((again.status, again.iterations), (Status::Converged, 0));
    let mut finer = Cg::new(&grid.operator(&gpu), None, &b, &x, &CgOptions { relative_tolerance: 1e-5, ..Default::default() }).unwrap();
    let warm = pollster::block_on(finer.solve()).unwrap();
    x.write(&gpu, &[0.0f32; 1600]).unwrap();
    let all = pollster::block_on(finer.solve()).unwrap();
    assert!(warm.iterations < all.iterations, "{} after {}, {} at once", warm.iterations, cold.iterations, all.iterations);
}

#[test]
fn ill_conditioned_diagonals_and_the_jacobi_preconditioner() {
    for gpu in gpus() {
        let n = 301;
        let d: Vec<f32> = (0..n).map(|i| 10f32.powf(4.0 * i as f32 / (n - 1) as f32)).collect();
        let diagonal = upload(&gpu, &d);
        let operator = Diagonal::new(&gpu, &diagonal).unwrap();
        let b = noise(5, n);
        let x = f32s(&gpu, &[n]);
        let options = CgOptions { relative_tolerance: 1e-4, max_iterations: 5000, ..Default::default() };
        let report = solve(&operator, None, &upload(&gpu, &b), &x, &options);
        assert_eq!(report.status, Status::Converged, "{report:?}");
        let jacobi = Diagonal::inverse(&gpu, &diagonal).unwrap();
        x.write(&gpu, &vec![0.0f32; n]).unwrap();
        let report = solve(&operator, Some(&jacobi), &upload(&gpu, &b), &x, &options);
        assert_eq!((report.status, report.iterations), (Status::Converged, 1));
        for ((x, b), d) in read(&gpu, &x).iter().zip(&b).zip(&d) {
            assert!((x - f64::from(b / d)).abs() <= 1e-4 * f64::from((b / d).abs()));
        }
    }
}

#[test]
fn a_preconditioner_as_in_f64() {
    for gpu in gpus() {
        let grid = Grid::new(30, 31);
        let n = 930;
        // A + a varying diagonal, with the inverse of the whole diagonal
        let extra: Vec<f32> = noise(2, n).iter().map(|u| 50.0 * u * u).collect();
        let whole: Vec<f32> = extra.iter().map(|e| e + 4.0).collect();
        let extra_operator = Diagonal::new(&gpu, &upload(&gpu, &extra)).unwrap();
        let operator = gradus::krylov::Sum::new(grid.operator(&gpu), &extra_operator).unwrap();
        let jacobi = Diagonal::inverse(&gpu, &upload(&gpu, &whole)).unwrap();
        let b = noise(4, n);
        let x = f32s(&gpu, &[n]);
        let report = solve(&operator, Some(&jacobi), &upload(&gpu, &b), &x, &CgOptions { relative_tolerance: 1e-5, ..Default::default() });
        let apply = |x: &[f64]| -> Vec<f64> { grid.apply(x).iter().zip(x).zip(&extra).map(|((y, x), &e)| y + f64::from(e) * x).collect() };
        let precondition = |r: &[f64]| -> Vec<f64> { r.iter().zip(&whole).map(|(r, &d)| r / f64::from(d)).collect() };
        let b = wide(&b);
        let expected = reference::cg(apply, precondition, &b, &vec![0.0; n], 1e-5 * norm(&b), 0.0, 1000);
        assert_eq!((report.status, expected.end), (Status::Converged, CgEnd::Converged));
        assert!(u64::from(report.iterations).abs_diff(expected.history.len() as u64 - 1) <= 1);
        for (found, expected) in report.history.iter().zip(&expected.history) {
            assert!((found - expected).abs() <= 0.01 * expected + 1e-6 * norm(&b), "{found} for {expected}");
        }
    }
}

#[test]
fn a_right_hand_side_of_zero() {
    for gpu in gpus() {
        let operator = Grid::new(5, 5).operator(&gpu);
        let b = f32s(&gpu, &[25]);
        for start in [0.0f32, 1.0, f32::NAN] {
            let x = upload(&gpu, &[start; 25]);
            let report = solve(&operator, None, &b, &x, &CgOptions::default());
            assert_eq!((report.status, report.iterations, report.residual), (Status::Converged, 0, 0.0));
            assert_eq!(read(&gpu, &x), [0.0; 25]);
        }
    }
}

#[test]
fn an_indefinite_operator_keeps_the_best_iterate() {
    for gpu in gpus() {
        let n = 60;
        let d: Vec<f32> = (0..n).map(|i| if i == 7 { -0.5 } else { 1.0 + (i % 6) as f32 }).collect();
        let b: Vec<f32> = (0..n).map(|i| if i == 7 { 0.05 } else { 1.0 }).collect();
        let operator = Diagonal::new(&gpu, &upload(&gpu, &d)).unwrap();
        let x = f32s(&gpu, &[n]);
        let report = solve(&operator, None, &upload(&gpu, &b), &x, &CgOptions { relative_tolerance: 1e-7, ..Default::default() });
        let apply = |x: &[f64]| -> Vec<f64> { x.iter().zip(&d).map(|(x, &d)| x * f64::from(d)).collect() };
        let expected = reference::cg(apply, <[f64]>::to_vec, &wide(&b), &vec![0.0; n], 1e-7, 0.0, 100);
        assert_eq!((report.status, expected.end), (Status::NegativeCurvature, CgEnd::NegativeCurvature));
        assert_eq!(report.iterations as usize, expected.history.len() - 1);
        assert!(report.iterations > 1);
        assert!(distance(&read(&gpu, &x), &expected.x) <= 1e-4 * norm(&expected.x));
        assert!((report.residual - distance(&apply(&expected.x), &wide(&b))).abs() <= 1e-4);
    }
}

/// Neither one that is not positive definite nor one that is not finite costs more than itself: the iterations are those
/// without it, from the one on in which it shows.
#[test]
fn a_preconditioner_of_no_use_is_dropped() {
    for gpu in gpus() {
        let (grid, n) = (Grid::new(12, 12), 144);
        let operator = grid.operator(&gpu);
        let b = noise(1, n);
        let options = CgOptions { relative_tolerance: 1e-4, ..Default::default() };
        let plain = solve(&operator, None, &upload(&gpu, &b), &f32s(&gpu, &[n]), &options);
        let mixed: Vec<f32> = (0..n).map(|i| if i % 3 == 0 { -2.0 } else { 0.1 }).collect();
        for diagonal in [vec![-1.0; n], vec![f32::NAN; n], vec![0.0; n], mixed] {
            let preconditioner = Diagonal::new(&gpu, &upload(&gpu, &diagonal)).unwrap();
            let x = f32s(&gpu, &[n]);
            let report = solve(&operator, Some(&preconditioner), &upload(&gpu, &b), &x, &options);
            assert_eq!((report.status, report.iterations, report.lost), (Status::Converged, plain.iterations, 1), "{report:?}");
            assert!(distance(&grid.apply(&read(&gpu, &x)), &wide(&b)) <= 1e-4 * norm(&wide(&b)));
        }
        // products of which f32 cannot hold
        for factor in [1e-30, 1e30] {
            let tiny = Diagonal::new(&gpu, &upload(&gpu, &vec![factor; n])).unwrap();
            let report = solve(&operator, Some(&tiny), &upload(&gpu, &b), &f32s(&gpu, &[n]), &options);
            assert_eq!((report.status, report.iterations, report.lost), (Status::Converged, plain.iterations, 1), "{report:?}");
        }
        // M = A - 1.5 I: positive on some residuals and not on others
        let late = Shifted::new(grid.operator(&gpu), -1.5);
        let x = f32s(&gpu, &[n]);
        let report = solve(&operator, Some(&late), &upload(&gpu, &b), &x, &options);
        assert_eq!((report.status, report.lost), (Status::Converged, 1), "{report:?}");
        assert!(distance(&grid.apply(&read(&gpu, &x)), &wide(&b)) <= 1e-4 * norm(&wide(&b)));
    }
}

#[test]
fn what_is_not_finite() {
    for gpu in gpus() {
        let grid = Grid::new(6, 6);
        for bad in [f32::NAN, f32::INFINITY] {
            let mut b = noise(1, 36);
            b[20] = bad;
            let x = upload(&gpu, &[0.25; 36]);
            let report = solve(&grid.operator(&gpu), None, &upload(&gpu, &b), &x, &CgOptions::default());
            assert_eq!((report.status, report.iterations), (Status::NonFinite, 0));
            assert_eq!(read(&gpu, &x), [0.25; 36]);
        }
        // a product that overflows in the second iteration: x is that of the first
        let mut d = vec![1.0f32; 36];
        d[3] = 3e38;
        let mut b = vec![1.0; 36];
        b[3] = 0.0;
        let x = f32s(&gpu, &[36]);
        let diagonal = Diagonal::new(&gpu, &upload(&gpu, &d)).unwrap();
        let operator = gradus::krylov::Sum::new(&diagonal, grid.operator(&gpu)).unwrap();
        let report = solve(&operator, None, &upload(&gpu, &b), &x, &CgOptions::default());
        assert_eq!(report.status, Status::NonFinite, "{report:?}");
        assert!(read(&gpu, &x).iter().all(|x| x.is_finite()));
    }
}

/// What the rounding of x to f32 makes of the residual, for signs of all kinds: the root of Σ (2⁻²⁴ x_j)² ‖A e_j‖².
fn rounding(grid: &Grid, x: &[f64]) -> f64 {
    let mut columns = vec![0.0; x.len()];
    grid.columns.iter().zip(&grid.values).for_each(|(&j, &a)| columns[j as usize] += f64::from(a * a));
    2f64.powi(-24) * x.iter().zip(&columns).map(|(x, column)| x * x * column).sum::<f64>().sqrt()
}

/// For a smooth right-hand side no vector of f32 has a residual of 1e-6: it ends where rounding is all that is left, in
/// as many iterations as f64 takes.
#[test]
fn residuals_that_f32_allow() {
    for gpu in gpus() {
        let (grid, n) = (Grid::new(64, 64), 64 * 64);
        let b: Vec<f32> = (0..n).map(|i| 1.0 + 0.3 * ((i % 64) as f32 / 20.0).cos()).collect();
        let x = f32s(&gpu, &[n]);
        let options = CgOptions { relative_tolerance: 1e-6, ..Default::default() };
        let cg = Cg::new(&grid.operator(&gpu), None, &upload(&gpu, &b), &x, &options);
        let report = pollster::block_on(cg.unwrap().solve()).unwrap();
        let expected = reference::cg(|x| grid.apply(x), <[f64]>::to_vec, &wide(&b), &vec![0.0; n], 1e-6 * norm(&wide(&b)), 0.0, 1000);
        let iterations = expected.history.len() as f64 - 1.0;
        assert_eq!(report.status, Status::PrecisionLimited);
        assert!(!report.converged());
        assert!(f64::from(report.iterations) <= 1.1 * iterations, "{} for {iterations}", report.iterations);
        let found = read(&gpu, &x);
        let (residual, rounding) = (distance(&grid.apply(&found), &wide(&b)), rounding(&grid, &found));
        assert!((report.rounding - rounding).abs() <= 0.1 * rounding, "{} for {rounding}", report.rounding);
        assert!((report.residual - residual).abs() <= 0.1 * residual, "{} for {residual}", report.residual);
        assert!(residual > 1e-5 * norm(&wide(&b)) && residual <= 8.0 * rounding, "{residual} with {rounding}");
        // the best that there is: the solution itself, rounded
        let rounded: Vec<f64> = expected.x.iter().map(|&x| f64::from(x as f32)).collect();
        assert!(distance(&grid.apply(&rounded), &wide(&b)) > 0.2 * rounding);
        assert!(distance(&found, &expected.x) <= 1e-5 * norm(&expected.x));
    }
}

/// The same where a tolerance is beyond f32 altogether.
#[test]
fn more_accuracy_than_f32_has() {
    let gpu = gpu(Checks::Unchecked);
    let grid = Grid::new(40, 40);
    let b = noise(9, 1600);
    let x = f32s(&gpu, &[1600]);
    let options = CgOptions { relative_tolerance: 1e-9, max_iterations: 4000, ..Default::default() };
    let report = solve(&grid.operator(&gpu), None, &upload(&gpu, &b), &x, &options);
    assert_eq!(report.status, Status::PrecisionLimited, "{} {}", report.iterations, report.residual);
    let found = read(&gpu, &x);
    let residual = distance(&grid.apply(&found), &wide(&b));
    assert!(residual <= 8.0 * rounding(&grid, &found), "{residual}");
    assert!((report.residual - residual).abs() <= 0.5 * residual, "{} for {residual}", report.residual);
}

/// Its products are a thousand times less exact than f32.
fn inexact(gpu: &Gpu, grid: &Grid) -> impl LinearOperator + use<> {
    Shifted::new(Shifted::new(grid.operator(gpu), 2000.0), -2000.0)
}

#[test]
fn products_that_are_not_exact_are_stagnation() {
    for gpu in gpus() {
        let grid = Grid::new(20, 20);
        let b = noise(9, 400);
        let x = f32s(&gpu, &[400]);
        let options = CgOptions { relative_tolerance: 1e-7, ..Default::default() };
        let report = solve(&inexact(&gpu, &grid), None, &upload(&gpu, &b), &x, &options);
        assert_eq!(report.status, Status::Stagnated, "{} {} {}", report.iterations, report.residual, report.rounding);
        assert!(report.residual > 8.0 * report.rounding && report.residual <= 1e-2 * norm(&wide(&b)), "{report:?}");
        let found = read(&gpu, &x);
        let rounding = rounding(&grid, &found);
        assert!((report.rounding - rounding).abs() <= 0.2 * rounding, "{} for {rounding}", report.rounding);
        let residual = distance(&grid.apply(&found), &wide(&b));
        assert!(residual <= 2.0 * report.residual, "{residual}");
    }
}

#[test]
fn an_iteration_limit() {
    for gpu in gpus() {
        let grid = Grid::new(20, 20);
        let b = noise(2, 400);
        for limit in [0, 1, 7] {
            let x = f32s(&gpu, &[400]);
            let options = CgOptions { max_iterations: limit, relative_tolerance: 0.0, check_every: 3, ..Default::default() };
            let report = solve(&grid.operator(&gpu), None, &upload(&gpu, &b), &x, &options);
            assert_eq!((report.status, report.iterations), (Status::IterationLimit, limit));
            let expected = reference::cg(|x| grid.apply(x), <[f64]>::to_vec, &wide(&b), &[0.0; 400], 0.0, 0.0, limit as usize);
            assert!(distance(&read(&gpu, &x), &expected.x) <= 1e-5 * norm(&expected.x));
        }
    }
}

#[test]
fn the_same_however_it_is_submitted() {
    for gpu in gpus() {
        let grid = Grid::new(33, 21);
        let n = 693;
        let b = upload(&gpu, &noise(6, n));
        let run = |times: u32, iterations: u32, one_encoder: bool| {
            let x = f32s(&gpu, &[n]);
            let cg = Cg::new(&grid.operator(&gpu), None, &b, &x, &CgOptions { relative_tolerance: 1e-5, ..Default::default() }).unwrap();
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            for _ in 0..times {
                cg.encode(&mut encoder, iterations);
                if !one_encoder {
                    let full = std::mem::replace(&mut encoder, gpu.device().create_command_encoder(&Default::default()));
                    gpu.queue().submit([full.finish()]);
                }
            }
            gpu.queue().submit([encoder.finish()]);
            (bits(&gpu, &x), pollster::block_on(cg.report()).unwrap())
        };
        let (together, report) = run(3, 9, true);
        assert_eq!((report.status, report.iterations), (Status::Running, 9));
        assert_eq!(run(3, 9, false).0, together);
        // two runs are the same, and what is encoded after the end does nothing
        let (x, long) = run(1, 200, true);
        assert_eq!(long.status, Status::Converged);
        assert_eq!(run(1, 200, true).0, x);
        assert_eq!(run(1, 300, true).0, x);
        assert_eq!(run(1, long.iterations, true).0, x);
    }
}

/// What is encoded is not begun again; the report says what has become of the true residual.
#[test]
fn a_report_of_what_was_encoded_is_true() {
    for gpu in gpus() {
        let grid = Grid::new(40, 40);
        let b = noise(9, 1600);
        let exact: Box<dyn LinearOperator> = Box::new(grid.operator(&gpu));
        let inexact: Box<dyn LinearOperator> = Box::new(inexact(&gpu, &grid));
        let cases = [(&exact, 1e-4, Status::Converged), (&exact, 1e-8, Status::PrecisionLimited), (&inexact, 1e-7, Status::Stagnated)];
        for (operator, tolerance, status) in cases {
            let x = f32s(&gpu, &[1600]);
            let options = CgOptions { relative_tolerance: tolerance, ..Default::default() };
            let cg = Cg::new(&**operator, None, &upload(&gpu, &b), &x, &options).unwrap();
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            cg.encode(&mut encoder, 400);
            gpu.queue().submit([encoder.finish()]);
            let report = pollster::block_on(cg.report()).unwrap();
            let found = read(&gpu, &x);
            let residual = distance(&grid.apply(&found), &wide(&b));
            assert_eq!(report.status, status, "{tolerance}: {residual}");
            // what an inexact product says of it is not exact either
            let wrong = if status == Status::Stagnated { 5.0 } else { 0.1 };
            assert!((report.residual - residual).abs() <= wrong * residual, "{tolerance}: {} for {residual}", report.residual);
            assert_eq!(residual <= tolerance * norm(&wide(&b)), status == Status::Converged, "{tolerance}: {residual}");
            assert_eq!(residual <= 8.8 * rounding(&grid, &found), status == Status::PrecisionLimited, "{tolerance}: {residual}");
        }
    }
}

/// On whose device no other test submits anything.
fn gpu_of_its_own() -> Gpu {
    let (device, queue) = common::device(wgpu::Limits::defaults());
    Gpu::new(&device, &queue).unwrap()
}

struct Nothing(Gpu);

impl LinearOperator for Nothing {
    fn gpu(&self) -> &Gpu {
        &self.0
    }

    fn dim(&self) -> usize {
        0
    }

    fn record(&self, _: &mut Recording, _: &Tensor, _: &Tensor) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_system_without_unknowns() {
    for gpu in gpus() {
        let (operator, b, x) = (Nothing(gpu.clone()), f32s(&gpu, &[0]), f32s(&gpu, &[0]));
        let report = solve(&operator, None, &b, &x, &CgOptions::default());
        assert_eq!((report.status, report.iterations, report.residual), (Status::Converged, 0, 0.0));
        let mut flexible = FlexibleCg::new(&operator, None, &b, &x, &FlexibleCgOptions::default()).unwrap();
        assert_eq!(pollster::block_on(flexible.solve()).unwrap().status, Status::Converged);
    }
}

/// The number that wgpu gives to the next submission. Mapping a buffer takes one as well.
fn next_submission(gpu: &Gpu) -> u64 {
    let index = format!("{:?}", gpu.queue().submit([]));
    index.chars().filter(char::is_ascii_digit).collect::<String>().parse::<u64>().unwrap() + 1
}

/// A batch is a submission with its look, and encoding submits nothing.
#[test]
fn few_submissions() {
    let gpu = gpu_of_its_own();
    let grid = Grid::new(20, 20);
    let (b, x) = (upload(&gpu, &noise(2, 400)), f32s(&gpu, &[400]));
    let options = CgOptions { max_iterations: 24, check_every: 4, relative_tolerance: 0.0, ..Default::default() };
    let mut cg = Cg::new(&grid.operator(&gpu), None, &b, &x, &options).unwrap();
    let before = next_submission(&gpu);
    let report = pollster::block_on(cg.solve()).unwrap();
    assert_eq!((report.status, report.iterations), (Status::IterationLimit, 24));
    // the start, six batches and one ahead, and the result, each with a look; loading, the end, and storing
    let made = next_submission(&gpu) - 1 - before;
    assert!((12..=21).contains(&made), "{made}");

    let before = next_submission(&gpu);
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    cg.encode(&mut encoder, 3);
    drop(encoder);
    assert_eq!(next_submission(&gpu), before + 1);
}

#[test]
fn truncation_and_snapshots() {
    for gpu in gpus() {
        let grid = Grid::new(40, 40);
        let n = 1600;
        let b = noise(8, n);
        let x = f32s(&gpu, &[n]);
        let options = CgOptions { relative_tolerance: 0.0, truncation: Some(0.0005), snapshots: true, ..Default::default() };
        let report = solve(&grid.operator(&gpu), None, &upload(&gpu, &b), &x, &options);
        assert_eq!(report.status, Status::Truncated);
        let b = wide(&b);
        let run = |limit: usize| reference::cg(|x| grid.apply(x), <[f64]>::to_vec, &b, &vec![0.0; n], 0.0, 0.0005, limit);
        let expected = run(1000);
        assert_eq!(expected.end, CgEnd::Truncated);
        assert!(u64::from(report.iterations).abs_diff(expected.history.len() as u64 - 1) <= 1);

        let taken: Vec<u32> = report.snapshots.iter().map(|snapshot| snapshot.iteration).collect();
        let schedule = [1, 2, 3, 4, 5, 7, 9, 11, 14, 18, 24, 31, 40, 52, 67];
        let due = schedule.into_iter().filter(|&i| i <= report.iterations);
        assert!(taken.iter().copied().eq(due), "{taken:?} of {}", report.iterations);
        for snapshot in report.snapshots.iter().filter(|snapshot| snapshot.iteration < 20) {
            let expected = run(snapshot.iteration as usize);
            assert!(distance(&read(&gpu, &snapshot.x), &expected.x) <= 1e-4 * norm(&expected.x), "{}", snapshot.iteration);
            let objective = expected.objectives[snapshot.iteration as usize];
            assert!((snapshot.objective - objective).abs() <= 1e-5 * objective.abs());
        }
    }
}

/// Damping on the device, as Hessian-free optimization changes it between two solutions.
#[test]
fn a_shift_on_the_device() {
    let gpu = gpu(Checks::Unchecked);
    let matrix = Tensor::from_slice(&gpu, &[2, 2], &[2.0f32, 1.0, 1.0, 2.0]).unwrap();
    let shift = upload(&gpu, &[1.0]);
    let operator = Shifted::new(Dense::new(&gpu, &matrix).unwrap(), &shift);
    let (b, x) = (upload(&gpu, &[1.0, 0.0]), f32s(&gpu, &[2]));
    let mut cg = Cg::new(&operator, None, &b, &x, &CgOptions { relative_tolerance: 1e-6, ..Default::default() }).unwrap();
    for (sigma, expected) in [(1.0f32, [3.0 / 8.0, -1.0 / 8.0]), (8.0, [10.0 / 99.0, -1.0 / 99.0])] {
        shift.write(&gpu, &[sigma]).unwrap();
        let report = pollster::block_on(cg.solve()).unwrap();
        assert_eq!(report.status, Status::Converged, "{report:?}");
        assert!(distance(&read(&gpu, &x), &expected) <= 1e-6);
    }
}

#[test]
fn an_iteration_is_few_dispatches() {
    let gpu = gpu(Checks::Unchecked);
    let operator =
        FromFn::new(&gpu, 4096, |recording: &mut Recording, x: &Tensor, y: &Tensor| vector::copy(&gpu, recording, x, y)).unwrap();
    let cg = Cg::new(&operator, None, &f32s(&gpu, &[4096]), &f32s(&gpu, &[4096]), &CgOptions::default()).unwrap();
    // the product, its dot in two, and three
    assert_eq!(cg.iteration().len(), 6);
    let own: u64 = cg.iteration().dispatches().skip(3).map(|dispatch| dispatch.bytes()).sum();
    assert!(own < 37 * 4096 + 64 * 1024, "{own}");
}

#[test]
fn what_is_refused() {
    let gpu = gpu(Checks::Unchecked);
    let operator = Grid::new(4, 4).operator(&gpu);
    let (b, x) = (f32s(&gpu, &[16]), f32s(&gpu, &[16]));
    let refused = |preconditioner: Option<&dyn Preconditioner>, b: &Tensor, x: &Tensor, options: CgOptions| {
        Cg::new(&operator, preconditioner, b, x, &options).unwrap_err()
    };
    let default = CgOptions::default;
    assert!(matches!(refused(None, &f32s(&gpu, &[15]), &x, default()), Error::Length { tensor, .. } if tensor == "b"));
    assert!(
        matches!(refused(None, &b, &Tensor::zeros(&gpu, &[16], DType::F16).unwrap(), default()), Error::DType { tensor, .. } if tensor == "x")
    );
    assert!(matches!(refused(None, &b, &b, default()), Error::Overlap { .. }));
    let small = Diagonal::new(&gpu, &f32s(&gpu, &[3])).unwrap();
    assert!(matches!(refused(Some(&small), &b, &x, default()), Error::Length { tensor, .. } if tensor == "preconditioner"));
    for (name, options) in [
        ("relative_tolerance", CgOptions { relative_tolerance: -1.0, ..default() }),
        ("absolute_tolerance", CgOptions { absolute_tolerance: f64::NAN, ..default() }),
        ("truncation", CgOptions { truncation: Some(0.0), ..default() }),
        ("check_every", CgOptions { check_every: 0, ..default() }),
    ] {
        assert!(matches!(refused(None, &b, &x, options), Error::Option { option, .. } if option == name));
    }
}
