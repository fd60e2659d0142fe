//! The three parts of the crate at work, within two minutes on a software driver.
//!
//! ```text
//! cargo run --release --example tour
//! ```
//!
//! AdamP trains a convolutional classifier of handwritten digits. Lanczos, on products with the Hessian of its loss, finds the
//! largest eigenvalues of that, and stochastic Lanczos quadrature the density of all. Smoke rises past a disc, and the system
//! for the pressure of one of its steps is solved by conjugate gradients, by themselves and with each of the preconditioners.
//! `--out` gets a picture of each.
//!
//! Each part is an example of its own with more to choose: `train_digits`, `hessian_spectrum`, `smoke` and `poisson`.

#[path = "../common/chart.rs"]
mod chart;
#[path = "../common/cnn.rs"]
mod cnn;
#[path = "../common/digits.rs"]
mod digits;
#[path = "../smoke/fluid.rs"]
#[allow(dead_code, reason = "times and counts are told by the smoke example")]
mod fluid;
#[path = "../train_digits/model.rs"]
mod model;
mod pressure;
#[path = "../common/random.rs"]
mod random;
#[path = "../common/solvers.rs"]
mod solvers;
#[path = "../hessian_spectrum/plot.rs"]
mod spectrum;
#[path = "../train_digits/trainer.rs"]
mod trainer;

use std::error::Error;
use std::io::{Stdout, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use gradus::curvature::{Curvature, DensityOptions, Matrix, spectral_density};
use gradus::graph::{Graph, Parameters, Var, losses};
use gradus::krylov::{EigenOptions, LinearOperator, Which, eigenpairs};
use gradus::optim::AdamP;
use gradus::{Gpu, Tensor};
use indicatif::ProgressBar;
use plotters::style::full_palette::GREEN_500;

use chart::{Curve, Panel, Scale, Style};
use digits::{Digits, PIXELS};
use model::Model;
use solvers::CHOICES;
use trainer::{Schedule, Trainer};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const EPOCHS: u32 = 20;
const BATCH: usize = 32;
const LR: f64 = 3e-3;
/// How many digits the Hessian is of: a product goes through all of them.
const DIGITS: usize = 500;
const EIGENVALUES: usize = 10;

/// Train with AdamP, look at the Hessian, solve for the pressure of smoke.
#[derive(Parser)]
struct Args {
    /// Of the initial weights, the order of the samples and the random vectors.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What solves for the pressure: conjugate gradients, by themselves or with a preconditioner.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "cg,multigrid,dcdm",
          value_parser = PossibleValuesParser::new(CHOICES.iter().map(|choice| choice.name)))]
    solver: Vec<String>,
    /// The folder for the pictures.
    #[arg(long, value_name = "FOLDER", default_value = "target/tour")]
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
    let start = Instant::now();
    std::fs::create_dir_all(&args.out).map_err(|error| format!("{}: {error}", args.out.display()))?;
    let gpu = Gpu::headless().await?;
    let info = gpu.adapter_info();
    // println would panic if nobody reads any more
    let mut out = std::io::stdout();
    writeln!(out, "{} ({:?}, {})", info.name, info.backend, info.driver_info)?;
    let digits = Digits::load()?;
    let weights = train(&gpu, &digits, args, &mut out).await?;
    eigenvalues(&gpu, &digits, &weights, args, &mut out).await?;
    pressure::solve(&gpu, &args.solver, &args.out.join("smoke.png"), &mut out).await?;
    writeln!(out, "\n{:.0} s in all", start.elapsed().as_secs_f64())?;
    Ok(())
}

