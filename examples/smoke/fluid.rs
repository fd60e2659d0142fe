//! Smoke on the device.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use gradus::krylov::Status;
use gradus::poisson::{Cell, Grid};
use gradus::{DType, Gpu, Recording, Tensor, vector};

use crate::Result;
use crate::solvers::{Choice, Settings, Solver};

/// Whatever is not converged by then has failed.
const MAX_ITERATIONS: u32 = 2000;

/// How often a step's buffers change places.
const TURNS: usize = 2;

pub struct Options<'a> {
    /// An axis.
    pub size: usize,
    pub dim: u8,
    pub solver: &'a Choice,
    pub tolerance: f64,
    /// Of a network.
    pub weights: Option<PathBuf>,
    /// Begin at the pressure of the last step, rather than at 0.
    pub warm_start: bool,
}

pub struct Fluid {
    gpu: Gpu,
    grid: Grid,
    density: [Tensor; TURNS],
    pressure: Tensor,
    /// Less the divergence of the velocity.
    convergence: Tensor,
    warm_start: bool,
    /// Advection up to the pressure's right-hand side, with its norm.
    advance: [Recording; TURNS],
    /// The gradient of the pressure, and the norm that is left.
    project: [Recording; TURNS],
    /// What is to be solved for the pressure. Its right-hand side is the same in all steps.
    solver: Solver,
    norm: Tensor,
    steps: usize,
}

/// What became of a step.
pub struct Step {
    /// The norm of the velocity's divergence, before and after the pressure has acted.
    pub divergence: [f32; 2],
    pub iterations: u32,
    pub status: Status,
    pub time: Duration,
    /// Of the solution and its gradient.
    pub pressure_time: Duration,
}

impl Step {
    /// What the pressure has left of the divergence.
    pub fn ratio(&self) -> f32 {
        let [before, after] = self.divergence;
        // nothing is left of nothing
        if after == 0.0 { 0.0 } else { after / before }
    }

    pub fn failed(&self) -> bool {
        !matches!(self.status, Status::Converged | Status::PrecisionLimited) || !self.ratio().is_finite()
    }
}

impl Fluid {
    pub fn new(gpu: &Gpu, options: &Options) -> Result<Self> {
        let n = options.size;
        let sizes = vec![n; options.dim.into()];
        let grid = Grid::new(&sizes)?.with_flags(&ball(&sizes))?;
        let mut open = vec![[false; 2]; sizes.len()];
        open[0][1] = true;
        let grid = grid.with_open(&open)?;

        // x, y, z
        let size = if options.dim == 2 { [n, 1, n] } else { [n; 3] };
        let faces = 3 * size.iter().map(|n| n + 1).product::<usize>();
        let solid: Vec<u32> = grid.cells().iter().map(|&cell| u32::from(cell == Cell::Solid)).collect();
        let solid = Tensor::from_slice(gpu, &sizes, &solid)?;
        let cells = || Tensor::zeros(gpu, &sizes, DType::F32);
        let (density, pressure, convergence) = ([cells()?, cells()?], cells()?, cells()?);
        let velocity = [Tensor::zeros(gpu, &[faces], DType::F32)?, Tensor::zeros(gpu, &[faces], DType::F32)?];
        let norm = Tensor::zeros(gpu, &[1], DType::F32)?;

        let kernels = Kernels::new(gpu, size);
        let [mut advance, mut project] = [(); 2].map(|()| [(); TURNS].map(|()| Recording::new()));
        for turn in 0..TURNS {
            let next = (turn + 1) % TURNS;
            let tensors = [&solid, &density[turn], &velocity[turn], &density[next], &velocity[next], &pressure, &convergence];
            let group = kernels.bind(gpu, tensors);
            for kernel in [&kernels.advect_density, &kernels.advect_velocity, &kernels.converge] {
                kernels.record(&mut advance[turn], kernel, &group);
            }
            vector::norm(gpu, &mut advance[turn], &convergence, &norm)?;
            for kernel in [&kernels.accelerate, &kernels.converge] {
                kernels.record(&mut project[turn], kernel, &group);
            }
            vector::norm(gpu, &mut project[turn], &convergence, &norm)?;
        }
        let settings = Settings {
            tolerance: options.tolerance,
            max_iterations: MAX_ITERATIONS,
            weights: options.weights.clone(),
            truncation: 2,
            recompute: true,
        };
        let solver = options.solver.solver(gpu, &grid, &convergence, &pressure, &settings)?;
        let (gpu, warm_start) = (gpu.clone(), options.warm_start);
        Ok(Self { gpu, grid, density, pressure, convergence, warm_start, advance, project, solver, norm, steps: 0 })
    }

