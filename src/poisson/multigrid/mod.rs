//! Multigrid for everything a [`Grid`] can be.

mod hierarchy;
mod smoothing;

use std::ops::Range;

use wgpu::BufferUsages;

use self::hierarchy::{IRREGULAR, Transfers};
use super::grid::Grid;
use super::rows::{self, Rows, append_list, append_lists};
use super::vectors::Vectors;
use crate::gpu::work::{MAX_ROUNDS, SUM_RUNS, looped, run_of_block};
use crate::gpu::{Bind, Gpu, KernelSource, Recording, Tensor, Work};
use crate::krylov::LinearOperator;
use crate::krylov::blocks;
use crate::krylov::operator::{expect_dot, expect_vectors};
use crate::shaders::layout::{Level, Operation, StepConstants, TailConstants, TransferConstants};
use crate::shaders::poisson as shaders;
use crate::{Error, Result};

/// Options of [`Multigrid`].
///
/// ```
/// use gradus::poisson::MultigridOptions;
///
/// let v_cycle = MultigridOptions { twice_from: Some(MultigridOptions::NEVER), ..Default::default() };
/// let w_cycle = MultigridOptions { twice_from: Some(1), ..Default::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultigridOptions {
    /// The degree of the smoothing polynomial, before the coarser levels and again after them: 1 to 4. A degree is a pass over a level.
    /// Default: 2.
    pub degree: u32,
    /// The first level that is visited twice, counted from the finest, which is 0: 1 is the W-cycle, [`MultigridOptions::NEVER`] the V-cycle.
    /// Default: 2 in two dimensions, 1 in three, where coarser levels cost less. A V-cycle takes the fewest dispatches, and is as good
    /// where there are no thin walls.
    pub twice_from: Option<u32>,
}

impl MultigridOptions {
    /// No level is visited twice.
    pub const NEVER: u32 = u32::MAX;
}

impl Default for MultigridOptions {
    fn default() -> Self {
        Self { degree: 2, twice_from: None }
    }
}

/// One cycle of multigrid for the [`Laplacian`](super::Laplacian) of a [`Grid`], whatever its faces weigh: `z = M r`, with M symmetric and,
/// on fluid that touches air or has mass, positive definite, so that it is a [`Preconditioner`](crate::krylov::Preconditioner).
///
/// A coarse cell has an unknown for each part of it that its cells are connected in, so that nothing leaks through a wall, however
/// coarse the level. Its faces weigh half of what the faces do that they are made of. Interpolation goes by the weights (smoothed aggregation,
/// Vaněk, Mandel and Brezina 1996), and restriction is the adjoint. Smoothing is by Chebyshev polynomials of the fourth kind (Lottes 2022), with
/// the bound 2 of D⁻¹A, so that nothing has to be estimated. The coarsest level is solved exactly. ARCHITECTURE.md has the equations, and why
/// the eigenvalues of M A are between 0 and 2. So it is a solver of its own as well, with [`Richardson`](crate::krylov::Richardson).
///
/// Sizes may be anything. Where the Laplacian is singular, r must be in its range: solvers see to that. What r holds in cells that are not
/// fluid does not matter; z is 0 there, and in fluid whose faces all weigh 0.
///
/// Conjugate gradients take 5 to 8 iterations to 1e-6 on boxes, free surfaces and droplets, up to 12 with walls and obstacles, and up to 20 in mazes,
/// whatever the size. It is set up on the host.
///
/// ```
/// use gradus::krylov::{Cg, CgOptions, Status};
/// use gradus::poisson::{Grid, Laplacian, Multigrid, MultigridOptions};
/// use gradus::{DType, Gpu, Tensor};
///
/// # async fn solve() -> gradus::Result<()> {
/// let gpu = Gpu::headless().await?;
/// // a step of diffusion on a torus
/// let grid = Grid::new(&[48, 40])?.with_periodic(&[true, true])?.with_mass(0.1)?;
/// let (laplacian, multigrid) = (Laplacian::new(&gpu, &grid)?, Multigrid::new(&gpu, &grid, &MultigridOptions::default())?);
/// let b: Vec<f32> = (0..48 * 40).map(|i| (i % 7) as f32).collect();
/// let (b, x) = (Tensor::from_slice(&gpu, &[48, 40], &b)?, Tensor::zeros(&gpu, &[48, 40], DType::F32)?);
/// let report = Cg::new(&laplacian, Some(&multigrid), &b, &x, &CgOptions::default())?.solve().await?;
/// assert!(report.status == Status::Converged && report.iterations <= 6);
/// # Ok(())
/// # }
/// # if let Err(error) = pollster::block_on(solve()) {
/// #     assert!(matches!(error, gradus::Error::NoAdapter { .. }), "{error}");
/// # }
/// ```
pub struct Multigrid {
    vectors: Vectors,
    /// Of the finest level.
    rows: Rows,
    /// The factors of the smoother's steps.
    factors: Vec<f32>,
    twice_from: usize,
    levels: Vec<Level>,
    /// Of which levels there are lists: of rows of A, and between the level and the next.
    linked: Vec<[bool; 2]>,
    /// Of how many unknowns of each level a list says P.
    listed: Vec<u32>,
    /// The first level of the tail.
    tail: usize,
    /// What the tail does, and the operations of each of its dispatches with the rounds of their loops: as many as a dispatch may have.
    operations: wgpu::Buffer,
    parts: Vec<(Range<u32>, u64)>,
    /// Of the longest list.
    longest: u64,
    level_table: wgpu::Buffer,
    /// The finest level's, if it is not by flags.
    finest_transfers: Option<wgpu::Buffer>,
    /// Of all levels but the finest: see shaders/shared/levels.wgsl.
    weights: wgpu::Buffer,
    links: wgpu::Buffer,
    levels_vectors: wgpu::Buffer,
    /// In turn with z.
    other: Tensor,
}

