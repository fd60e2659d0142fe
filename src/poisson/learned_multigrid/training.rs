//! The cycle as a graph over a batch of grids, and what its coefficients are trained for.

use super::scenes::Scenes;
use super::{Coefficients, Training, hierarchy};
use crate::gpu::{DType, Gpu, Recording, Tensor};
use crate::graph::{ConvolutionOptions, Graph, Init, LinearMap, Padding, Parameters, Var};
use crate::poisson::Grid;
use crate::poisson::dcdm::{Laplacians, direction_loss, loss_and_gradient};
use crate::{Error, Result};

/// The cells along an axis that a coarse one is interpolated to.
const TAPS: usize = 4;

/// Which coefficients are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// The axes, 2 or 3.
    pub dim: usize,
    /// The cells that the stencil reaches along an axis, 1 or 2.
    pub radius: usize,
    /// Whether the tables are trained, rather than 0.
    pub tables: bool,
}

impl Cycle {
    /// The coefficients that a training begins with: [`Coefficients::initial`], under the names of their file.
    ///
    /// # Errors
    /// [`Error::Option`] for a form out of range; [`Error::OutOfMemory`].
    pub fn parameters(&self, gpu: &Gpu) -> Result<Parameters> {
        let initial = Coefficients::initial(self.dim, self.radius)?;
        let mut graph = Graph::new();
        Learned::new(&mut graph, self)?;
        let parameters = Parameters::new(gpu, &graph, 0)?;
        parameters.get("stencil")?.write(gpu, &initial.stencil)?;
        parameters.get("transfer")?.write(gpu, &initial.transfer)?;
        parameters.get("correction")?.write(gpu, &[initial.correction])?;
        Ok(parameters)
    }

    /// The coefficients after all that was submitted so far.
    ///
    /// # Errors
    /// [`Error::Option`] for a form out of range; [`Error::Unknown`] if the parameters are of another one;
    /// [`Error::DeviceLost`], [`Error::OutOfMemory`].
    pub async fn coefficients(&self, gpu: &Gpu, parameters: &Parameters, training: Training) -> Result<Coefficients> {
        let mut coefficients = Coefficients { training, ..Coefficients::initial(self.dim, self.radius)? };
        coefficients.stencil = parameters.get("stencil")?.read(gpu).await?;
        coefficients.transfer = parameters.get("transfer")?.read(gpu).await?;
        coefficients.correction = parameters.get("correction")?.read::<f32>(gpu).await?.into_iter().sum();
        if self.tables {
            coefficients.smoothing = parameters.get("smoothing")?.read(gpu).await?;
            coefficients.coarse = parameters.get("coarse")?.read(gpu).await?;
            coefficients.limit_lone_cells();
        }
        Ok(coefficients)
    }
}

/// The coefficients as nodes.
struct Learned {
    dim: usize,
    /// K and Pᵀ as the weights of convolutions, `[1, 1, taps..]`.
    stencil: Var,
    transfer: Var,
    /// `[1]`
    correction: Var,
    /// d and c, `[classes, 1]`.
    tables: Option<[Var; 2]>,
    /// Which value of K, and which of P, is at each tap, and the leaves with these numbers.
    taps: [(Var, Vec<u32>); 2],
}

