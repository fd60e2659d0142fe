//! The V-cycle against f64, as a matrix, at the edges, and as preconditioner.

mod common;
#[path = "common/scenes.rs"]
mod scenes;
#[path = "common/systems.rs"]
mod systems;

use common::{bits, f32s, gpu, noise, read};
use gradus::gpu::Checks;
use gradus::krylov::{Cg, CgOptions, LinearOperator, Richardson, RichardsonOptions, Status};
use gradus::poisson::{Grid, Multigrid, MultigridOptions};
use gradus::reference::multigrid as reference;
use gradus::{DType, Error, Gpu, Recording, Tensor};
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
    let all = SIZES.iter().enumerate().flat_map(|(i, sizes)| {
        SHARES.iter().enumerate().map(move |(j, &(solid, air))| Scene::random((10 * i + j) as u64, sizes, solid, air))
    });
    all.collect()
}

fn multigrid(gpu: &Gpu, scene: &Scene, [finest_sweeps, coarse_sweeps]: [u32; 2]) -> Multigrid {
    Multigrid::new(gpu, &scene.grid(), &MultigridOptions { finest_sweeps, coarse_sweeps }).unwrap()
}

fn apply(gpu: &Gpu, multigrid: &Multigrid, r: &[f32]) -> Vec<f64> {
    let (r, z) = (upload(gpu, r), f32s(gpu, &[r.len()]));
    z.write(gpu, &vec![f32::NAN; r.len()]).unwrap();
    let mut recording = Recording::new();
    multigrid.record(&mut recording, &r, &z).unwrap();
    gpu.submit([&recording]);
    read(gpu, &z)
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
        for sizes in [&[20usize, 20][..], &[30, 41]] {
            let scene = Scene::random(5, sizes, 0.2, 0.1);
            let n = scene.flags.len();
            let multigrid = multigrid(&gpu, &scene, [1, 2]);
            let mut r = right_hand_side(&scene, 6);
            let expected = apply(&gpu, &multigrid, &r);
            r.iter_mut().zip(&scene.flags).filter(|&(_, &flag)| flag != 0).for_each(|(r, _)| *r = f32::NAN);

            let arena = Tensor::arena(&gpu, &[&[n], &[n], &[1]], DType::F32).unwrap();
            let buffer = f32s(&gpu, &[2 * n + 9]);
            let at = |offset: usize, n: usize| Tensor::from_buffer(buffer.buffer(), 4 * offset as u64, &[n], DType::F32).unwrap();
            let places = [
                [upload(&gpu, &r), f32s(&gpu, sizes), f32s(&gpu, &[1])],
                [arena[0].clone(), arena[1].clone(), arena[2].clone()],
                [at(3, n), at(n + 5, n), at(2 * n + 7, 1)],
            ];
            for [from, to, dot] in &places {
                from.write(&gpu, &r).unwrap();
                to.write(&gpu, &vec![f32::NAN; n]).unwrap();
                let mut recording = Recording::new();
                multigrid.record_dot(&mut recording, from, to, dot).unwrap();
                gpu.submit([&recording]);
                let found = read(&gpu, to);
                assert_eq!(found, expected);
                let products = r.iter().zip(&found).zip(&scene.flags).filter(|(_, flag)| **flag == 0).map(|((&r, z), _)| f64::from(r) * z);
                if scene.flags.iter().all(|&flag| flag == 0) {
                    let expected = products.sum::<f64>();
                    assert!((read(&gpu, dot)[0] - expected).abs() <= 1e-5 * expected);
                }
            }
            let outside: Vec<f64> = (0..3).chain(n + 3..n + 5).map(|i| read(&gpu, &buffer)[i]).collect();
            assert!(outside.iter().all(|&v| v == 0.0), "{outside:?}");
        }
    }
}

#[test]
fn the_same_however_it_is_submitted() {
    for gpu in gpus() {
        let scene = Scene::random(8, &[9, 20, 31], 0.2, 0.1);
        let multigrid = multigrid(&gpu, &scene, [1, 2]);
        let n = scene.flags.len();
        let (r, z, w) = (upload(&gpu, &right_hand_side(&scene, 9)), f32s(&gpu, &[n]), f32s(&gpu, &[n]));
        let mut recording = Recording::new();
        multigrid.record(&mut recording, &r, &z).unwrap();
        multigrid.record(&mut recording, &z, &w).unwrap();
        gpu.submit([&recording]);
        let first = [bits(&gpu, &z), bits(&gpu, &w)];
        gpu.submit([&recording, &recording]);
        assert_eq!([bits(&gpu, &z), bits(&gpu, &w)], first);
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
            assert!(matches!(report.status, Status::Converged), "{what} {sizes:?}: {report:?}");
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
