//! The training of `examples/train_dcdm`: a small network from scratch, and one that is interrupted.

#![cfg(all(feature = "graph", feature = "optim", feature = "poisson", feature = "weights"))]

mod common;
#[path = "../examples/train_dcdm/config.rs"]
mod config;
#[path = "../examples/smoke/fluid.rs"]
#[allow(dead_code, reason = "the example tells more")]
mod fluid;
#[path = "../examples/common/iterations.rs"]
mod iterations;
#[path = "../examples/common/solvers.rs"]
#[allow(dead_code, reason = "only multigrid is used")]
mod solvers;
#[path = "../examples/common/trainer.rs"]
#[allow(dead_code, reason = "the example tells more")]
mod trainer;
#[allow(dead_code, reason = "the example validates with obstacles too")]
#[path = "../examples/train_dcdm/validation.rs"]
mod validation;

use common::{bits, gpu};
use config::{Choice, Config};
use gradus::gpu::Checks;
use gradus::poisson::dcdm::{Architecture, Weights};
use validation::Rhs;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn config(channels: usize, steps: u32) -> Config {
    Config {
        architecture: Architecture { channels, ..Architecture::net_64(2) },
        sizes: vec![16],
        open: true,
        obstacles: 0.0,
        batch: 16,
        steps,
        optimizer: Choice::Adam,
        lr: 4e-3,
        seed: 0,
    }
}

#[test]
fn a_network_of_eight_channels_halves_the_iterations() {
    let gpu = gpu(Checks::Unchecked);
    let config = config(8, 400);
    let (weights, mut trainer) = config.trainer(&gpu).unwrap();
    pollster::block_on(async {
        for _ in 0..config.steps {
            trainer.step().await.unwrap();
        }
        let losses = trainer.losses().await.unwrap();
        assert_eq!(losses.len(), 400);
        println!("loss {} to {}", losses[0], losses[399]);
        let grid = config.walls(16).unwrap();
        for rhs in Rhs::ALL {
            let b = rhs.values(&gpu, &grid).await.unwrap();
            let plain = validation::plain(&gpu, &grid, &b).await.unwrap();
            let deep = validation::deep(&gpu, &weights, &grid, &b).await.unwrap();
            println!("{}: {deep:?} iterations, of conjugate gradients {plain:?}", rhs.name());
            for (deep, plain) in deep.into_iter().zip(plain) {
                assert!(2 * deep.unwrap() < plain.unwrap(), "{}: {deep:?} for {plain:?}", rhs.name());
            }
        }
    });
}

#[test]
fn a_training_goes_on_bit_for_bit() {
    let gpu = gpu(Checks::Unchecked);
    for optimizer in [Choice::Adam, Choice::Adamp, Choice::DiffGrad] {
        let config = Config { sizes: vec![8, 5], obstacles: 0.5, batch: 4, optimizer, ..config(2, 12) };
        pollster::block_on(async {
            let (whole_weights, mut whole) = config.trainer(&gpu).unwrap();
            let (first_weights, mut first) = config.trainer(&gpu).unwrap();
            for _ in 0..5 {
                whole.step().await.unwrap();
                first.step().await.unwrap();
            }
            let saved = first.checkpoint("a note").await.unwrap();
            let (second_weights, mut second) = config.trainer(&gpu).unwrap();
            assert_eq!(second.resume(&saved).unwrap(), "a note");
            for _ in 5..12 {
                whole.step().await.unwrap();
                second.step().await.unwrap();
            }
            assert_eq!((whole.steps(), second.steps()), (12, 12));
            let flat = |weights: &Weights| bits(&gpu, weights.parameters.flat());
            assert_ne!(flat(&whole_weights), flat(&first_weights));
            assert_eq!(flat(&whole_weights), flat(&second_weights));
            assert_eq!(whole.losses().await.unwrap(), second.losses().await.unwrap());
            assert_eq!(whole.checkpoint("").await.unwrap().len(), second.checkpoint("").await.unwrap().len());
            // not of another training
            let mut other = Config { seed: 1, ..config.clone() }.trainer(&gpu).unwrap().1;
            assert!(other.resume(&saved).is_err());
        });
    }
}

#[test]
fn the_learning_rate_has_one_cycle() {
    let schedule = config(1, 1000).schedule();
    let rates: Vec<f64> = (0..1000).map(|step| schedule.lr(step)).collect();
    let highest = rates.iter().copied().fold(0.0, f64::max);
    assert_eq!((highest, rates[300]), (schedule.lr, schedule.lr));
    assert!((rates[0] - schedule.lr / 25.0).abs() < 1e-12 && rates[999] < 1e-5 * schedule.lr);
    assert!(rates[..=300].is_sorted() && rates[300..].iter().rev().is_sorted());
}
