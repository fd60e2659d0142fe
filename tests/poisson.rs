//! The flagged Laplacian and its null space against f64 loops.

mod common;
#[path = "common/scenes.rs"]
mod scenes;
#[path = "common/systems.rs"]
mod systems;

use common::{bits, f32s, gpu, noise, read};
use gradus::gpu::Checks;
use gradus::krylov::{Cg, CgOptions, LinearOperator, Status};
use gradus::poisson::{Grid, Laplacian};
use gradus::{DType, Error, Recording, Tensor};
use scenes::{Scene, gpus};
use systems::{distance, norm, wide};

fn scenes() -> Vec<Scene> {
    let sizes: [&[usize]; 14] = [
        &[1, 1],
        &[1, 5],
        &[7, 1],
        &[4, 4],
        &[6, 9],
        &[13, 11],
        &[5, 32],
        &[1, 1, 1],
        &[2, 3, 4],
        &[5, 1, 6],
        &[3, 4, 5],
        &[7, 5, 9],
        &[4, 8, 16],
        &[33, 17, 10],
    ];
    let shares = [(0.0, 0.0), (0.3, 0.0), (0.45, 0.02), (0.2, 0.2), (1.0, 0.0), (0.0, 1.0)];
    let all = sizes.iter().enumerate().flat_map(|(i, sizes)| {
        shares.iter().enumerate().map(move |(j, &(solid, air))| Scene::random((10 * i + j) as u64, sizes, solid, air))
    });
    all.collect()
}

#[test]
fn products_are_those_of_the_definition() {
    let gpus = gpus();
    for (i, scene) in scenes().iter().enumerate() {
        let gpu = &gpus[i % gpus.len()];
        let n = scene.flags.len();
        let values = noise(i as u64, n);
        let expected = scene.cells().apply(&wide(&values));
        let laplacian = scene.laplacian(gpu);
        assert_eq!(laplacian.dim(), n);
        // where the kernel takes them as they are, side by side in one buffer, at an odd place, and with ⟨x, y⟩
        let arena = Tensor::arena(gpu, &[&[n], &[n]], DType::F32).unwrap();
        let buffer = f32s(gpu, &[n + 3]);
        let odd = Tensor::from_buffer(buffer.buffer(), 12, &[n], DType::F32).unwrap();
        let places = [(f32s(gpu, &[n]), f32s(gpu, &[n])), (arena[0].clone(), arena[1].clone()), (odd, f32s(gpu, &scene.sizes))];
        for (x, y) in &places {
            x.write(gpu, &values).unwrap();
            let dot = f32s(gpu, &[1]);
            for fused in [false, true] {
                y.write(gpu, &vec![f32::NAN; n]).unwrap();
                let mut recording = Recording::new();
                match fused {
                    false => laplacian.record(&mut recording, x, y).unwrap(),
                    true => laplacian.record_dot(&mut recording, x, y, &dot).unwrap(),
                }
                gpu.submit([&recording]);
                let found = read(gpu, y);
                assert!(distance(&found, &expected) <= 1e-6 * norm(&expected), "{:?}: {found:?}, {expected:?}", scene.sizes);
            }
            let expected_dot: f64 = values.iter().zip(&expected).map(|(&x, y)| f64::from(x) * y).sum();
            let scale: f64 = values.iter().zip(&expected).map(|(&x, y)| (f64::from(x) * y).abs()).sum();
            let found = read(gpu, &dot)[0];
            assert!((found - expected_dot).abs() <= 1e-6 * scale, "{:?}: {found}, {expected_dot}", scene.sizes);
            assert_eq!(read(gpu, x), wide(&values), "x is only read");
        }
        assert!(read(gpu, &buffer)[..3].iter().all(|&v| v == 0.0));
    }
}

