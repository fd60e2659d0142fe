//! The flagged Laplacian, its null space and preconditioners against f64 loops.

#![cfg(feature = "poisson")]

mod common;
#[path = "common/problems.rs"]
mod problems;
#[path = "common/scenes.rs"]
mod scenes;
#[path = "common/systems.rs"]
mod systems;

use common::{bits, f32s, gpu, noise, read};
use gradus::gpu::Checks;
use gradus::krylov::{Cg, CgOptions, LinearOperator, Status};
use gradus::poisson::{Grid, IncompletePoisson, Jacobi, Laplacian};
use gradus::reference::krylov::cg;
use gradus::reference::poisson::Cells;
use gradus::{DType, Error, Gpu, Recording, Tensor};
use scenes::{Scene, gpus};
use systems::{distance, norm, wide};

/// With their twins.
#[allow(clippy::type_complexity, reason = "a list for a loop")]
fn preconditioners(gpu: &Gpu, scene: &Scene) -> [(Box<dyn LinearOperator>, fn(&Cells, &[f64]) -> Vec<f64>); 2] {
    [
        (Box::new(Jacobi::new(gpu, &scene.grid()).unwrap()), |cells, r| cells.jacobi(r)),
        (Box::new(IncompletePoisson::new(gpu, &scene.grid()).unwrap()), |cells, r| cells.incomplete_poisson(r)),
    ]
}

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
    Scene::all(&sizes, &shares)
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

/// D⁻¹ and K Kᵀ written out, from a matrix whose columns are products with the definition.
#[test]
fn twins_of_preconditioners_are_their_matrices() {
    for scene in scenes().iter().filter(|scene| scene.flags.len() <= 200) {
        let (cells, n) = (scene.cells(), scene.flags.len());
        let unit = |j: usize| (0..n).map(|i| f64::from(u8::from(i == j))).collect::<Vec<_>>();
        let a: Vec<Vec<f64>> = (0..n).map(|j| cells.apply(&unit(j))).collect();
        let inverse = |j: usize| if a[j][j] == 0.0 { 0.0 } else { 1.0 / a[j][j] };
        // by columns, each 0 where the diagonal is
        let k = |j: usize, i: usize| match i.cmp(&j) {
            std::cmp::Ordering::Less => 0.0,
            std::cmp::Ordering::Equal => f64::from(u8::from(a[j][j] != 0.0)),
            std::cmp::Ordering::Greater => -a[j][i] * inverse(j),
        };
        for j in 0..n {
            let jacobi: Vec<f64> = unit(j).iter().map(|e| e * inverse(j)).collect();
            assert_eq!(cells.jacobi(&unit(j)), jacobi);
            let expected: Vec<f64> = (0..n).map(|i| (0..n).map(|l| k(l, i) * k(l, j)).sum()).collect();
            assert!(distance(&cells.incomplete_poisson(&unit(j)), &expected) <= 1e-14, "{:?} {j}", scene.sizes);
        }
    }
}

