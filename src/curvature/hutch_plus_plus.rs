//! Hutch++: the trace, of which the greatest part is computed rather than estimated.

use super::Estimate;
use super::sampler::{Results, Sampler, expect_count, vector as zeros};
use crate::gpu::{Bind, DType, Gpu, Recording, Tensor, Work};
use crate::krylov::LinearOperator;
use crate::krylov::scaling::Scaling;
use crate::shaders::layout::NormalizationConstants;
use crate::{Result, shaders, vector};

/// What is left of a vector below this fraction of its norm, once it is orthogonal to others, is rounding.
const THRESHOLD: f32 = 64.0 * f32::EPSILON;

/// Options of [`hutch_plus_plus`], which takes `2 rank + samples` products. Meyer et al. make `rank` and `samples`
/// equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HutchPlusPlusOptions {
    /// The dimension of the subspace on which the trace is computed, for each of which there are two products
    /// and a vector in memory: 1 to 2^24, in effect no more than the matrix has rows. Default: 16.
    pub rank: usize,
    /// How many random vectors estimate the rest: 2 to 2^24. Default: 16.
    pub samples: usize,
    /// Of the random vectors. Default: 0.
    pub seed: u64,
}

impl Default for HutchPlusPlusOptions {
    fn default() -> Self {
        Self { rank: 16, samples: 16, seed: 0 }
    }
}

/// The trace of `operator` by Hutch++ (Meyer, Musco, Musco and Woodruff 2021): that of `Qᵀ A Q`, where the
/// columns of Q are an orthonormal basis of the products of `rank` random vectors, and
/// Hutchinson's estimate of the rest, `(I - QQᵀ) A (I - QQᵀ)`. The fewer eigenvalues matter, the better it
/// is than [`trace`](super::trace). The standard error, and the number of samples, are of the estimate of the rest.
///
/// The basis is made on the device by Gram-Schmidt, each vector in two passes. A product that lies in the span of
/// those before it is left out, as is one of zeros. If a product is NaN or infinite, so is the value, or NaN.
///
/// # Errors
/// [`Error::Option`](crate::Error::Option) for `rank` or `samples`,
/// [`Error::Length`](crate::Error::Length) if the operator has no rows; what its recording and reading
/// from the device may fail with.
pub async fn hutch_plus_plus(operator: &dyn LinearOperator, options: &HutchPlusPlusOptions) -> Result<Estimate> {
    expect_count("rank", options.rank, 1)?;
    expect_count("samples", options.samples, 2)?;
    let sampler = Sampler::new(operator)?;
    let (gpu, n) = (operator.gpu(), operator.dim());
    let rank = options.rank.min(n);
    let basis = Tensor::zeros(gpu, &[rank, n], DType::F32)?;
    let coefficients = zeros(gpu, rank)?;
    let results = Results::new(gpu, 1)?;
    let samples = Tensor::zeros(gpu, &[rank + options.samples], DType::F32)?;

    let mut product = Recording::new();
    operator.record_dot(&mut product, &sampler.x, &sampler.y, &results.get(0)?)?;
    let mut collect = Recording::new();
    sampler.record_collect(&mut collect, &results, &samples)?;

    // sample j < rank is of the basis, and those after it are of the rest, each with the generator's stream of its
    // number; streams below `rank` make the basis
    let mut columns = Vec::with_capacity(rank);
    for j in 0..rank {
        let mut sketch = Recording::new();
        vector::random_rademacher(gpu, &mut sketch, options.seed, j as u32, &sampler.x)?;
        let mut orthonormalize = Recording::new();
        let row = rows(&basis, j, 1)?.reshape(&[n])?;
        record_orthonormalize(gpu, &mut orthonormalize, &rows(&basis, 0, j)?, &coefficients, &sampler.y, &row)?;
        let mut load = Recording::new();
        vector::copy(gpu, &mut load, &row, &sampler.x)?;
        columns.push([sketch, orthonormalize, load]);
    }
    let mut rest = Recording::new();
    sampler.record_probe(&mut rest, options.seed)?;
    record_project(gpu, &mut rest, &basis, &coefficients, &sampler.x)?;

    sampler.prepare()?;
    for [sketch, orthonormalize, _] in &columns {
        gpu.execute([sketch, &product, orthonormalize])?;
    }
    for [_, _, load] in &columns {
        gpu.execute([load, &product, &collect])?;
    }
    for _ in 0..options.samples {
        gpu.execute([&rest, &product, &collect])?;
    }
    let all: Vec<f64> = samples.read::<f32>(gpu).await?.into_iter().map(f64::from).collect();
    let (computed, estimated) = all.split_at(rank.min(all.len()));
    let rest = Estimate::of(estimated);
    Ok(Estimate { value: computed.iter().sum::<f64>() + rest.value, ..rest })
}

/// Rows `first..first + count` of a matrix.
fn rows(matrix: &Tensor, first: usize, count: usize) -> Result<Tensor> {
    let n = matrix.len() / matrix.shape().first().copied().unwrap_or(1).max(1);
    matrix.within(matrix.offset() + 4 * (first * n) as u64, &[count, n], DType::F32)
}

/// Appends `w = w - QᵀQ w`, Q having orthonormal rows.
fn record_project(gpu: &Gpu, recording: &mut Recording, q: &Tensor, coefficients: &Tensor, w: &Tensor) -> Result<()> {
    let count = q.shape().first().copied().unwrap_or(0);
    if count == 0 {
        return Ok(());
    }
    let c = coefficients.within(0, &[count], DType::F32)?;
    vector::gemv(gpu, recording, 1.0, q, w, 0.0, &c)?;
    vector::gemv_transposed(gpu, recording, -1.0, q, &c, 1.0, w)
}

/// Appends `out` = the part of `w` that is orthogonal to the rows of `q`, made a unit vector; 0 if there is none.
fn record_orthonormalize(gpu: &Gpu, recording: &mut Recording, q: &Tensor, coefficients: &Tensor, w: &Tensor, out: &Tensor) -> Result<()> {
    let [before, after, factor] = [(); 3].map(|()| Tensor::zeros(gpu, &[1], DType::F32));
    let (before, after, factor) = (before?, after?, factor?);
    // the result is a direction, which scaling does not change
    Scaling::new(gpu)?.record(gpu, recording, w)?;
    vector::norm(gpu, recording, w, &before)?;
    for _ in 0..2 {
        record_project(gpu, recording, q, coefficients, w)?;
    }
    vector::norm(gpu, recording, w, &after)?;
    let kernel = gpu.kernel(&shaders::curvature::NORMALIZATION, &[], &[])?;
    let bindings =
        vec![Bind::tensor(gpu, "before", &before).0, Bind::tensor(gpu, "after", &after).0, Bind::tensor(gpu, "factor", &factor).0];
    recording.dispatch_with(gpu, &kernel, Work::alone(0), &NormalizationConstants { threshold: THRESHOLD }, bindings)?;
    vector::copy(gpu, recording, w, out)?;
    vector::scale(gpu, recording, &factor, out)
}
