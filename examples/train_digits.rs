//! Trains a softmax classifier on handwritten digits of 8 by 8 pixels, on the GPU, with any of the
//! crate's optimizers.
//!
//! The program has a device, buffers, a shader for loss and gradient (`train_digits/softmax.wgsl`)
//! and passes of its own. Of gradus it uses the optimizer alone: [`Optimizer::step`] is recorded
//! into the program's encoder, between its own passes, and reads the gradients where the shader left
//! them. A whole epoch is one submission; its losses come back while the next one runs.
//!
//! ```text
//! cargo run --release --example train_digits -- --optimizer adamw
//! ```

use std::error::Error;
use std::f64::consts::PI;
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
use plotters::prelude::*;
use wgpu::util::DeviceExt;
use wgpu::{BufferUsages, PollType};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const DIGITS: &[u8] = include_bytes!("data/digits.csv.gz");
const PIXELS: usize = 64;
const CLASSES: usize = 10;
/// The share of the lines, from the first on, that is trained on. The others are by other writers.
const TRAIN_SHARE: f64 = 0.8;

/// `softmax.wgsl`'s workgroup.
const MAX_BATCH: u32 = 256;
/// WebGPU's `min_uniform_buffer_offset_alignment`.
const BATCH_STRIDE: usize = 256;

/// Train a softmax classifier on handwritten digits.
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
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_BATCH)))]
    batch: u32,
    /// Learning rate to begin with, in place of the optimizer's own.
    #[arg(long)]
    lr: Option<f64>,
    /// Of the initial weights and of the order of the samples.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to write the loss curves of all optimizers.
    #[arg(long, value_name = "PATH", default_value = "target/train_digits.png")]
    plot: PathBuf,
}

/// An optimizer and the learning rate that suits it here.
struct Choice {
    name: &'static str,
    lr: f64,
    color: RGBColor,
    algorithm: fn(f64) -> Box<dyn Algorithm>,
}

const CHOICES: [Choice; 11] = [
    Choice {
        name: "sgd",
        lr: 0.5,
        color: RGBColor(127, 127, 127),
        algorithm: |lr| Box::new(Sgd { lr, weight_decay: DECAY, ..Default::default() }),
    },
    Choice {
        name: "momentum",
        lr: 0.05,
        color: RGBColor(0, 0, 0),
        algorithm: |lr| Box::new(Sgd { lr, momentum: 0.9, nesterov: true, weight_decay: DECAY, ..Default::default() }),
    },
    Choice {
        name: "adagrad",
        lr: 0.1,
        color: RGBColor(140, 86, 75),
        algorithm: |lr| Box::new(Adagrad { lr, weight_decay: DECAY, ..Default::default() }),
    },
    Choice {
        name: "adadelta",
        lr: 1.0,
        color: RGBColor(188, 189, 34),
        algorithm: |lr| Box::new(Adadelta { lr, weight_decay: DECAY, ..Default::default() }),
    },
    Choice {
        name: "rmsprop",
        lr: 0.01,
        color: RGBColor(255, 127, 14),
        algorithm: |lr| Box::new(RmsProp { lr, weight_decay: DECAY, ..Default::default() }),
    },
    Choice {
        name: "adam",
        lr: 0.01,
        color: RGBColor(31, 119, 180),
        algorithm: |lr| Box::new(Adam { lr, weight_decay: DECAY, ..Default::default() }),
    },
    Choice { name: "adamw", lr: 0.01, color: RGBColor(214, 39, 40), algorithm: |lr| Box::new(AdamW { lr, ..Default::default() }) },
    Choice {
        name: "amsgrad",
        lr: 0.01,
        color: RGBColor(23, 190, 207),
        algorithm: |lr| Box::new(Adam { lr, amsgrad: true, weight_decay: DECAY, ..Default::default() }),
    },
    Choice {
        name: "diffgrad",
        lr: 0.01,
        color: RGBColor(148, 103, 189),
        algorithm: |lr| Box::new(DiffGrad { lr, weight_decay: DECAY, ..Default::default() }),
    },
    Choice {
        name: "adamp",
        lr: 0.01,
        color: RGBColor(44, 160, 44),
        algorithm: |lr| Box::new(AdamP { lr, weight_decay: 1e-2, ..Default::default() }),
    },
    Choice {
        name: "sgdp",
        lr: 0.05,
        color: RGBColor(227, 119, 194),
        algorithm: |lr| Box::new(SgdP { lr, momentum: 0.9, nesterov: true, weight_decay: DECAY, ..Default::default() }),
    },
];

