//! Trains a classifier of handwritten digits of 8 by 8 pixels, on the GPU, with any of the crate's
//! optimizers.
//!
//! The model is a softmax classifier of 1024 random Fourier features (Rahimi & Recht, "Random
//! features for large-scale kernel machines", NIPS 2007): φ(x) ∝ cos(Ω x + b), where x is an image,
//! the entries of Ω are normal with standard deviation 0.5, and those of b are uniform in [0, 2π).
//! Ω and b are drawn once, from a seed of their own that is always 0, and are not trained: the inner
//! product of two images' features is close to a Gaussian kernel of the images, so the classifier is
//! not linear in the pixels, and its loss is convex in the weights all the same.
//!
//! The last fifth of the file's lines is the test.
//!
//! The program has a device, buffers, shaders (`train_digits/features.wgsl` for the features, once,
//! and `train_digits/softmax.wgsl` for loss and gradient) and passes of its own. Of gradus it uses
//! the optimizer alone: [`Optimizer::step`] is recorded into the program's encoder, between its own
//! passes, and reads the gradients where the shader left them. A whole epoch is one submission; its
//! losses come back while the next one runs.
//!
//! ```text
//! cargo run --release --example train_digits -- --optimizer adamw
//! ```

use std::error::Error;
use std::f64::consts::{PI, TAU};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Instant;

use bytemuck::{Pod, Zeroable};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use gradus::optim::{Adadelta, Adagrad, Adam, AdamP, AdamW, Algorithm, DiffGrad, Optimizer, Param, RmsProp, Sgd, SgdP};
use gradus::{DType, Gpu, Tensor};
use indicatif::{ProgressBar, ProgressStyle};
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::full_palette::{
    BLUE_700, BROWN_500, CYAN_500, GREEN_500, GREY_300, GREY_500, LIME_A700, ORANGE_700, PINK_300, PURPLE_400, RED_700,
};
use wgpu::util::DeviceExt;
use wgpu::{BufferUsages, PollType};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const DIGITS: &[u8] = include_bytes!("data/digits.csv.gz");
const PIXELS: usize = 64;
const CLASSES: usize = 10;
/// The share of the digits that is trained on.
const TRAIN_SHARE: f64 = 0.8;

/// Of an image: four times the shaders' `COLUMNS`.
const FEATURES: usize = 1024;
/// Standard deviation of the features' frequencies; the kernel's width is its inverse.
const FREQUENCY: f64 = 0.5;
/// The features are the same ones in every run, whatever `--seed` is.
const FEATURE_SEED: u64 = 0;
/// The `WIDTH` of the shaders' workgroups: four weights or features an invocation.
const WIDTH: u32 = 64;
const GROUPS: u32 = (FEATURES as u32 / 4).div_ceil(WIDTH);
/// WebGPU's `min_uniform_buffer_offset_alignment`.
const BATCH_STRIDE: usize = 256;

/// Train a classifier of handwritten digits.
#[derive(Parser)]
struct Args {
    /// The optimizer whose training is shown, or all, one after another.
    #[arg(long, value_name = "NAME", default_value = "adamw",
          value_parser = PossibleValuesParser::new(CHOICES.iter().map(|choice| choice.name).chain(["all"])))]
    optimizer: String,
    /// How often the training data is gone through.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Samples a step.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Learning rate to begin with, in place of the optimizer's own.
    #[arg(long, allow_negative_numbers = true)]
    lr: Option<f64>,
    /// Of the order of the samples.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to write the loss curves of all optimizers, a PNG.
    #[arg(long, value_name = "PATH", default_value = "target/train_digits.png")]
    plot: PathBuf,
}

/// An optimizer and the learning rate that suits it here.
struct Choice {
    name: &'static str,
    lr: f64,
    color: RGBColor,
    dashed: bool,
    algorithm: fn(f64) -> Box<dyn Algorithm>,
}

