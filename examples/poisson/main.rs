//! Solves Poisson equations on grids of fluid, solid and air, and compares the solvers.
//!
//! ```text
//! cargo run --release --example poisson -- --size 64 --scene sphere,rubble
//! ```
//!
//! A table a scene and size, and which solver was the fastest there: iterations, the time of a solution after one that does not count, with nothing set up in
//! it, and ‖b - A x‖ / ‖b‖ in f64, of b's part in the range of A where A is singular. Where x is much larger than b, its
//! rounding to f32 makes more of that than the tolerance: the column beside it is `Report::rounding`, in the same unit. The
//! plot is of the norm that iterations update. `--json` prints a line a solution instead:
//!
//! ```text
//! {"iterations":70,"relative_residual":9.7e-7,"scene":"sphere","seconds":0.019,"size":[32,32,32],"solver":"cg","status":"converged"}
//! ```
//!
//! A residual that is not a number is `null`.

#[path = "../common/chart.rs"]
mod chart;
mod plot;
mod problem;
#[path = "../common/scenes.rs"]
mod scenes;
#[path = "../common/solvers.rs"]
mod solvers;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use gradus::Gpu;
use gradus::krylov::Status;
use gradus::poisson::Cell;
use serde_json::json;

use plot::Panel;
use problem::{Problem, Solution, words};
use scenes::{Rhs, Scene};
use solvers::{CHOICES, Choice, Settings};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Solve Poisson equations, and compare the solvers.
#[derive(Parser)]
struct Args {
    /// Cells an axis: one number, or several such as 33x47x90, the slowest axis, which is up, first.
    #[arg(long, value_name = "SIZE", value_delimiter = ',', value_parser = parse_size, default_value = "64")]
    size: Vec<Size>,
    /// The dimensions, if the size is one number.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=3))]
    dim: u8,
    /// Which grids.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "all", value_parser = PossibleValuesParser::new(Scene::ALL.map(Scene::name).into_iter().chain(["all"])))]
    scene: Vec<String>,
    /// Which solvers: conjugate gradients with the preconditioner of that name, `cg` without, `dcdm` flexible ones with a
    /// network. `all` leaves out what there are no weights for; in three dimensions, networks take minutes without a GPU.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "all",
          value_parser = PossibleValuesParser::new(CHOICES.iter().map(|choice| choice.name).chain(["all"])))]
    solver: Vec<String>,
    /// The residual that will do, relative to the right-hand side.
    #[arg(long, default_value_t = 1e-6)]
    tolerance: f64,
    /// The most iterations.
    #[arg(long, default_value_t = 10_000)]
    max_iterations: u32,
    /// The weights of `dcdm`, safetensors. Without it those that come with the crate, which are
    /// `weights/dcdm-2d-open.safetensors` and the like, by the dimensions, and `box` if there are walls all around.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// How many directions the next one of `dcdm` is made orthogonal to; one number or several.
    #[arg(long, value_name = "DIRECTIONS", value_delimiter = ',', default_value = "2", value_parser = clap::value_parser!(u32).range(0..=64))]
    truncation: Vec<u32>,
    /// Whether `dcdm` computes the residual anew in each iteration, as published, or updates it; one of both, or both.
    #[arg(long, value_name = "HOW", value_delimiter = ',', value_enum, default_value = "anew")]
    residual: Vec<Residual>,
    /// The right-hand side.
    #[arg(long, value_enum, default_value = "noise")]
    rhs: Rhs,
    /// Of the right-hand side and of what is random in the scenes.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Solutions of which the median time counts.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Where to write the plot of residuals, a PNG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// A line of JSON for each solution instead of tables.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Residual {
    /// Each is b - A x
    Anew,
    /// Each is made from the one before
    Updated,
}

#[derive(Clone)]
struct Size(Vec<usize>);

