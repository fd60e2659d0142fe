//! An estimate of the diagonal.

use super::sampler::{Sampler, expect_count, vector};
use crate::gpu::{Recording, Tensor};
use crate::krylov::LinearOperator;
use crate::{Result, shaders};

/// Options of [`diagonal`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiagonalOptions {
    /// How many random vectors, and products: 2 to 2^24. Default: 32.
    pub samples: usize,
    /// Of the random vectors. Default: 0.
    pub seed: u64,
}

impl Default for DiagonalOptions {
    fn default() -> Self {
        Self { samples: 32, seed: 0 }
    }
}

/// An estimate of a diagonal, on the device.
#[derive(Clone, Debug)]
pub struct DiagonalEstimate {
    /// The diagonal, `[n]` of f32.
    pub value: Tensor,
    /// The standard error of each element, from the variance of the samples, `[n]` of f32.
    pub standard_error: Tensor,
    /// The number of samples.
    pub samples: usize,
}

/// The diagonal of `operator`, as the mean of `x ⊙ A x` over random vectors x of signs (Bekas,
/// Kokiopoulou and Saad 2007, where the mean is divided by that of `x ⊙ x`, here 1).
///
/// The variance of a sample of element i is `Σ aᵢⱼ²` over j ≠ i: the estimate is exact for a diagonal
/// matrix, the standard errors being 0. It submits the work and waits for nothing: the tensors hold the
/// result for whatever is submitted afterwards. Where a product is NaN or infinite, so are the element and its error, or
/// NaN. Deviations are squared in f32: errors below 1e-19 count as 0, those above 1e19 are infinite.
///
/// # Errors
/// [`Error::Option`](crate::Error::Option) for `samples`, [`Error::Length`](crate::Error::Length) if
/// the operator has no rows; what its recording may fail with.
pub fn diagonal(operator: &dyn LinearOperator, options: &DiagonalOptions) -> Result<DiagonalEstimate> {
    expect_count("samples", options.samples, 2)?;
    let sampler = Sampler::new(operator)?;
    let gpu = operator.gpu();
    let (mean, m2) = (vector(gpu, operator.dim())?, vector(gpu, operator.dim())?);
    let mut sample = Recording::new();
    sampler.record_probe(&mut sample, options.seed)?;
    operator.record(&mut sample, &sampler.x, &sampler.y)?;
    let kernel = gpu.kernel(&shaders::curvature::DIAGONAL, &[], &[])?;
    sampler.record_cells(&mut sample, &kernel, 0, &[("x", &sampler.x), ("y", &sampler.y), ("mean", &mean), ("m2", &m2)])?;
    sampler.record_advance(&mut sample)?;
    let mut finish = Recording::new();
    let kernel = gpu.kernel(&shaders::curvature::DIAGONAL, &["FINISH"], &[])?;
    sampler.record_cells(&mut finish, &kernel, 0, &[("m2", &m2)])?;

    sampler.prepare()?;
    for _ in 0..options.samples {
        gpu.execute([&sample])?;
    }
    gpu.execute([&finish])?;
    Ok(DiagonalEstimate { value: mean, standard_error: m2, samples: options.samples })
}
