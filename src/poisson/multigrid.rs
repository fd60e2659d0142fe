use wgpu::BufferUsages;

use super::grid::Grid;
use super::hierarchy;
use crate::gpu::{Bind, Gpu, Recording, Tensor};
use crate::krylov::LinearOperator;
use crate::krylov::blocks;
use crate::krylov::operator::{expect_vector, expect_vectors};
use crate::shaders::layout::{LaplacianDotConstants, Level, RestrictConstants, StartConstants, SweepConstants, TailConstants};
use crate::shaders::poisson as shaders;
use crate::{Error, Result, vector};

/// The most cells of a level that one workgroup keeps with all coarser ones.
const TAIL: usize = 512;
/// On the coarsest level.
const COARSEST_SWEEPS: u32 = 8;

/// Options of [`Multigrid`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultigridOptions {
    /// The sweeps of red-black Gauss-Seidel on the finest level, before the coarser ones and again after them. Default: 1.
    pub finest_sweeps: u32,
    /// Those on each coarser level. Default: 2.
    pub coarse_sweeps: u32,
}

impl Default for MultigridOptions {
    fn default() -> Self {
        Self { finest_sweeps: 1, coarse_sweeps: 2 }
    }
}

/// A V-cycle of geometric multigrid for the [`Laplacian`](super::Laplacian) of a [`Grid`]: `z = M r`, with M symmetric and,
/// on fluid that touches air, positive definite, so that it is a [`Preconditioner`](crate::krylov::Preconditioner).
///
/// Smoothing is red-black Gauss-Seidel, in the opposite order on the way up. A coarse cell is made of two along each axis,
/// and is fluid if one of them is; its faces weigh what is left of theirs, so that walls and gaps stay what they are however
/// coarse the level. Corrections are interpolated between coarse cells that are connected, and restriction is the
/// adjoint. (Trottenberg, Oosterlee, Schüller, "Multigrid", 2001, for the method; the coarse operators are described in
/// ARCHITECTURE.md.) Sizes may be anything. Where the Laplacian is singular, r must be in its range: solvers see to that.
///
/// Levels of no more than 512 cells are one dispatch, of one workgroup; a finer one takes four with one sweep, and four more
/// for each further one. As a solver of its own, two sweeps on all levels do best: an iteration then reduces the error on a
/// box to a quarter or less.
pub struct Multigrid {
    gpu: Gpu,
    dim: usize,
    /// Those of more cells than the tail's, the finest first.
    levels: Vec<Level>,
    tail: Vec<Level>,
    /// Where in `solutions` and `rhs` the tail's first level is, if it is not the finest.
    tail_at: u32,
    codes: wgpu::Buffer,
    weights: wgpu::Buffer,
    tail_levels: wgpu::Buffer,
    /// Of all coarser levels that are not within the tail.
    solutions: wgpu::Buffer,
    rhs: wgpu::Buffer,
    partials: wgpu::Buffer,
    /// For an r in the same buffer as z.
    own: Tensor,
}

