//! Times in turn, and what the device can do at best: copies, and fused multiply-adds in registers.

use std::time::Instant;

use gradus::gpu::{Processor, measure};
use gradus::{DType, Error, Gpu, Recording, Result, Tensor, vector};
use wgpu::{BufferUsages, Features, PollType};

use super::noise;

/// A measurement takes as long at least, so that what a submission costs does not count.
const SHORTEST: f64 = 2e-3;

/// What is measured.
pub enum Run {
    Recording(Recording),
    /// `copy_buffer_to_buffer`, so many times.
    Transfer(Box<Transfer>, usize),
}

pub struct Transfer {
    from: Tensor,
    to: Tensor,
    /// What is dispatched before and after. The latter reads `to`, so that it waits for the copies.
    marks: [Recording; 2],
}

impl Run {
    /// In seconds.
    async fn time(&self, gpu: &Gpu) -> Result<f64> {
        match self {
            Run::Recording(recording) => Ok(measure(gpu, recording).await?.as_secs_f64()),
            Run::Transfer(transfer, times) if gpu.device().features().contains(Features::TIMESTAMP_QUERY) => {
                transfer.by_timestamps(gpu, *times).await
            }
            Run::Transfer(transfer, times) => {
                let mut encoder = gpu.device().create_command_encoder(&Default::default());
                transfer.encode(&mut encoder, *times);
                let commands = encoder.finish();
                let start = Instant::now();
                gpu.queue().submit([commands]);
                gpu.device().poll(PollType::wait_indefinitely()).map_err(|error| Error::DeviceLost { reason: error.to_string() })?;
                Ok(start.elapsed().as_secs_f64())
            }
        }
    }
}

impl Transfer {
    fn new(gpu: &Gpu, from: &Tensor, to: &Tensor) -> Result<Self> {
        let scratch = Tensor::zeros(gpu, &[1], DType::F32)?;
        let mut marks = [Recording::new(), Recording::new()];
        vector::fill(gpu, &mut marks[0], 1.0, &scratch)?;
        vector::copy(gpu, &mut marks[1], &Tensor::from_buffer(to.buffer(), 0, &[1], DType::F32)?, &scratch)?;
        Ok(Self { from: from.clone(), to: to.clone(), marks })
    }

    fn encode(&self, encoder: &mut wgpu::CommandEncoder, times: usize) {
        for _ in 0..times {
            encoder.copy_buffer_to_buffer(self.from.buffer(), 0, self.to.buffer(), 0, self.from.bytes());
        }
    }

    /// From the end of one dispatch to that of another.
    async fn by_timestamps(&self, gpu: &Gpu, times: usize) -> Result<f64> {
        let device = gpu.device();
        let query_set = &device.create_query_set(&wgpu::QuerySetDescriptor { label: None, ty: wgpu::QueryType::Timestamp, count: 2 });
        let usage = BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC | BufferUsages::STORAGE;
        let resolved = device.create_buffer(&wgpu::BufferDescriptor { label: None, size: 16, usage, mapped_at_creation: false });
        let mut encoder = device.create_command_encoder(&Default::default());
        for (i, mark) in self.marks.iter().enumerate() {
            if i == 1 {
                self.encode(&mut encoder, times);
            }
            let end_of_pass_write_index = Some(i as u32);
            let timestamps = wgpu::ComputePassTimestampWrites { query_set, beginning_of_pass_write_index: None, end_of_pass_write_index };
            let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(timestamps) };
            mark.encode_in_pass(&mut encoder.begin_compute_pass(&descriptor));
        }
        encoder.resolve_query_set(query_set, 0..2, &resolved, 0);
        gpu.queue().submit([encoder.finish()]);
        let words: Vec<u32> = Tensor::from_buffer(&resolved, 0, &[4], DType::U32)?.read(gpu).await?;
        let [start, end] = [0, 2].map(|i| u64::from(words[i]) | u64::from(words[i + 1]) << 32);
        Ok(end.saturating_sub(start) as f64 * f64::from(gpu.queue().get_timestamp_period()) * 1e-9)
    }
}

/// The median seconds of the runs, measured one after the other, again and again. The first round does not count.
pub async fn in_turn<const N: usize>(gpu: &Gpu, runs: [&Run; N], repeats: usize) -> Result<[f64; N]> {
    let mut times = [const { Vec::new() }; N];
    for round in 0..=repeats.max(1) {
        for (times, run) in times.iter_mut().zip(runs) {
            let time = run.time(gpu).await?;
            if round > 0 {
                times.push(time);
            }
        }
    }
    Ok(times.map(|mut times| {
        times.sort_unstable_by(f64::total_cmp);
        times[times.len() / 2]
    }))
}

/// So many repetitions, in one pass.
pub fn repeated(recording: &Recording, times: usize) -> Run {
    let mut all = Recording::new();
    for _ in 0..times {
        all.extend(recording.clone());
    }
    Run::Recording(all)
}

/// How many repetitions take long enough to be measured.
pub async fn repetitions(gpu: &Gpu, recording: &Recording) -> Result<usize> {
    measure(gpu, recording).await?;
    let seconds = measure(gpu, recording).await?.as_secs_f64();
    Ok((SHORTEST / seconds.max(1e-6)).ceil().clamp(1.0, 1000.0) as usize)
}

