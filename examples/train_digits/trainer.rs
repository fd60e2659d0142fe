//! A model on the device, and its training.

use std::f64::consts::PI;
use std::time::{Duration, Instant};

use gradus::graph::{Graph, Parameters, Plan, Stage, losses};
use gradus::optim::{Algorithm, Optimizer, Param};
use gradus::{DType, Gpu, Recording, Tensor};
use indicatif::ProgressBar;
use wgpu::PollType;

use crate::Result;
use crate::digits::Digits;
use crate::model::Model;
use crate::random::Random;

/// A training that is over.
pub struct Run {
    /// The mean of each epoch.
    pub losses: Vec<f64>,
    pub accuracy: f64,
    /// None if there were no steps.
    pub step: Option<Duration>,
}

/// How a training goes.
pub struct Schedule {
    pub lr: f64,
    pub epochs: u32,
    /// Of the order of the samples.
    pub seed: u64,
}

/// What does not depend on the optimizer.
pub struct Trainer {
    gpu: Gpu,
    /// What the parameters begin with, a safetensors file.
    initial: Vec<u8>,
    parameters: Parameters,
    gradients: Parameters,
    labels: Vec<u32>,
    /// How often the data has each digit that is trained on after all digits as they are.
    copies: usize,
    /// Which row of the data each place of a batch is, and the classes of these rows.
    order: Tensor,
    classes: Tensor,
    /// Loss and gradient of each batch.
    batches: Vec<Recording>,
    /// The loss of each batch.
    losses: Tensor,
    test: Recording,
    test_logits: Tensor,
    plan: Plan,
}

