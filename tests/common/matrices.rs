//! Explicit matrices in f64, the same as operators on the device, and how estimates are compared.

#![allow(dead_code, reason = "each test binary uses its part")]

use gradus::curvature::Estimate;
use gradus::gpu::{Checks, Target};
use gradus::krylov::LinearOperator;
use gradus::reference::{curvature as reference, random, vector as f64s};
use gradus::{Gpu, Recording, Result, Tensor};

use super::common::{gpu, gpu_for, noise};

/// One, odd ones, whole cells, more than a workgroup of the operator's.
pub const SIZES: [usize; 6] = [1, 2, 3, 7, 64, 101];

/// A matrix of f32 by rows, `bands` to each side of its diagonal: dense if as many as it has rows.
#[derive(Clone)]
pub struct Matrix {
    pub n: usize,
    pub rows: Vec<Vec<(usize, f64)>>,
}

impl Matrix {
    pub fn new(n: usize, bands: usize, element: impl Fn(usize, usize) -> f64) -> Self {
        let row = |i: usize| -> Vec<(usize, f64)> {
            (i.saturating_sub(bands)..(i + bands + 1).min(n)).map(|j| (j, f64::from(element(i, j) as f32))).collect()
        };
        Self { n, rows: (0..n).map(row).collect() }
    }

    /// `Q diag(eigenvalues) Qᵀ`, Q being a product of two reflections.
    pub fn with_eigenvalues(eigenvalues: &[f64]) -> Self {
        let n = eigenvalues.len();
        let mut q: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
        for seed in [1, 2] {
            let mut u: Vec<f64> = noise(seed, n).into_iter().map(f64::from).collect();
            f64s::scale(1.0 / f64s::norm(&u), &mut u);
            for row in &mut q {
                f64s::axpy(-2.0 * f64s::dot(row, &u), &u, row);
            }
        }
        Self::new(n, n, |i, j| (0..n).map(|k| q[i.min(j)][k] * eigenvalues[k] * q[i.max(j)][k]).sum())
    }

    /// Symmetric noise.
    pub fn random(n: usize, bands: usize) -> Self {
        Self::new(n, bands, |i, j| f64::from(noise((i.min(j) * n + i.max(j)) as u64, 1)[0]))
    }

    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.rows[i].iter().find(|(column, _)| *column == j).map_or(0.0, |(_, a)| *a)
    }

    pub fn product(&self, x: &[f64]) -> Vec<f64> {
        self.rows.iter().map(|row| row.iter().map(|&(j, a)| a * x[j]).sum()).collect()
    }

    pub fn diagonal(&self) -> Vec<f64> {
        (0..self.n).map(|i| self.at(i, i)).collect()
    }

    pub fn trace(&self) -> f64 {
        self.diagonal().iter().sum()
    }

    /// In the Frobenius norm.
    pub fn norm(&self) -> f64 {
        self.rows.iter().flatten().map(|(_, a)| a * a).sum::<f64>().sqrt()
    }

    /// `Σ aᵢⱼ²` over j ≠ i, by row.
    pub fn off_diagonal(&self) -> Vec<f64> {
        self.rows.iter().enumerate().map(|(i, row)| row.iter().filter(|(j, _)| *j != i).map(|(_, a)| a * a).sum()).collect()
    }
}

const WGSL: &str = "
    @group(0) @binding(0) var<storage, read> ends: array<u32>;
    @group(0) @binding(1) var<storage, read> columns: array<u32>;
    @group(0) @binding(2) var<storage, read> values: array<f32>;
    @group(0) @binding(3) var<storage, read> x: array<f32>;
    @group(0) @binding(4) var<storage, read_write> y: array<f32>;
    override ACCUMULATE: bool = false;
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        let row = id.x;
        if row + 1u < arrayLength(&ends) {
            var sum = 0.0;
            for (var i = ends[row]; i < ends[row + 1u]; i++) {
                sum += values[i] * x[columns[i]];
            }
            y[row] = select(sum, y[row] + sum, ACCUMULATE);
        }
    }";

/// A [`Matrix`] on the device, multiplied by a kernel of this test's own.
pub struct Operator {
    pub gpu: Gpu,
    pub n: usize,
    pipeline: wgpu::ComputePipeline,
    operands: [Tensor; 3],
}

impl Operator {
    pub fn new(gpu: &Gpu, matrix: &Matrix) -> Self {
        Self::with(gpu, matrix, false)
    }

    /// One that adds to what is there if `accumulate`, as none should.
    pub fn with(gpu: &Gpu, matrix: &Matrix, accumulate: bool) -> Self {
        let elements: Vec<&(usize, f64)> = matrix.rows.iter().flatten().collect();
        let mut ends = vec![0u32];
        ends.extend(matrix.rows.iter().scan(0, |end, row| {
            *end += row.len() as u32;
            Some(*end)
        }));
        let columns: Vec<u32> = elements.iter().map(|(j, _)| *j as u32).collect();
        let values: Vec<f32> = elements.iter().map(|(_, a)| *a as f32).collect();
        let operands = [
            Tensor::from_slice(gpu, &[ends.len()], &ends).unwrap(),
            Tensor::from_slice(gpu, &[columns.len()], &columns).unwrap(),
            Tensor::from_slice(gpu, &[values.len()], &values).unwrap(),
        ];
        let device = gpu.device();
        let module =
            device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(WGSL.into()) });
        let constants = [("ACCUMULATE", f64::from(u8::from(accumulate)))];
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions { constants: &constants, ..Default::default() },
            cache: None,
        });
        Self { gpu: gpu.clone(), n: matrix.n, pipeline, operands }
    }
}

impl LinearOperator for Operator {
    fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    fn dim(&self) -> usize {
        self.n
    }

    fn record(&self, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
        let [ends, columns, values] = &self.operands;
        let tensors = [ends, columns, values, x, y];
        let entry = |i: usize| wgpu::BindGroupEntry {
            binding: i as u32,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: tensors[i].buffer(),
                offset: tensors[i].offset(),
                size: std::num::NonZeroU64::new(tensors[i].bytes()),
            }),
        };
        let entries: Vec<_> = (0..5).map(entry).collect();
        let layout = self.pipeline.get_bind_group_layout(0);
        let group = self.gpu.device().create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
        recording.custom("csr", &self.pipeline, &group, [self.n.div_ceil(64) as u32, 1, 1]);
        Ok(())
    }
}

pub fn signs(seed: u64, streams: std::ops::Range<u32>, n: usize) -> Vec<Vec<f64>> {
    streams.map(|stream| random::rademacher(seed, stream, n).into_iter().map(f64::from).collect()).collect()
}

/// Checked and unchecked shaders, and kernels shaped for either kind of processor.
pub fn gpus() -> [Gpu; 3] {
    [gpu(Checks::Checked), gpu_for(Target::software()), gpu_for(Target::discrete())]
}

pub fn close(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, and {expected} was expected to {tolerance:e}");
}

pub fn estimate_is(found: Estimate, expected: &[f64], tolerance: f64, what: &str) {
    let [value, error] = reference::mean(expected);
    close(found.value, value, tolerance, what);
    close(found.standard_error, error, tolerance, what);
    assert_eq!(found.samples, expected.len(), "{what}");
}
