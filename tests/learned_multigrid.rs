//! The learned V-cycle against f64, as a matrix, at the edges, and as preconditioner; and its files.

#![cfg(all(feature = "poisson", feature = "weights"))]

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
use gradus::krylov::{Cg, CgOptions, LinearOperator, Status};
use gradus::poisson::Grid;
use gradus::poisson::learned_multigrid::{Coefficients, LearnedMultigrid};
use gradus::reference::learned_multigrid as reference;
use gradus::reference::poisson::Cells;
use gradus::{Error, Recording};
use scenes::{Scene, gpus};
use systems::{distance, norm, upload, wide};

/// Of one level and of many, with odd sizes, rows of whole cells of four and others, axes of one cell.
const SIZES: [&[usize]; 18] = [
    &[1, 1],
    &[2, 2],
    &[8, 8],
    &[1, 65],
    &[65, 1],
    &[3, 4, 5],
    &[13, 11],
    &[22, 23],
    &[40, 33],
    &[35, 66],
    &[1, 1, 70],
    &[70, 1, 1],
    &[1, 20, 9],
    &[9, 7, 8],
    &[9, 8, 8],
    &[11, 9, 13],
    &[5, 40, 17],
    &[17, 20, 33],
];

const SHARES: [(f32, f32); 5] = [(0.0, 0.0), (0.15, 0.0), (0.45, 0.02), (0.2, 0.2), (0.1, 0.5)];

fn scenes() -> Vec<Scene> {
    Scene::all(&SIZES, &SHARES)
}

/// Something else everywhere, of a stencil that is positive definite.
fn coefficients(dim: usize, radius: usize) -> Coefficients {
    let mut all = Coefficients::initial(dim, radius).unwrap();
    let rest: &[f32] = match (dim, radius) {
        (2, 1) => &[0.09, 0.03],
        (2, _) => &[0.117, 0.050, 0.022, 0.011, 0.001],
        (_, 1) => &[0.04, 0.012, 0.004],
        (_, _) => &[0.05, 0.02, 0.006, 0.008, 0.003, 0.001, 0.002, 0.0007, 0.0003],
    };
    all.stencil[0] = if dim == 2 { 0.43 } else { 0.26 };
    all.stencil[1..].copy_from_slice(rest);
    all.correction *= 1.03;
    all.transfer.iter_mut().zip([1.2, 0.9, 0.7, 1.3]).for_each(|(p, factor)| *p *= factor);
    all.smoothing.iter_mut().zip(noise(1, 49)).for_each(|(d, u)| *d = 0.1 * u);
    // of cells without fluid neighbours, which may not be smoothed by more
    let faces = 2 * dim;
    (1..=faces).for_each(|air| all.smoothing[(faces - air) * (faces + 1) + air] = -0.05 - 0.01 * air as f32);
    all.coarse.iter_mut().zip(noise(2, 49)).for_each(|(c, u)| *c = 0.3 * u);
    all
}

#[test]
fn cycles_are_those_of_the_reference() {
    let gpus = gpus();
    for (i, scene) in scenes().iter().enumerate() {
        let gpu = &gpus[i % gpus.len()];
        let coefficients = coefficients(scene.sizes.len(), 1 + i % 2);
        let r = noise(i as u64, scene.flags.len());
        let expected = reference::LearnedMultigrid::new(&scene.cells(), &coefficients).apply(&wide(&r));
        let found = apply(gpu, &LearnedMultigrid::new(gpu, &scene.grid(), &coefficients).unwrap(), &r);
        let diagonal = scene.cells().diagonal();
        assert!(diagonal.iter().zip(&found).all(|(&d, &z)| d > 0.0 || z == 0.0), "{:?}: 0 where there is no unknown", scene.sizes);
        let error = distance(&found, &expected);
        assert!(error <= 2e-6 * norm(&expected), "{:?} {i} {error:e} {:e}", scene.sizes, norm(&expected));
    }
}

