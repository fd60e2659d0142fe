//! The models.

use std::f64::consts::TAU;

use gradus::graph::{Graph, Init, Plan, Stage, Var, layers};
use gradus::{DType, Gpu, Tensor};

use crate::cnn::cnn;
use crate::digits::{CLASSES, Digits, PIXELS};
use crate::random::Random;

/// Random Fourier features of an image.
const FEATURES: usize = 1024;
/// Standard deviation of the features' frequencies; the kernel's width is its inverse.
const FREQUENCY: f64 = 0.5;
/// The features are the same ones in every run, whatever `--seed` is.
const FEATURE_SEED: u64 = 0;
/// How often each image is there distorted: turned, sheared, stretched and shifted at random.
const DISTORTIONS: usize = 15;
/// The same ones in every run.
const DISTORTION_SEED: u64 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Model {
    /// A softmax classifier of 1024 random Fourier features of the image
    Softmax,
    /// Two hidden layers of rectifiers
    Mlp,
    /// Two convolutions, each with a rectifier and pooling, and a dense layer
    Cnn,
    /// A transformer of two blocks, whose tokens are the rows of the image
    Attention,
}

impl Model {
    pub fn describe(self) -> &'static str {
        match self {
            Model::Softmax => "Softmax classifier on random Fourier features",
            Model::Mlp => "Network with two hidden layers",
            Model::Cnn => "Convolutional network",
            Model::Attention => "Transformer",
        }
    }

    /// What the model sees of every digit, one row each. Networks, which learn the training data by heart otherwise, also
    /// see it distorted: after all digits there are all that are trained on, again and again.
    pub fn data(self, gpu: &Gpu, digits: &Digits) -> gradus::Result<Tensor> {
        let n = digits.labels.len();
        match self {
            Model::Softmax => features(gpu, &Tensor::from_slice(gpu, &[n, PIXELS], &digits.pixels)?),
            _ => {
                let pixels = distorted(digits);
                Tensor::from_slice(gpu, &[pixels.len() / PIXELS, PIXELS], &pixels)
            }
        }
    }

    /// Logits `[n, 10]` of rows `[n, ..]` of the data.
    pub fn logits(self, graph: &mut Graph, x: Var) -> gradus::Result<Var> {
        match self {
            Model::Softmax => {
                // begins with zeros, as the loss is convex
                let weight = graph.parameter("weight", &[CLASSES, FEATURES], Init::Zeros)?;
                let bias = graph.parameter("bias", &[CLASSES], Init::Zeros)?;
                let transposed = graph.transpose(weight, &[1, 0])?;
                let product = graph.matmul(x, transposed)?;
                graph.add(product, bias)
            }
            Model::Mlp => {
                let mut x = x;
                for (name, width) in [("hidden1", 128), ("hidden2", 64)] {
                    let z = layers::dense(graph, name, x, width)?;
                    x = graph.relu(z)?;
                }
                layers::dense(graph, "head", x, CLASSES)
            }
            Model::Cnn => cnn(graph, x, [16, 32]),
            Model::Attention => {
                let n = graph.shape(x)?[0];
                let rows = graph.reshape(x, &[n, 8, 8])?;
                let embedded = layers::dense(graph, "embedding", rows, 32)?;
                let positions = graph.parameter("positions", &[8, 32], Init::Normal(0.1))?;
                let mut x = graph.add(embedded, positions)?;
                for name in ["block1", "block2"] {
                    x = layers::transformer_block(graph, name, x, 4, 64, false)?;
                }
                let pooled = graph.mean(x, &[1])?;
                layers::dense(graph, "head", pooled, CLASSES)
            }
        }
    }
}

/// All digits, then distortions of all that are trained on.
fn distorted(digits: &Digits) -> Vec<f32> {
    let mut random = Random(DISTORTION_SEED);
    let mut pixels = digits.pixels.clone();
    for _ in 0..DISTORTIONS {
        for image in digits.pixels[..digits.train * PIXELS].chunks_exact(PIXELS) {
            let (sin, cos) = (0.15 * random.normal()).sin_cos();
            let [shear, wide, high] = [0.15, 0.08, 0.08].map(|deviation| deviation * random.normal());
            let [dx, dy] = [0.5, 0.5].map(|deviation| deviation * random.normal());
            for (row, column) in (0..8).flat_map(|row| (0..8).map(move |column| (row, column))) {
                // about the middle
                let (y, x) = (f64::from(row) - 3.5, f64::from(column) - 3.5);
                let (y, x) = ((cos * y - sin * x) * (1.0 + high), (sin * y + cos * x) * (1.0 + wide) + shear * y);
                pixels.push(between(image, y + 3.5 + dy, x + 3.5 + dx));
            }
        }
    }
    pixels
}

/// Between the pixels of an image, linearly; outside they are 0.
fn between(image: &[f32], y: f64, x: f64) -> f32 {
    let pixel = |row: f64, column: f64| match (0.0..8.0).contains(&row) && (0.0..8.0).contains(&column) {
        true => f64::from(image[(8.0 * row + column) as usize]),
        false => 0.0,
    };
    let (row, column) = (y.floor(), x.floor());
    let (v, u) = (y - row, x - column);
    let above = (1.0 - u) * pixel(row, column) + u * pixel(row, column + 1.0);
    let below = (1.0 - u) * pixel(row + 1.0, column) + u * pixel(row + 1.0, column + 1.0);
    ((1.0 - v) * above + v * below) as f32
}

/// φ(x) = 4 √(2/1024) cos(Ω x + b) of each image, computed once.
fn features(gpu: &Gpu, images: &Tensor) -> gradus::Result<Tensor> {
    let n = images.shape()[0];
    let mut random = Random(FEATURE_SEED);
    let frequency: Vec<f32> = (0..PIXELS * FEATURES).map(|_| (FREQUENCY * random.normal()) as f32).collect();
    let phase: Vec<f32> = (0..FEATURES).map(|_| (TAU * random.uniform()) as f32).collect();
    let frequency = Tensor::from_slice(gpu, &[PIXELS, FEATURES], &frequency)?;
    let phase = Tensor::from_slice(gpu, &[FEATURES], &phase)?;

    let mut graph = Graph::new();
    let [x, omega, b] = [("x", images), ("frequency", &frequency), ("phase", &phase)].map(|(name, like)| graph.input(name, like.shape()));
    let (x, omega, b) = (x?, omega?, b?);
    let angle = graph.matmul(x, omega)?;
    let angle = graph.add(angle, b)?;
    let cosine = graph.cos(angle)?;
    // φ(x)·φ(y) is close to 16 times the kernel; the larger φ is, the further a step moves the logits
    let scaled = graph.scale(cosine, 4.0 * (2.0 / FEATURES as f64).sqrt())?;
    let features = Tensor::zeros(gpu, &[n, FEATURES], DType::F32)?;
    let plan = Plan::new(gpu, &graph, &[Stage::new(&[scaled])])?;
    let program = plan.compile(gpu, &[(x, images), (omega, &frequency), (b, &phase), (scaled, &features)])?;
    gpu.submit([&program.recording(0)?]);
    Ok(features)
}
