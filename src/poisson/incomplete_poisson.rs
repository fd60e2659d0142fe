use super::grid::Grid;
use super::rows::upload_codes;
use super::vectors::Vectors;
use crate::gpu::{Gpu, Recording, Tensor};
use crate::krylov::LinearOperator;
use crate::krylov::operator::{expect_dot, expect_vectors};
use crate::{Result, shaders};

/// `z = K Kᵀ r`, `K = I - L D⁻¹`, with the strict lower part L and the diagonal D of the [`Laplacian`](super::Laplacian) of a
/// [`Grid`]: the incomplete Poisson preconditioner of Ament, Knittel, Weiskopf and Straßer ("A parallel preconditioned
/// conjugate gradient solver for the Poisson problem on a multi-GPU platform", PDP 2010). It is symmetric and positive
/// definite on the cells whose diagonal is not 0; elsewhere z is 0.
///
/// One dispatch of 10 bytes a cell, for about half the iterations.
pub struct IncompletePoisson {
    vectors: Vectors,
    stencil: [(&'static str, u32); 2],
    /// See shaders/shared/codes.wgsl.
    codes: wgpu::Buffer,
}

impl IncompletePoisson {
    /// Of the cells that `grid` has now.
    ///
    /// # Errors
    /// As [`Laplacian::new`](super::Laplacian::new).
    pub fn new(gpu: &Gpu, grid: &Grid) -> Result<Self> {
        let vectors = Vectors::new(gpu, grid, "an incomplete Poisson preconditioner")?;
        Ok(Self { vectors, stencil: grid.stencil(), codes: upload_codes(gpu, grid, "an incomplete Poisson preconditioner")? })
    }
}

impl LinearOperator for IncompletePoisson {
    fn gpu(&self) -> &Gpu {
        self.vectors.gpu()
    }

    fn dim(&self) -> usize {
        self.vectors.dim()
    }

    fn record(&self, recording: &mut Recording, r: &Tensor, z: &Tensor) -> Result<()> {
        expect_vectors(r, z, self.dim())?;
        self.vectors.map(recording, r, z, |recording, r, z| {
            let (source, vectors, others) = (&shaders::poisson::INCOMPLETE_POISSON, [("r", r), ("z", z)], [("codes", &self.codes)]);
            self.vectors.over.record_with(recording, source, &[], &self.stencil, &vectors, &others)
        })
    }

    fn record_dot(&self, recording: &mut Recording, r: &Tensor, z: &Tensor, dot: &Tensor) -> Result<()> {
        expect_dot(dot, [("r", r), ("z", z)])?;
        self.record(recording, r, z)?;
        self.vectors.dot(recording, [r, z], dot)
    }
}