const CHOICES: [Choice; 11] = [
    choice("sgd", 2.0, GREY_500, |lr| Box::new(Sgd { lr, weight_decay: L2, ..Default::default() })),
    choice("momentum", 0.3, BLACK, |lr| Box::new(Sgd { lr, momentum: 0.9, nesterov: true, weight_decay: L2, ..Default::default() })),
    choice("adagrad", 0.1, BROWN_500, |lr| Box::new(Adagrad { lr, weight_decay: L2, ..Default::default() })),
    choice("adadelta", 3.0, LIME_A700, |lr| Box::new(Adadelta { lr, weight_decay: L2, ..Default::default() })),
    choice("rmsprop", 0.01, ORANGE_700, |lr| Box::new(RmsProp { lr, weight_decay: L2, ..Default::default() })),
    choice("adam", 0.02, BLUE_700, |lr| Box::new(Adam { lr, weight_decay: L2, ..Default::default() })),
    choice("adamw", 0.01, RED_700, |lr| Box::new(AdamW { lr, ..Default::default() })),
    choice("amsgrad", 0.02, CYAN_500, |lr| Box::new(Adam { lr, amsgrad: true, weight_decay: L2, ..Default::default() })),
    choice("diffgrad", 0.02, PURPLE_400, |lr| Box::new(DiffGrad { lr, weight_decay: L2, ..Default::default() })),
    dashed("adamp", 0.01, GREEN_500, |lr| Box::new(AdamP { lr, weight_decay: 1e-2, ..Default::default() })),
    dashed("sgdp", 0.3, PINK_300, |lr| Box::new(SgdP { lr, momentum: 0.9, nesterov: true, weight_decay: L2, ..Default::default() })),
];

const fn choice(name: &'static str, lr: f64, color: RGBColor, algorithm: fn(f64) -> Box<dyn Algorithm>) -> Choice {
    Choice { name, lr, color, dashed: false, algorithm }
}

const fn dashed(name: &'static str, lr: f64, color: RGBColor, algorithm: fn(f64) -> Box<dyn Algorithm>) -> Choice {
    Choice { dashed: true, ..choice(name, lr, color, algorithm) }
}

/// Weight decay where it is coupled to the gradient.
const L2: f64 = 1e-4;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    // before the training, so that a path that cannot be is known at once
    if args.plot.extension().is_none_or(|extension| extension != "png") {
        return Err(format!("{}: the picture is a PNG, and the name must end in .png", args.plot.display()).into());
    }
    if let Some(folder) = args.plot.parent() {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let digits = Digits::load()?;
    let trainer = pollster::block_on(Trainer::new(&digits, args.batch))?;
    // println would panic if nobody reads any more
    let mut out = std::io::stdout();
    writeln!(out, "adapter: {}", trainer.adapter)?;
    writeln!(out, "data: {} digits to train on, the last {} to test", digits.train, digits.labels.len() - digits.train)?;

    let shown = |choice: &&Choice| args.optimizer == "all" || args.optimizer == choice.name;
    let mut curves = Vec::new();
    for choice in CHOICES.iter().filter(shown) {
        let run = trainer.train(choice, args.lr.unwrap_or(choice.lr), args, &bar(choice.name, args.epochs))?;
        writeln!(out, "{run}")?;
        curves.push((choice, run.losses));
    }
    let others: Vec<_> = CHOICES.iter().filter(|choice| !shown(choice)).collect();
    if !others.is_empty() {
        writeln!(out, "the other optimizers, for the picture:")?;
    }
    for choice in others {
        let run = trainer.train(choice, choice.lr, args, &bar(choice.name, args.epochs))?;
        writeln!(out, "{run}")?;
        curves.push((choice, run.losses));
    }
    curves.sort_by_key(|(choice, _)| CHOICES.iter().position(|other| other.name == choice.name));
    plot(&args.plot, &curves).map_err(|error| format!("{}: {error}", args.plot.display()))?;
    writeln!(out, "wrote {}", args.plot.display())?;
    Ok(())
}