impl Multigrid {
    /// Of the cells that `grid` has now.
    ///
    /// # Errors
    /// [`Error::Option`] for 0 sweeps; [`Error::LimitTooSmall`] if a vector over the cells is larger than a binding may be;
    /// [`Error::OutOfMemory`].
    pub fn new(gpu: &Gpu, grid: &Grid, options: &MultigridOptions) -> Result<Self> {
        for (option, sweeps) in [("finest_sweeps", options.finest_sweeps), ("coarse_sweeps", options.coarse_sweeps)] {
            if sweeps == 0 {
                return Err(Error::Option { option: option.into(), found: "0".into(), expected: "at least 1".into() });
            }
        }
        let dim = grid.len();
        let (needed, found) = (4 * dim as u64 + 256, gpu.binding_limit());
        if needed > found {
            let what = format!("multigrid of {:?} cells", grid.sizes());
            return Err(Error::LimitTooSmall { limit: "max_storage_buffer_binding_size", what, needed, found });
        }
        let all = hierarchy::levels(grid);
        let first_of_tail = all.iter().take_while(|level| level.len() > TAIL).count();
        let (mut codes, mut weights) = (Vec::<u16>::new(), Vec::<[f32; 4]>::new());
        let (mut levels, mut tail) = (Vec::new(), Vec::new());
        let (mut at, mut at_in_tail, mut tail_at) = (0, 0, 0);
        for (k, level) in all.iter().enumerate() {
            let in_tail = k >= first_of_tail;
            let finest = k == 0 && !in_tail;
            let [nz, ny, nx] = level.sizes.map(|size| size as u32);
            let sweeps = match k {
                _ if k + 1 == all.len() => COARSEST_SWEEPS,
                0 => options.finest_sweeps,
                _ => options.coarse_sweeps,
            };
            let cells = level.len() as u32;
            let (codes_at, weights_at) = (codes.len() as u32, weights.len() as u32);
            if !finest {
                weights.extend(level.weights());
            }
            // the tail's first level has a place outside as well, unless it is the finest
            let place = if in_tail { at_in_tail } else { at };
            at_in_tail += if in_tail { cells } else { 0 };
            if k <= first_of_tail && k > 0 {
                tail_at = at;
                at += cells;
            }
            codes.extend(level.codes(all.get(k + 1), finest.then_some(grid)));
            codes.resize(codes.len().next_multiple_of(2), 0);
            let level = Level { nx, ny, nz, x: place, b: place, codes: codes_at, weights: weights_at, sweeps };
            if in_tail { tail.push(level) } else { levels.push(level) }
        }
        let upload = |label: &str, bytes: &[u8]| gpu.buffer_with(label, bytes, BufferUsages::STORAGE);
        let arena = |label: &str| gpu.buffer(label, 4 * u64::from(at.max(1)), BufferUsages::STORAGE);
        // a finest level without coarser ones of its own size needs none
        if weights.is_empty() {
            weights.push([0.0; 4]);
        }
        let most_groups = levels.first().map_or(1, |finest| groups(gpu, finest, 2));
        Ok(Self {
            gpu: gpu.clone(),
            dim,
            tail_at,
            codes: upload("gradus.multigrid.codes", bytemuck::cast_slice(&codes))?,
            weights: upload("gradus.multigrid.weights", bytemuck::cast_slice(&weights))?,
            tail_levels: upload("gradus.multigrid.levels", bytemuck::cast_slice(&tail))?,
            solutions: arena("gradus.multigrid.solutions")?,
            rhs: arena("gradus.multigrid.rhs")?,
            partials: gpu.buffer("gradus.multigrid.partials", 16 * u64::from(most_groups), BufferUsages::STORAGE)?,
            own: blocks::vector(gpu, dim)?,
            levels,
            tail,
        })
    }

    /// Appends the cycle; the sum of what it leaves in `partials` is ⟨r, z⟩ if `dot`, unless all is in the tail.
    fn record_cycle(&self, recording: &mut Recording, r: &Tensor, z: &Tensor, dot: bool) -> Result<()> {
        let r = match r.shares_buffer(z) {
            false => r,
            true => {
                vector::copy(&self.gpu, recording, &r.reshape(&[self.dim])?, &self.own)?;
                &self.own
            }
        };
        let mut cycle = Cycle { multigrid: self, r, z, recording };
        for k in 0..self.levels.len() {
            cycle.start(k)?;
            for _ in 1..self.levels[k].sweeps {
                cycle.sweep(k, RED, None)?;
                cycle.sweep(k, BLACK, None)?;
            }
            cycle.restrict(k)?;
        }
        cycle.tail()?;
        for k in (0..self.levels.len()).rev() {
            let sweeps = self.levels[k].sweeps;
            for s in 0..sweeps {
                cycle.sweep(k, BLACK, (s == 0).then_some("CORRECT"))?;
                cycle.sweep(k, RED, (dot && k == 0 && s + 1 == sweeps).then_some("DOT"))?;
            }
        }
        Ok(())
    }
}

impl LinearOperator for Multigrid {
    fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    fn dim(&self) -> usize {
        self.dim
    }

    /// Appends `z = M r`.
    fn record(&self, recording: &mut Recording, r: &Tensor, z: &Tensor) -> Result<()> {
        expect_vectors(r, z, self.dim)?;
        self.record_cycle(recording, r, z, false)
    }

    fn record_dot(&self, recording: &mut Recording, r: &Tensor, z: &Tensor, dot: &Tensor) -> Result<()> {
        expect_vectors(r, z, self.dim)?;
        expect_vector("dot", dot, 1)?;
        for (name, vector) in [("r", r), ("z", z)] {
            dot.expect_apart("dot", vector, name)?;
        }
        if self.levels.is_empty() || dot.offset() != 0 {
            self.record_cycle(recording, r, z, false)?;
            let flat = [self.dim];
            return vector::dot(&self.gpu, recording, &r.reshape(&flat)?, &z.reshape(&flat)?, dot);
        }
        self.record_cycle(recording, r, z, true)?;
        let kernel = self.gpu.kernel(&shaders::LAPLACIAN_DOT, &[], &[])?;
        let bindings = vec![Bind::whole("partials", &self.partials), Bind::tensor(&self.gpu, "result", dot).0];
        let constants = LaplacianDotConstants { partials: (self.partials.size() / 16) as u32 };
        recording.dispatch_with(&self.gpu, &kernel, 1, &constants, bindings)
    }
}

const RED: u32 = 0;
const BLACK: u32 = 1;

