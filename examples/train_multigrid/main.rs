//! Trains the coefficients of a multigrid cycle, on the GPU.
//!
//! ```text
//! cargo run --release --example train_multigrid -- --dim 2 --out target/multigrid-2d
//! ```
//!
//! A sample is a random grid and the Laplacian b of noise of all scales on it, and the loss what a step along the direction
//! that one cycle makes of b leaves of b. The training is validated by the iterations of conjugate gradients on the scenes of
//! `examples/poisson`, which it does not draw.
//!
//! The folder of `--out` receives `weights.safetensors`; `card.md`, which says how they were made and what they are worth;
//! `training.png`, of the stencil, the loss and the iterations; and `checkpoint.safetensors`, from which `--resume` goes on:
//! what becomes of the coefficients is the same to the last bit as without an interruption.

mod card;
#[path = "../common/chart.rs"]
mod chart;
mod config;
#[path = "../common/course.rs"]
mod course;
#[path = "../common/iterations.rs"]
mod iterations;
mod picture;
#[path = "../common/scenes.rs"]
#[allow(dead_code, reason = "right-hand sides are noise alone")]
mod scenes;
#[path = "../common/trainer.rs"]
mod trainer;
mod validation;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use gradus::Gpu;
use gradus::poisson::learned_multigrid::{Coefficients, Cycle, Scene};

use card::Row;
use config::Config;
use course::{Course, write};
use iterations::{TOLERANCES, mean};
use trainer::Schedule;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Train the coefficients of a multigrid cycle.
#[derive(Parser)]
struct Args {
    /// The dimensions of the grids.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=3))]
    dim: u8,
    /// Steps of the training.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..1 << 24))]
    steps: u32,
    /// Samples a step at the first size; at others so many that the cells are about as many. Without it 15 in two dimensions, 5
    /// in three.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..))]
    batch: Option<u8>,
    /// Cells an axis; of several sizes, one after another is trained with. Without it 64, 47 and 32 in two dimensions, 32, 23
    /// and 16 in three.
    #[arg(long, value_name = "CELLS", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(2..))]
    sizes: Option<Vec<u32>>,
    /// Which grids.
    #[arg(long, value_enum, value_name = "NAME", value_delimiter = ',', default_value = "open,box,balls,rubble,surface")]
    scenes: Vec<Kind>,
    /// The cells that the stencil reaches along an axis. Without it 2 in two dimensions, 1 in three.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=2))]
    radius: Option<u8>,
    /// Whether factors by the class of a cell are trained too.
    #[arg(long, value_enum, default_value = "on")]
    tables: Switch,
    /// The greatest learning rate of the one cycle.
    #[arg(long, default_value_t = 1e-2)]
    lr: f64,
    /// Of the samples.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Cells an axis of the grids of the validation: of the first in the course of the training, of all at its end.
    /// Without it 64, 65, 128, 256 and 512 in two dimensions, 32, 33 and 64 in three.
    #[arg(long, value_name = "CELLS", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(2..))]
    validate: Option<Vec<u32>>,
    /// Steps between two validations, which also write a checkpoint.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// Where to write, a folder.
    #[arg(long, value_name = "FOLDER", default_value = "target/train_multigrid")]
    out: PathBuf,
    /// Go on from the checkpoint in that folder.
    #[arg(long)]
    resume: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Air all around
    Open,
    /// Walls all around
    Box,
    /// Solid balls
    Balls,
    /// 3 to 15 % of the cells solid
    Rubble,
    /// A free surface over blocks
    Surface,
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

impl Args {
    fn config(&self) -> Config {
        let plane = self.dim == 2;
        let scene = |kind: &Kind| match kind {
            Kind::Open => Scene::Open,
            Kind::Box => Scene::Box,
            Kind::Balls => Scene::Balls,
            Kind::Rubble => Scene::Rubble,
            Kind::Surface => Scene::Surface,
        };
        let sizes = self.sizes.clone().unwrap_or(if plane { vec![64, 47, 32] } else { vec![32, 23, 16] });
        Config {
            cycle: Cycle {
                dim: self.dim.into(),
                radius: self.radius.unwrap_or(if plane { 2 } else { 1 }).into(),
                tables: self.tables == Switch::On,
            },
            sizes: sizes.into_iter().map(|size| size as usize).collect(),
            scenes: self.scenes.iter().map(scene).collect(),
            batch: self.batch.unwrap_or(if plane { 15 } else { 5 }).into(),
            schedule: Schedule { steps: self.steps, lr: self.lr, seed: self.seed },
        }
    }

    /// Of the grids of the validation.
    fn grids(&self) -> Vec<Vec<usize>> {
        let default = if self.dim == 2 { vec![64, 65, 128, 256, 512] } else { vec![32, 33, 64] };
        self.validate.clone().unwrap_or(default).into_iter().map(|size| vec![size as usize; self.dim.into()]).collect()
    }
}

async fn run(args: &Args) -> Result<()> {
    let (config, grids) = (args.config(), args.grids());
    std::fs::create_dir_all(&args.out).map_err(|error| format!("{}: {error}", args.out.display()))?;
    let saved = args.out.join("checkpoint.safetensors");

    let gpu = Gpu::headless().await?;
    // println would panic if nobody reads any more
    let mut out = std::io::stdout();
    writeln!(out, "adapter: {}", trainer::adapter(&gpu))?;
    let (parameters, mut trainer) = config.trainer(&gpu)?;
    let mut course = if args.resume { Course::resume(&mut trainer, &saved)? } else { Course::default() };
    writeln!(out, "{} parameters, {} steps", parameters.flat().len(), args.steps)?;

    let learned = async || config.cycle.coefficients(&gpu, &parameters, config.training(&gpu)).await;
    let validate = async || mean_iterations(&gpu, &learned().await?, &grids[0]).await;
    course.run(&mut trainer, args.steps, args.every, &saved, validate).await?;

    let coefficients = learned().await?;
    let file = args.out.join("weights.safetensors");
    write(&file, &coefficients.to_safetensors()?)?;
    let panels = course.panels(trainer.losses().await?, TOLERANCES, &format!("{} cells an axis", grids[0][0]));
    picture::write(&args.out.join("training.png"), &coefficients, &panels)?;
    let mut rows = Vec::new();
    for sizes in &grids {
        let mut scenes = Vec::new();
        for scene in scenes::Scene::ALL.into_iter().take(5) {
            let plain = validation::plain(&gpu, scene, sizes).await?;
            scenes.push([plain, validation::learned(&gpu, &coefficients, scene, sizes).await?]);
        }
        let row = Row { size: sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("x"), scenes };
        writeln!(out, "{row}")?;
        rows.push(row);
    }
    let command = course::command("train_multigrid");
    let text = card::card(&coefficients, parameters.flat().len(), trainer.loss().await?, course.seconds, &command, &rows);
    write(&args.out.join("card.md"), text.as_bytes())?;
    writeln!(out, "wrote {}, with its card", file.display())?;
    Ok(())
}

/// Over all scenes, by tolerance; where one was not reached, not a number.
async fn mean_iterations(gpu: &Gpu, coefficients: &Coefficients, sizes: &[usize]) -> Result<[f64; 2]> {
    let mut all = Vec::new();
    for scene in scenes::Scene::ALL.into_iter().take(5) {
        all.push(validation::learned(gpu, coefficients, scene, sizes).await?);
    }
    Ok(mean(&all))
}