fn bar(name: &'static str, epochs: u32) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>9} {bar:40} epoch {pos}/{len}, loss {msg}, {elapsed}");
    let bar = ProgressBar::new(epochs.into()).with_prefix(name).with_message("-");
    // the template is known to be valid; without it the bar has another look
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

struct Digits {
    /// 64 an image, scaled to [0, 1].
    pixels: Vec<f32>,
    labels: Vec<u32>,
    /// How many, from the first on, are trained on.
    train: usize,
}

impl Digits {
    fn load() -> Result<Self> {
        let text = flate2::read::GzDecoder::new(DIGITS);
        let reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text);
        let lines = reader.into_deserialize().collect::<csv::Result<Vec<Vec<u32>>>>()?;
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for line in &lines {
            match line.split_last() {
                Some((&label, image)) if image.len() == PIXELS && label < CLASSES as u32 => {
                    pixels.extend(image.iter().map(|&pixel| pixel as f32 / 16.0));
                    labels.push(label);
                }
                _ => return Err("digits.csv: a line is not 64 pixels and a label".into()),
            }
        }
        let train = (TRAIN_SHARE * labels.len() as f64) as usize;
        Ok(Self { pixels, labels, train })
    }
}

/// SplitMix64 (Steele, Lea & Flood 2014): the same numbers on every machine.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, n); `n` is far below 2³², so that the bias does not matter.
    fn below(&mut self, n: usize) -> usize {
        (((self.bits() >> 32) * n as u64) >> 32) as usize
    }

    /// In [0, 1).
    fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of mean 0 and standard deviation 1 (Box-Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (TAU * self.uniform()).cos()
    }

    /// Fisher-Yates.
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// `softmax.wgsl`'s struct of that name.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Batch {
    first: u32,
    count: u32,
}

/// `softmax.wgsl`'s struct of that name.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Metrics {
    loss: f32,
    correct: u32,
}

/// Offset of the biases in `softmax.wgsl`'s `Model`, in bytes. They follow the weights in one
/// buffer, so the optimizer steps both in one dispatch.
const BIAS_OFFSET: u64 = (CLASSES * FEATURES * size_of::<f32>()) as u64;
/// A multiple of 16 bytes, as `vec4` is aligned.
const MODEL_SIZE: u64 = BIAS_OFFSET + (CLASSES * size_of::<f32>()).next_multiple_of(16) as u64;

/// A training that is over.
struct Run {
    name: &'static str,
    /// The mean of each epoch.
    losses: Vec<f64>,
    accuracy: f64,
    steps_per_second: f64,
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, losses, accuracy, steps_per_second } = self;
        let loss = losses.last().copied().unwrap_or(f64::NAN);
        let accuracy = 100.0 * accuracy;
        write!(f, "{name:>9}: {steps_per_second:.0} steps/s, train loss {loss:.4}, test accuracy {accuracy:.1} %")
    }
}

/// The program's device, and what does not depend on the optimizer.
struct Trainer {
    adapter: String,
    device: wgpu::Device,
    queue: wgpu::Queue,
    gpu: Gpu,
    softmax: Pass<2>,
    /// Which sample each place of a batch is: the training data, shuffled, then the test data.
    order: wgpu::Buffer,
    params: wgpu::Buffer,
    grads: wgpu::Buffer,
    metrics: wgpu::Buffer,
    train: Vec<Batch>,
    test: Batch,
}