/// The number of workgroups over a level, of which an invocation takes `wide` cells at a time.
fn groups(gpu: &Gpu, level: &Level, wide: u32) -> u32 {
    let tiles = u64::from(level.nx.div_ceil(8 * wide)) * u64::from(level.ny.div_ceil(8)) * u64::from(level.nz);
    // few that go on for long on a software driver, where what one costs to begin is to be spread
    tiles.min(if gpu.is_cpu() { 64 } else { 4096 }) as u32
}

/// A cycle from r to z, dispatch by dispatch.
struct Cycle<'a> {
    multigrid: &'a Multigrid,
    r: &'a Tensor,
    z: &'a Tensor,
    recording: &'a mut Recording,
}

impl<'a> Cycle<'a> {
    /// A level outside of the tail, and what is bound for kernels on it.
    fn level(&self, k: usize) -> (Level, &'static str, Vec<Bind<'a>>) {
        let m = self.multigrid;
        let mut level = m.levels[k];
        if k > 0 {
            let buffers = [("codes", &m.codes), ("weights", &m.weights), ("x", &m.solutions), ("b", &m.rhs)];
            return (level, "COARSE", buffers.map(|(name, buffer)| Bind::whole(name, buffer)).into());
        }
        let (x, before_x) = Bind::tensor(&m.gpu, "x", self.z);
        let (b, before_b) = Bind::tensor(&m.gpu, "b", self.r);
        (level.x, level.b) = ((before_x / 4) as u32, (before_b / 4) as u32);
        let others = [("codes", &m.codes), ("solutions", &m.solutions), ("rhs", &m.rhs), ("partials", &m.partials)];
        (level, "FINE", others.into_iter().map(|(name, buffer)| Bind::whole(name, buffer)).chain([x, b]).collect())
    }

    /// The next one, or the first of the tail, at its place outside.
    fn coarser(&self, k: usize) -> Level {
        let m = self.multigrid;
        let outside = |&level: &Level| Level { x: m.tail_at, b: m.tail_at, ..level };
        m.levels.get(k + 1).copied().or_else(|| m.tail.first().map(outside)).unwrap_or_default()
    }

    fn start(&mut self, k: usize) -> Result<()> {
        let gpu = &self.multigrid.gpu;
        let (level, kind, bindings) = self.level(k);
        let kernel = gpu.kernel(&shaders::MULTIGRID_START, &[kind], &[])?;
        self.recording.dispatch_with(gpu, &kernel, groups(gpu, &level, 2), &StartConstants { level }, bindings)
    }

    fn sweep(&mut self, k: usize, colour: u32, define: Option<&'static str>) -> Result<()> {
        let gpu = &self.multigrid.gpu;
        let (level, kind, bindings) = self.level(k);
        let defines: Vec<&'static str> = define.into_iter().chain([kind]).collect();
        let kernel = gpu.kernel(&shaders::MULTIGRID_SWEEP, &defines, &[])?;
        let constants = SweepConstants { level, coarse: self.coarser(k), colour, ..Default::default() };
        self.recording.dispatch_with(gpu, &kernel, groups(gpu, &level, 2), &constants, bindings)
    }

    fn restrict(&mut self, k: usize) -> Result<()> {
        let gpu = &self.multigrid.gpu;
        let (level, kind, bindings) = self.level(k);
        let coarse = self.coarser(k);
        let kernel = gpu.kernel(&shaders::MULTIGRID_RESTRICT, &[kind], &[])?;
        self.recording.dispatch_with(gpu, &kernel, groups(gpu, &coarse, 1), &RestrictConstants { level, coarse }, bindings)
    }

    fn tail(&mut self) -> Result<()> {
        let m = self.multigrid;
        let kernel = m.gpu.kernel(&shaders::MULTIGRID_TAIL, &[], &[])?;
        let ((rhs, b), (solution, x)) = match m.levels.is_empty() {
            true => {
                let (rhs, before_b) = Bind::tensor(&m.gpu, "rhs", self.r);
                let (solution, before_x) = Bind::tensor(&m.gpu, "solution", self.z);
                ((rhs, (before_b / 4) as u32), (solution, (before_x / 4) as u32))
            }
            false => ((Bind::whole("rhs", &m.rhs), m.tail_at), (Bind::whole("solution", &m.solutions), m.tail_at)),
        };
        let others = [("codes", &m.codes), ("weights", &m.weights), ("levels", &m.tail_levels)];
        let bindings = others.into_iter().map(|(name, buffer)| Bind::whole(name, buffer)).chain([rhs, solution]).collect();
        let constants = TailConstants { levels: m.tail.len() as u32, b, x };
        self.recording.dispatch_with(&m.gpu, &kernel, 1, &constants, bindings)
    }
}