/// The weights of the classifier, safetensors.
async fn train(gpu: &Gpu, digits: &Digits, args: &Args, out: &mut Stdout) -> Result<Vec<u8>> {
    writeln!(out, "\n1. AdamP trains a convolutional network on {} handwritten digits", digits.train)?;
    let trainer = Trainer::new(gpu, Model::Cnn, digits, BATCH, args.seed, None).await?;
    let bar = ProgressBar::new(EPOCHS.into());
    let algorithm = AdamP { lr: LR, weight_decay: 1e-2, ..Default::default() };
    let run = trainer.train(&algorithm, &Schedule { lr: LR, epochs: EPOCHS, seed: args.seed }, &bar).await?;
    let (Some(step), Some(loss)) = (run.step, run.losses.last()) else { return Err("there were no steps".into()) };
    writeln!(
        out,
        "   {} parameters, a gradient of {} kernels; {EPOCHS} epochs, {:.1} ms a step: loss {loss:.3}, {:.1} % of {} others are right",
        trainer.parameters().flat().len(),
        trainer.plan().kernels(0),
        1e3 * step.as_secs_f64(),
        100.0 * run.accuracy,
        digits.labels.len() - digits.train,
    )?;
    let losses = (1..).zip(&run.losses).map(|(epoch, &loss)| (f64::from(epoch), loss)).collect();
    let panel = Panel {
        title: format!("{}, handwritten digits", Model::Cnn.describe()),
        labels: ["epoch", "training loss (mean cross-entropy)"].map(String::from),
        scales: [Scale::Linear, Scale::Logarithmic],
        curves: vec![Curve { name: "AdamP".into(), color: GREEN_500, style: Style::Line, points: losses }],
        ..Default::default()
    };
    wrote(out, &args.out.join("digits.png"), |path| chart::write(path, (1200, 700), &[panel]))?;
    Ok(trainer.parameters().save(gpu).await?)
}

async fn eigenvalues(gpu: &Gpu, digits: &Digits, weights: &[u8], args: &Args, out: &mut Stdout) -> Result<()> {
    writeln!(out, "\n2. The Hessian of its loss on {DIGITS} of them")?;
    let images = Tensor::from_slice(gpu, &[DIGITS, PIXELS], &digits.pixels[..DIGITS * PIXELS])?;
    let labels = Tensor::from_slice(gpu, &[DIGITS], &digits.labels[..DIGITS])?;
    let mut graph = Graph::new();
    let x = graph.input("images", images.shape())?;
    let classes = graph.indices("labels", labels.shape())?;
    let logits = Model::Cnn.logits(&mut graph, x)?;
    let loss = losses::cross_entropy(&mut graph, logits, classes)?;
    let parameters = Parameters::new(gpu, &graph, args.seed)?;
    parameters.load(gpu, weights)?;
    let wrt: Vec<Var> = graph.parameters().map(|(_, var)| var).collect();
    let bindings: Vec<(Var, &Tensor)> = wrt.iter().copied().zip(parameters.tensors()).chain([(x, &images), (classes, &labels)]).collect();
    let hessian = Curvature::new(gpu, &graph, loss, Matrix::Hessian, &wrt, &bindings)?;
    let start = Instant::now();
    let options = EigenOptions { seed: args.seed, ..Default::default() };
    let largest = eigenpairs(&hessian, EIGENVALUES, Which::Largest, &options).await?.values;
    let time = start.elapsed().as_secs_f64();
    let shown: Vec<String> = largest.iter().map(|value| format!("{value:.3}")).collect();
    let n = hessian.dim();
    writeln!(out, "   the largest of {n} eigenvalues, by Lanczos in {time:.1} s: {}", shown.join(" "))?;
    let density = spectral_density(&hessian, &DensityOptions { steps: 60, probes: 2, seed: args.seed, ..Default::default() }).await?;
    let title = format!("Eigenvalues of the Hessian of {n} parameters");
    wrote(out, &args.out.join("hessian.png"), |path| spectrum::plot(path, &title, &density, &largest))
}

/// A picture; the line says where it is.
fn wrote(out: &mut Stdout, path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    write(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(writeln!(out, "   wrote {}", path.display())?)
}
