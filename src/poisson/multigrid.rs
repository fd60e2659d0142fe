use wgpu::BufferUsages;

use super::grid::Grid;
use super::hierarchy;
use super::rows::upload_codes;
use super::vectors::Vectors;
use crate::gpu::work::looped;
use crate::gpu::{Bind, Gpu, KernelSource, Recording, Tensor, Work};
use crate::krylov::LinearOperator;
use crate::krylov::blocks;
use crate::krylov::operator::{expect_dot, expect_vectors};
use crate::shaders::layout::{Level, StartConstants, SweepConstants, TailConstants, TransferConstants};
use crate::shaders::poisson as shaders;
use crate::{Error, Result};

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
    vectors: Vectors,
    stencil: [(&'static str, u32); 2],
    /// Those of more cells than the tail's, the finest first.
    levels: Vec<Level>,
    tail: Vec<Level>,
    /// Where in `solutions` and `rhs` the tail's first level is; 0 if it is the finest.
    tail_at: u32,
    finest_codes: wgpu::Buffer,
    /// Of all other levels.
    codes: wgpu::Buffer,
    weights: wgpu::Buffer,
    tail_levels: wgpu::Buffer,
    /// Of all coarser levels down to the tail's first.
    solutions: wgpu::Buffer,
    rhs: wgpu::Buffer,
    residuals: wgpu::Buffer,
    /// In turn with z.
    other: Tensor,
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
        let vectors = Vectors::new(gpu, grid, "multigrid")?;
        let all = hierarchy::levels(grid);
        let first_of_tail = all.iter().take_while(|level| level.len() > gpu.target().tail()).count();
        let (mut finest_codes, mut codes, mut weights) = (Vec::<u16>::new(), Vec::<u16>::new(), Vec::<[f32; 4]>::new());
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
            let codes = if finest { &mut finest_codes } else { &mut codes };
            let (codes_at, weights_at, cells) = (codes.len() as u32, weights.len() as u32, level.len() as u32);
            codes.extend(level.codes(all.get(k + 1), finest.then_some(grid)));
            codes.resize(codes.len().next_multiple_of(4), 0);
            if !finest {
                weights.extend(level.weights());
            }
            let place = if in_tail { at_in_tail } else { at };
            if in_tail {
                at_in_tail += cells;
            }
            // the tail's first level has a place outside as well, unless it is the finest
            if k > 0 && k <= first_of_tail {
                tail_at = at;
                at += cells;
            }
            let level = Level { nx, ny, nz, x: place, b: place, codes: codes_at, weights: weights_at, sweeps };
            if in_tail { tail.push(level) } else { levels.push(level) }
        }
        let upload = |label: &str, bytes: &[u8]| gpu.buffer_with(label, bytes, BufferUsages::STORAGE);
        let finest_codes = match levels.is_empty() {
            true => upload_codes(gpu, grid, "multigrid")?,
            false => upload("gradus.multigrid.finest_codes", bytemuck::cast_slice(&finest_codes))?,
        };
        let arena = |label: &str| gpu.buffer(label, 4 * u64::from(at.max(1)), BufferUsages::STORAGE);
        Ok(Self {
            vectors,
            stencil: grid.stencil(),
            tail_at,
            finest_codes,
            codes: upload("gradus.multigrid.codes", bytemuck::cast_slice(&codes))?,
            weights: upload("gradus.multigrid.weights", bytemuck::cast_slice(&weights))?,
            tail_levels: upload("gradus.multigrid.levels", bytemuck::cast_slice(&tail))?,
            solutions: arena("gradus.multigrid.solutions")?,
            rhs: arena("gradus.multigrid.rhs")?,
            residuals: arena("gradus.multigrid.residuals")?,
            other: blocks::vector(gpu, if levels.is_empty() { 0 } else { grid.len() })?,
            levels,
            tail,
        })
    }

    /// Appends the cycle, from r to z where kernels can take them; with partial sums of ⟨r, z⟩ where `dot` is set.
    fn cycle(&self, recording: &mut Recording, r: &Tensor, z: &Tensor, dot: bool) -> Result<()> {
        let mut cycle = Cycle { multigrid: self, r, z, recording };
        for k in 0..self.levels.len() {
            cycle.start(k)?;
            cycle.sweeps(k, self.levels[k].sweeps - 1, [RED, BLACK], false)?;
            cycle.restrict(k)?;
        }
        cycle.tail()?;
        for k in (0..self.levels.len()).rev() {
            let further = self.levels[k].sweeps - 1;
            cycle.correct(k)?;
            cycle.sweep(k, RED, [&self.other, z], dot && further == 0)?;
            cycle.sweeps(k, further, [BLACK, RED], dot)?;
        }
        Ok(())
    }
}

