use super::LinearOperator;
use crate::{Gpu, Recording, Result, Tensor, vector};

/// An approximate inverse `M` of an operator. Every [`LinearOperator`] is one. Conjugate gradients need it
/// symmetric and positive definite.
///
/// Vectors are tensors of `dim` elements of f32, of any shape, which do not overlap.
pub trait Preconditioner {
    /// The device on which it acts.
    fn gpu(&self) -> &Gpu;

    /// The number of rows, which is that of the columns.
    fn dim(&self) -> usize;

    /// Appends what must run once, before any application, after whatever the preconditioner depends on has
    /// changed. Solvers run it when they begin. Default: nothing.
    ///
    /// # Errors
    /// What making a dispatch may fail with.
    fn record_prepare(&self, _recording: &mut Recording) -> Result<()> {
        Ok(())
    }

    /// Appends `z = M r`.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length) or [`Error::DType`](crate::Error::DType) if a vector is not
    /// `dim` elements of f32, [`Error::Overlap`](crate::Error::Overlap); what making a dispatch may fail with.
    fn record(&self, recording: &mut Recording, r: &Tensor, z: &Tensor) -> Result<()>;

    /// Appends `z = M r` and `dot = ⟨r, z⟩`, `dot` being one f32, for preconditioners that can fuse the two.
    ///
    /// # Errors
    /// As [`Preconditioner::record`].
    fn record_dot(&self, recording: &mut Recording, r: &Tensor, z: &Tensor, dot: &Tensor) -> Result<()> {
        self.record(recording, r, z)?;
        let flat = [self.dim()];
        vector::dot(self.gpu(), recording, &r.reshape(&flat)?, &z.reshape(&flat)?, dot)
    }
}

impl<T: LinearOperator> Preconditioner for T {
    fn gpu(&self) -> &Gpu {
        LinearOperator::gpu(self)
    }

    fn dim(&self) -> usize {
        LinearOperator::dim(self)
    }

    fn record_prepare(&self, recording: &mut Recording) -> Result<()> {
        LinearOperator::record_prepare(self, recording)
    }

    fn record(&self, recording: &mut Recording, r: &Tensor, z: &Tensor) -> Result<()> {
        LinearOperator::record(self, recording, r, z)
    }

    fn record_dot(&self, recording: &mut Recording, r: &Tensor, z: &Tensor, dot: &Tensor) -> Result<()> {
        LinearOperator::record_dot(self, recording, r, z, dot)
    }
}
