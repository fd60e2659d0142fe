//! Norms of vectors of any scale.

use crate::gpu::{Bind, Gpu, Recording, Tensor, Work};
use crate::{Result, shaders, vector};

use super::blocks;

/// The power of two next to a vector's largest magnitude: `shaders/krylov/scaling.wgsl`.
pub(crate) struct Scaling {
    maximum: Tensor,
    factor: Tensor,
    /// By what the scaled vector is to be multiplied to have the vector, one f32.
    pub unit: Tensor,
}

impl Scaling {
    pub fn new(gpu: &Gpu) -> Result<Self> {
        Ok(Self { maximum: blocks::scalar(gpu)?, factor: blocks::scalar(gpu)?, unit: blocks::scalar(gpu)? })
    }

    /// Appends `x = x / unit`, exactly: then the largest magnitude is at least 1 and below 2, or `x` is 0 or not finite.
    pub fn record(&self, gpu: &Gpu, recording: &mut Recording, x: &Tensor) -> Result<()> {
        vector::max_magnitude(gpu, recording, x, &self.maximum)?;
        let kernel = gpu.kernel(&shaders::krylov::SCALING, &[], &[])?;
        let bindings = [("maximum", &self.maximum), ("factor", &self.factor), ("unit", &self.unit)];
        recording.dispatch(gpu, &kernel, Work::alone(0), &bindings.map(|(name, tensor)| Bind::tensor(gpu, name, tensor).0))?;
        vector::scale(gpu, recording, &self.factor, x)
    }

    /// Appends [`Scaling::record`] and the norm of the scaled vector: the norm is that times `unit`.
    pub fn record_norm(&self, gpu: &Gpu, recording: &mut Recording, x: &Tensor, norm: &Tensor) -> Result<()> {
        self.record(gpu, recording, x)?;
        vector::norm(gpu, recording, x, norm)
    }
}
