use wgpu::BufferUsages;

use super::grid::{Cell, Grid};
use super::null_space::NullSpace;
use super::vectors::Vectors;
use crate::gpu::{Gpu, Recording, Tensor};
use crate::krylov::LinearOperator;
use crate::krylov::operator::{expect_dot, expect_vector, expect_vectors};
use crate::{Result, shaders};

/// `A = -Δ·h²` on the fluid cells of a [`Grid`], without a matrix: the diagonal counts the neighbours that are not
/// solid, and each fluid neighbour is a -1. Rows and columns of other cells are 0.
///
/// A is symmetric and positive semidefinite. It is singular where fluid touches no air: constants on each such
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
    stencil: [(&'static str, u32); 2],
    /// Of each cell, two a word: see shaders/shared/codes.wgsl.
    codes: wgpu::Buffer,
    null_space: NullSpace,
}

impl Laplacian {
    /// Of the cells that `grid` has now.
    ///
    /// # Errors
    /// [`Error::LimitTooSmall`](crate::Error::LimitTooSmall) if a vector over the cells is larger than a binding may be;
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn new(gpu: &Gpu, grid: &Grid) -> Result<Self> {
        let vectors = Vectors::new(gpu, grid, "a Laplacian")?;
        Ok(Self { vectors, stencil: grid.stencil(), codes: upload_codes(gpu, grid)?, null_space: NullSpace::new(gpu, grid)? })
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
        let codes = padded(grids.iter().flat_map(codes).collect());
        self.vectors.gpu().write(&self.codes, 0, bytemuck::cast_slice(&codes))
    }

    /// Appends the product, with partial sums of ⟨x, y⟩ where `dot` is set.
    fn product(&self, recording: &mut Recording, x: &Tensor, y: &Tensor, dot: bool) -> Result<()> {
        self.vectors.map(recording, x, y, |recording, x, y| {
            let vectors = [("x", x), ("y", y)];
            let (over, others) = (&self.vectors.over, [("codes", &self.codes)]);
            let source = &shaders::poisson::LAPLACIAN;
            match dot {
                true => over.record_sums_with(recording, source, &["DOT"], &self.stencil, &vectors, &others),
                false => over.record_with(recording, source, &[], &self.stencil, &vectors, &others),
            }
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

/// The codes of all cells: see shaders/shared/codes.wgsl.
pub(super) fn codes(grid: &Grid) -> impl Iterator<Item = u16> {
    grid.all_neighbours().map(|(cell, neighbours)| match cell {
        Cell::Fluid => neighbours.iter().enumerate().fold(0, |code, (k, (cell, _))| match cell {
            Cell::Fluid => (code | 1 << k) + (1 << 6),
            Cell::Air => code + (1 << 6),
            Cell::Solid => code,
        }),
        _ => 0,
    })
}

/// [`codes`], two a word, padded to cells of four.
pub(super) fn upload_codes(gpu: &Gpu, grid: &Grid) -> Result<wgpu::Buffer> {
    let codes = padded(codes(grid).collect());
    gpu.buffer_with("gradus.poisson.codes", bytemuck::cast_slice(&codes), BufferUsages::STORAGE | BufferUsages::COPY_DST)
}

fn padded(mut codes: Vec<u16>) -> Vec<u16> {
    codes.resize(codes.len().next_multiple_of(4), 0);
    codes
}
