//! The V-cycle against f64, as a matrix, at the edges, and as preconditioner.

#![cfg(feature = "poisson")]

mod common;
#[path = "common/cycles.rs"]
mod cycles;
#[path = "common/scenes.rs"]
mod scenes;
#[path = "common/systems.rs"]
mod systems;

use common::{f32s, gpu, noise};
use cycles::{applied_anywhere, apply, submitted_again};
use gradus::gpu::Checks;
use gradus::krylov::{Cg, CgOptions, LinearOperator, Richardson, RichardsonOptions, Status};
use gradus::poisson::{Grid, Multigrid, MultigridOptions};
use gradus::reference::multigrid as reference;
use gradus::{Error, Gpu, Recording};
use scenes::{Scene, gpus};
use systems::{distance, norm, upload, wide};

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

fn multigrid(gpu: &Gpu, scene: &Scene, [finest_sweeps, coarse_sweeps]: [u32; 2]) -> Multigrid {
    Multigrid::new(gpu, &scene.grid(), &MultigridOptions { finest_sweeps, coarse_sweeps }).unwrap()
}

/// In the range of the Laplacian, in f32.
fn right_hand_side(scene: &Scene, seed: u64) -> Vec<f32> {
    scene.cells().project(&wide(&noise(seed, scene.flags.len()))).into_iter().map(|v| v as f32).collect()
}

#[test]
fn cycles_are_those_of_the_reference() {
    let gpus = gpus();
    for (i, scene) in scenes().iter().enumerate() {
        let gpu = &gpus[i % gpus.len()];
        let sweeps = [[1, 2], [2, 2], [3, 1]][i % 3];
        let r = right_hand_side(scene, i as u64);
        let expected = reference::Multigrid::new(&scene.cells(), sweeps[0] as usize, sweeps[1] as usize).apply(&wide(&r));
        let found = apply(gpu, &multigrid(gpu, scene, sweeps), &r);
        let outside = |values: &[f64]| scene.flags.iter().zip(values).all(|(&flag, &v)| flag == 0 || v == 0.0);
        assert!(outside(&found), "{:?}: 0 where there is no fluid", scene.sizes);
        // what rounding has left outside of the range is no part of a solution
        let [found, expected] = [found, expected].map(|z| scene.cells().project(&z));
        let error = distance(&found, &expected);
        assert!(error <= 2e-6 * norm(&expected), "{:?} {sweeps:?} {error:e} {:e}", scene.sizes, norm(&expected));
    }
}

#[test]
fn the_cycle_is_symmetric_and_positive() {
    let gpus = gpus();
    for (i, scene) in scenes().iter().enumerate() {
        let gpu = &gpus[i % gpus.len()];
        let multigrid = multigrid(gpu, scene, [1, 2]);
        let [u, v] = [i as u64, 1000 + i as u64].map(|seed| right_hand_side(scene, seed));
        let [mu, mv] = [&u, &v].map(|r| scene.cells().project(&apply(gpu, &multigrid, r)));
        let dot = |a: &[f64], b: &[f32]| a.iter().zip(b).map(|(a, &b)| a * f64::from(b)).sum::<f64>();
        let scale = norm(&mu) * norm(&wide(&v));
        assert!((dot(&mu, &v) - dot(&mv, &u)).abs() <= 1e-6 * scale, "{:?}", scene.sizes);
        assert!(dot(&mu, &u) > 0.0 || norm(&wide(&u)) == 0.0, "{:?}", scene.sizes);
    }
}

