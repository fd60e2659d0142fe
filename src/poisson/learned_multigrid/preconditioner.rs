//! The cycle on the device.

use wgpu::BufferUsages;

use super::coefficients::Coefficients;
use super::hierarchy::{classes, levels};
use super::lattice::Lattices;
use crate::gpu::work::{SUM_RUNS, looped, run_of_block};
use crate::gpu::{Bind, Gpu, Recording, Tensor, Work};
use crate::krylov::LinearOperator;
use crate::krylov::blocks::total;
use crate::krylov::operator::{expect_dot, expect_vectors};
use crate::poisson::grid::Grid;
use crate::poisson::vectors::Vectors;
use crate::shaders::layout::{
    DampingConstants, GrowthConstants, InterpolationConstants, Lattice, LoadConstants, ResidualConstants, SmoothConstants,
};
use crate::shaders::poisson as shaders;
use crate::{Error, Result};

/// The power iterations by which it is found what a level's smoothing amplifies the most.
const POWERS: usize = 15;
/// By how much at most.
pub(super) const MOST: f32 = 1.8;

/// The V-cycle of [`Coefficients`] for the [`Laplacian`](crate::poisson::Laplacian) of a [`Grid`]: `z = M r`, with M symmetric and, on
/// fluid that touches air, positive definite, so that it is a [`Preconditioner`](crate::krylov::Preconditioner). Sizes may be
/// anything. Where the Laplacian is singular, r must be in its range: solvers see to that.
///
/// What makes M positive is that K is, which [`Coefficients::check`] sees to, and that no eigenvalue of S A is 2 or more. For that
/// depends on the cells, fifteen power iterations on each level estimate the largest when a grid is set up, and where it is
/// above 1.8 S is multiplied by what makes it that. It is an estimate from below: a single cell in millions whose
/// eigenvalue is hardly larger than those of the others may be missed.
///
/// ```
/// # #[cfg(feature = "weights")]
/// # {
/// use gradus::krylov::{Cg, CgOptions, Status};
/// use gradus::poisson::learned_multigrid::Coefficients;
/// use gradus::poisson::{Grid, Laplacian, LearnedMultigrid};
/// use gradus::{DType, Gpu, Tensor};
///
/// # async fn solve() -> gradus::Result<()> {
/// let gpu = Gpu::headless().await?;
/// let grid = Grid::new(&[40, 25])?.with_open(&[[true; 2]; 2])?;
/// let laplacian = Laplacian::new(&gpu, &grid)?;
/// let multigrid = LearnedMultigrid::new(&gpu, &grid, &Coefficients::trained(2)?)?;
/// let b = Tensor::from_slice(&gpu, &[40, 25], &[1.0f32; 1000])?;
/// let x = Tensor::zeros(&gpu, &[40, 25], DType::F32)?;
/// let options = CgOptions { relative_tolerance: 1e-4, ..Default::default() };
/// let report = Cg::new(&laplacian, Some(&multigrid), &b, &x, &options)?.solve().await?;
/// assert_eq!(report.status, Status::Converged);
/// # Ok(())
/// # }
/// # if let Err(error) = pollster::block_on(solve()) {
/// #     assert!(matches!(error, gradus::Error::NoAdapter { .. }), "{error}");
/// # }
/// # }
/// ```
pub struct LearnedMultigrid {
    vectors: Vectors,
    coefficients: Coefficients,
    lattices: Lattices,
    /// See shaders/shared/unknowns.wgsl.
    codes: wgpu::Buffer,
    /// D Q, of coarser levels.
    transfers: wgpu::Buffer,
    /// By level.
    damping: wgpu::Buffer,
    /// D times right-hand sides, of all levels as are the others.
    rhs: wgpu::Buffer,
    solutions: wgpu::Buffer,
    residuals: wgpu::Buffer,
    partials: wgpu::Buffer,
}

