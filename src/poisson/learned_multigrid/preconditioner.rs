//! The cycle on the device.

use wgpu::BufferUsages;

use super::coefficients::Coefficients;
use super::hierarchy::levels;
use super::lattice::Lattices;
use crate::gpu::{Bind, Gpu, KernelSource, Recording, Tensor};
use crate::krylov::LinearOperator;
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
const MOST: f32 = 1.8;

/// The V-cycle of [`Coefficients`] for the [`Laplacian`](crate::poisson::Laplacian) of a [`Grid`]: `z = M r`, with M symmetric and, on
/// fluid that touches air, positive definite, so that it is a [`Preconditioner`](crate::krylov::Preconditioner). Sizes may be
/// anything. Where the Laplacian is singular, r must be in its range: solvers see to that.
///
/// What makes M positive is that K is, which [`Coefficients::check`] sees to, and that no eigenvalue of S A is 2 or more. For that
/// depends on the cells, fifteen power iterations on each level estimate the largest when a grid is set up, and where it is
/// above 1.8 S is multiplied by what makes it that. It is an estimate from below: a single cell in millions whose
/// eigenvalue is hardly larger than those of the others may be missed.
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
        let vectors = Vectors::new(gpu, grid, "a learned multigrid")?;
        let grids = levels(grid)?;
        let lattices = Lattices::new(&grids, if gpu.is_cpu() { 16 } else { 8 });
        let upload = |label: &str, bytes: &[u8]| gpu.buffer_with(label, bytes, BufferUsages::STORAGE);
        let bytes = 16 * u64::from(lattices.len);
        let arena = |label: &str| gpu.buffer(label, bytes, BufferUsages::STORAGE);
        let sums = lattices.levels.first().map_or(0, workgroups) * if gpu.is_cpu() { 256 } else { 1 };
        let multigrid = Self {
            vectors,
            coefficients: coefficients.clone(),
            codes: upload("gradus.learned_multigrid.codes", bytemuck::cast_slice(&lattices.codes(&grids, coefficients)))?,
            transfers: upload("gradus.learned_multigrid.transfers", bytemuck::cast_slice(&lattices.transfers(&grids, coefficients)))?,
            damping: upload("gradus.learned_multigrid.damping", bytemuck::cast_slice(&vec![1.0f32; grids.len()]))?,
            rhs: arena("gradus.learned_multigrid.rhs")?,
            solutions: upload("gradus.learned_multigrid.solutions", bytemuck::cast_slice(&lattices.signs(&grids)))?,
            residuals: arena("gradus.learned_multigrid.residuals")?,
            partials: gpu.buffer("gradus.learned_multigrid.partials", 16 * u64::from(sums.max(1)), BufferUsages::STORAGE)?,
            lattices,
        };
        let mut recording = Recording::new();
        (0..grids.len()).try_for_each(|level| multigrid.damp(&mut recording, level))?;
        gpu.submit([&recording]);
        Ok(multigrid)
    }

    /// [`LearnedMultigrid::new`] with the coefficients of a file.
    ///
    /// # Errors
    /// As there, and those of [`Coefficients::from_safetensors`].
    pub fn from_safetensors(gpu: &Gpu, grid: &Grid, bytes: &[u8]) -> Result<Self> {
        Self::new(gpu, grid, &Coefficients::from_safetensors(bytes)?)
    }

    /// Appends what sets the damping of a level. Solutions hold what to begin with.
    fn damp(&self, recording: &mut Recording, level: usize) -> Result<()> {
        let lattice = self.lattices.levels[level];
        for power in 0..=POWERS {
            let vectors = [("x", &self.solutions), ("t", &self.rhs)];
            self.residual(recording, level, "PRODUCT", &vectors)?;
            let to = if power < POWERS { &self.solutions } else { &self.residuals };
            self.smooth(recording, level, &["START"], vec![Bind::whole("x", to), Bind::whole("u", &self.rhs)])?;
        }
        let vectors = [("u", &self.rhs), ("v", &self.solutions), ("w", &self.residuals), ("partials", &self.partials)];
        let defines = self.sums();
        self.over(recording, &shaders::LEARNED_GROWTH, &defines, &[], &lattice, &GrowthConstants { lattice }, self.bound(&vectors))?;
        let kernel = self.vectors.gpu().kernel(&shaders::LEARNED_DAMPING, &[], &[])?;
        let constants = DampingConstants { partials: self.partials_of(&lattice), level: level as u32, most: MOST };
        let bindings = self.bound(&[("partials", &self.partials), ("damping", &self.damping)]);
        recording.dispatch_with(self.vectors.gpu(), &kernel, 1, &constants, bindings)
    }

    /// Appends the cycle, with partial sums of ⟨r, z⟩ where `dot` is set.
    fn cycle(&self, recording: &mut Recording, r: &Tensor, z: &Tensor, dot: bool) -> Result<()> {
        let gpu = self.vectors.gpu();
        let all = &self.lattices.levels;
        let lattice = all[0];
        let aligned = lattice.nx.is_multiple_of(4).then_some("ALIGNED");
        let bindings = vec![Bind::tensor(gpu, "r", r).0, Bind::whole("u", &self.rhs)];
        let defines: Vec<_> = aligned.into_iter().collect();
        self.over(recording, &shaders::LEARNED_LOAD, &defines, &[], &lattice, &LoadConstants { lattice }, bindings)?;
        let solve = [("x", &self.solutions), ("u", &self.rhs)];
        let residual = [("x", &self.solutions), ("u", &self.rhs), ("t", &self.residuals)];
        let coarsest = all.len() - 1;
        for level in 0..coarsest {
            self.smooth(recording, level, &["START"], self.bound(&solve))?;
            self.residual(recording, level, "RESIDUAL", &residual)?;
            self.transfer(recording, level, &shaders::LEARNED_RESTRICT)?;
        }
        for level in (0..all.len()).rev() {
            let mut defines = Vec::new();
            let mut bindings = self.bound(&[("x", &self.solutions)]);
            if level == coarsest {
                defines.push("ALONE");
                bindings.push(Bind::whole("u", &self.rhs));
            } else {
                self.transfer(recording, level, &shaders::LEARNED_PROLONG)?;
                self.residual(recording, level, "SCALED", &residual)?;
                bindings.push(Bind::whole("u", &self.residuals));
            }
            if level > 0 {
                defines.push("COARSE");
                bindings.push(Bind::whole("transfers", &self.transfers));
            } else {
                defines.extend(aligned.into_iter().chain(["FINEST"]));
                bindings.push(Bind::tensor(gpu, "z", z).0);
                if dot {
                    defines.extend(self.sums().into_iter().chain(["DOT"]));
                    bindings.extend([Bind::tensor(gpu, "r", r).0, Bind::whole("partials", &self.partials)]);
                }
            }
            self.smooth(recording, level, &defines, bindings)?;
        }
        Ok(())
    }

    fn smooth<'a>(&'a self, recording: &mut Recording, level: usize, defines: &[&'static str], mut bindings: Vec<Bind<'a>>) -> Result<()> {
        let coefficients = &self.coefficients;
        let (lattice, radius) = (self.lattices.levels[level], coefficients.radius());
        let along = |k: usize| -> [f32; 4] {
            let weight = |n: usize| {
                let offset = [(k / 3) as isize, (k % 3) as isize, n as isize];
                let inside = k / 3 <= radius && k % 3 <= radius && n <= radius && (coefficients.dim == 3 || k % 3 == 0);
                let orbit = if coefficients.dim == 3 { Coefficients::orbit(&offset) } else { Coefficients::orbit(&[offset[0], offset[2]]) };
                if inside { coefficients.stencil[orbit] } else { 0.0 }
            };
            [weight(0), weight(1), weight(2), 0.0]
        };
        let constants =
            SmoothConstants { lattice, stencil: std::array::from_fn(along), level: level as u32, ..bytemuck::Zeroable::zeroed() };
        let overrides = [("RADIUS", radius as u32), self.axes()];
        bindings.push(Bind::whole("damping", &self.damping));
        self.over(recording, &shaders::LEARNED_SMOOTH, defines, &overrides, &lattice, &constants, bindings)
    }

    fn residual(
        &self,
        recording: &mut Recording,
        level: usize,
        define: &'static str,
        vectors: &[(&'static str, &wgpu::Buffer)],
    ) -> Result<()> {
        let lattice = self.lattices.levels[level];
        let constants = ResidualConstants { lattice };
        self.over(recording, &shaders::LEARNED_RESIDUAL, &[define], &[self.axes()], &lattice, &constants, self.bound(vectors))
    }

    /// From a level to the next, or back.
    fn transfer(&self, recording: &mut Recording, level: usize, source: &'static KernelSource) -> Result<()> {
        let [fine, coarse] = [level, level + 1].map(|level| self.lattices.levels[level]);
        let fold = |size: u32| f32::from(u8::from(size == 1));
        let mut transfer = [0.0; 4];
        transfer.iter_mut().zip(&self.coefficients.transfer).for_each(|(to, &p)| *to = p);
        let constants = InterpolationConstants {
            fine,
            coarse,
            transfer,
            fold_x: fold(fine.nx),
            fold_y: fold(fine.ny),
            fold_z: fold(fine.nz),
            correction: self.coefficients.correction,
            ..bytemuck::Zeroable::zeroed()
        };
        let all = [("t", &self.residuals), ("transfers", &self.transfers), ("u", &self.rhs), ("x", &self.solutions)];
        // of a correction, strips are in the planes of the finer level
        let planes = if std::ptr::eq(source, &shaders::LEARNED_PROLONG) { fine.nz } else { coarse.nz };
        let over = Lattice { nz: planes, ..coarse };
        self.over(recording, source, &[], &[self.axes()], &over, &constants, self.bound(&all))
    }

    /// A kernel over the strips of a lattice.
    #[allow(clippy::too_many_arguments, reason = "what a dispatch is")]
    fn over<'a, T: bytemuck::Pod>(
        &'a self,
        recording: &mut Recording,
        source: &'static KernelSource,
        defines: &[&'static str],
        overrides: &[(&'static str, u32)],
        lattice: &Lattice,
        constants: &T,
        mut bindings: Vec<Bind<'a>>,
    ) -> Result<()> {
        let gpu = self.vectors.gpu();
        bindings.push(Bind::whole("codes", &self.codes));
        let kernel = gpu.kernel(source, defines, overrides)?;
        recording.dispatch_with(gpu, &kernel, workgroups(lattice), constants, bindings)
    }

    fn bound<'a>(&self, buffers: &[(&'static str, &'a wgpu::Buffer)]) -> Vec<Bind<'a>> {
        buffers.iter().map(|&(name, buffer)| Bind::whole(name, buffer)).collect()
    }

    fn axes(&self) -> (&'static str, u32) {
        ("AXES", self.coefficients.dim as u32)
    }

    fn sums(&self) -> Vec<&'static str> {
        self.vectors.gpu().is_cpu().then_some("PARTIAL_SUMS").into_iter().collect()
    }

    /// How many sums a level leaves.
    fn partials_of(&self, lattice: &Lattice) -> u32 {
        workgroups(lattice) * if self.vectors.gpu().is_cpu() { 256 } else { 1 }
    }
}

/// Of 256, one strip an invocation.
fn workgroups(lattice: &Lattice) -> u32 {
    (lattice.nx.div_ceil(4) * lattice.ny.div_ceil(lattice.strip) * lattice.nz).div_ceil(256)
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
        let partials = (Bind::whole("partials", &self.partials), self.partials_of(&self.lattices.levels[0]));
        self.vectors.sum_of(recording, partials, 1.0, dot)
    }
}