#[test]
fn preconditioners_are_their_twins_symmetric_and_positive() {
    let gpus = gpus();
    for (i, scene) in scenes().iter().enumerate() {
        let gpu = &gpus[i % gpus.len()];
        let n = scene.flags.len();
        let arena = Tensor::arena(gpu, &[&[n], &[n]], DType::F32).unwrap();
        let buffer = f32s(gpu, &[n + 3]);
        let odd = Tensor::from_buffer(buffer.buffer(), 12, &[n], DType::F32).unwrap();
        let places = [(f32s(gpu, &[n]), f32s(gpu, &[n])), (arena[0].clone(), arena[1].clone()), (odd, f32s(gpu, &scene.sizes))];
        for (preconditioner, twin) in preconditioners(gpu, scene) {
            let mut images = Vec::new();
            for (k, (r, z)) in places.iter().enumerate() {
                // what is not fluid does not matter
                let mut values = noise((100 * k + i) as u64, n);
                let expected = twin(&scene.cells(), &wide(&values));
                values.iter_mut().zip(&scene.flags).filter(|(_, flag)| **flag != 0).for_each(|(v, _)| *v = f32::NAN);
                r.write(gpu, &values).unwrap();
                z.write(gpu, &vec![f32::NAN; n]).unwrap();
                let mut recording = Recording::new();
                preconditioner.record(&mut recording, r, z).unwrap();
                gpu.submit([&recording]);
                let found = read(gpu, z);
                assert!(distance(&found, &expected) <= 1e-6 * norm(&expected), "{:?}: {found:?}, {expected:?}", scene.sizes);
                values.iter_mut().zip(&scene.flags).filter(|(_, flag)| **flag != 0).for_each(|(v, _)| *v = 0.0);
                images.push((wide(&values), found));
            }
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let [(u, mu), (v, mv), _] = &images[..] else { panic!() };
            assert!((dot(mu, v) - dot(u, mv)).abs() <= 1e-6 * norm(mu) * norm(v));
            let seen = scene.cells().diagonal().iter().any(|&d| d > 0.0);
            assert!(if seen { dot(u, mu) > 0.0 } else { norm(mu) == 0.0 }, "{:?}", scene.sizes);
        }
        assert!(read(gpu, &buffer)[..3].iter().all(|&v| v == 0.0));
    }
}

