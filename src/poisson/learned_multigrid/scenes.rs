//! Random grids to train coefficients with, and values on them.

use std::f64::consts::TAU;

use crate::poisson::{Cell, Grid};
use crate::reference::random::{normal, uniform};
use crate::{Error, Result};

/// The random numbers that a scene takes for itself.
const DRAWS: usize = 64;
/// The numbers that a sample draws apart: the scene's, one a cell, and those of the octaves.
const STREAMS: u32 = 16;
/// The shares of solid cells of rubble.
const RUBBLE: [f64; 2] = [0.03, 0.15];
/// The most obstacles of a scene.
const OBSTACLES: usize = 4;

/// What a random grid looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// No obstacles, air all around.
    Open,
    /// No obstacles, walls all around: the Laplacian is singular.
    Box,
    /// Up to four solid balls, in two dimensions discs.
    Balls,
    /// 3 to 15 % of the cells solid, at random.
    Rubble,
    /// A wavy surface with air above, over blocks that stand on the ground.
    Surface,
}

impl Scene {
    /// All of them.
    pub const ALL: [Scene; 5] = [Scene::Open, Scene::Box, Scene::Balls, Scene::Rubble, Scene::Surface];
}

/// Random grids of one size, with values of all scales on them: sample `number` has scene `number` modulo how many there are.
///
/// Where a scene does not say what is around it, each end of each axis is open with probability ½, or all are closed.
#[derive(Clone, Debug)]
pub struct Scenes {
    sizes: Vec<usize>,
    kinds: Vec<Scene>,
}

impl Scenes {
    /// Of grids of `sizes` cells.
    ///
    /// # Errors
    /// [`Error::Option`] if there is no scene, and those of [`Grid::new`].
    pub fn new(sizes: &[usize], kinds: &[Scene]) -> Result<Self> {
        Grid::new(sizes)?;
        if kinds.is_empty() {
            return Err(Error::Option { option: "kinds".into(), found: "none".into(), expected: "at least one scene".into() });
        }
        Ok(Self { sizes: sizes.to_vec(), kinds: kinds.to_vec() })
    }

    /// The cells by axis.
    #[must_use]
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Sample `number` of those that `seed` stands for, below 2²⁸: a grid, and a value for each cell. A level of noise for
    /// each halving of the axes is interpolated to the next finer one and added to it, `c` times as large, c being random
    /// from 1 to 4. With 4 all scales are equally strong in the image of the Laplacian, with 1 the finest is.
    ///
    /// # Errors
    /// None in practice: the sizes are known to be those of a grid.
    pub fn sample(&self, seed: u64, number: u32) -> Result<(Grid, Vec<f32>)> {
        let stream = |purpose: u32| number.wrapping_mul(STREAMS).wrapping_add(purpose);
        let draws: Vec<f64> = uniform(seed, stream(0), DRAWS).into_iter().map(f64::from).collect();
        let kind = self.kinds[number as usize % self.kinds.len()];
        let grid = self.grid(kind, &draws, || uniform(seed, stream(1), self.sizes.iter().product()))?;
        let growth = 1.0 + 3.0 * draws[0];
        let mut sizes = vec![self.sizes.clone()];
        while let Some(last) = sizes.last().filter(|last| last.iter().any(|&n| n > 2)) {
            sizes.push(last.iter().map(|n| n.div_ceil(2)).collect());
        }
        let mut x: Vec<f32> = Vec::new();
        for (octave, sizes) in sizes.iter().enumerate().rev() {
            let noise = normal(seed, stream(2 + octave as u32), sizes.iter().product());
            let coarse = if x.is_empty() { vec![0.0; noise.len()] } else { finer(&x, sizes) };
            x = noise.into_iter().zip(coarse).map(|(noise, x)| noise as f32 + growth as f32 * x).collect();
        }
        Ok((grid, x))
    }

