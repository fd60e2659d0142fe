//! What went wrong in other solvers: scales, components, long channels, what f32 cannot hold. Right values are closed forms or
//! solutions in f64.

#![cfg(all(feature = "poisson", feature = "weights"))]

mod common;
#[path = "common/scenes.rs"]
mod scenes;
#[path = "common/systems.rs"]
mod systems;

use common::{bits, f32s, gpu, noise, read};
use gradus::gpu::Checks;
use gradus::krylov::{
    Cg, CgOptions, Csr, Dense, FlexibleCg, FlexibleCgOptions, LinearOperator, Preconditioner, Report, Richardson, RichardsonOptions,
    Scaled, Status,
};
use gradus::poisson::{Grid, IncompletePoisson, Jacobi, Laplacian, Multigrid, MultigridOptions};
use gradus::reference::krylov as reference;
use gradus::reference::poisson::Cells;
use gradus::reference::random::uniform;
use gradus::{Gpu, Recording, Tensor, vector};
use scenes::{Scene, gpus};
use systems::{distance, norm, upload, wide};

fn cg(operator: &dyn LinearOperator, preconditioner: Option<&dyn Preconditioner>, b: &[f32], tolerance: f64) -> (Report, Vec<f64>) {
    cg_from(operator, preconditioner, b, &vec![0.0; b.len()], tolerance)
}

fn cg_from(
    operator: &dyn LinearOperator,
    preconditioner: Option<&dyn Preconditioner>,
    b: &[f32],
    start: &[f32],
    tolerance: f64,
) -> (Report, Vec<f64>) {
    let gpu = operator.gpu();
    let (b, x) = (upload(gpu, b), upload(gpu, start));
    let options = CgOptions { relative_tolerance: tolerance, ..Default::default() };
    let report = pollster::block_on(Cg::new(operator, preconditioner, &b, &x, &options).unwrap().solve()).unwrap();
    (report, read(gpu, &x))
}

fn flexible(operator: &dyn LinearOperator, preconditioner: Option<&dyn Preconditioner>, b: &[f32], tolerance: f64) -> (Report, Vec<f64>) {
    let gpu = operator.gpu();
    let (b, x) = (upload(gpu, b), f32s(gpu, &[b.len()]));
    let options = FlexibleCgOptions { relative_tolerance: tolerance, ..Default::default() };
    let report = pollster::block_on(FlexibleCg::new(operator, preconditioner, &b, &x, &options).unwrap().solve()).unwrap();
    (report, read(gpu, &x))
}

/// By an encoder, without a look or a restart.
fn encoded(operator: &dyn LinearOperator, preconditioner: Option<&dyn Preconditioner>, b: &[f32], tolerance: f64) -> (Report, Vec<f64>) {
    let gpu = operator.gpu();
    let (b, x) = (upload(gpu, b), f32s(gpu, &[b.len()]));
    let options = CgOptions { relative_tolerance: tolerance, ..Default::default() };
    let cg = Cg::new(operator, preconditioner, &b, &x, &options).unwrap();
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    cg.encode(&mut encoder, 150);
    gpu.queue().submit([encoder.finish()]);
    (pollster::block_on(cg.report()).unwrap(), read(gpu, &x))
}

/// The solution in f64, of least norm.
fn exact(cells: &Cells, b: &[f32]) -> Vec<f64> {
    let consistent = cells.project(&wide(b));
    let zero = vec![0.0; b.len()];
    let run = reference::cg(|x| cells.apply(x), |r| cells.project(r), &consistent, &zero, 1e-12 * norm(&consistent), 0.0, 10_000);
    cells.project(&run.x)
}

fn multigrid(gpu: &Gpu, grid: &Grid) -> Multigrid {
    Multigrid::new(gpu, grid, &MultigridOptions::default()).unwrap()
}

