//! Flexible conjugate gradients: against f64, with preconditioners of all kinds, and however they are submitted.

#![cfg(feature = "krylov")]

mod common;
#[path = "common/systems.rs"]
mod systems;

use common::{bits, f32s, gpu, gpu_for, noise, read};
use gradus::gpu::{Checks, Target};
use gradus::krylov::{Dense, Diagonal, FlexibleCg, FlexibleCgOptions, FromFn, LinearOperator, Preconditioner, Report, Status};
use gradus::reference::krylov::{self as reference, CgEnd};
use gradus::{Error, Gpu, Recording, Result, Tensor, vector};
use systems::{Grid, distance, norm, upload, wide};

fn gpus() -> [Gpu; 3] {
    [gpu(Checks::Unchecked), gpu(Checks::Checked), gpu_for(Target::discrete())]
}

fn solve(
    operator: &dyn LinearOperator,
    preconditioner: Option<&dyn Preconditioner>,
    b: &Tensor,
    x: &Tensor,
    options: &FlexibleCgOptions,
) -> Report {
    pollster::block_on(FlexibleCg::new(operator, preconditioner, b, x, options).unwrap().solve()).unwrap()
}

/// A kernel of the tests' own: not linear, not symmetric, of both signs, and without regard for the null space.
fn crooked(r: &[f64]) -> Vec<f64> {
    let before = |i: usize| if i > 0 { r[i - 1] } else { 0.0 };
    (0..r.len()).map(|i| -(r[i] / (1.0 + 0.5 * r[i].abs()) + 0.3 * before(i).abs())).collect()
}

fn crooked_on(gpu: &Gpu, n: usize) -> FromFn<impl Fn(&mut Recording, &Tensor, &Tensor) -> Result<()> + use<>> {
    let source = "
        @group(0) @binding(0) var<storage, read> r: array<f32>;
        @group(0) @binding(1) var<storage, read_write> z: array<f32>;
        @compute @workgroup_size(64)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let i = id.x;
            if i < COUNTu {
                var before = 0.0;
                if i > 0u { before = r[i - 1u]; }
                z[i] = -(r[i] / (1.0 + 0.5 * abs(r[i])) + 0.3 * abs(before));
            }
        }";
    let module = gpu.device().create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.replace("COUNT", &n.to_string()).into()),
    });
    let pipeline = gpu.device().create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let device = gpu.device().clone();
    FromFn::new(gpu, n, move |recording, r, z| {
        fn whole(tensor: &Tensor) -> wgpu::BufferBinding<'_> {
            wgpu::BufferBinding { buffer: tensor.buffer(), offset: tensor.offset(), size: None }
        }
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(whole(r)) },
                wgpu::BindGroupEntry { binding: 1, resource: wgpu::BindingResource::Buffer(whole(z)) },
            ],
        });
        recording.custom("crooked", &pipeline, &group, [n.div_ceil(64) as u32, 1, 1]);
        Ok(())
    })
    .unwrap()
}

/// The first iterations are those of f64, before rounding has had its way.
fn assert_as_in_f64(report: &Report, expected: &reference::FlexibleCg, case: &str) {
    let scale = expected.history[0];
    for i in 0..report.history.len().min(expected.history.len()).min(16) {
        let (found, wanted) = (report.history[i], expected.history[i]);
        assert!((found - wanted).abs() <= 2e-3 * wanted + 1e-5 * scale, "{case}, {i}: {found} for {wanted}");
        let (found, wanted) = (report.objectives[i], expected.objectives[i]);
        let size = expected.objectives.iter().fold(0.0, |size: f64, phi| size.max(phi.abs()));
        assert!((found - wanted).abs() <= 2e-3 * size, "{case}, {i}: {found} for {wanted}");
    }
}

