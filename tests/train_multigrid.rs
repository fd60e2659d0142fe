//! The training of `examples/train_multigrid`: its scenes, its loss and gradient against f64, ten parameters from scratch, a
//! training that is interrupted, and what the coefficients that come with the crate are worth.

#![cfg(all(feature = "graph", feature = "optim", feature = "poisson", feature = "weights"))]

mod common;
#[path = "../examples/train_multigrid/config.rs"]
mod config;
#[path = "../examples/common/iterations.rs"]
mod iterations;
#[path = "../examples/common/scenes.rs"]
#[allow(dead_code, reason = "right-hand sides are noise alone")]
mod scenes;
#[path = "../examples/common/trainer.rs"]
mod trainer;
#[path = "../examples/train_multigrid/validation.rs"]
mod validation;

use common::{bits, gpu, gpu_for};
use config::Config;
use gradus::Error;
use gradus::gpu::{Checks, Target};
use gradus::graph::Parameters;
use gradus::poisson::Cell;
use gradus::poisson::learned_multigrid::{Batches, Coefficients, Cycle, Scene, Scenes};
use gradus::reference::learned_multigrid::LearnedMultigrid;
use gradus::reference::poisson::Cells;
use gradus::reference::vector::dot;
use trainer::Schedule;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The mean of what steps along the directions of cycles leave of the samples' right-hand sides, in f64.
fn loss(scenes: &Scenes, count: u32, coefficients: &Coefficients) -> f64 {
    let one = |number: u32| {
        let (grid, values) = scenes.sample(5, number).unwrap();
        let flags: Vec<u8> = grid.cells().iter().map(|&cell| cell as u8).collect();
        let cells = Cells { sizes: grid.sizes(), flags: &flags, open: grid.open(), ..Default::default() };
        // cells that are not fluid are 0 for their neighbours, whatever they hold
        let b = cells.apply(&values.iter().copied().map(f64::from).collect::<Vec<_>>());
        let q = LearnedMultigrid::new(&cells, coefficients).apply(&b);
        let image = cells.apply(&q);
        let alpha = dot(&q, &b) / dot(&q, &image);
        let residual: Vec<f64> = b.iter().zip(image).map(|(b, image)| b - alpha * image).collect();
        dot(&residual, &residual) / dot(&b, &b)
    };
    (0..count).map(one).sum::<f64>() / f64::from(count)
}

/// All values, in the order of the parameters.
fn flat(c: &mut Coefficients) -> Vec<&mut f32> {
    let Coefficients { stencil, transfer, correction, smoothing, coarse, .. } = c;
    stencil.iter_mut().chain(transfer).chain([correction]).chain(smoothing).chain(coarse).collect()
}