impl Trainer {
    async fn new(digits: &Digits, batch: u32) -> Result<Self> {
        let adapter = adapter().await?;
        // WebGPU's default limits, and no feature
        let (device, queue) = adapter.request_device(&wgpu::DeviceDescriptor { label: Some("train_digits"), ..Default::default() }).await?;
        let gpu = Gpu::new(&device, &queue)?;

        let samples = digits.labels.len();
        let train = batches(digits.train as u32, batch);
        // in one, of which there is no gradient
        let test = Batch { first: digits.train as u32, count: (samples - digits.train) as u32 };
        let mut padded = vec![0; (train.len() + 1) * BATCH_STRIDE];
        for (place, batch) in padded.chunks_exact_mut(BATCH_STRIDE).zip(train.iter().chain([&test])) {
            place[..size_of::<Batch>()].copy_from_slice(bytemuck::bytes_of(batch));
        }
        let largest = train.iter().chain([&test]).map(|batch| batch.count as usize).max().unwrap_or(1);

        let buffer = |label, contents: &[u8], usage| {
            device.create_buffer_init(&wgpu::util::BufferInitDescriptor { label: Some(label), contents, usage })
        };
        let storage = |label, size, usage| {
            let usage = usage | BufferUsages::STORAGE;
            device.create_buffer(&wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false })
        };
        let order: Vec<u32> = (0..samples as u32).collect();
        let map = buffer("map", bytemuck::cast_slice(&feature_map()), BufferUsages::STORAGE);
        let images = buffer("images", bytemuck::cast_slice(&digits.pixels), BufferUsages::STORAGE);
        let features = storage("features", (samples * FEATURES * size_of::<f32>()) as u64, BufferUsages::empty());
        let batches = buffer("batches", &padded, BufferUsages::UNIFORM);
        let labels = buffer("labels", bytemuck::cast_slice(&digits.labels), BufferUsages::STORAGE);
        let order = buffer("order", bytemuck::cast_slice(&order), BufferUsages::STORAGE | BufferUsages::COPY_DST);
        let params = storage("params", MODEL_SIZE, BufferUsages::COPY_DST);
        let delta = storage("delta", (largest * CLASSES * size_of::<f32>()) as u64, BufferUsages::empty());
        let grads = storage("grads", MODEL_SIZE, BufferUsages::empty());
        let metrics = storage("metrics", (samples * size_of::<Metrics>()) as u64, BufferUsages::COPY_SRC);

        let whole = wgpu::Buffer::as_entire_binding;
        let module = device.create_shader_module(wgpu::include_wgsl!("train_digits/features.wgsl"));
        let featurize = Pass::new(&device, &module, ["main"], &[(READ, whole(&map)), (READ, whole(&images)), (WRITE, whole(&features))]);
        let batch = wgpu::BufferBinding { buffer: &batches, offset: 0, size: wgpu::BufferSize::new(size_of::<Batch>() as u64) };
        let module = device.create_shader_module(wgpu::include_wgsl!("train_digits/softmax.wgsl"));
        let resources = [
            (wgpu::BufferBindingType::Uniform, wgpu::BindingResource::Buffer(batch)),
            (READ, whole(&features)),
            (READ, whole(&labels)),
            (READ, whole(&order)),
            (READ, whole(&params)),
            (WRITE, whole(&delta)),
            (WRITE, whole(&grads)),
            (WRITE, whole(&metrics)),
        ];
        let softmax = Pass::new(&device, &module, ["forward", "gradient"], &resources);

        let mut encoder = device.create_command_encoder(&Default::default());
        {
            let mut pass = begin(&mut encoder, "features");
            pass.set_pipeline(&featurize.pipelines[0]);
            pass.set_bind_group(0, &featurize.bind_group, &[]);
            pass.dispatch_workgroups(GROUPS, samples as u32, 1);
        }
        queue.submit([encoder.finish()]);