impl LearnedMultigrid {
    /// Of the cells that `grid` has now.
    ///
    /// # Errors
    /// [`Error::Option`] if the coefficients are for another number of axes, and those of [`Coefficients::check`];
    /// [`Error::LimitTooSmall`] if a vector over the cells of all levels is larger than a binding may be;
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub fn new(gpu: &Gpu, grid: &Grid, coefficients: &Coefficients) -> Result<Self> {
        let (dim, axes) = (coefficients.dim, grid.sizes().len());
        if dim != axes {
            let (found, expected) = (dim.to_string(), format!("{axes}, as the grid has"));
            return Err(Error::Option { option: "coefficients.dim".into(), found, expected });
        }
        coefficients.check()?;
        grid.expect_flagged("a learned multigrid")?;
        let vectors = Vectors::new(gpu, grid, "a learned multigrid")?;
        let grids = levels(grid)?;
        let classes: Vec<Vec<Option<u8>>> = grids.iter().map(|grid| classes(grid).collect()).collect();
        let lattices = Lattices::new(&grids, gpu.target().strip(axes));
        let upload = |label: &str, bytes: &[u8]| gpu.buffer_with(label, bytes, BufferUsages::STORAGE);
        let bytes = 16 * u64::from(lattices.len);
        let arena = |label: &str| gpu.buffer(label, bytes, BufferUsages::STORAGE);
        let sums = lattices.levels.first().map_or(0, |lattice| partials_of(gpu, lattice));
        let multigrid = Self {
            vectors,
            coefficients: coefficients.clone(),
            codes: upload("gradus.learned_multigrid.codes", bytemuck::cast_slice(&lattices.codes(&classes, coefficients)))?,
            transfers: upload("gradus.learned_multigrid.transfers", bytemuck::cast_slice(&lattices.transfers(&classes, coefficients)))?,
            damping: upload("gradus.learned_multigrid.damping", bytemuck::cast_slice(&vec![1.0f32; grids.len()]))?,
            rhs: arena("gradus.learned_multigrid.rhs")?,
            solutions: upload("gradus.learned_multigrid.solutions", bytemuck::cast_slice(&lattices.signs(&classes)))?,
            residuals: arena("gradus.learned_multigrid.residuals")?,
            partials: gpu.buffer("gradus.learned_multigrid.partials", 16 * u64::from(sums.max(1)), BufferUsages::STORAGE)?,
            lattices,
        };
        let mut recording = Recording::new();
        (0..grids.len()).try_for_each(|level| multigrid.damp(&mut recording, level))?;
        gpu.execute([&recording])?;
        Ok(multigrid)
    }

    /// Appends what sets the damping of a level. Solutions hold what to begin with.
    fn damp(&self, recording: &mut Recording, level: usize) -> Result<()> {
        let (gpu, lattice) = (self.vectors.gpu(), self.lattices.levels[level]);
        for power in 0..=POWERS {
            self.residual(recording, level, "PRODUCT", &[("x", &self.solutions), ("t", &self.rhs)])?;
            let to = if power < POWERS { &self.solutions } else { &self.residuals };
            self.smooth(recording, level, &["START"], self.of(level, &[("x", to), ("u", &self.rhs)]))?;
        }
        let mut bindings = self.of(level, &[("u", &self.rhs), ("v", &self.solutions), ("w", &self.residuals), ("codes", &self.codes)]);
        bindings.push(Bind::whole("partials", &self.partials));
        let kernel = gpu.kernel(&shaders::LEARNED_GROWTH, &self.sums(level), &[])?;
        recording.dispatch_with(gpu, &kernel, work(&lattice, 0), &GrowthConstants { lattice }, bindings)?;
        let kernel = gpu.kernel(&shaders::LEARNED_DAMPING, &[], &[])?;
        let constants = DampingConstants { partials: partials_of(gpu, &lattice), level: level as u32, most: MOST };
        let bindings = vec![Bind::whole("partials", &self.partials), Bind::whole("damping", &self.damping)];
        recording.dispatch_with(gpu, &kernel, total(constants.partials), &constants, bindings)
    }

    /// Appends the cycle, with partial sums of ⟨r, z⟩ where `dot` is set.
    fn cycle(&self, recording: &mut Recording, r: &Tensor, z: &Tensor, dot: bool) -> Result<()> {
        let coarsest = self.lattices.levels.len() - 1;
        let residual = [("x", &self.solutions), ("u", &self.rhs), ("t", &self.residuals)];
        self.load(recording, r)?;
        for level in 0..coarsest {
            self.smooth(recording, level, &["START"], self.of(level, &[("x", &self.solutions), ("u", &self.rhs)]))?;
            self.residual(recording, level, "RESIDUAL", &residual)?;
            self.restrict(recording, level)?;
        }
        for level in (0..=coarsest).rev() {
            if level < coarsest {
                self.prolong(recording, level)?;
                self.residual(recording, level, "SCALED", &residual)?;
            }
            self.finish(recording, level, r, (level == 0).then_some(z), dot)?;
        }
        Ok(())
    }