/// What is not a fluid neighbour is not even multiplied by 0.
#[test]
fn what_is_not_fluid_does_not_matter() {
    let gpu = gpu(Checks::Unchecked);
    let scene = Scene::random(3, &[6, 7, 5], 0.3, 0.1);
    let laplacian = scene.laplacian(&gpu);
    let mut values = noise(1, scene.flags.len());
    let expected = scene.cells().apply(&wide(&values));
    for (value, &flag) in values.iter_mut().zip(&scene.flags) {
        if flag != 0 {
            *value = f32::NAN;
        }
    }
    let (x, y, dot) = (f32s(&gpu, &[values.len()]), f32s(&gpu, &[values.len()]), f32s(&gpu, &[1]));
    x.write(&gpu, &values).unwrap();
    let mut recording = Recording::new();
    laplacian.record_dot(&mut recording, &x, &y, &dot).unwrap();
    gpu.submit([&recording]);
    assert!(distance(&read(&gpu, &y), &expected) <= 1e-6 * norm(&expected));
    assert!(read(&gpu, &dot)[0] > 0.0);
    recording = Recording::new();
    laplacian.record_project(&mut recording, &x).unwrap();
    gpu.submit([&recording]);
    assert!(read(&gpu, &x).iter().all(|v| v.is_finite()));
}

#[test]
fn projections_take_the_mean_of_each_closed_component() {
    let gpus = gpus();
    let mut closed = 0;
    for (i, scene) in scenes().iter().enumerate() {
        let gpu = &gpus[i % gpus.len()];
        let values = noise(50 + i as u64, scene.flags.len());
        closed += scene.cells().singular_components().len();
        let expected = scene.cells().project(&wide(&values));
        let buffer = f32s(gpu, &[values.len() + 1]);
        let x = Tensor::from_buffer(buffer.buffer(), 4, &[values.len()], DType::F32).unwrap();
        x.write(gpu, &values).unwrap();
        let mut recording = Recording::new();
        scene.laplacian(gpu).record_project(&mut recording, &x).unwrap();
        gpu.submit([&recording]);
        assert!(distance(&read(gpu, &x), &expected) <= 1e-6 * norm(&wide(&values)), "{:?}", scene.sizes);
        let once = bits(gpu, &buffer);
        assert_eq!(once[0], 0);
    }
    assert!(closed > 50, "{closed} components");
}

/// One that is cut into many segments.
#[test]
fn a_large_component_is_projected() {
    let gpu = gpu(Checks::Unchecked);
    let scene = Scene { sizes: vec![300, 301], flags: vec![0; 300 * 301], open: vec![[false; 2]; 2] };
    let values = noise(9, 300 * 301);
    let x = f32s(&gpu, &[300, 301]);
    x.write(&gpu, &values).unwrap();
    let mut recording = Recording::new();
    scene.laplacian(&gpu).record_project(&mut recording, &x).unwrap();
    gpu.submit([&recording]);
    let mean = wide(&values).iter().sum::<f64>() / values.len() as f64;
    let expected: Vec<f64> = values.iter().map(|&v| f64::from(v) - mean).collect();
    assert!(distance(&read(&gpu, &x), &expected) <= 1e-6 * norm(&expected));
}

/// A closed box with an obstacle, from a right-hand side that has no solution before it is projected.
#[test]
fn conjugate_gradients_solve_a_closed_box() {
    let gpu = gpu(Checks::Unchecked);
    let mut scene = Scene { sizes: vec![12, 10, 14], flags: vec![0; 12 * 10 * 14], open: vec![[false; 2]; 3] };
    (0..200).for_each(|i| scene.flags[7 * i + i % 5] = 1);
    let laplacian = scene.laplacian(&gpu);
    let n = scene.flags.len();
    let (b, x, y) = (f32s(&gpu, &[n]), f32s(&gpu, &[n]), f32s(&gpu, &[n]));
    b.write(&gpu, &noise(4, n)).unwrap();
    let mut recording = Recording::new();
    laplacian.record_project(&mut recording, &b).unwrap();
    gpu.submit([&recording]);
    let mut cg = Cg::new(&laplacian, None, &b, &x, &CgOptions { relative_tolerance: 1e-6, ..Default::default() }).unwrap();
    let report = pollster::block_on(cg.solve()).unwrap();
    assert_eq!(report.status, Status::Converged, "{report:?}");
    let mut recording = Recording::new();
    laplacian.record(&mut recording, &x, &y).unwrap();
    gpu.submit([&recording]);
    let b = read(&gpu, &b);
    assert!(distance(&scene.cells().apply(&read(&gpu, &x)), &b) <= 2e-6 * norm(&b));
}

