use super::LinearOperator;
use crate::{Recording, Result, Tensor};

/// An approximate inverse `M` of an operator. Every [`LinearOperator`] is one. Conjugate gradients need it
/// symmetric and positive definite.
///
/// Vectors are tensors of `dim` elements of f32, of any shape, which do not overlap.
pub trait Preconditioner {
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
}

impl<T: LinearOperator> Preconditioner for T {
    fn dim(&self) -> usize {
        LinearOperator::dim(self)
    }

    fn record_prepare(&self, recording: &mut Recording) -> Result<()> {
        LinearOperator::record_prepare(self, recording)
    }

    fn record(&self, recording: &mut Recording, r: &Tensor, z: &Tensor) -> Result<()> {
        LinearOperator::record(self, recording, r, z)
    }
}