impl Learned {
    fn new(graph: &mut Graph, cycle: &Cycle) -> Result<Self> {
        let &Cycle { dim, radius, tables } = cycle;
        let mut weight = |name: &str, values: usize, taps: usize, class: &dyn Fn(&[usize]) -> usize| -> Result<_> {
            let place = |i: usize| (0..dim).map(|axis| i / taps.pow(axis as u32) % taps).collect::<Vec<_>>();
            let classes: Vec<u32> = (0..taps.pow(dim as u32)).map(|i| class(&place(i)) as u32).collect();
            let shape = [&[1, 1][..], &vec![taps; dim]].concat();
            let numbers = graph.indices(&format!("{name} taps"), &shape)?;
            let table = graph.parameter(name, &[values], Init::Zeros)?;
            let table = graph.reshape(table, &[values, 1])?;
            let weight = graph.gather(table, numbers)?;
            Ok((graph.reshape(weight, &shape)?, (numbers, classes)))
        };
        let offset = |place: &[usize]| Coefficients::orbit(&place.iter().map(|&p| p as isize - radius as isize).collect::<Vec<_>>());
        let far = |place: &[usize]| place.iter().filter(|&&p| p == 0 || p == TAPS - 1).count();
        let orbits = Coefficients::orbit(&vec![radius as isize; dim]) + 1;
        let (stencil, stencil_taps) = weight("stencil", orbits, 2 * radius + 1, &offset)?;
        let (transfer, transfer_taps) = weight("transfer", dim + 1, TAPS, &far)?;
        let correction = graph.parameter("correction", &[1], Init::Zeros)?;
        let counts = 2 * dim + 1;
        let mut table = |name| {
            let table = graph.parameter(name, &[counts, counts], Init::Zeros)?;
            graph.reshape(table, &[counts * counts, 1])
        };
        let tables = if tables { Some([table("smoothing")?, table("coarse")?]) } else { None };
        Ok(Self { dim, stencil, transfer, correction, tables, taps: [stencil_taps, transfer_taps] })
    }

    /// `M r`, with the levels from one on, the finest first.
    fn cycle(&self, graph: &mut Graph, levels: &[Level], r: Var) -> Result<Var> {
        let [level, coarser @ ..] = levels else { return Ok(r) };
        let x = self.smooth(graph, level, r)?;
        let Some(coarse) = coarser.first() else { return Ok(x) };
        let residual = level.residual(graph, r, x)?;
        // the taps reach a cell beyond both ends, at the end of an odd axis two
        let padding = graph.shape(r)?[2..].iter().map(|size| (1, 1 + size % 2)).collect();
        let options = ConvolutionOptions { stride: vec![2; self.dim], padding: Padding::Explicit(padding), ..Default::default() };
        let restricted = graph.convolution(residual, self.transfer, &options)?;
        let below = graph.mul(coarse.transfer, restricted)?;
        let e = self.cycle(graph, coarser, below)?;
        let e = graph.mul(coarse.transfer, e)?;
        // P is the adjoint of the restriction
        let e = graph.vjp(&[restricted], &[e], &[residual])?[0];
        let e = graph.mul(level.unknowns, e)?;
        let e = graph.mul(self.correction, e)?;
        let x = graph.add(x, e)?;
        let residual = level.residual(graph, r, x)?;
        let smoothed = self.smooth(graph, level, residual)?;
        graph.add(x, smoothed)
    }

    /// `S r`
    fn smooth(&self, graph: &mut Graph, level: &Level, r: Var) -> Result<Var> {
        let r = graph.mul(level.smoothing, r)?;
        let r = graph.convolution(r, self.stencil, &ConvolutionOptions { padding: Padding::Same, ..Default::default() })?;
        graph.mul(level.smoothing, r)
    }
}

/// A level of a batch as nodes, `[batch, 1, sizes..]`.
struct Level {
    laplacian: LinearMap,
    /// 1 where there are unknowns, else 0.
    unknowns: Var,
    /// D
    smoothing: Var,
    /// Q
    transfer: Var,
}

impl Level {
    /// `r - A x`
    fn residual(&self, graph: &mut Graph, r: Var, x: Var) -> Result<Var> {
        let image = self.image(graph, x)?;
        graph.sub(r, image)
    }

    /// `A x`
    fn image(&self, graph: &mut Graph, x: Var) -> Result<Var> {
        let shape = graph.shape(x)?.to_vec();
        let x = graph.reshape(x, &[shape.iter().product()])?;
        let image = graph.apply(&self.laplacian, x)?;
        graph.reshape(image, &shape)
    }
}

/// The levels of a batch of grids of one size on the device.
struct Levels(Vec<Tensors>);

struct Tensors {
    laplacians: Laplacians,
    /// `[batch, 1, sizes..]`
    unknowns: Tensor,
    classes: Tensor,
}

