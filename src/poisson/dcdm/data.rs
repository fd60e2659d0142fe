//! Right-hand sides to train a network with.

use std::f64::consts::PI;

use super::ritz;
use crate::poisson::null_space::singular_components;
use crate::poisson::{Cell, Grid};
use crate::reference::random::{normal, uniform};
use crate::{Error, Result};

/// The share of the modes, those of the least eigenvalues, that [`AMPLITUDE`] weights: half of them and a little more.
const LOWER: f64 = 0.55;
const AMPLITUDE: f64 = 9.0;

/// The greatest share of solid cells where they are scattered.
const MOST_RUBBLE: f64 = 0.2;

/// The steps of Lanczos for a sample with obstacles.
const RITZ: usize = 32;

/// The numbers that a sample draws apart: for its right-hand side, and for its obstacles.
const STREAMS: u32 = 3;

/// Right-hand sides for a box, and for the box with obstacles in it: mixtures of eigenvectors of the Laplacian with
/// coefficients of standard deviation 9 for the lower 55 % of the eigenvalues and 1 for the others (Kaneda et al., ICML
/// 2023). Of the empty box they are known in closed form. With obstacles they are the Ritz vectors of 32 steps of Lanczos
/// that begin at what is left of a mixture for the empty box.
///
/// Along an axis of n cells mode k is cos(π k (i+½)/n) between walls, sin(π (k+1)(i+1)/(n+1)) between openings, and
/// cos(π (k+½)(i+½)/(n+½)), counted from the wall, between the two. So a sample is a product of a matrix along each axis,
/// d·n^(d+1) multiplications.
///
/// ```
/// use gradus::poisson::Grid;
/// use gradus::poisson::dcdm::Mixtures;
///
/// let walls = Grid::new(&[16, 24])?;
/// let mixtures = Mixtures::new(&walls, 0.5)?;
/// let sample = mixtures.sample(7, 0)?;
/// let norm = sample.b.iter().map(|b| b * b).sum::<f32>().sqrt();
/// assert!((norm - 1.0).abs() < 1e-5);
/// assert_eq!(mixtures.sample(7, 0)?, sample);
/// # Ok::<(), gradus::Error>(())
/// ```
pub struct Mixtures {
    walls: Grid,
    obstacles: f64,
    axes: Vec<Modes>,
    /// Of each mode's coefficient.
    deviations: Vec<f64>,
}

/// A right-hand side, and the grid that it is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The box, perhaps with obstacles.
    pub grid: Grid,
    /// Of norm 1, in the range of the Laplacian, 0 where there is no fluid.
    pub b: Vec<f32>,
}

