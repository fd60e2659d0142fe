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
#[path = "../smoke/fluid.rs"]
#[allow(dead_code, reason = "times and counts are told by the smoke example")]
mod fluid;
mod plot;
#[path = "../common/solvers.rs"]
#[allow(dead_code, reason = "not all choices are offered here")]
mod solvers;
mod trainer;
mod validation;

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use gradus::Gpu;
use gradus::poisson::Grid;
use gradus::poisson::dcdm::{Architecture, Weights};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use card::Row;
use trainer::{Choice, Config, Trainer};
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

/// The mean over the right-hand sides after so many steps, by tolerance.
type Validation = (u32, [f64; 2]);

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
    let mut trainer = Trainer::new(&gpu, &config)?;
    let (mut seconds, mut validations) = (0.0, Vec::<Validation>::new());
    if args.resume {
        let bytes = std::fs::read(&saved).map_err(|error| format!("{}: {error}", saved.display()))?;
        (seconds, validations) = parse(&trainer.resume(&bytes)?).ok_or("the checkpoint has no times and validations")?;
    }
    writeln!(out, "{} parameters, {} steps", trainer.weights().parameters.flat().len(), config.steps)?;

    let walls = config.walls(sizes[0])?;
    let sides = right_hand_sides(&gpu, &walls).await?;
    let bar = bar(config.steps);
    let mut start = Instant::now();
    while trainer.steps() < config.steps {
        trainer.step().await?;
        let step = trainer.steps();
        bar.set_position(step.into());
        let due = step.is_multiple_of(args.every) || step == config.steps;
        if step.is_multiple_of(10) || due {
            bar.set_message(format!("{:.4}", running(trainer.losses().await?)));
        }
        if due {
            let found = validate(&gpu, trainer.weights(), &walls, &sides).await?;
            validations.push((step, found));
            seconds += start.elapsed().as_secs_f64();
            start = Instant::now();
            let note = json!({ "seconds": seconds, "validations": validations }).to_string();
            write(&saved, &trainer.checkpoint(&note).await?)?;
            let loss = running(trainer.losses().await?);
            let line = format!("step {step}, {seconds:.0} s: loss {loss:.5}, iterations {:.1} and {:.1}", found[0], found[1]);
            bar.suspend(|| writeln!(out, "{line}"))?;
        }
    }
    bar.finish_and_clear();

    let weights = args.out.join("weights.safetensors");
    write(&weights, &trainer.weights().to_safetensors(&gpu).await?)?;
    let picture = args.out.join("curves.png");
    plot::plot(&picture, trainer.losses().await?, &validations, sizes[0])?;
    let mut rows = Vec::new();
    for &size in &sizes {
        let walls = config.walls(size)?;
        let sides = right_hand_sides(&gpu, &walls).await?;
        for obstacles in Obstacles::ALL {
            let grid = obstacles.within(&walls)?;
            for (rhs, b) in Rhs::ALL.into_iter().zip(&sides) {
                let plain = validation::plain(&gpu, &grid, b).await?;
                let deep = validation::deep(&gpu, trainer.weights(), &grid, b).await?;
                let row = Row { size, obstacles, rhs, plain, deep };
                writeln!(out, "{row}")?;
                rows.push(row);
            }
        }
    }
    let loss = running(trainer.losses().await?);
    let text = card::card(trainer.weights(), loss, seconds, &command(), &rows);
    write(&args.out.join("card.md"), text.as_bytes())?;
    writeln!(out, "wrote {}, with its card", weights.display())?;
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
    let mut sums = [0.0; 2];
    for b in sides {
        let found = validation::deep(gpu, weights, grid, b).await?;
        for (sum, found) in sums.iter_mut().zip(found) {
            *sum += found.map_or(f64::NAN, |iterations| iterations as f64);
        }
    }
    Ok(sums.map(|sum| sum / sides.len() as f64))
}

/// The mean of the last losses.
fn running(losses: &[f32]) -> f64 {
    let last = &losses[losses.len().saturating_sub(100)..];
    last.iter().map(|&loss| f64::from(loss)).sum::<f64>() / last.len().max(1) as f64
}

/// The seconds and validations of a checkpoint; what was not a number is `null` there.
fn parse(note: &str) -> Option<(f64, Vec<Validation>)> {
    let note: Value = serde_json::from_str(note).ok()?;
    let validation = |entry: &Value| {
        let found = |i: usize| entry[1][i].as_f64().unwrap_or(f64::NAN);
        Some((u32::try_from(entry[0].as_u64()?).ok()?, [found(0), found(1)]))
    };
    let validations = note["validations"].as_array()?.iter().map(validation).collect::<Option<Vec<_>>>()?;
    Some((note["seconds"].as_f64()?, validations))
}

/// By way of another file, so that an interruption leaves the one that was there.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let aside = path.with_extension("part");
    std::fs::write(&aside, bytes).map_err(failed)?;
    std::fs::rename(&aside, path).map_err(failed)?;
    Ok(())
}

/// What this was called with, as one would type it.
fn command() -> String {
    let arguments = std::env::args().skip(1).filter(|argument| argument != "--resume");
    std::iter::once("cargo run --release --example train_dcdm --".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn bar(steps: u32) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} step {pos}/{len}, loss {msg}, {elapsed}, {eta} to go");
    // the template is known to be valid; without it the bar has another look
    ProgressBar::new(steps.into()).with_message("-").with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
