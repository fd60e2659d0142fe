//! Reading tensors without blocking anybody.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};
use wgpu::{BufferUsages, WasmNotSend};

use super::{Gpu, Tensor};
use crate::{Error, Result};

/// Copies `tensors` into one mappable buffer with one submission, and resolves to the bytes of each
/// when the device has got there.
pub(crate) async fn read(gpu: &Gpu, tensors: &[Tensor]) -> Result<Vec<Vec<u8>>> {
    for tensor in tensors {
        tensor.expect_usage("tensor", BufferUsages::COPY_SRC)?;
        tensor.expect_on("tensor", gpu)?;
    }
    // the parts of one staging buffer, of as many as its largest size makes necessary
    let mut parts = Vec::with_capacity(tensors.len());
    let mut rest = tensors;
    while !rest.is_empty() {
        let limit = gpu.limits().max_buffer_size;
        let mut bytes = 0;
        let count = rest
            .iter()
            .take_while(|tensor| {
                bytes += tensor.padded_bytes();
                bytes <= limit
            })
            .count()
            .max(1);
        let (now, later) = rest.split_at(count);
        parts.extend(read_at_once(gpu, now).await?);
        rest = later;
    }
    Ok(parts)
}

async fn read_at_once(gpu: &Gpu, tensors: &[Tensor]) -> Result<Vec<Vec<u8>>> {
    let bytes = tensors.iter().map(Tensor::padded_bytes).sum();
    let staging = gpu.buffer("gradus.readback", bytes, BufferUsages::MAP_READ | BufferUsages::COPY_DST)?;
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let mut end = 0;
    for tensor in tensors.iter().filter(|tensor| !tensor.is_empty()) {
        encoder.copy_buffer_to_buffer(tensor.buffer(), tensor.offset(), &staging, end, tensor.padded_bytes());
        end += tensor.padded_bytes();
    }
    if end == 0 {
        return Ok(vec![Vec::new(); tensors.len()]);
    }
    map(gpu, &staging, encoder, || ())?.done().await?;
    let view = view(&staging)?;
    let mut start = 0;
    let part = |tensor: &Tensor| {
        let bytes = view[start..start + tensor.bytes() as usize].to_vec();
        start += if tensor.is_empty() { 0 } else { tensor.padded_bytes() as usize };
        bytes
    };
    Ok(tensors.iter().map(part).collect())
}

/// A small tensor that is read again and again, with several reads on their way at once.
#[derive(Debug)]
pub(crate) struct Reader {
    gpu: Gpu,
    source: Tensor,
    /// Staging buffers that no read uses.
    free: Arc<Mutex<Vec<wgpu::Buffer>>>,
}

impl Reader {
    pub fn new(gpu: &Gpu, source: &Tensor) -> Self {
        Self { gpu: gpu.clone(), source: source.clone(), free: Arc::default() }
    }

    /// Submits `encoder` and a copy of the tensor behind it, and returns at once. The future resolves to the
    /// bytes when the device has got there, whatever was submitted since.
    pub fn submit(&self, mut encoder: wgpu::CommandEncoder) -> Result<impl Future<Output = Result<Vec<u8>>> + use<>> {
        let free = || self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = self.source.padded_bytes();
        let unused = free().pop();
        let staging = match unused {
            Some(staging) => staging,
            None => self.gpu.buffer("gradus.look", bytes, BufferUsages::MAP_READ | BufferUsages::COPY_DST)?,
        };
        encoder.copy_buffer_to_buffer(self.source.buffer(), self.source.offset(), &staging, 0, bytes);
        let mapping = map(&self.gpu, &staging, encoder, || ())?;
        let free = self.free.clone();
        // if the future is dropped, so is the buffer, which may be about to be mapped
        Ok(async move {
            mapping.done().await?;
            let bytes = view(&staging)?.to_vec();
            staging.unmap();
            free.lock().unwrap_or_else(PoisonError::into_inner).push(staging);
            Ok(bytes)
        })
    }
}

/// A buffer that will be mapped, and what `map` was given to call then.
struct Mapping<T: Send + 'static> {
    receiver: OneshotReceiver<Result<T, wgpu::BufferAsyncError>>,
    /// To poll, if nobody else does it.
    device: Option<wgpu::Device>,
}