    fn load(&self, recording: &mut Recording, r: &Tensor) -> Result<()> {
        let (gpu, lattice) = (self.vectors.gpu(), self.lattices.levels[0]);
        let defines: Vec<_> = aligned(&lattice).into_iter().collect();
        let kernel = gpu.kernel(&shaders::LEARNED_LOAD, &defines, &[])?;
        let mut bindings = self.of(0, &[("u", &self.rhs), ("codes", &self.codes)]);
        bindings.push(Bind::tensor(gpu, "r", r).0);
        recording.dispatch_with(gpu, &kernel, work(&lattice, 0), &LoadConstants { lattice }, bindings)
    }

    /// The second smoothing of a level, or the only one of the coarsest; to z if it is the finest.
    fn finish(&self, recording: &mut Recording, level: usize, r: &Tensor, z: Option<&Tensor>, dot: bool) -> Result<()> {
        let alone = level + 1 == self.lattices.levels.len();
        let mut defines: Vec<_> = alone.then_some("ALONE").into_iter().collect();
        let u = if alone { &self.rhs } else { &self.residuals };
        let mut bindings = self.of(level, &[("x", &self.solutions), ("u", u)]);
        let Some(z) = z else {
            defines.push("COARSE");
            bindings.extend(self.of(level, &[("transfers", &self.transfers)]));
            return self.smooth(recording, level, &defines, bindings);
        };
        let gpu = self.vectors.gpu();
        defines.extend(aligned(&self.lattices.levels[0]).into_iter().chain(["FINEST"]));
        bindings.push(Bind::tensor(gpu, "z", z).0);
        if dot {
            defines.extend(self.sums(level).into_iter().chain(["DOT"]));
            bindings.extend([Bind::tensor(gpu, "r", r).0, Bind::whole("partials", &self.partials)]);
        }
        self.smooth(recording, level, &defines, bindings)
    }

