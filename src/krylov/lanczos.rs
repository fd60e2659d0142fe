//! The Lanczos iteration.

use super::blocks;
use super::operator::{LinearOperator, expect_rows, expect_vector};
use super::scaling::Scaling;
use super::tridiagonal::{Ritz, eigen};
use crate::gpu::{Bind, Gpu, Recording, Tensor, Work, binding_alignment, read_all};
use crate::shaders::layout::{LanczosConstants, LanczosState, NormalizeConstants};
use crate::vector::{self, Rows, tiles};
use crate::{DType, Error, Result, shaders};

/// The steps of a submission: few enough for the device not to be thought hung.
const STEPS_AT_ONCE: usize = 16;

/// Options of [`lanczos`].
#[derive(Clone, Debug, PartialEq)]
pub struct LanczosOptions {
    /// The most steps, each a product and a vector of the basis to keep; no more than the operator's dimension
    /// are taken. Default: 100.
    pub steps: usize,
    /// Of the random start vector, where none is given. Default: 0.
    pub seed: u64,
}

impl Default for LanczosOptions {
    fn default() -> Self {
        Self { steps: 100, seed: 0 }
    }
}

/// Why a Lanczos iteration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LanczosEnd {
    /// All steps were taken.
    Steps,
    /// The basis spans an invariant subspace, but for rounding: its Ritz values are eigenvalues.
    Breakdown,
    /// A product is infinite or not a number. The steps before it are right.
    NonFinite,
}

/// The result of [`lanczos`]: `A Q = Q T + beta_m q_{m+1} e_mᵀ` for m steps, with orthonormal Q and
/// tridiagonal T.
#[derive(Clone, Debug)]
pub struct Lanczos {
    /// The diagonal of T, `[m]`.
    pub alpha: Vec<f64>,
    /// Beside the diagonal of T, and in the end the norm of the residual `beta_m`, `[m]`.
    pub beta: Vec<f64>,
    /// Why there are not more steps.
    pub end: LanczosEnd,
    gpu: Gpu,
    basis: Basis,
    ritz: Ritz,
    /// The eigenvectors of T, in the order of `ritz`.
    vectors: Vec<Vec<f64>>,
}

/// `steps` Lanczos steps with full reorthogonalisation (Paige 1972; Golub and Van Loan 2013, section 10.3),
/// from `start` or a random normal vector. The operator is to be symmetric, which is not checked.
///
/// Every vector of the basis is kept, so this takes 4·steps·dim bytes, and each is read four times in each
/// later step: two passes of classical Gram-Schmidt, after which rounding has left neither copies of
/// eigenvalues nor a loss of orthogonality above a few units of 1e-7 (Giraud et al. 2005). The device goes
/// through all steps, in submissions of 16, before the host looks.
///
/// A residual of norm at most 64·eps·‖A‖, the latter estimated from the coefficients, is a breakdown, and ends
/// the iteration. So it does after one step for a multiple of the identity, the zero operator or one row.
///
/// The scale of the operator and of `start` does not matter, as long as products are normal numbers of f32: norms are taken of
/// vectors divided by their largest magnitude. From one start vector each eigenvalue is found once, whatever its
/// multiplicity: see [`eigenpairs`](super::eigenpairs()). A product that is infinite or NaN ends the iteration with
/// [`LanczosEnd::NonFinite`].
///
/// # Errors
/// [`Error::Option`] if `steps` is 0 or `start` is zero or not finite; [`Error::Length`] if the operator has no rows; [`Error::Length`] or [`Error::DType`] if
/// `start` is not `dim` elements of f32; [`Error::LimitTooSmall`] or [`Error::OutOfMemory`] if the basis does
/// not fit in a buffer; [`Error::DeviceLost`]; what recording a product may fail with.
pub async fn lanczos(operator: &dyn LinearOperator, start: Option<&Tensor>, options: &LanczosOptions) -> Result<Lanczos> {
    if options.steps == 0 {
        return Err(Error::Option { option: "steps".into(), found: "0".into(), expected: "at least 1".into() });
    }
    expect_rows(operator)?;
    let steps = options.steps.min(operator.dim());
    let mut iteration = Iteration::new(operator, steps)?;
    match start {
        Some(start) => iteration.begin(start)?,
        None => iteration.begin_at_random(options.seed, 0)?,
    }
    iteration.advance(steps);
    iteration.look().await?;
    iteration.finish()
}

impl Lanczos {
    /// Ritz values in descending order, with what tells their weight and accuracy.
    #[must_use]
    pub fn ritz(&self) -> &Ritz {
        &self.ritz
    }

