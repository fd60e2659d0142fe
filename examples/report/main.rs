//! What the crate does on the machine at hand, as a page: whether each kernel is right, how near it comes to what the device can
//! do, and how long solvers and trainings take.
//!
//! ```text
//! cargo run --release --example report -- [--quick] [--bandwidth GB/s] [--flops TFLOP/s] [--out FOLDER]
//! ```
//!
//! The page is `benches/results/<adapter>.md`. It takes at most 8 minutes on a GPU; on a software driver `--quick` takes about
//! one, with small sizes. Larger grids are left out once the time is short, or where they do not fit.
//!
//! The adapter is chosen by `WGPU_BACKEND` and `WGPU_ADAPTER_NAME`, else it is the one of highest performance.

#[path = "../common/cnn.rs"]
mod cnn;
#[path = "../train_dcdm/config.rs"]
#[allow(dead_code, reason = "nothing is validated here")]
mod config;
#[path = "../common/digits.rs"]
mod digits;
#[path = "../train_digits/trainer.rs"]
#[allow(dead_code, reason = "only the time of a step counts")]
mod digits_trainer;
#[path = "../train_digits/model.rs"]
#[allow(dead_code, reason = "nothing is plotted")]
mod model;
mod page;
#[path = "../poisson/problem.rs"]
#[allow(dead_code, reason = "nothing is plotted")]
mod problem;
#[path = "../common/random.rs"]
mod random;
#[path = "../roofline/suite.rs"]
mod roofline;
#[path = "../common/scenes.rs"]
#[allow(dead_code, reason = "one scene is enough")]
mod scenes;
#[path = "../selftest/suite.rs"]
#[allow(dead_code, reason = "what goes to a page of a browser")]
mod selftest;
#[path = "../common/solvers.rs"]
mod solvers;
#[path = "../common/trainer.rs"]
#[allow(dead_code, reason = "no training goes on from a checkpoint")]
mod trainer;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use gradus::gpu::{GpuOptions, Polling};
use gradus::optim::AdamW;
use gradus::poisson::dcdm::Architecture;
use gradus::{Gpu, krylov::Status};
use wgpu::PollType;

use config::Config;
use digits::Digits;
use model::Model;
use page::Page;
use problem::{Problem, words};
use scenes::{Rhs, Scene};
use solvers::{Settings, choice};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measure what this machine does, and write a page of it.
#[derive(Parser)]
struct Args {
    /// Small sizes and few repetitions: about a minute on a software driver.
    #[arg(long)]
    quick: bool,
    /// What the data sheet says of the memory, in GB/s: shares of it are written as well.
    #[arg(long, value_name = "GB/s")]
    bandwidth: Option<f64>,
    /// What the data sheet says of arithmetic in f32, in TFLOP/s.
    #[arg(long, value_name = "TFLOP/s")]
    flops: Option<f64>,
    /// Where the page goes.
    #[arg(long, value_name = "FOLDER", default_value = "benches/results")]
    out: PathBuf,
}

/// What all of it may take.
const LONGEST: Duration = Duration::from_secs(480);

/// A step of DCDM's training has so many samples on grids of so many cells an axis, in two dimensions.
const DCDM: [(usize, usize); 2] = [(16, 64), (2, 32)];