    /// The right-hand side of the next step's pressure. A step begins with the same.
    #[allow(dead_code, reason = "each program uses its part")]
    pub async fn right_hand_side(&self) -> Result<Vec<f32>> {
        self.gpu.submit([&self.advance[self.steps % TURNS]]);
        Ok(self.convergence.read(&self.gpu).await?)
    }

    pub async fn step(&mut self) -> Result<Step> {
        let turn = self.steps % TURNS;
        self.steps += 1;
        let start = Instant::now();
        self.gpu.submit([&self.advance[turn]]);
        let before = self.read_norm().await?;
        let pressure_start = Instant::now();
        if !self.warm_start {
            let mut clear = self.gpu.device().create_command_encoder(&Default::default());
            clear.clear_buffer(self.pressure.buffer(), 0, None);
            self.gpu.queue().submit([clear.finish()]);
        }
        let report = self.solver.solve().await?;
        self.gpu.submit([&self.project[turn]]);
        let after = self.read_norm().await?;
        let (status, iterations) = (report.status, report.iterations);
        Ok(Step { divergence: [before, after], iterations, status, time: start.elapsed(), pressure_time: pressure_start.elapsed() })
    }

    /// By cell, upwards.
    pub async fn density(&self) -> Result<Vec<f32>> {
        Ok(self.density[self.steps % TURNS].read(&self.gpu).await?)
    }

    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    async fn read_norm(&self) -> Result<f32> {
        Ok(self.norm.read(&self.gpu).await?.first().copied().unwrap_or(f32::NAN))
    }
}

/// Flags with a solid ball, beside the axis of the plume so that the two sides of it differ.
fn ball(sizes: &[usize]) -> Vec<u8> {
    let n = sizes[0] as f64;
    let inside = |mut i: usize| {
        let mut square = 0.0;
        for axis in (0..sizes.len()).rev() {
            let centre = if axis == 0 { 0.45 } else { 0.52 };
            square += ((i % sizes[axis]) as f64 + 0.5 - centre * n).powi(2);
            i /= sizes[axis];
        }
        square < (0.12 * n).powi(2)
    };
    (0..sizes.iter().product()).map(|i| if inside(i) { Cell::Solid as u8 } else { Cell::Fluid as u8 }).collect()
}

/// Pipelines of fluid.wgsl, which share a layout.
struct Kernels {
    advect_density: wgpu::ComputePipeline,
    advect_velocity: wgpu::ComputePipeline,
    converge: wgpu::ComputePipeline,
    accelerate: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    workgroups: [u32; 3],
}

impl Kernels {
    fn new(gpu: &Gpu, size: [usize; 3]) -> Self {
        let device = gpu.device();
        let module = device.create_shader_module(wgpu::include_wgsl!("fluid.wgsl"));
        let entry = |(binding, read_only): (u32, bool)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let entries = [(0, true), (1, true), (2, true), (3, false), (4, false), (5, true), (6, false)].map(entry);
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some("smoke"), entries: &entries });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("smoke"),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let [x, y, z] = size.map(|n| n as f64);
        // a plume is through the domain in about as many steps as there are cells
        let constants = [
            ("NX", x),
            ("NY", y),
            ("NZ", z),
            ("BUOYANCY", 10.0 / z),
            ("SOURCE_RADIUS", 0.1 * z),
            // the lowest cell at least
            ("SOURCE_HEIGHT", (0.06 * z).max(1.0)),
        ];
        let pipeline = |name: &str| {
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(name),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(name),
                compilation_options: wgpu::PipelineCompilationOptions { constants: &constants, ..Default::default() },
                cache: None,
            })
        };
        // over faces, of which there is one more along each axis than there are cells
        let [x, y, z] = size.map(|n| n as u32 + 1);
        Self {
            advect_density: pipeline("advect_density"),
            advect_velocity: pipeline("advect_velocity"),
            converge: pipeline("converge"),
            accelerate: pipeline("accelerate"),
            layout,
            workgroups: [x.div_ceil(64), y, z],
        }
    }

    fn bind(&self, gpu: &Gpu, tensors: [&Tensor; 7]) -> wgpu::BindGroup {
        let entries: Vec<_> = (0..)
            .zip(tensors)
            .map(|(binding, tensor)| wgpu::BindGroupEntry { binding, resource: tensor.buffer().as_entire_binding() })
            .collect();
        gpu.device().create_bind_group(&wgpu::BindGroupDescriptor { label: Some("smoke"), layout: &self.layout, entries: &entries })
    }

    fn record(&self, recording: &mut Recording, kernel: &wgpu::ComputePipeline, group: &wgpu::BindGroup) {
        recording.custom("smoke", kernel, group, self.workgroups);
    }
}
