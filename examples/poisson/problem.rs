//! A Poisson equation on the device, and how well a solver does with it.

use std::time::{Duration, Instant};

use gradus::krylov::Status;
use gradus::poisson::Grid;
use gradus::reference::poisson::Cells;
use gradus::{DType, Gpu, Tensor};
use wgpu::PollType;

use crate::Result;
use crate::scenes::{Rhs, Scene};
use crate::solvers::{Choice, Settings};

/// A system on the device.
pub struct Problem<'a> {
    gpu: &'a Gpu,
    pub grid: Grid,
    flags: Vec<u8>,
    open: Vec<[bool; 2]>,
    b: Tensor,
    x: Tensor,
    /// In the range of the operator.
    projected: Vec<f64>,
}

pub struct Solution {
    pub iterations: u32,
    pub seconds: f64,
    pub relative_residual: f64,
    /// What rounding x to f32 adds to it.
    pub rounding: f64,
    pub status: Status,
    /// Relative, of the norm that iterations update.
    pub history: Vec<f64>,
}

impl<'a> Problem<'a> {
    pub fn new(gpu: &'a Gpu, scene: Scene, sizes: &[usize], rhs: Rhs, seed: u64) -> Result<Self> {
        let grid = scene.grid(sizes, seed)?;
        let values = rhs.values(&grid, seed);
        let b = Tensor::from_slice(gpu, sizes, &values)?;
        let x = Tensor::zeros(gpu, sizes, DType::F32)?;
        let flags: Vec<u8> = grid.cells().iter().map(|&cell| cell as u8).collect();
        let mut problem = Self { gpu, grid, flags, open: scene.open(sizes.len()), b, x, projected: Vec::new() };
        problem.projected = problem.cells().project(&values.into_iter().map(f64::from).collect::<Vec<_>>());
        Ok(problem)
    }

    fn cells(&self) -> Cells<'_> {
        Cells { sizes: self.grid.sizes(), flags: &self.flags, open: &self.open, ..Default::default() }
    }

    /// The median time of `repeat` solutions after one that does not count.
    pub async fn solve(&self, choice: &Choice, settings: &Settings, repeat: u32) -> Result<Solution> {
        let mut solver = choice.solver(self.gpu, &self.grid, &self.b, &self.x, settings)?;
        let zeros = vec![0f32; self.x.len()];
        let mut times: Vec<Duration> = Vec::new();
        // drivers compile in the first, which does not count
        let report = loop {
            self.x.write(self.gpu, &zeros)?;
            self.gpu.queue().submit([]);
            self.gpu.device().poll(PollType::wait_indefinitely())?;
            let start = Instant::now();
            let report = solver.solve().await?;
            times.push(start.elapsed());
            if times.len() > repeat as usize {
                break report;
            }
        };
        let times = &mut times[1..];
        times.sort_unstable();
        let x: Vec<f32> = self.x.read(self.gpu).await?;
        let product = self.cells().apply(&x.into_iter().map(f64::from).collect::<Vec<_>>());
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let of_b = norm(&mut self.projected.iter().copied());
        let residual = norm(&mut self.projected.iter().zip(&product).map(|(b, q)| b - q));
        // nothing is left of nothing
        let relative = |norm: f64| if norm == 0.0 { 0.0 } else { norm / of_b };
        Ok(Solution {
            iterations: report.iterations,
            seconds: times[times.len() / 2].as_secs_f64(),
            relative_residual: relative(residual),
            rounding: relative(report.rounding),
            status: report.status,
            history: report.history.into_iter().map(relative).collect(),
        })
    }
}

/// `IterationLimit` is "iteration limit".
pub fn words(value: impl std::fmt::Debug) -> String {
    let mut words = String::new();
    for letter in format!("{value:?}").chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}
