//! A network and its training, which goes on from a checkpoint as if it had not been interrupted.

use std::collections::HashMap;
use std::f64::consts::PI;

use gradus::optim::{Adam, AdamP, Algorithm, DiffGrad, Optimizer, Options, Param};
use gradus::poisson::Grid;
use gradus::poisson::dcdm::{Architecture, Batches, Mixtures, Training, Weights};
use gradus::{DType, Gpu, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use wgpu::{PollType, SubmissionIndex};

use crate::Result;

/// The most losses that are on the device before they are read.
const UNREAD: usize = 256;

/// The one cycle of the learning rate: up within this share of the steps, from the first of these shares of the peak, then
/// down to the second, along half a cosine each (Smith and Topin 2018; PyTorch's `OneCycleLR`).
const RISE: f64 = 0.3;
const ENDS: [f64; 2] = [1.0 / 25.0, 1.0 / 2.5e5];

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    Adam,
    Adamp,
    #[value(name = "diffgrad")]
    DiffGrad,
}

/// What a training is.
#[derive(Clone, Debug)]
pub struct Config {
    pub architecture: Architecture,
    /// Cells an axis, one size after another from step to step.
    pub sizes: Vec<usize>,
    /// Whether there is air around the box, rather than walls.
    pub open: bool,
    /// The share of samples with obstacles.
    pub obstacles: f64,
    /// Samples a step at the first size.
    pub batch: usize,
    pub steps: u32,
    pub optimizer: Choice,
    /// At its greatest.
    pub lr: f64,
    pub seed: u64,
}

pub struct Trainer {
    gpu: Gpu,
    config: Config,
    weights: Weights,
    batches: Vec<Batches>,
    optimizer: Optimizer,
    /// The losses of all steps that were read.
    losses: Vec<f32>,
    unread: Tensor,
    /// Steps taken.
    step: u32,
    previous: Option<SubmissionIndex>,
}

impl Config {
    /// An empty box of `size` cells an axis.
    pub fn walls(&self, size: usize) -> gradus::Result<Grid> {
        let dim = self.architecture.dim;
        Grid::new(&vec![size; dim])?.with_open(&vec![[self.open; 2]; dim])
    }

    /// Samples a step at a size: so many that the cells are about as many as at the first.
    fn samples(&self, size: usize) -> usize {
        let cells = |size: usize| (size as f64).powi(self.architecture.dim as i32);
        let first = self.sizes.first().map_or(1.0, |&first| cells(first));
        ((self.batch as f64 * first / cells(size)).round() as usize).max(1)
    }

    /// Of a step, from 0.
    pub fn lr(&self, step: u32) -> f64 {
        let (at, rise) = (f64::from(step), (RISE * f64::from(self.steps)).max(1.0));
        let between = |from: f64, to: f64, share: f64| to + (from - to) * 0.5 * (1.0 + (PI * share).cos());
        let share = match at < rise {
            true => between(ENDS[0], 1.0, at / rise),
            false => between(1.0, ENDS[1], (at - rise) / (f64::from(self.steps) - rise).max(1.0)),
        };
        self.lr * share
    }

    /// What is trained on.
    pub fn data(&self) -> String {
        let power = if self.architecture.dim == 2 { "²" } else { "³" };
        let sizes: Vec<String> = self.sizes.iter().map(|size| format!("{size}{power}")).collect();
        format!(
            "mixtures of the modes of empty boxes of {} cells with {} around, the lower 55 % weighted 9 times as much as the others, \
             {} of them with obstacles",
            sizes.join(", "),
            if self.open { "air" } else { "walls" },
            if self.obstacles == 0.0 { "none".into() } else { format!("{:.0} %", 100.0 * self.obstacles) }
        )
    }

    fn algorithm(&self) -> Box<dyn Algorithm> {
        let lr = self.lr;
        match self.optimizer {
            Choice::Adam => Box::new(Adam { lr, ..Default::default() }),
            Choice::Adamp => Box::new(AdamP { lr, ..Default::default() }),
            Choice::DiffGrad => Box::new(DiffGrad { lr, ..Default::default() }),
        }
    }

    pub fn to_json(&self) -> Value {
        json!({
            "architecture": self.architecture.to_json(),
            "sizes": self.sizes,
            "open": self.open,
            "obstacles": self.obstacles,
            "batch": self.batch,
            "steps": self.steps,
            "optimizer": format!("{:?}", self.optimizer),
            "lr": self.lr,
            "seed": self.seed,
        })
    }
}