/// Where it stands in the caller's buffers does not matter, nor what is in cells that are not fluid.
#[test]
fn vectors_anywhere() {
    for gpu in gpus() {
        for (sizes, solid, air) in [(&[20usize, 20][..], 0.2, 0.1), (&[30, 41], 0.2, 0.1), (&[30, 41], 0.0, 0.0)] {
            let scene = Scene::random(5, sizes, solid, air);
            let multigrid = multigrid(&gpu, &scene, [1, 2]);
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
        let multigrid = multigrid(&gpu, &scene, [1, 2]);
        submitted_again(&gpu, &multigrid, &right_hand_side(&scene, 9));
    }
}

#[test]
fn what_is_not_finite_stays_visible() {
    let gpu = gpu(Checks::Unchecked);
    let scene = Scene::random(8, &[20, 31], 0.0, 0.0);
    let multigrid = multigrid(&gpu, &scene, [1, 2]);
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
    for (finest_sweeps, coarse_sweeps) in [(0, 1), (1, 0)] {
        let error = Multigrid::new(&gpu, &grid, &MultigridOptions { finest_sweeps, coarse_sweeps }).err();
        assert!(matches!(error, Some(Error::Option { .. })), "{error:?}");
    }
    let multigrid = Multigrid::new(&gpu, &grid, &MultigridOptions::default()).unwrap();
    let mut recording = Recording::new();
    let (r, z) = (f32s(&gpu, &[900]), f32s(&gpu, &[901]));
    assert!(matches!(multigrid.record(&mut recording, &r, &z), Err(Error::Length { .. })));
    assert!(matches!(multigrid.record(&mut recording, &r, &r), Err(Error::Overlap { .. })));
    assert!(recording.is_empty());
    assert_eq!(gradus::krylov::Preconditioner::dim(&multigrid), 900);
}

/// A solid ball or disc in the middle, a free surface over obstacles, rubble below air.
fn furnished(sizes: &[usize], what: &str) -> Scene {
    let mut scene = Scene::random(3, sizes, 0.0, 0.0);
    scene.open.iter_mut().for_each(|faces| *faces = [what == "open"; 2]);
    let random = noise(4, scene.flags.len());
    for (i, flag) in scene.flags.iter_mut().enumerate() {
        let mut rest = i;
        let mut place = vec![0.0; sizes.len()];
        for (p, &size) in place.iter_mut().zip(sizes).rev() {
            *p = (rest % size) as f64 / size as f64;
            rest /= size;
        }
        *flag = match what {
            "sphere" => u8::from(place.iter().map(|p| (p - 0.5).powi(2)).sum::<f64>() < 0.04),
            "surface" if place[0] > 0.6 + 0.1 * (9.0 * place[1]).sin() => 2,
            "surface" => u8::from(place[0] < 0.3 && place[1..].iter().all(|p| (p * 4.0).fract() < 0.4)),
            "rubble" if place[0] > 0.75 => 2,
            "rubble" => u8::from(random[i] < -0.7),
            _ => 0,
        };
    }
    scene
}

/// To 1e-6, by the residual that is updated, so that what f32 can hold of x does not matter.
#[test]
fn iterations_do_not_grow_with_the_grid() {
    let gpu = gpu(Checks::Unchecked);
    let most = [("box", 9), ("open", 9), ("sphere", 11), ("surface", 13), ("rubble", 25)];
    for (what, most) in most {
        for sizes in [&[32usize, 32, 32][..], &[33, 47, 30], &[96, 96], &[31, 150]] {
            let scene = furnished(sizes, what);
            let (b, x) = (upload(&gpu, &noise(1, scene.flags.len())), f32s(&gpu, sizes));
            let (laplacian, multigrid) = (scene.laplacian(&gpu), multigrid(&gpu, &scene, [1, 2]));
            let options = CgOptions { relative_tolerance: 1e-6, max_iterations: 60, check_every: 8, ..Default::default() };
            let mut cg = Cg::new(&laplacian, Some(&multigrid), &b, &x, &options).unwrap();
            let report = pollster::block_on(cg.solve()).unwrap();
            assert!(matches!(report.status, Status::Converged | Status::PrecisionLimited), "{what} {sizes:?}: {report:?}");
            assert!(report.iterations <= most, "{what} {sizes:?}: {}", report.iterations);
        }
    }
}

/// As a solver of its own, with two sweeps on all levels.
#[test]
fn a_cycle_reduces_the_residual_to_a_quarter() {
    for gpu in [gpu(Checks::Unchecked), gpu(Checks::Checked)] {
        for sizes in [&[32usize, 32, 32][..], &[64, 64], &[21, 34, 27]] {
            for what in ["box", "open"] {
                let scene = furnished(sizes, what);
                let (b, x) = (upload(&gpu, &noise(2, scene.flags.len())), f32s(&gpu, sizes));
                let (laplacian, multigrid) = (scene.laplacian(&gpu), multigrid(&gpu, &scene, [2, 2]));
                // before rounding counts
                let options = RichardsonOptions { relative_tolerance: 3e-5, ..Default::default() };
                let mut solver = Richardson::new(&laplacian, &multigrid, &b, &x, &options).unwrap();
                let report = pollster::block_on(solver.solve()).unwrap();
                assert_eq!(report.status, Status::Converged, "{what} {sizes:?}: {report:?}");
                let factors: Vec<f64> = report.history.windows(2).map(|pair| pair[1] / pair[0]).collect();
                assert!(factors.len() >= 5 && factors.iter().all(|&factor| factor <= 0.25), "{what} {sizes:?}: {factors:?}");
            }
        }
    }
}