impl Levels {
    fn new(gpu: &Gpu, grids: &[Grid]) -> Result<Self> {
        let tensors = |grid: Grid| {
            let shape = [&[grids.len(), 1], grid.sizes()].concat();
            let laplacians = Laplacians::new(gpu, &vec![grid; grids.len()])?;
            Ok(Tensors { laplacians, unknowns: Tensor::zeros(gpu, &shape, DType::F32)?, classes: Tensor::zeros(gpu, &shape, DType::U32)? })
        };
        let levels = grids.first().map(hierarchy::levels).transpose()?.unwrap_or_default();
        let levels = Self(levels.into_iter().map(tensors).collect::<Result<_>>()?);
        levels.write(gpu, grids)?;
        Ok(levels)
    }

    /// Puts other grids in the place of all. It takes effect before the next submission.
    fn write(&self, gpu: &Gpu, grids: &[Grid]) -> Result<()> {
        let all = grids.iter().map(hierarchy::levels).collect::<Result<Vec<_>>>()?;
        for (l, level) in self.0.iter().enumerate() {
            let grids: Vec<Grid> = all.iter().filter_map(|levels| levels.get(l).cloned()).collect();
            let classes: Vec<Option<u8>> = grids.iter().flat_map(hierarchy::classes).collect();
            let unknowns: Vec<f32> = classes.iter().map(|class| f32::from(u8::from(class.is_some()))).collect();
            level.laplacians.write(&grids)?;
            level.unknowns.write(gpu, &unknowns)?;
            // what is no unknown is of any class
            level.classes.write(gpu, &classes.into_iter().map(|class| u32::from(class.unwrap_or(0))).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Nodes, and to `bindings` what is to be bound to them.
    fn nodes<'a>(&'a self, graph: &mut Graph, learned: &Learned, bindings: &mut Vec<(Var, &'a Tensor)>) -> Result<Vec<Level>> {
        let mut levels = Vec::new();
        for (l, Tensors { laplacians, unknowns, classes }) in self.0.iter().enumerate() {
            let shape = unknowns.shape();
            let there = graph.input(&format!("unknowns {l}"), shape)?;
            bindings.push((there, unknowns));
            let (mut smoothing, mut transfer) = (there, there);
            if let Some([d, c]) = learned.tables {
                let numbers = graph.indices(&format!("classes {l}"), shape)?;
                bindings.push((numbers, classes));
                let mut one_plus = |table| {
                    let values = graph.gather(table, numbers)?;
                    let values = graph.reshape(values, shape)?;
                    let values = graph.add_scalar(values, 1.0)?;
                    graph.mul(there, values)
                };
                // there is nothing above the finest level for Q
                (smoothing, transfer) = (one_plus(d)?, if l == 0 { there } else { one_plus(c)? });
            }
            levels.push(Level { laplacian: laplacians.linear_map()?, unknowns: there, smoothing, transfer });
        }
        Ok(levels)
    }
}

/// The [loss](direction_loss) of directions `M b` on batches of random [scenes](Scenes), and its gradient, for one size of
/// grids. b is the Laplacian of a sample's values. Several for other sizes may share parameters and gradients: a training
/// takes one after another.
///
/// ```
/// use gradus::Gpu;
/// use gradus::optim::{Adam, Optimizer, Param};
/// use gradus::poisson::learned_multigrid::{Batches, Cycle, Scene, Scenes};
///
/// # fn example(gpu: &Gpu) -> gradus::Result<()> {
/// let cycle = Cycle { dim: 2, radius: 2, tables: true };
/// let parameters = cycle.parameters(gpu)?;
/// let gradients = parameters.like(gpu)?;
/// let optimizer = Optimizer::new(gpu, &Adam::default(), &[Param::new("all", parameters.flat(), gradients.flat())])?;
/// let scenes = Scenes::new(&[64, 64], &Scene::ALL)?;
/// let batches = Batches::new(gpu, &cycle, &parameters, &gradients, scenes, 15)?;
/// for step in 0..1000 {
///     batches.draw(0, step)?;
///     let mut encoder = gpu.device().create_command_encoder(&Default::default());
///     batches.recording().encode(&mut encoder);
///     optimizer.step(&mut encoder);
///     gpu.queue().submit([encoder.finish()]);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Batches {
    gpu: Gpu,
    scenes: Scenes,
    levels: Levels,
    values: Tensor,
    loss: Tensor,
    recording: Recording,
}

impl Batches {
    /// Of `batch` samples each. `parameters` are those of the cycle, and `gradients` tensors of the same names and shapes,
    /// which the recording writes.
    ///
    /// # Errors
    /// [`Error::Option`] for a form out of range, another number of axes than the scenes have, axes of which one is a single
    /// cell on a level that has another of three or more, or an empty batch; [`Error::Unknown`] or [`Error::Shape`] for
    /// parameters of another cycle; [`Error::OutOfMemory`], [`Error::LimitTooSmall`].
    pub fn new(gpu: &Gpu, cycle: &Cycle, parameters: &Parameters, gradients: &Parameters, scenes: Scenes, batch: usize) -> Result<Self> {
        let invalid =
            |option: &str, found: String, expected: &str| Error::Option { option: option.into(), found, expected: expected.into() };
        let sizes = scenes.sizes();
        if batch == 0 {
            return Err(invalid("batch", "0".into(), "at least 1"));
        }
        if cycle.dim != sizes.len() {
            return Err(invalid("dim", cycle.dim.to_string(), &format!("{}, as the scenes have", sizes.len())));
        }
        // which refuses other forms
        Coefficients::initial(cycle.dim, cycle.radius)?;
        let levels = Levels::new(gpu, &vec![Grid::new(sizes)?; batch])?;
        if levels.0.iter().rev().skip(1).any(|level| level.unknowns.shape()[2..].contains(&1)) {
            return Err(invalid("sizes", format!("{sizes:?}"), "axes of about equal lengths"));
        }
        let mut graph = Graph::new();
        let learned = Learned::new(&mut graph, cycle)?;
        let mut bindings = Vec::new();
        let nodes = levels.nodes(&mut graph, &learned, &mut bindings)?;
        let shape = [&[batch, 1], sizes].concat();
        let x = graph.input("values", &shape)?;
        let masked = graph.mul(x, nodes[0].unknowns)?;
        let b = nodes[0].image(&mut graph, masked)?;
        let q = learned.cycle(&mut graph, &nodes, b)?;
        let value = direction_loss(&mut graph, &nodes[0].laplacian, q, b)?;
        let values = Tensor::zeros(gpu, &shape, DType::F32)?;
        let taps = learned.taps.iter().map(|(var, numbers)| Ok((*var, Tensor::from_slice(gpu, graph.shape(*var)?, numbers)?)));
        let taps = taps.collect::<Result<Vec<_>>>()?;
        bindings.extend(taps.iter().map(|(var, tensor)| (*var, tensor)));
        bindings.push((x, &values));
        let (recording, loss) = loss_and_gradient(gpu, &mut graph, value, &bindings, parameters, gradients)?;
        Ok(Self { gpu: gpu.clone(), scenes, levels, values, loss, recording })
    }

    /// Draws batch `number` of those that `seed` stands for, and uploads it. It takes effect before the next submission.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn draw(&self, seed: u64, number: u32) -> Result<()> {
        let batch = self.values.shape()[0] as u32;
        let samples = (0..batch).map(|i| self.scenes.sample(seed, number.wrapping_mul(batch).wrapping_add(i)));
        let samples = samples.collect::<Result<Vec<_>>>()?;
        let (grids, values): (Vec<Grid>, Vec<Vec<f32>>) = samples.into_iter().unzip();
        self.values.write(&self.gpu, &values.concat())?;
        self.levels.write(&self.gpu, &grids)
    }

    /// The loss and its gradient.
    #[must_use]
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// What the recording leaves of the loss, one f32.
    #[must_use]
    pub fn loss(&self) -> &Tensor {
        &self.loss
    }
}
