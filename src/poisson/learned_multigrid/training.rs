//! The cycle as a graph over a batch of grids, and what its coefficients are trained for.

use crate::gpu::{DType, Gpu, Recording, Tensor};
use crate::graph::{ConvolutionOptions, Graph, Init, LinearMap, Padding, Parameters, Plan, Stage, Var};
use crate::poisson::dcdm::{Laplacians, direction_loss};
use crate::poisson::{Cell, Grid};
use crate::{Error, Result};

use super::scenes::Scenes;

/// The taps of the interpolation along an axis.
const TAPS: usize = 4;

/// The form of a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Axes, 2 or 3.
    pub dim: usize,
    /// How far the stencil reaches along an axis, 1 or 2.
    pub radius: usize,
    /// Whether there are tables.
    pub tables: bool,
}

/// The coefficients as nodes.
pub(super) struct Coefficients {
    /// `[1, 1, taps..]`
    stencil: Var,
    transfer: Var,
    /// `[1]`
    correction: Var,
    /// `[classes, 1]`
    tables: Option<[Var; 2]>,
}

/// A level of a batch as nodes.
pub(super) struct Nodes {
    laplacian: LinearMap,
    /// `[batch, 1, sizes..]`: 1 where there is fluid, and that times what a table has for the cell, before and after the
    /// stencil, and after a restriction and an interpolation.
    fluid: Var,
    smoothing: Var,
    coarse: Var,
}

/// A level of a batch on the device.
struct Level {
    laplacians: Laplacians,
    /// `[batch, 1, sizes..]`
    fluid: Tensor,
    classes: Tensor,
}

