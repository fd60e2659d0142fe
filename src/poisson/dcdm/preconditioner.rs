//! The network as a preconditioner.

use super::weights::Weights;
use crate::gpu::{Gpu, Recording, Tensor};
use crate::graph::{Graph, Plan, Program, Stage, Var};
use crate::krylov::Preconditioner;
use crate::krylov::blocks;
use crate::krylov::operator::expect_vectors;
use crate::poisson::grid::Grid;
use crate::poisson::laplacian::upload_codes;
use crate::poisson::vectors::Vectors;
use crate::{DType, Error, Result, shaders};

/// The least that a maximum is taken for when it is divided by: its inverse is an f32.
const TINY: f64 = 1e-37;

/// `z = mask · net(mask · r / ‖mask · r‖)`: a network that was trained to see the residual of a Poisson equation and to
/// say in which direction the solution lies. The mask leaves the cells that are unknowns; what r holds elsewhere,
/// be it NaN, does not matter, and z is 0 there. So it is everywhere where r is 0.
///
/// It is neither linear nor symmetric, so that its solver is [`FlexibleCg`](crate::krylov::FlexibleCg): with a truncation
/// of 2 and a residual recomputed in each iteration as published. The network sees no more of the grid than r: it does not
/// know where walls and obstacles are.
///
/// ```
/// use gradus::krylov::{FlexibleCg, FlexibleCgOptions};
/// use gradus::poisson::dcdm::{Architecture, DeepPreconditioner, Weights};
/// use gradus::poisson::{Grid, Laplacian};
/// use gradus::{DType, Gpu, Tensor};
///
/// # async fn solve() -> gradus::Result<()> {
/// let gpu = Gpu::headless().await?;
/// let grid = Grid::new(&[12, 9])?.with_open(&[[true; 2]; 2])?;
/// // which have learned nothing yet; files: Weights::from_safetensors
/// let weights = Weights::initial(&gpu, &Architecture { channels: 4, ..Architecture::net_64(2) }, 0)?;
///
/// let laplacian = Laplacian::new(&gpu, &grid)?;
/// let preconditioner = DeepPreconditioner::new(&gpu, &grid, &weights)?;
/// let b = Tensor::from_slice(&gpu, &[12, 9], &[1.0f32; 108])?;
/// let x = Tensor::zeros(&gpu, &[12, 9], DType::F32)?;
/// let options = FlexibleCgOptions { truncation: 2, recompute_every: 1, ..Default::default() };
/// let mut solver = FlexibleCg::new(&laplacian, Some(&preconditioner), &b, &x, &options)?;
/// let report = solver.solve().await?;
/// println!("{:?}, a residual of {}", report.status, report.residual);
/// # Ok(())
/// # }
/// # if let Err(error) = pollster::block_on(solve()) {
/// #     assert!(matches!(error, gradus::Error::NoAdapter { .. }), "{error}");
/// # }
/// ```
pub struct DeepPreconditioner {
    vectors: Vectors,
    /// See shaders/poisson/laplacian.wgsl.
    codes: wgpu::Buffer,
    program: Program,
    /// What the network is given and what it gives.
    residual: Tensor,
    direction: Tensor,
}

impl DeepPreconditioner {
    /// For the cells that `grid` has now. The weights are read in each application from where they are: what a training
    /// step makes of them counts from then on.
    ///
    /// # Errors
    /// [`Error::Option`] if the network is for another number of axes; [`Error::StateMismatch`] if the parameters are not
    /// the network's; [`Error::LimitTooSmall`] if a binding cannot hold the channels of all cells;
    /// [`Error::OutOfMemory`].
    pub fn new(gpu: &Gpu, grid: &Grid, weights: &Weights) -> Result<Self> {
        let (architecture, sizes) = (&weights.architecture, grid.sizes());
        if architecture.dim != sizes.len() {
            let (found, expected) = (architecture.dim.to_string(), format!("{}, as the grid has", sizes.len()));
            return Err(Error::Option { option: "architecture.dim".into(), found, expected });
        }
        let shape = [&[1, 1], sizes].concat();
        let mut graph = Graph::new();
        let r = graph.input("r", &shape)?;
        let (unit, there) = normalized(&mut graph, r)?;
        let z = architecture.build(&mut graph, unit)?;
        // the network makes something of nothing
        let z = graph.mul(z, there)?;

        let vectors = Vectors::new(gpu, grid, "a deep preconditioner")?;
        let own = || Tensor::from_buffer(blocks::vector(gpu, grid.len())?.buffer(), 0, &shape, DType::F32);
        let (residual, direction) = (own()?, own()?);
        let mut bindings = vec![(r, &residual), (z, &direction)];
        bindings.extend(parameters(&graph, weights)?);
        let program = Plan::new(gpu, &graph, &[Stage::new(&[z])])?.compile(gpu, &bindings)?;
        Ok(Self { vectors, codes: upload_codes(gpu, grid)?, program, residual, direction })
    }