/// Of random sizes, shares of solid and air, and vectors, with the coefficients that come with the crate; in f64 on every level.
#[test]
fn the_cycle_is_symmetric_and_positive() {
    let gpus = gpus();
    let coefficients = [2, 3].map(|dim| Coefficients::trained(dim).unwrap());
    for seed in 0..500 {
        let gpu = &gpus[seed as usize % gpus.len()];
        let dim = 2 + seed as usize % 2;
        let random: Vec<f32> = noise(seed, 5).into_iter().map(|u| 0.5 + 0.5 * u).collect();
        let sizes: Vec<usize> = random[..dim].iter().map(|u| 1 + (u * [40.0, 11.0][dim - 2]) as usize).collect();
        let scene = Scene::random(seed, &sizes, 0.6 * random[3], 0.5 * random[4] * random[4]);
        let coefficients = &coefficients[dim - 2];

        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let check = |cells: &Cells, tolerance: f64, apply: &dyn Fn(&[f32]) -> Vec<f64>| {
            let [u, v] = [seed, 1000 + seed].map(|seed| noise(seed, cells.flags.len()));
            let (mu, mv, u, v) = (apply(&u), apply(&v), wide(&u), wide(&v));
            let asymmetry = (dot(&mu, &v) - dot(&mv, &u)).abs();
            assert!(asymmetry <= tolerance * norm(&mu) * norm(&v), "{sizes:?}: {asymmetry:e}");
            assert!(dot(&mu, &u) > 0.0 || cells.diagonal().iter().all(|&d| d == 0.0), "{sizes:?}");
        };
        let multigrid = LearnedMultigrid::new(gpu, &scene.grid(), coefficients).unwrap();
        check(&scene.cells(), 1e-6, &|r| apply(gpu, &multigrid, r));
        let twin = reference::LearnedMultigrid::new(&scene.cells(), coefficients);
        for (level, of) in twin.levels.iter().enumerate() {
            check(&of.cells(), 1e-12, &|r| twin.cycle(level, &wide(r)));
        }
    }
}

/// Where it stands in the caller's buffers does not matter, nor what is in cells that are not fluid.
#[test]
fn vectors_anywhere() {
    for gpu in gpus() {
        for sizes in [&[20usize, 20][..], &[30, 41], &[1, 1], &[6, 7, 12]] {
            let scene = Scene::random(5, sizes, 0.2, 0.1);
            let multigrid = LearnedMultigrid::new(&gpu, &scene.grid(), &coefficients(sizes.len(), 2)).unwrap();
            let r = noise(6, scene.flags.len());
            let product: f64 = r.iter().zip(apply(&gpu, &multigrid, &r)).map(|(&r, z)| f64::from(r) * z).sum();
            let dots = applied_anywhere(&gpu, &multigrid, &scene, &r);
            assert!(dots.iter().all(|dot| (dot - product).abs() <= 1e-5 * product), "{dots:?}, expected {product}");
        }
    }
}

#[test]
fn the_same_however_it_is_submitted() {
    for gpu in gpus() {
        let scene = Scene::random(8, &[9, 20, 31], 0.2, 0.1);
        let multigrid = LearnedMultigrid::new(&gpu, &scene.grid(), &coefficients(3, 1)).unwrap();
        submitted_again(&gpu, &multigrid, &noise(9, scene.flags.len()));
    }
}

#[test]
fn what_is_not_finite_stays_visible() {
    let gpu = gpu(Checks::Unchecked);
    let scene = Scene::random(8, &[20, 31], 0.0, 0.0);
    let multigrid = LearnedMultigrid::new(&gpu, &scene.grid(), &coefficients(2, 2)).unwrap();
    for value in [f32::NAN, f32::INFINITY] {
        let mut r = noise(9, scene.flags.len());
        r[77] = value;
        assert!(apply(&gpu, &multigrid, &r).iter().any(|z| z.is_nan()));
        // of which nothing is left
        assert!(apply(&gpu, &multigrid, &noise(9, scene.flags.len())).iter().all(|z| z.is_finite()));
    }
}