impl Multigrid {
    /// Of what `grid` has now.
    ///
    /// # Errors
    /// [`Error::Option`] for a degree that is not from 1 to 4, or levels visited twice from the finest on; [`Error::LimitTooSmall`] if a vector over
    /// the cells, or what all levels but the finest have in one buffer, is larger than a binding may be; [`Error::OutOfMemory`].
    pub fn new(gpu: &Gpu, grid: &Grid, options: &MultigridOptions) -> Result<Self> {
        let factors = smoothing::factors(options.degree)?;
        let twice_from = options.twice_from.unwrap_or(if grid.sizes().len() == 2 { 2 } else { 1 });
        if twice_from == 0 {
            return Err(Error::Option { option: "twice_from".into(), found: "0".into(), expected: "at least 1".into() });
        }
        let mut vectors = Vectors::new(gpu, grid, "multigrid")?;
        let most = gpu.target().tail();
        let mut all = hierarchy::levels(grid, grid.len() > most);
        let tail = all.iter().take_while(|level| level.cells() > most || level.unknowns() > 8 * most).count().min(all.len() - 1);
        let mut layout = Layout { weights: Vec::new(), links: vec![0], at: 0, longest: 0 };
        let mut levels: Vec<Level> = Vec::new();
        for (k, level) in all.iter().enumerate() {
            levels.push(layout.level(level, k == 0 && tail > 0, k >= tail));
        }
        let mut linked = Vec::new();
        for k in 0..all.len() {
            let next = all.get(k + 1);
            let between = next.is_some_and(|next| !all[k].rows.is_empty() || !all[k].further.is_empty() || !next.further.is_empty());
            if next.is_some() {
                layout.transfers(&mut levels, k, &all[k]);
            }
            if k > 0 || tail == 0 {
                layout.rows(&mut levels[k], &all[k], k + 1 == all.len());
            }
            linked.push([levels[k].row_links != 0, between]);
        }
        let upload = |label: &str, bytes: &[u8]| gpu.buffer_with(label, bytes, BufferUsages::STORAGE);
        let (rows, finest_transfers) = match (&mut all[0].transfers, tail) {
            (Transfers::Counts(counts), 1..) => {
                let codes = rows::codes(grid).zip(counts).map(|(code, &mut count)| match count {
                    IRREGULAR => code | 1 << 11,
                    _ => code | u16::from(count) << 9,
                });
                (Rows::flagged(gpu, grid, codes.collect())?, None)
            }
            (Transfers::Rows(transfers), 1..) => {
                transfers.resize(transfers.len().next_multiple_of(4), [0.0; 4]);
                (Rows::new(gpu, grid, &mut vectors)?, Some(upload("gradus.multigrid.transfers", bytemuck::cast_slice(transfers))?))
            }
            // the tail has all
            _ => (Rows::flagged(gpu, grid, Vec::new())?, None),
        };
        let bytes = 4 * layout.weights.len().max(layout.links.len()).max(layout.at as usize) as u64;
        let found = gpu.limits().max_storage_buffer_binding_size;
        let transfers = finest_transfers.as_ref().map_or(0, wgpu::Buffer::size);
        if bytes.max(transfers) > found {
            let what = format!("the levels of multigrid of {:?} cells", grid.sizes());
            return Err(Error::LimitTooSmall { limit: "max_storage_buffer_binding_size", what, needed: bytes.max(transfers), found });
        }
        let mut multigrid = Self {
            vectors,
            rows,
            factors,
            twice_from: twice_from as usize,
            linked,
            listed: all.iter().map(|level| level.rows.len() as u32).collect(),
            tail,
            operations: upload("gradus.multigrid.operations", &[0; 32])?,
            parts: Vec::new(),
            longest: layout.longest,
            level_table: upload("gradus.multigrid.levels", bytemuck::cast_slice(&levels))?,
            finest_transfers,
            weights: upload("gradus.multigrid.weights", bytemuck::cast_slice(&layout.weights))?,
            links: upload("gradus.multigrid.links", bytemuck::cast_slice(&layout.links))?,
            levels_vectors: gpu.buffer("gradus.multigrid.vectors", 4 * u64::from(layout.at.max(4)), BufferUsages::STORAGE)?,
            other: blocks::vector(gpu, if tail == 0 { 0 } else { grid.len() })?,
            levels,
        };
        let mut operations = Vec::new();
        multigrid.visits(tail, &mut |operation| operations.push(operation));
        multigrid.parts = multigrid.parts(&operations);
        multigrid.operations = upload("gradus.multigrid.operations", bytemuck::cast_slice(&operations))?;
        Ok(multigrid)
    }

