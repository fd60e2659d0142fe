//! Operators made of tensors, of closures, and of each other.

use super::operator::{LinearOperator, expect_vector, expect_vectors};
use crate::gpu::{Bind, Gpu, Recording, Tensor, Work, binding_alignment};
use crate::shaders::layout::DiagonalConstants;
use crate::vector::{self, Scalar};
use crate::{DType, Error, Result, shaders};

/// A square matrix, row-major.
#[derive(Clone, Debug)]
pub struct Dense {
    gpu: Gpu,
    matrix: Tensor,
}

impl Dense {
    /// Of `matrix` [n, n] of f32, which is not copied. Solvers that ask for a symmetric operator do not check
    /// it. NaN and infinity in it come out in the products.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::DType`] if it is not a square matrix of f32.
    pub fn new(gpu: &Gpu, matrix: &Tensor) -> Result<Self> {
        matrix.expect_on("matrix", gpu)?;
        matrix.expect_dtype("matrix", &[DType::F32])?;
        let n = matrix.shape().first().map_or(1, |&n| n.max(1));
        matrix.expect_shape("matrix", &[n, n])?;
        Ok(Self { gpu: gpu.clone(), matrix: matrix.clone() })
    }
}

impl LinearOperator for Dense {
    fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    fn dim(&self) -> usize {
        self.matrix.shape()[0]
    }

    fn record(&self, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
        let n = [self.dim()];
        expect_vectors(x, y, n[0])?;
        vector::gemv(&self.gpu, recording, 1.0, &self.matrix, &x.reshape(&n)?, 0.0, &y.reshape(&n)?)
    }
}

/// A diagonal matrix: `y = d x` or `y = x / d`, element by element.
#[derive(Clone, Debug)]
pub struct Diagonal {
    gpu: Gpu,
    diagonal: Tensor,
    inverse: bool,
}

impl Diagonal {
    /// The matrix with the elements of `diagonal`, of f32 and of any shape, on its diagonal. It is not copied. They may be 0,
    /// which makes the matrix singular.
    ///
    /// # Errors
    /// [`Error::DType`] if it is not of f32, [`Error::Length`] if it is empty.
    pub fn new(gpu: &Gpu, diagonal: &Tensor) -> Result<Self> {
        diagonal.expect_on("diagonal", gpu)?;
        diagonal.expect_dtype("diagonal", &[DType::F32])?;
        match diagonal.is_empty() {
            false => Ok(Self { gpu: gpu.clone(), diagonal: diagonal.clone(), inverse: false }),
            true => Err(Error::Length { tensor: "diagonal".into(), unit: "elements at least", expected: 1, found: 0 }),
        }
    }

    /// The inverse of [`Diagonal::new`]: with the diagonal of an operator it is its Jacobi preconditioner.
    ///
    /// # Errors
    /// As [`Diagonal::new`].
    pub fn inverse(gpu: &Gpu, diagonal: &Tensor) -> Result<Self> {
        Ok(Self { inverse: true, ..Self::new(gpu, diagonal)? })
    }
}

impl LinearOperator for Diagonal {
    fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    fn dim(&self) -> usize {
        self.diagonal.len()
    }

    fn record(&self, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
        expect_vectors(x, y, self.dim())?;
        self.diagonal.expect_apart("diagonal", y, "y")?;
        if y.shares_buffer(x) || y.shares_buffer(&self.diagonal) {
            let aside = Tensor::zeros(&self.gpu, y.shape(), DType::F32)?;
            self.record(recording, x, &aside)?;
            return vector::copy(&self.gpu, recording, &aside, y);
        }
        let defines: &[&'static str] = if self.inverse { &["INVERSE"] } else { &[] };
        let kernel = self.gpu.kernel(&shaders::krylov::DIAGONAL, defines, &[])?;
        let limit = (self.gpu.binding_limit() - binding_alignment(&self.gpu)) / 4;
        let n = self.dim() as u64;
        for start in (0..n).step_by(limit as usize) {
            let end = (start + limit).min(n);
            let bind = |name, tensor| {
                let at = |element| Tensor::offset(tensor) + 4 * element;
                let (bind, before) = Bind::range(&self.gpu, name, tensor, at(start)..at(end));
                (bind, (before / 4) as u32)
            };
            let ((bind_d, d), (bind_x, x), (bind_y, y)) = (bind("d", &self.diagonal), bind("x", x), bind("y", y));
            let constants = DiagonalConstants { d, x, y, count: (end - start) as u32 };
            let work = Work::strided((end - start).div_ceil(256), 0);
            recording.dispatch_with(&self.gpu, &kernel, work, &constants, vec![bind_d, bind_x, bind_y])?;
        }
        Ok(())
    }
}

/// An operator that a function records, of the caller's own kernels for instance, which
/// [`Recording::custom`] appends.
///
/// ```
/// use gradus::krylov::{FromFn, LinearOperator};
/// use gradus::{Gpu, Recording, Result, Tensor, vector};
///
/// # fn example(gpu: &Gpu, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
/// let twice = FromFn::new(gpu, 100, |recording, x, y| {
///     vector::copy(gpu, recording, x, y)?;
///     vector::scale(gpu, recording, 2.0, y)
/// })?;
/// twice.record(recording, x, y)
/// # }
/// ```
pub struct FromFn<F> {
    gpu: Gpu,
    dim: usize,
    record: F,
}

impl<F: Fn(&mut Recording, &Tensor, &Tensor) -> Result<()>> FromFn<F> {
    /// Of `dim` rows and columns; `record` appends `y = A x` for `x` and `y` of shape `[dim]`, which have been
    /// checked. It must not keep what it was given: a solver may record more than one product.
    ///
    /// # Errors
    /// [`Error::Option`] if `dim` is 0.
    pub fn new(gpu: &Gpu, dim: usize, record: F) -> Result<Self> {
        match dim {
            0 => Err(Error::Option { option: "dim".into(), found: "0".into(), expected: "at least 1".into() }),
            _ => Ok(Self { gpu: gpu.clone(), dim, record }),
        }
    }
}

impl<F: Fn(&mut Recording, &Tensor, &Tensor) -> Result<()>> LinearOperator for FromFn<F> {
    fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn record(&self, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
        expect_vectors(x, y, self.dim)?;
        (self.record)(recording, &x.reshape(&[self.dim])?, &y.reshape(&[self.dim])?)
    }
}

/// `A + B`.
pub struct Sum<A, B> {
    first: A,
    second: B,
    product: Tensor,
}

impl<A: LinearOperator, B: LinearOperator> Sum<A, B> {
    /// Of two operators on the same device, or references to them. It has a vector of its own for the second
    /// product.
    ///
    /// # Errors
    /// [`Error::Length`] if they differ in size, [`Error::LimitTooSmall`], [`Error::OutOfMemory`].
    pub fn new(first: A, second: B) -> Result<Self> {
        let (expected, found) = (first.dim(), second.dim());
        if expected != found {
            return Err(Error::Length { tensor: "second operator".into(), unit: "rows", expected, found });
        }
        let product = Tensor::zeros(first.gpu(), &[expected], DType::F32)?;
        Ok(Self { first, second, product })
    }
}

impl<A: LinearOperator, B: LinearOperator> LinearOperator for Sum<A, B> {
    fn gpu(&self) -> &Gpu {
        self.first.gpu()
    }