/// A cell with solid all around holds nothing that counts, however large; the rest is solved.
#[test]
fn a_sealed_cell_hides_nothing() {
    for gpu in gpus() {
        let (width, n) = (9, 9 * 8);
        // solid in the first three columns, but for a cell in the middle of them
        let mut flags: Vec<u8> = (0..n).map(|i| u8::from(i % width < 3)).collect();
        let pocket = 4 * width + 1;
        flags[pocket] = 0;
        for (large, small) in [(1000.0, 5e-4), (3e9, 1e-9), (1e30, 1e-30)] {
            let mut b = vec![0.0f32; n];
            b[pocket] = large;
            (b[width + 5], b[6 * width + 8]) = (small, -small);
            let sizes = [8, 9];
            let grid = Grid::new(&sizes).unwrap().with_flags(&flags).unwrap();
            let cells = Cells { sizes: &sizes, flags: &flags, open: &[[false; 2]; 2], ..Default::default() };
            let laplacian = Laplacian::new(&gpu, &grid).unwrap();
            let cycle = multigrid(&gpu, &grid);
            let expected = exact(&cells, &b);
            for preconditioner in [None, Some(&cycle as &dyn Preconditioner)] {
                for (report, x) in [cg(&laplacian, preconditioner, &b, 1e-5), flexible(&laplacian, preconditioner, &b, 1e-5)] {
                    assert_eq!(report.status, Status::Converged, "{report:?}");
                    assert_eq!(x[pocket], 0.0);
                    assert!(norm(&x) > 0.0 && distance(&x, &expected) <= 1e-4 * norm(&expected), "{large} {small}");
                }
            }
        }
    }
}

/// The mean of b is a million times the rest: of 64 by 64 cells with b = 1e6 + 0.5 cos(π (i + 1/2) / 64), which f32 rounds.
#[test]
fn a_large_mean_hides_nothing() {
    for gpu in gpus() {
        let (n, sizes) = (64 * 64, [64, 64]);
        let b: Vec<f32> = (0..n).map(|i| 1e6 + 0.5 * (std::f32::consts::PI * ((i % 64) as f32 + 0.5) / 64.0).cos()).collect();
        let grid = Grid::new(&sizes).unwrap();
        let (flags, open) = (vec![0; n], [[false; 2]; 2]);
        let cells = Cells { sizes: &sizes, flags: &flags, open: &open, ..Default::default() };
        let expected = exact(&cells, &b);
        // 0.5 √2048 / (2 - 2 cos(π / 64))
        assert!((norm(&expected) - 9486.7).abs() < 30.0, "{}", norm(&expected));
        let (report, x) = cg(&Laplacian::new(&gpu, &grid).unwrap(), Some(&multigrid(&gpu, &grid)), &b, 1e-4);
        assert!(matches!(report.status, Status::Converged | Status::PrecisionLimited), "{report:?}");
        assert!(distance(&x, &expected) <= 1e-3 * norm(&expected), "{} of {}", norm(&x), norm(&expected));
    }
}

/// A b that is constant on closed components has no part in the range, whatever the constants.
#[test]
fn constants_on_closed_components_are_nothing() {
    for gpu in gpus() {
        let flags: Vec<u8> = (0..30 * 30).map(|i| u8::from(i % 30 == 11 || i / 30 == 20)).collect();
        let grid = Grid::new(&[30, 30]).unwrap().with_flags(&flags).unwrap();
        let b: Vec<f32> =
            (0..900).map(|i| [1e30, 0.1, -7.3e-20, 1234.567][usize::from(i % 30 > 11) + 2 * usize::from(i / 30 > 20)]).collect();
        let (report, x) = cg_from(&Laplacian::new(&gpu, &grid).unwrap(), None, &b, &vec![3.0; 900], 1e-6);
        assert_eq!((report.status, report.iterations, report.residual), (Status::Converged, 0, 0.0));
        assert_eq!(x, vec![0.0; 900]);
    }
}