impl LinearOperator for Multigrid {
    fn gpu(&self) -> &Gpu {
        self.vectors.gpu()
    }

    fn dim(&self) -> usize {
        self.vectors.dim()
    }

    /// Appends `z = M r`.
    fn record(&self, recording: &mut Recording, r: &Tensor, z: &Tensor) -> Result<()> {
        expect_vectors(r, z, self.dim())?;
        self.vectors.map(recording, r, z, |recording, r, z| self.cycle(recording, r, z, false))
    }

    fn record_dot(&self, recording: &mut Recording, r: &Tensor, z: &Tensor, dot: &Tensor) -> Result<()> {
        expect_vectors(r, z, self.dim())?;
        expect_dot(dot, [("r", r), ("z", z)])?;
        if self.levels.is_empty() {
            self.record(recording, r, z)?;
            return self.vectors.dot(recording, &self.finest_codes, [r, z], dot);
        }
        self.vectors.map(recording, r, z, |recording, r, z| self.cycle(recording, r, z, true))?;
        self.vectors.sum(recording, 1.0, dot)
    }
}

/// As in shaders/poisson/multigrid_sweep.wgsl.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Colour {
    Red = 0,
    Black = 1,
}

use Colour::{Black as BLACK, Red as RED};

fn cells(level: &Level) -> u64 {
    u64::from(level.nx) * u64::from(level.ny) * u64::from(level.nz)
}

/// A cycle from r to z, dispatch by dispatch.
struct Cycle<'a> {
    multigrid: &'a Multigrid,
    r: &'a Tensor,
    z: &'a Tensor,
    recording: &'a mut Recording,
}

impl<'a> Cycle<'a> {
    /// The next level, or the first of the tail at its place outside.
    fn coarser(&self, k: usize) -> Level {
        let m = self.multigrid;
        let outside = |&level: &Level| Level { x: m.tail_at, b: m.tail_at, ..level };
        m.levels.get(k + 1).copied().or_else(|| m.tail.first().map(outside)).unwrap_or_default()
    }

    fn is_small(&self, level: &Level) -> bool {
        cells(level) <= self.multigrid.vectors.gpu().target().small_level()
    }