    fn smooth<'a>(&'a self, recording: &mut Recording, level: usize, defines: &[&'static str], mut bindings: Vec<Bind<'a>>) -> Result<()> {
        let (gpu, coefficients, lattice) = (self.vectors.gpu(), &self.coefficients, self.lattices.levels[level]);
        let mut stencil = [0.0; 12];
        // in two dimensions those of one plane
        let orbits: &[usize] = if coefficients.dim == 3 { &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9] } else { &[0, 1, 2, 4, 5, 7] };
        orbits.iter().zip(&coefficients.stencil).for_each(|(&at, &k)| stencil[at] = k);
        let constants = SmoothConstants { lattice, stencil: bytemuck::cast(stencil), level: level as u32, ..Default::default() };
        let kernel = gpu.kernel(&shaders::LEARNED_SMOOTH, defines, &[("RADIUS", coefficients.radius() as u32), self.axes()])?;
        bindings.extend(self.of(level, &[("codes", &self.codes)]));
        bindings.push(Bind::whole("damping", &self.damping));
        recording.dispatch_with(gpu, &kernel, work(&lattice, 2 * coefficients.radius() as u64), &constants, bindings)
    }

    fn residual(
        &self,
        recording: &mut Recording,
        level: usize,
        define: &'static str,
        vectors: &[(&'static str, &wgpu::Buffer)],
    ) -> Result<()> {
        let (gpu, lattice) = (self.vectors.gpu(), self.lattices.levels[level]);
        let count = cells(&lattice);
        let block = gpu.target().block(count.into()) as u32;
        let constants = ResidualConstants { first: lattice.first, count, block, pitch: lattice.pitch, plane: lattice.plane };
        let kernel = gpu.kernel(&shaders::LEARNED_RESIDUAL, &[define], &[self.axes()])?;
        let mut bindings = self.of(level, vectors);
        bindings.extend(self.of(level, &[("codes", &self.codes)]));
        recording.dispatch_with(gpu, &kernel, Work::strided(count.div_ceil(block).into(), run_of_block(block.into())), &constants, bindings)
    }

    /// To the next level.
    fn restrict(&self, recording: &mut Recording, level: usize) -> Result<()> {
        let (gpu, constants) = (self.vectors.gpu(), self.interpolation(level));
        let kernel = gpu.kernel(&shaders::LEARNED_RESTRICT, &[], &[self.axes()])?;
        let mut bindings = self.of(level, &[("t", &self.residuals)]);
        bindings.extend(self.of(level + 1, &[("transfers", &self.transfers), ("u", &self.rhs)]));
        recording.dispatch_with(gpu, &kernel, work(&constants.coarse, 0), &constants, bindings)
    }

    /// Back from the next level.
    fn prolong(&self, recording: &mut Recording, level: usize) -> Result<()> {
        let (gpu, constants) = (self.vectors.gpu(), self.interpolation(level));
        let kernel = gpu.kernel(&shaders::LEARNED_PROLONG, &[], &[self.axes()])?;
        let bindings = self.of(level, &[("x", &self.solutions), ("codes", &self.codes)]);
        // its strips are in the planes of the finer level
        let over = Lattice { nz: constants.fine.nz, ..constants.coarse };
        recording.dispatch_with(gpu, &kernel, work(&over, 0), &constants, bindings)
    }

    /// Between a level and the next.
    fn interpolation(&self, level: usize) -> InterpolationConstants {
        let [fine, coarse] = [level, level + 1].map(|level| self.lattices.levels[level]);
        let fold = |size: u32| f32::from(u8::from(size == 1));
        let mut transfer = [0.0; 4];
        transfer.iter_mut().zip(&self.coefficients.transfer).for_each(|(to, &p)| *to = p);
        let fold = [fold(fine.nx), fold(fine.ny), fold(fine.nz), self.coefficients.correction];
        InterpolationConstants { fine, coarse, transfer, fold }
    }

    /// Vectors of all levels, of which a dispatch visits one.
    fn of<'a>(&self, level: usize, buffers: &[(&'static str, &'a wgpu::Buffer)]) -> Vec<Bind<'a>> {
        let cells = u64::from(cells(&self.lattices.levels[level]));
        let bind = |&(name, buffer): &(&'static str, &'a wgpu::Buffer)| {
            let visited = if name == "codes" { 8 * cells } else { 16 * cells };
            Bind { visited, ..Bind::whole(name, buffer) }
        };
        buffers.iter().map(bind).collect()
    }

    fn axes(&self) -> (&'static str, u32) {
        ("AXES", self.coefficients.dim as u32)
    }

    fn sums(&self, level: usize) -> Vec<&'static str> {
        leaves_many(self.vectors.gpu(), &self.lattices.levels[level]).then_some("PARTIAL_SUMS").into_iter().collect()
    }
}

/// Where rows are of whole cells of four in vectors that are not padded too.
fn aligned(lattice: &Lattice) -> Option<&'static str> {
    lattice.nx.is_multiple_of(4).then_some("ALIGNED")
}

/// Cells of four from the first to the last, with what is between rows.
fn cells(lattice: &Lattice) -> u32 {
    if lattice.plane > 0 { lattice.nz * lattice.plane } else { lattice.ny * lattice.pitch }
}

/// Of 256, one strip an invocation.
fn workgroups(lattice: &Lattice) -> u32 {
    (lattice.nx.div_ceil(4) * lattice.ny.div_ceil(lattice.strip) * lattice.nz).div_ceil(256)
}

/// Of a kernel that goes down strips, and takes so many rows more.
fn work(lattice: &Lattice, more: u64) -> Work {
    Work { workgroups: workgroups(lattice), rows: 1, rounds: looped(u64::from(lattice.strip) + more, 0) + SUM_RUNS }
}

/// Whether each invocation leaves a sum: barriers are dear on a software driver, but sums must not be too many for one workgroup.
fn leaves_many(gpu: &Gpu, lattice: &Lattice) -> bool {
    gpu.target().leaves_many(workgroups(lattice).into())
}

/// How many sums a level leaves.
fn partials_of(gpu: &Gpu, lattice: &Lattice) -> u32 {
    workgroups(lattice) * if leaves_many(gpu, lattice) { 256 } else { 1 }
}

impl LinearOperator for LearnedMultigrid {
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
        self.vectors.map(recording, r, z, |recording, r, z| self.cycle(recording, r, z, true))?;
        let partials = (Bind::whole("partials", &self.partials), partials_of(self.vectors.gpu(), &self.lattices.levels[0]));
        self.vectors.sum_of(recording, partials, 1.0, dot)
    }
}