    fn parts(&self, operations: &[Operation]) -> Vec<(Range<u32>, u64)> {
        let (list, lanes) = (looped(self.longest, 0), u64::from(self.vectors.gpu().target().lanes_of_tail()));
        let rounds = |operation: &Operation| {
            let l = operation.level as usize;
            let level = &self.levels[l];
            let each = |jobs: u32, inner: u64| looped(u64::from(jobs).div_ceil(lanes), inner);
            1 + match operation.kind {
                RESTRICT => each(self.levels[l + 1].count, looped(8, 0) + list),
                PROLONG => each(self.levels[l + 1].count + self.listed[l], looped(8, 0) + list),
                SOLVE => each(level.count, looped(u64::from(level.count).div_ceil(16), looped(16, 0))),
                _ => each(level.count, list),
            }
        };
        // of the loop over operations, and two over the cells of a level that is alone
        let least = 1 + 2 * looped(u64::from(self.levels[self.tail].count).div_ceil(lanes), 0);
        let mut parts: Vec<(Range<u32>, u64)> = Vec::new();
        for (k, operation) in (0u32..).zip(operations) {
            let rounds = rounds(operation);
            match parts.last_mut() {
                Some((range, sum)) if *sum + rounds <= MAX_ROUNDS => (range.end, *sum) = (k + 1, *sum + rounds),
                _ => parts.push((k..k + 1, least + rounds)),
            }
        }
        parts
    }

    /// The visits of level `l` that one of the finer level makes.
    fn visits(&self, l: usize, each: &mut impl FnMut(Operation)) {
        self.visit(l, true, each);
        if l >= self.twice_from && l + 1 < self.levels.len() {
            self.visit(l, false, each);
        }
    }

    /// One visit, from 0 or from what the one before left, where the first of the two vectors is: it leaves the result there.
    fn visit(&self, l: usize, from_zero: bool, each: &mut impl FnMut(Operation)) {
        let level = &self.levels[l];
        let (mut here, mut there) = (level.x, level.y);
        let operation = |kind, x, y, [factor, second]: [f32; 2]| Operation { kind, level: l as u32, x, y, factor, second };
        if l + 1 == self.levels.len() {
            // without edges by the diagonal
            each(operation(START, level.b, level.x, [1.0, 0.0]));
            return each(operation(SOLVE, level.b, level.x, [0.0; 2]));
        }
        let mut before = &self.factors[..];
        if from_zero {
            // a step more follows for a degree of 1, to end where it should
            if before.len() == 1 {
                std::mem::swap(&mut here, &mut there);
            }
            let (first, second) = (before[0], before.get(1).copied().unwrap_or(0.0));
            each(operation(START, level.b, here, [first + second - first * second, first * second]));
            before = before.get(2..).unwrap_or(&[]);
        }
        let steps = |factors: &[f32], here: &mut u32, there: &mut u32, each: &mut dyn FnMut(Operation)| {
            for &factor in factors {
                each(operation(STEP, *here, *there, [factor, 0.0]));
                std::mem::swap(here, there);
            }
        };
        steps(before, &mut here, &mut there, each);
        each(operation(RESIDUAL, here, there, [0.0; 2]));
        let coarse = &self.levels[l + 1];
        each(operation(RESTRICT, there, coarse.b, [0.0; 2]));
        self.visits(l + 1, each);
        each(operation(PROLONG, coarse.x, here, [0.0; 2]));
        steps(&self.factors, &mut here, &mut there, each);
    }

