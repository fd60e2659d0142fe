//! Trains a classifier of handwritten digits of 8 by 8 pixels, on the GPU, with any of the crate's
//! optimizers.
//!
//! ```text
//! cargo run --release --example train_digits -- --model cnn --optimizer adamw
//! ```
//!
//! A model is a few lines of a graph (`model.rs`), from which the crate derives the gradient. Its parameters are
//! one buffer; a step is the recording of loss and gradient and that of the optimizer, encoded one after the other;
//! a whole epoch is one submission, whose batches are gathered from the data on the device by their
//! places in a shuffled order. Nothing is read back meanwhile but a loss now and then (`trainer.rs`).
//!
//! The model `softmax` classifies 1024 random Fourier features (Rahimi & Recht, "Random features for large-scale
//! kernel machines", NIPS 2007): φ(x) ∝ cos(Ω x + b), where x is an image, the entries of Ω are normal with standard
//! deviation 0.5, and those of b are uniform in [0, 2π). Ω and b are drawn once, from a seed of their own that is
//! always 0, and are not trained: the inner product of two images' features is close to a Gaussian kernel of
//! the images, so the classifier is not linear in the pixels, and its loss is convex in the weights all the same.
//!
//! The last fifth of the file's lines is the test.

#[path = "../common/chart.rs"]
mod chart;
#[path = "../common/cnn.rs"]
mod cnn;
#[path = "../common/digits.rs"]
mod digits;
mod model;
mod plot;
#[path = "../common/random.rs"]
mod random;
mod trainer;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use gradus::Gpu;
use gradus::optim::{Adadelta, Adagrad, Adam, AdamP, AdamW, Algorithm, DiffGrad, RmsProp, Sgd, SgdP};
use indicatif::{ProgressBar, ProgressStyle};
use plotters::style::RGBColor;
use plotters::style::full_palette::{
    BLACK, BLUE_700, BROWN_500, CYAN_500, GREEN_500, GREY_500, LIME_A700, ORANGE_700, PINK_300, PURPLE_400, RED_700,
};

use digits::Digits;
use model::Model;
use trainer::{Run, Schedule, Trainer};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Train a classifier of handwritten digits.
#[derive(Parser)]
struct Args {
    /// What is trained.
    #[arg(long, value_enum, default_value = "cnn")]
    model: Model,
    /// The optimizer, or all, one after another.
    #[arg(long, value_name = "NAME", default_value = "adamw",
          value_parser = PossibleValuesParser::new(CHOICES.iter().map(|choice| choice.name).chain(["all"])))]
    optimizer: String,
    /// How often the training data is gone through; with 0, the model is only tested.
    #[arg(long, default_value_t = 40)]
    epochs: u32,
    /// Samples a step.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Learning rate to begin with, in place of the optimizer's own.
    #[arg(long, allow_negative_numbers = true)]
    lr: Option<f64>,
    /// Of the initial weights and of the order of the samples.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to write the loss curves, a PNG.
    #[arg(long, value_name = "PATH", default_value = "target/train_digits.png")]
    plot: PathBuf,
    /// Weights to begin with, a safetensors file.
    #[arg(long, value_name = "PATH")]
    weights: Option<PathBuf>,
    /// Where to write the trained weights, a safetensors file; of several optimizers, those of the last.
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

/// An optimizer and the learning rates that suit it here.
struct Choice {
    name: &'static str,
    /// For the convex loss of `softmax`, and for networks.
    lr: [f64; 2],
    color: RGBColor,
    dashed: bool,
    algorithm: fn(f64) -> Box<dyn Algorithm>,
}

const CHOICES: [Choice; 11] = [
    choice("sgd", [2.0, 0.2], GREY_500, |lr| Box::new(Sgd { lr, weight_decay: L2, ..Default::default() })),
    choice("momentum", [0.3, 0.05], BLACK, |lr| {
        Box::new(Sgd { lr, momentum: 0.9, nesterov: true, weight_decay: L2, ..Default::default() })
    }),
    choice("adagrad", [0.1, 0.05], BROWN_500, |lr| Box::new(Adagrad { lr, weight_decay: L2, ..Default::default() })),
    choice("adadelta", [3.0, 1.0], LIME_A700, |lr| Box::new(Adadelta { lr, weight_decay: L2, ..Default::default() })),
    choice("rmsprop", [0.01, 0.002], ORANGE_700, |lr| Box::new(RmsProp { lr, weight_decay: L2, ..Default::default() })),
    choice("adam", [0.02, 0.003], BLUE_700, |lr| Box::new(Adam { lr, weight_decay: L2, ..Default::default() })),
    choice("adamw", [0.01, 0.003], RED_700, |lr| Box::new(AdamW { lr, ..Default::default() })),
    choice("amsgrad", [0.02, 0.003], CYAN_500, |lr| Box::new(Adam { lr, amsgrad: true, weight_decay: L2, ..Default::default() })),
    choice("diffgrad", [0.02, 0.01], PURPLE_400, |lr| Box::new(DiffGrad { lr, weight_decay: L2, ..Default::default() })),
    dashed("adamp", [0.01, 0.003], GREEN_500, |lr| Box::new(AdamP { lr, weight_decay: 1e-2, ..Default::default() })),
    dashed("sgdp", [0.3, 0.05], PINK_300, |lr| {
        Box::new(SgdP { lr, momentum: 0.9, nesterov: true, weight_decay: L2, ..Default::default() })
    }),
];

