//! Where a Laplacian is singular.

use wgpu::BufferUsages;

use super::grid::{Cell, Grid};
use super::vectors::Vectors;
use crate::gpu::work::{SUM_RUNS, looped, summed};
use crate::gpu::{Bind, Gpu, Recording, Tensor, Work};
use crate::krylov::blocks::total;
use crate::shaders::layout::{ComponentConstants, MeanConstants, Segment};
use crate::{DType, Result, shaders};

/// The least that an invocation adds up, where a component is not smaller.
const SMALL_SEGMENT: usize = 512;

/// The components of fluid that touch no air.
pub(super) struct NullSpace {
    /// See shaders/poisson/project.wgsl.
    labels: wgpu::Buffer,
    /// Whether there are cells that are not fluid.
    gaps: bool,
    /// The cells of the largest.
    largest: usize,
    mean: Tensor,
    /// The index of one of them.
    reference: wgpu::Buffer,
    others: Option<Others>,
}

/// All but the largest: see shaders/poisson/project_components.wgsl.
struct Others {
    cells: wgpu::Buffer,
    segments: wgpu::Buffer,
    sums: Tensor,
    /// The most cells of a segment, or segments of a component.
    longest: u64,
}

impl NullSpace {
    pub fn new(gpu: &Gpu, grid: &Grid) -> Result<Self> {
        let mut components = singular_components(grid);
        components.sort_by_key(|component| std::cmp::Reverse(component.len()));
        let mut labels: Vec<u8> = grid.cells().iter().map(|&cell| u8::from(cell == Cell::Fluid)).collect();
        labels.resize(grid.len().next_multiple_of(4), 0);
        let largest = components.first().map_or(0, Vec::len);
        components.first().into_iter().flatten().for_each(|&cell| labels[cell as usize] = 2);
        let (mut cells, mut segments, mut longest) = (Vec::<u32>::new(), Vec::new(), 0);
        for component in components.iter().skip(1) {
            let (start, first) = (cells.len(), segments.len() as u32);
            let length = component.len().isqrt().max(SMALL_SEGMENT);
            let last = first + component.len().div_ceil(length) as u32;
            longest = longest.max(length as u64).max(u64::from(last - first));
            cells.extend(component);
            segments.extend((start..cells.len()).step_by(length).map(|at| {
                let end = (at + length).min(cells.len()) as u32;
                Segment { start: at as u32, end, first, last, size: component.len() as f32 }
            }));
        }
        let upload = |label: &str, words: &[u8]| gpu.buffer_with(label, words, BufferUsages::STORAGE);
        let others = match segments.is_empty() {
            true => None,
            false => Some(Others {
                cells: upload("gradus.null_space.cells", bytemuck::cast_slice(&cells))?,
                segments: upload("gradus.null_space.segments", bytemuck::cast_slice(&segments))?,
                sums: Tensor::zeros(gpu, &[segments.len(), 4], DType::F32)?,
                longest,
            }),
        };
        let labels = upload("gradus.null_space.labels", &labels)?;
        let gaps = grid.cells().iter().any(|&cell| cell != Cell::Fluid);
        let first = components.first().map_or(0, |component| component[0]);
        let reference = upload("gradus.null_space.reference", bytemuck::bytes_of(&first))?;
        Ok(Self { labels, gaps, largest, mean: Tensor::zeros(gpu, &[1], DType::F32)?, reference, others })
    }

    /// Whether it is nothing but 0: all cells are fluid, and none is in a closed component.
    pub fn is_empty(&self) -> bool {
        self.largest == 0 && !self.gaps
    }

    /// Appends the projection of `x`, which the caller has checked.
    pub fn record(&self, recording: &mut Recording, vectors: &Vectors, x: &Tensor) -> Result<()> {
        let (gpu, over) = (vectors.gpu(), &vectors.over);
        let source = &shaders::poisson::PROJECT;
        let labels = ("labels", &self.labels);
        if self.largest > 0 {
            over.record_sums(recording, source, &["MEAN"], &[("x", x)], &[labels, ("reference", &self.reference)])?;
            let (partials, count) = over.partials();
            let bindings = vec![
                partials,
                Bind::whole("mean", self.mean.buffer()),
                Bind { visited: 4, ..Bind::tensor(gpu, "x", x).0 },
                Bind::whole("reference", &self.reference),
            ];
            let kernel = gpu.kernel(&shaders::poisson::PROJECT_MEAN, &[], &[])?;
            recording.dispatch_with(gpu, &kernel, total(count), &MeanConstants { partials: count, size: self.largest as f32 }, bindings)?;
        }
        over.record(recording, source, &["TAKE"], &[("x", x)], &[labels, ("mean", self.mean.buffer())])?;
        let Some(others) = &self.others else { return Ok(()) };
        for define in ["SUMS", "TAKE"] {
            let sequential = gpu.target().is_software();
            let defines: Vec<&'static str> = [define].into_iter().chain(sequential.then_some("SEQUENTIAL")).collect();
            let kernel = gpu.kernel(&shaders::poisson::PROJECT_COMPONENTS, &defines, &[])?;
            let count = others.sums.len() / 4;
            let bindings = vec![
                Bind::whole("segments", &others.segments),
                Bind::whole("cells", &others.cells),
                Bind::tensor(gpu, "x", x).0,
                Bind::whole("sums", others.sums.buffer()),
            ];
            let (jobs, longest) = match sequential {
                true => (count.div_ceil(64), others.longest),
                false => (count, others.longest.div_ceil(64)),
            };
            let work = Work::strided(jobs as u64, summed(longest) + looped(longest, 0) + SUM_RUNS);
            recording.dispatch_with(gpu, &kernel, work, &ComponentConstants { count: count as u32 }, bindings)?;
        }
        Ok(())
    }
}

/// The cells of each, in ascending order: those that faces with a weight connect, without air and mass.
pub(super) fn singular_components(grid: &Grid) -> Vec<Vec<u32>> {
    let flagged = grid.is_flagged();
    let mut seen = vec![false; grid.len()];
    let mut all = Vec::new();
    for start in 0..grid.len() {
        if grid.cells()[start] != Cell::Fluid || std::mem::replace(&mut seen[start], true) {
            continue;
        }
        let (mut component, mut next, mut regular) = (vec![start as u32], 0, false);
        while let Some(&i) = component.get(next) {
            next += 1;
            let i = i as usize;
            regular |= grid.mass(i) > 0.0;
            for (k, (cell, j)) in grid.neighbours(i).into_iter().enumerate() {
                if cell == Cell::Solid || !(flagged || grid.weight(i, k) > 0.0) {
                    continue;
                }
                regular |= cell == Cell::Air;
                if let (Cell::Fluid, Some(j)) = (cell, j)
                    && !std::mem::replace(&mut seen[j], true)
                {
                    component.push(j as u32);
                }
            }
        }
        if !regular {
            component.sort_unstable();
            all.push(component);
        }
    }
    all
}