    /// The number of steps taken, and of vectors of the basis.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.alpha.len()
    }

    /// Vector `j` of the basis, `[dim]`; the first is the start vector, of norm one. `None` beyond the steps.
    #[must_use]
    pub fn basis(&self, j: usize) -> Option<Tensor> {
        match j < self.steps() {
            true => self.basis.row(j).ok(),
            false => None,
        }
    }

    /// The Ritz vectors of the values at `indices` in [`Lanczos::ritz`], as the rows of a new tensor
    /// [indices.len(), dim]. Submits the work for it.
    ///
    /// # Errors
    /// [`Error::Option`] for an index beyond the steps; [`Error::LimitTooSmall`], [`Error::OutOfMemory`].
    pub fn ritz_vectors(&self, indices: &[usize]) -> Result<Tensor> {
        let mut coefficients = Vec::with_capacity(indices.len());
        for &index in indices {
            let Some(vector) = self.vectors.get(index) else {
                let expected = format!("less than {}", self.steps());
                return Err(Error::Option { option: "index".into(), found: index.to_string(), expected });
            };
            coefficients.push(vector.iter().map(|&s| s as f32).collect::<Vec<f32>>());
        }
        self.basis.combinations(&self.gpu, self.steps(), &coefficients)
    }
}

/// Vectors as the rows of a matrix, each padded with zeros to a whole number of cells.
#[derive(Clone, Debug)]
struct Basis {
    matrix: Tensor,
    capacity: usize,
    dim: usize,
}

impl Basis {
    fn new(gpu: &Gpu, capacity: usize, dim: usize) -> Result<Self> {
        let matrix = Tensor::zeros(gpu, &[capacity, dim.next_multiple_of(4)], DType::F32)?;
        Ok(Self { matrix, capacity, dim })
    }

    fn stride(&self) -> usize {
        self.dim.next_multiple_of(4)
    }

    fn rows<'a>(&'a self, active: Option<&'a wgpu::Buffer>) -> Rows<'a> {
        Rows { matrix: &self.matrix, rows: self.capacity, columns: self.dim, stride: self.stride(), active }
    }

    /// Submits sums of the first `steps` rows, each with other coefficients: the rows of a new tensor.
    fn combinations(&self, gpu: &Gpu, steps: usize, coefficients: &[Vec<f32>]) -> Result<Tensor> {
        let n = self.dim;
        let result = Tensor::zeros(gpu, &[coefficients.len(), n], DType::F32)?;
        let sum = blocks::vector(gpu, n)?;
        let mut recording = Recording::new();
        for (i, coefficients) in coefficients.iter().enumerate() {
            let s = Tensor::from_slice(gpu, &[coefficients.len()], coefficients)?;
            let rows = Rows { rows: steps, ..self.rows(None) };
            rows.combination(gpu, &mut recording, 1.0, &s, 0.0, &sum)?;
            let row = result.within(4 * (i * n) as u64, &[n], DType::F32)?;
            vector::copy(gpu, &mut recording, &sum, &row)?;
        }
        gpu.submit([&recording]);
        Ok(result)
    }

    fn row(&self, j: usize) -> Result<Tensor> {
        self.matrix.within(4 * (j * self.stride()) as u64, &[self.dim], DType::F32)
    }
}

/// A Lanczos iteration on the device: the state, the recordings that advance it, and what the host has
/// seen of it.
pub(super) struct Iteration {
    gpu: Gpu,
    dim: usize,
    basis: Basis,
    /// A vector to be made orthogonal to the basis: the product, or the beginning of a block.
    pub w: Tensor,
    /// The last vector of the basis, to which the operator is applied.
    pub q: Tensor,
    state: Tensor,
    coefficients: Tensor,
    /// What must run before the first product.
    prepare: Recording,
    /// Makes `w` the first vector of a block.
    begin: Recording,
    /// `w = A q`
    pub product: Recording,
    /// The rest of a step.
    step: Recording,
    pub seen: Seen,
}

/// What the host has seen of an iteration.
#[derive(Default)]
pub(super) struct Seen {
    pub alpha: Vec<f64>,
    pub beta: Vec<f64>,
    /// `stop` in `shared/lanczos_state.wgsl`.
    stop: u32,
}

impl Seen {
    pub fn end(&self) -> LanczosEnd {
        match self.stop {
            1 => LanczosEnd::Breakdown,
            2 => LanczosEnd::NonFinite,
            _ => LanczosEnd::Steps,
        }
    }
}

