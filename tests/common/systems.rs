//! Laplacians of flagged grids, in f64 and on the device, with the null space that they may have.

#![allow(dead_code, reason = "each test binary uses its part")]

use gradus::krylov::{Csr, LinearOperator};
use gradus::reference::krylov as reference;
use gradus::{DType, Gpu, Recording, Result, Tensor, vector};

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

pub fn upload(gpu: &Gpu, values: &[f32]) -> Tensor {
    Tensor::from_slice(gpu, &[values.len()], values).unwrap()
}

pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

pub fn norm(a: &[f64]) -> f64 {
    distance(a, &vec![0.0; a.len()])
}

/// The five-point Laplacian on the fluid cells (`.`) of a grid among solid (`#`) and air (`~`): Neumann at solid
/// cells and at the border, Dirichlet at air.
#[derive(Clone)]
pub struct Grid {
    pub n: usize,
    offsets: Vec<u32>,
    columns: Vec<u32>,
    values: Vec<f32>,
    /// The cells of each connected component without air.
    pub closed: Vec<Vec<usize>>,
}

impl Grid {
    pub fn new(rows: &[&str]) -> Self {
        let cell = |x: usize, y: usize| rows.get(y).and_then(|row| row.as_bytes().get(x)).copied().unwrap_or(b'#');
        let width = rows[0].len();
        let fluid: Vec<usize> = (0..width * rows.len()).filter(|&i| cell(i % width, i / width) == b'.').collect();
        let number = |x: usize, y: usize| fluid.iter().position(|&i| i == y * width + x).unwrap();
        let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        let mut open = vec![false; fluid.len()];
        for (own, &i) in fluid.iter().enumerate() {
            let (x, y) = (i % width, i / width);
            let neighbours = [(x, y.wrapping_sub(1)), (x.wrapping_sub(1), y), (x + 1, y), (x, y + 1)];
            let mut diagonal = 0.0;
            for (x, y) in neighbours {
                match cell(x, y) {
                    b'.' => {
                        columns.push(number(x, y) as u32);
                        values.push(-1.0);
                        diagonal += 1.0;
                    }
                    b'~' => {
                        open[own] = true;
                        diagonal += 1.0;
                    }
                    _ => {}
                }
            }
            columns.push(own as u32);
            values.push(diagonal);
            offsets.push(columns.len() as u32);
        }
        let mut grid = Self { n: fluid.len(), offsets, columns, values, closed: Vec::new() };
        grid.closed = grid.components().into_iter().filter(|cells| !cells.iter().any(|&i| open[i])).collect();
        grid
    }

    /// A box of fluid without air.
    pub fn closed_box(width: usize, height: usize) -> Self {
        Self::new(&vec![".".repeat(width).as_str(); height])
    }

    /// A box of fluid under air.
    pub fn open_box(width: usize, height: usize) -> Self {
        let (air, fluid) = ("~".repeat(width), ".".repeat(width));
        let mut rows = vec![air.as_str()];
        rows.extend(vec![fluid.as_str(); height]);
        Self::new(&rows)
    }

    fn components(&self) -> Vec<Vec<usize>> {
        let mut seen = vec![false; self.n];
        let mut all = Vec::new();
        for first in 0..self.n {
            let (mut cells, mut next) = (Vec::new(), vec![first]);
            while let Some(i) = next.pop() {
                if !std::mem::replace(&mut seen[i], true) {
                    cells.push(i);
                    next.extend(self.columns[self.offsets[i] as usize..self.offsets[i + 1] as usize].iter().map(|&j| j as usize));
                }
            }
            if !cells.is_empty() {
                all.push(cells);
            }
        }
        all
    }

    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        reference::csr_product(&self.offsets, &self.columns, &wide(&self.values), x)
    }

    /// Takes the mean away from each closed component.
    pub fn project(&self, x: &[f64]) -> Vec<f64> {
        let mut x = x.to_vec();
        for cells in &self.closed {
            let mean = cells.iter().map(|&i| x[i]).sum::<f64>() / cells.len() as f64;
            cells.iter().for_each(|&i| x[i] -= mean);
        }
        x
    }

    pub fn operator(&self, gpu: &Gpu) -> Laplacian {
        let null = |cells: &Vec<usize>| {
            let mut v = vec![0.0; self.n];
            cells.iter().for_each(|&i| v[i] = (1.0 / cells.len() as f64).sqrt() as f32);
            let negative: Vec<f32> = v.iter().map(|v| -v).collect();
            (upload(gpu, &v), upload(gpu, &negative))
        };
        Laplacian {
            matrix: Csr::new(gpu, &self.offsets, &self.columns, &self.values).unwrap(),
            null: self.closed.iter().map(null).collect(),
            component: Tensor::zeros(gpu, &[1], DType::F32).unwrap(),
        }
    }
}

/// A matrix with its null space: orthonormal vectors, and the same negative.
pub struct Laplacian {
    matrix: Csr,
    null: Vec<(Tensor, Tensor)>,
    component: Tensor,
}

impl LinearOperator for Laplacian {
    fn gpu(&self) -> &Gpu {
        self.matrix.gpu()
    }

    fn dim(&self) -> usize {
        self.matrix.dim()
    }

    fn record(&self, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
        self.matrix.record(recording, x, y)
    }

    fn record_project(&self, recording: &mut Recording, x: &Tensor) -> Result<()> {
        for (v, negative) in &self.null {
            vector::dot(self.gpu(), recording, negative, x, &self.component)?;
            vector::axpy(self.gpu(), recording, &self.component, v, x)?;
        }
        Ok(())
    }
}
