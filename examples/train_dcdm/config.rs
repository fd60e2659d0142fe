//! What the training of a network is.

use gradus::optim::{Adam, AdamP, Algorithm, DiffGrad};
use gradus::poisson::Grid;
use gradus::poisson::dcdm::{Architecture, Batches, Mixtures, Training, Weights};
use gradus::{Gpu, Recording, Tensor};
use serde_json::{Value, json};

use crate::Result;
use crate::trainer::{Schedule, Source, Trainer, adapter, samples};

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

impl Config {
    /// An empty box of `size` cells an axis.
    pub fn walls(&self, size: usize) -> gradus::Result<Grid> {
        let dim = self.architecture.dim;
        Grid::new(&vec![size; dim])?.with_open(&vec![[self.open; 2]; dim])
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

    pub fn schedule(&self) -> Schedule {
        Schedule { steps: self.steps, lr: self.lr, seed: self.seed }
    }

    /// The network, and the training of it.
    pub fn trainer(&self, gpu: &Gpu) -> Result<(Weights, Trainer<Batches>)> {
        let training = Training {
            data: self.data(),
            steps: self.steps.into(),
            batch: self.batch as u64,
            optimizer: format!("{:?}, one cycle with a peak of {}", self.optimizer, self.lr),
            seed: self.seed,
            adapter: adapter(gpu),
        };
        let weights = Weights { training, ..Weights::initial(gpu, &self.architecture, self.seed)? };
        let parameters = &weights.parameters;
        let gradients = parameters.like(gpu)?;
        let batches = |&size: &usize| {
            let mixtures = Mixtures::new(&self.walls(size)?, self.obstacles)?;
            let samples = samples(self.batch, &self.sizes, size, self.architecture.dim);
            Batches::new(gpu, &self.architecture, parameters, &gradients, mixtures, samples)
        };
        let batches = self.sizes.iter().map(batches).collect::<gradus::Result<Vec<_>>>()?;
        let trainer = Trainer::new(gpu, self.schedule(), self.to_json(), &*self.algorithm(), parameters, &gradients, batches)?;
        Ok((weights, trainer))
    }
}

impl Source for Batches {
    fn draw(&self, seed: u64, number: u32) -> gradus::Result<()> {
        self.draw(seed, number)
    }

    fn recording(&self) -> &Recording {
        self.recording()
    }

    fn loss(&self) -> &Tensor {
        self.loss()
    }
}