impl<T: Send + 'static> Mapping<T> {
    async fn done(self) -> Result<T> {
        let mut received = pin!(self.receiver.receive());
        let received = poll_fn(|context| {
            let now = received.as_mut().poll(context);
            let (Poll::Pending, Some(device)) = (&now, &self.device) else { return now };
            // callbacks run here; a lost device calls back as well
            let _ = device.poll(wgpu::PollType::Poll);
            let now = received.as_mut().poll(context);
            if now.is_pending() {
                // nobody else knows when it is time; meanwhile others may want the processor
                context.waker().wake_by_ref();
                std::thread::yield_now();
            }
            now
        });
        match received.await {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(Error::DeviceLost { reason: error.to_string() }),
            None => Err(Error::DeviceLost { reason: "the mapping was abandoned".into() }),
        }
    }
}

fn view(staging: &wgpu::Buffer) -> Result<wgpu::BufferView> {
    staging.slice(..).get_mapped_range().map_err(|error| Error::DeviceLost { reason: error.to_string() })
}

/// Submits `encoder`, and resolves to what `then` returns at the time when the device has got there.
pub(crate) async fn run<T: Send + 'static>(
    gpu: &Gpu,
    mut encoder: wgpu::CommandEncoder,
    then: impl FnOnce() -> T + WasmNotSend + 'static,
) -> Result<T> {
    let staging = gpu.buffer("gradus.end", 4, BufferUsages::MAP_READ | BufferUsages::COPY_DST)?;
    // so that the mapping waits for the submission
    encoder.clear_buffer(&staging, 0, None);
    map(gpu, &staging, encoder, then)?.done().await
}

/// Submits `encoder`, and has `staging` mapped after it; then calls `then`.
fn map<T: Send + 'static>(
    gpu: &Gpu,
    staging: &wgpu::Buffer,
    encoder: wgpu::CommandEncoder,
    then: impl FnOnce() -> T + WasmNotSend + 'static,
) -> Result<Mapping<T>> {
    #[cfg(test)]
    count(|counts| {
        counts.maps += 1;
        counts.submissions += 1;
    });
    let (sender, receiver) = oneshot_channel();
    let (submission, error) = gpu.scoped(&[wgpu::ErrorFilter::Validation], || {
        let submission = gpu.queue().submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // the receiver is gone if the future was dropped
            let _ = sender.send(result.map(|()| then()));
        });
        submission
    });
    if let Some(error) = error {
        return Err(gpu.refused(&error));
    }
    Ok(Mapping { receiver, device: (!is_awaited(gpu, submission)).then(|| gpu.device().clone()) })
}

/// Whether somebody waits for the submission, and runs callbacks then. In a browser it is the event loop.
#[cfg(target_arch = "wasm32")]
fn is_awaited(_: &Gpu, _: wgpu::SubmissionIndex) -> bool {
    true
}

#[cfg(not(target_arch = "wasm32"))]
fn is_awaited(gpu: &Gpu, submission: wgpu::SubmissionIndex) -> bool {
    gpu.waiter().is_some_and(|waiter| waiter.wait_for(submission))
}

/// A thread that waits for one submission after another, and so runs the callbacks of a device. The last clone of its [`Gpu`]
/// waits for its end: it holds the device, and a driver must not be unloaded by one thread while another ends the program.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) struct Waiter {
    submissions: Option<std::sync::mpsc::Sender<wgpu::SubmissionIndex>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[cfg(not(target_arch = "wasm32"))]
impl Waiter {
    /// `None` if there is no thread to be had.
    pub fn new(device: &wgpu::Device) -> Option<Self> {
        let (sender, submissions) = std::sync::mpsc::channel();
        let device = device.clone();
        let wait = move || {
            for submission in submissions {
                #[cfg(test)]
                count(|counts| counts.waits += 1);
                // an error means that the device is lost, which the callbacks hear as well
                let _ = device.poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout: None });
            }
        };
        let thread = std::thread::Builder::new().name("gradus.wait".into()).spawn(wait).ok()?;
        Some(Self { submissions: Some(sender), thread: Some(thread) })
    }

    /// Whether the thread is there to wait for the submission.
    fn wait_for(&self, submission: wgpu::SubmissionIndex) -> bool {
        self.submissions.as_ref().is_some_and(|submissions| submissions.send(submission).is_ok())
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Waiter {
    fn drop(&mut self) {
        drop(self.submissions.take());
        // a callback may have had the last clone: the thread does not wait for itself
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

/// How often this thread has waited for the device, mapped a buffer, and submitted.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Counts {
    pub waits: u32,
    pub maps: u32,
    pub submissions: u32,
}

#[cfg(test)]
thread_local! {
    pub(crate) static COUNTS: std::cell::Cell<Counts> = const { std::cell::Cell::new(Counts { waits: 0, maps: 0, submissions: 0 }) };
}

#[cfg(test)]
pub(crate) fn count(change: impl FnOnce(&mut Counts)) {
    let mut counts = COUNTS.get();
    change(&mut counts);
    COUNTS.set(counts);
}
