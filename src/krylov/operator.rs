use crate::{Error, Gpu, Recording, Result, Tensor, vector};

/// A square matrix known by its products alone, which can be recorded.
///
/// Vectors are tensors of `dim` elements of f32, of any shape, which do not overlap.
pub trait LinearOperator {
    /// The device on which it acts.
    fn gpu(&self) -> &Gpu;

    /// The number of rows, which is that of the columns.
    fn dim(&self) -> usize;

    /// Appends what must run once, before any product, after whatever the operator depends on has changed:
    /// the forward and backward pass of a Hessian, say. Solvers run it when they begin. Default: nothing.
    ///
    /// # Errors
    /// What making a dispatch may fail with.
    fn record_prepare(&self, _recording: &mut Recording) -> Result<()> {
        Ok(())
    }

    /// Appends `y = A x`.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::DType`] if a vector is not `dim` elements of f32, [`Error::Overlap`];
    /// what making a dispatch may fail with.
    fn record(&self, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()>;

    /// Appends `y = A x` and `dot = ⟨x, y⟩`, `dot` being one f32, for operators that can fuse the two.
    ///
    /// # Errors
    /// As [`LinearOperator::record`].
    fn record_dot(&self, recording: &mut Recording, x: &Tensor, y: &Tensor, dot: &Tensor) -> Result<()> {
        self.record(recording, x, y)?;
        let flat = [self.dim()];
        vector::dot(self.gpu(), recording, &x.reshape(&flat)?, &y.reshape(&flat)?, dot)
    }

    /// Appends the orthogonal projection of `x`, in place, onto the range of this symmetric operator: takes
    /// away its part in the null space, which for a Laplacian without a boundary condition is the mean of each
    /// connected component. Solvers apply it to the right-hand side, to residuals, before each preconditioner or else
    /// every few iterations, and to the solution, and take an operator that appends nothing for regular.
    /// Default: nothing.
    ///
    /// # Errors
    /// As [`LinearOperator::record`].
    fn record_project(&self, _recording: &mut Recording, _x: &Tensor) -> Result<()> {
        Ok(())
    }
}

/// Checks that there is a row.
pub(crate) fn expect_rows(operator: &dyn LinearOperator) -> Result<()> {
    match operator.dim() {
        0 => Err(Error::Length { tensor: "operator".into(), unit: "rows at least", expected: 1, found: 0 }),
        _ => Ok(()),
    }
}

/// Checks that `vector` is `dim` elements of f32.
pub(crate) fn expect_vector(name: &str, vector: &Tensor, dim: usize) -> Result<()> {
    vector.expect_dtype(name, &[crate::DType::F32])?;
    match vector.len() == dim {
        true => Ok(()),
        false => Err(Error::Length { tensor: name.to_owned(), unit: "elements", expected: dim, found: vector.len() }),
    }
}

/// Checks the two vectors of a product.
pub(crate) fn expect_vectors(x: &Tensor, y: &Tensor, dim: usize) -> Result<()> {
    expect_vector("x", x, dim)?;
    expect_vector("y", y, dim)?;
    x.expect_apart("x", y, "y")
}

/// Checks where the inner product of two vectors is to go.
pub(crate) fn expect_dot(dot: &Tensor, vectors: [(&str, &Tensor); 2]) -> Result<()> {
    expect_vector("dot", dot, 1)?;
    vectors.into_iter().try_for_each(|(name, vector)| dot.expect_apart("dot", vector, name))
}

impl<T: LinearOperator + ?Sized> LinearOperator for &T {
    fn gpu(&self) -> &Gpu {
        (**self).gpu()
    }

    fn dim(&self) -> usize {
        (**self).dim()
    }

    fn record_prepare(&self, recording: &mut Recording) -> Result<()> {
        (**self).record_prepare(recording)
    }

    fn record(&self, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
        (**self).record(recording, x, y)
    }

    fn record_dot(&self, recording: &mut Recording, x: &Tensor, y: &Tensor, dot: &Tensor) -> Result<()> {
        (**self).record_dot(recording, x, y, dot)
    }

    fn record_project(&self, recording: &mut Recording, x: &Tensor) -> Result<()> {
        (**self).record_project(recording, x)
    }
}
