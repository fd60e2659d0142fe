//! Hutchinson's estimate of the trace.

use std::ops::Range;

use super::Estimate;
use super::sampler::{Results, Sampler, expect_count};
use crate::gpu::{DType, Recording, Tensor};
use crate::krylov::LinearOperator;
use crate::{Error, Result, vector};

/// Options of [`trace`] and [`block_traces`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceOptions {
    /// How many random vectors, and products: 2 to 2^24. Default: 32.
    pub samples: usize,
    /// Of the random vectors. Default: 0.
    pub seed: u64,
}

impl Default for TraceOptions {
    fn default() -> Self {
        Self { samples: 32, seed: 0 }
    }
}

/// The trace of `operator`, as the mean of `⟨x, A x⟩` over random vectors of signs (Hutchinson 1990).
///
/// Each sample's variance is `2 (‖A‖² - Σ aᵢᵢ²)` in the Frobenius norm for symmetric `A`: the estimate
/// is exact for a diagonal matrix, and errs by `√(2 / samples) ‖A‖` at most otherwise, on average. Samples are f32: if one is
/// NaN or infinite, so are the value and its error. The trace of zeros is 0, with an error of 0.
///
/// # Errors
/// [`Error::Option`] for `samples`, [`Error::Length`] if the operator has no rows; what its recording
/// and reading from the device may fail with.
pub async fn trace(operator: &dyn LinearOperator, options: &TraceOptions) -> Result<Estimate> {
    let products = sample(operator, options, 1, |recording, sampler, results| {
        operator.record_dot(recording, &sampler.x, &sampler.y, &results.get(0)?)
    });
    Ok(Estimate::of(&products.await?))
}

/// The traces of the diagonal blocks of `operator` whose rows and columns are `blocks`, such as the
/// parameters of each layer. All come from the same products, so that those of blocks that cut up the
/// matrix add up to its [`trace`] but for rounding. Blocks may overlap; one without elements has trace 0. What is not
/// finite remains within the blocks in whose products it is.
///
/// # Errors
/// As [`trace`]; [`Error::Option`] for a block that is not within the matrix.
pub async fn block_traces(operator: &dyn LinearOperator, blocks: &[Range<usize>], options: &TraceOptions) -> Result<Vec<Estimate>> {
    let n = operator.dim();
    for (i, block) in blocks.iter().enumerate() {
        if block.start > block.end || block.end > n {
            let (option, found) = (format!("blocks[{i}]"), format!("{block:?}"));
            return Err(Error::Option { option, found, expected: format!("a range within 0..{n}") });
        }
    }
    if blocks.is_empty() {
        return Ok(Vec::new());
    }
    let products = sample(operator, options, blocks.len(), |recording, sampler, results| {
        operator.record(recording, &sampler.x, &sampler.y)?;
        for (i, block) in blocks.iter().enumerate() {
            let part = |whole: &Tensor| whole.within(4 * block.start as u64, &[block.len()], DType::F32);
            vector::dot(operator.gpu(), recording, &part(&sampler.x)?, &part(&sampler.y)?, &results.get(i)?)?;
        }
        Ok(())
    });
    let products = products.await?;
    let of_block = |i: usize| Estimate::of(&products.iter().copied().skip(i).step_by(blocks.len()).collect::<Vec<f64>>());
    Ok((0..blocks.len()).map(of_block).collect())
}

/// `count` numbers for each sample, row-major [samples, count]: `record` appends the product and what
/// becomes of it.
async fn sample(
    operator: &dyn LinearOperator,
    options: &TraceOptions,
    count: usize,
    record: impl FnOnce(&mut Recording, &Sampler, &Results) -> Result<()>,
) -> Result<Vec<f64>> {
    expect_count("samples", options.samples, 2)?;
    let sampler = Sampler::new(operator)?;
    let gpu = operator.gpu();
    let results = Results::new(gpu, count)?;
    let samples = Tensor::zeros(gpu, &[options.samples, count], DType::F32)?;
    let mut recording = Recording::new();
    sampler.record_probe(&mut recording, options.seed)?;
    record(&mut recording, &sampler, &results)?;
    sampler.record_collect(&mut recording, &results, &samples)?;
    sampler.prepare()?;
    for _ in 0..options.samples {
        gpu.execute([&recording])?;
    }
    Ok(samples.read::<f32>(gpu).await?.into_iter().map(f64::from).collect())
}