impl Cycle {
    /// The coefficients that a training begins with.
    ///
    /// # Errors
    /// [`Error::Option`] for a form out of range; [`Error::OutOfMemory`].
    pub fn parameters(&self, gpu: &Gpu) -> Result<Parameters> {
        self.check()?;
        let mut graph = Graph::new();
        let taps = [graph.indices("stencil taps", &[1])?, graph.indices("transfer taps", &[1])?];
        self.coefficients(&mut graph, taps)?;
        let parameters = Parameters::new(gpu, &graph, 0)?;
        let flat = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        let stencil: &[f64] = match (self.dim, self.radius) {
            (2, _) => &[0.35, 0.1, 0.04, 0.01, 0.005, 0.0],
            _ => &[0.2, 0.04, 0.01, 0.003, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        };
        parameters.get("stencil")?.write(gpu, &flat(&stencil[..self.orbits()]))?;
        let far = |k: usize| 0.75f64.powi((self.dim - k) as i32) * 0.25f64.powi(k as i32);
        parameters.get("transfer")?.write(gpu, &flat(&(0..=self.dim).map(far).collect::<Vec<_>>()))?;
        // coarse operators are not scaled, and the energy of a coarse cell is 2^(dim - 2) of a fine one's
        parameters.get("correction")?.write(gpu, &flat(&[0.5f64.powi(self.dim as i32 - 2)]))?;
        Ok(parameters)
    }

    fn check(&self) -> Result<()> {
        let expected = |option: &str, found: usize, expected: &str| {
            Err(Error::Option { option: option.into(), found: found.to_string(), expected: expected.into() })
        };
        match (self.dim, self.radius) {
            (2..=3, 1..=2) => Ok(()),
            (2..=3, radius) => expected("radius", radius, "1 or 2"),
            (dim, _) => expected("dim", dim, "2 or 3"),
        }
    }

    /// The values of the stencil.
    fn orbits(&self) -> usize {
        self.orbit(&vec![self.radius as isize; self.dim]) + 1
    }

    /// Which value of the stencil is for an offset: its distances sorted, the greatest first, in the order of words.
    fn orbit(&self, offset: &[isize]) -> usize {
        let mut distances: Vec<usize> = offset.iter().map(|d| d.unsigned_abs()).collect();
        distances.sort_unstable();
        // of one distance d there are d below, of two d (d + 1) / 2, and so on
        distances.iter().enumerate().map(|(k, &d)| (0..=k).map(|j| d + j).product::<usize>() / (1..=k + 1).product::<usize>()).sum()
    }

    fn classes(&self) -> usize {
        (2 * self.dim + 1).pow(2)
    }

    fn coefficients(&self, graph: &mut Graph, taps: [Var; 2]) -> Result<Coefficients> {
        let stencil = graph.parameter("stencil", &[self.orbits()], Init::Zeros)?;
        let transfer = graph.parameter("transfer", &[self.dim + 1], Init::Zeros)?;
        let correction = graph.parameter("correction", &[1], Init::Ones)?;
        let mut spread = |values: Var, taps: Var| {
            let table = graph.shape(values)?.to_vec();
            let table = graph.reshape(values, &[table[0], 1])?;
            let rows = graph.gather(table, taps)?;
            let shape = graph.shape(taps)?.to_vec();
            graph.reshape(rows, &shape)
        };
        let (stencil, transfer) = (spread(stencil, taps[0])?, spread(transfer, taps[1])?);
        let tables = match self.tables {
            true => {
                let mut table = |name| graph.parameter(name, &[self.classes()], Init::Zeros);
                let tables = [table("smoothing")?, table("coarse")?];
                Some([graph.reshape(tables[0], &[self.classes(), 1])?, graph.reshape(tables[1], &[self.classes(), 1])?])
            }
            false => None,
        };
        Ok(Coefficients { stencil, transfer, correction, tables })
    }

    /// `M r`, of the levels from one on, the finest first.
    pub(super) fn cycle(&self, graph: &mut Graph, c: &Coefficients, levels: &[Nodes], r: Var) -> Result<Var> {
        let [level, coarser @ ..] = levels else { return Ok(r) };
        let x = self.smoothed(graph, c, level, r)?;
        let Some(coarse) = coarser.first() else { return Ok(x) };
        let residual = level.residual(graph, r, x)?;
        let sizes = &graph.shape(r)?[2..];
        let padding = Padding::Explicit(sizes.iter().map(|n| (1, 1 + n % 2)).collect());
        let options = ConvolutionOptions { stride: vec![2; self.dim], padding, ..Default::default() };
        let sums = graph.convolution(residual, c.transfer, &options)?;
        let below = graph.mul(coarse.coarse, sums)?;
        let e = self.cycle(graph, c, coarser, below)?;
        let e = graph.mul(coarse.coarse, e)?;
        // interpolation is the adjoint of restriction
        let e = graph.vjp(&[sums], &[e], &[residual])?[0];
        let e = graph.mul(level.fluid, e)?;
        let e = graph.mul(c.correction, e)?;
        let x = graph.add(x, e)?;
        let residual = level.residual(graph, r, x)?;
        let last = self.smoothed(graph, c, level, residual)?;
        graph.add(x, last)
    }

    fn smoothed(&self, graph: &mut Graph, c: &Coefficients, level: &Nodes, r: Var) -> Result<Var> {
        let r = graph.mul(level.smoothing, r)?;
        let r = graph.convolution(r, c.stencil, &ConvolutionOptions { padding: Padding::Same, ..Default::default() })?;
        graph.mul(level.smoothing, r)
    }
}

impl Nodes {
    fn residual(&self, graph: &mut Graph, r: Var, x: Var) -> Result<Var> {
        let shape = graph.shape(x)?.to_vec();
        let x = graph.reshape(x, &[shape.iter().product()])?;
        let image = graph.apply(&self.laplacian, x)?;
        let image = graph.reshape(image, &shape)?;
        graph.sub(r, image)
    }
}

/// A batch of grids of one size, whose cells and levels may change.
pub(super) struct Levels {
    levels: Vec<Level>,
    /// Which value of the stencil, and which of the interpolation, is for each tap.
    taps: [Tensor; 2],
}

impl Levels {
    pub(super) fn new(gpu: &Gpu, cycle: &Cycle, grids: &[Grid]) -> Result<Self> {
        let mut all = vec![grids.to_vec()];
        while let Some(coarse) = all.last().and_then(|grids| grids.iter().map(coarser).collect::<Option<Vec<Grid>>>()) {
            all.push(coarse);
        }
        let level = |grids: &Vec<Grid>| {
            let shape = [&[grids.len(), 1], grids[0].sizes()].concat();
            let laplacians = Laplacians::new(gpu, grids)?;
            Ok(Level { laplacians, fluid: Tensor::zeros(gpu, &shape, DType::F32)?, classes: Tensor::zeros(gpu, &shape, DType::U32)? })
        };
        let levels = all.iter().map(level).collect::<Result<Vec<_>>>()?;
        let taps = |taps: usize, class: &dyn Fn(&[usize]) -> usize| {
            let place = |i: usize| (0..cycle.dim).rev().map(|axis| i / taps.pow(axis as u32) % taps).collect::<Vec<_>>();
            let classes: Vec<u32> = (0..taps.pow(cycle.dim as u32)).map(|i| class(&place(i)) as u32).collect();
            Tensor::from_slice(gpu, &[&[1, 1][..], &vec![taps; cycle.dim]].concat(), &classes)
        };
        let reach = cycle.radius as isize;
        let offset = |place: &[usize]| cycle.orbit(&place.iter().map(|&p| p as isize - reach).collect::<Vec<_>>());
        let far = |place: &[usize]| place.iter().filter(|&&p| p == 0 || p == TAPS - 1).count();
        let taps = [taps(2 * cycle.radius + 1, &offset)?, taps(TAPS, &far)?];
        let levels = Self { levels, taps };
        levels.write(gpu, grids)?;
        Ok(levels)
    }

