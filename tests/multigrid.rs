//! The multigrid cycle against f64, as a matrix, at the edges, and as preconditioner.

#![cfg(feature = "poisson")]

mod common;
#[path = "common/cycles.rs"]
mod cycles;
#[path = "common/problems.rs"]
mod problems;
#[path = "common/scenes.rs"]
mod scenes;
#[path = "common/systems.rs"]
mod systems;

use common::{f32s, gpu, noise};
use cycles::{applied_anywhere, apply, submitted_again};
use gradus::gpu::Checks;
use gradus::krylov::{Cg, CgOptions, LinearOperator, Richardson, RichardsonOptions, Status};
use gradus::poisson::{Grid, Laplacian, Multigrid, MultigridOptions};
use gradus::reference::krylov::cg;
use gradus::reference::poisson::Cells;
use gradus::reference::poisson::multigrid as reference;
use gradus::{Error, Gpu, Recording};
use problems::Problem;
use scenes::{Scene, gpus};
use systems::{norm, upload, wide};

/// Of one level, of a tail only, of levels before the tail, with sizes around those at which each begins.
const SIZES: [&[usize]; 16] = [
    &[1, 1],
    &[8, 8],
    &[1, 65],
    &[3, 4, 5],
    &[13, 11],
    &[22, 23],
    &[1, 513],
    &[27, 19],
    &[2, 300],
    &[40, 33],
    &[1, 1, 700],
    &[9, 7, 8],
    &[9, 8, 8],
    &[11, 9, 13],
    &[5, 40, 17],
    &[17, 20, 33],
];

const SHARES: [(f32, f32); 5] = [(0.0, 0.0), (0.15, 0.0), (0.45, 0.02), (0.2, 0.2), (0.6, 0.1)];

fn scenes() -> Vec<Scene> {
    Scene::all(&SIZES, &SHARES)
}

const OPTIONS: [(u32, Option<u32>); 4] = [(2, None), (3, Some(1)), (1, Some(2)), (4, Some(MultigridOptions::NEVER))];

fn multigrid(gpu: &Gpu, grid: &Grid, (degree, twice_from): (u32, Option<u32>)) -> Multigrid {
    Multigrid::new(gpu, grid, &MultigridOptions { degree, twice_from }).unwrap()
}

fn reference(cells: &Cells, (degree, twice_from): (u32, Option<u32>)) -> reference::Multigrid {
    let twice_from = twice_from.map_or(if cells.sizes.len() == 2 { 2 } else { 1 }, |level| level as usize);
    reference::Multigrid::new(cells, degree as usize, twice_from)
}

/// In the range of the Laplacian, in f32.
fn right_hand_side(scene: &Scene, seed: u64) -> Vec<f32> {
    scene.cells().project(&wide(&noise(seed, scene.flags.len()))).into_iter().map(|v| v as f32).collect()
}

/// Of flags at random, and of all else, with weights of 10^±`decades`.
fn random_problems(decades: f64) -> Vec<Problem> {
    let flagged = scenes().into_iter().map(|scene| Problem::flagged(&scene.sizes, scene.flags.clone(), scene.open.clone()));
    let sizes: [&[usize]; 9] = [&[1, 1], &[3, 33], &[12, 50], &[40, 33], &[5, 6, 7], &[31, 26], &[9, 1, 70], &[11, 9, 13], &[17, 20, 9]];
    flagged.chain((0..36).map(|seed| Problem::random(seed, sizes[seed as usize % sizes.len()], decades))).collect()
}

/// D^½ times noise, in the range of A: where weights are of very different size, rounding is as small in all cells by that measure.
fn range(cells: &Cells, seed: u64) -> Vec<f32> {
    let diagonal = cells.diagonal();
    let noise: Vec<f64> = wide(&noise(seed, diagonal.len())).iter().zip(&diagonal).map(|(v, d)| v * d.sqrt()).collect();
    cells.project(&noise).into_iter().map(|v| v as f32).collect()
}