    /// Appends the cycle, from r to z where kernels can take them; with partial sums of ⟨r, z⟩ where `dot` is set.
    fn cycle(&self, recording: &mut Recording, r: &Tensor, z: &Tensor, dot: bool) -> Result<()> {
        if self.tail == 0 {
            return self.record_tail(recording, [r, z]);
        }
        let (mut result, mut tail) = (Ok(()), false);
        let mut operations = Vec::new();
        self.visits(0, &mut |operation| operations.push(operation));
        let last = operations.len() - 1;
        for (k, operation) in operations.iter().enumerate() {
            let in_tail = operation.level as usize >= self.tail;
            // of one visit of the finer level, whatever it does
            if in_tail && !tail {
                result = result.and_then(|()| self.record_tail(recording, [r, z]));
            }
            tail = in_tail;
            if !in_tail {
                result = result.and_then(|()| self.record_operation(recording, operation, [r, z], dot && k == last));
            }
        }
        result
    }

    fn record_tail(&self, recording: &mut Recording, [r, z]: [&Tensor; 2]) -> Result<()> {
        let gpu = self.vectors.gpu();
        let linked = self.linked[self.tail..].iter().flatten().any(|&linked| linked);
        let alone = self.tail == 0;
        let mut defines = vec!["WEIGHTS"];
        defines.extend(linked.then_some("LINKED"));
        defines.extend(alone.then_some("ALONE"));
        let kernel = gpu.kernel(&shaders::MULTIGRID_TAIL, &defines, &[("LANES", gpu.target().lanes_of_tail())])?;
        let buffers = [
            ("operations", &self.operations),
            ("levels", &self.level_table),
            ("weights", &self.weights),
            ("vectors", &self.levels_vectors),
            ("links", &self.links),
        ];
        let cells: u64 = self.levels[self.tail..].iter().map(|level| u64::from(level.count)).sum();
        let bind = |&(name, buffer): &(&'static str, _)| match name {
            "weights" | "vectors" => Bind { visited: 16 * cells, ..Bind::whole(name, buffer) },
            _ => Bind::whole(name, buffer),
        };
        let Level { b, x, .. } = self.levels[0];
        for (k, (range, rounds)) in self.parts.iter().enumerate() {
            let mut bindings: Vec<Bind> = buffers.iter().filter(|(name, _)| linked || *name != "links").map(bind).collect();
            if alone {
                bindings.extend([Bind::tensor(gpu, "rhs", r).0, Bind::tensor(gpu, "solution", z).0]);
            }
            let ends = u32::from(k == 0) | u32::from(k + 1 == self.parts.len()) << 1;
            let constants = TailConstants { first: range.start, end: range.end, cells: self.dim() as u32, b, x, ends };
            recording.dispatch_with(gpu, &kernel, Work::alone(*rounds), &constants, bindings)?;
        }
        Ok(())
    }