impl Iteration {
    /// Of at most `capacity` steps.
    pub fn new(operator: &dyn LinearOperator, capacity: usize) -> Result<Self> {
        let (gpu, dim) = (operator.gpu(), operator.dim());
        let basis = Basis::new(gpu, capacity, dim)?;
        let (w, q) = (blocks::vector(gpu, dim)?, blocks::vector(gpu, dim)?);
        let state = Tensor::zeros(gpu, &[size_of::<LanczosState>() / 4], DType::U32)?;
        let coefficients = Tensor::zeros(gpu, &[capacity, 2], DType::F32)?;
        let passes = [(); 2].map(|()| Tensor::zeros(gpu, &[capacity], DType::F32));
        let [first, second] = passes;
        let (first, second) = (first?, second?);
        let (square, scaling) = (blocks::scalar(gpu)?, Scaling::new(gpu)?);
        let whole = Tensor::from_buffer(w.buffer(), 0, &[basis.stride()], DType::F32)?;

        // w is made orthogonal to the active rows and scaled, and the norm of the rest is left for `scalars`
        let orthogonalize = |recording: &mut Recording| -> Result<()> {
            let rows = basis.rows(Some(state.buffer()));
            for pass in [&first, &second] {
                rows.product(gpu, recording, 1.0, &w, 0.0, pass)?;
                rows.combination(gpu, recording, -1.0, pass, 1.0, &w)?;
            }
            scaling.record(gpu, recording, &whole)?;
            vector::dot(gpu, recording, &whole, &whole, &square)
        };
        let scalars = |recording: &mut Recording, define: &'static str| -> Result<()> {
            let kernel = gpu.kernel(&shaders::krylov::LANCZOS, &[define], &[])?;
            let bindings = vec![
                Bind::whole("state", state.buffer()),
                Bind::whole("coefficients", coefficients.buffer()),
                Bind::whole("square", square.buffer()),
                Bind::whole("first_pass", first.buffer()),
                Bind::whole("second_pass", second.buffer()),
                Bind::whole("unit", scaling.unit.buffer()),
            ];
            recording.dispatch_with(gpu, &kernel, Work::alone(0), &LanczosConstants { capacity: capacity as u32 }, bindings)
        };
        let (mut prepare, mut begin) = (Recording::new(), Recording::new());
        operator.record_prepare(&mut prepare)?;
        scalars(&mut begin, "RESUME")?;
        orthogonalize(&mut begin)?;
        scalars(&mut begin, "NORMALIZE")?;
        normalize(gpu, &mut begin, &basis, &state, &w, &q)?;
        let (mut product, mut step) = (Recording::new(), Recording::new());
        operator.record(&mut product, &q, &w)?;
        orthogonalize(&mut step)?;
        scalars(&mut step, "STEP")?;
        normalize(gpu, &mut step, &basis, &state, &w, &q)?;
        Ok(Self { gpu: gpu.clone(), dim, basis, w, q, state, coefficients, prepare, begin, product, step, seen: Seen::default() })
    }

    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Begins the first block at a vector.
    fn begin(&mut self, start: &Tensor) -> Result<()> {
        expect_vector("start", start, self.dim)?;
        let mut fill = std::mem::take(&mut self.prepare);
        vector::copy(&self.gpu, &mut fill, &start.reshape(&[self.dim])?, &self.w)?;
        self.gpu.submit([&fill, &self.begin]);
        Ok(())
    }

    /// Begins a block at a random vector, orthogonal to those before.
    pub fn begin_at_random(&mut self, seed: u64, stream: u32) -> Result<()> {
        let mut fill = std::mem::take(&mut self.prepare);
        vector::random_normal(&self.gpu, &mut fill, seed, stream, &self.w)?;
        self.gpu.submit([&fill, &self.begin]);
        Ok(())
    }

    /// Submits steps, of which those after the end do nothing but the product.
    pub fn advance(&self, steps: usize) {
        let all: Vec<&Recording> = (0..steps).flat_map(|_| [&self.product, &self.step]).collect();
        for some in all.chunks(2 * STEPS_AT_ONCE) {
            let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                some.iter().for_each(|recording| recording.encode_in_pass(&mut pass));
            }
            self.gpu.queue().submit([encoder.finish()]);
        }
    }

    /// Waits for the steps submitted so far.
    pub async fn look(&mut self) -> Result<()> {
        let read = read_all(&self.gpu, &[self.state.clone(), self.coefficients.clone()]).await?;
        let [state, coefficients] = &read[..] else { return Ok(()) };
        let state: LanczosState = bytemuck::pod_read_unaligned(state);
        if state.stop == 4 || (state.stop == 2 && state.step == 0 && state.norm == 0.0 && state.scale == 0.0) {
            let found = if state.stop == 4 { "a vector of zeros" } else { "a vector that is not finite" };
            let expected = "a finite vector that is not zero".into();
            return Err(Error::Option { option: "start".into(), found: found.into(), expected });
        }
        let words: Vec<[f32; 2]> = bytemuck::pod_collect_to_vec(coefficients);
        let taken = words.iter().take(state.step as usize);
        let (alpha, beta) = taken.map(|&[alpha, beta]| (f64::from(alpha), f64::from(beta))).unzip();
        self.seen = Seen { alpha, beta, stop: state.stop };
        Ok(())
    }

    /// Makes Ritz vectors, those at `indices` in descending order of the values, the whole basis, each a block of its own:
    /// further blocks are orthogonal to them.
    pub fn lock(&mut self, indices: &[usize], norm: f64) -> Result<()> {
        let (ritz, vectors) = eigen(&self.seen.alpha, &self.seen.beta)?;
        let coefficients: Vec<Vec<f32>> = indices.iter().map(|&i| vectors[i].iter().map(|&s| s as f32).collect()).collect();
        let locked = self.basis.combinations(&self.gpu, self.seen.alpha.len(), &coefficients)?;
        let mut load = Recording::new();
        for i in 0..indices.len() {
            let row = Tensor::from_buffer(locked.buffer(), 4 * (i * self.dim) as u64, &[self.dim], DType::F32)?;
            vector::copy(&self.gpu, &mut load, &row, &self.basis.row(i)?)?;
        }
        self.gpu.submit([&load]);
        let values: Vec<f32> = indices.iter().flat_map(|&i| [ritz.values[i] as f32, 0.0]).collect();
        Tensor::from_buffer(self.coefficients.buffer(), 0, &[values.len()], DType::F32)?.write(&self.gpu, &values)?;
        let state = LanczosState { active_rows: 0, step: indices.len() as u32, stop: 1, norm: norm as f32, scale: 0.0 };
        self.gpu.queue().write_buffer(self.state.buffer(), self.state.offset(), bytemuck::bytes_of(&state));
        let (alpha, beta) = indices.iter().map(|&i| (ritz.values[i], 0.0)).unzip();
        self.seen = Seen { alpha, beta, stop: state.stop };
        Ok(())
    }

    /// The result of the steps that the host has seen.
    pub fn finish(self) -> Result<Lanczos> {
        let (ritz, vectors) = eigen(&self.seen.alpha, &self.seen.beta)?;
        let end = self.seen.end();
        Ok(Lanczos { alpha: self.seen.alpha, beta: self.seen.beta, end, gpu: self.gpu, basis: self.basis, ritz, vectors })
    }
}