/// ‖D^±½ x‖.
fn scaled_norm(cells: &Cells, x: &[f64], power: f64) -> f64 {
    let scale = |d: f64| if d > 0.0 { d.powf(power) } else { 0.0 };
    x.iter().zip(cells.diagonal()).map(|(x, d)| (scale(d) * x).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn cycles_are_those_of_the_reference() {
    let gpus = gpus();
    for (i, problem) in random_problems(1.0).iter().enumerate() {
        let (gpu, options, cells) = (&gpus[i % gpus.len()], OPTIONS[i / 3 % OPTIONS.len()], problem.cells());
        let r = range(&cells, i as u64);
        let expected = reference(&cells, options).apply(&wide(&r));
        let found = apply(gpu, &multigrid(gpu, &problem.grid(), options), &r);
        let outside = |values: &[f64]| problem.flags.iter().zip(values).all(|(&flag, &v)| flag == 0 || v == 0.0);
        assert!(outside(&found), "{:?}: 0 where there is no fluid", problem.sizes);
        // what rounding has left outside of the range is no part of a solution
        let [found, expected] = [found, expected].map(|z| cells.project(&z));
        let difference: Vec<f64> = found.iter().zip(&expected).map(|(a, b)| a - b).collect();
        let (error, size) = (scaled_norm(&cells, &difference, 0.5), scaled_norm(&cells, &expected, 0.5));
        assert!(error <= 3e-6 * size, "{i} {:?} {options:?}: {error:e}, {size:e}", problem.sizes);
    }
}

#[test]
fn the_cycle_is_symmetric_and_positive() {
    let gpus = gpus();
    for (i, problem) in random_problems(4.0).iter().enumerate() {
        let (gpu, cells) = (&gpus[i % gpus.len()], problem.cells());
        let multigrid = multigrid(gpu, &problem.grid(), OPTIONS[i / 2 % OPTIONS.len()]);
        let [u, v] = [i as u64, 1000 + i as u64].map(|seed| range(&cells, seed));
        let [mu, mv] = [&u, &v].map(|r| cells.project(&apply(gpu, &multigrid, r)));
        let dot = |a: &[f64], b: &[f32]| a.iter().zip(b).map(|(a, &b)| a * f64::from(b)).sum::<f64>();
        // a residual has the rounding of D M u, which comes out multiplied by M
        let [of_u, of_v] = [(&mu, &u), (&mv, &v)].map(|(m, r)| [scaled_norm(&cells, m, 0.5), scaled_norm(&cells, &wide(r), -0.5)]);
        let scale = of_u[0] * of_v[1] + of_v[0] * of_u[1] + of_u[0] * of_v[0];
        let difference = (dot(&mu, &v) - dot(&mv, &u)).abs();
        assert!(difference <= 1e-6 * scale, "{i} {:?}: {difference:e}, {scale:e}", problem.sizes);
        assert!(dot(&mu, &u) > 0.0 || norm(&wide(&u)) == 0.0, "{i} {:?}", problem.sizes);
    }
}

/// Where it stands in the caller's buffers does not matter, nor what is in cells that are not fluid.
#[test]
fn vectors_anywhere() {
    for gpu in gpus() {
        for (sizes, solid, air) in [(&[20usize, 20][..], 0.2, 0.1), (&[30, 41], 0.2, 0.1), (&[30, 41], 0.0, 0.0)] {
            let scene = Scene::random(5, sizes, solid, air);
            let multigrid = multigrid(&gpu, &scene.grid(), OPTIONS[0]);
            let r = right_hand_side(&scene, 6);
            let dots = applied_anywhere(&gpu, &multigrid, &scene, &r);
            // sums are over all cells, with what others than fluid ones hold
            if scene.flags.iter().all(|&flag| flag == 0) {
                let product: f64 = r.iter().zip(apply(&gpu, &multigrid, &r)).map(|(&r, z)| f64::from(r) * z).sum();
                assert!(dots.iter().all(|dot| (dot - product).abs() <= 1e-5 * product), "{dots:?}, expected {product}");
            }
        }
    }
}

#[test]
fn the_same_however_it_is_submitted() {
    for gpu in gpus() {
        let scene = Scene::random(8, &[9, 20, 31], 0.2, 0.1);
        let multigrid = multigrid(&gpu, &scene.grid(), OPTIONS[0]);
        submitted_again(&gpu, &multigrid, &right_hand_side(&scene, 9));
    }
}

#[test]
fn what_is_not_finite_stays_visible() {
    let gpu = gpu(Checks::Unchecked);
    let scene = Scene::random(8, &[20, 31], 0.0, 0.0);
    let multigrid = multigrid(&gpu, &scene.grid(), OPTIONS[0]);
    for value in [f32::NAN, f32::INFINITY] {
        let mut r = right_hand_side(&scene, 9);
        r[77] = value;
        assert!(apply(&gpu, &multigrid, &r).iter().any(|z| z.is_nan()));
    }
    // denormals are no problem
    let r: Vec<f32> = right_hand_side(&scene, 9).into_iter().map(|r| r * 1e-40).collect();
    assert!(apply(&gpu, &multigrid, &r).iter().all(|z| z.is_finite()));
}

#[test]
fn errors_name_what_is_wrong() {
    let gpu = gpu(Checks::Unchecked);
    let grid = Grid::new(&[30, 30]).unwrap();
    for (degree, twice_from, name) in [(0, None, "degree"), (5, None, "degree"), (2, Some(0), "twice_from")] {
        let error = Multigrid::new(&gpu, &grid, &MultigridOptions { degree, twice_from }).err();
        assert!(matches!(&error, Some(Error::Option { option, .. }) if option == name), "{error:?}");
    }
    let multigrid = Multigrid::new(&gpu, &grid, &MultigridOptions::default()).unwrap();
    let mut recording = Recording::new();
    let (r, z) = (f32s(&gpu, &[900]), f32s(&gpu, &[901]));
    assert!(matches!(multigrid.record(&mut recording, &r, &z), Err(Error::Length { .. })));
    assert!(matches!(multigrid.record(&mut recording, &r, &r), Err(Error::Overlap { .. })));
    assert!(recording.is_empty());
    assert_eq!(gradus::krylov::Preconditioner::dim(&multigrid), 900);
}

/// To 1e-6, by the residual that is updated, so that what f32 can hold of x does not matter.
#[test]
fn iterations_are_those_of_the_reference() {
    let gpu = gpu(Checks::Unchecked);
    let names = ["box", "open", "sphere", "surface", "rubble", "rubble30", "spray", "walls", "baffles", "maze", "spiral"];
    for (i, name) in names.into_iter().chain(problems::GENERAL).enumerate() {
        let sizes: [&[usize]; 4] = [&[16, 16, 16], &[13, 21, 18], &[64, 64], &[47, 70]];
        for (k, sizes) in sizes.into_iter().enumerate().filter(|(k, _)| (i + k) % 2 == 0) {
            let problem = Problem::named(name, sizes);
            let (cells, grid) = (problem.cells(), problem.grid());
            let options = OPTIONS[0];
            let b = &problem.right_hand_sides()[k / 2];
            let twin = reference(&cells, options);
            let precondition = |r: &[f64]| cells.project(&twin.apply(&cells.project(r)));
            let diagonal = cells.diagonal();
            let wide_b: Vec<f64> = wide(b).iter().zip(&diagonal).map(|(&b, &d)| if d > 0.0 { b } else { 0.0 }).collect();
            let wide_b = cells.project(&wide_b);
            let run = cg(|x| cells.apply(x), precondition, &wide_b, &vec![0.0; b.len()], 1e-6 * norm(&wide_b), 0.0, 60);
            let expected = run.history.len() - 1;

            let (b, x) = (upload(&gpu, b), f32s(&gpu, sizes));
            let (laplacian, multigrid) = (Laplacian::new(&gpu, &grid).unwrap(), multigrid(&gpu, &grid, options));
            let options = CgOptions { relative_tolerance: 1e-6, max_iterations: 60, check_every: 8, ..Default::default() };
            let mut cg = Cg::new(&laplacian, Some(&multigrid), &b, &x, &options).unwrap();
            let report = pollster::block_on(cg.solve()).unwrap();
            assert!(matches!(report.status, Status::Converged | Status::PrecisionLimited), "{name} {sizes:?}: {report:?}");
            // the first that is within the tolerance, though more are taken where the residual of the x that is stored is not
            let first = report.history.iter().position(|&r| r <= 1e-6 * report.history[0]).unwrap_or(report.history.len());
            assert!(first.abs_diff(expected) <= 1, "{name} {sizes:?}: {first}, expected {expected}: {:?}", report.history);
        }
    }
}

/// As a solver of its own: eigenvalues of M A are from 0 to 2, and in a box close to 1.
#[test]
fn a_cycle_reduces_the_residual() {
    for gpu in [gpu(Checks::Unchecked), gpu(Checks::Checked)] {
        for (name, sizes, most) in [("box", &[32usize, 32, 32][..], 0.25), ("open", &[64, 64], 0.25), ("surface", &[21, 34, 27], 0.5)] {
            let problem = Problem::named(name, sizes);
            let (b, x) = (upload(&gpu, &problem.right_hand_sides()[0]), f32s(&gpu, sizes));
            let (laplacian, multigrid) = (Laplacian::new(&gpu, &problem.grid()).unwrap(), multigrid(&gpu, &problem.grid(), (2, Some(1))));
            // before rounding counts
            let options = RichardsonOptions { relative_tolerance: 3e-5, ..Default::default() };
            let mut solver = Richardson::new(&laplacian, &multigrid, &b, &x, &options).unwrap();
            let report = pollster::block_on(solver.solve()).unwrap();
            assert_eq!(report.status, Status::Converged, "{name} {sizes:?}: {report:?}");
            let factors: Vec<f64> = report.history.windows(2).map(|pair| pair[1] / pair[0]).collect();
            assert!(factors.len() >= 4 && factors.iter().all(|&factor| factor <= most), "{name} {sizes:?}: {factors:?}");
        }
    }
}

/// Of the finest level by flags: 10 bytes a cell to start, 14 for the residual and each of two steps, 6 to restrict and 10 to correct. A level above
/// the tail takes six dispatches from zero, seven to go on, and the tail one.
#[test]
fn bytes_and_dispatches_of_a_cycle() {
    let gpu = gpu(Checks::Unchecked);
    let n = 64 * 64 * 32;
    let (r, z) = (f32s(&gpu, &[n]), f32s(&gpu, &[n]));
    // levels of 32x32x16 and 16x16x8 cells, and the tail from 8x8x4 on
    for (twice_from, dispatches, most) in [(MultigridOptions::NEVER, 6 + 6 + 6 + 1, 92), (1, 6 + 13 + 2 * 13 + 4, 123)] {
        let multigrid = multigrid(&gpu, &Grid::new(&[64, 64, 32]).unwrap(), (2, Some(twice_from)));
        let mut recording = Recording::new();
        multigrid.record(&mut recording, &r, &z).unwrap();
        assert_eq!(recording.len(), dispatches, "{recording:?}");
        let finest = ["b", "x", "y", "codes", "residual", "solution"];
        let bindings = recording.dispatches().flat_map(|dispatch| dispatch.bindings);
        let bytes: u64 = bindings.filter(|binding| finest.contains(&binding.name)).map(gradus::gpu::BindingInfo::moved).sum();
        assert_eq!(bytes, (10 + 3 * 14 + 6 + 10) * n as u64, "{recording:?}");
        assert!(recording.bytes() <= most * n as u64, "{}", recording.bytes() as f64 / n as f64);
    }
}
