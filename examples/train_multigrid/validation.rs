//! How many iterations real solutions take, on grids that no training draws.

use gradus::krylov::{Cg, CgOptions, Preconditioner};
use gradus::poisson::learned_multigrid::{Coefficients, LearnedMultigrid};
use gradus::poisson::{Grid, Laplacian};
use gradus::{DType, Gpu, Tensor};

use crate::Result;
use crate::iterations::{Iterations, TOLERANCES, counted};
use crate::scenes::{Rhs, Scene};

const MAX_ITERATIONS: u32 = 5000;

/// Of conjugate gradients with the cycle.
pub async fn learned(gpu: &Gpu, coefficients: &Coefficients, scene: Scene, sizes: &[usize]) -> Result<Iterations> {
    let grid = scene.grid(sizes, 0)?;
    let cycle = LearnedMultigrid::new(gpu, &grid, coefficients)?;
    iterations(gpu, &grid, Some(&cycle)).await
}

/// Of conjugate gradients without a preconditioner.
pub async fn plain(gpu: &Gpu, scene: Scene, sizes: &[usize]) -> Result<Iterations> {
    iterations(gpu, &scene.grid(sizes, 0)?, None).await
}

/// Where right-hand sides are noise, as those that `poisson` takes unless told otherwise.
async fn iterations(gpu: &Gpu, grid: &Grid, preconditioner: Option<&dyn Preconditioner>) -> Result<Iterations> {
    let laplacian = Laplacian::new(gpu, grid)?;
    let b = Tensor::from_slice(gpu, grid.sizes(), &Rhs::Noise.values(grid, 0))?;
    let x = Tensor::zeros(gpu, grid.sizes(), DType::F32)?;
    let check_every = if preconditioner.is_some() { 2 } else { 16 };
    let options = CgOptions { relative_tolerance: TOLERANCES[1], max_iterations: MAX_ITERATIONS, check_every, ..Default::default() };
    let report = Cg::new(&laplacian, preconditioner, &b, &x, &options)?.solve().await?;
    Ok(counted(&report.history))
}
