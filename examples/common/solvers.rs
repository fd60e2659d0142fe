//! The solvers of Poisson equations that examples offer by name.

use std::error::Error;
use std::path::PathBuf;

use gradus::krylov::{Cg, CgOptions, FlexibleCg, FlexibleCgOptions, Preconditioner, Report};
use gradus::poisson::dcdm::DeepPreconditioner;
use gradus::poisson::{Grid, IncompletePoisson, Jacobi, Laplacian, Multigrid, MultigridOptions};
use gradus::{Gpu, Tensor};

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Boxed = Option<Box<dyn Preconditioner>>;

/// Conjugate gradients with a preconditioner, or without; flexible ones with a network.
pub struct Choice {
    pub name: &'static str,
    /// [`CgOptions::check_every`]: what comes too late costs an application of the preconditioner.
    check_every: u32,
    kind: Kind,
}

enum Kind {
    /// Made of the grid alone.
    Made(fn(&Gpu, &Grid) -> gradus::Result<Boxed>),
    /// For flexible conjugate gradients, of a network in a file.
    Network,
}

use Kind::{Made, Network};

pub static CHOICES: [Choice; 5] = [
    Choice { name: "cg", check_every: 16, kind: Made(|_, _| Ok(None)) },
    Choice { name: "jacobi", check_every: 16, kind: Made(|gpu, grid| boxed(Jacobi::new(gpu, grid))) },
    Choice { name: "incomplete-poisson", check_every: 16, kind: Made(|gpu, grid| boxed(IncompletePoisson::new(gpu, grid))) },
    Choice { name: "multigrid", check_every: 2, kind: Made(|gpu, grid| boxed(Multigrid::new(gpu, grid, &MultigridOptions::default()))) },
    Choice { name: "dcdm", check_every: 2, kind: Network },
];

/// The one of that name.
#[allow(dead_code, reason = "not all examples take one by its name")]
pub fn choice(name: &str) -> Result<&'static Choice> {
    Ok(CHOICES.iter().find(|choice| choice.name == name).ok_or_else(|| format!("there is no solver {name}"))?)
}

fn boxed(preconditioner: gradus::Result<impl Preconditioner + 'static>) -> gradus::Result<Boxed> {
    Ok(Some(Box::new(preconditioner?)))
}

/// What does not depend on the choice.
#[derive(Clone)]
pub struct Settings {
    pub tolerance: f64,
    pub max_iterations: u32,
    /// Of a network; if not given, those that come with the crate.
    pub weights: Option<PathBuf>,
    /// [`FlexibleCgOptions::truncation`], and whether the residual is computed anew in each iteration, which is as published.
    pub truncation: u32,
    pub recompute: bool,
}

pub enum Solver {
    Cg(Cg),
    Flexible(FlexibleCg),
}

impl Solver {
    pub async fn solve(&mut self) -> gradus::Result<Report> {
        match self {
            Solver::Cg(solver) => solver.solve().await,
            Solver::Flexible(solver) => solver.solve().await,
        }
    }
}

impl Choice {
    /// Whether the truncation matters.
    #[allow(dead_code, reason = "not all examples offer several truncations")]
    pub fn is_flexible(&self) -> bool {
        matches!(self.kind, Network)
    }

    /// Whether it needs nothing that is not there.
    #[allow(dead_code, reason = "not all examples offer all choices at once")]
    pub fn is_available(&self, grid: &Grid, settings: &Settings) -> bool {
        !matches!(self.kind, Network) || weights(grid, settings).exists()
    }

    pub fn solver(&self, gpu: &Gpu, grid: &Grid, b: &Tensor, x: &Tensor, settings: &Settings) -> Result<Solver> {
        let laplacian = Laplacian::new(gpu, grid)?;
        let &Settings { tolerance: relative_tolerance, max_iterations, truncation, recompute, .. } = settings;
        let check_every = self.check_every;
        let path = weights(grid, settings);
        let of_file = |error: &dyn Error| format!("{}: {error}", path.display());
        let bytes = || std::fs::read(&path).map_err(|error| format!("{}; --weights names another file", of_file(&error)));
        let preconditioner = match self.kind {
            Made(make) => make(gpu, grid)?,
            Network => {
                let network = DeepPreconditioner::from_safetensors(gpu, grid, &bytes()?).map_err(|error| of_file(&error))?;
                let recompute_every = if recompute { 1 } else { FlexibleCgOptions::default().recompute_every };
                let options = FlexibleCgOptions {
                    relative_tolerance,
                    max_iterations,
                    check_every,
                    truncation,
                    recompute_every,
                    ..Default::default()
                };
                return Ok(Solver::Flexible(FlexibleCg::new(&laplacian, Some(&network), b, x, &options)?));
            }
        };
        let options = CgOptions { relative_tolerance, max_iterations, check_every, ..Default::default() };
        Ok(Solver::Cg(Cg::new(&laplacian, preconditioner.as_deref(), b, x, &options)?))
    }
}

/// The file that is given, or that of the network for grids like this.
fn weights(grid: &Grid, settings: &Settings) -> PathBuf {
    let walls = if grid.open().iter().flatten().any(|&open| open) { "open" } else { "box" };
    let own = || format!("weights/dcdm-{}d-{walls}.safetensors", grid.sizes().len()).into();
    settings.weights.clone().unwrap_or_else(own)
}
