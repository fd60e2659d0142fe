//! Trains the network of the deep conjugate direction method (Kaneda et al., ICML 2023), on the GPU.
//!
//! ```text
//! cargo run --release --example train_dcdm -- --dim 2 --size 64,48,96,128 --scene open --out target/dcdm-2d-open
//! ```
//!
//! A sample is a right-hand side b of norm 1 for a box, and the loss what a step along the network's direction leaves of
//! it. As the loss says little of a solver, the training is validated by the iterations of solutions: of right-hand sides
//! that it does not draw, with the published truncation of 2, beside conjugate gradients.
//!
//! The folder of `--out` receives `weights.safetensors`, `card.md`, which says how they were made and what they are worth,
//! `curves.png`, and `checkpoint.safetensors`, from which `--resume` goes on: what becomes of the weights is the same to the
//! last bit as without an interruption.

mod card;
#[path = "../common/chart.rs"]
mod chart;
mod config;
#[path = "../common/course.rs"]
mod course;
#[path = "../smoke/fluid.rs"]
#[allow(dead_code, reason = "times and counts are told by the smoke example")]
mod fluid;
#[path = "../common/iterations.rs"]
mod iterations;
#[path = "../common/solvers.rs"]
#[allow(dead_code, reason = "not all choices are offered here")]
mod solvers;
#[path = "../common/trainer.rs"]
mod trainer;
mod validation;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use gradus::Gpu;
use gradus::poisson::Grid;
use gradus::poisson::dcdm::{Architecture, Weights};

use card::Row;
use config::{Choice, Config};
use course::{Course, write};
use iterations::{TOLERANCES, mean};
use validation::{Obstacles, Rhs};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Train the network of the deep conjugate direction method.
#[derive(Parser)]
struct Args {
    /// The dimensions of the grids.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=3))]
    dim: u8,
    /// Cells an axis; of several sizes, one after another is trained with.
    #[arg(long, value_name = "CELLS", value_delimiter = ',', default_value = "64,48,96,128", value_parser = clap::value_parser!(u32).range(2..))]
    size: Vec<u32>,
    /// What is around the grids.
    #[arg(long, value_enum, default_value = "open")]
    scene: Scene,
    /// Which of the published networks.
    #[arg(long, default_value = "64", value_parser = ["64", "128"])]
    net: String,
    /// Channels of the network, 16 as published.
    #[arg(long, default_value_t = 16)]
    channels: usize,
    /// Steps of the training.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..1 << 24))]
    steps: u32,
    /// Samples a step at the first size; at others so many that the cells are about as many.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u8).range(1..))]
    batch: u8,
    /// The optimizer.
    #[arg(long, value_enum, default_value = "adam")]
    optimizer: Choice,
    /// The greatest learning rate of the one cycle.
    #[arg(long, default_value_t = 2e-3)]
    lr: f64,
    /// The share of samples with obstacles: a ball, or rubble.
    #[arg(long, default_value_t = 0.0)]
    obstacles: f64,
    /// Of the initial weights and of the samples.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Cells an axis of the grids of the validation: of the first in the course of the training, of all at its end.
    /// Without it 64, 128 and 256 in two dimensions, 32 and 64 in three.
    #[arg(long, value_name = "CELLS", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(2..))]
    validate: Option<Vec<u32>>,
    /// Steps between two validations, which also write a checkpoint.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// Where to write, a folder.
    #[arg(long, value_name = "FOLDER", default_value = "target/train_dcdm")]
    out: PathBuf,
    /// Go on from the checkpoint in that folder.
    #[arg(long)]
    resume: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Scene {
    /// Air
    Open,
    /// Walls
    Box,
}

fn main() -> ExitCode {
    match pollster::block_on(run(&Args::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<()> {
    let dim = usize::from(args.dim);
    let published = if args.net == "64" { Architecture::net_64(dim) } else { Architecture::net_128(dim) };
    let config = Config {
        architecture: Architecture { channels: args.channels, ..published },
        sizes: args.size.iter().map(|&size| size as usize).collect(),
        open: args.scene == Scene::Open,
        obstacles: args.obstacles,
        batch: args.batch.into(),
        steps: args.steps,
        optimizer: args.optimizer,
        lr: args.lr,
        seed: args.seed,
    };
    let default = if dim == 2 { vec![64, 128, 256] } else { vec![32, 64] };
    let sizes: Vec<usize> = args.validate.clone().unwrap_or(default).into_iter().map(|size| size as usize).collect();
    std::fs::create_dir_all(&args.out).map_err(|error| format!("{}: {error}", args.out.display()))?;
    let saved = args.out.join("checkpoint.safetensors");

    let gpu = Gpu::headless().await?;
    // println would panic if nobody reads any more
    let mut out = std::io::stdout();
    writeln!(out, "adapter: {}", trainer::adapter(&gpu))?;
    let (weights, mut trainer) = config.trainer(&gpu)?;
    let mut course = if args.resume { Course::resume(&mut trainer, &saved)? } else { Course::default() };
    writeln!(out, "{} parameters, {} steps", weights.parameters.flat().len(), config.steps)?;

    let walls = config.walls(sizes[0])?;
    let sides = right_hand_sides(&gpu, &walls).await?;
    course.run(&mut trainer, config.steps, args.every, &saved, async || validate(&gpu, &weights, &walls, &sides).await).await?;

    let file = args.out.join("weights.safetensors");
    write(&file, &weights.to_safetensors(&gpu).await?)?;
    let panels = course.panels(trainer.losses().await?, TOLERANCES, &format!("{} cells an axis", sizes[0]));
    chart::write(&args.out.join("curves.png"), (1200, 550), &panels)?;
    let mut rows = Vec::new();
    for &size in &sizes {
        let walls = config.walls(size)?;
        let sides = right_hand_sides(&gpu, &walls).await?;
        for obstacles in Obstacles::ALL {
            let grid = obstacles.within(&walls)?;
            for (rhs, b) in Rhs::ALL.into_iter().zip(&sides) {
                let plain = validation::plain(&gpu, &grid, b).await?;
                let deep = validation::deep(&gpu, &weights, &grid, b).await?;
                let row = Row { size, obstacles, rhs, plain, deep };
                writeln!(out, "{row}")?;
                rows.push(row);
            }
        }
    }
    let loss = trainer.loss().await?;
    let text = card::card(&weights, loss, course.seconds, &course::command("train_dcdm"), &rows);
    write(&args.out.join("card.md"), text.as_bytes())?;
    writeln!(out, "wrote {}, with its card", file.display())?;
    Ok(())
}

/// Those of [`Rhs::ALL`].
async fn right_hand_sides(gpu: &Gpu, walls: &Grid) -> Result<Vec<Vec<f32>>> {
    let mut sides = Vec::new();
    for rhs in Rhs::ALL {
        sides.push(rhs.values(gpu, walls).await?);
    }
    Ok(sides)
}

/// The mean iterations by tolerance; where one was not reached, not a number.
async fn validate(gpu: &Gpu, weights: &Weights, grid: &Grid, sides: &[Vec<f32>]) -> Result<[f64; 2]> {
    let mut all = Vec::new();
    for b in sides {
        all.push(validation::deep(gpu, weights, grid, b).await?);
    }
    Ok(mean(&all))
}
