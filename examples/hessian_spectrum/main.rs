//! The eigenvalues of a loss's Hessian, after training: a bulk near zero, and a few outliers, about as
//! many as there are classes (Sagun, Evci, Guney, Dauphin & Bottou, "Empirical Analysis of the Hessian of
//! Over-Parametrized Neural Networks", 2017).
//!
//! ```text
//! cargo run --release --example hessian_spectrum -- --k 5
//! ```
//!
//! `--model clusters` is a network of two hidden layers on k Gaussian clusters in 100 dimensions, `--model cnn` a small
//! convolutional one on the handwritten digits. Adam trains it on all samples at once until its loss is below 0.1. Lanczos
//! then takes 4 k + 30 steps, and the outliers are the eigenvalues before the largest ratio of two neighbours that have
//! converged, the first ratio apart: of k clusters, k - 1. The digits have no such gap at their number of classes. The picture is the density of all
//! eigenvalues by stochastic Lanczos quadrature, with the outliers marked.

#[path = "../common/chart.rs"]
mod chart;
#[path = "../common/cnn.rs"]
mod cnn;
#[path = "../common/digits.rs"]
mod digits;
mod experiment;
mod plot;
#[path = "../common/random.rs"]
mod random;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use gradus::curvature::{DensityOptions, spectral_density};
use gradus::krylov::LinearOperator;
use gradus::{Gpu, Tensor};

use digits::{CLASSES, Digits, PIXELS};
use experiment::{Problem, outliers, ritz};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The loss at which training ends.
const GOAL: f32 = 0.1;
/// Where it ends at the latest.
const MAX_STEPS: usize = 1000;
/// How many digits the convolutional network sees: a product goes through all of them.
const DIGITS: usize = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Model {
    /// A network of two hidden layers on Gaussian clusters
    Clusters,
    /// A convolutional network on the handwritten digits
    Cnn,
}

/// The spectrum of a trained network's Hessian.
#[derive(Parser)]
struct Args {
    #[arg(long, value_enum, default_value = "clusters")]
    model: Model,
    /// The number of clusters; the digits are of 10 classes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=50))]
    k: u32,
    /// Of the clusters, of the initial weights and of the random vectors.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// So many seeds, from --seed on; the picture is of the first.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Where to write the density, a PNG.
    #[arg(long, value_name = "PATH", default_value = "target/hessian_spectrum.png")]
    plot: PathBuf,
    /// A line of JSON for each seed instead of words.
    #[arg(long)]
    json: bool,
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
    if args.plot.extension().is_none_or(|extension| extension != "png") {
        return Err(format!("{}: the picture is a PNG, and the name must end in .png", args.plot.display()).into());
    }
    if let Some(folder) = args.plot.parent() {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let gpu = Gpu::headless().await?;
    let mut out = std::io::stdout();
    for i in 0..args.seeds {
        let seed = args.seed.wrapping_add(i);
        let (problem, classes) = match args.model {
            Model::Clusters => (Problem::clusters(&gpu, args.k as usize, seed)?, args.k as usize),
            Model::Cnn => (digits_problem(&gpu, seed)?, CLASSES),
        };
        let (steps, loss) = problem.train(&gpu, GOAL, MAX_STEPS).await?;
        let hessian = problem.hessian(&gpu)?;
        let ritz = ritz(&hessian, classes, seed).await?;
        let (count, values) = (outliers(&ritz), &ritz.values);
        if args.json {
            let line = serde_json::json!({
                "model": format!("{:?}", args.model).to_lowercase(), "classes": classes, "seed": seed,
                "parameters": hessian.dim(), "steps": steps, "loss": loss, "outliers": count, "ritz": values, "residuals": ritz.residuals,
            });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "seed {seed}: {} parameters, loss {loss:.4} after {steps} steps", hessian.dim())?;
            let shown: Vec<String> = values.iter().take(count + 3).map(|value| format!("{value:.3}")).collect();
            writeln!(out, "  {count} outliers of {classes} classes; Ritz values {} ..", shown.join(" "))?;
        }
        if i == 0 {
            let options = DensityOptions { steps: 4 * classes + 30, probes: 2, seed, ..Default::default() };
            let density = spectral_density(&hessian, &options).await?;
            plot::plot(&args.plot, "Eigenvalues of the Hessian", &density, &values[..count])
                .map_err(|error| format!("{}: {error}", args.plot.display()))?;
            if !args.json {
                writeln!(out, "  wrote {}", args.plot.display())?;
            }
        }
    }
    Ok(())
}

/// A convolutional network on some of the digits.
fn digits_problem(gpu: &Gpu, seed: u64) -> Result<Problem> {
    let digits = Digits::load()?;
    let images = Tensor::from_slice(gpu, &[DIGITS, PIXELS], &digits.pixels[..DIGITS * PIXELS])?;
    Ok(Problem::new(gpu, images, &digits.labels[..DIGITS], seed, |graph, x| cnn::cnn(graph, x, [8, 16]))?)
}
