//! Where a Laplacian is singular.

use wgpu::BufferUsages;

use super::grid::{Cell, Grid};
use crate::gpu::{Bind, Gpu, MAX_WORKGROUPS, Recording, Tensor};
use crate::shaders::layout::{ComponentMeansConstants, ProjectConstants};
use crate::{DType, Result, shaders};

/// The most elements that an invocation adds up. The segments of a component are as many as the rest needs: no
/// more than 65,535 for 2³¹ cells, where an invocation's loops end.
const SEGMENT: usize = 1 << 15;
/// What it adds up where the component is small.
const SMALL_SEGMENT: usize = 512;

/// The components of fluid that touch no air.
pub(super) struct NullSpace {
    gpu: Gpu,
    /// See shaders/poisson/project.wgsl.
    labels: wgpu::Buffer,
    means: Tensor,
    components: Option<Components>,
}

/// Their cells, in segments: see shaders/poisson/component_means.wgsl.
struct Components {
    indices: wgpu::Buffer,
    segments: wgpu::Buffer,
    components: wgpu::Buffer,
    sizes: wgpu::Buffer,
    sums: Tensor,
}

impl NullSpace {
    pub fn new(gpu: &Gpu, grid: &Grid) -> Result<Self> {
        let singular = singular_components(grid);
        let mut labels: Vec<u32> = grid.cells().iter().map(|&cell| u32::from(cell == Cell::Fluid)).collect();
        let [mut indices, mut segments, mut firsts] = [const { Vec::<u32>::new() }; 3];
        let mut sizes = Vec::new();
        for (k, component) in singular.iter().enumerate() {
            firsts.push(segments.len() as u32);
            sizes.push(component.len() as f32);
            let length = (component.len() / (1 << 12)).clamp(SMALL_SEGMENT, SEGMENT);
            segments.extend((0..component.len()).step_by(length).map(|start| (indices.len() + start) as u32));
            for &cell in component {
                labels[cell as usize] = k as u32 + 2;
            }
            indices.extend(component);
        }
        firsts.push(segments.len() as u32);
        segments.push(indices.len() as u32);
        let upload = |label: &str, words: &[u8]| gpu.buffer_with(label, words, BufferUsages::STORAGE);
        let components = match singular.is_empty() {
            true => None,
            false => Some(Components {
                indices: upload("gradus.null_space.indices", bytemuck::cast_slice(&indices))?,
                segments: upload("gradus.null_space.segments", bytemuck::cast_slice(&segments))?,
                components: upload("gradus.null_space.components", bytemuck::cast_slice(&firsts))?,
                sizes: upload("gradus.null_space.sizes", bytemuck::cast_slice(&sizes))?,
                sums: Tensor::zeros(gpu, &[segments.len() - 1], DType::F32)?,
            }),
        };
        Ok(Self {
            gpu: gpu.clone(),
            labels: upload("gradus.null_space.labels", bytemuck::cast_slice(&labels))?,
            means: Tensor::zeros(gpu, &[singular.len() + 1], DType::F32)?,
            components,
        })
    }

    /// Appends the projection of `x`, which the caller has checked.
    pub fn record(&self, recording: &mut Recording, x: &Tensor) -> Result<()> {
        let gpu = &self.gpu;
        let workgroups = |count: usize| count.div_ceil(64).clamp(1, MAX_WORKGROUPS as usize) as u32;
        let bind_x = || Bind::tensor(gpu, "x", x);
        let at = (bind_x().1 / 4) as u32;
        if let Some(c) = &self.components {
            let kernel = gpu.kernel(&shaders::poisson::COMPONENT_MEANS, &["SEGMENTS"], &[])?;
            let count = c.sums.len();
            let constants = ComponentMeansConstants { count: count as u32, x: at };
            let sums = Bind::whole("sums", c.sums.buffer());
            let bindings = vec![Bind::whole("offsets", &c.segments), Bind::whole("indices", &c.indices), bind_x().0, sums];
            recording.dispatch_with(gpu, &kernel, workgroups(count), &constants, bindings)?;

            let kernel = gpu.kernel(&shaders::poisson::COMPONENT_MEANS, &["MEANS"], &[])?;
            let count = self.means.len() - 1;
            let constants = ComponentMeansConstants { count: count as u32, x: 0 };
            let bindings = vec![
                Bind::whole("offsets", &c.components),
                Bind::whole("sizes", &c.sizes),
                Bind::whole("sums", c.sums.buffer()),
                Bind::whole("means", self.means.buffer()),
            ];
            recording.dispatch_with(gpu, &kernel, workgroups(count), &constants, bindings)?;
        }
        let kernel = gpu.kernel(&shaders::poisson::PROJECT, &[], &[])?;
        let constants = ProjectConstants { count: x.len() as u32, x: at };
        let bindings = vec![Bind::whole("labels", &self.labels), Bind::whole("means", self.means.buffer()), bind_x().0];
        recording.dispatch_with(gpu, &kernel, workgroups(x.len()), &constants, bindings)
    }
}

/// The cells of each, in ascending order.
fn singular_components(grid: &Grid) -> Vec<Vec<u32>> {
    let mut seen = vec![false; grid.len()];
    let mut all = Vec::new();
    for start in 0..grid.len() {
        if grid.cells()[start] != Cell::Fluid || std::mem::replace(&mut seen[start], true) {
            continue;
        }
        let (mut component, mut next, mut air) = (vec![start as u32], 0, false);
        while let Some(&i) = component.get(next) {
            next += 1;
            for (cell, j) in grid.neighbours(i as usize) {
                air |= cell == Cell::Air;
                if let (Cell::Fluid, Some(j)) = (cell, j)
                    && !std::mem::replace(&mut seen[j], true)
                {
                    component.push(j as u32);
                }
            }
        }
        if !air {
            component.sort_unstable();
            all.push(component);
        }
    }
    all
}