/// Three ways to copy.
pub struct Copies {
    /// What a copy moves: what it reads and writes.
    pub bytes: u64,
    kernel: Recording,
    plain: Recording,
    from: Tensor,
    to: Tensor,
}

impl Copies {
    /// Of numbers that are not 0. They move `bytes`, or what fits.
    pub fn new(gpu: &Gpu, bytes: u64) -> Result<Self> {
        let limits = gpu.limits();
        let mut elements = (bytes / 8).min(limits.max_storage_buffer_binding_size.min(1 << 31).min(limits.max_buffer_size) / 4);
        loop {
            elements = (elements / 4 * 4).max(4);
            match Self::of(gpu, elements as usize) {
                Err(Error::OutOfMemory { .. } | Error::LimitTooSmall { .. }) if elements > 4 => elements /= 2,
                found => return found,
            }
        }
    }

    fn of(gpu: &Gpu, elements: usize) -> Result<Self> {
        let (from, to) = (noise(gpu, &[&[elements]], 4)?.remove(0), Tensor::zeros(gpu, &[elements], DType::F32)?);
        let mut kernel = Recording::new();
        vector::copy(gpu, &mut kernel, &from, &to)?;
        let pipeline = pipeline(gpu, wgpu::include_wgsl!("copy.wgsl"));
        let group = group(gpu, &pipeline, &[&from, &to]);
        let groups = (elements / 4).div_ceil(256) as u32;
        let rows = groups.div_ceil(65_535);
        let mut plain = Recording::new();
        plain.custom("copy", &pipeline, &group, [groups.div_ceil(rows), rows, 1]);
        Ok(Self { bytes: 8 * elements as u64, kernel, plain, from, to })
    }

    /// The crate's own kernel, `copy_buffer_to_buffer`, and a kernel whose neighbours load neighbours.
    pub fn runs(&self, gpu: &Gpu, times: usize) -> Result<[Run; 3]> {
        let transfer = Run::Transfer(Box::new(Transfer::new(gpu, &self.from, &self.to)?), times);
        Ok([repeated(&self.kernel, times), transfer, repeated(&self.plain, times)])
    }

    /// The bytes a second of the fastest.
    pub fn speed(&self, seconds: &[f64], times: usize) -> f64 {
        let fastest = seconds.iter().copied().fold(f64::INFINITY, f64::min);
        times as f64 * self.bytes as f64 / fastest
    }
}

/// A recording beside copies of as many bytes.
pub struct Streamed {
    /// Of one repetition.
    pub seconds: f64,
    /// Bytes a second.
    pub speed: f64,
    /// Those of the fastest copy.
    pub copy: f64,
}

/// `bytes` are what the recording moves. `once`: it cannot be repeated in one pass.
pub async fn beside_copies(gpu: &Gpu, recording: &Recording, bytes: u64, once: bool, repeats: usize) -> Result<Streamed> {
    let times = if once { 1 } else { repetitions(gpu, recording).await? };
    let copies = Copies::new(gpu, bytes)?;
    let [a, b, c] = copies.runs(gpu, times)?;
    let [time, of_copies @ ..] = in_turn(gpu, [&repeated(recording, times), &a, &b, &c], repeats).await?;
    let seconds = time / times as f64;
    Ok(Streamed { seconds, speed: bytes as f64 / seconds, copy: copies.speed(&of_copies, times) })
}

/// Fused multiply-adds in registers.
pub struct Peak {
    pub run: Run,
    operations: f64,
}

impl Peak {
    pub async fn new(gpu: &Gpu) -> Result<Self> {
        // enough to fill the largest GPU several times
        let invocations: u32 = if gpu.target().processor == Processor::Software { 1 << 14 } else { 1 << 20 };
        let pipeline = pipeline(gpu, wgpu::include_wgsl!("peak.wgsl"));
        let result = Tensor::zeros(gpu, &[invocations as usize, 4], DType::F32)?;
        let group = group(gpu, &pipeline, &[&result]);
        let mut recording = Recording::new();
        recording.custom("peak", &pipeline, &group, [invocations / 64, 1, 1]);
        let times = repetitions(gpu, &recording).await?;
        Ok(Self { run: repeated(&recording, times), operations: times as f64 * f64::from(invocations) * 65_536.0 })
    }

    /// Operations a second.
    pub fn speed(&self, seconds: f64) -> f64 {
        self.operations / seconds
    }
}

fn pipeline(gpu: &Gpu, module: wgpu::ShaderModuleDescriptor) -> wgpu::ComputePipeline {
    let module = gpu.device().create_shader_module(module);
    gpu.device().create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    })
}

fn group(gpu: &Gpu, pipeline: &wgpu::ComputePipeline, tensors: &[&Tensor]) -> wgpu::BindGroup {
    let resources = tensors.iter().map(|tensor| tensor.buffer().as_entire_binding());
    let entries: Vec<_> = (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
    let layout = &pipeline.get_bind_group_layout(0);
    gpu.device().create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
}