        let info = adapter.get_info();
        let adapter = format!("{} ({})", info.name, info.backend);
        Ok(Self { adapter, device, queue, gpu, softmax, order, params, grads, metrics, train, test })
    }

    /// Loss and gradient of a batch of the training data.
    fn gradient(&self, encoder: &mut wgpu::CommandEncoder, index: usize) {
        let mut pass = begin(encoder, "softmax");
        self.forward(&mut pass, index, self.train[index]);
        pass.set_pipeline(&self.softmax.pipelines[1]);
        pass.dispatch_workgroups(GROUPS, 1, 1);
    }

    /// Metrics of a batch, which is the one of that index in the buffer of batches.
    fn forward(&self, pass: &mut wgpu::ComputePass<'_>, index: usize, batch: Batch) {
        pass.set_pipeline(&self.softmax.pipelines[0]);
        pass.set_bind_group(0, &self.softmax.bind_group, &[(index * BATCH_STRIDE) as u32]);
        pass.dispatch_workgroups(batch.count, 1, 1);
    }

    fn train(&self, choice: &Choice, lr: f64, args: &Args, bar: &ProgressBar) -> Result<Run> {
        // the same beginning for every optimizer; of zeros, as the loss is convex
        self.queue.write_buffer(&self.params, 0, &[0; MODEL_SIZE as usize]);

        let tensors = |buffer| -> gradus::Result<_> {
            let weight = Tensor::from_buffer(buffer, 0, &[CLASSES, FEATURES], DType::F32)?;
            Ok((weight, Tensor::from_buffer(buffer, BIAS_OFFSET, &[CLASSES], DType::F32)?))
        };
        let (weight, bias) = tensors(&self.params)?;
        let (weight_grad, bias_grad) = tensors(&self.grads)?;
        let params = [Param::new("weight", &weight, &weight_grad), Param::new("bias", &bias, &bias_grad)];
        let mut optimizer = Optimizer::new(&self.gpu, &*(choice.algorithm)(lr), &params)?;

        let start = Instant::now();
        let (sender, receiver) = mpsc::channel();
        let samples = Batch { first: 0, count: self.test.first };
        let mut random = Random(args.seed);
        let mut order: Vec<u32> = (0..samples.count).collect();
        let mut losses = Vec::new();
        let mut previous = None;
        for epoch in 0..args.epochs {
            random.shuffle(&mut order);
            self.queue.write_buffer(&self.order, 0, bytemuck::cast_slice(&order));
            // half a cosine, down to almost zero
            optimizer.set_lr(0, lr * 0.5 * (1.0 + (PI * f64::from(epoch) / f64::from(args.epochs)).cos()))?;
            let mut encoder = self.device.create_command_encoder(&Default::default());
            for batch in 0..self.train.len() {
                self.gradient(&mut encoder, batch);
                optimizer.step(&mut encoder);
            }
            self.read_metrics(&mut encoder, samples, &sender);
            let submission = self.queue.submit([encoder.finish()]);
            // one epoch runs while the next is encoded, and no more than that pile up
            if let Some(submission_index) = previous.replace(submission) {
                self.device.poll(PollType::Wait { submission_index: Some(submission_index), timeout: None })?;
            }
            for metrics in receiver.try_iter() {
                losses.push(mean_loss(&metrics?));
                report(bar, &losses);
            }
        }
        self.device.poll(PollType::wait_indefinitely())?;
        let seconds = start.elapsed().as_secs_f64();
        let steps_per_second = f64::from(args.epochs) * self.train.len() as f64 / seconds;

        let mut encoder = self.device.create_command_encoder(&Default::default());
        self.forward(&mut begin(&mut encoder, "test"), self.train.len(), self.test);
        self.read_metrics(&mut encoder, self.test, &sender);
        self.queue.submit([encoder.finish()]);
        self.device.poll(PollType::wait_indefinitely())?;
        // of the senders, only this one is left; the callbacks dropped theirs
        drop(sender);
        let mut rest = receiver.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
        let test = rest.pop().ok_or("the device is lost")?;
        losses.extend(rest.iter().map(|metrics| mean_loss(metrics)));
        report(bar, &losses);
        bar.finish_and_clear();

        let correct: u32 = test.iter().map(|metrics| metrics.correct).sum();
        Ok(Run { name: choice.name, losses, accuracy: f64::from(correct) / f64::from(self.test.count), steps_per_second })
    }

    /// Copies the metrics of `batch` to where the host reads them, and sends them once the
    /// submission of `encoder` has run. Nothing waits for it.
    fn read_metrics(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        batch: Batch,
        sender: &mpsc::Sender<std::result::Result<Vec<Metrics>, String>>,
    ) {
        let start = u64::from(batch.first) * size_of::<Metrics>() as u64;
        let size = u64::from(batch.count) * size_of::<Metrics>() as u64;
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("metrics read"),
            size,
            usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        encoder.copy_buffer_to_buffer(&self.metrics, start, &staging, 0, size);
        let (mapped, sender) = (staging.clone(), sender.clone());
        encoder.map_buffer_on_submit(&staging, wgpu::MapMode::Read, .., move |result| {
            let metrics = match result {
                Ok(()) => mapped.get_mapped_range(..).map(|bytes| bytemuck::pod_collect_to_vec(&bytes)).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            // the receiver is gone only if the training was given up
            let _ = sender.send(metrics);
        });
    }
}

