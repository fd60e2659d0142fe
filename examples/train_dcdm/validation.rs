//! How many iterations real solutions take, of right-hand sides that no training draws.

use gradus::krylov::{Cg, CgOptions, FlexibleCg, FlexibleCgOptions};
use gradus::poisson::dcdm::{DeepPreconditioner, Mixtures, Weights};
use gradus::poisson::{Cell, Grid, Laplacian};
use gradus::reference::random::{normal, uniform};
use gradus::{DType, Gpu, Tensor};

use crate::Result;
use crate::fluid::{Fluid, Options};
use crate::iterations::{Iterations, TOLERANCES, counted};
use crate::solvers::choice;

const MAX_ITERATIONS: u32 = 2000;
/// Trainings have seeds of their users' choice.
const SEED: u64 = 0x7a11_da7e_0000_0000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacles {
    None,
    Ball,
    Rubble,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rhs {
    Noise,
    Mixture,
    Blobs,
    /// Of the pressure of a step of the smoke example, without its ball.
    Smoke,
}

impl Obstacles {
    pub const ALL: [Obstacles; 3] = [Obstacles::None, Obstacles::Ball, Obstacles::Rubble];

    pub fn name(self) -> &'static str {
        match self {
            Obstacles::None => "empty",
            Obstacles::Ball => "ball",
            Obstacles::Rubble => "rubble, 10 %",
        }
    }

    /// `walls` with the obstacles.
    pub fn within(self, walls: &Grid) -> gradus::Result<Grid> {
        let solid = |solid: bool| if solid { Cell::Solid as u8 } else { Cell::Fluid as u8 };
        let flags: Vec<u8> = match self {
            Obstacles::None => return Ok(walls.clone()),
            Obstacles::Ball => places(walls).map(|at| solid(squared_distance(&at, &vec![0.5; at.len()]) < 0.0625)).collect(),
            Obstacles::Rubble => uniform(SEED, 0, walls.len()).into_iter().map(|u| solid(u < 0.1)).collect(),
        };
        walls.clone().with_flags(&flags)
    }
}

impl Rhs {
    pub const ALL: [Rhs; 4] = [Rhs::Noise, Rhs::Mixture, Rhs::Blobs, Rhs::Smoke];

    pub fn name(self) -> &'static str {
        match self {
            Rhs::Noise => "white noise",
            Rhs::Mixture => "mixture of modes",
            Rhs::Blobs => "two blobs",
            Rhs::Smoke => "smoke",
        }
    }

    /// Of each cell of a box; the solvers leave out what is in cells that are not fluid.
    pub async fn values(self, gpu: &Gpu, grid: &Grid) -> Result<Vec<f32>> {
        Ok(match self {
            Rhs::Noise => normal(SEED, 1, grid.len()).into_iter().map(|x| x as f32).collect(),
            Rhs::Mixture => Mixtures::new(grid, 0.0)?.sample(SEED, 1)?.b,
            Rhs::Blobs => {
                let value = |at: Vec<f64>| {
                    let blob = |centre: f64| (-squared_distance(&at, &vec![centre; at.len()]) / 0.005).exp();
                    (blob(0.3) - blob(0.65)) as f32
                };
                places(grid).map(value).collect()
            }
            Rhs::Smoke => smoke(gpu, grid.sizes()).await?,
        })
    }
}

/// The smoke is by then past the middle.
async fn smoke(gpu: &Gpu, sizes: &[usize]) -> Result<Vec<f32>> {
    let solver = choice("multigrid")?;
    let options = Options { size: sizes[0], dim: sizes.len() as u8, solver, tolerance: 1e-4, weights: None, warm_start: true };
    let mut fluid = Fluid::new(gpu, &options)?;
    for _ in 0..sizes[0] {
        fluid.step().await?;
    }
    fluid.right_hand_side().await
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// The centres of all cells, row-major, in [0, 1] along each axis.
fn places(grid: &Grid) -> impl Iterator<Item = Vec<f64>> {
    let sizes = grid.sizes();
    let strides: Vec<usize> = (0..sizes.len()).map(|axis| sizes[axis + 1..].iter().product()).collect();
    let at = move |i: usize| sizes.iter().zip(&strides).map(|(&size, &stride)| ((i / stride % size) as f64 + 0.5) / size as f64).collect();
    (0..grid.len()).map(at)
}

/// Of conjugate gradients without a preconditioner.
pub async fn plain(gpu: &Gpu, grid: &Grid, b: &[f32]) -> Result<Iterations> {
    let laplacian = Laplacian::new(gpu, grid)?;
    let b = Tensor::from_slice(gpu, grid.sizes(), b)?;
    let x = Tensor::zeros(gpu, grid.sizes(), DType::F32)?;
    let options = CgOptions { relative_tolerance: TOLERANCES[1], max_iterations: MAX_ITERATIONS, ..Default::default() };
    let report = Cg::new(&laplacian, None, &b, &x, &options)?.solve().await?;
    Ok(counted(&report.history))
}

/// Of the deep conjugate direction method, with a truncation of 2 as published. The residual is that which iterations update,
/// as of conjugate gradients: anew in every iteration, it would not fall below what rounding x makes of it, which for two blobs
/// on 64² cells is 1e-5.
pub async fn deep(gpu: &Gpu, weights: &Weights, grid: &Grid, b: &[f32]) -> Result<Iterations> {
    let laplacian = Laplacian::new(gpu, grid)?;
    let b = Tensor::from_slice(gpu, grid.sizes(), b)?;
    let x = Tensor::zeros(gpu, grid.sizes(), DType::F32)?;
    let options = FlexibleCgOptions { relative_tolerance: TOLERANCES[1], max_iterations: 400, truncation: 2, ..Default::default() };
    let network = DeepPreconditioner::new(gpu, grid, weights)?;
    let report = FlexibleCg::new(&laplacian, Some(&network), &b, &x, &options)?.solve().await?;
    Ok(counted(&report.history))
}