#[test]
fn laplacians_as_in_f64() {
    for gpu in gpus() {
        for grid in [Grid::open_box(1, 1), Grid::open_box(3, 1), Grid::open_box(13, 11), Grid::open_box(70, 67)] {
            let b = noise(grid.n as u64, grid.n);
            let operator = grid.operator(&gpu);
            let crooked_on = crooked_on(&gpu, grid.n);
            for truncation in [0, 1, 2, 3, 8] {
                for recompute_every in [0, 1, 4] {
                    let case = format!("{} cells, truncation {truncation}, recomputed {recompute_every}", grid.n);
                    let options = FlexibleCgOptions {
                        relative_tolerance: 1e-4,
                        max_iterations: 40,
                        truncation,
                        recompute_every,
                        ..Default::default()
                    };
                    let x = f32s(&gpu, &[grid.n]);
                    let report = solve(&operator, Some(&crooked_on), &upload(&gpu, &b), &x, &options);
                    let b = wide(&b);
                    let (m, j) = (truncation as usize, recompute_every as usize);
                    let expected = reference::flexible_cg(|x| grid.apply(x), crooked, &b, m, j, 1e-4 * norm(&b), 40);
                    assert_as_in_f64(&report, &expected, &case);
                    let end = if expected.end == CgEnd::Converged { Status::Converged } else { Status::IterationLimit };
                    assert_eq!((report.status, report.lost), (end, 0), "{case}");
                    // what is reported is what is
                    let residual = distance(&grid.apply(&read(&gpu, &x)), &b);
                    assert!(
                        (report.residual - residual).abs() <= 1e-3 * residual + 1e-5 * norm(&b),
                        "{case}: {} for {residual}",
                        report.residual
                    );
                }
            }
        }
    }
}

/// Where the preconditioner is linear, one direction is as good as all.
#[test]
fn dense_matrices_and_the_jacobi_preconditioner() {
    for gpu in gpus() {
        for n in [1, 2, 7, 65] {
            // symmetric, with a dominant diagonal that varies
            let element = |i: usize, j: usize| {
                let beside = noise((i.min(j) * n + i.max(j)) as u64, 1)[0] / n as f32;
                if i == j { 1.5 + (i % 7) as f32 * 3.0 } else { beside }
            };
            let matrix: Vec<f32> = (0..n * n).map(|k| element(k / n, k % n)).collect();
            let diagonal: Vec<f32> = (0..n).map(|i| element(i, i)).collect();
            let operator = Dense::new(&gpu, &Tensor::from_slice(&gpu, &[n, n], &matrix).unwrap()).unwrap();
            let jacobi = Diagonal::inverse(&gpu, &upload(&gpu, &diagonal)).unwrap();
            let apply = |x: &[f64]| -> Vec<f64> { (0..n).map(|i| (0..n).map(|j| f64::from(matrix[i * n + j]) * x[j]).sum()).collect() };
            let precondition = |r: &[f64]| -> Vec<f64> { r.iter().zip(&diagonal).map(|(r, &d)| r / f64::from(d)).collect() };
            let b = noise(2, n);
            let expected = reference::cg(apply, precondition, &wide(&b), &vec![0.0; n], 1e-5 * norm(&wide(&b)), 0.0, 100);
            for truncation in [1, 2, 8] {
                let x = f32s(&gpu, &[n]);
                let options = FlexibleCgOptions { truncation, ..Default::default() };
                let report = solve(&operator, Some(&jacobi), &upload(&gpu, &b), &x, &options);
                assert_eq!(report.status, Status::Converged);
                assert!(u64::from(report.iterations).abs_diff(expected.history.len() as u64 - 1) <= 1, "{n}: {report:?}");
                assert!(distance(&read(&gpu, &x), &expected.x) <= 4e-5 * norm(&expected.x));
            }
        }
    }
}