/// To 1e-6 with the coefficients that come with the crate, by the residual that is updated.
#[test]
fn iterations_do_not_grow_with_the_grid() {
    let gpu = gpu(Checks::Unchecked);
    let planes: [&[usize]; 4] = [&[64, 64], &[128, 128], &[65, 65], &[67, 93]];
    let spaces: [&[usize]; 3] = [&[32, 32, 32], &[33, 33, 33], &[33, 47, 30]];
    // walls around, air around, walls and air over random solids
    let most = [("box", 8, 8), ("open", 8, 8), ("rubble", 18, 14)];
    for (what, plane, space) in most {
        for sizes in planes.into_iter().chain(spaces) {
            let mut scene = Scene::random(3, sizes, if what == "rubble" { 0.15 } else { 0.0 }, 0.0);
            scene.open.iter_mut().for_each(|faces| *faces = [what == "open"; 2]);
            scene.open[0][1] |= what == "rubble";
            let (b, x) = (upload(&gpu, &noise(1, scene.flags.len())), f32s(&gpu, sizes));
            let multigrid = LearnedMultigrid::new(&gpu, &scene.grid(), &Coefficients::trained(sizes.len()).unwrap()).unwrap();
            let options = CgOptions { relative_tolerance: 1e-6, max_iterations: 60, check_every: 8, ..Default::default() };
            let mut cg = Cg::new(&scene.laplacian(&gpu), Some(&multigrid), &b, &x, &options).unwrap();
            let report = pollster::block_on(cg.solve()).unwrap();
            assert!(matches!(report.status, Status::Converged | Status::PrecisionLimited), "{what} {sizes:?}: {report:?}");
            let most = if sizes.len() == 2 { plane } else { space };
            assert!(report.iterations <= most, "{what} {sizes:?}: {}", report.iterations);
        }
    }
}

#[test]
fn files_say_what_they_are_of() {
    for (dim, radius) in [(2, 1), (2, 2), (3, 1), (3, 2)] {
        let coefficients = coefficients(dim, radius);
        let bytes = coefficients.to_safetensors().unwrap();
        assert_eq!(Coefficients::from_safetensors(&bytes).unwrap(), coefficients);
    }
    let bytes = coefficients(2, 2).to_safetensors().unwrap();
    assert!(matches!(Coefficients::from_safetensors(&bytes[..40]), Err(Error::SafeTensors(_))));
    // of another stencil, as the metadata has it
    let key = b"\"radius\":\"";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len();
    let mut other = bytes.clone();
    other[at] = b'1';
    let differences = |bytes: &[u8]| match Coefficients::from_safetensors(bytes) {
        Err(Error::StateMismatch { differences }) => differences.join("; "),
        other => panic!("{other:?}"),
    };
    assert_eq!(differences(&other), "`stencil` has shape [6], expected [3]");
    other[at] = b'x';
    assert_eq!(differences(&other), "radius is `x`, expected a whole number");
}

#[test]
fn errors_name_what_is_wrong() {
    let gpu = gpu(Checks::Unchecked);
    let grid = Grid::new(&[30, 30]).unwrap();
    let refused = |change: fn(&mut Coefficients)| {
        let mut coefficients = coefficients(2, 2);
        change(&mut coefficients);
        LearnedMultigrid::new(&gpu, &grid, &coefficients).err().map(|error| error.to_string()).unwrap_or_default()
    };
    for (change, expected) in [
        ((|c| c.correction = 0.0) as fn(&mut Coefficients), "correction"),
        (|c| c.stencil[1] = 0.3, "stencil"),
        (|c| c.stencil[0] = f32::NAN, "stencil"),
        (|c| c.stencil.truncate(5), "stencil"),
        (|c| c.smoothing[3] = -1.0, "smoothing"),
        (|c| c.smoothing[3] = 1.0, "smoothing"),
        (|c| c.coarse.clear(), "coarse"),
        (|c| c.dim = 3, "dim"),
    ] {
        let found = refused(change);
        assert!(found.contains(&format!("coefficients.{expected}")), "{expected}: {found}");
    }
    for (dim, radius) in [(1, 1), (4, 1), (2, 0), (3, 3)] {
        assert!(matches!(Coefficients::initial(dim, radius), Err(Error::Option { .. })));
    }
    let multigrid = LearnedMultigrid::new(&gpu, &grid, &coefficients(2, 2)).unwrap();
    let mut recording = Recording::new();
    let (r, z) = (f32s(&gpu, &[900]), f32s(&gpu, &[901]));
    assert!(matches!(multigrid.record(&mut recording, &r, &z), Err(Error::Length { .. })));
    assert!(matches!(multigrid.record(&mut recording, &r, &r), Err(Error::Overlap { .. })));
    assert!(recording.is_empty());
    assert_eq!(gradus::krylov::Preconditioner::dim(&multigrid), 900);
}