/// 8 by 8 cells, all open, b constant: x(3, 3) = 5.786903 b.
#[test]
fn any_scale_of_the_right_hand_side() {
    for gpu in gpus() {
        let grid = Grid::new(&[8, 8]).unwrap().with_open(&[[true; 2]; 2]).unwrap();
        let (laplacian, cycle) = (Laplacian::new(&gpu, &grid).unwrap(), multigrid(&gpu, &grid));
        let jacobi = Jacobi::new(&gpu, &grid).unwrap();
        let preconditioners: [Option<&dyn Preconditioner>; 3] = [None, Some(&cycle), Some(&jacobi)];
        for (i, b) in [1e-36f32, 1e-30, 1e-24, 1e-20, 1.0, 1e20, 1e37].into_iter().enumerate() {
            let preconditioner = preconditioners[i % 3];
            let full = vec![b; 64];
            for (report, x) in [cg(&laplacian, preconditioner, &full, 1e-5), flexible(&laplacian, preconditioner, &full, 1e-5)] {
                assert_eq!(report.status, Status::Converged, "{b}: {report:?}");
                assert!((x[27] / f64::from(b) - 5.786903).abs() <= 1e-4, "{b}: {}", x[27] / f64::from(b));
                assert!(report.residual <= 1e-5 * 8.0 * f64::from(b) && report.history[0] > 7.9 * f64::from(b), "{report:?}");
            }
        }
        // a subnormal x is not exact to more than its spacing, and says so
        let (report, x) = cg(&laplacian, None, &[1e-40; 64], 1e-5);
        assert!(matches!(report.status, Status::PrecisionLimited), "{report:?}");
        assert!((x[27] / 5.786903e-40 - 1.0).abs() <= 1e-4, "{}", x[27]);
        // and one that is too large is none
        let (report, x) = cg_from(&laplacian, None, &[3e38; 64], &[0.25; 64], 1e-5);
        assert_eq!(report.status, Status::NonFinite, "{report:?}");
        assert_eq!(x, [0.25; 64]);
    }
}

/// c times the five points of 20² cells, b = c: x(9, 9) = 32.3065.
#[test]
fn any_scale_of_the_operator() {
    let (width, n) = (20usize, 400);
    let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
    for i in 0..n {
        let (x, y) = (i % width, i / width);
        let all =
            [(true, i), (x > 0, i.wrapping_sub(1)), (x + 1 < width, i + 1), (y > 0, i.wrapping_sub(width)), (y + 1 < width, i + width)];
        for (_, j) in all.into_iter().filter(|&(inside, _)| inside) {
            columns.push(j as u32);
            values.push(if i == j { 4.0f32 } else { -1.0 });
        }
        offsets.push(columns.len() as u32);
    }
    for gpu in gpus() {
        for c in [1e-24f32, 1e-20, 1e-16, 1e-14, 1.0, 1e13, 1e20, 1e24] {
            let scaled: Vec<f32> = values.iter().map(|value| c * value).collect();
            let operator = Csr::new(&gpu, &offsets, &columns, &scaled).unwrap();
            let inverse = gradus::krylov::Diagonal::inverse(&gpu, &upload(&gpu, &vec![4.0 * c; n])).unwrap();
            let preconditioners: [Option<&dyn Preconditioner>; 2] = [None, Some(&inverse)];
            for preconditioner in preconditioners {
                for (report, x) in
                    [cg(&operator, preconditioner, &vec![c; n], 1e-5), flexible(&operator, preconditioner, &vec![c; n], 1e-5)]
                {
                    assert_eq!(report.status, Status::Converged, "{c}: {report:?}");
                    assert!((x[9 * width + 9] - 32.3065).abs() <= 1e-2, "{c}: {}", x[9 * width + 9]);
                }
            }
            let (b, x) = (upload(&gpu, &vec![c; n]), f32s(&gpu, &[n]));
            let options = RichardsonOptions { relative_tolerance: 1e-3, max_iterations: 3000, check_every: 64, ..Default::default() };
            let mut richardson = Richardson::new(&operator, &inverse, &b, &x, &options).unwrap();
            if c == 1e-20 || c == 1e20 {
                assert_eq!(pollster::block_on(richardson.solve()).unwrap().status, Status::Converged);
                assert!((read(&gpu, &x)[9 * width + 9] - 32.3065).abs() <= 0.2);
            }
        }
    }
}

