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
    /// For Cg; there is none for flexible conjugate gradients, whose network is in a file.
    preconditioner: Option<fn(&Gpu, &Grid) -> gradus::Result<Boxed>>,
}

pub const CHOICES: [Choice; 5] = [
    Choice { name: "cg", check_every: 16, preconditioner: Some(|_, _| Ok(None)) },
    Choice { name: "jacobi", check_every: 16, preconditioner: Some(|gpu, grid| boxed(Jacobi::new(gpu, grid))) },
    Choice { name: "incomplete-poisson", check_every: 16, preconditioner: Some(|gpu, grid| boxed(IncompletePoisson::new(gpu, grid))) },
    Choice {
        name: "multigrid",
        check_every: 2,
        preconditioner: Some(|gpu, grid| boxed(Multigrid::new(gpu, grid, &MultigridOptions::default()))),
    },
    Choice { name: "dcdm", check_every: 2, preconditioner: None },
];

fn boxed(preconditioner: gradus::Result<impl Preconditioner + 'static>) -> gradus::Result<Boxed> {
    Ok(Some(Box::new(preconditioner?)))
}

/// What does not depend on the choice.
#[derive(Clone)]
pub struct Settings {
    pub tolerance: f64,
    pub max_iterations: u32,
    /// Of the network; if not given, those that come with the crate.
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
        self.preconditioner.is_none()
    }

    /// Whether it needs nothing that is not there.
    #[allow(dead_code, reason = "not all examples offer all choices at once")]
    pub fn is_available(&self, grid: &Grid, settings: &Settings) -> bool {
        self.preconditioner.is_some() || settings.weights_for(grid).exists()
    }

    pub fn solver(&self, gpu: &Gpu, grid: &Grid, b: &Tensor, x: &Tensor, settings: &Settings) -> Result<Solver> {
        let laplacian = Laplacian::new(gpu, grid)?;
        let &Settings { tolerance: relative_tolerance, max_iterations, truncation, recompute, .. } = settings;
        let check_every = self.check_every;
        if let Some(preconditioner) = self.preconditioner {
            let options = CgOptions { relative_tolerance, max_iterations, check_every, ..Default::default() };
            return Ok(Solver::Cg(Cg::new(&laplacian, preconditioner(gpu, grid)?.as_deref(), b, x, &options)?));
        }
        let path = settings.weights_for(grid);
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}; --weights names another file", path.display()))?;
        let network = DeepPreconditioner::from_safetensors(gpu, grid, &bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        let recompute_every = if recompute { 1 } else { FlexibleCgOptions::default().recompute_every };
        let options =
            FlexibleCgOptions { relative_tolerance, max_iterations, check_every, truncation, recompute_every, ..Default::default() };
        Ok(Solver::Flexible(FlexibleCg::new(&laplacian, Some(&network), b, x, &options)?))
    }
}

impl Settings {
    fn weights_for(&self, grid: &Grid) -> PathBuf {
        let walls = if grid.open().iter().flatten().any(|&open| open) { "open" } else { "box" };
        let own = || format!("weights/dcdm-{}d-{walls}.safetensors", grid.sizes().len()).into();
        self.weights.clone().unwrap_or_else(own)
    }
}
