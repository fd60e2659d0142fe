//! Grids on which Poisson equations are solved, and right-hand sides for them. The first axis is up.

use std::f64::consts::{PI, TAU};

use gradus::poisson::{Cell, Grid};
use gradus::reference::random::uniform;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Walls all around.
    Box,
    /// Air all around.
    Open,
    /// A solid sphere in a box, in two dimensions a disc.
    Sphere,
    /// A wavy free surface over obstacles that stand on the ground, between walls.
    Surface,
    /// 15 % of the cells solid, at random, between walls, with air above.
    Rubble,
}

/// What a right-hand side looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Rhs {
    /// A few long waves
    Smooth,
    /// Each cell by itself, uniform in [-1, 1)
    Noise,
}

/// The obstacles of [`Scene::Surface`].
const OBSTACLES: usize = 8;
/// The waves of [`Rhs::Smooth`].
const WAVES: usize = 8;

impl Scene {
    pub const ALL: [Scene; 5] = [Scene::Box, Scene::Open, Scene::Sphere, Scene::Surface, Scene::Rubble];

    pub fn name(self) -> &'static str {
        match self {
            Scene::Box => "box",
            Scene::Open => "open",
            Scene::Sphere => "sphere",
            Scene::Surface => "surface",
            Scene::Rubble => "rubble",
        }
    }

    /// The number of each cell's [`Cell`].
    pub fn flags(self, sizes: &[usize], seed: u64) -> Vec<u8> {
        let n = sizes.iter().product();
        let (fluid, solid, air) = (Cell::Fluid as u8, Cell::Solid as u8, Cell::Air as u8);
        match self {
            Scene::Box | Scene::Open => vec![fluid; n],
            Scene::Sphere => {
                let radius = 0.25 * sizes.iter().copied().min().unwrap_or(0) as f64;
                let inside = |at: &[f64]| {
                    let squares = at.iter().zip(sizes).map(|(x, &size)| ((x - 0.5) * size as f64).powi(2));
                    squares.sum::<f64>() < radius * radius
                };
                centres(sizes).map(|at| if inside(&at) { solid } else { fluid }).collect()
            }
            Scene::Surface => {
                let axes = sizes.len();
                let random: Vec<f64> = uniform(seed, 0, OBSTACLES * 2 * axes).into_iter().map(f64::from).collect();
                // from the ground up, and between two places along the other axes
                let in_obstacle = |at: &[f64], random: &[f64]| {
                    let beside = |axis: usize| 0.9 * random[2 * axis]..0.9 * random[2 * axis] + 0.05 + 0.2 * random[2 * axis + 1];
                    at[0] < 0.1 + 0.4 * random[0] && (1..axes).all(|axis| beside(axis).contains(&at[axis]))
                };
                let cell = |at: Vec<f64>| {
                    let wave: f64 = at[1..].iter().enumerate().map(|(axis, x)| (TAU * x + axis as f64).cos()).sum();
                    match () {
                        () if random.chunks_exact(2 * axes).any(|random| in_obstacle(&at, random)) => solid,
                        () if at[0] > 0.7 + 0.05 * wave => air,
                        () => fluid,
                    }
                };
                centres(sizes).map(cell).collect()
            }
            Scene::Rubble => uniform(seed, 0, n).into_iter().map(|u| if u < 0.15 { solid } else { fluid }).collect(),
        }
    }

    /// Whether there is air beyond the low and the high face of each axis.
    pub fn open(self, axes: usize) -> Vec<[bool; 2]> {
        let mut open = vec![[self == Scene::Open; 2]; axes];
        if self == Scene::Rubble {
            open[0][1] = true;
        }
        open
    }

    pub fn grid(self, sizes: &[usize], seed: u64) -> gradus::Result<Grid> {
        // which checks the sizes
        let grid = Grid::new(sizes)?;
        grid.with_flags(&self.flags(sizes, seed))?.with_open(&self.open(sizes.len()))
    }
}

impl Rhs {
    /// Of each cell; 0 where there is no fluid.
    pub fn values(self, grid: &Grid, seed: u64) -> Vec<f32> {
        let value: Vec<f32> = match self {
            Rhs::Noise => uniform(seed, 1, grid.len()).into_iter().map(|u| 2.0 * u - 1.0).collect(),
            Rhs::Smooth => {
                let axes = grid.sizes().len();
                let random: Vec<f64> = uniform(seed, 1, WAVES * (axes + 1)).into_iter().map(f64::from).collect();
                // up to two periods along an axis
                let wave = |at: &[f64], random: &[f64]| {
                    let turns: f64 = at.iter().zip(random).map(|(x, u)| (4.0 * u).round() * x).sum();
                    (PI * turns + TAU * random[axes]).cos()
                };
                let sum = |at: Vec<f64>| random.chunks_exact(axes + 1).map(|random| wave(&at, random)).sum::<f64>() as f32;
                centres(grid.sizes()).map(sum).collect()
            }
        };
        value.into_iter().zip(grid.cells()).map(|(value, &cell)| if cell == Cell::Fluid { value } else { 0.0 }).collect()
    }
}

/// The centres of all cells, row-major, in [0, 1] along each axis.
fn centres(sizes: &[usize]) -> impl Iterator<Item = Vec<f64>> {
    let strides: Vec<usize> = (0..sizes.len()).map(|axis| sizes[axis + 1..].iter().product()).collect();
    let at = move |i: usize| sizes.iter().zip(&strides).map(|(&size, &stride)| ((i / stride % size) as f64 + 0.5) / size as f64).collect();
    (0..sizes.iter().product()).map(at)
}