/// One row of n cells, the far end open, b = 1 in the first cell: x = n - i. From a few thousand cells on rounding x is more than
/// b, and the status says so.
#[test]
fn long_channels_say_what_f32_allow() {
    let gpu = gpu(Checks::Unchecked);
    for n in [64usize, 4096, 16_384, 65_536] {
        let sizes = [1, n];
        let grid = Grid::new(&sizes).unwrap().with_open(&[[false; 2], [false, true]]).unwrap();
        let mut b = vec![0.0; n];
        b[0] = 1.0;
        let (report, x) = cg(&Laplacian::new(&gpu, &grid).unwrap(), Some(&multigrid(&gpu, &grid)), &b, 1e-3);
        let (flags, open) = (vec![0; n], [[false; 2], [false, true]]);
        let residual = distance(&Cells { sizes: &sizes, flags: &flags, open: &open, ..Default::default() }.apply(&x), &wide(&b));
        assert!((report.residual - residual).abs() <= 0.1 * residual + report.rounding, "{n}: {} {residual}", report.residual);
        let converged = residual <= 1e-3;
        assert_eq!(report.status, if n == 64 { Status::Converged } else { Status::PrecisionLimited }, "{n}: {report:?}");
        assert_eq!(report.converged(), converged, "{n}: {residual}");
        if converged {
            assert!((x[0] / n as f64 - 1.0).abs() <= 1e-2, "{n}: {}", x[0]);
        }
    }
}

/// What is in cells that are not fluid counts neither in z nor in ⟨r, z⟩.
#[test]
fn preconditioners_do_not_see_other_cells() {
    for gpu in gpus() {
        for sizes in [&[6usize, 9][..], &[40, 41], &[5, 6, 7]] {
            let scene = Scene::random(3, sizes, 0.2, 0.2);
            let grid = scene.grid();
            let (jacobi, incomplete) = (Jacobi::new(&gpu, &grid).unwrap(), IncompletePoisson::new(&gpu, &grid).unwrap());
            let (cycle, laplacian) = (multigrid(&gpu, &grid), Laplacian::new(&gpu, &grid).unwrap());
            let all: [(&str, &dyn Preconditioner); 4] =
                [("jacobi", &jacobi), ("incomplete poisson", &incomplete), ("multigrid", &cycle), ("laplacian", &laplacian)];
            let clean: Vec<f32> =
                noise(4, grid.len()).iter().zip(&scene.flags).map(|(r, &flag)| if flag == 0 { *r } else { 0.0 }).collect();
            for bad in [f32::NAN, f32::INFINITY] {
                let dirty: Vec<f32> = clean.iter().zip(&scene.flags).map(|(r, &flag)| if flag == 0 { *r } else { bad }).collect();
                for (name, preconditioner) in all {
                    let apply = |r: &[f32]| {
                        let (r, z, dot) = (upload(&gpu, r), f32s(&gpu, &[grid.len()]), f32s(&gpu, &[1]));
                        let mut recording = Recording::new();
                        preconditioner.record_dot(&mut recording, &r, &z, &dot).unwrap();
                        gpu.submit([&recording]);
                        (bits(&gpu, &z), read(&gpu, &dot)[0], read(&gpu, &z))
                    };
                    let (expected, _, z) = apply(&clean);
                    let (found, dot, _) = apply(&dirty);
                    assert_eq!(found, expected, "{name}");
                    let product: f64 = clean.iter().zip(&z).map(|(&r, z)| f64::from(r) * z).sum();
                    assert!((dot - product).abs() <= 1e-5 * product.abs() + 1e-6, "{name}: {dot} {product}");
                }
            }
        }
    }
}

/// An x from which b cannot be told is not begun at.
#[test]
fn a_start_far_off_is_not_used() {
    let gpu = gpu(Checks::Unchecked);
    let matrix = Tensor::from_slice(&gpu, &[2, 2], &[2.0f32, 1.0, 1.0, 2.0]).unwrap();
    let operator = Dense::new(&gpu, &matrix).unwrap();
    for start in [1e9f32, 1e30, 3e38] {
        for b in [1e-30f32, 1.0] {
            let (report, x) = cg_from(&operator, None, &[b, 0.0], &[start, -start], 1e-6);
            assert_eq!(report.status, Status::Converged, "{start} {b}: {report:?}");
            let expected = [2.0 / 3.0, -1.0 / 3.0].map(|x| x * f64::from(b));
            assert!(distance(&x, &expected) <= 1e-6 * f64::from(b), "{x:?}");
        }
    }
}