#[test]
fn a_singular_operator_with_a_preconditioner_that_does_not_care() {
    for gpu in [gpu(Checks::Unchecked), gpu_for(Target::discrete())] {
        let grid = Grid::closed_box(33, 20);
        let b: Vec<f32> = noise(5, grid.n).iter().map(|b| b + 3.0).collect();
        let consistent = grid.project(&wide(&b));
        // a large constant beside the residual
        for offset in [0.0f32, 30.0] {
            let offsets = upload(&gpu, &vec![offset; grid.n]);
            let preconditioner = FromFn::new(&gpu, grid.n, |recording, r, z| {
                vector::copy(&gpu, recording, r, z)?;
                vector::axpy(&gpu, recording, 1.0, &offsets, z)
            })
            .unwrap();
            let x = f32s(&gpu, &[grid.n]);
            let report = solve(&grid.operator(&gpu), Some(&preconditioner), &upload(&gpu, &b), &x, &FlexibleCgOptions::default());
            let expected = reference::flexible_cg(|x| grid.apply(x), <[f64]>::to_vec, &consistent, 2, 0, 1e-5 * norm(&consistent), 1000);
            assert_eq!(report.status, Status::Converged, "{offset}: {} {}", report.iterations, report.residual);
            assert!(f64::from(report.iterations) <= 1.1 * expected.history.len() as f64, "{offset}: {}", report.iterations);
            let found = read(&gpu, &x);
            assert!(distance(&grid.project(&found), &found) <= 1e-5 * norm(&found));
            assert!(distance(&found, &grid.project(&expected.x)) <= 1e-2 * norm(&expected.x));
        }
    }
}

/// r itself is the direction after one that is of no use.
#[test]
fn useless_preconditioners_lose_every_other_iteration() {
    for gpu in gpus() {
        let grid = Grid::open_box(12, 9);
        let b = noise(6, grid.n);
        for useless in [0.0f32, f32::NAN, f32::INFINITY] {
            let says = upload(&gpu, &vec![useless; grid.n]);
            let preconditioner = FromFn::new(&gpu, grid.n, |recording, _, z| vector::copy(&gpu, recording, &says, z)).unwrap();
            for (truncation, recompute_every) in [(0, 0), (2, 0), (2, 1), (5, 3)] {
                let x = f32s(&gpu, &[grid.n]);
                let options =
                    FlexibleCgOptions { max_iterations: 21, relative_tolerance: 0.0, truncation, recompute_every, ..Default::default() };
                let report = solve(&grid.operator(&gpu), Some(&preconditioner), &upload(&gpu, &b), &x, &options);
                let constant = |r: &[f64]| vec![f64::from(useless); r.len()];
                let (m, j) = (truncation as usize, recompute_every as usize);
                let expected = reference::flexible_cg(|x| grid.apply(x), constant, &wide(&b), m, j, 0.0, 21);
                assert_eq!((report.status, report.iterations, report.lost), (Status::IterationLimit, 21, 11));
                assert_eq!(expected.lost, 11);
                assert_as_in_f64(&report, &expected, &format!("{useless}"));
                assert!(distance(&read(&gpu, &x), &expected.x) <= 1e-3 * norm(&expected.x));
            }
        }
    }
}

