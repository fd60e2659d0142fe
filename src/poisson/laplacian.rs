use wgpu::BufferUsages;

use super::grid::{Cell, Grid};
use super::null_space::NullSpace;
use crate::gpu::{Bind, Gpu, Recording, Tensor};
use crate::krylov::LinearOperator;
use crate::krylov::blocks::{self, Blocks};
use crate::krylov::operator::{expect_vector, expect_vectors};
use crate::shaders::layout::LaplacianDotConstants;
use crate::{Error, Result, shaders, vector};

/// `A = -Δ·h²` on the fluid cells of a [`Grid`], without a matrix: the diagonal counts the neighbours that are not
/// solid, and each fluid neighbour is a -1. Rows and columns of other cells are 0.
///
/// A is symmetric and positive semidefinite. It is singular where fluid touches no air: constants on each such
/// component are its null space, and [`LinearOperator::record_project`] projects onto its range.
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
/// let mut cg = Cg::new(&laplacian, None, &divergence, &pressure, &CgOptions::default())?;
/// assert_eq!(cg.solve().await?.status, Status::Converged);
/// # Ok(())
/// # }
/// # if let Err(error) = pollster::block_on(solve()) {
/// #     assert!(matches!(error, gradus::Error::NoAdapter { .. }), "{error}");
/// # }
/// ```
pub struct Laplacian {
    gpu: Gpu,
    dim: usize,
    /// From row to row and from plane to plane.
    strides: [u32; 2],
    /// Of each cell, two a word: see shaders/poisson/laplacian.wgsl.
    codes: wgpu::Buffer,
    over: Blocks,
    null_space: NullSpace,
    /// For vectors that the kernel cannot take where they are.
    own: [Tensor; 2],
}

impl Laplacian {
    /// Of the cells that `grid` has now.
    ///
    /// # Errors
    /// [`Error::LimitTooSmall`] if a vector over the cells is larger than a binding may be;
    /// [`Error::OutOfMemory`].
    pub fn new(gpu: &Gpu, grid: &Grid) -> Result<Self> {
        let dim = grid.len();
        let over = Blocks::new(gpu, dim)?;
        if !over.in_one_range() {
            let (needed, found) = (16 * (dim as u64).div_ceil(4), gpu.limits().max_storage_buffer_binding_size);
            let what = format!("a Laplacian of {:?} cells", grid.sizes());
            return Err(Error::LimitTooSmall { limit: "max_storage_buffer_binding_size", what, needed, found });
        }
        let mut codes: Vec<u16> = (0..dim).map(|i| code(grid, i)).collect();
        codes.resize(dim.next_multiple_of(4), 0);
        let strides = grid.strides();
        let small = |axis: Option<&usize>| axis.map_or(0, |&stride| stride as u32);
        Ok(Self {
            gpu: gpu.clone(),
            dim,
            strides: [small(strides.iter().rev().nth(1)), small(strides.iter().rev().nth(2))],
            codes: gpu.buffer_with("gradus.laplacian.codes", bytemuck::cast_slice(&codes), BufferUsages::STORAGE)?,
            over,
            null_space: NullSpace::new(gpu, grid)?,
            own: [blocks::vector(gpu, dim)?, blocks::vector(gpu, dim)?],
        })
    }

    /// Appends the product, with partial sums of ⟨x, y⟩ where `dot` is set.
    fn product(&self, recording: &mut Recording, x: &Tensor, y: &Tensor, dot: bool) -> Result<()> {
        let flat = [self.dim];
        let [own_x, own_y] = &self.own;
        let in_place = self.takes(x) && self.takes(y) && !x.shares_buffer(y);
        let (from, to) = if in_place { (x, y) } else { (own_x, own_y) };
        if !in_place {
            vector::copy(&self.gpu, recording, &x.reshape(&flat)?, own_x)?;
        }
        let vectors = [("x", from), ("y", to)];
        let [stride_y, stride_z] = self.strides;
        let overrides = [("STRIDE_Y", stride_y), ("STRIDE_Z", stride_z)];
        let others = [("codes", &self.codes)];
        let source = &shaders::poisson::LAPLACIAN;
        match dot {
            true => self.over.record_sums_with(recording, source, &["DOT"], &overrides, &vectors, &others)?,
            false => self.over.record_with(recording, source, &[], &overrides, &vectors, &others)?,
        }
        match in_place {
            true => Ok(()),
            false => vector::copy(&self.gpu, recording, own_y, &y.reshape(&flat)?),
        }
    }

    /// Whether whole cells of four of the tensor can be bound, and written without touching anything else.
    fn takes(&self, tensor: &Tensor) -> bool {
        let whole = self.dim.is_multiple_of(4) || tensor.buffer().size() == 4 * self.dim.next_multiple_of(4) as u64;
        tensor.offset() == 0 && whole
    }
}

impl LinearOperator for Laplacian {
    fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn record(&self, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
        expect_vectors(x, y, self.dim)?;
        self.product(recording, x, y, false)
    }

    fn record_dot(&self, recording: &mut Recording, x: &Tensor, y: &Tensor, dot: &Tensor) -> Result<()> {
        expect_vectors(x, y, self.dim)?;
        expect_vector("dot", dot, 1)?;
        for (name, vector) in [("x", x), ("y", y)] {
            dot.expect_apart("dot", vector, name)?;
        }
        if dot.offset() != 0 {
            self.product(recording, x, y, false)?;
            let flat = [self.dim];
            return vector::dot(&self.gpu, recording, &x.reshape(&flat)?, &y.reshape(&flat)?, dot);
        }
        self.product(recording, x, y, true)?;
        let (partials, count) = self.over.partials();
        let kernel = self.gpu.kernel(&shaders::poisson::LAPLACIAN_DOT, &[], &[])?;
        let bindings = vec![partials, Bind::tensor(&self.gpu, "result", dot).0];
        recording.dispatch_with(&self.gpu, &kernel, 1, &LaplacianDotConstants { partials: count }, bindings)
    }

    /// Takes its mean from each component of fluid that touches no air, and makes cells that are not fluid 0. A right-hand
    /// side needs it for there to be a solution; applied to one, it yields that of mean 0.
    fn record_project(&self, recording: &mut Recording, x: &Tensor) -> Result<()> {
        expect_vector("x", x, self.dim)?;
        self.null_space.record(recording, x)
    }
}

/// The code of a cell: see shaders/poisson/laplacian.wgsl.
pub(super) fn code(grid: &Grid, i: usize) -> u16 {
    if grid.cells()[i] != Cell::Fluid {
        return 0;
    }
    // in two dimensions the bits of the slowest axis stay empty
    let first = 2 * (3 - grid.sizes().len());
    grid.neighbours(i).enumerate().fold(0, |code, (k, (cell, _))| match cell {
        Cell::Fluid => (code | 1 << (first + k)) + (1 << 6),
        Cell::Air => code + (1 << 6),
        Cell::Solid => code,
    })
}