impl Mixtures {
    /// For the box that is as large as `grid` and open where that is; what is in its cells does not matter. `obstacles`
    /// is the share of samples that have some: every second of these a solid ball of a random place and size, the others
    /// solid cells scattered over the box, up to a fifth of them.
    ///
    /// # Errors
    /// [`Error::Option`] if `obstacles` is not a number from 0 to 1, or the box is one cell between walls.
    pub fn new(grid: &Grid, obstacles: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&obstacles) {
            return Err(Error::Option { option: "obstacles".into(), found: obstacles.to_string(), expected: "a share from 0 to 1".into() });
        }
        grid.expect_flagged("training data")?;
        let walls = Grid::new(grid.sizes())?.with_open(grid.open())?;
        let axes: Vec<Modes> = grid.sizes().iter().zip(grid.open()).map(|(&n, &open)| Modes::new(n, open)).collect();
        let eigenvalues = eigenvalues(&axes);
        if eigenvalues.iter().all(|&eigenvalue| eigenvalue == 0.0) {
            let expected = "more than one cell, or an open face".into();
            return Err(Error::Option { option: "grid".into(), found: format!("{:?}", grid.sizes()), expected });
        }
        let at = (LOWER * (eigenvalues.len() - 1) as f64) as usize;
        let greatest = *eigenvalues.clone().select_nth_unstable_by(at, f64::total_cmp).1;
        // 0 is that of the constants
        let of_mode = |eigenvalue: f64| if eigenvalue == 0.0 { 0.0 } else { deviation(eigenvalue <= greatest) };
        let deviations = eigenvalues.into_iter().map(of_mode).collect();
        Ok(Self { walls, obstacles, axes, deviations })
    }

    /// Sample `number` of those that `seed` stands for; below 2³⁰.
    ///
    /// # Errors
    /// None in practice: the grid is known to be one.
    pub fn sample(&self, seed: u64, number: u32) -> Result<Sample> {
        let stream = |purpose: u32| number.wrapping_mul(STREAMS).wrapping_add(purpose);
        let draws: Vec<f64> = uniform(seed, stream(1), 3 + self.walls.sizes().len()).into_iter().map(f64::from).collect();
        let grid = match draws[0] < self.obstacles {
            true => self.with_obstacles(&draws[1..], || uniform(seed, stream(2), self.walls.len()))?,
            false => self.walls.clone(),
        };
        let normals = normal(seed, stream(0), self.walls.len());
        let mut b: Vec<f32> = self.deviations.iter().zip(normals).map(|(deviation, normal)| (deviation * normal) as f32).collect();
        for axis in 0..self.axes.len() {
            b = self.transformed(&b, axis);
        }
        project(&grid, &mut b);
        if grid != self.walls {
            // of another seed, so that boxes are what they are without obstacles
            let normals: Vec<f64> = normal(!seed, stream(0), RITZ);
            b = ritz::mixture(&grid, &b, &normals, |share| deviation(share <= LOWER))?;
            project(&grid, &mut b);
        }
        let norm = b.iter().map(|&b| f64::from(b).powi(2)).sum::<f64>().sqrt();
        if norm > 0.0 {
            b.iter_mut().for_each(|b| *b = (f64::from(*b) / norm) as f32);
        }
        Ok(Sample { grid, b })
    }

    /// The box without obstacles.
    pub(super) fn walls(&self) -> &Grid {
        &self.walls
    }

    /// Whether no sample has obstacles.
    pub(super) fn is_box(&self) -> bool {
        self.obstacles == 0.0
    }

    /// A ball, or rubble.
    fn with_obstacles(&self, draws: &[f64], scattered: impl FnOnce() -> Vec<f32>) -> Result<Grid> {
        let sizes = self.walls.sizes();
        let (radius, share) = ((0.1 + 0.2 * draws[1]) * sizes.iter().copied().min().unwrap_or(1) as f64, MOST_RUBBLE * draws[1]);
        let solid = |solid: bool| if solid { Cell::Solid as u8 } else { Cell::Fluid as u8 };
        let flags: Vec<u8> = if draws[0] < 0.5 {
            let strides = self.walls.strides();
            let squared = |i: usize, axis: usize| {
                let at = (i / strides[axis] % sizes[axis]) as f64 + 0.5;
                (at - (0.2 + 0.6 * draws[2 + axis]) * sizes[axis] as f64).powi(2)
            };
            let inside = |i: usize| (0..sizes.len()).map(|axis| squared(i, axis)).sum::<f64>() < radius * radius;
            (0..self.walls.len()).map(|i| solid(inside(i))).collect()
        } else {
            scattered().into_iter().map(|u| solid(f64::from(u) < share)).collect()
        };
        self.walls.clone().with_flags(&flags)
    }

    /// From coefficients to cells along an axis.
    fn transformed(&self, x: &[f32], axis: usize) -> Vec<f32> {
        let (n, stride) = (self.walls.sizes()[axis], self.walls.strides()[axis]);
        let mut y = vec![0.0; x.len()];
        for (x, y) in x.chunks(n * stride).zip(y.chunks_mut(n * stride)) {
            for (row, modes) in y.chunks_mut(stride).zip(self.axes[axis].values.chunks(n)) {
                for (&value, x) in modes.iter().zip(x.chunks(stride)) {
                    for (y, x) in row.iter_mut().zip(x) {
                        *y += value * x;
                    }
                }
            }
        }
        y
    }
}

/// Of the coefficient of an eigenvector whose eigenvalue is one of the lower ones, or not.
fn deviation(lower: bool) -> f64 {
    if lower { AMPLITUDE } else { 1.0 }
}

/// The eigenvectors of an axis, which are orthonormal.
struct Modes {
    /// By cell and mode.
    values: Vec<f32>,
    eigenvalues: Vec<f64>,
}

impl Modes {
    fn new(n: usize, open: [bool; 2]) -> Self {
        // the frequency of mode k in radians a cell
        let frequency = |k: usize| match open {
            [false, false] => PI * k as f64 / n as f64,
            [true, true] => PI * (k + 1) as f64 / (n + 1) as f64,
            _ => PI * (k as f64 + 0.5) / (n as f64 + 0.5),
        };
        let value = |i: usize, k: usize| {
            let i = if open == [true, false] { n - 1 - i } else { i } as f64;
            if open == [true, true] { (frequency(k) * (i + 1.0)).sin() } else { (frequency(k) * (i + 0.5)).cos() }
        };
        let norms: Vec<f64> = (0..n).map(|k| (0..n).map(|i| value(i, k).powi(2)).sum::<f64>().sqrt()).collect();
        let values = (0..n).flat_map(|i| (0..n).map(move |k| (i, k))).map(|(i, k)| (value(i, k) / norms[k]) as f32).collect();
        let eigenvalues = (0..n).map(|k| 2.0 - 2.0 * frequency(k).cos()).collect();
        Self { values, eigenvalues }
    }
}

/// Those of all products of modes, row-major.
fn eigenvalues(axes: &[Modes]) -> Vec<f64> {
    axes.iter().fold(vec![0.0], |all, modes| all.iter().flat_map(|a| modes.eigenvalues.iter().map(move |b| a + b)).collect())
}

/// Makes cells that are not fluid 0, and takes its mean from each component that touches no air.
fn project(grid: &Grid, x: &mut [f32]) {
    for (x, &cell) in x.iter_mut().zip(grid.cells()) {
        if cell != Cell::Fluid {
            *x = 0.0;
        }
    }
    for component in singular_components(grid) {
        let mean = component.iter().map(|&i| f64::from(x[i as usize])).sum::<f64>() / component.len() as f64;
        component.iter().for_each(|&i| x[i as usize] -= mean as f32);
    }
}