/// In every other iteration, where there is room for the last direction beside the one of no use.
#[test]
fn preconditioners_of_no_use_leave_conjugate_gradients() {
    for gpu in gpus() {
        let grid = Grid::open_box(24, 21);
        let b = noise(7, grid.n);
        let size = norm(&wide(&b));
        let plain = reference::cg(|x| grid.apply(x), <[f64]>::to_vec, &wide(&b), &vec![0.0; grid.n], 1e-4 * size, 0.0, 1000);
        let plain = plain.history.len() as u32 - 1;
        for says in [0.0, f32::NAN] {
            let says = upload(&gpu, &vec![says; grid.n]);
            let preconditioner = FromFn::new(&gpu, grid.n, |recording, _, z| vector::copy(&gpu, recording, &says, z)).unwrap();
            for (truncation, recompute_every) in [(2, 0), (2, 1), (3, 3)] {
                let x = f32s(&gpu, &[grid.n]);
                let options = FlexibleCgOptions { relative_tolerance: 1e-4, truncation, recompute_every, ..Default::default() };
                let report = solve(&grid.operator(&gpu), Some(&preconditioner), &upload(&gpu, &b), &x, &options);
                let case = format!("{truncation}, {recompute_every}: {:?}, {} of {plain}", report.status, report.iterations);
                assert_eq!(report.status, Status::Converged, "{case}");
                assert!(report.iterations.abs_diff(2 * plain) <= 4 && report.lost.abs_diff(plain) <= 2, "{case}");
                assert!(distance(&grid.apply(&read(&gpu, &x)), &wide(&b)) <= 1.01e-4 * size, "{case}");
            }
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
        let apply = |x: &[f64]| -> Vec<f64> { x.iter().zip(&d).map(|(x, &d)| x * f64::from(d)).collect() };
        let x = f32s(&gpu, &[n]);
        let options = FlexibleCgOptions { relative_tolerance: 1e-7, truncation: 3, ..Default::default() };
        let report = solve(&operator, None, &upload(&gpu, &b), &x, &options);
        let expected = reference::flexible_cg(apply, <[f64]>::to_vec, &wide(&b), 3, 0, 1e-7, 100);
        assert_eq!((report.status, expected.end), (Status::NegativeCurvature, CgEnd::NegativeCurvature));
        assert_eq!((report.iterations as usize, report.lost as usize), (expected.history.len() - 1, expected.lost));
        assert!(report.iterations > 1 && report.objectives.windows(2).all(|pair| pair[1] <= pair[0]));
        assert!(distance(&read(&gpu, &x), &expected.x) <= 1e-3 * norm(&expected.x));
        assert!((report.residual - distance(&apply(&expected.x), &wide(&b))).abs() <= 1e-3 * report.residual);
    }
}

#[test]
fn what_is_not_finite() {
    for gpu in gpus() {
        let grid = Grid::open_box(6, 6);
        let b = noise(1, 36);
        for bad in [f32::NAN, f32::INFINITY] {
            let with = |values: &[f32]| [&values[..20], &[bad], &values[21..]].concat();
            for (b, start) in [(with(&b), vec![0.25; 36]), (b.clone(), with(&[0.25; 36]))] {
                let x = upload(&gpu, &start);
                let before = bits(&gpu, &x);
                let report = solve(&grid.operator(&gpu), None, &upload(&gpu, &b), &x, &FlexibleCgOptions::default());
                assert_eq!((report.status, report.iterations), (Status::NonFinite, 0));
                assert_eq!(bits(&gpu, &x), before);
            }
            // an operator without a finite product, but of 0: there is no iteration, and the solution is what it was
            let diagonal = upload(&gpu, &with(&[1.0; 36]));
            let operator = Diagonal::new(&gpu, &diagonal).unwrap();
            let x = f32s(&gpu, &[36]);
            let b = with(&b).iter().map(|b| if b.is_finite() { *b } else { 1.0 }).collect::<Vec<f32>>();
            let report = solve(&operator, None, &upload(&gpu, &b), &x, &FlexibleCgOptions::default());
            assert_eq!(report.status, Status::NonFinite, "{report:?}");
            assert!(read(&gpu, &x).iter().all(|x| x.is_finite()));
        }
    }
}

/// However often the residual is computed anew, there is an end where f32 allows no more.
#[test]
fn more_accuracy_than_f32_has() {
    for gpu in gpus() {
        let grid = Grid::open_box(20, 20);
        let b = noise(9, 400);
        // (steepest descent goes to and fro, so that only its single steps show that they have no effect)
        for (truncation, recomputed) in [(0, &[0, 1][..]), (2, &[0, 1, 7])] {
            for &recompute_every in recomputed {
                let x = f32s(&gpu, &[400]);
                let options = FlexibleCgOptions {
                    relative_tolerance: 1e-9,
                    max_iterations: 20_000,
                    check_every: 64,
                    truncation,
                    recompute_every,
                    ..Default::default()
                };
                let report = solve(&grid.operator(&gpu), None, &upload(&gpu, &b), &x, &options);
                let case = format!("{truncation} {recompute_every}: {} {} {}", report.iterations, report.residual, norm(&wide(&b)));
                // thousands of steps of steepest descent, each of which rounds x, may leave more than x as it is in the end does
                let end = if report.residual <= 8.0 * report.rounding { Status::PrecisionLimited } else { Status::Stagnated };
                assert_eq!(report.status, end, "{case}");
                assert!(end == Status::PrecisionLimited || truncation == 0, "{case}");
                // as good as f32 gets: a few units of ‖A‖ ‖x‖; steepest descent takes thousands of steps, each of
                // which rounds x
                let found = read(&gpu, &x);
                let residual = distance(&grid.apply(&found), &wide(&b));
                let steps = if (truncation, recompute_every) == (0, 0) { 100.0 } else { 1.0 };
                assert!(residual <= 4e-7 * 8.0 * steps * norm(&found), "{case}: {residual}");
                assert!((report.residual - residual).abs() <= 0.5 * residual, "{case}: {residual}");
            }
        }
    }
}

#[test]
fn the_same_however_it_is_submitted() {
    for gpu in gpus() {
        let grid = Grid::open_box(33, 21);
        let b = upload(&gpu, &noise(6, grid.n));
        let preconditioner = crooked_on(&gpu, grid.n);
        for (truncation, recompute_every) in [(0, 0), (2, 1), (3, 4), (8, 0)] {
            let new = |x: &Tensor, check_every| {
                let options = FlexibleCgOptions { max_iterations: 30, check_every, truncation, recompute_every, ..Default::default() };
                FlexibleCg::new(&grid.operator(&gpu), Some(&preconditioner), &b, x, &options).unwrap()
            };
            let run = |times: u32, iterations: u32, one_encoder: bool| {
                let x = f32s(&gpu, &[grid.n]);
                let solver = new(&x, 4);
                let mut encoder = gpu.device().create_command_encoder(&Default::default());
                for _ in 0..times {
                    solver.encode(&mut encoder, iterations);
                    if !one_encoder {
                        let full = std::mem::replace(&mut encoder, gpu.device().create_command_encoder(&Default::default()));
                        gpu.queue().submit([full.finish()]);
                    }
                }
                gpu.queue().submit([encoder.finish()]);
                (bits(&gpu, &x), pollster::block_on(solver.report()).unwrap())
            };
            let (together, report) = run(3, 7, true);
            assert_eq!((report.status, report.iterations), (Status::Running, 7));
            assert_eq!(run(3, 7, false).0, together);
            // two runs are the same, what is encoded after the end does nothing, and looks change nothing
            let (x, report) = run(1, 30, true);
            assert_eq!((report.status, report.iterations), (Status::IterationLimit, 30));
            assert_eq!(run(1, 30, true).0, x);
            assert_eq!(run(1, 45, true).0, x);
            for check_every in [1, 7, 100] {
                let solved = f32s(&gpu, &[grid.n]);
                let report = pollster::block_on(new(&solved, check_every).solve()).unwrap();
                assert_eq!((bits(&gpu, &solved), report.iterations), (x.clone(), 30));
            }
        }
    }
}

#[test]
fn edges_of_what_there_is_to_solve() {
    for gpu in gpus() {
        let grid = Grid::open_box(5, 5);
        // b of 0, whatever x is
        for start in [0.0f32, 1.0, f32::NAN] {
            let x = upload(&gpu, &[start; 25]);
            let report = solve(&grid.operator(&gpu), None, &f32s(&gpu, &[25]), &x, &FlexibleCgOptions::default());
            assert_eq!((report.status, report.iterations, report.residual), (Status::Converged, 0, 0.0));
            assert_eq!(read(&gpu, &x), [0.0; 25]);
        }
        // no iterations at all, and a start that is good enough
        let b = noise(2, 25);
        let x = f32s(&gpu, &[25]);
        let options = FlexibleCgOptions { max_iterations: 0, ..Default::default() };
        let report = solve(&grid.operator(&gpu), None, &upload(&gpu, &b), &x, &options);
        assert_eq!((report.status, report.iterations), (Status::IterationLimit, 0));
        assert!((report.residual - norm(&wide(&b))).abs() <= 1e-6 * report.residual);
        let x = f32s(&gpu, &[25]);
        for first in [true, false] {
            let report = solve(&grid.operator(&gpu), None, &upload(&gpu, &b), &x, &FlexibleCgOptions::default());
            assert_eq!((report.status, report.iterations > 0), (Status::Converged, first));
        }
    }
}

#[test]
fn an_iteration_is_few_dispatches() {
    let gpu = gpu(Checks::Unchecked);
    let operator =
        FromFn::new(&gpu, 4096, |recording: &mut Recording, x: &Tensor, y: &Tensor| vector::copy(&gpu, recording, x, y)).unwrap();
    for (truncation, dispatches, bytes) in [(0, 4, 36), (1, 6, 48), (2, 6, 56), (4, 6, 72), (5, 9, 96), (8, 9, 120)] {
        let options = FlexibleCgOptions { truncation, ..Default::default() };
        let solver = FlexibleCg::new(&operator, None, &f32s(&gpu, &[4096]), &f32s(&gpu, &[4096]), &options).unwrap();
        // beside the product, which is one here, and its dot of two
        assert_eq!(solver.iteration().len(), dispatches + 3, "{truncation}: {:?}", solver.iteration());
        let own = |kernel: &str| kernel.contains("fcg_d") || kernel.contains("cg_update");
        let moved: u64 = solver.iteration().dispatches().filter(|dispatch| own(dispatch.kernel)).map(|dispatch| dispatch.bytes()).sum();
        let partials = 5 * 256 * 16;
        assert!(moved >= 4096 * bytes && moved < 4096 * bytes + partials + 4096, "{truncation}: {}", moved as f64 / 4096.0);
    }
}

#[test]
fn what_is_refused() {
    let gpu = gpu(Checks::Unchecked);
    let operator = Grid::open_box(4, 4).operator(&gpu);
    let (b, x) = (f32s(&gpu, &[16]), f32s(&gpu, &[16]));
    let refused = |preconditioner: Option<&dyn Preconditioner>, b: &Tensor, x: &Tensor, options: FlexibleCgOptions| {
        FlexibleCg::new(&operator, preconditioner, b, x, &options).unwrap_err()
    };
    let default = FlexibleCgOptions::default;
    assert!(matches!(refused(None, &b, &f32s(&gpu, &[15]), default()), Error::Length { tensor, .. } if tensor == "x"));
    assert!(matches!(refused(None, &b, &b, default()), Error::Overlap { .. }));
    let small = Diagonal::new(&gpu, &f32s(&gpu, &[3])).unwrap();
    assert!(matches!(refused(Some(&small), &b, &x, default()), Error::Length { tensor, .. } if tensor == "preconditioner"));
    for (name, options) in [
        ("relative_tolerance", FlexibleCgOptions { relative_tolerance: f64::INFINITY, ..default() }),
        ("absolute_tolerance", FlexibleCgOptions { absolute_tolerance: -1.0, ..default() }),
        ("truncation", FlexibleCgOptions { truncation: 65, ..default() }),
        ("check_every", FlexibleCgOptions { check_every: 0, ..default() }),
    ] {
        assert!(matches!(refused(None, &b, &x, options), Error::Option { option, .. } if option == name));
    }
}