    fn dim(&self) -> usize {
        self.first.dim()
    }

    fn record_prepare(&self, recording: &mut Recording) -> Result<()> {
        self.first.record_prepare(recording)?;
        self.second.record_prepare(recording)
    }

    fn record(&self, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
        expect_vectors(x, y, self.dim())?;
        self.first.record(recording, x, y)?;
        self.second.record(recording, x, &self.product)?;
        vector::axpy(self.gpu(), recording, 1.0, &self.product, &y.reshape(&[self.dim()])?)
    }
}

/// `factor·A`.
pub struct Scaled<'a, A> {
    operator: A,
    factor: Scalar<'a>,
}

impl<'a, A: LinearOperator> Scaled<'a, A> {
    /// Of an operator or a reference to one. A factor on the device is read at each product. It must not be 0 where a solver is
    /// given the product: the range is said to be that of the operator.
    pub fn new(operator: A, factor: impl Into<Scalar<'a>>) -> Self {
        Self { operator, factor: factor.into() }
    }
}

impl<A: LinearOperator> LinearOperator for Scaled<'_, A> {
    fn gpu(&self) -> &Gpu {
        self.operator.gpu()
    }

    fn dim(&self) -> usize {
        self.operator.dim()
    }

    fn record_prepare(&self, recording: &mut Recording) -> Result<()> {
        self.operator.record_prepare(recording)
    }

    fn record(&self, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
        expect_vector("y", y, self.dim())?;
        self.operator.record(recording, x, y)?;
        vector::scale(self.gpu(), recording, self.factor, y)
    }

    /// As of the operator itself: the factor is not 0.
    fn record_project(&self, recording: &mut Recording, x: &Tensor) -> Result<()> {
        self.operator.record_project(recording, x)
    }
}

/// `A + sigma·I`: damping, or a shift of the spectrum.
///
/// A preconditioner for it must approximate (A + σI)⁻¹. One that approximates A⁻¹ does harm from about σ = λ on, λ being the smallest
/// eigenvalue of A: it magnifies the vectors that A shrinks, which A + σI does not. For the Laplacian of 64² open cells and a
/// tolerance of 1e-6, conjugate gradients take 139, 62 and 20 iterations for σ = 0.01, 0.1 and 1 without a preconditioner, and 12, 21
/// and 51 with a multigrid cycle for the Laplacian itself.
pub struct Shifted<'a, A> {
    operator: A,
    shift: Scalar<'a>,
}

impl<'a, A: LinearOperator> Shifted<'a, A> {
    /// Of an operator or a reference to one. A shift on the device is read at each product, so that it can
    /// change between two of them without anything being recorded anew.
    pub fn new(operator: A, shift: impl Into<Scalar<'a>>) -> Self {
        Self { operator, shift: shift.into() }
    }
}

impl<A: LinearOperator> LinearOperator for Shifted<'_, A> {
    fn gpu(&self) -> &Gpu {
        self.operator.gpu()
    }

    fn dim(&self) -> usize {
        self.operator.dim()
    }

    fn record_prepare(&self, recording: &mut Recording) -> Result<()> {
        self.operator.record_prepare(recording)
    }

    fn record(&self, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
        expect_vectors(x, y, self.dim())?;
        self.operator.record(recording, x, y)?;
        let flat = [self.dim()];
        vector::axpy(self.gpu(), recording, self.shift, &x.reshape(&flat)?, &y.reshape(&flat)?)
    }
}