impl Trainer {
    /// `weights` is a safetensors file to begin with. Batches are of `batch` samples; the few samples of an epoch that
    /// do not fill one are left out, other ones each time.
    pub async fn new(gpu: &Gpu, model: Model, digits: &Digits, batch: usize, seed: u64, weights: Option<&[u8]>) -> Result<Self> {
        let (samples, train) = (digits.labels.len(), digits.train);
        let batch = batch.min(train);
        let data = model.data(gpu, digits)?;
        let order = Tensor::zeros(gpu, &[train], DType::U32)?;
        let classes = Tensor::zeros(gpu, &[train], DType::U32)?;
        let losses = Tensor::zeros(gpu, &[train / batch], DType::F32)?;

        // the rows of a batch are gathered from the data, by their numbers in a part of `order`
        let mut graph = Graph::new();
        let all = graph.input("data", data.shape())?;
        let places = graph.indices("order", &[batch])?;
        let targets = graph.indices("classes", &[batch])?;
        let x = graph.gather(all, places)?;
        let logits = model.logits(&mut graph, x)?;
        let loss = losses::cross_entropy(&mut graph, logits, targets)?;
        let wrt: Vec<_> = graph.parameters().map(|(_, var)| var).collect();
        let grads = graph.gradient(loss, &wrt)?;
        let plan = Plan::new(gpu, &graph, &[Stage::new(&[&[loss], &grads[..]].concat())])?;

        let parameters = Parameters::new(gpu, &graph, seed)?;
        if let Some(weights) = weights {
            parameters.load(gpu, weights)?;
        }
        let gradients = parameters.like(gpu)?;
        let part = |tensor: &Tensor, i: usize, shape: &[usize]| {
            let elements = shape.iter().product::<usize>() * i;
            Tensor::from_buffer(tensor.buffer(), elements as u64 * 4, shape, tensor.dtype())
        };
        let mut bindings = vec![(all, &data)];
        bindings.extend(wrt.iter().copied().zip(parameters.tensors()));
        bindings.extend(grads.iter().copied().zip(gradients.tensors()));
        let program = plan.compile(gpu, &bindings)?;
        let mut batches = Vec::new();
        for i in 0..train / batch {
            let (order, classes, value) = (part(&order, i, &[batch])?, part(&classes, i, &[batch])?, part(&losses, i, &[])?);
            let mut recording = Recording::new();
            program.record(&mut recording, 0, &[(places, &order), (targets, &classes), (loss, &value)])?;
            batches.push(recording);
        }

        // the test is one batch, without a gradient
        let count = samples - train;
        let mut graph = Graph::new();
        let width = data.shape()[1];
        let x = graph.input("data", &[count, width])?;
        let logits = model.logits(&mut graph, x)?;
        let rows = Tensor::from_buffer(data.buffer(), (train * width) as u64 * 4, &[count, width], DType::F32)?;
        let mut bindings = vec![(x, &rows)];
        bindings.extend(graph.parameters().map(|(_, var)| var).zip(parameters.tensors()));
        let program = Plan::new(gpu, &graph, &[Stage::new(&[logits])])?.compile(gpu, &bindings)?;
        let (test, test_logits) = (program.recording(0)?, program.tensor(logits)?.clone());

        let initial = parameters.save(gpu).await?;
        let copies = (data.shape()[0] - samples) / train;
        let (gpu, labels) = (gpu.clone(), digits.labels.clone());
        Ok(Self { gpu, initial, parameters, gradients, labels, copies, order, classes, batches, losses, test, test_logits, plan })
    }

    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub async fn train(&self, algorithm: &dyn Algorithm, schedule: &Schedule, bar: &ProgressBar) -> Result<Run> {
        let gpu = &self.gpu;
        // the same beginning for every optimizer
        self.parameters.load(gpu, &self.initial)?;
        let pairs = self.parameters.tensors().iter().zip(self.gradients.tensors());
        let params: Vec<Param> =
            self.parameters.names().iter().zip(pairs).map(|(name, (param, grad))| Param::new(name, param, grad)).collect();
        let mut optimizer = Optimizer::new(gpu, algorithm, &params)?;

        let per_epoch = self.batches.len();
        let epochs = schedule.epochs as usize;
        // the losses of all epochs, read when all is over
        let history = Tensor::zeros(gpu, &[epochs.max(1), per_epoch], DType::F32)?;
        let mut random = Random(schedule.seed);
        let mut order: Vec<u32> = (0..self.order.len() as u32).collect();
        let mut previous = None;
        let mut start = Instant::now();
        for epoch in 0..epochs {
            // Fisher-Yates
            for i in (1..order.len()).rev() {
                order.swap(i, random.below(i + 1));
            }
            // each as it is, or distorted
            let row = |sample: u32| match random.below(1 + self.copies) {
                0 => sample,
                copy => (self.labels.len() + (copy - 1) * order.len()) as u32 + sample,
            };
            let rows: Vec<u32> = order.iter().copied().map(row).collect();
            self.order.write(gpu, &rows)?;
            let classes: Vec<u32> = order.iter().map(|&sample| self.labels[sample as usize]).collect();
            self.classes.write(gpu, &classes)?;
            // half a cosine, down to almost zero
            optimizer.set_lr(0, schedule.lr * 0.5 * (1.0 + (PI * epoch as f64 / epochs as f64).cos()))?;
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            for batch in &self.batches {
                batch.encode(&mut encoder);
                optimizer.step(&mut encoder);
            }
            let bytes = self.losses.bytes();
            encoder.copy_buffer_to_buffer(self.losses.buffer(), 0, history.buffer(), epoch as u64 * bytes, bytes);
            let submission = gpu.queue().submit([encoder.finish()]);
            // one epoch runs while the next is encoded, and no more than that pile up
            if let Some(submission_index) = previous.replace(submission) {
                gpu.device().poll(PollType::Wait { submission_index: Some(submission_index), timeout: None })?;
            }
            if epoch == 0 {
                // the first epoch is not measured, if there are others: drivers compile meanwhile
                gpu.device().poll(PollType::wait_indefinitely())?;
                if epochs > 1 {
                    start = Instant::now();
                }
            }
            if epoch % 10 == 9 {
                bar.set_message(format!("{:.4}", mean(&self.losses.read(gpu).await?)));
            }
            bar.set_position(epoch as u64 + 1);
        }
        gpu.device().poll(PollType::wait_indefinitely())?;
        let steps = (epochs.saturating_sub(1).max(epochs.min(1)) * per_epoch) as u32;
        let step = (steps > 0).then(|| start.elapsed() / steps);
        bar.finish_and_clear();

        gpu.submit([&self.test]);
        let logits: Vec<f32> = self.test_logits.read(gpu).await?;
        let labels = &self.labels[self.order.len()..];
        let rows = logits.chunks_exact(logits.len() / labels.len());
        let correct = rows.zip(labels).filter(|(row, label)| is_largest(row, **label as usize)).count();
        let losses: Vec<f32> = history.read(gpu).await?;
        let losses = losses.chunks_exact(per_epoch).take(epochs).map(mean).collect();
        Ok(Run { losses, accuracy: correct as f64 / labels.len() as f64, step })
    }
}

fn mean(losses: &[f32]) -> f64 {
    losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64
}

/// Whether no other element is as large.
fn is_largest(row: &[f32], i: usize) -> bool {
    row.iter().enumerate().all(|(j, value)| j == i || *value < row[i])
}
