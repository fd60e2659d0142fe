//! The rows of A on the device, for kernels over cells of four: codes of flags, or weights.

use wgpu::BufferUsages;

use super::grid::{Cell, Grid};
use super::vectors::Vectors;
use crate::gpu::work::looped;
use crate::gpu::{Gpu, KernelSource, Recording, Tensor};
use crate::{Error, Result};

pub(super) struct Rows {
    /// See shaders/shared/codes.wgsl or shaders/shared/weights.wgsl.
    cells: wgpu::Buffer,
    links: Option<wgpu::Buffer>,
    flagged: bool,
    stencil: [(&'static str, u32); 2],
}

/// In the last pair of a list.
const LAST: u32 = 1 << 31;

impl Rows {
    /// Of what `grid` has now. Makes `vectors` know how long lists are.
    pub fn new(gpu: &Gpu, grid: &Grid, vectors: &mut Vectors) -> Result<Self> {
        let stencil = grid.stencil();
        if grid.is_flagged() {
            return Self::flagged(gpu, grid, codes(grid).collect());
        }
        let Weights { weights, lists } = weights(grid);
        let (bytes, found) = (4 * weights.len() as u64, gpu.limits().max_storage_buffer_binding_size);
        if bytes > found {
            let what = format!("the weights of {:?} cells", grid.sizes());
            return Err(Error::LimitTooSmall { limit: "max_storage_buffer_binding_size", what, needed: bytes, found });
        }
        let cells = gpu.buffer_with("gradus.poisson.weights", bytemuck::cast_slice(&weights), BufferUsages::STORAGE)?;
        let links = match lists.is_empty() {
            true => None,
            false => {
                // of the four cells of a round
                let longest = lists.iter().map(|(_, list)| list.len()).max().unwrap_or(0) as u64;
                vectors.over.inner = vectors.over.inner.max(looped(4, looped(longest, 0)));
                let mut links = Vec::new();
                append_lists(&mut links, 4 * grid.len().div_ceil(4), &lists);
                Some(gpu.buffer_with("gradus.poisson.links", bytemuck::cast_slice(&links), BufferUsages::STORAGE)?)
            }
        };
        Ok(Self { cells, links, flagged: false, stencil })
    }

    /// Of flags, with codes that may have further bits.
    pub fn flagged(gpu: &Gpu, grid: &Grid, codes: Vec<u16>) -> Result<Self> {
        let codes = padded(codes);
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        let cells = gpu.buffer_with("gradus.poisson.codes", bytemuck::cast_slice(&codes), usage)?;
        Ok(Self { cells, links: None, flagged: true, stencil: grid.stencil() })
    }

    /// The codes, of flags.
    pub fn codes(&self) -> &wgpu::Buffer {
        &self.cells
    }

    /// What kernels over the rows have to define.
    pub fn defines(&self) -> &'static [&'static str] {
        match (self.flagged, &self.links) {
            (true, _) => &[],
            (false, None) => &["WEIGHTS"],
            (false, Some(_)) => &["WEIGHTS", "LINKED"],
        }
    }

    /// What such kernels bind.
    pub fn buffers(&self) -> Vec<(&'static str, &wgpu::Buffer)> {
        let cells = (if self.flagged { "codes" } else { "weights" }, &self.cells);
        [cells].into_iter().chain(self.links.as_ref().map(|links| ("links", links))).collect()
    }

    /// The overrides of such kernels.
    pub fn stencil(&self) -> &[(&'static str, u32)] {
        &self.stencil
    }

    /// Appends a kernel over the rows, which leaves sums where it has DOT.
    pub fn record(
        &self,
        recording: &mut Recording,
        vectors: &Vectors,
        source: &'static KernelSource,
        defines: &[&'static str],
        tensors: &[(&'static str, &Tensor)],
    ) -> Result<()> {
        let defines: Vec<&'static str> = defines.iter().chain(self.defines()).copied().collect();
        let others = self.buffers();
        match defines.contains(&"DOT") {
            true => vectors.over.record_sums_with(recording, source, &defines, &self.stencil, tensors, &others),
            false => vectors.over.record_with(recording, source, &defines, &self.stencil, tensors, &others),
        }
    }
}

/// The neighbours of a cell that are not at fixed distances, and their weights.
pub(super) type List = Vec<(u32, f32)>;

struct Weights {
    /// The arrays of shaders/shared/weights.wgsl.
    weights: Vec<f32>,
    lists: Vec<(u32, List)>,
}

fn weights(grid: &Grid) -> Weights {
    let (n, axes) = (4 * grid.len().div_ceil(4), grid.sizes().len());
    // a kernel reads a plane beyond the last array, and a cell of four
    let beyond = (grid.len() / grid.sizes()[0]).next_multiple_of(4) + 8;
    let mut weights = vec![0.0; (1 + axes) * n + beyond];
    let (mut lists, strides) = (Vec::new(), grid.strides());
    for (i, (cell, around)) in grid.all_neighbours().enumerate() {
        if cell != Cell::Fluid {
            continue;
        }
        let mut list = List::new();
        // in f64, for their terms may be of very different size
        let mut d = f64::from(grid.mass(i));
        for (k, &(cell, j)) in around.iter().enumerate() {
            let weight = if cell == Cell::Solid { 0.0 } else { grid.weight(i, k) };
            d += f64::from(weight);
            let (Cell::Fluid, Some(j), true) = (cell, j, weight > 0.0) else { continue };
            // the first along x
            let axis = 2 - k / 2;
            match k % 2 {
                0 if i.checked_sub(strides[axes - 1 - axis]) == Some(j) => weights[(1 + axis) * n + i] = weight,
                1 if i + strides[axes - 1 - axis] == j => {}
                _ => list.push((j as u32, weight)),
            }
        }
        weights[i] = if list.is_empty() { d as f32 } else { -d as f32 };
        if !list.is_empty() {
            lists.push((i as u32, list));
        }
    }
    Weights { weights, lists }
}

/// Appends, for each of `count` unknowns, where in `links` its list begins, and the lists. Returns where that begins.
pub(super) fn append_lists(links: &mut Vec<u32>, count: usize, lists: &[(u32, List)]) -> u32 {
    let first = links.len();
    links.resize(first + count, 0);
    for (unknown, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
        links[first + *unknown as usize] = links.len() as u32;
        append_list(links, list);
    }
    first as u32
}

pub(super) fn append_list(links: &mut Vec<u32>, list: &List) {
    for (k, &(index, weight)) in list.iter().enumerate() {
        links.extend([index | if k + 1 == list.len() { LAST } else { 0 }, weight.to_bits()]);
    }
}

/// The codes of all cells, by flags alone: see shaders/shared/codes.wgsl.
pub(super) fn codes(grid: &Grid) -> impl Iterator<Item = u16> {
    grid.all_neighbours().map(|(cell, neighbours)| match cell {
        Cell::Fluid => neighbours.iter().enumerate().fold(0, |code, (k, (cell, _))| match cell {
            Cell::Fluid => (code | 1 << k) + (1 << 6),
            Cell::Air => code + (1 << 6),
            Cell::Solid => code,
        }),
        _ => 0,
    })
}

/// [`codes`] of a grid that has flags alone, two a word, padded to cells of four.
pub(super) fn upload_codes(gpu: &Gpu, grid: &Grid, what: &str) -> Result<wgpu::Buffer> {
    grid.expect_flagged(what)?;
    Ok(Rows::flagged(gpu, grid, codes(grid).collect())?.cells)
}

pub(super) fn padded(mut codes: Vec<u16>) -> Vec<u16> {
    codes.resize(codes.len().next_multiple_of(4), 0);
    codes
}
