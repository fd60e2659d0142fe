//! A small convolutional network on handwritten digits, trained by Burn's AdamW and by gradus' AdamW and AdamP from the same start.
//!
//! `cargo run --release -p gradus-burn --example digits [--features fusion] -- [EPOCHS] [PICTURE]`: by default 10 epochs and
//! `digits.png` in the folder for temporary files. Prints the losses, how many digits of the test are recognized, and the time that
//! the optimizers' steps take; draws the losses.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_core as burn;
use burn_nn::conv::{Conv2d, Conv2dConfig};
use burn_nn::loss::CrossEntropyLossConfig;
use burn_nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn_nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn_optim::{AdamWConfig, GradientsParams};
use gradus::optim::{AdamP, AdamW};
use gradus::reference::random::uniform;
use gradus_burn::GradusOptimizer;
use plotters::style::RGBColor;

#[path = "../../../examples/common/chart.rs"]
mod chart;
#[path = "../../../examples/common/digits.rs"]
mod digits;

use digits::{CLASSES, Digits, PIXELS};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const SIDE: usize = 8;
const BATCH: usize = 128;
const LR: f64 = 3e-3;

#[derive(Module, Debug)]
struct Network {
    first: Conv2d,
    first_norm: BatchNorm,
    second: Conv2d,
    second_norm: BatchNorm,
    pool: MaxPool2d,
    head: Linear,
}

impl Network {
    fn new(device: &Device) -> Self {
        device.seed(7);
        let convolution = |channels| Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(device);
        Self {
            first: convolution([1, 16]),
            first_norm: BatchNormConfig::new(16).init(device),
            second: convolution([16, 32]),
            second_norm: BatchNormConfig::new(32).init(device),
            pool: MaxPool2dConfig::new([2, 2]).init(),
            head: LinearConfig::new(32 * SIDE * SIDE / 4, CLASSES).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        // the norms make the size of the convolutions' weights irrelevant, which is what AdamP looks for
        let x = relu(self.first_norm.forward(self.first.forward(images)));
        let x = relu(self.second_norm.forward(self.second.forward(x)));
        self.head.forward(self.pool.forward(x).flatten(1, 3))
    }
}

/// What a training gave.
struct Course {
    name: &'static str,
    losses: Vec<f64>,
    accuracy: f64,
    steps: Duration,
    values: Vec<f32>,
}

fn main() -> Result {
    let mut arguments = std::env::args().skip(1);
    let epochs = arguments.next().map_or(Ok(10), |epochs| epochs.parse())?;
    let picture = arguments.next().map_or_else(|| std::env::temp_dir().join("digits.png"), PathBuf::from);
    let (device, setup) = Device::wgpu_options().init_with_setup()?;
    gradus_burn::register(&device, &setup)?;
    let device = device.autodiff();
    let digits = Digits::load()?;
    println!("{}, {epochs} epochs", setup.adapter.get_info().name);

    // Burn's default `eps`
    let adamw = AdamW { eps: 1e-5, weight_decay: 1e-2, ..Default::default() };
    let start = || Network::new(&device);
    let mut burns = AdamWConfig::new().with_weight_decay(1e-2).init();
    let mut all =
        vec![train("Burn's AdamW", &device, &digits, epochs, start(), |network, gradients| Ok(burns.step(LR, network, gradients)))?];
    for (name, setup) in [
        ("gradus' AdamW", GradusOptimizer::adamw(adamw)),
        ("gradus' AdamP", GradusOptimizer::adamp(AdamP { weight_decay: 1e-2, ..Default::default() })),
    ] {
        let network = start();
        let mut optimizer = setup.init(&network)?;
        all.push(train(name, &device, &digits, epochs, network, |network, gradients| Ok(optimizer.step(LR, network, gradients)?))?);
    }
    for course in &all {
        let last = course.losses.last().copied().unwrap_or(f64::NAN);
        println!("{}: loss {last:.4}, test {:.1} %, steps {:.2} s", course.name, 100.0 * course.accuracy, course.steps.as_secs_f64());
    }
    let differences = all[0].values.iter().zip(&all[1].values).map(|(a, b)| (a - b).abs());
    println!("largest difference of the weights by the two AdamW: {:.1e}", differences.fold(0f32, f32::max));

    let colors = [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115)];
    let curves = all.iter().zip(colors).map(|(course, color)| chart::Curve {
        name: course.name.into(),
        color,
        // both AdamW are in the same place
        style: if course.name == "gradus' AdamW" { chart::Style::Dashed } else { chart::Style::Line },
        points: course.losses.iter().zip(1..).map(|(&loss, epoch)| (f64::from(epoch), loss)).collect(),
    });
    let panel = chart::Panel {
        title: "A convolutional network on digits, in Burn".into(),
        labels: ["epoch", "training loss (mean cross-entropy)"].map(String::from),
        scales: [chart::Scale::Linear, chart::Scale::Logarithmic],
        curves: curves.collect(),
        ..Default::default()
    };
    chart::write(&picture, (1200, 800), &[panel])?;
    println!("{}", picture.display());
    Ok(())
}

fn train(
    name: &'static str,
    device: &Device,
    digits: &Digits,
    epochs: usize,
    mut network: Network,
    mut step: impl FnMut(Network, GradientsParams) -> Result<Network>,
) -> Result<Course> {
    let batch = |members: &[usize], device: &Device| {
        let pixels: Vec<f32> = members.iter().flat_map(|&i| digits.pixels[i * PIXELS..][..PIXELS].iter().copied()).collect();
        let labels: Vec<i32> = members.iter().map(|&i| digits.labels[i] as i32).collect();
        let images = Tensor::<1>::from_data(TensorData::new(pixels, [members.len() * PIXELS]), device);
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [members.len()]), device);
        (images.reshape([members.len(), 1, SIDE, SIDE]), labels)
    };
    let mut losses = Vec::new();
    let mut steps = Duration::ZERO;
    for epoch in 0..epochs {
        // an order by random keys, the same for all optimizers
        let keys = uniform(1, epoch as u32, digits.train);
        let mut order: Vec<usize> = (0..digits.train).collect();
        order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]));
        let mut sum = 0.0;
        for members in order.chunks_exact(BATCH) {
            let (images, labels) = batch(members, device);
            let loss = CrossEntropyLossConfig::new().init(device).forward(network.forward(images), labels);
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            sum += f64::from(loss.into_scalar::<f32>());
            device.sync()?;
            let begun = Instant::now();
            network = step(network, gradients)?;
            device.sync()?;
            steps += begun.elapsed();
        }
        losses.push(sum / (digits.train / BATCH) as f64);
    }
    let members: Vec<usize> = (digits.train..digits.labels.len()).collect();
    let (images, labels) = batch(&members, device);
    let found = network.forward(images).argmax(1).flatten::<1>(0, 1);
    let right = found.equal(labels).int().sum().into_scalar::<i32>();
    let weights = [network.first.weight.val().flatten::<1>(0, 3), network.head.weight.val().flatten::<1>(0, 1)];
    let values = weights.into_iter().flat_map(|weight| weight.inner().into_data().iter::<f32>().collect::<Vec<_>>()).collect();
    Ok(Course { name, losses, accuracy: f64::from(right) / members.len() as f64, steps, values })
}
