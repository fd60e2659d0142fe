//! Random vectors, their products, and the number of samples taken, all on the device.

use crate::gpu::work::looped;
use crate::gpu::{Bind, DType, Gpu, Kernel, Recording, Tensor, Work, binding_alignment};
use crate::krylov::LinearOperator;
use crate::krylov::operator::expect_rows;
use crate::shaders::layout::{AdvanceConstants, SampleConstants};
use crate::{Error, Result, shaders};

/// What a sample is recorded with. A sample begins with [`Sampler::record_probe`] and ends with
/// [`Sampler::record_collect`] or [`Sampler::record_advance`].
pub(super) struct Sampler<'a> {
    pub operator: &'a dyn LinearOperator,
    /// The random vector.
    pub x: Tensor,
    /// Its product.
    pub y: Tensor,
    /// How many samples have been taken, one u32.
    taken: Tensor,
}

impl<'a> Sampler<'a> {
    pub fn new(operator: &'a dyn LinearOperator) -> Result<Self> {
        let (gpu, n) = (operator.gpu(), operator.dim());
        expect_rows(operator)?;
        Ok(Self { operator, x: vector(gpu, n)?, y: vector(gpu, n)?, taken: Tensor::zeros(gpu, &[1], DType::U32)? })
    }

    pub fn gpu(&self) -> &Gpu {
        self.operator.gpu()
    }

    /// Appends `x` = random signs, the stream of the generator being the number of the sample.
    pub fn record_probe(&self, recording: &mut Recording, seed: u64) -> Result<()> {
        let kernel = self.gpu().kernel(&shaders::curvature::PROBE, &[], &[])?;
        self.record_cells(recording, &kernel, seed, &[("x", &self.x)])
    }

    /// Appends a kernel on `shared/samples.wgsl`, with the vectors under the names that it gives them.
    pub fn record_cells(&self, recording: &mut Recording, kernel: &Kernel, seed: u64, vectors: &[(&'static str, &Tensor)]) -> Result<()> {
        let gpu = self.gpu();
        let cells = self.operator.dim().div_ceil(4) as u64;
        let alignment = binding_alignment(gpu);
        let longest = gpu.binding_limit() / alignment * (alignment / 16);
        for first in (0..cells).step_by(longest as usize) {
            let count = longest.min(cells - first);
            let block = gpu.target().block(count);
            let constants = SampleConstants {
                first: first as u32,
                count: count as u32,
                block: block as u32,
                seed_low: seed as u32,
                seed_high: (seed >> 32) as u32,
            };
            let part = |tensor: &Tensor| tensor.offset() + 16 * first..tensor.offset() + 16 * (first + count);
            let mut bindings: Vec<Bind> = vectors.iter().map(|(name, tensor)| Bind::range(gpu, name, tensor, part(tensor)).0).collect();
            bindings.push(Bind::tensor(gpu, "taken", &self.taken).0);
            // of random signs, ten rounds a cell
            let work = Work::strided(count.div_ceil(block), looped(block.div_ceil(256), looped(10, 0)));
            recording.dispatch_with(gpu, kernel, work, &constants, bindings)?;
        }
        Ok(())
    }

    /// Appends the end of a sample of which nothing is kept.
    pub fn record_advance(&self, recording: &mut Recording) -> Result<()> {
        let gpu = self.gpu();
        let kernel = gpu.kernel(&shaders::curvature::ADVANCE, &[], &[])?;
        recording.dispatch(gpu, &kernel, Work::alone(0), &[Bind::tensor(gpu, "taken", &self.taken).0])
    }

    /// Appends the end of a sample, whose results become a row of `samples` [samples, count].
    pub fn record_collect(&self, recording: &mut Recording, results: &Results, samples: &Tensor) -> Result<()> {
        let gpu = self.gpu();
        let kernel = gpu.kernel(&shaders::curvature::ADVANCE, &["COLLECT"], &[])?;
        let constants = AdvanceConstants { count: results.count as u32, stride: results.stride as u32 };
        let bindings = vec![
            Bind::tensor(gpu, "taken", &self.taken).0,
            Bind::tensor(gpu, "results", &results.all).0,
            Bind::tensor(gpu, "samples", samples).0,
        ];
        let work = Work::alone(looped((results.count as u64).div_ceil(64), 0));
        recording.dispatch_with(gpu, &kernel, work, &constants, bindings)
    }

    /// Runs what must run before the first product.
    pub fn prepare(&self) -> Result<()> {
        let mut recording = Recording::new();
        self.operator.record_prepare(&mut recording)?;
        self.gpu().execute([&recording])?;
        Ok(())
    }
}

/// The numbers that a sample yields, where reductions write them without a copy: at the start of a
/// binding each.
pub(super) struct Results {
    all: Tensor,
    count: usize,
    stride: usize,
}

impl Results {
    pub fn new(gpu: &Gpu, count: usize) -> Result<Self> {
        let stride = binding_alignment(gpu) as usize / 4;
        Ok(Self { all: Tensor::zeros(gpu, &[count, stride], DType::F32)?, count, stride })
    }

    /// Where number `i` goes, one f32.
    pub fn get(&self, i: usize) -> Result<Tensor> {
        self.all.within((4 * i * self.stride) as u64, &[1], DType::F32)
    }
}

/// A vector of zeros, at the start of a buffer that is padded to whole cells.
pub(super) fn vector(gpu: &Gpu, n: usize) -> Result<Tensor> {
    let padded = Tensor::zeros(gpu, &[n.div_ceil(4), 4], DType::F32)?;
    padded.within(0, &[n], DType::F32)
}

/// Checks an option that counts something: the device counts samples in f32, exactly to 2^24.
pub(super) fn expect_count(option: &str, found: usize, least: usize) -> Result<()> {
    match (least..=1 << 24).contains(&found) {
        true => Ok(()),
        false => Err(Error::Option { option: option.into(), found: found.to_string(), expected: format!("{least} to 2^24") }),
    }
}
