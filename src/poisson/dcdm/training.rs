//! The step of a training.

use super::data::Mixtures;
use super::loss::{Laplacians, direction_loss, loss_and_gradient};
use super::network::Architecture;
use crate::gpu::{DType, Gpu, Recording, Tensor};
use crate::graph::{Graph, Parameters};
use crate::poisson::Grid;
use crate::{Error, Result};

/// The [loss](direction_loss) of a network on batches of [samples](Mixtures), and its gradient, for one size of grids.
/// Several for other sizes may share parameters and gradients: a training on mixed sizes takes one after another.
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
/// let batches = Batches::new(gpu, &architecture, &parameters, &gradients, mixtures, 16)?;
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
    b: Tensor,
    loss: Tensor,
    recording: Recording,
}

impl Batches {
    /// Of `batch` samples each. `parameters` are those of the architecture, and `gradients` tensors of the same names and
    /// shapes, which the recording writes.
    ///
    /// # Errors
    /// [`Error::Option`] for an architecture out of range, of another dimension than the grid, or an empty batch;
    /// [`Error::Unknown`] or [`Error::Shape`] for parameters of another one; [`Error::OutOfMemory`],
    /// [`Error::LimitTooSmall`].
    pub fn new(
        gpu: &Gpu,
        architecture: &Architecture,
        parameters: &Parameters,
        gradients: &Parameters,
        mixtures: Mixtures,
        batch: usize,
    ) -> Result<Self> {
        if batch == 0 {
            return Err(Error::Option { option: "batch".into(), found: "0".into(), expected: "at least 1".into() });
        }
        let laplacians = Laplacians::new(gpu, &vec![mixtures.walls().clone(); batch])?;
        let shape = [&[batch, 1], mixtures.walls().sizes()].concat();
        let mut graph = Graph::new();
        let x = graph.input("b", &shape)?;
        let q = architecture.build(&mut graph, x)?;
        let value = direction_loss(&mut graph, &laplacians.linear_map()?, q, x)?;
        let b = Tensor::zeros(gpu, &shape, DType::F32)?;
        let (recording, loss) = loss_and_gradient(gpu, &mut graph, value, &[(x, &b)], parameters, gradients)?;
        Ok(Self { gpu: gpu.clone(), mixtures, laplacians, b, loss, recording })
    }

    /// Draws batch `number` of those that `seed` stands for, and uploads it. It takes effect before the next submission.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn draw(&self, seed: u64, number: u32) -> Result<()> {
        let batch = self.b.shape()[0] as u32;
        let samples = (0..batch).map(|i| self.mixtures.sample(seed, number.wrapping_mul(batch).wrapping_add(i)));
        let samples = samples.collect::<Result<Vec<_>>>()?;
        let (grids, values): (Vec<Grid>, Vec<Vec<f32>>) = samples.into_iter().map(|sample| (sample.grid, sample.b)).unzip();
        self.b.write(&self.gpu, &values.concat())?;
        match self.mixtures.is_box() {
            true => Ok(()),
            false => self.laplacians.write(&grids),
        }
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

    /// The right-hand sides, `[batch, 1, sizes..]`.
    #[must_use]
    pub fn b(&self) -> &Tensor {
        &self.b
    }
}