/// What computes.
pub fn adapter(gpu: &Gpu) -> String {
    let info = gpu.device().adapter_info();
    format!("{} ({}, {})", info.name, info.backend, info.driver_info)
}

impl Trainer {
    pub fn new(gpu: &Gpu, config: &Config) -> Result<Self> {
        if config.sizes.is_empty() {
            return Err("there is no size to train at".into());
        }
        let training = Training {
            data: config.data(),
            steps: config.steps.into(),
            batch: config.batch as u64,
            optimizer: format!("{:?}, one cycle with a peak of {}", config.optimizer, config.lr),
            seed: config.seed,
            adapter: adapter(gpu),
        };
        let weights = Weights { training, ..Weights::initial(gpu, &config.architecture, config.seed)? };
        let parameters = &weights.parameters;
        let gradients = parameters.like(gpu)?;
        let batches = |&size: &usize| {
            let mixtures = Mixtures::new(&config.walls(size)?, config.obstacles)?;
            Batches::new(gpu, &config.architecture, parameters, &gradients, mixtures, config.samples(size))
        };
        let batches = config.sizes.iter().map(batches).collect::<gradus::Result<Vec<_>>>()?;
        let pairs = parameters.tensors().iter().zip(gradients.tensors());
        let params: Vec<Param> = parameters.names().iter().zip(pairs).map(|(name, (param, grad))| Param::new(name, param, grad)).collect();
        // a direction may leave much more than there was
        let options = Options { max_norm: Some(1.0), ..Default::default() };
        let optimizer = Optimizer::with_options(gpu, &*config.algorithm(), &params, options)?;
        let unread = Tensor::zeros(gpu, &[UNREAD], DType::F32)?;
        let (gpu, config) = (gpu.clone(), config.clone());
        Ok(Self { gpu, config, weights, batches, optimizer, losses: Vec::new(), unread, step: 0, previous: None })
    }

    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Steps taken.
    pub fn steps(&self) -> u32 {
        self.step
    }

    /// Takes a step, and waits for the one before it.
    pub async fn step(&mut self) -> Result<()> {
        let batches = &self.batches[self.step as usize % self.batches.len()];
        // while the device has the step before
        batches.draw(self.config.seed, self.step)?;
        self.optimizer.set_lr(0, self.config.lr(self.step))?;
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        batches.recording().encode(&mut encoder);
        self.optimizer.step(&mut encoder);
        let place = 4 * (self.step as usize - self.losses.len()) as u64;
        encoder.copy_buffer_to_buffer(batches.loss().buffer(), batches.loss().offset(), self.unread.buffer(), place, 4);
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

    /// All that the training depends on from here, with a text of the caller's.
    pub async fn checkpoint(&mut self, note: &str) -> Result<Vec<u8>> {
        let losses: Vec<u8> = self.losses().await?.iter().flat_map(|loss| loss.to_le_bytes()).collect();
        let (parameters, optimizer) = (self.weights.parameters.save(&self.gpu).await?, self.optimizer.state_dict().await?);
        let tensors = [
            ("parameters", TensorView::new(Dtype::U8, vec![parameters.len()], &parameters)?),
            ("optimizer", TensorView::new(Dtype::U8, vec![optimizer.len()], &optimizer)?),
            ("losses", TensorView::new(Dtype::F32, vec![losses.len() / 4], &losses)?),
        ];
        let metadata = HashMap::from([("config".to_owned(), self.config.to_json().to_string()), ("note".to_owned(), note.to_owned())]);
        Ok(safetensors::serialize(tensors, Some(metadata))?)
    }

    /// Goes on from a checkpoint of the same training, and returns its note.
    pub fn resume(&mut self, bytes: &[u8]) -> Result<String> {
        let file = SafeTensors::deserialize(bytes)?;
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let mut metadata = header.metadata().clone().unwrap_or_default();
        let (expected, found) = (self.config.to_json(), metadata.remove("config").unwrap_or_default());
        if serde_json::from_str::<Value>(&found).ok().as_ref() != Some(&expected) {
            return Err(format!("the checkpoint is of another training: {found}, not {expected}").into());
        }
        self.weights.parameters.load(&self.gpu, file.tensor("parameters")?.data())?;
        self.optimizer.load_state_dict(file.tensor("optimizer")?.data())?;
        self.losses = file.tensor("losses")?.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        self.step = self.losses.len() as u32;
        Ok(metadata.remove("note").unwrap_or_default())
    }
}
