use super::grid::Grid;
use super::rows::upload_codes;
use super::vectors::Vectors;
use crate::gpu::{Gpu, Recording, Tensor};
use crate::krylov::LinearOperator;
use crate::krylov::operator::{expect_dot, expect_vectors};
use crate::{Result, shaders};

/// `z = D⁻¹ r` with the diagonal of the [`Laplacian`](super::Laplacian) of a [`Grid`], and 0 where that is 0: in cells that
/// are not fluid, or have solid all around.
///
/// As a preconditioner it is worth little where most cells have as many neighbours.
pub struct Jacobi {
    vectors: Vectors,
    /// See shaders/shared/codes.wgsl.
    codes: wgpu::Buffer,
}

impl Jacobi {
    /// Of the cells that `grid` has now.
    ///
    /// # Errors
    /// As [`Laplacian::new`](super::Laplacian::new).
    pub fn new(gpu: &Gpu, grid: &Grid) -> Result<Self> {
        Ok(Self {
            vectors: Vectors::new(gpu, grid, "a Jacobi preconditioner")?,
            codes: upload_codes(gpu, grid, "a Jacobi preconditioner")?,
        })
    }
}

impl LinearOperator for Jacobi {
    fn gpu(&self) -> &Gpu {
        self.vectors.gpu()
    }

    fn dim(&self) -> usize {
        self.vectors.dim()
    }

    fn record(&self, recording: &mut Recording, r: &Tensor, z: &Tensor) -> Result<()> {
        expect_vectors(r, z, self.dim())?;
        self.vectors.map(recording, r, z, |recording, r, z| {
            self.vectors.over.record(recording, &shaders::poisson::JACOBI, &[], &[("r", r), ("z", z)], &[("codes", &self.codes)])
        })
    }

    fn record_dot(&self, recording: &mut Recording, r: &Tensor, z: &Tensor, dot: &Tensor) -> Result<()> {
        expect_dot(dot, [("r", r), ("z", z)])?;
        self.record(recording, r, z)?;
        self.vectors.dot(recording, [r, z], dot)
    }
}