/// The loss of a batch, and what its gradient says along three directions of each tensor, against difference quotients in f64.
#[test]
fn loss_and_gradient_are_those_of_f64() {
    for (gpu, dim, radius, size, batch) in [
        (gpu(Checks::Checked), 2, 2, 16, 5),
        (gpu_for(Target::discrete()), 2, 1, 11, 5),
        (gpu(Checks::Unchecked), 3, 1, 6, 5),
        (gpu(Checks::Unchecked), 3, 2, 5, 5),
    ] {
        let cycle = Cycle { dim, radius, tables: true };
        let mut coefficients = Coefficients::initial(dim, radius).unwrap();
        // tables that are not all the same, in the 4096ths to which the cycle rounds them, a stencil that does not end at its
        // centre, and no need to damp it
        for (i, value) in flat(&mut coefficients).into_iter().enumerate() {
            *value += 12.0 / 4096.0 * (i % 5) as f32;
        }
        coefficients.stencil[0] *= 0.75;
        let parameters = cycle.parameters(&gpu).unwrap();
        parameters.flat().write(&gpu, &flat(&mut coefficients).iter().map(|value| **value).collect::<Vec<_>>()).unwrap();
        let read = pollster::block_on(cycle.coefficients(&gpu, &parameters, coefficients.training.clone())).unwrap();
        assert_eq!(read, coefficients);

        let gradients = parameters.like(&gpu).unwrap();
        let scenes = Scenes::new(&vec![size; dim], &Scene::ALL).unwrap();
        let batches = Batches::new(&gpu, &cycle, &parameters, &gradients, scenes.clone(), batch).unwrap();
        batches.draw(5, 0).unwrap();
        gpu.submit([batches.recording()]);
        let found = pollster::block_on(batches.loss().read::<f32>(&gpu)).unwrap()[0];
        let expected = loss(&scenes, batch as u32, &coefficients);
        assert!((f64::from(found) / expected - 1.0).abs() < 1e-4, "{dim} {radius}: {found} for {expected}");

        let found: Vec<f32> = pollster::block_on(gradients.flat().read(&gpu)).unwrap();
        for name in parameters.names() {
            let part = parameters.range(name).unwrap();
            let step = if part.len() == coefficients.smoothing.len() { 4.0 / 4096.0 } else { 1.0 / 8192.0 };
            for weights in [[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [0.0, 1.0, -1.0]] {
                let at = |step: f32| {
                    let mut moved = coefficients.clone();
                    flat(&mut moved)[part.clone()]
                        .iter_mut()
                        .zip(weights.iter().cycle())
                        .for_each(|(value, weight)| **value += step * weight);
                    loss(&scenes, batch as u32, &moved)
                };
                let expected = (at(step) - at(-step)) / f64::from(2.0 * step);
                let products = found[part.clone()].iter().zip(weights.iter().cycle()).map(|(g, w)| f64::from(g * w));
                let magnitude: f64 = products.clone().map(f64::abs).sum();
                let found: f64 = products.sum();
                assert!(magnitude > 0.0 || part.len() < 3, "{dim} {radius}: {name}");
                assert!(
                    (found - expected).abs() <= 2e-3 * magnitude,
                    "{dim} {radius}: {name} along {weights:?} is {found}, expected {expected}"
                );
            }
        }
    }
}

/// Of 100 each: what is in the cells, what is around, and that values have scales as large as the grid.
#[test]
fn scenes_are_what_their_names_say() {
    for sizes in [vec![24, 30], vec![9, 10, 12]] {
        for kind in Scene::ALL {
            let scenes = Scenes::new(&sizes, &[kind]).unwrap();
            let (mut solid, mut air, mut around, mut mean) = (Vec::new(), Vec::new(), Vec::new(), 0.0);
            for number in 0..100 {
                let (grid, values) = scenes.sample(3, number).unwrap();
                assert_eq!(scenes.sample(3, number).unwrap(), (grid.clone(), values.clone()));
                assert_eq!(grid.sizes(), sizes);
                let share = |cell: Cell| grid.cells().iter().filter(|&&own| own == cell).count() as f64 / grid.len() as f64;
                solid.push(share(Cell::Solid));
                air.push(share(Cell::Air));
                around.push(grid.open().iter().flatten().filter(|open| **open).count());
                mean += (values.iter().sum::<f32>() / grid.len() as f32).powi(2) / 100.0;
            }
            // of white noise one over the cells
            assert!(mean > 1.0, "{kind:?}: {mean}");
            let range = |values: &[f64]| values.iter().fold([1.0f64, 0.0f64], |[low, high], &value| [low.min(value), high.max(value)]);
            let ([least_solid, most_solid], [least_air, most_air]) = (range(&solid), range(&air));
            let some = around.iter().any(|&open| open > 0 && open < 2 * sizes.len()) && around.contains(&0);
            match kind {
                Scene::Open => assert!((most_solid, most_air) == (0.0, 0.0) && around.iter().all(|&open| open == 2 * sizes.len())),
                Scene::Box => assert!((most_solid, most_air) == (0.0, 0.0) && around.iter().all(|&open| open == 0)),
                Scene::Balls => assert!(most_air == 0.0 && most_solid > 0.1 && most_solid < 0.9 && some, "{solid:?}"),
                Scene::Rubble => {
                    assert!(most_air == 0.0 && least_solid > 0.01 && most_solid > 0.1 && most_solid < 0.2 && some, "{solid:?}")
                }
                Scene::Surface => assert!(
                    least_air > 0.05 && most_air < 0.9 && most_solid > 0.02 && around.iter().all(|&open| open == 0),
                    "{air:?} {solid:?}"
                ),
            }
        }
    }
    // one after another
    let scenes = Scenes::new(&[16, 16], &[Scene::Box, Scene::Open]).unwrap();
    let open = |number: u32| scenes.sample(0, number).unwrap().0.open() == [[true; 2]; 2];
    assert_eq!([0, 1, 2, 3].map(open), [false, true, false, true]);
}

fn config(tables: bool, sizes: &[usize], scenes: &[Scene], steps: u32) -> Config {
    Config {
        cycle: Cycle { dim: 2, radius: 2, tables },
        sizes: sizes.to_vec(),
        scenes: scenes.to_vec(),
        batch: 4,
        schedule: Schedule { steps, lr: 1e-2, seed: 0 },
    }
}

#[test]
fn ten_parameters_solve_an_open_box() {
    let gpu = gpu(Checks::Unchecked);
    let config = config(false, &[32], &[Scene::Open], 300);
    let (parameters, mut trainer) = config.trainer(&gpu).unwrap();
    assert_eq!(parameters.flat().len(), 10);
    pollster::block_on(async {
        for _ in 0..config.schedule.steps {
            trainer.step().await.unwrap();
        }
        let before = trainer.losses().await.unwrap()[0];
        println!("loss {before} to {}", trainer.loss().await.unwrap());
        let coefficients = config.cycle.coefficients(&gpu, &parameters, config.training(&gpu)).await.unwrap();
        let initial = Coefficients::initial(2, 2).unwrap();
        let found = validation::learned(&gpu, &coefficients, scenes::Scene::Open, &[128, 128]).await.unwrap();
        let before = validation::learned(&gpu, &initial, scenes::Scene::Open, &[128, 128]).await.unwrap();
        let plain = validation::plain(&gpu, scenes::Scene::Open, &[128, 128]).await.unwrap();
        println!("{found:?} iterations, before the training {before:?}, without a cycle {plain:?}");
        assert!(found[1].unwrap() <= 8 && found[1] < before[1] && 20 * found[1].unwrap() < plain[1].unwrap());
    });
}

#[test]
fn a_training_goes_on_bit_for_bit() {
    let gpu = gpu(Checks::Unchecked);
    let config = config(true, &[8, 5], &Scene::ALL, 12);
    pollster::block_on(async {
        let (whole_parameters, mut whole) = config.trainer(&gpu).unwrap();
        let (first_parameters, mut first) = config.trainer(&gpu).unwrap();
        for _ in 0..5 {
            whole.step().await.unwrap();
            first.step().await.unwrap();
        }
        let saved = first.checkpoint("a note").await.unwrap();
        let (second_parameters, mut second) = config.trainer(&gpu).unwrap();
        assert_eq!(second.resume(&saved).unwrap(), "a note");
        for _ in 5..12 {
            whole.step().await.unwrap();
            second.step().await.unwrap();
        }
        assert_eq!((whole.steps(), second.steps()), (12, 12));
        let flat = |parameters: &Parameters| bits(&gpu, parameters.flat());
        assert_ne!(flat(&whole_parameters), flat(&first_parameters));
        assert_eq!(flat(&whole_parameters), flat(&second_parameters));
        assert_eq!(whole.losses().await.unwrap(), second.losses().await.unwrap());
        // not of another training
        let other = Config { cycle: Cycle { tables: false, ..config.cycle }, ..config.clone() };
        assert!(other.trainer(&gpu).unwrap().1.resume(&saved).is_err());
    });
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let gpu = gpu(Checks::Unchecked);
    let cycle = Cycle { dim: 2, radius: 2, tables: true };
    let option = |found: gradus::Result<()>, expected: &str| match found {
        Err(Error::Option { option, .. }) => assert_eq!(option, expected),
        other => panic!("{expected}: {other:?}"),
    };
    option(Scenes::new(&[8, 8], &[]).map(drop), "kinds");
    option(Scenes::new(&[8], &Scene::ALL).map(drop), "sizes");
    option(Cycle { radius: 3, ..cycle }.parameters(&gpu).map(drop), "radius");
    option(Cycle { dim: 1, ..cycle }.parameters(&gpu).map(drop), "dim");
    let parameters = cycle.parameters(&gpu).unwrap();
    let batches = |cycle: &Cycle, sizes: &[usize], batch: usize| {
        Batches::new(&gpu, cycle, &parameters, &parameters.like(&gpu).unwrap(), Scenes::new(sizes, &Scene::ALL).unwrap(), batch).map(drop)
    };
    option(batches(&cycle, &[8, 8], 0), "batch");
    option(batches(&cycle, &[8, 8, 8], 2), "dim");
    option(batches(&cycle, &[4, 16], 2), "sizes");
    assert!(matches!(batches(&Cycle { radius: 1, ..cycle }, &[8, 8], 2), Err(Error::Shape { .. })));
}

/// On scenes that no training draws, iterations to 1e-6, in the order of [`scenes::Scene::ALL`].
#[test]
fn shipped_coefficients_take_few_iterations() {
    let gpu = gpu(Checks::Unchecked);
    let cases: [(&[usize], [usize; 5]); 6] = [
        (&[64, 64], [6, 7, 7, 12, 16]),
        (&[65, 65], [7, 8, 9, 11, 17]),
        (&[101, 77], [7, 8, 8, 14, 16]),
        (&[128, 128], [6, 7, 8, 13, 18]),
        (&[24, 24, 24], [6, 6, 7, 9, 10]),
        (&[17, 24, 45], [8, 7, 8, 10, 10]),
    ];
    for (sizes, most) in cases {
        let coefficients = &Coefficients::trained(sizes.len()).unwrap();
        for (scene, most) in scenes::Scene::ALL.into_iter().zip(most) {
            let found = pollster::block_on(validation::learned(&gpu, coefficients, scene, sizes)).unwrap()[1];
            println!("{sizes:?} {}: {found:?}", scene.name());
            assert!(found.is_some_and(|found| found <= most), "{sizes:?} {}: {found:?}, expected {most}", scene.name());
        }
    }
}