const fn choice(name: &'static str, lr: [f64; 2], color: RGBColor, algorithm: fn(f64) -> Box<dyn Algorithm>) -> Choice {
    Choice { name, lr, color, dashed: false, algorithm }
}

const fn dashed(name: &'static str, lr: [f64; 2], color: RGBColor, algorithm: fn(f64) -> Box<dyn Algorithm>) -> Choice {
    Choice { dashed: true, ..choice(name, lr, color, algorithm) }
}

/// Weight decay where it is coupled to the gradient.
const L2: f64 = 1e-4;

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
    // before the training, so that a path that cannot be is known at once
    if args.plot.extension().is_none_or(|extension| extension != "png") {
        return Err(format!("{}: the picture is a PNG, and the name must end in .png", args.plot.display()).into());
    }
    for folder in [Some(&args.plot), args.out.as_ref()].into_iter().flatten().filter_map(|path| path.parent()) {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let read = |path: &PathBuf| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let weights = args.weights.as_ref().map(read).transpose()?;
    let digits = Digits::load()?;
    let gpu = Gpu::headless().await?;
    let info = gpu.adapter_info();
    // println would panic if nobody reads any more
    let mut out = std::io::stdout();
    writeln!(out, "adapter: {} ({})", info.name, info.backend)?;
    writeln!(out, "data: {} digits to train on, the last {} to test", digits.train, digits.labels.len() - digits.train)?;
    let trainer = Trainer::new(&gpu, args.model, &digits, args.batch as usize, args.seed, weights.as_deref()).await?;
    let plan = trainer.plan();
    writeln!(
        out,
        "model: {:?}, {} parameters; a gradient is {} kernels and takes {} KiB, {} of them between its kernels",
        args.model,
        trainer.parameters().flat().len(),
        plan.kernels(0),
        plan.peak_memory().div_ceil(1024),
        plan.intermediate_bytes().div_ceil(1024),
    )?;

    let mut curves = Vec::new();
    for choice in CHOICES.iter().filter(|choice| args.optimizer == "all" || args.optimizer == choice.name) {
        let lr = args.lr.unwrap_or(choice.lr[usize::from(args.model != Model::Softmax)]);
        let schedule = Schedule { lr, epochs: args.epochs, seed: args.seed };
        let run = trainer.train(&*(choice.algorithm)(lr), &schedule, &bar(choice.name, args.epochs)).await?;
        writeln!(out, "{:>9}: {}", choice.name, summary(&run))?;
        curves.push((choice, run.losses));
    }
    if let Some(path) = &args.out {
        let bytes = trainer.parameters().save(&gpu).await?;
        std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        writeln!(out, "wrote {}", path.display())?;
    }
    if args.epochs > 0 {
        let title = format!("{}, handwritten digits", args.model.describe());
        plot::plot(&args.plot, &title, &curves).map_err(|error| format!("{}: {error}", args.plot.display()))?;
        writeln!(out, "wrote {}", args.plot.display())?;
    }
    Ok(())
}

fn summary(run: &Run) -> String {
    let accuracy = format!("test accuracy {:.1} %", 100.0 * run.accuracy);
    match (run.step, run.losses.last()) {
        (Some(step), Some(loss)) => format!("{:.2} ms a step, train loss {loss:.4}, {accuracy}", 1e3 * step.as_secs_f64()),
        _ => accuracy,
    }
}

fn bar(name: &'static str, epochs: u32) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>9} {bar:40} epoch {pos}/{len}, loss {msg}, {elapsed}");
    let bar = ProgressBar::new(epochs.into()).with_prefix(name).with_message("-");
    // the template is known to be valid; without it the bar has another look
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
