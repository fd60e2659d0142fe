use super::grid::{Cell, Grid};
use super::null_space::NullSpace;
use super::rows::{Rows, codes, padded};
use super::vectors::Vectors;
use crate::gpu::{Gpu, Recording, Tensor};
use crate::krylov::LinearOperator;
use crate::krylov::operator::{expect_dot, expect_vector, expect_vectors};
use crate::{Result, shaders};

/// `A = -Δ·h²` on the fluid cells of a [`Grid`], without a matrix, and what its weights, spacing, periodic axes and mass make of it.
/// By flags alone the diagonal counts the neighbours that are not solid, and each fluid neighbour is a -1. Rows and columns of other cells
/// are 0. A product moves 10 bytes a cell by flags; of all else 20 in two dimensions and 24 in three.
///
/// A is symmetric and positive semidefinite. It is singular where fluid touches no air and has no mass: constants on each such
/// component are its null space, and [`LinearOperator::record_project`] projects onto its range. A component on which a
/// vector is constant, bit for bit, is projected to exact zeros.
///
/// ```
/// use gradus::krylov::{Cg, CgOptions, Status};
/// use gradus::poisson::{Grid, Laplacian};
/// use gradus::{DType, Gpu, Tensor};
///
/// # async fn solve() -> gradus::Result<()> {
/// let gpu = Gpu::headless().await?;
/// let grid = Grid::new(&[32, 32])?.with_open(&[[true, true], [true, true]])?;
/// let laplacian = Laplacian::new(&gpu, &grid)?;
/// let divergence = Tensor::from_slice(&gpu, &[32, 32], &[1.0f32; 32 * 32])?;
/// let pressure = Tensor::zeros(&gpu, &[32, 32], DType::F32)?;
/// // with a default of 1e-5, f32 would be the limit for so smooth a right-hand side
/// let options = CgOptions { relative_tolerance: 1e-4, ..Default::default() };
/// let mut cg = Cg::new(&laplacian, None, &divergence, &pressure, &options)?;
/// assert_eq!(cg.solve().await?.status, Status::Converged);
/// # Ok(())
/// # }
/// # if let Err(error) = pollster::block_on(solve()) {
/// #     assert!(matches!(error, gradus::Error::NoAdapter { .. }), "{error}");
/// # }
/// ```
pub struct Laplacian {
    vectors: Vectors,
    rows: Rows,
    null_space: NullSpace,
}

impl Laplacian {
    /// Of what `grid` has now.
    ///
    /// # Errors
    /// [`Error::LimitTooSmall`](crate::Error::LimitTooSmall) if a vector over the cells, or the weights of more than flags, are larger
    /// than a binding may be; [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn new(gpu: &Gpu, grid: &Grid) -> Result<Self> {
        let mut vectors = Vectors::new(gpu, grid, "a Laplacian")?;
        let rows = Rows::new(gpu, grid, &mut vectors)?;
        Ok(Self { vectors, rows, null_space: NullSpace::new(gpu, grid)? })
    }

    /// Of several grids of equal sizes as one matrix, for products alone. Cells know their neighbours by codes and
    /// distances, and there is no neighbour beyond a domain: grids may lie one after another.
    pub(super) fn of_all(gpu: &Gpu, grids: &[Grid]) -> Result<Self> {
        let mut sizes = grids.first().map_or_else(Vec::new, |grid| grid.sizes().to_vec());
        sizes.iter_mut().take(1).for_each(|size| *size = size.saturating_mul(grids.len()));
        // no cell of it is fluid, so that nothing has to be found out about its components
        let solid = Grid::new(&sizes)?;
        let flags = vec![Cell::Solid as u8; solid.len()];
        let laplacian = Self::new(gpu, &solid.with_flags(&flags)?)?;
        laplacian.write(grids).map(|()| laplacian)
    }

    /// Puts other grids of the same sizes in place of [`Laplacian::of_all`].
    pub(super) fn write(&self, grids: &[Grid]) -> Result<()> {
        grids.iter().try_for_each(|grid| grid.expect_flagged("several grids as one"))?;
        let codes = padded(grids.iter().flat_map(codes).collect());
        self.vectors.gpu().write(self.rows.codes(), 0, bytemuck::cast_slice(&codes))
    }

    /// Appends the product, with partial sums of ⟨x, y⟩ where `dot` is set.
    fn product(&self, recording: &mut Recording, x: &Tensor, y: &Tensor, dot: bool) -> Result<()> {
        self.vectors.map(recording, x, y, |recording, x, y| {
            let defines: &[_] = if dot { &["DOT"] } else { &[] };
            self.rows.record(recording, &self.vectors, &shaders::poisson::LAPLACIAN, defines, &[("x", x), ("y", y)])
        })
    }
}

impl LinearOperator for Laplacian {
    fn gpu(&self) -> &Gpu {
        self.vectors.gpu()
    }

    fn dim(&self) -> usize {
        self.vectors.dim()
    }

    fn record(&self, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
        expect_vectors(x, y, self.dim())?;
        self.product(recording, x, y, false)
    }

    fn record_dot(&self, recording: &mut Recording, x: &Tensor, y: &Tensor, dot: &Tensor) -> Result<()> {
        expect_vectors(x, y, self.dim())?;
        expect_dot(dot, [("x", x), ("y", y)])?;
        self.product(recording, x, y, true)?;
        self.vectors.sum(recording, 1.0, dot)
    }

    /// Takes its mean from each component of fluid that touches no air, and makes cells that are not fluid 0. A right-hand
    /// side needs it for there to be a solution; applied to one, it yields that of mean 0.
    /// The values of a component are added up in f32: where their sum is beyond 3.4e38, they become infinite or NaN.
    fn record_project(&self, recording: &mut Recording, x: &Tensor) -> Result<()> {
        expect_vector("x", x, self.dim())?;
        if self.null_space.is_empty() {
            return Ok(());
        }
        self.vectors.update(recording, x, |recording, x| self.null_space.record(recording, &self.vectors, x))
    }
}