    fn record_operation(&self, recording: &mut Recording, operation: &Operation, [r, z]: [&Tensor; 2], dot: bool) -> Result<()> {
        let gpu = self.vectors.gpu();
        let l = operation.level as usize;
        let level = &self.levels[l];
        // the finest level's vectors, by where others would begin
        let finest = |at: u32| if at == level.x { z } else { &self.other };
        let (source, mut defines): (&'static KernelSource, Vec<&'static str>) = match operation.kind {
            RESTRICT => (&shaders::MULTIGRID_RESTRICT, vec![]),
            PROLONG => (&shaders::MULTIGRID_PROLONG, vec![]),
            START => (&shaders::MULTIGRID_SMOOTH, vec!["START"]),
            RESIDUAL => (&shaders::MULTIGRID_SMOOTH, vec!["RESIDUAL"]),
            _ => (&shaders::MULTIGRID_SMOOTH, vec!["STEP"]),
        };
        let lists = looped(self.longest, 0);
        // a binding that is read and written counts twice, and of a coarser level it is all vectors
        let twice = if l > 0 { 2 } else { 1 };
        let vectors = |moved: u32| Bind { visited: 4 * u64::from(moved) / twice, ..Bind::whole("vectors", &self.levels_vectors) };
        if matches!(operation.kind, RESTRICT | PROLONG) {
            let coarse = &self.levels[l + 1];
            let further = if operation.kind == RESTRICT { coarse.count - coarse.dense } else { self.listed[l] };
            let jobs = coarse.nx * coarse.ny * coarse.nz + further;
            let block = gpu.target().block_of_level(jobs.into());
            let mut constants =
                TransferConstants { level: *level, coarse: *coarse, jobs, block: block as u32, at: operation.x, x: operation.y };
            let mut bindings = Vec::new();
            match (l, &self.finest_transfers) {
                (0, transfers) => {
                    match transfers {
                        Some(transfers) => {
                            defines.push("WEIGHTS");
                            bindings.push(Bind::whole("transfers", transfers));
                        }
                        None => bindings.push(Bind::whole("codes", self.rows.codes())),
                    }
                    match operation.kind {
                        RESTRICT => {
                            constants.at = 0;
                            bindings.push(Bind::tensor(gpu, "residual", finest(operation.x)).0);
                        }
                        _ => {
                            constants.x = 0;
                            bindings.push(Bind::tensor(gpu, "solution", finest(operation.y)).0);
                        }
                    }
                    bindings.push(vectors(coarse.count));
                }
                _ => {
                    defines.extend(["COARSE", "WEIGHTS"]);
                    bindings.push(Bind { visited: 16 * u64::from(level.count), ..Bind::whole("transfers", &self.weights) });
                    bindings.push(vectors(coarse.count + level.count * if operation.kind == RESTRICT { 1 } else { 2 }));
                }
            }
            if self.linked[l][1] {
                defines.push("LINKED");
                bindings.push(Bind { visited: 0, ..Bind::whole("links", &self.links) });
            }
            let kernel = gpu.kernel(source, &defines, &[])?;
            let work = Work::strided(u64::from(jobs).div_ceil(block), looped(block.div_ceil(256), looped(8, 0) + 9 * lists));
            return recording.dispatch_with(gpu, &kernel, work, &constants, bindings);
        }
        let count = level.count / 4;
        let block = if l == 0 { gpu.target().block(count.into()) } else { gpu.target().block_of_level(count.into()) };
        let constants = StepConstants {
            count,
            block: block as u32,
            stride_y: level.pitch as i32,
            stride_z: if level.nz > 1 { level.plane as i32 } else { 0 },
            x: operation.x / 4,
            y: operation.y / 4,
            b: level.b / 4,
            weights: level.weights / 4,
            links: level.row_links,
            factor: operation.factor,
            second: operation.second,
        };
        let work =
            Work::strided(u64::from(count).div_ceil(block), run_of_block(block) + looped(block.div_ceil(256), looped(4, lists)) + SUM_RUNS);
        let mut bindings = Vec::new();
        let mut overrides = &[][..];
        if l > 0 {
            let axes = if level.nz > 1 { 4 } else { 3 };
            defines.extend(["COARSE", "WEIGHTS"]);
            bindings.push(Bind { visited: 4 * axes * u64::from(level.count), ..Bind::whole("weights", &self.weights) });
            bindings.push(vectors(level.count * if operation.kind == START { 2 } else { 3 }));
            if self.linked[l][0] {
                defines.push("LINKED");
                bindings.push(Bind { visited: 0, ..Bind::whole("links", &self.links) });
            }
        } else {
            overrides = self.rows.stencil();
            defines.extend(self.rows.defines());
            bindings.extend(self.rows.buffers().into_iter().map(|(name, buffer)| Bind::whole(name, buffer)));
            // the last cell whole: a driver may refuse all of one that is cut
            let cells = |name, tensor| Bind::range(gpu, name, tensor, 0..16 * u64::from(count)).0;
            bindings.push(cells("b", r));
            bindings.push(cells("y", finest(operation.y)));
            if operation.kind != START {
                bindings.push(cells("x", finest(operation.x)));
            }
            if dot {
                defines.push("DOT");
                defines.extend(self.vectors.over.leaves_many().then_some("PARTIAL_SUMS"));
                bindings.push(self.vectors.over.partials().0);
            }
        }
        let kernel = gpu.kernel(source, &defines, overrides)?;
        recording.dispatch_with(gpu, &kernel, work, &constants, bindings)
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
        if self.tail == 0 {
            self.record(recording, r, z)?;
            return self.vectors.dot(recording, [r, z], dot);
        }
        self.vectors.map(recording, r, z, |recording, r, z| self.cycle(recording, r, z, true))?;
        self.vectors.sum(recording, 1.0, dot)
    }
}

