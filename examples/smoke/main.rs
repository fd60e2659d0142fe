//! A plume of smoke that rises past a sphere, in two dimensions past a disc: a fluid program of its own, whose
//! pressure gradus solves for.
//!
//! ```text
//! cargo run --release --example smoke -- --dim 3 --size 64 --steps 100
//! ```
//!
//! Velocities are on the faces of cells (Harlow & Welch 1965), so that the divergence of the pressure's gradient is
//! exactly `gradus::poisson::Laplacian`: the pressure with A p = -∇·u makes u - ∇p free of divergence, up to the
//! tolerance. A step is semi-Lagrangian advection (Stam, "Stable fluids", SIGGRAPH 1999), buoyancy in proportion to the
//! density, and this projection (`fluid.wgsl`). There are walls around, and the top is open.
//!
//! `--out` gets every `--every`-th frame, and all of these as `plume.png`, which is animated. In three dimensions the
//! picture is the smoke that a look through the domain meets. The exit status is 1 if the solver did not converge
//! in a step, or what it left is not a number; the steps end there.

mod fluid;
mod picture;
#[path = "../common/solvers.rs"]
mod solvers;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use gradus::Gpu;

use fluid::{Fluid, Options};
use picture::Pictures;
use solvers::CHOICES;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Let smoke rise past a sphere.
#[derive(Parser)]
struct Args {
    /// Cells an axis.
    #[arg(long, default_value_t = 64)]
    size: u16,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=3))]
    dim: u8,
    #[arg(long, default_value_t = 100)]
    steps: u32,
    /// The steps from one picture to the next.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// The residual that will do for the pressure, relative to the divergence.
    #[arg(long, default_value_t = 5e-5)]
    tolerance: f64,
    /// Conjugate gradients with the preconditioner of that name, `cg` without, `dcdm` flexible ones with a network.
    #[arg(long, value_name = "NAME", default_value = "multigrid",
          value_parser = PossibleValuesParser::new(CHOICES.iter().map(|choice| choice.name)))]
    solver: String,
    /// The weights of `dcdm`, safetensors. Without it those that come with the crate, which is
    /// `weights/dcdm-2d-open.safetensors`, or of `3d`.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Begin to solve at the pressure of the step before.
    #[arg(long)]
    warm_start: bool,
    /// Pixels a cell, along each axis.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    scale: u8,
    /// The folder for the pictures.
    #[arg(long, value_name = "DIR", default_value = "target/smoke")]
    out: PathBuf,
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
    // before the steps, so that a path that cannot be is known at once
    std::fs::create_dir_all(&args.out).map_err(|error| format!("{}: {error}", args.out.display()))?;
    let solver = solvers::choice(&args.solver)?;
    let gpu = Gpu::headless().await?;
    let options = Options {
        size: args.size.into(),
        dim: args.dim,
        solver,
        tolerance: args.tolerance,
        weights: args.weights.clone(),
        warm_start: args.warm_start,
    };
    let mut fluid = Fluid::new(&gpu, &options)?;
    let mut pictures = Pictures::new(fluid.grid(), args.scale.into());
    let info = gpu.adapter_info();
    // println would panic if nobody reads any more
    let mut out = std::io::stdout();
    writeln!(out, "{} ({:?}, {})", info.name, info.backend, info.driver_info)?;
    writeln!(out, "{:>5} {:>12} {:>12} {:>10} {:>10} {:>10}  status", "step", "divergence", "after", "ratio", "iterations", "ms")?;
    let (mut worst, mut time, mut pressure_time) = (0f32, Duration::ZERO, Duration::ZERO);
    let mut failure = None;
    for i in 1..=args.steps {
        let step = fluid.step().await?;
        let ([before, after], ratio, ms) = (step.divergence, step.ratio(), 1e3 * step.time.as_secs_f64());
        writeln!(out, "{i:5} {before:12.4e} {after:12.4e} {ratio:10.2e} {:10} {ms:10.2}  {:?}", step.iterations, step.status)?;
        worst = worst.max(ratio);
        time += step.time;
        pressure_time += step.pressure_time;
        if i % args.every == 0 {
            pictures.add(fluid.grid(), &fluid.density().await?);
            let path = args.out.join(format!("{i:05}.png"));
            pictures.write_last(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        if step.failed() {
            failure = Some(format!("step {i} failed: {:?}, and {ratio:.2e} of the divergence is left", step.status));
            break;
        }
    }
    if args.steps >= args.every {
        let path = args.out.join("plume.png");
        pictures.write_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        writeln!(out, "wrote {}", path.display())?;
    }
    let share = 100.0 * pressure_time.as_secs_f64() / time.as_secs_f64().max(f64::MIN_POSITIVE);
    writeln!(out, "at most {worst:.2e} of the divergence was left; the pressure took {share:.1} % of the time of a step")?;
    match failure {
        Some(failure) => Err(failure.into()),
        None => Ok(()),
    }
}