/// The adapter that wgpu's environment variables ask for, else the one of highest performance.
async fn adapter() -> Result<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    if let Ok(wanted) = std::env::var("WGPU_ADAPTER_NAME") {
        let adapters = instance.enumerate_adapters(wgpu::Backends::all()).await;
        let names: Vec<_> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
        let found = names.iter().position(|name| name.to_lowercase().contains(&wanted.to_lowercase()));
        let missing = || format!("no adapter has `{wanted}` (WGPU_ADAPTER_NAME) in its name; there are {names:?}");
        return Ok(found.and_then(|i| adapters.into_iter().nth(i)).ok_or_else(missing)?);
    }
    let power_preference = wgpu::PowerPreference::from_env().unwrap_or(wgpu::PowerPreference::HighPerformance);
    Ok(instance.request_adapter(&wgpu::RequestAdapterOptions { power_preference, ..Default::default() }).await?)
}

const READ: wgpu::BufferBindingType = wgpu::BufferBindingType::Storage { read_only: true };
const WRITE: wgpu::BufferBindingType = wgpu::BufferBindingType::Storage { read_only: false };

/// Entry points of a shader, and the buffers that they have in common.
struct Pass<const N: usize> {
    pipelines: [wgpu::ComputePipeline; N],
    bind_group: wgpu::BindGroup,
}

impl<const N: usize> Pass<N> {
    /// `resources` are those of the bindings from 0 on. A uniform one has a dynamic offset.
    fn new(
        device: &wgpu::Device,
        module: &wgpu::ShaderModule,
        entry_points: [&'static str; N],
        resources: &[(wgpu::BufferBindingType, wgpu::BindingResource<'_>)],
    ) -> Self {
        let entries: Vec<_> = (0..)
            .zip(resources)
            .map(|(binding, &(ty, _))| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: ty == wgpu::BufferBindingType::Uniform, min_binding_size: None },
                count: None,
            })
            .collect();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let entries: Vec<_> =
            (0..).zip(resources).map(|(binding, (_, resource))| wgpu::BindGroupEntry { binding, resource: resource.clone() }).collect();
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout)],
            ..Default::default()
        });
        let pipelines = entry_points.map(|entry_point| {
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(entry_point),
                layout: Some(&layout),
                module,
                entry_point: Some(entry_point),
                compilation_options: Default::default(),
                cache: None,
            })
        });
        Self { pipelines, bind_group }
    }
}

fn begin<'a>(encoder: &'a mut wgpu::CommandEncoder, label: &'static str) -> wgpu::ComputePass<'a> {
    encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some(label), timestamp_writes: None })
}