    /// A kernel over the finest level in cells of four.
    fn finest(&mut self, source: &'static KernelSource, defines: &[&'static str], vectors: &[(&'static str, &Tensor)]) -> Result<()> {
        let m = self.multigrid;
        let (over, others) = (&m.vectors.over, [("codes", &m.finest_codes)]);
        match defines.contains(&"DOT") {
            true => over.record_sums_with(self.recording, source, defines, &m.stencil, vectors, &others),
            false => over.record_with(self.recording, source, defines, &m.stencil, vectors, &others),
        }
    }

    /// A kernel over tiles of `over`, of which an invocation takes `wide` cells at a time.
    fn tiles<T: bytemuck::Pod>(
        &mut self,
        (source, defines): (&'static KernelSource, &[&'static str]),
        k: usize,
        (over, wide): (&Level, u32),
        constants: &T,
    ) -> Result<()> {
        let m = self.multigrid;
        let gpu = m.vectors.gpu();
        // what a kernel visits of what all levels share
        let (level, coarse) = (m.levels[k], self.coarser(k));
        let lattice = u64::from(level.nx + 1) * u64::from(level.ny + 1) * u64::from(level.nz + 1);
        let (cells, coarse_cells) = (cells(&level), cells(&coarse));
        let part = |name, buffer, visited| Bind { visited, ..Bind::whole(name, buffer) };
        let bindings = match k {
            0 => vec![
                Bind::whole("codes", &m.finest_codes),
                Bind::tensor(gpu, "x", self.z).0,
                Bind::tensor(gpu, "residuals", &m.other).0,
                part("solutions", &m.solutions, 4 * coarse_cells),
                part("rhs", &m.rhs, 4 * coarse_cells),
            ],
            _ => vec![
                part("codes", &m.codes, 2 * cells),
                part("weights", &m.weights, 16 * lattice),
                part("x", &m.solutions, 4 * cells),
                part("b", &m.rhs, 4 * cells),
                part("residuals", &m.residuals, 4 * cells),
                part("rhs", &m.rhs, 4 * coarse_cells),
            ],
        };
        let tiles = u64::from(over.nx.div_ceil(8 * wide)) * u64::from(over.ny.div_ceil(8)) * u64::from(over.nz);
        // few that go on for long on a software driver, where what one costs to begin is to be spread
        let work = Work::shared(tiles, gpu.target().tiles(), 0);
        let kernel = gpu.kernel(source, defines, &[])?;
        self.recording.dispatch_with(gpu, &kernel, work, constants, bindings)
    }

    fn start(&mut self, k: usize) -> Result<()> {
        let level = self.multigrid.levels[k];
        match k {
            0 => self.finest(&shaders::MULTIGRID_FINEST_START, &[], &[("r", self.r), ("z", self.z)]),
            _ => self.tiles((&shaders::MULTIGRID_START, &[]), k, (&level, 2), &StartConstants { level }),
        }
    }

    /// Half a sweep; of the finest level `from` one of z and the other `to` the other one.
    fn sweep(&mut self, k: usize, colour: Colour, [from, to]: [&Tensor; 2], dot: bool) -> Result<()> {
        let level = self.multigrid.levels[k];
        if k > 0 {
            let constants = SweepConstants { level, colour: colour as u32 };
            return self.tiles((&shaders::MULTIGRID_SWEEP, &[]), k, (&level, 2), &constants);
        }
        let defines: &[&'static str] = match (colour, dot) {
            (BLACK, _) => &["BLACK"],
            (RED, false) => &["RED"],
            (RED, true) => &["DOT", "RED"],
        };
        self.finest(&shaders::MULTIGRID_FINEST_SWEEP, defines, &[("x", from), ("y", to), ("r", self.r)])
    }

    /// Sweeps of both colours, from z to z.
    fn sweeps(&mut self, k: usize, sweeps: u32, [first, second]: [Colour; 2], dot: bool) -> Result<()> {
        let other = &self.multigrid.other;
        for s in 0..sweeps {
            self.sweep(k, first, [self.z, other], false)?;
            self.sweep(k, second, [other, self.z], dot && s + 1 == sweeps)?;
        }
        Ok(())
    }

    fn restrict(&mut self, k: usize) -> Result<()> {
        let m = self.multigrid;
        let (level, coarse) = (m.levels[k], self.coarser(k));
        let small = self.is_small(&level);
        if k == 0 {
            let vectors = [("x", self.z), ("y", &m.other), ("r", self.r)];
            self.finest(&shaders::MULTIGRID_FINEST_SWEEP, &["RESIDUAL"], &vectors)?;
        } else if !small {
            let constants = SweepConstants { level, colour: RED as u32 };
            self.tiles((&shaders::MULTIGRID_SWEEP, &["RESIDUAL"]), k, (&level, 2), &constants)?;
        }
        let define = if k > 0 && small { "COMPUTED" } else { "STORED" };
        self.tiles((&shaders::MULTIGRID_RESTRICT, &[define]), k, (&coarse, 1), &TransferConstants { level, coarse })
    }