    fn grid(&self, kind: Scene, draws: &[f64], each: impl FnOnce() -> Vec<f32>) -> Result<Grid> {
        let (sizes, dim) = (&self.sizes, self.sizes.len());
        let (sides, draws) = draws[1..].split_at(1 + 2 * dim);
        let random: Vec<[bool; 2]> = sides[1..].as_chunks().0.iter().map(|&[a, b]| [a < 0.5, b < 0.5]).collect();
        let around = if sides[0] < 0.5 { vec![[false; 2]; dim] } else { random };
        let n: usize = sizes.iter().product();
        let (fluid, solid, air) = (Cell::Fluid as u8, Cell::Solid as u8, Cell::Air as u8);
        let at = |i: usize| -> Vec<f64> {
            let stride = |axis: usize| sizes[axis + 1..].iter().product::<usize>();
            (0..dim).map(|axis| ((i / stride(axis) % sizes[axis]) as f64 + 0.5) / sizes[axis] as f64).collect()
        };
        let (flags, open) = match kind {
            Scene::Open => (vec![fluid; n], vec![[true; 2]; dim]),
            Scene::Box => (vec![fluid; n], vec![[false; 2]; dim]),
            Scene::Balls => {
                let balls = &draws[1..][..(1 + (draws[0] * OBSTACLES as f64) as usize) * (dim + 1)];
                let inside = |at: &[f64], ball: &[f64]| {
                    let squares = at.iter().zip(ball).map(|(x, centre)| (x - centre).powi(2));
                    squares.sum::<f64>() < (0.03 + 0.25 * ball[dim]).powi(2)
                };
                let cell = |at: Vec<f64>| if balls.chunks(dim + 1).any(|ball| inside(&at, ball)) { solid } else { fluid };
                ((0..n).map(|i| cell(at(i))).collect(), around)
            }
            Scene::Rubble => {
                let share = RUBBLE[0] + (RUBBLE[1] - RUBBLE[0]) * draws[0];
                (each().into_iter().map(|u| if f64::from(u) < share { solid } else { fluid }).collect(), around)
            }
            Scene::Surface => {
                let blocks = &draws[8..][..(draws[0] * (1 + OBSTACLES) as f64) as usize * 2 * dim];
                let in_block = |at: &[f64], block: &[f64]| {
                    let beside = |axis: usize| (block[2 * axis]..block[2 * axis] + 0.05 + 0.3 * block[2 * axis + 1]).contains(&at[axis]);
                    at[0] < 0.1 + 0.4 * block[0] && (1..dim).all(beside)
                };
                let cell = |at: Vec<f64>| {
                    let wave = |axis: usize| (TAU * ((1.0 + 2.0 * draws[2 + axis]) * at[axis] + draws[4 + axis])).cos();
                    let waves = (1..dim).map(wave).sum::<f64>() / (dim - 1) as f64;
                    let surface = 0.35 + 0.4 * draws[1] + 0.15 * draws[2] * waves;
                    match () {
                        () if blocks.chunks(2 * dim).any(|block| in_block(&at, block)) => solid,
                        () if at[0] > surface => air,
                        () => fluid,
                    }
                };
                ((0..n).map(|i| cell(at(i))).collect(), vec![[false; 2]; dim])
            }
        };
        Grid::new(sizes)?.with_flags(&flags)?.with_open(&open)
    }
}

/// Interpolation, multilinear, to a grid of `sizes` cells, whose halves rounded up `coarse` is for.
fn finer(coarse: &[f32], sizes: &[usize]) -> Vec<f32> {
    let mut x = coarse.to_vec();
    let mut shape: Vec<usize> = sizes.iter().map(|n| n.div_ceil(2)).collect();
    for axis in 0..sizes.len() {
        let (from, to) = (shape[axis], sizes[axis]);
        let stride: usize = shape[axis + 1..].iter().product();
        let lines = x.chunks(from * stride);
        x = lines
            .flat_map(|line| {
                let row = |i: usize| &line[i * stride..][..stride];
                let far = |i: usize| if i.is_multiple_of(2) { (i / 2).saturating_sub(1) } else { (i / 2 + 1).min(from - 1) };
                (0..to).flat_map(move |i| row(i / 2).iter().zip(row(far(i))).map(|(near, far)| 0.75 * near + 0.25 * far))
            })
            .collect();
        shape[axis] = to;
    }
    x
}