/// 8 bytes of vectors and 2 of codes; with the 36 of the solver, 44 and the flags.
#[test]
fn bytes_of_a_product() {
    let gpu = gpu(Checks::Unchecked);
    let laplacian = Laplacian::new(&gpu, &Grid::new(&[64, 64, 32]).unwrap()).unwrap();
    let n = laplacian.dim() as u64;
    let (x, y) = (f32s(&gpu, &[64, 64, 32]), f32s(&gpu, &[64, 64, 32]));
    let mut recording = Recording::new();
    laplacian.record(&mut recording, &x, &y).unwrap();
    assert_eq!(recording.len(), 1);
    assert!(recording.bytes() <= 10 * n + 256, "{recording:?}");
}

/// A mean of 5 bytes, and 9 to take it away, where a single component is closed; without one, 9 for what is not fluid.
#[test]
fn bytes_of_a_projection() {
    let gpu = gpu(Checks::Unchecked);
    let x = f32s(&gpu, &[64, 64, 32]);
    let n = x.len() as u64;
    for (open, dispatches, bytes) in [(false, 3, 14), (true, 1, 9)] {
        let grid = Grid::new(&[64, 64, 32]).unwrap().with_open(&[[open, false], [false; 2], [false; 2]]).unwrap();
        let mut recording = Recording::new();
        Laplacian::new(&gpu, &grid).unwrap().record_project(&mut recording, &x).unwrap();
        assert_eq!(recording.len(), dispatches);
        let partials = if open { 0 } else { 2 * 16 * 256 * n.div_ceil(4 * 1024) };
        assert!(recording.bytes() <= bytes * n + partials + 256, "{recording:?}");
    }
}

#[test]
fn what_is_refused() {
    let gpu = gpu(Checks::Unchecked);
    let option = |error: Error| match error {
        Error::Option { option, .. } => option,
        other => panic!("{other}"),
    };
    for sizes in [&[][..], &[4], &[2, 2, 2, 2], &[3, 0], &[1 << 16, 1 << 16], &[usize::MAX, 2, 3]] {
        assert_eq!(option(Grid::new(sizes).unwrap_err()), "sizes");
    }
    let grid = Grid::new(&[2, 3]).unwrap();
    assert!(matches!(grid.clone().with_flags(&[0; 5]), Err(Error::Length { tensor, .. }) if tensor == "flags"));
    assert_eq!(option(grid.clone().with_flags(&[0, 1, 2, 3, 0, 0]).unwrap_err()), "flags[3]");
    assert!(matches!(grid.clone().with_open(&[[true; 2]; 3]), Err(Error::Length { tensor, .. }) if tensor == "open"));

    let laplacian = Laplacian::new(&gpu, &grid).unwrap();
    let mut recording = Recording::new();
    let (x, y) = (f32s(&gpu, &[6]), f32s(&gpu, &[6]));
    assert!(matches!(laplacian.record(&mut recording, &f32s(&gpu, &[5]), &y), Err(Error::Length { tensor, .. }) if tensor == "x"));
    assert!(matches!(laplacian.record(&mut recording, &x, &x), Err(Error::Overlap { .. })));
    assert!(matches!(laplacian.record_dot(&mut recording, &x, &y, &f32s(&gpu, &[2])), Err(Error::Length { .. })));
    let half = Tensor::zeros(&gpu, &[6], DType::F16).unwrap();
    assert!(matches!(laplacian.record_project(&mut recording, &half), Err(Error::DType { tensor, .. }) if tensor == "x"));
    assert!(recording.is_empty());
}
