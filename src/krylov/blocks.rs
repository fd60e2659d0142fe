//! The solvers' own vectors, and dispatches over them by blocks (`shared/blocks.wgsl`).

use std::ops::Range;

use wgpu::BufferUsages;

use crate::gpu::work::{SUM_RUNS, looped, run_of_block, summed};
use crate::gpu::{Bind, Gpu, KernelSource, Recording, Tensor, Work};
use crate::shaders::layout::BlockConstants;
use crate::{DType, Result};

/// A vector of `n` elements at the start of a buffer of its own, padded with zeros to whole cells of four.
pub(crate) fn vector(gpu: &Gpu, n: usize) -> Result<Tensor> {
    let padded = Tensor::zeros(gpu, &[n.next_multiple_of(4)], DType::F32)?;
    padded.within(0, &[n], DType::F32)
}

/// One f32 in a buffer of its own.
pub(crate) fn scalar(gpu: &Gpu) -> Result<Tensor> {
    Tensor::zeros(gpu, &[1], DType::F32)
}

/// What a kernel of one workgroup does that adds up so many partial sums (`shaders/shared/total.wgsl`), with a few short loops
/// beside it.
pub(crate) fn total(partials: u32) -> Work {
    Work::alone(summed(u64::from(partials).div_ceil(256)) + SUM_RUNS + 256)
}

/// How vectors of a length are cut: into ranges that a binding can hold, of whole blocks, one a workgroup.
pub(crate) struct Blocks {
    gpu: Gpu,
    block: u64,
    /// Whether each invocation leaves a sum: barriers are dear on a software driver, but sums must not be too many for one
    /// workgroup.
    leaves_many: bool,
    ranges: Vec<Range<u64>>,
    /// What blocks leave of a sum.
    partials: wgpu::Buffer,
    /// A bound on the rounds of a kernel's loops for each cell. Default: the ten of random signs.
    pub inner: u64,
}

impl Blocks {
    pub fn new(gpu: &Gpu, n: usize) -> Result<Self> {
        let cells = (n as u64).div_ceil(4);
        let block = gpu.target().block(cells);
        // the least that a binding holds, 64 KiB, is the greatest block; blocks begin where bindings may
        let limit = (gpu.binding_limit() / 16 / block).max(1) * block;
        let ranges = (0..cells).step_by(limit as usize).map(|start| start..(start + limit).min(cells)).collect();
        let leaves_many = gpu.target().leaves_many(cells.div_ceil(block));
        let sums = cells.div_ceil(block) * if leaves_many { 256 } else { 1 };
        let partials = gpu.buffer("gradus.krylov.partials", 16 * sums.max(1), BufferUsages::STORAGE)?;
        Ok(Self { gpu: gpu.clone(), block, leaves_many, ranges, partials, inner: 10 })
    }

    /// What [`Blocks::record_sums`] leaves, and how many.
    pub fn partials(&self) -> (Bind<'_>, u32) {
        (Bind::whole("partials", &self.partials), (self.partials.size() / 16) as u32)
    }

    /// Whether [`Blocks::record_sums`] leaves one for each invocation.
    pub fn leaves_many(&self) -> bool {
        self.leaves_many
    }

    /// Whether a binding holds a whole vector.
    pub fn in_one_range(&self) -> bool {
        self.ranges.len() == 1
    }

    /// Appends a kernel over all of `vectors`, which [`vector`] made.
    pub fn record(
        &self,
        recording: &mut Recording,
        source: &'static KernelSource,
        defines: &[&'static str],
        vectors: &[(&'static str, &Tensor)],
        others: &[(&'static str, &wgpu::Buffer)],
    ) -> Result<()> {
        self.record_with(recording, source, defines, &[], vectors, others)
    }

    /// [`Blocks::record`] with values of the kernel's overrides.
    pub fn record_with(
        &self,
        recording: &mut Recording,
        source: &'static KernelSource,
        defines: &[&'static str],
        overrides: &[(&'static str, u32)],
        vectors: &[(&'static str, &Tensor)],
        others: &[(&'static str, &wgpu::Buffer)],
    ) -> Result<()> {
        let gpu = &self.gpu;
        let kernel = gpu.kernel(source, defines, overrides)?;
        for range in &self.ranges {
            let bytes = 16 * range.start..16 * range.end;
            let vectors = vectors.iter().map(|&(name, tensor)| Bind::range(gpu, name, tensor, bytes.clone()).0);
            let others = others.iter().map(|&(name, buffer)| Bind::whole(name, buffer));
            let count = range.end - range.start;
            let constants = BlockConstants { count: count as u32, block: self.block as u32, first: (range.start / self.block) as u32 };
            // two loops over a block, one of which may have another within, and a sum
            let nested = looped(self.block.div_ceil(256), looped(self.inner, 0));
            let work = Work::strided(count.div_ceil(self.block), run_of_block(self.block) + nested + SUM_RUNS);
            recording.dispatch_with(gpu, &kernel, work, &constants, vectors.chain(others).collect())?;
        }
        Ok(())
    }

    /// [`Blocks::record`] of a kernel that leaves sums.
    pub fn record_sums(
        &self,
        recording: &mut Recording,
        source: &'static KernelSource,
        defines: &[&'static str],
        vectors: &[(&'static str, &Tensor)],
        others: &[(&'static str, &wgpu::Buffer)],
    ) -> Result<()> {
        self.record_sums_with(recording, source, defines, &[], vectors, others)
    }

    /// [`Blocks::record_sums`] with values of the kernel's overrides.
    pub fn record_sums_with(
        &self,
        recording: &mut Recording,
        source: &'static KernelSource,
        defines: &[&'static str],
        overrides: &[(&'static str, u32)],
        vectors: &[(&'static str, &Tensor)],
        others: &[(&'static str, &wgpu::Buffer)],
    ) -> Result<()> {
        let mut defines = defines.to_vec();
        defines.extend(self.leaves_many.then_some("PARTIAL_SUMS"));
        let others: Vec<_> = others.iter().copied().chain([("partials", &self.partials)]).collect();
        self.record_with(recording, source, &defines, overrides, vectors, &others)
    }
}