/// `features.wgsl`'s `Map`: frequencies, then phases.
fn feature_map() -> Vec<f32> {
    let mut random = Random(FEATURE_SEED);
    let mut map: Vec<_> = (0..PIXELS * FEATURES).map(|_| (FREQUENCY * random.normal()) as f32).collect();
    map.extend((0..FEATURES).map(|_| (TAU * random.uniform()) as f32));
    map
}

/// Cuts the places from 0 to `count` into batches of at most `size`.
fn batches(count: u32, size: u32) -> Vec<Batch> {
    (0..count).step_by(size as usize).map(|first| Batch { first, count: size.min(count - first) }).collect()
}

fn mean_loss(metrics: &[Metrics]) -> f64 {
    metrics.iter().map(|metrics| f64::from(metrics.loss)).sum::<f64>() / metrics.len() as f64
}

fn report(bar: &ProgressBar, losses: &[f64]) {
    if let Some(loss) = losses.last() {
        bar.set_message(format!("{loss:.4}"));
        bar.set_position(losses.len() as u64);
    }
}

/// Draws the loss of each epoch, on a logarithmic axis.
fn plot(path: &Path, curves: &[(&Choice, Vec<f64>)]) -> Result<()> {
    // the font comes with a crate, so that a machine without any draws the same picture
    plotters::style::register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| "the font cannot be read")?;
    // a training that diverged has no loss to show
    let visible = |loss: &f64| loss.is_finite() && *loss > 0.0;
    let losses = || curves.iter().flat_map(|(_, losses)| losses).copied().filter(visible);
    let (low, high) = (losses().fold(f64::INFINITY, f64::min), losses().fold(0.0, f64::max));
    let (low, high) = if low <= high { (low / 1.1, high * 1.1) } else { (0.01, 1.0) };
    let epochs = curves.iter().map(|(_, losses)| losses.len()).max().unwrap_or(0).max(2);

    // large, to be scaled down where it is shown
    let root = BitMapBackend::new(path, (1200, 800)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("Softmax classifier on random Fourier features of handwritten digits", ("sans-serif", 34))
        .margin(20)
        .margin_right(34)
        .x_label_area_size(60)
        .y_label_area_size(88)
        .build_cartesian_2d(1.0..epochs as f64, (low..high).log_scale().with_key_points(ticks(low, high)))?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .y_desc("training loss (mean cross-entropy)")
        .x_labels(10)
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .y_label_formatter(&|loss| loss.to_string())
        .label_style(("sans-serif", 22))
        .axis_desc_style(("sans-serif", 24))
        .bold_line_style(GREY_300.stroke_width(1))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (choice, losses) in curves {
        let points = losses.iter().zip(1..).filter(|(loss, _)| visible(loss)).map(|(&loss, epoch)| (f64::from(epoch), loss));
        let style = choice.color.stroke_width(3);
        let key = |(x, y)| [(x, y), (x + 38, y)];
        // projected optimizers are often where the ones are that they modify: dashes let both be seen
        match choice.dashed {
            true => chart
                .draw_series(DashedLineSeries::new(points, 10, 10, style))?
                .label(choice.name)
                .legend(move |at| DashedPathElement::new(key(at), 10, 6, style)),
            false => {
                chart.draw_series(LineSeries::new(points, style))?.label(choice.name).legend(move |at| PathElement::new(key(at), style))
            }
        };
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .legend_area_size(52)
        .margin(16)
        .background_style(WHITE)
        .border_style(GREY_300)
        .label_font(("sans-serif", 23))
        .draw()?;
    root.present()?;
    Ok(())
}

/// 1, 2 and 5 times the powers of ten from `low` to `high`.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let decade = |power: i32| {
        // a division by a power of ten is exact enough to be printed as the decimal number
        let times = move |digit: f64| if power < 0 { digit / 10f64.powi(-power) } else { digit * 10f64.powi(power) };
        [1.0, 2.0, 5.0].map(times)
    };
    (-12..=12).flat_map(decade).filter(|tick| (low..=high).contains(tick)).collect()
}