/// Scenes with components, b from 1e-30 to 1e30, A from 1e-15 to 1e15: a status is true in f64.
#[test]
fn statuses_are_true_at_all_scales() {
    let gpus = gpus();
    let mut ends = std::collections::BTreeMap::new();
    for seed in 0..1000u64 {
        let gpu = &gpus[seed as usize % gpus.len()];
        let u: Vec<f64> = uniform(seed, 3, 12).into_iter().map(f64::from).collect();
        let dim = 2 + (u[0] < 0.3) as usize;
        let sizes: Vec<usize> = u[1..=dim].iter().map(|u| 1 + (u * [20.0, 7.0][dim - 2]) as usize).collect();
        let solid = [0.0, 0.2, 0.45][(3.0 * u[4]) as usize];
        let air = [0.0, 0.0, 0.1][(3.0 * u[5]) as usize];
        let scene = Scene::random(seed, &sizes, solid, air);
        let n = scene.flags.len();
        let cells = scene.cells();
        let (scale_b, scale_a) = (10f64.powf(60.0 * u[6] - 30.0), 10f64.powf(30.0 * u[7] - 15.0) as f32);
        // every component with a mean of its own, some of nothing but that
        let flat = u[8] < 0.2;
        let offset = [0.0, 1.0, 1e4][(3.0 * u[9]) as usize];
        let b: Vec<f32> = noise(seed, n).iter().map(|b| (scale_b * (offset + if flat { 0.0 } else { f64::from(*b) })) as f32).collect();
        let laplacian = scene.laplacian(gpu);
        let operator = Scaled::new(&laplacian, f64::from(scale_a));
        let jacobi = Scaled::new(Jacobi::new(gpu, &scene.grid()).unwrap(), 1.0 / f64::from(scale_a));
        // whose scale is not that of A
        let cycle = multigrid(gpu, &scene.grid());
        let preconditioner = [None, Some(&jacobi as &dyn Preconditioner), Some(&cycle)][(3.0 * u[10]) as usize];
        let tolerance = 10f64.powf(-3.0 - 2.0 * u[11]);
        let (report, x) = match seed % 3 {
            0 => cg(&operator, preconditioner, &b, tolerance),
            1 => flexible(&operator, preconditioner, &b, tolerance),
            _ => encoded(&operator, preconditioner, &b, tolerance),
        };
        let case = format!("{seed} {sizes:?} b {scale_b:e} A {scale_a:e} {tolerance:e}: {report:?}");
        // everything in units of b, for f64 has its limits as well
        let unit = |v: &[f64], factor: f64| -> Vec<f64> { v.iter().map(|v| v * factor).collect() };
        let consistent = cells.project(&unit(&wide(&b), 1.0 / scale_b));
        let product = unit(&cells.apply(&x), f64::from(scale_a) / scale_b);
        let (residual, size) = (distance(&product, &consistent), norm(&consistent));
        // noise of the projection in f64
        let nothing = size <= 1e-12 * norm(&unit(&wide(&b), 1.0 / scale_b));
        *ends.entry(format!("{:?}", report.status)).or_insert(0) += 1;
        match report.status {
            Status::Converged if nothing => assert!(x.iter().all(|&x| x == 0.0), "{case}"),
            Status::Converged => {
                assert!(residual <= tolerance * size, "{case}: {residual:e} of {size:e}");
                assert!(norm(&x) > 0.0, "{case}");
            }
            Status::PrecisionLimited => assert!(residual > 0.2 * tolerance * size, "{case}: {residual:e} of {size:e}"),
            // r and b - A x differ by what a restart would take away
            Status::Stagnated if seed % 3 == 2 => {
                assert!(residual > 0.9 * tolerance * size && residual < 1.5 * tolerance * size, "{case}: {residual:e} of {size:e}");
            }
            Status::Running if seed % 3 == 2 => assert!(residual > 0.9 * tolerance * size, "{case}: {residual:e} of {size:e}"),
            // x is beyond f32
            Status::NonFinite => {
                let solution = exact(&cells, &b.iter().map(|b| (f64::from(*b) / scale_b) as f32).collect::<Vec<_>>());
                let largest = solution.iter().fold(0.0, |m: f64, x| m.max(x.abs())) * scale_b / f64::from(scale_a);
                assert!(largest > 3.4e38 && (seed % 3 == 2 || x.iter().all(|&x| x == 0.0)), "{case}: {largest:e}");
            }
            _ => panic!("{case}"),
        }
        if report.status != Status::NonFinite && !nothing {
            let found = report.residual / scale_b;
            assert!((found - residual).abs() <= 0.1 * residual + 2.0 * report.rounding / scale_b + 1e-6 * size, "{case}: {residual:e}");
        }
    }
    println!("{ends:?}");
    assert!(ends["Converged"] > 900, "{ends:?}");
}

