//! Trainings that go on from a checkpoint as if they had not been interrupted.

use std::f64::consts::PI;

use gradus::graph::Parameters;
use gradus::optim::{Algorithm, Optimizer, Options, Param};
use gradus::{DType, Gpu, Recording, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use wgpu::{PollType, SubmissionIndex};

use crate::Result;

/// The most losses that are on the device before they are read.
const UNREAD: usize = 256;

/// The one cycle of the learning rate: up within this share of the steps, from the first of these shares of the peak, then
/// down to the second, along half a cosine each (Smith and Topin 2018; PyTorch's `OneCycleLR`).
const RISE: f64 = 0.3;
const ENDS: [f64; 2] = [1.0 / 25.0, 1.0 / 2.5e5];

/// A loss and its gradient, on data that are drawn for each step.
pub trait Source {
    fn draw(&self, seed: u64, number: u32) -> gradus::Result<()>;
    fn recording(&self) -> &Recording;
    fn loss(&self) -> &Tensor;
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    pub steps: u32,
    /// The learning rate at its greatest.
    pub lr: f64,
    /// Of the data.
    pub seed: u64,
}

pub struct Trainer<S> {
    gpu: Gpu,
    schedule: Schedule,
    /// Of the training, for checkpoints.
    description: Value,
    parameters: Parameters,
    /// One after another from step to step.
    sources: Vec<S>,
    optimizer: Optimizer,
    /// The losses of all steps that were read.
    losses: Vec<f32>,
    unread: Tensor,
    /// Steps taken.
    step: u32,
    previous: Option<SubmissionIndex>,
}

impl Schedule {
    /// The learning rate of a step, from 0.
    pub fn lr(&self, step: u32) -> f64 {
        let (at, rise) = (f64::from(step), (RISE * f64::from(self.steps)).max(1.0));
        let between = |from: f64, to: f64, share: f64| to + (from - to) * 0.5 * (1.0 + (PI * share).cos());
        let share = match at < rise {
            true => between(ENDS[0], 1.0, at / rise),
            false => between(1.0, ENDS[1], (at - rise) / (f64::from(self.steps) - rise).max(1.0)),
        };
        self.lr * share
    }
}

/// Samples a step at a size of so many: so many that the cells are about as many as at the first.
pub fn samples(batch: usize, sizes: &[usize], size: usize, dim: usize) -> usize {
    let cells = |size: usize| (size as f64).powi(dim as i32);
    let first = sizes.first().map_or(1.0, |&first| cells(first));
    ((batch as f64 * first / cells(size)).round() as usize).max(1)
}

/// What computes.
pub fn adapter(gpu: &Gpu) -> String {
    let info = gpu.adapter_info();
    format!("{} ({}, {})", info.name, info.backend, info.driver_info)
}

impl<S: Source> Trainer<S> {
    /// The sources write `gradients`. A checkpoint is of a training of the same `description`.
    pub fn new(
        gpu: &Gpu,
        schedule: Schedule,
        description: Value,
        algorithm: &dyn Algorithm,
        parameters: &Parameters,
        gradients: &Parameters,
        sources: Vec<S>,
    ) -> Result<Self> {
        if sources.is_empty() {
            return Err("there is no size to train at".into());
        }
        let pairs = parameters.tensors().iter().zip(gradients.tensors());
        let params: Vec<Param> = parameters.names().iter().zip(pairs).map(|(name, (param, grad))| Param::new(name, param, grad)).collect();
        // a direction may leave much more than there was
        let options = Options { max_norm: Some(1.0), ..Default::default() };
        let optimizer = Optimizer::with_options(gpu, algorithm, &params, options)?;
        let unread = Tensor::zeros(gpu, &[UNREAD], DType::F32)?;
        let (gpu, parameters) = (gpu.clone(), parameters.clone());
        Ok(Self { gpu, schedule, description, parameters, sources, optimizer, losses: Vec::new(), unread, step: 0, previous: None })
    }

    /// Steps taken.
    pub fn steps(&self) -> u32 {
        self.step
    }

    /// Takes a step, and waits for the one before it.
    pub async fn step(&mut self) -> Result<()> {
        let source = &self.sources[self.step as usize % self.sources.len()];
        // while the device has the step before
        source.draw(self.schedule.seed, self.step)?;
        self.optimizer.set_lr(0, self.schedule.lr(self.step))?;
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        source.recording().encode(&mut encoder);
        self.optimizer.step(&mut encoder);
        let place = 4 * (self.step as usize - self.losses.len()) as u64;
        encoder.copy_buffer_to_buffer(source.loss().buffer(), source.loss().offset(), self.unread.buffer(), place, 4);
        let submission = self.gpu.queue().submit([encoder.finish()]);
        if let Some(submission_index) = self.previous.replace(submission) {
            self.gpu.device().poll(PollType::Wait { submission_index: Some(submission_index), timeout: None })?;
        }
        self.step += 1;
        if self.step as usize - self.losses.len() == UNREAD {
            self.losses().await?;
        }
        Ok(())
    }

    /// The loss of each step.
    pub async fn losses(&mut self) -> Result<&[f32]> {
        let count = self.step as usize - self.losses.len();
        if count > 0 {
            let unread: Vec<f32> = self.unread.read(&self.gpu).await?;
            self.losses.extend(&unread[..count]);
        }
        Ok(&self.losses)
    }

    /// The mean of the last hundred losses.
    pub async fn loss(&mut self) -> Result<f64> {
        let losses = self.losses().await?;
        let last = &losses[losses.len().saturating_sub(100)..];
        Ok(last.iter().map(|&loss| f64::from(loss)).sum::<f64>() / last.len().max(1) as f64)
    }

    /// All that the training depends on from here, with a text of the caller's.
    pub async fn checkpoint(&mut self, note: &str) -> Result<Vec<u8>> {
        let losses: Vec<u8> = self.losses().await?.iter().flat_map(|loss| loss.to_le_bytes()).collect();
        let (parameters, optimizer) = (self.parameters.save(&self.gpu).await?, self.optimizer.state_dict().await?);
        let tensors = [
            ("parameters", TensorView::new(Dtype::U8, vec![parameters.len()], &parameters)?),
            ("optimizer", TensorView::new(Dtype::U8, vec![optimizer.len()], &optimizer)?),
            ("losses", TensorView::new(Dtype::F32, vec![losses.len() / 4], &losses)?),
        ];
        let metadata = [("config".to_owned(), self.description.to_string()), ("note".to_owned(), note.to_owned())];
        Ok(safetensors::serialize(tensors, Some(metadata.into_iter().collect()))?)
    }

    /// Goes on from a checkpoint of the same training, and returns its note.
    pub fn resume(&mut self, bytes: &[u8]) -> Result<String> {
        let file = SafeTensors::deserialize(bytes)?;
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let mut metadata = header.metadata().clone().unwrap_or_default();
        let (expected, found) = (&self.description, metadata.remove("config").unwrap_or_default());
        if serde_json::from_str::<Value>(&found).ok().as_ref() != Some(expected) {
            return Err(format!("the checkpoint is of another training: {found}, not {expected}").into());
        }
        self.parameters.load(&self.gpu, file.tensor("parameters")?.data())?;
        self.optimizer.load_state_dict(file.tensor("optimizer")?.data())?;
        self.losses = file.tensor("losses")?.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        self.step = self.losses.len() as u32;
        Ok(metadata.remove("note").unwrap_or_default())
    }
}
