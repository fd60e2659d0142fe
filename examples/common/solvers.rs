//! The solvers of Poisson equations that examples offer by name.

use gradus::krylov::{Cg, CgOptions, Preconditioner};
use gradus::poisson::{Grid, IncompletePoisson, Jacobi, Laplacian, Multigrid, MultigridOptions};
use gradus::{Gpu, Result, Tensor};

type Boxed = Option<Box<dyn Preconditioner>>;

/// Conjugate gradients with a preconditioner, or without.
pub struct Choice {
    pub name: &'static str,
    /// [`CgOptions::check_every`]: what comes too late costs an application of the preconditioner.
    check_every: u32,
    preconditioner: fn(&Gpu, &Grid) -> Result<Boxed>,
}

pub const CHOICES: [Choice; 4] = [
    Choice { name: "cg", check_every: 16, preconditioner: |_, _| Ok(None) },
    Choice { name: "jacobi", check_every: 16, preconditioner: |gpu, grid| boxed(Jacobi::new(gpu, grid)) },
    Choice { name: "incomplete-poisson", check_every: 16, preconditioner: |gpu, grid| boxed(IncompletePoisson::new(gpu, grid)) },
    Choice {
        name: "multigrid",
        check_every: 2,
        preconditioner: |gpu, grid| boxed(Multigrid::new(gpu, grid, &MultigridOptions::default())),
    },
];

fn boxed(preconditioner: Result<impl Preconditioner + 'static>) -> Result<Boxed> {
    Ok(Some(Box::new(preconditioner?)))
}

impl Choice {
    pub fn cg(&self, gpu: &Gpu, grid: &Grid, b: &Tensor, x: &Tensor, tolerance: f64, max_iterations: u32) -> Result<Cg> {
        let laplacian = Laplacian::new(gpu, grid)?;
        let preconditioner = (self.preconditioner)(gpu, grid)?;
        let options = CgOptions { relative_tolerance: tolerance, max_iterations, check_every: self.check_every, ..Default::default() };
        Cg::new(&laplacian, preconditioner.as_deref(), b, x, &options)
    }
}
