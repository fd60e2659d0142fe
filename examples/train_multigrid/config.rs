//! What the training of a cycle is.

use gradus::graph::Parameters;
use gradus::optim::Adam;
use gradus::poisson::learned_multigrid::{Batches, Cycle, Scene, Scenes, Training};
use gradus::{Gpu, Recording, Tensor};
use serde_json::{Value, json};

use crate::Result;
use crate::trainer::{Schedule, Source, Trainer, adapter, samples};

#[derive(Clone, Debug)]
pub struct Config {
    pub cycle: Cycle,
    /// Cells an axis, one size after another from step to step.
    pub sizes: Vec<usize>,
    pub scenes: Vec<Scene>,
    /// Samples a step at the first size.
    pub batch: usize,
    pub schedule: Schedule,
}

impl Config {
    /// The coefficients, and the training of them.
    pub fn trainer(&self, gpu: &Gpu) -> Result<(Parameters, Trainer<Batches>)> {
        let parameters = self.cycle.parameters(gpu)?;
        let gradients = parameters.like(gpu)?;
        let batches = |&size: &usize| {
            let scenes = Scenes::new(&vec![size; self.cycle.dim], &self.scenes)?;
            let samples = samples(self.batch, &self.sizes, size, self.cycle.dim);
            Batches::new(gpu, &self.cycle, &parameters, &gradients, scenes, samples)
        };
        let batches = self.sizes.iter().map(batches).collect::<gradus::Result<Vec<_>>>()?;
        let adam = Adam { lr: self.schedule.lr, ..Default::default() };
        let trainer = Trainer::new(gpu, self.schedule, self.to_json(), &adam, &parameters, &gradients, batches)?;
        Ok((parameters, trainer))
    }

    pub fn training(&self, gpu: &Gpu) -> Training {
        Training {
            data: self.data(),
            steps: self.schedule.steps.into(),
            batch: self.batch as u64,
            optimizer: format!("Adam, one cycle with a peak of {}", self.schedule.lr),
            seed: self.schedule.seed,
            adapter: adapter(gpu),
        }
    }

    /// What is trained on.
    fn data(&self) -> String {
        let power = if self.cycle.dim == 2 { "²" } else { "³" };
        let sizes: Vec<String> = self.sizes.iter().map(|size| format!("{size}{power}")).collect();
        format!("Laplacians of noise of all scales, {} cells, {}", sizes.join(", "), self.names().join(", "))
    }

    fn names(&self) -> Vec<String> {
        self.scenes.iter().map(|scene| format!("{scene:?}").to_lowercase()).collect()
    }

    fn to_json(&self) -> Value {
        let Cycle { dim, radius, tables } = self.cycle;
        let Schedule { steps, lr, seed } = self.schedule;
        json!({
            "dim": dim,
            "radius": radius,
            "tables": tables,
            "sizes": self.sizes,
            "scenes": self.names(),
            "batch": self.batch,
            "steps": steps,
            "lr": lr,
            "seed": seed,
        })
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