/// As many iterations as in f64: 118, 108 and 70 without, with Jacobi's and with the incomplete Poisson preconditioner
/// in rubble, and 100, 100 and 53 in a square.
#[test]
fn preconditioners_save_iterations() {
    let gpu = gpu(Checks::Unchecked);
    let mut rubble = Scene::random(6, &[20, 21, 22], 0.15, 0.0);
    rubble.open = vec![[false, true], [false; 2], [false; 2]];
    let square = Scene { sizes: vec![48, 50], flags: vec![0; 2400], open: vec![[true; 2]; 2] };
    for (scene, share) in [(rubble, 0.65), (square, 0.65)] {
        let n = scene.flags.len();
        let laplacian = scene.laplacian(&gpu);
        let (b, x) = (f32s(&gpu, &[n]), f32s(&gpu, &[n]));
        let projected = scene.cells().project(&wide(&noise(3, n)));
        b.write(&gpu, &projected.iter().map(|&v| v as f32).collect::<Vec<_>>()).unwrap();
        let options = CgOptions { relative_tolerance: 1e-4, ..Default::default() };
        let solve = |preconditioner: Option<&dyn gradus::krylov::Preconditioner>, twin: &dyn Fn(&[f64]) -> Vec<f64>| {
            x.write(&gpu, &vec![0.0f32; n]).unwrap();
            let report = pollster::block_on(Cg::new(&laplacian, preconditioner, &b, &x, &options).unwrap().solve()).unwrap();
            assert_eq!(report.status, Status::Converged);
            let apply = |x: &[f64]| scene.cells().apply(x);
            let expected = cg(apply, |r| scene.cells().project(&twin(r)), &projected, &vec![0.0; n], 1e-4 * norm(&projected), 0.0, 1000);
            let iterations = expected.history.len() as f64 - 1.0;
            assert!((f64::from(report.iterations) - iterations).abs() <= 1.0 + 0.02 * iterations, "{} {iterations}", report.iterations);
            f64::from(report.iterations)
        };
        let plain = solve(None, &<[f64]>::to_vec);
        let jacobi = solve(Some(&Jacobi::new(&gpu, &scene.grid()).unwrap()), &|r| scene.cells().jacobi(r));
        let incomplete = solve(Some(&IncompletePoisson::new(&gpu, &scene.grid()).unwrap()), &|r| scene.cells().incomplete_poisson(r));
        assert!(jacobi <= plain && incomplete <= share * plain, "{plain} {jacobi} {incomplete}");
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
    assert!(distance(&scene.cells().apply(&read(&gpu, &x)), &b) <= 1e-6 * norm(&b) + 3.0 * report.rounding);
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

/// 8 of the product and 36 of the solver, and 2 of codes; what is left is partial sums, scalars, and the history.
#[test]
fn bytes_of_an_iteration() {
    let gpu = gpu(Checks::Unchecked);
    for sizes in [&[64, 64, 32][..], &[512, 256]] {
        let n = sizes.iter().product::<usize>() as u64;
        let laplacian = Laplacian::new(&gpu, &Grid::new(sizes).unwrap()).unwrap();
        let options = CgOptions { max_iterations: 100, ..Default::default() };
        let cg = Cg::new(&laplacian, None, &f32s(&gpu, sizes), &f32s(&gpu, sizes), &options).unwrap();
        let vectors = |name: &str| ["x", "y", "p", "q", "r", "z"].contains(&name);
        let moved = |which: &dyn Fn(&str) -> bool| -> u64 {
            let bindings = cg.iteration().dispatches().flat_map(|dispatch| dispatch.bindings);
            bindings.filter(|binding| which(binding.name)).map(|binding| binding.moved()).sum()
        };
        assert_eq!(moved(&vectors), 44 * n, "{:?}", cg.iteration());
        assert_eq!(moved(&|name| name == "codes"), 2 * n);
        // 256 sums of 16 bytes in each block of 16384 elements at most, written twice and read twice
        let sums = 4 * 16 * 256 * n.div_ceil(4 * 4096);
        assert!(cg.iteration().bytes() <= 46 * n + sums + 4096, "{:?}", cg.iteration());
    }
}

/// A mean of 5 bytes, and 9 to take it away, where a single component is closed; without one, 9 for what is not fluid, or
/// nothing.
#[test]
fn bytes_of_a_projection() {
    let gpu = gpu(Checks::Unchecked);
    let x = f32s(&gpu, &[64, 64, 32]);
    let n = x.len() as u64;
    for (open, solid, dispatches, bytes) in [(false, 0, 3, 14), (false, 1, 3, 14), (true, 1, 1, 9), (true, 0, 0, 0)] {
        let mut flags = vec![0; x.len()];
        flags[1234] = solid;
        let grid = Grid::new(&[64, 64, 32]).unwrap().with_flags(&flags).unwrap();
        let grid = grid.with_open(&[[open, false], [false; 2], [false; 2]]).unwrap();
        let mut recording = Recording::new();
        Laplacian::new(&gpu, &grid).unwrap().record_project(&mut recording, &x).unwrap();
        assert_eq!(recording.len(), dispatches);
        let partials = if open { 0 } else { 2 * 16 * 256 * n.div_ceil(4 * 4096) };
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
    let on_device = |flags: &[u32]| {
        let flags = Tensor::from_slice(&gpu, &[flags.len()], flags).unwrap();
        pollster::block_on(grid.clone().with_flags_on(&gpu, &flags))
    };
    assert_eq!(on_device(&[0, 1, 2, 2, 0, 0]).unwrap(), grid.clone().with_flags(&[0, 1, 2, 2, 0, 0]).unwrap());
    assert!(matches!(on_device(&[0; 5]), Err(Error::Length { tensor, .. }) if tensor == "flags"));
    assert_eq!(option(on_device(&[0, 1, 2, 2, 0, 259]).unwrap_err()), "flags[5]");
    let floats = pollster::block_on(grid.clone().with_flags_on(&gpu, &f32s(&gpu, &[6])));
    assert!(matches!(floats, Err(Error::DType { tensor, .. }) if tensor == "flags"));
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

/// Weights of faces, spacing, periodic axes and mass: products, with their inner products, and projections.
#[test]
fn products_of_weights_are_those_of_the_reference() {
    let sizes: [&[usize]; 8] = [&[1, 1], &[3, 33], &[2, 90], &[31, 18], &[5, 6, 7], &[6, 1, 20], &[1, 1, 9], &[13, 10, 22]];
    let gpus = gpus();
    for seed in 0..48 {
        let problem = problems::Problem::random(seed, sizes[seed as usize % sizes.len()], 4.0);
        let (gpu, cells, n) = (&gpus[seed as usize % gpus.len()], problem.cells(), problem.flags.len());
        let laplacian = Laplacian::new(gpu, &problem.grid()).unwrap();
        let mut values = noise(seed, n);
        let (y, dot) = (f32s(gpu, &[n]), f32s(gpu, &[1]));
        let mut recording = Recording::new();
        let x = Tensor::from_slice(gpu, &[n], &values).unwrap();
        laplacian.record_dot(&mut recording, &x, &y, &dot).unwrap();
        laplacian.record_project(&mut recording, &x).unwrap();
        gpu.submit([&recording]);
        let x_wide = wide(&values);
        let (expected, d) = (cells.apply(&x_wide), cells.diagonal());
        // of each row, whose terms are as large as its diagonal
        let product = read(gpu, &y);
        for i in 0..n {
            assert!((product[i] - expected[i]).abs() <= 2e-6 * d[i], "{seed} {i}: {}, not {}", product[i], expected[i]);
        }
        let (found, energy) = (read(gpu, &dot)[0], x_wide.iter().zip(&expected).map(|(x, y)| x * y).sum::<f64>());
        let scale: f64 = d.iter().zip(&x_wide).map(|(d, x)| d * x * x).sum();
        assert!((found - energy).abs() <= 2e-6 * scale, "{seed}: {found}, not {energy}");
        let projected = read(gpu, &x);
        for (i, expected) in cells.project(&x_wide).into_iter().enumerate() {
            assert!((projected[i] - expected).abs() <= 1e-6, "{seed} {i}: {}, not {expected}", projected[i]);
        }
        // what cells that are not fluid hold does not matter, nor what is beyond a face that weighs nothing
        values.iter_mut().zip(&problem.flags).filter(|&(_, &flag)| flag != 0).for_each(|(value, _)| *value = f32::NAN);
        x.write(gpu, &values).unwrap();
        gpu.submit([&recording]);
        assert_eq!(read(gpu, &y), product);
    }
}

#[test]
fn grids_refuse_what_they_cannot_be() {
    let grid = || Grid::new(&[4, 5]).unwrap();
    let [rows, columns] = [vec![1.0f32; 25], vec![1.0f32; 24]];
    let faces = |first: f32| {
        let mut rows = rows.clone();
        rows[7] = first;
        grid().with_faces(&[&rows, &columns])
    };
    assert!(faces(0.5).is_ok() && faces(0.0).is_ok());
    for (what, result) in [
        ("faces[0][7]", faces(-1.0)),
        ("faces[0][7]", faces(f32::NAN)),
        ("faces[0][7]", faces(f32::INFINITY)),
        ("spacing", grid().with_spacing(&[1.0, 0.0])),
        ("spacing", grid().with_spacing(&[1.0, f64::NAN])),
        ("spacing", grid().with_spacing(&[1.0, 1e7])),
        ("mass", grid().with_mass(-1.0)),
        (
            "masses[3]",
            grid().with_masses(&{
                let mut masses = vec![0.0; 20];
                masses[3] = f32::NAN;
                masses
            }),
        ),
        ("open[1]", grid().with_open(&[[false; 2], [true, false]]).unwrap().with_periodic(&[false, true])),
        ("open[0]", grid().with_periodic(&[true, false]).unwrap().with_open(&[[false, true], [false; 2]])),
    ] {
        assert!(matches!(&result, Err(Error::Option { option, .. }) if option == what), "{what}: {result:?}");
    }
    for result in [
        grid().with_faces(&[&rows]),
        grid().with_faces(&[&columns, &rows]),
        grid().with_spacing(&[1.0]),
        grid().with_periodic(&[true; 3]),
        grid().with_masses(&[1.0; 19]),
    ] {
        assert!(matches!(result, Err(Error::Length { .. })), "{result:?}");
    }
    // preconditioners that know flags alone
    let (gpu, torus) = (gpu(Checks::Unchecked), grid().with_periodic(&[true, false]).unwrap());
    assert!(matches!(Jacobi::new(&gpu, &torus).err(), Some(Error::Option { option, .. }) if option == "grid"));
}