/// As in shaders/poisson/multigrid_tail.wgsl.
const START: u32 = 0;
const STEP: u32 = 1;
const RESIDUAL: u32 = 2;
const RESTRICT: u32 = 3;
const PROLONG: u32 = 4;
const SOLVE: u32 = 5;

/// Where levels are in buffers.
struct Layout {
    weights: Vec<f32>,
    links: Vec<u32>,
    /// The elements of vectors so far.
    at: u32,
    longest: u64,
}

/// Where an unknown of the hierarchy is in vectors.
fn place_of(level: &Level, unknown: u32) -> u32 {
    let cells = level.nx * level.ny * level.nz;
    match unknown.checked_sub(cells) {
        Some(further) => level.dense + further,
        None => {
            let row = unknown / level.nx;
            row / level.ny * level.plane + row % level.ny * level.pitch + unknown % level.nx
        }
    }
}

impl Layout {
    /// `alone` if its vectors are the caller's; in the tail rows are without gaps.
    fn level(&mut self, level: &hierarchy::Level, alone: bool, in_tail: bool) -> Level {
        let [nz, ny, nx] = level.sizes.map(|size| size as u32);
        let pitch = if alone || in_tail { nx } else { nx.next_multiple_of(4) };
        let plane = ny * pitch;
        let dense = nz * plane;
        let count = (dense + level.further.len() as u32).next_multiple_of(4);
        let halves = level.halves.iter().rev().enumerate().map(|(k, &halves)| u32::from(halves) << k).sum();
        let mut own = Level { nx, ny, nz, pitch, plane, dense, count, halves, ..Default::default() };
        // numbers for the finest level's, which are elsewhere
        [own.x, own.y, own.b] = [0, 1, 2].map(|k| if alone { k } else { self.at + k * count });
        self.at += if alone { 0 } else { 3 * count };
        own
    }

    fn lists(&mut self, level: &Level, lists: Vec<(u32, rows::List)>, other: &Level) -> u32 {
        if lists.is_empty() {
            return 0;
        }
        let moved = |(unknown, list): (u32, rows::List)| {
            (place_of(level, unknown), list.into_iter().map(|(index, weight)| (place_of(other, index), weight)).collect())
        };
        let lists: Vec<(u32, rows::List)> = lists.into_iter().map(moved).collect();
        self.longest = lists.iter().map(|(_, list)| list.len() as u64).fold(self.longest, u64::max);
        append_lists(&mut self.links, level.count as usize, &lists)
    }

    /// Between level `k` and the next.
    fn transfers(&mut self, levels: &mut [Level], k: usize, own: &hierarchy::Level) {
        if own.rows.is_empty() {
            return;
        }
        let mut adjoint = std::collections::BTreeMap::<u32, rows::List>::new();
        for &(i, ref row) in &own.rows {
            row.iter().for_each(|&(parent, weight)| adjoint.entry(parent).or_default().push((i, weight)));
        }
        let (level, coarse) = (levels[k], levels[k + 1]);
        // a table of the rows, and their lists
        levels[k].prolongation_links = self.links.len() as u32;
        self.links.push(own.rows.len() as u32);
        let table = self.links.len();
        self.links.resize(table + 2 * own.rows.len(), 0);
        for (k, (i, row)) in own.rows.iter().enumerate() {
            let row: rows::List = row.iter().map(|&(parent, weight)| (place_of(&coarse, parent), weight)).collect();
            self.longest = self.longest.max(row.len() as u64);
            self.links[table + 2 * k] = place_of(&level, *i);
            self.links[table + 2 * k + 1] = self.links.len() as u32;
            append_list(&mut self.links, &row);
        }
        levels[k + 1].restriction_links = self.lists(&coarse, adjoint.into_iter().collect(), &level);
    }