    /// The correction and black cells; of the finest level from z to the other.
    fn correct(&mut self, k: usize) -> Result<()> {
        let (level, coarse) = (self.multigrid.levels[k], self.coarser(k));
        if k > 0 && self.is_small(&level) {
            return self.tiles((&shaders::MULTIGRID_CORRECT, &[]), k, (&level, 2), &TransferConstants { level, coarse });
        }
        let define = if k == 0 { "FINEST" } else { "COARSE" };
        self.tiles((&shaders::MULTIGRID_PROLONG, &[define]), k, (&coarse, 1), &TransferConstants { level, coarse })?;
        self.sweep(k, BLACK, [self.z, &self.multigrid.other], false)
    }

    fn tail(&mut self) -> Result<()> {
        let m = self.multigrid;
        let gpu = m.vectors.gpu();
        let kernel = gpu.kernel(&shaders::MULTIGRID_TAIL, &[], &[])?;
        let (rhs, solution) = match m.levels.is_empty() {
            true => (Bind::tensor(gpu, "rhs", self.r).0, Bind::tensor(gpu, "solution", self.z).0),
            false => (Bind::whole("rhs", &m.rhs), Bind::whole("solution", &m.solutions)),
        };
        let others = [("codes", &m.codes), ("weights", &m.weights), ("levels", &m.tail_levels)];
        let bindings = others.into_iter().map(|(name, buffer)| Bind::whole(name, buffer)).chain([rhs, solution]).collect();
        let constants = TailConstants { levels: m.tail.len() as u32, at: m.tail_at };
        // at most a dozen levels, whose sweeps take three rounds each
        let sweeps: u64 = m.tail.iter().map(|level| 2 * u64::from(level.sweeps) + 2).sum();
        let each = looped((gpu.target().tail() as u64).div_ceil(256), 0);
        let work = Work::alone((2 * sweeps + 4 * m.tail.len() as u64 + 4) * (each + 2));
        self.recording.dispatch_with(gpu, &kernel, work, &constants, bindings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;
    use crate::poisson::learned_multigrid::Coefficients;
    use crate::poisson::{Jacobi, Laplacian, LearnedMultigrid};

    /// What is recorded for an iteration does nothing once the solver's state says so.
    #[test]
    fn a_closed_gate_stops_products_and_cycles() {
        let gpu = pollster::block_on(Gpu::headless()).expect("an adapter; see with-vulkan");
        for sizes in [&[20, 20][..], &[40, 41]] {
            let grid = Grid::new(sizes).unwrap();
            let n = grid.len();
            let cycle = Multigrid::new(&gpu, &grid, &MultigridOptions::default()).unwrap();
            let (laplacian, jacobi) = (Laplacian::new(&gpu, &grid).unwrap(), Jacobi::new(&gpu, &grid).unwrap());
            let learned = LearnedMultigrid::new(&gpu, &grid, &Coefficients::initial(2, 2).unwrap()).unwrap();
            let operators: [&dyn LinearOperator; 4] = [&cycle, &laplacian, &jacobi, &learned];
            let r: Vec<f32> = (0..n).map(|i| (i as f32).sin()).collect();
            let (r, z) = (Tensor::from_slice(&gpu, &[n], &r).unwrap(), Tensor::zeros(&gpu, &[n], DType::F32).unwrap());
            for operator in operators {
                for closed in [1u32, 0] {
                    let gate = gpu.buffer_with("gate", bytemuck::bytes_of(&closed), BufferUsages::STORAGE).unwrap();
                    let mut recording = Recording::gated_by(&gate);
                    operator.record(&mut recording, &r, &z).unwrap();
                    z.write(&gpu, &vec![7.0f32; n]).unwrap();
                    gpu.submit([&recording]);
                    let untouched = pollster::block_on(z.read::<f32>(&gpu)).unwrap().iter().all(|&z| z == 7.0);
                    assert_eq!(untouched, closed == 1);
                }
            }
        }
    }
}
