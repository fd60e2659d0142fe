//! The step of a training.

use super::data::Mixtures;
use super::loss::{Laplacians, direction_loss, dots, step_residual};
use super::network::Architecture;
use crate::gpu::{DType, Gpu, Recording, Tensor};
use crate::graph::{Graph, Parameters, Plan, Stage};
use crate::poisson::Grid;
use crate::{Error, Result, vector};

/// The [loss](direction_loss) of a network on batches of [samples](Mixtures), and its gradient, for one size of grids.
/// Several for other sizes may share parameters and gradients: a training on mixed sizes takes one after another.
///
/// A sample is not only what was drawn. For some steps it is *followed*: in place of b comes the residual that the step along
/// the network's direction has left of it, of norm 1 again. So the network learns of what it leaves, which is what
/// it is given by a solver, and which is no mixture of modes. Following for one step, it learns of samples alone, as published.
///
/// ```
/// use gradus::Gpu;
/// use gradus::optim::{Adam, Optimizer, Param};
/// use gradus::poisson::Grid;
/// use gradus::poisson::dcdm::{Architecture, Batches, Mixtures};
///
/// # fn example(gpu: &Gpu) -> gradus::Result<()> {
/// let architecture = Architecture::net_64(2);
/// let parameters = architecture.parameters(gpu, 0)?;
/// let gradients = parameters.like(gpu)?;
/// let optimizer = Optimizer::new(gpu, &Adam::default(), &[Param::new("all", parameters.flat(), gradients.flat())])?;
/// let mixtures = Mixtures::new(&Grid::new(&[64, 64])?, 0.0)?;
/// let mut batches = Batches::new(gpu, &architecture, &parameters, &gradients, mixtures, 16, 8)?;
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
    mixtures: Mixtures,
    laplacians: Laplacians,
    follow: u32,
    /// Of the samples that are in `b`.
    grids: Vec<Grid>,
    b: Tensor,
    loss: Tensor,
    recording: Recording,
}

impl Batches {
    /// Of `batch` samples each, followed for `follow` steps. `parameters` are those of the architecture, and `gradients` tensors of the same names and
    /// shapes, which the recording writes.
    ///
    /// # Errors
    /// [`Error::Option`] for an architecture out of range, of another dimension than the grid, an empty batch or one followed for no step;
    /// [`Error::Unknown`] or [`Error::Shape`] for parameters of another one; [`Error::OutOfMemory`],
    /// [`Error::LimitTooSmall`].
    pub fn new(
        gpu: &Gpu,
        architecture: &Architecture,
        parameters: &Parameters,
        gradients: &Parameters,
        mixtures: Mixtures,
        batch: usize,
        follow: u32,
    ) -> Result<Self> {
        if let Some((option, _)) = [("batch", batch), ("follow", follow as usize)].into_iter().find(|&(_, count)| count == 0) {
            return Err(Error::Option { option: option.into(), found: "0".into(), expected: "at least 1".into() });
        }
        let grids = vec![mixtures.walls().clone(); batch];
        let laplacians = Laplacians::new(gpu, &grids)?;
        let shape = [&[batch, 1], mixtures.walls().sizes()].concat();
        let mut graph = Graph::new();
        let x = graph.input("b", &shape)?;
        let q = architecture.build(&mut graph, x)?;
        let map = laplacians.linear_map()?;
        let value = direction_loss(&mut graph, &map, q, x)?;
        let residual = step_residual(&mut graph, &map, q, x)?;
        let square = dots(&mut graph, residual, residual)?;
        let norm = graph.sqrt(square)?;
        let left = graph.div(residual, norm)?;
        let named: Vec<_> = graph.parameters().map(|(name, var)| (name.to_owned(), var)).collect();
        let wrt: Vec<_> = named.iter().map(|&(_, var)| var).collect();
        let grads = graph.gradient(value, &wrt)?;
        let plan = Plan::new(gpu, &graph, &[Stage::new(&[&[value, left], &grads[..]].concat())])?;
        let (b, loss) = (Tensor::zeros(gpu, &shape, DType::F32)?, Tensor::zeros(gpu, &[], DType::F32)?);
        let mut bindings = vec![(x, &b), (value, &loss)];
        for ((name, var), &grad) in named.iter().zip(&grads) {
            bindings.extend([(*var, parameters.get(name)?), (grad, gradients.get(name)?)]);
        }
        let program = plan.compile(gpu, &bindings)?;
        let mut recording = program.recording(0)?;
        vector::copy(gpu, &mut recording, program.tensor(left)?, &b)?;
        Ok(Self { gpu: gpu.clone(), mixtures, laplacians, follow, grids, b, loss, recording })
    }

    /// Makes batch `number` of those that `seed` stands for, after the one before it: draws samples for those that were
    /// followed for long enough, and for all of batch 0. It takes effect before the next submission.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn draw(&mut self, seed: u64, number: u32) -> Result<()> {
        let (sizes, cells) = (self.mixtures.walls().sizes(), self.mixtures.walls().len());
        for i in 0..self.grids.len() {
            if self.drawn_at(i, number) == number {
                let sample = self.mixtures.sample(seed, self.sample(i, number))?;
                let part = Tensor::from_buffer(self.b.buffer(), self.b.offset() + 4 * (i * cells) as u64, sizes, DType::F32)?;
                part.write(&self.gpu, &sample.b)?;
                self.grids[i] = sample.grid;
            }
        }
        self.write_grids()
    }

    /// Makes what was before batch `number`, with `b` as it was left: what [`Batches::b`] held.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of elements; [`Error::DeviceLost`].
    pub fn resume(&mut self, seed: u64, number: u32, b: &[f32]) -> Result<()> {
        self.b.write(&self.gpu, b)?;
        if let Some(before) = number.checked_sub(1) {
            for i in 0..self.grids.len() {
                self.grids[i] = self.mixtures.sample(seed, self.sample(i, self.drawn_at(i, before)))?.grid;
            }
        }
        self.write_grids()
    }

    /// The batch at which sample `i` of batch `number` was drawn; not all are drawn at the same.
    fn drawn_at(&self, i: usize, number: u32) -> u32 {
        number.saturating_sub((number.wrapping_add(i as u32)) % self.follow)
    }

    /// The number of the sample that is drawn as number `i` of a batch.
    fn sample(&self, i: usize, batch: u32) -> u32 {
        batch.wrapping_mul(self.grids.len() as u32).wrapping_add(i as u32)
    }

    fn write_grids(&self) -> Result<()> {
        match self.mixtures.is_box() {
            true => Ok(()),
            false => self.laplacians.write(&self.grids),
        }
    }

    /// The loss and its gradient, and what the step leaves of the samples, for the next batch.
    #[must_use]
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// What the recording leaves of the loss, one f32.
    #[must_use]
    pub fn loss(&self) -> &Tensor {
        &self.loss
    }

    /// The right-hand sides, `[batch, 1, sizes..]`; after the recording those that are left.
    #[must_use]
    pub fn b(&self) -> &Tensor {
        &self.b
    }
}
