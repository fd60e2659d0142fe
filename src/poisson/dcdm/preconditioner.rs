//! The network as a preconditioner.

use std::collections::BTreeSet;

use super::network::Architecture;
use super::pieces::{Stretch, cut, least};
use super::weights::Weights;
use crate::gpu::{Bind, Gpu, Recording, Tensor, Work};
use crate::graph::{Graph, Plan, Program, Stage, Var};
use crate::krylov::Preconditioner;
use crate::krylov::blocks;
use crate::krylov::operator::{expect_dot, expect_vectors};
use crate::poisson::grid::Grid;
use crate::poisson::rows::upload_codes;
use crate::poisson::vectors::Vectors;
use crate::shaders::layout::PieceConstants;
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
    /// From `residual` to `unit`.
    normalization: Program,
    /// By the sizes of pieces, the largest first.
    networks: Vec<Network>,
    pieces: Vec<Piece>,
    residual: Tensor,
    unit: Tensor,
    direction: Tensor,
}

/// Options of [`DeepPreconditioner`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeepPreconditionerOptions {
    /// What the values between convolutions are stored as: [`DType::F32`], or [`DType::F16`], which takes half the memory on
    /// any device. Weights and arithmetic are f32. A direction in f16 differs by some thousandths; activations
    /// beyond 65,504 become infinite, and a direction made of them is one that a solver cannot use. Default: f32.
    pub activations: DType,
    /// The most cells that the network is applied to at a time. A grid of more is cut into pieces, which take the memory for
    /// activations in turn. They overlap by what a cell's direction depends on (22 cells on each side for the 64-net, 34
    /// for the 128-net), so that z is what it is without cuts, to the last roundings, for the time of the overlaps. Default: as
    /// many as a binding holds with all channels, 2²¹ of 16 channels of f32 in 128 MiB.
    pub most_cells: Option<usize>,
}

impl Default for DeepPreconditionerOptions {
    fn default() -> Self {
        Self { activations: DType::F32, most_cells: None }
    }
}

/// The network for pieces of one size.
struct Network {
    sizes: Vec<usize>,
    program: Program,
    /// What it is given, of norm √cells, and what it gives.
    x: Tensor,
    q: Tensor,
}

/// A stretch of each axis.
#[derive(Clone, Default)]
struct Piece(Vec<Stretch>);

impl Piece {
    fn sizes(&self) -> Vec<usize> {
        self.0.iter().map(|stretch| stretch.all.len()).collect()
    }
}

impl DeepPreconditioner {
    /// For the cells that `grid` has now. The weights are read in each application from where they are: what a training
    /// step makes of them counts from then on.
    ///
    /// # Errors
    /// [`Error::Option`] if the network is for another number of axes; [`Error::StateMismatch`] if the parameters are not
    /// the network's; [`Error::LimitTooSmall`] if a binding cannot hold a vector over the cells, or the channels of the
    /// least piece; [`Error::OutOfMemory`].
    pub fn new(gpu: &Gpu, grid: &Grid, weights: &Weights) -> Result<Self> {
        Self::with_options(gpu, grid, weights, &DeepPreconditionerOptions::default())
    }

    /// [`DeepPreconditioner::new`] with options.
    ///
    /// # Errors
    /// As there, and [`Error::Option`] if the least pieces have more than `most_cells`, or for another type of activations.
    pub fn with_options(gpu: &Gpu, grid: &Grid, weights: &Weights, options: &DeepPreconditionerOptions) -> Result<Self> {
        let (architecture, sizes) = (&weights.architecture, grid.sizes());
        if architecture.dim != sizes.len() {
            let (found, expected) = (architecture.dim.to_string(), format!("{}, as the grid has", sizes.len()));
            return Err(Error::Option { option: "architecture.dim".into(), found, expected });
        }
        let vectors = Vectors::new(gpu, grid, "a deep preconditioner")?;
        let pieces = cut_for(gpu, architecture, sizes, options)?;
        let shape = [&[1, 1], sizes].concat();
        let own = |shape: &[usize]| Tensor::from_buffer(blocks::vector(gpu, shape.iter().product())?.buffer(), 0, shape, DType::F32);
        let (residual, unit, direction) = (own(&shape)?, own(&shape)?, own(&shape)?);
        let there = Tensor::zeros(gpu, &vec![1; shape.len()], DType::F32)?;

        let mut graph = Graph::new();
        let r = graph.input("r", &shape)?;
        let (x, not_zero) = normalized(&mut graph, r)?;
        let plan = Plan::new(gpu, &graph, &[Stage::new(&[x, not_zero])])?;
        let normalization = plan.compile(gpu, &[(r, &residual), (x, &unit), (not_zero, &there)])?;

        let mut networks: Vec<Network> = Vec::new();
        // the largest pieces first, whose memory is enough for the others
        let all: BTreeSet<Vec<usize>> = pieces.iter().map(Piece::sizes).collect();
        for sizes in all.into_iter().rev() {
            let shape = [&[1, 1], &sizes[..]].concat();
            let mut graph = Graph::new();
            let (x, not_zero) = (graph.input("x", &shape)?, graph.input("there", there.shape())?);
            let q = architecture.layers(&mut graph, x)?;
            // the network makes something of nothing
            let q = graph.mul(q, not_zero)?;
            let (from, to) = if pieces.len() == 1 { (unit.clone(), direction.clone()) } else { (own(&shape)?, own(&shape)?) };
            let mut bindings = vec![(x, &from), (not_zero, &there), (q, &to)];
            bindings.extend(parameters(&graph, weights)?);
            let stages = [Stage::new(&[q])];
            let plan = match options.activations {
                DType::F16 => Plan::with_halves(gpu, &graph, &stages)?,
                _ => Plan::new(gpu, &graph, &stages)?,
            };
            let program = plan.compile_beside(gpu, &bindings, networks.first().map(|largest| &largest.program))?;
            networks.push(Network { sizes, program, x: from, q: to });
        }
        Ok(Self {
            vectors,
            codes: upload_codes(gpu, grid, "the deep conjugate direction method")?,
            normalization,
            networks,
            pieces,
            residual,
            unit,
            direction,
        })
    }