    /// The weights and transfers of a level, or the inverse of the last.
    fn rows(&mut self, level: &mut Level, own: &hierarchy::Level, last: bool) {
        let lists = own.lists();
        let listed: Vec<u32> = lists.iter().map(|&(unknown, _)| unknown).collect();
        level.row_links = self.lists(level, lists, &level.clone());
        level.weights = self.weights.len() as u32;
        let (count, axes) = (level.count as usize, if level.nz > 1 { 3 } else { 2 });
        let first = self.weights.len();
        // what a kernel reads beyond the last array
        let beyond = (level.plane as usize).next_multiple_of(4) + 8;
        self.weights.resize(first + (1 + axes) * count + beyond, 0.0);
        for (unknown, &d) in own.diagonal.iter().enumerate() {
            self.weights[first + place_of(level, unknown as u32) as usize] = d as f32;
        }
        for unknown in listed {
            self.weights[first + place_of(level, unknown) as usize] *= -1.0;
        }
        for k in 0..axes {
            for (cell, &weight) in own.weights[2 - k].iter().enumerate() {
                self.weights[first + (1 + k) * count + place_of(level, cell as u32) as usize] = weight;
            }
        }
        level.transfers = (self.weights.len() / 4) as u32;
        let first = self.weights.len();
        if last {
            let (joined, inverse) = own.inverse();
            self.weights.push(joined.len() as f32);
            self.weights.extend(joined.iter().map(|&unknown| place_of(level, unknown) as f32));
            self.weights.extend(inverse);
            self.weights.resize(self.weights.len().next_multiple_of(4), 0.0);
        } else if let Transfers::Rows(transfers) = &own.transfers {
            self.weights.resize(first + 4 * count, 0.0);
            for (unknown, transfer) in transfers.iter().enumerate() {
                let at = first + 4 * place_of(level, unknown as u32) as usize;
                self.weights[at..at + 4].copy_from_slice(transfer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;
    use crate::poisson::{Jacobi, Laplacian};

    /// As many dispatches as there are operations do what one does.
    #[test]
    fn parts_of_a_tail_are_the_whole() {
        let gpu = pollster::block_on(Gpu::headless()).expect("an adapter; see with-vulkan");
        for sizes in [&[20, 20][..], &[40, 41]] {
            let grid = Grid::new(sizes).unwrap().with_periodic(&[true, false]).unwrap().with_mass(0.1).unwrap();
            let n = grid.len();
            let mut cycle = Multigrid::new(&gpu, &grid, &MultigridOptions::default()).unwrap();
            let r: Vec<f32> = (0..n).map(|i| (i as f32).sin()).collect();
            let (r, z) = (Tensor::from_slice(&gpu, &[n], &r).unwrap(), Tensor::zeros(&gpu, &[n], DType::F32).unwrap());
            let apply = |cycle: &Multigrid| {
                let mut recording = Recording::new();
                cycle.record(&mut recording, &r, &z).unwrap();
                gpu.submit([&recording]);
                (recording.len(), pollster::block_on(z.read::<f32>(&gpu)).unwrap())
            };
            assert_eq!(cycle.parts.len(), 1);
            let (whole, (range, rounds)) = (apply(&cycle), cycle.parts[0].clone());
            cycle.parts = range.clone().map(|k| (k..k + 1, rounds)).collect();
            let parts = apply(&cycle);
            assert!(parts.0 >= whole.0 + range.len() - 1 && parts.1 == whole.1 && whole.1.iter().any(|&z| z != 0.0), "{sizes:?}");
        }
    }

    /// What is recorded for an iteration does nothing once the solver's state says so.
    #[test]
    fn a_closed_gate_stops_products_and_cycles() {
        let gpu = pollster::block_on(Gpu::headless()).expect("an adapter; see with-vulkan");
        for sizes in [&[20, 20][..], &[40, 41]] {
            let grid = Grid::new(sizes).unwrap();
            let n = grid.len();
            let cycle = Multigrid::new(&gpu, &grid, &MultigridOptions::default()).unwrap();
            let (laplacian, jacobi) = (Laplacian::new(&gpu, &grid).unwrap(), Jacobi::new(&gpu, &grid).unwrap());
            let operators: [&dyn LinearOperator; 3] = [&cycle, &laplacian, &jacobi];
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
