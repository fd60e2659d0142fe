//! Products with the inverse of a damped matrix.

use crate::gpu::{DType, Gpu, Recording, Tensor};
use crate::krylov::{Cg, CgOptions, LinearOperator, Preconditioner, Report, Shifted};
use crate::{Error, Result, vector};

/// The inverse of `A + damping·I`, which must be symmetric and positive definite, by conjugate gradients.
///
/// ```
/// use gradus::Tensor;
/// use gradus::curvature::Inverse;
/// use gradus::krylov::{CgOptions, LinearOperator};
///
/// # async fn example(hessian: &dyn LinearOperator, gradient: &Tensor, step: &Tensor) -> gradus::Result<()> {
/// let mut inverse = Inverse::new(hessian, 1e-3, None, &CgOptions::default())?;
/// let report = inverse.solve(gradient, step).await?; // step = (H + 0.001 I)⁻¹ gradient
/// println!("{:?} after {} iterations", report.status, report.iterations);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Inverse {
    gpu: Gpu,
    cg: Cg,
    /// One f32, which the operator that was recorded reads.
    damping: Tensor,
    b: Tensor,
    x: Tensor,
}

impl Inverse {
    /// Records the iterations. Whatever the operator and the preconditioner depend on may change between
    /// solutions. `damping` is in the units of the eigenvalues; it may be 0, or negative if what
    /// results is still positive definite.
    ///
    /// # Errors
    /// [`Error::Option`] if `damping` is not finite in f32; those of [`Cg::new`].
    pub fn new(
        operator: &dyn LinearOperator,
        damping: f64,
        preconditioner: Option<&dyn Preconditioner>,
        options: &CgOptions,
    ) -> Result<Self> {
        let gpu = operator.gpu();
        let damping = Tensor::from_slice(gpu, &[1], &[finite(damping)?])?;
        let (b, x) = (Tensor::zeros(gpu, &[operator.dim()], DType::F32)?, Tensor::zeros(gpu, &[operator.dim()], DType::F32)?);
        let cg = Cg::new(&Shifted::new(operator, &damping), preconditioner, &b, &x, options)?;
        Ok(Self { gpu: gpu.clone(), cg, damping, b, x })
    }

    /// Changes the damping of solutions from now on.
    ///
    /// # Errors
    /// [`Error::Option`] if it is not finite in f32.
    pub fn set_damping(&mut self, damping: f64) -> Result<()> {
        self.damping.write(&self.gpu, &[finite(damping)?])
    }

    /// `x = (A + damping·I)⁻¹ b`, from what `x` holds, for vectors of `dim` elements of f32 in any shape. See
    /// [`Cg::solve`] for what it submits, when it ends, and what it makes of zeros, NaN and infinity, and [`Status`](crate::krylov::Status) for what `x` then is.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::DType`] or [`Error::Overlap`] if `b` or `x` is not such a vector or they
    /// overlap; those of [`Cg::solve`].
    pub async fn solve(&mut self, b: &Tensor, x: &Tensor) -> Result<Report> {
        for (name, vector) in [("b", b), ("x", x)] {
            vector.expect_dtype(name, &[DType::F32])?;
            if vector.len() != self.x.len() {
                return Err(Error::Length { tensor: name.into(), unit: "elements", expected: self.x.len(), found: vector.len() });
            }
        }
        b.expect_apart("b", x, "x")?;
        let caller = x.reshape(self.x.shape())?;
        let (mut load, mut store) = (Recording::new(), Recording::new());
        vector::copy(&self.gpu, &mut load, &b.reshape(self.b.shape())?, &self.b)?;
        vector::copy(&self.gpu, &mut load, &caller, &self.x)?;
        vector::copy(&self.gpu, &mut store, &self.x, &caller)?;
        self.gpu.execute([&load])?;
        let report = self.cg.solve().await?;
        self.gpu.execute([&store])?;
        Ok(report)
    }
}

/// As the device takes it.
fn finite(damping: f64) -> Result<f32> {
    match damping as f32 {
        rounded if rounded.is_finite() => Ok(rounded),
        _ => Err(Error::Option { option: "damping".into(), found: damping.to_string(), expected: "a finite f32".into() }),
    }
}