/// `q = scale w`, and into the basis.
fn normalize(gpu: &Gpu, recording: &mut Recording, basis: &Basis, state: &Tensor, w: &Tensor, q: &Tensor) -> Result<()> {
    let kernel = gpu.kernel(&shaders::krylov::LANCZOS_NORMALIZE, &[], &[])?;
    let cells = basis.stride() as u64 / 4;
    let limit = (gpu.binding_limit() - binding_alignment(gpu)) / 16;
    for tile in tiles(basis.capacity as u64, cells, cells, limit, u64::from(u32::MAX)) {
        let at = |row: u64, cell: u64| 16 * (row * cells + cell);
        let bytes = at(tile.rows.start, tile.cells.start)..at(tile.rows.end - 1, tile.cells.end);
        let (bind_basis, before) = Bind::range(gpu, "basis", &basis.matrix, bytes);
        let part = 16 * tile.cells.start..16 * tile.cells.end;
        let (bind_w, before_w) = Bind::range(gpu, "w", w, part.clone());
        let (bind_q, _) = Bind::range(gpu, "q", q, part);
        let count = tile.cells.end - tile.cells.start;
        let constants = NormalizeConstants {
            first_row: tile.rows.start as u32,
            rows: (tile.rows.end - tile.rows.start) as u32,
            cells: count as u32,
            vector: (before_w / 16) as u32,
            basis: (before / 16) as u32,
            stride: cells as u32,
        };
        let work = Work::strided(count.div_ceil(256), 0);
        recording.dispatch_with(gpu, &kernel, work, &constants, vec![bind_basis, bind_w, bind_q, Bind::whole("state", state.buffer())])?;
    }
    Ok(())
}