    /// The plan of the network, for the largest pieces. Those of other sizes use the same memory.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        self.networks[0].program.plan()
    }

    /// Appends what the networks make of `unit`, to `direction`.
    fn apply(&self, recording: &mut Recording) -> Result<()> {
        if let ([network], [_]) = (&self.networks[..], &self.pieces[..]) {
            return network.program.record(recording, 0, &[]);
        }
        for network in &self.networks {
            let mut application = recording.branch();
            network.program.record(&mut application, 0, &[])?;
            for piece in self.pieces.iter().filter(|piece| piece.sizes() == network.sizes) {
                let begins = |begin: fn(&Stretch) -> usize| piece.0.iter().map(begin).collect::<Vec<usize>>();
                let zero = begins(|_| 0);
                self.copy(recording, &network.sizes, (&self.unit, &begins(|stretch| stretch.all.start)), (&network.x, &zero))?;
                recording.append(&application);
                let inside = begins(|stretch| stretch.own.start - stretch.all.start);
                let own = begins(|stretch| stretch.own.len());
                self.copy(recording, &own, (&network.q, &inside), (&self.direction, &begins(|stretch| stretch.own.start)))?;
            }
        }
        Ok(())
    }

    /// Appends a copy of `sizes` cells, from where they begin in one tensor `[1, 1, ..]` to where in another.
    fn copy(&self, recording: &mut Recording, sizes: &[usize], from: (&Tensor, &[usize]), to: (&Tensor, &[usize])) -> Result<()> {
        let gpu = self.vectors.gpu();
        let three = |values: &[usize], missing: usize| -> [u32; 3] {
            let at = |i: usize| (i + values.len()).checked_sub(3).map_or(missing, |i| values[i]);
            std::array::from_fn(|i| at(i) as u32)
        };
        let place = |(tensor, begin): (&Tensor, &[usize])| {
            let sizes = &tensor.shape()[2..];
            let steps: Vec<usize> = (0..sizes.len()).map(|axis| sizes[axis + 1..].iter().product()).collect();
            (three(&steps, 0), steps.iter().zip(begin).map(|(step, at)| step * at).sum::<usize>() as u32)
        };
        let ((x_steps, begin_x), (y_steps, begin_y)) = (place(from), place(to));
        let count = sizes.iter().product::<usize>() as u32;
        let constants = PieceConstants { sizes: three(sizes, 1), count, x_steps, begin_x, y_steps, begin_y };
        let kernel = gpu.kernel(&shaders::poisson::PIECE, &[], &[])?;
        let bindings = vec![Bind::whole("x", from.0.buffer()), Bind::whole("y", to.0.buffer())];
        recording.dispatch_with(gpu, &kernel, Work::strided(count.div_ceil(256).into(), 0), &constants, bindings)
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
            self.normalization.record(recording, 0, &[])?;
            self.apply(recording)?;
            mask(recording, &self.direction, z)
        })
    }
    fn record_dot(&self, recording: &mut Recording, r: &Tensor, z: &Tensor, dot: &Tensor) -> Result<()> {
        expect_dot(dot, [("r", r), ("z", z)])?;
        self.record(recording, r, z)?;
        self.vectors.dot(recording, [r, z], dot)
    }
}

/// The pieces in which the network is applied to a grid.
fn cut_for(gpu: &Gpu, architecture: &Architecture, sizes: &[usize], options: &DeepPreconditionerOptions) -> Result<Vec<Piece>> {
    let (overlap, limit) = (architecture.overlap(), gpu.binding_limit());
    let bytes = match options.activations {
        DType::F32 => 4 * architecture.channels as u64,
        DType::F16 => 4 * architecture.channels.div_ceil(2) as u64,
        other => {
            let (option, expected) = ("activations".into(), "f32 or f16".into());
            return Err(Error::Option { option, found: other.to_string(), expected });
        }
    };
    let fitting = (limit / bytes) as usize;
    if let Some(axes) = cut(sizes, overlap, options.most_cells.unwrap_or(fitting).min(fitting)) {
        let pieces = axes.into_iter().fold(vec![Piece::default()], |pieces, axis| {
            let longer = |piece: Piece| axis.clone().into_iter().map(move |stretch| Piece([&piece.0[..], &[stretch]].concat()));
            pieces.into_iter().flat_map(longer).collect()
        });
        return Ok(pieces);
    }
    let least = least(sizes, overlap);
    if let Some(most) = options.most_cells.filter(|&most| most < least) {
        return Err(Error::Option { option: "most_cells".into(), found: most.to_string(), expected: format!("at least {least}") });
    }
    let what = format!("the {} channels of {least} cells", architecture.channels);
    Err(Error::LimitTooSmall { limit: "max_storage_buffer_binding_size", what, needed: least as u64 * bytes, found: limit })
}

/// `√cells r / ‖r‖` and, of one element, whether that is not 0. First r is divided by what is greatest of it, so that squares
/// are in the range of f32.
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
    let unit = graph.mul(scaled, factor)?;
    let cells = graph.shape(r)?.iter().product::<usize>();
    Ok((graph.scale(unit, (cells as f64).sqrt())?, there))
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