/// Weight decay where it is coupled to the gradient.
const DECAY: f64 = 1e-4;

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
    if let Some(folder) = args.plot.parent() {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let digits = Digits::load()?;
    let trainer = pollster::block_on(Trainer::new(&digits, args.batch))?;
    println!("adapter: {}", trainer.adapter);
    println!("data: {} digits to train on, {} to test", digits.train, digits.labels.len() - digits.train);

    let shown = |choice: &&Choice| args.optimizer == "all" || args.optimizer == choice.name;
    let mut curves = Vec::new();
    for choice in CHOICES.iter().filter(shown) {
        let run = trainer.train(choice, args.lr.unwrap_or(choice.lr), args, &bar(choice.name, args.epochs))?;
        println!("{run}");
        curves.push((choice, run.losses));
    }
    let others: Vec<_> = CHOICES.iter().filter(|choice| !shown(choice)).collect();
    if !others.is_empty() {
        println!("the other optimizers, for the picture:");
    }
    for choice in others {
        let run = trainer.train(choice, choice.lr, args, &bar(choice.name, args.epochs))?;
        println!("{run}");
        curves.push((choice, run.losses));
    }
    curves.sort_by_key(|(choice, _)| CHOICES.iter().position(|other| other.name == choice.name));
    plot(&args.plot, &curves).map_err(|error| format!("{}: {error}", args.plot.display()))?;
    println!("wrote {}", args.plot.display());
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
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for line in csv::ReaderBuilder::new().has_headers(false).from_reader(text).deserialize::<Vec<u32>>() {
            match line?.split_last() {
                Some((&label, image)) if image.len() == PIXELS && label < CLASSES as u32 => {
                    pixels.extend(image.iter().map(|&pixel| pixel as f32 / 16.0));
                    labels.push(label);
                }
                _ => return Err(format!("digits.csv: line {} is not 64 pixels and a label", labels.len() + 1).into()),
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

    /// In [-1, 1).
    fn symmetric(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Fisher-Yates.
    fn shuffle(&mut self, items: &mut [u32]) {
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
    slot: u32,
}

/// `softmax.wgsl`'s struct of that name.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Metrics {
    loss: f32,
    correct: u32,
}

/// `softmax.wgsl`'s `Model`, the padding at its end included. Weights and biases are ranges of one
/// buffer, so the optimizer steps both in one dispatch.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Model {
    weight: [[f32; PIXELS]; CLASSES],
    bias: [f32; CLASSES],
    padding: [f32; 2],
}

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
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    /// Which sample each place of a batch is: the training data, shuffled, then the test data.
    order: wgpu::Buffer,
    params: wgpu::Buffer,
    grads: wgpu::Buffer,
    metrics: wgpu::Buffer,
    train: Vec<Batch>,
    test: Vec<Batch>,
}

impl Trainer {
    async fn new(digits: &Digits, batch: u32) -> Result<Self> {
        let adapter = adapter().await?;
        // WebGPU's default limits, and no feature
        let (device, queue) = adapter.request_device(&wgpu::DeviceDescriptor { label: Some("train_digits"), ..Default::default() }).await?;
        let gpu = Gpu::new(&device, &queue)?;

        let samples = digits.labels.len() as u32;
        let train = batches(0..digits.train as u32, batch, 0);
        let test = batches(digits.train as u32..samples, MAX_BATCH, train.len() as u32);
        let count = train.len() + test.len();
        let mut padded = vec![0; count * BATCH_STRIDE];
        for (place, batch) in padded.chunks_exact_mut(BATCH_STRIDE).zip(train.iter().chain(&test)) {
            place[..size_of::<Batch>()].copy_from_slice(bytemuck::bytes_of(batch));
        }

        let buffer = |label, contents: &[u8], usage| {
            device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
                label: Some(label),
                contents,
                usage: usage | BufferUsages::COPY_DST,
            })
        };
        let storage = |label, size, usage| {
            let usage = usage | BufferUsages::STORAGE;
            device.create_buffer(&wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false })
        };
        let model = size_of::<Model>() as u64;
        let order: Vec<u32> = (0..samples).collect();
        let batches = buffer("batches", &padded, BufferUsages::UNIFORM);
        let images = buffer("images", bytemuck::cast_slice(&digits.pixels), BufferUsages::STORAGE);
        let labels = buffer("labels", bytemuck::cast_slice(&digits.labels), BufferUsages::STORAGE);
        let order = buffer("order", bytemuck::cast_slice(&order), BufferUsages::STORAGE);
        let params = storage("params", model, BufferUsages::COPY_DST);
        let grads = storage("grads", model, BufferUsages::empty());
        let metrics = storage("metrics", (count * size_of::<Metrics>()) as u64, BufferUsages::COPY_SRC);

        let binding = |binding, ty, has_dynamic_offset| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
            count: None,
        };
        let read = |index| binding(index, wgpu::BufferBindingType::Storage { read_only: true }, false);
        let write = |index| binding(index, wgpu::BufferBindingType::Storage { read_only: false }, false);
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("softmax"),
            entries: &[binding(0, wgpu::BufferBindingType::Uniform, true), read(1), read(2), read(3), read(4), write(5), write(6)],
        });
        let batch = wgpu::BufferBinding { buffer: &batches, offset: 0, size: wgpu::BufferSize::new(size_of::<Batch>() as u64) };
        let whole = [&images, &labels, &order, &params, &grads, &metrics].map(wgpu::Buffer::as_entire_binding);
        let resources = std::iter::once(wgpu::BindingResource::Buffer(batch)).chain(whole);
        let entries: Vec<_> = resources.zip(0..).map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource }).collect();
        let bind_group =
            device.create_bind_group(&wgpu::BindGroupDescriptor { label: Some("softmax"), layout: &layout, entries: &entries });

        let module = device.create_shader_module(wgpu::include_wgsl!("train_digits/softmax.wgsl"));
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("softmax"),
            bind_group_layouts: &[Some(&layout)],
            ..Default::default()
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("softmax"),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        let info = adapter.get_info();
        let adapter = format!("{} ({})", info.name, info.backend);
        Ok(Self { adapter, device, queue, gpu, pipeline, bind_group, order, params, grads, metrics, train, test })
    }

    /// Loss, gradient and metrics of a batch.
    fn softmax(&self, encoder: &mut wgpu::CommandEncoder, batch: &Batch) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("softmax"), timestamp_writes: None });
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[batch.slot * BATCH_STRIDE as u32]);
        pass.dispatch_workgroups(1, 1, 1);
    }

    fn train(&self, choice: &Choice, lr: f64, args: &Args, bar: &ProgressBar) -> Result<Run> {
        // the same beginning for every optimizer
        let mut random = Random(args.seed);
        let mut model = Model::zeroed();
        for parameter in model.weight.as_flattened_mut() {
            // as torch.nn.Linear: uniform in ±1/√64
            *parameter = random.symmetric() / 8.0;
        }
        self.queue.write_buffer(&self.params, 0, bytemuck::bytes_of(&model));

        let bias_offset = std::mem::offset_of!(Model, bias) as u64;
        let tensors = |buffer| -> gradus::Result<_> {
            let weight = Tensor::from_buffer(buffer, 0, &[CLASSES, PIXELS], DType::F32)?;
            Ok((weight, Tensor::from_buffer(buffer, bias_offset, &[CLASSES], DType::F32)?))
        };
        let (weight, bias) = tensors(&self.params)?;
        let (weight_grad, bias_grad) = tensors(&self.grads)?;
        let params = [Param::new("weight", &weight, &weight_grad), Param::new("bias", &bias, &bias_grad)];
        let mut optimizer = Optimizer::new(&self.gpu, &*(choice.algorithm)(lr), &params)?;

        let start = Instant::now();
        let (sender, receiver) = mpsc::channel();
        let mut order: Vec<u32> = (0..self.train.iter().map(|batch| batch.count).sum()).collect();
        let mut losses = Vec::new();
        let mut previous = None;
        for epoch in 0..args.epochs {
            random.shuffle(&mut order);
            self.queue.write_buffer(&self.order, 0, bytemuck::cast_slice(&order));
            // half a cosine, down to almost zero
            optimizer.set_lr(0, lr * 0.5 * (1.0 + (PI * f64::from(epoch) / f64::from(args.epochs)).cos()))?;
            let mut encoder = self.device.create_command_encoder(&Default::default());
            for batch in &self.train {
                self.softmax(&mut encoder, batch);
                optimizer.step(&mut encoder);
            }
            self.read_metrics(&mut encoder, &self.train, &sender);
            let submission = self.queue.submit([encoder.finish()]);
            // one epoch runs while the next is encoded, and no more than that pile up
            if let Some(submission_index) = previous.replace(submission) {
                self.device.poll(PollType::Wait { submission_index: Some(submission_index), timeout: None })?;
            }
            for metrics in receiver.try_iter() {
                losses.push(mean_loss(&self.train, &metrics?));
                report(bar, &losses);
            }
        }
        self.device.poll(PollType::wait_indefinitely())?;
        let seconds = start.elapsed().as_secs_f64();
        let steps_per_second = f64::from(args.epochs) * self.train.len() as f64 / seconds;

        let mut encoder = self.device.create_command_encoder(&Default::default());
        for batch in &self.test {
            // the gradient is not used
            self.softmax(&mut encoder, batch);
        }
        self.read_metrics(&mut encoder, &self.test, &sender);
        self.queue.submit([encoder.finish()]);
        self.device.poll(PollType::wait_indefinitely())?;
        // of the senders, only this one is left; the callbacks dropped theirs
        drop(sender);
        let mut rest = receiver.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
        let test = rest.pop().ok_or("the device is lost")?;
        losses.extend(rest.iter().map(|metrics| mean_loss(&self.train, metrics)));
        report(bar, &losses);
        bar.finish_and_clear();

        let tested: u32 = self.test.iter().map(|batch| batch.count).sum();
        let correct: u32 = test.iter().map(|metrics| metrics.correct).sum();
        Ok(Run { name: choice.name, losses, accuracy: f64::from(correct) / f64::from(tested), steps_per_second })
    }

    /// Copies the metrics of `batches` to where the host reads them, and sends them once the
    /// submission of `encoder` has run. Nothing waits for it.
    fn read_metrics(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        batches: &[Batch],
        sender: &mpsc::Sender<std::result::Result<Vec<Metrics>, String>>,
    ) {
        let start = (batches[0].slot as usize * size_of::<Metrics>()) as u64;
        let size = (batches.len() * size_of::<Metrics>()) as u64;
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

/// Cuts `places` of the order into batches of at most `size`, with metrics from `slot` on.
fn batches(places: std::ops::Range<u32>, size: u32, slot: u32) -> Vec<Batch> {
    let end = places.end;
    places.step_by(size as usize).zip(slot..).map(|(first, slot)| Batch { first, count: size.min(end - first), slot }).collect()
}

/// Of all samples: the last batch may be smaller than the others.
fn mean_loss(batches: &[Batch], metrics: &[Metrics]) -> f64 {
    let samples: u32 = batches.iter().map(|batch| batch.count).sum();
    let total: f64 = batches.iter().zip(metrics).map(|(batch, metrics)| f64::from(batch.count) * f64::from(metrics.loss)).sum();
    total / f64::from(samples)
}

fn report(bar: &ProgressBar, losses: &[f64]) {
    if let Some(loss) = losses.last() {
        bar.set_message(format!("{loss:.4}"));
        bar.set_position(losses.len() as u64);
    }
}

/// Draws the loss of each epoch, on a logarithmic axis.
fn plot(path: &Path, curves: &[(&Choice, Vec<f64>)]) -> Result<()> {
    // the crate brings its font along: a machine without any draws the same picture
    plotters::style::register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| "the font cannot be read")?;
    let root = BitMapBackend::new(path, (1200, 800)).into_drawing_area();
    root.fill(&WHITE)?;
    let finite = || curves.iter().flat_map(|(_, losses)| losses).copied().filter(|loss| loss.is_finite() && *loss > 0.0);
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(0.0, f64::max));
    let (low, high) = if low < high { (low / 1.1, high * 1.1) } else { (0.01, 1.0) };
    let epochs = curves.iter().map(|(_, losses)| losses.len()).max().unwrap_or(1);
    let mut chart = ChartBuilder::on(&root)
        .caption("Softmax classifier on 8×8 digits", ("sans-serif", 32))
        .margin(20)
        .x_label_area_size(50)
        .y_label_area_size(80)
        .build_cartesian_2d(1.0..epochs as f64, (low..high).log_scale())?;
    chart.configure_mesh().x_desc("epoch").y_desc("training loss (cross-entropy)").label_style(("sans-serif", 20)).draw()?;
    for (choice, losses) in curves {
        let points = losses.iter().zip(1..).filter(|(loss, _)| loss.is_finite()).map(|(&loss, epoch)| (f64::from(epoch), loss));
        let style = choice.color.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(choice.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).label_font(("sans-serif", 20)).draw()?;
    root.present()?;
    Ok(())
}