fn parse_size(text: &str) -> std::result::Result<Size, String> {
    let sizes = text.split('x').map(|size| size.parse().ok().filter(|&size| size > 0)).collect::<Option<Vec<usize>>>();
    let sizes = sizes.filter(|sizes| sizes.len() <= 3);
    sizes.map(Size).ok_or_else(|| "one to three positive numbers with an x between them were expected".into())
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
    fn settings(&self, truncation: u32, residual: Residual) -> Settings {
        let &Args { tolerance, max_iterations, .. } = self;
        Settings { tolerance, max_iterations, weights: self.weights.clone(), truncation, recompute: residual == Residual::Anew }
    }

    /// How a solver is to be used, and what each way is called.
    fn ways(&self, choice: &Choice) -> Vec<(String, Settings)> {
        if !choice.is_flexible() {
            return vec![(choice.name.into(), self.settings(0, Residual::Updated))];
        }
        let ways = self.truncation.iter().flat_map(|&truncation| self.residual.iter().map(move |&residual| (truncation, residual)));
        let named = |(truncation, residual)| {
            let kept = (self.truncation.len() > 1).then(|| format!(", truncation {truncation}"));
            let how = (self.residual.len() > 1).then(|| format!(", r {}", words(residual)));
            (format!("{}{}{}", choice.name, kept.unwrap_or_default(), how.unwrap_or_default()), self.settings(truncation, residual))
        };
        ways.map(named).collect()
    }
}

async fn run(args: &Args) -> Result<()> {
    // before the solutions, so that a path that cannot be is known at once
    if let Some(path) = &args.plot {
        if path.extension().is_none_or(|extension| extension != "png") {
            return Err(format!("{}: the picture is a PNG, and the name must end in .png", path.display()).into());
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
    }
    let chosen = |name: &str, names: &[String]| names.iter().any(|chosen| chosen == name || chosen == "all");
    let gpu = Gpu::headless().await?;
    // println would panic if nobody reads any more
    let mut out = std::io::stdout();
    if !args.json {
        let info = gpu.adapter_info();
        writeln!(out, "{} ({:?}, {})", info.name, info.backend, info.driver_info)?;
    }
    let mut panels = Vec::new();
    for scene in Scene::ALL.into_iter().filter(|scene| chosen(scene.name(), &args.scene)) {
        for Size(size) in &args.size {
            let size = if size.len() == 1 { vec![size[0]; args.dim.into()] } else { size.clone() };
            let problem = Problem::new(&gpu, scene, &size, args.rhs, args.seed)?;
            let title = format!("{}, {}", scene.name(), size.iter().map(usize::to_string).collect::<Vec<_>>().join("x"));
            if !args.json {
                let fluid = problem.grid.cells().iter().filter(|&&cell| cell == Cell::Fluid).count();
                writeln!(
                    out,
                    "\n{title}: {:.1} % of {} cells are fluid",
                    100.0 * fluid as f64 / size.iter().product::<usize>() as f64,
                    problem.grid.len()
                )?;
                writeln!(
                    out,
                    "{:34} {:>10} {:>10} {:>14} {:>10} {:>10}  status",
                    "solver", "iterations", "seconds", "ms/iteration", "residual", "rounding"
                )?;
            }
            let mut curves = Vec::new();
            let mut fastest: Option<(String, f64)> = None;
            let named = |choice: &Choice| args.solver.iter().any(|name| name == choice.name);
            for choice in CHOICES.iter().filter(|choice| chosen(choice.name, &args.solver)) {
                for (name, settings) in args.ways(choice) {
                    if !named(choice) && !choice.is_available(&problem.grid, &settings) {
                        continue;
                    }
                    let Solution { iterations, seconds, relative_residual, rounding, status, history } =
                        problem.solve(choice, &settings, args.repeat).await?;
                    if args.json {
                        let line = json!({
                            "scene": scene.name(), "size": size, "solver": name, "iterations": iterations, "seconds": seconds,
                            "relative_residual": relative_residual, "status": words(status),
                        });
                        writeln!(out, "{line}")?;
                    } else {
                        let each = 1e3 * seconds / f64::from(iterations.max(1));
                        writeln!(
                            out,
                            "{name:34} {iterations:10} {seconds:10.4} {each:14.3} {relative_residual:10.2e} {rounding:10.2e}  {}",
                            words(status)
                        )?;
                    }
                    let solved = matches!(status, Status::Converged | Status::PrecisionLimited);
                    if solved && fastest.as_ref().is_none_or(|&(_, least)| seconds < least) {
                        fastest = Some((name.clone(), seconds));
                    }
                    curves.push((name, history));
                }
            }
            if let (Some((name, _)), false, true) = (fastest, args.json, curves.len() > 1) {
                writeln!(out, "the fastest here: {name}")?;
            }
            panels.push(Panel { title, curves });
        }
    }
    if let Some(path) = &args.plot {
        plot::plot(path, panels).map_err(|error| format!("{}: {error}", path.display()))?;
        if !args.json {
            writeln!(out, "\nwrote {}", path.display())?;
        }
    }
    Ok(())
}
