//! Whether an operator is what the methods take it for.

use super::sampler::{Sampler, vector as zeros};
use crate::Result;
use crate::gpu::{Recording, Tensor, read_all};
use crate::krylov::LinearOperator;
use crate::vector;

/// What [`check`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    /// Whether two products of one vector were the same, bit for bit.
    pub deterministic: bool,
    /// About `‖A - Aᵀ‖ / ‖A‖` in the Frobenius norm, from one pair of vectors: around 1 for a matrix that is not
    /// symmetric, some 1e-6 or below for one that is, but for rounding to f32; 0 for a matrix of zeros.
    pub asymmetry: f64,
}

/// Whether `operator` is deterministic, and whether it is symmetric, by the products of two random vectors.
///
/// The two products of one vector go to a result of zeros and to one of NaN: an operator that adds to
/// what is there, instead of overwriting it, is not deterministic either. The asymmetry is
/// `√n |⟨y, A x⟩ - ⟨x, A y⟩|` over the mean of `‖y‖ ‖A x‖` and `‖x‖ ‖A y‖`. Each element of the vectors is
/// the difference of two uniform numbers. Products that are infinite or NaN make the asymmetry NaN; whether they were the
/// same is told by their bits.
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) if the operator has no rows; what its recording and reading
/// from the device may fail with.
pub async fn check(operator: &dyn LinearOperator, seed: u64) -> Result<Check> {
    let sampler = Sampler::new(operator)?;
    let (gpu, n) = (operator.gpu(), operator.dim());
    let [other, x, y, ax, again, ay] = [(); 6].map(|()| zeros(gpu, n));
    let (other, x, y, ax, again, ay) = (other?, x?, y?, ax?, again?, ay?);
    let random = |vector: &Tensor, stream: u32| -> Result<Recording> {
        let mut recording = Recording::new();
        vector::random_uniform(gpu, &mut recording, seed, stream, vector)?;
        vector::random_uniform(gpu, &mut recording, seed, stream + 1, &other)?;
        vector::axpy(gpu, &mut recording, -1.0, &other, vector)?;
        vector::copy(gpu, &mut recording, vector, &sampler.x)?;
        Ok(recording)
    };
    let keep = |result: &Tensor| -> Result<Recording> {
        let mut recording = Recording::new();
        vector::copy(gpu, &mut recording, &sampler.y, result)?;
        vector::fill(gpu, &mut recording, f64::NAN, &sampler.y)?;
        Ok(recording)
    };
    let mut product = Recording::new();
    operator.record(&mut product, &sampler.x, &sampler.y)?;
    let (random_x, random_y) = (random(&x, 0)?, random(&y, 2)?);
    let (keep_ax, keep_again, keep_ay) = (keep(&ax)?, keep(&again)?, keep(&ay)?);
    sampler.prepare()?;
    gpu.execute([&random_x, &product, &keep_ax, &product, &keep_again, &random_y, &product, &keep_ay])?;

    let bytes = read_all(gpu, &[x, y, ax, again, ay]).await?;
    let [x, y, ax, again, ay] = [0, 1, 2, 3, 4].map(|i| bytemuck::pod_collect_to_vec::<u8, f32>(bytes.get(i).map_or(&[], Vec::as_slice)));
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let norm = |a: &[f32]| dot(a, a).sqrt();
    let scale = 0.5 * (norm(&y) * norm(&ax) + norm(&x) * norm(&ay));
    let difference = (dot(&y, &ax) - dot(&x, &ay)).abs();
    let asymmetry = if scale == 0.0 { 0.0 } else { (n as f64).sqrt() * difference / scale };
    let deterministic = ax.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits());
    Ok(Check { deterministic, asymmetry })
}