    fn write(&self, gpu: &Gpu, grids: &[Grid]) -> Result<()> {
        let mut grids = grids.to_vec();
        for (l, level) in self.levels.iter().enumerate() {
            if l > 0 {
                grids = grids.iter().filter_map(coarser).collect();
            }
            level.laplacians.write(&grids)?;
            let fluid = grids.iter().flat_map(|grid| grid.cells().iter().map(|&cell| f32::from(u8::from(cell == Cell::Fluid))));
            level.fluid.write(gpu, &fluid.collect::<Vec<_>>())?;
            level.classes.write(gpu, &grids.iter().flat_map(classes).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// The next level, if there is one.
fn coarser(grid: &Grid) -> Option<Grid> {
    let sizes = grid.sizes();
    if sizes.iter().all(|&n| n <= 2) {
        return None;
    }
    let halves: Vec<usize> = sizes.iter().map(|n| n.div_ceil(2)).collect();
    let mut flags = vec![Cell::Solid as u8; halves.iter().product()];
    if std::env::var("BEYOND").is_ok() {
        for (axis, &n) in sizes.iter().enumerate().filter(|(_, n)| *n % 2 == 1 && **n > 1) {
            let stride: usize = halves[axis + 1..].iter().product();
            for (i, flag) in flags.iter_mut().enumerate() {
                if i / stride % halves[axis] == n / 2 && grid.open()[axis][1] {
                    *flag = Cell::Air as u8;
                }
            }
        }
    }
    let mut place = vec![0; sizes.len()];
    for &cell in grid.cells() {
        let i = place.iter().zip(&halves).fold(0, |i, (p, n)| i * n + p / 2);
        flags[i] = match (cell, flags[i]) {
            (Cell::Air, _) => Cell::Air as u8,
            (Cell::Fluid, 1) => Cell::Fluid as u8,
            (_, flag) => flag,
        };
        for (p, &n) in place.iter_mut().zip(sizes).rev() {
            *p = (*p + 1) % n;
            if *p > 0 {
                break;
            }
        }
    }
    Grid::new(&halves).ok()?.with_flags(&flags).ok()?.with_open(grid.open()).ok()
}

/// Of each cell, by how many neighbours are solid and how many air.
fn classes(grid: &Grid) -> impl Iterator<Item = u32> {
    let sides = 2 * grid.sizes().len();
    // a third axis that is not there has walls
    let absent = 6 - sides;
    grid.all_neighbours().map(move |(_, neighbours)| {
        let count = |kind: Cell| neighbours.iter().filter(|(cell, _)| *cell == kind).count();
        ((count(Cell::Solid) - absent) * (sides + 1) + count(Cell::Air)) as u32
    })
}

/// The loss of coefficients on batches of random scenes, and its gradient, for one size of grids. Several for other sizes may
/// share parameters and gradients.
pub struct Batches {
    gpu: Gpu,
    scenes: Scenes,
    levels: Levels,
    x: Tensor,
    loss: Tensor,
    recording: Recording,
}

impl Batches {
    /// Of `batch` samples each. `parameters` are those of [`Cycle::parameters`], and `gradients` tensors of the same names and
    /// shapes, which the recording writes.
    ///
    /// # Errors
    /// [`Error::Option`] for an empty batch; [`Error::Unknown`] or [`Error::Shape`] for parameters of another cycle;
    /// [`Error::OutOfMemory`], [`Error::LimitTooSmall`].
    pub fn new(gpu: &Gpu, cycle: &Cycle, parameters: &Parameters, gradients: &Parameters, scenes: Scenes, batch: usize) -> Result<Self> {
        if batch == 0 {
            return Err(Error::Option { option: "batch".into(), found: "0".into(), expected: "at least 1".into() });
        }
        let levels = Levels::new(gpu, cycle, &vec![Grid::new(scenes.sizes())?; batch])?;
        let mut graph = Graph::new();
        let (nodes, coefficients, mut bindings) = levels.nodes(&mut graph, cycle)?;
        let shape = [&[batch, 1], scenes.sizes()].concat();
        let x = graph.input("x", &shape)?;
        let masked = graph.mul(x, nodes[0].fluid)?;
        let zero = graph.constant(0.0, &shape)?;
        let b = nodes[0].residual(&mut graph, zero, masked)?;
        let q = cycle.cycle(&mut graph, &coefficients, &nodes, b)?;
        let value = direction_loss(&mut graph, &nodes[0].laplacian, q, b)?;
        let named: Vec<_> = graph.parameters().map(|(name, var)| (name.to_owned(), var)).collect();
        let wrt: Vec<_> = named.iter().map(|&(_, var)| var).collect();
        let grads = graph.gradient(value, &wrt)?;
        let plan = Plan::new(gpu, &graph, &[Stage::new(&[&[value], &grads[..]].concat())])?;
        let (values, loss) = (Tensor::zeros(gpu, &shape, DType::F32)?, Tensor::zeros(gpu, &[], DType::F32)?);
        bindings.extend([(x, &values), (value, &loss)]);
        for ((name, var), &grad) in named.iter().zip(&grads) {
            bindings.extend([(*var, parameters.get(name)?), (grad, gradients.get(name)?)]);
        }
        if std::env::var("PLAN").is_ok() {
            println!("{plan:?}");
        }
        let recording = plan.compile(gpu, &bindings)?.recording(0)?;
        Ok(Self { gpu: gpu.clone(), scenes, levels, x: values, loss, recording })
    }

    /// Draws batch `number` of those that `seed` stands for, and uploads it. It takes effect before the next submission.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn draw(&self, seed: u64, number: u32) -> Result<()> {
        let batch = self.x.shape()[0] as u32;
        let samples = (0..batch).map(|i| self.scenes.sample(seed, number.wrapping_mul(batch).wrapping_add(i)));
        let samples = samples.collect::<Result<Vec<_>>>()?;
        let (grids, values): (Vec<Grid>, Vec<Vec<f32>>) = samples.into_iter().unzip();
        self.x.write(&self.gpu, &values.concat())?;
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

pub(super) type Bindings<'a> = Vec<(Var, &'a Tensor)>;

impl Levels {
    pub(super) fn nodes(&self, graph: &mut Graph, cycle: &Cycle) -> Result<(Vec<Nodes>, Coefficients, Bindings<'_>)> {
        let mut bindings = Vec::new();
        let mut taps = Vec::new();
        for (name, tensor) in ["stencil taps", "transfer taps"].into_iter().zip(&self.taps) {
            let var = graph.indices(name, tensor.shape())?;
            bindings.push((var, tensor));
            taps.push(var);
        }
        let c = cycle.coefficients(graph, [taps[0], taps[1]])?;
        let mut nodes = Vec::new();
        for (l, level) in self.levels.iter().enumerate() {
            let shape = level.fluid.shape();
            let fluid = graph.input(&format!("fluid {l}"), shape)?;
            bindings.push((fluid, &level.fluid));
            let [smoothing, coarse] = match c.tables {
                Some(tables) => {
                    let classes = graph.indices(&format!("classes {l}"), shape)?;
                    bindings.push((classes, &level.classes));
                    let mut scale = |table| {
                        let rows = graph.gather(table, classes)?;
                        let rows = graph.reshape(rows, shape)?;
                        let rows = graph.add_scalar(rows, 1.0)?;
                        graph.mul(fluid, rows)
                    };
                    // there is no level above the finest that it could be restricted from
                    [scale(tables[0])?, if l == 0 { fluid } else { scale(tables[1])? }]
                }
                None => [fluid, fluid],
            };
            nodes.push(Nodes { laplacian: level.laplacians.linear_map()?, fluid, smoothing, coarse });
        }
        Ok((nodes, c, bindings))
    }
}