    /// [`DeepPreconditioner::new`] with the weights of a file.
    ///
    /// # Errors
    /// As there, and those of [`Weights::from_safetensors`].
    pub fn from_safetensors(gpu: &Gpu, grid: &Grid, bytes: &[u8]) -> Result<Self> {
        Self::new(gpu, grid, &Weights::from_safetensors(gpu, bytes)?)
    }

    /// The plan of the network.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        self.program.plan()
    }
}

impl Preconditioner for DeepPreconditioner {
    fn gpu(&self) -> &Gpu {
        self.vectors.gpu()
    }

    fn dim(&self) -> usize {
        self.vectors.dim()
    }

    fn record(&self, recording: &mut Recording, r: &Tensor, z: &Tensor) -> Result<()> {
        expect_vectors(r, z, self.dim())?;
        self.vectors.map(recording, r, z, |recording, r, z| {
            let mask = |recording: &mut Recording, from: &Tensor, to: &Tensor| {
                let vectors = [("r", from), ("z", to)];
                self.vectors.over.record(recording, &shaders::poisson::MASK, &[], &vectors, &[("codes", &self.codes)])
            };
            mask(recording, r, &self.residual)?;
            self.program.record(recording, 0, &[])?;
            mask(recording, &self.direction, z)
        })
    }
}

/// `r / ‖r‖` and, of one element, whether that is not 0. First r is divided by what is greatest of it, so that squares are
/// in the range of f32.
fn normalized(graph: &mut Graph, r: Var) -> Result<(Var, Var)> {
    let inverse = |graph: &mut Graph, x: Var| -> Result<Var> {
        let tiny = graph.constant(TINY, &[])?;
        let x = graph.maximum(x, tiny)?;
        graph.reciprocal(x)
    };
    let magnitudes = graph.abs(r)?;
    let greatest = greatest(graph, magnitudes)?;
    let there = graph.step(greatest)?;
    let factor = inverse(graph, greatest)?;
    let scaled = graph.mul(r, factor)?;
    let squares = graph.mul(scaled, scaled)?;
    let sum = graph.sum(squares, &[])?;
    let norm = graph.sqrt(sum)?;
    let factor = inverse(graph, norm)?;
    Ok((graph.mul(scaled, factor)?, there))
}

/// Of all elements, the axes kept.
fn greatest(graph: &mut Graph, x: Var) -> Result<Var> {
    let (id, axes) = (graph.check(x)?, (0..graph.shape(x)?.len()).collect::<Vec<usize>>());
    let greatest = graph.detached_max(id, &axes);
    Ok(graph.var(greatest))
}

/// The tensors of the network's parameters.
fn parameters<'a>(graph: &Graph, weights: &'a Weights) -> Result<Vec<(Var, &'a Tensor)>> {
    let mut differences = Vec::new();
    let mut bindings = Vec::new();
    for (name, var) in graph.parameters() {
        let expected = graph.shape(var)?;
        match weights.parameters.get(name) {
            Ok(tensor) if tensor.shape() == expected => bindings.push((var, tensor)),
            Ok(tensor) => differences.push(format!("`{name}` has shape {:?}, expected {expected:?}", tensor.shape())),
            Err(_) => differences.push(format!("`{name}` is missing")),
        }
    }
    let known: Vec<&str> = graph.parameters().map(|(name, _)| name).collect();
    let unexpected = weights.parameters.names().iter().filter(|name| !known.contains(&name.as_str()));
    differences.extend(unexpected.map(|name| format!("`{name}` is not expected")));
    match differences.is_empty() {
        true => Ok(bindings),
        false => Err(Error::StateMismatch { differences }),
    }
}