/// Whether the device takes subnormal products for 0.
fn flushes(gpu: &Gpu) -> bool {
    let (y, x) = (upload(gpu, &[0.0]), upload(gpu, &[1e-20]));
    let mut recording = Recording::new();
    vector::axpy(gpu, &mut recording, 1e-20, &x, &y).unwrap();
    gpu.submit([&recording]);
    read(gpu, &y) == [0.0]
}

/// Systems of two unknowns at the ends of what f32 hold: x beyond it, and ⟨p, A p⟩ below it with a tolerance that is not in reach.
#[test]
fn ends_of_the_range_have_their_status() {
    for gpu in gpus() {
        let solve = |diagonal: [f32; 2], b: [f32; 2], tolerance: f64, max_iterations: u32| {
            let operator = gradus::krylov::Diagonal::new(&gpu, &upload(&gpu, &diagonal)).unwrap();
            let (b, x) = (upload(&gpu, &b), upload(&gpu, &[0.5, 0.5]));
            let options = CgOptions { relative_tolerance: tolerance, max_iterations, ..Default::default() };
            let report = pollster::block_on(Cg::new(&operator, None, &b, &x, &options).unwrap().solve()).unwrap();
            (report, read(&gpu, &x))
        };
        // 1e20 / 1e-30, also after the first iteration, which is along b
        for max_iterations in [1, 100] {
            for tolerance in [0.0, 1e-5] {
                let (report, x) = solve([1e-30, 1.0], [1e20, 1.0], tolerance, max_iterations);
                assert_eq!((report.status, x), (Status::NonFinite, vec![0.5; 2]), "{report:?}");
            }
        }
        // ⟨p, A p⟩ is subnormal, which some devices take for 0
        let (report, x) = solve([1e-30, 2e-30], [1e-4, 1e-4], 0.0, 100);
        if flushes(&gpu) {
            assert_eq!(report.status, Status::NegativeCurvature, "{report:?}");
        } else {
            assert_eq!(report.status, Status::PrecisionLimited, "{report:?}");
            assert!(distance(&x, &[1e26, 5e25]) <= 1e-5 * 1e26, "{x:?}");
        }
        // an operator that is not positive stays one
        let (report, _) = solve([1.0, -1.0], [1.0, 1.0], 0.0, 100);
        assert_eq!(report.status, Status::NegativeCurvature, "{report:?}");
    }
}

/// The ends of the options' ranges: no iterations with snapshots asked for, and one look at the end.
#[test]
fn ends_of_the_options_are_valid() {
    let gpu = gpu(Checks::Checked);
    let operator = gradus::krylov::Diagonal::new(&gpu, &upload(&gpu, &[1.0, 2.0, 4.0])).unwrap();
    let b = upload(&gpu, &[1.0; 3]);
    for (max_iterations, check_every, status) in [(0, 8, Status::IterationLimit), (50, u32::MAX, Status::Converged)] {
        let x = f32s(&gpu, &[3]);
        let options = CgOptions { max_iterations, check_every, snapshots: true, ..Default::default() };
        let report = pollster::block_on(Cg::new(&operator, None, &b, &x, &options).unwrap().solve()).unwrap();
        assert_eq!((report.status, report.snapshots.is_empty()), (status, max_iterations == 0), "{report:?}");
    }
}