fn main() -> ExitCode {
    match pollster::block_on(run(&Args::parse())) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("error: {failed} entries or parts failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How many entries of the self-test and other parts failed.
async fn run(args: &Args) -> Result<usize> {
    let begun = Instant::now();
    std::fs::create_dir_all(&args.out).map_err(|error| format!("{}: {error}", args.out.display()))?;
    let gpu = Gpu::headless().await?;
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let mut page = Page::new(&gpu, format!("cargo run --release --example report -- {command}").trim_end_matches([' ', '-']));
    let mut failed = self_test(&mut page).await?;
    let gpu = tune(gpu, args, &mut page).await?;
    // a page of what there is, whatever ends a part of it
    let result = kernels(&gpu, args, &mut page).await;
    failed += ended(result, &mut page);
    solutions(&gpu, args, begun + LONGEST, &mut page).await;
    let result = trainings(&gpu, args, &mut page).await;
    failed += ended(result, &mut page);
    page.end(begun.elapsed());
    let path = args.out.join(page.file());
    std::fs::write(&path, page.text()).map_err(|error| format!("{}: {error}", path.display()))?;
    eprintln!("wrote {}, {:.0} s", path.display(), begun.elapsed().as_secs_f64());
    Ok(failed)
}

/// Whether an error ended a part.
fn ended(result: Result<()>, page: &mut Page) -> usize {
    match result {
        Ok(()) => 0,
        Err(error) => {
            page.line(&format!("ended by an error: {error}"));
            1
        }
    }
}

/// Every kernel against its twin, on a device whose errors are the self-test's.
async fn self_test(page: &mut Page) -> Result<usize> {
    page.section("Self-test", "`cargo run --release --example selftest`: every kernel against its twin in f64.");
    let mut report = selftest::Report::new(Gpu::headless().await?, "", selftest::Output::Table, |_| ());
    report.run();
    page.line(&report.summary());
    report.failures().iter().for_each(|line| page.line(line));
    Ok(report.failures().len())
}

/// The device with the tiles of products that are the fastest on it, which all that follows is measured with.
async fn tune(gpu: Gpu, args: &Args, page: &mut Page) -> Result<Gpu> {
    page.section("Tiles of products", "By `Gpu::tune`; a software driver has no choice.");
    let tuning = gpu.tune(Duration::from_secs(if args.quick { 5 } else { 60 })).await?;
    tuning.to_string().lines().for_each(|line| page.line(line));
    let target = gpu.target().clone().with_tuning(tuning);
    let options = GpuOptions { target: Some(target), polling: Polling::Thread, ..Default::default() };
    Ok(Gpu::with_options(gpu.device(), gpu.queue(), options)?)
}

/// The tables of `roofline`: steps, products, derivatives, the kernels of solvers.
async fn kernels(gpu: &Gpu, args: &Args, page: &mut Page) -> Result<()> {
    page.section(
        "Kernels",
        "`cargo run --release --example roofline`, whose head says what the ratios are: to the fastest copy, to the peak of fused \
         multiply-adds, and of products with Hessians and Gauss-Newton matrices to a gradient.",
    );
    let options = roofline::Options {
        elements: args.quick.then_some(1 << 20),
        repeats: if args.quick { 1 } else { 9 },
        filter: String::new(),
        json: false,
        bandwidth: args.bandwidth,
        flops: args.flops,
        quick: args.quick,
    };
    roofline::run(gpu, &options, &mut |line| page.line(line)).await?;
    Ok(())
}

/// Solutions of Poisson equations with noise for a right-hand side and air around.
async fn solutions(gpu: &Gpu, args: &Args, end: Instant, page: &mut Page) {
    page.section(
        "Poisson equations",
        "`cargo run --release --example poisson -- --scene open`: to 1e-6 of a right-hand side of noise, residuals in f64. `dcdm` is \
         the published method with the weights that come with the crate.",
    );
    page.line(&format!(
        "{:12} {:18} {:>10} {:>10} {:>12} {:>10} {:>10}  status",
        "cells", "solver", "iterations", "seconds", "ms/iteration", "Mcells/s", "residual"
    ));
    let sizes: &[usize] = if args.quick { &[32] } else { &[64, 128, 256, 512] };
    // of the smaller grid, with all that is set up for it
    let mut last = Duration::ZERO;
    for &size in sizes {
        // with eight times the cells, and time for what comes after
        if Instant::now() + 10 * last > end {
            page.line(&format!("{:12} left out: the time is short", format!("{size}³")));
            continue;
        }
        let start = Instant::now();
        for solver in ["cg", "multigrid", "dcdm"] {
            // networks take minutes without a GPU
            let flat = solver == "dcdm" && args.quick;
            let sizes = vec![size; if flat { 2 } else { 3 }];
            let cells = format!("{size}{}", if flat { "²" } else { "³" });
            match solution(gpu, &sizes, solver).await {
                Ok(row) => page.line(&format!("{cells:12} {row}")),
                // what does not fit
                Err(error) => page.line(&format!("{cells:12} {solver:18} {error}")),
            }
        }
        last = start.elapsed();
    }
}

async fn solution(gpu: &Gpu, sizes: &[usize], solver: &str) -> Result<String> {
    let settings = Settings { tolerance: 1e-6, max_iterations: 10_000, weights: None, truncation: 2, recompute: true };
    let problem = Problem::new(gpu, Scene::Open, sizes, Rhs::Noise, 0)?;
    let found = problem.solve(choice(solver)?, &settings, 1).await?;
    let each = 1e3 * found.seconds / f64::from(found.iterations.max(1));
    let speed = if found.status == Status::Converged { problem.grid.len() as f64 / found.seconds / 1e6 } else { f64::NAN };
    Ok(format!(
        "{solver:18} {:10} {:10.4} {each:12.3} {speed:10.1} {:10.2e}  {}",
        found.iterations,
        found.seconds,
        found.relative_residual,
        words(found.status)
    ))
}

/// Steps a second.
async fn trainings(gpu: &Gpu, args: &Args, page: &mut Page) -> Result<()> {
    page.section("Trainings", "A step is a gradient and a step of the optimizer, the first ones left out.");
    page.line(&format!("{:44} {:>10} {:>12}", "training", "ms/step", "steps/s"));
    let mut row = |name: &str, seconds: f64| page.line(&format!("{name:44} {:10.3} {:12.1}", 1e3 * seconds, 1.0 / seconds));
    let digits = Digits::load()?;
    let models: &[Model] = if args.quick { &[Model::Cnn] } else { &[Model::Mlp, Model::Cnn, Model::Attention] };
    for &model in models {
        let trainer = digits_trainer::Trainer::new(gpu, model, &digits, 128, 0, None).await?;
        let schedule = digits_trainer::Schedule { lr: 1e-3, epochs: if args.quick { 2 } else { 20 }, seed: 0 };
        let run = trainer.train(&AdamW::default(), &schedule, &indicatif::ProgressBar::hidden()).await?;
        let seconds = run.step.map_or(f64::NAN, |step| step.as_secs_f64());
        row(&format!("digits, {model:?}, batch 128, AdamW").to_lowercase(), seconds);
    }
    let (batch, size) = DCDM[usize::from(args.quick)];
    let steps = if args.quick { 3 } else { 50 };
    let config = Config {
        architecture: Architecture::net_64(2),
        sizes: vec![size],
        open: true,
        obstacles: 0.0,
        batch,
        steps: steps + 2,
        optimizer: config::Choice::Adam,
        lr: 1e-3,
        seed: 0,
    };
    let (_weights, mut trainer) = config.trainer(gpu)?;
    let mut start = Instant::now();
    for step in 0..config.steps {
        if step == 2 {
            gpu.device().poll(PollType::wait_indefinitely())?;
            start = Instant::now();
        }
        trainer.step().await?;
    }
    gpu.device().poll(PollType::wait_indefinitely())?;
    row(&format!("dcdm, 64-net, {batch} grids of {size}², adam"), start.elapsed().as_secs_f64() / f64::from(steps));
    Ok(())
}
