//! Reading tensors without blocking anybody.

use std::sync::{Arc, Mutex, PoisonError};

use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};
use wgpu::BufferUsages;

use super::{Gpu, Tensor};
use crate::{Error, Result};

/// Copies `tensors` into one mappable buffer with one submission, and resolves to the bytes of each
/// when the device has got there.
///
/// On native back ends a thread waits for the device meanwhile, so that the future is woken whatever
/// executor polls it; in a browser the event loop does it.
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
    map(gpu, &staging, encoder)?.done().await?;
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
        let mapping = map(&self.gpu, &staging, encoder)?;
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

/// A buffer that will be mapped.
struct Mapping(OneshotReceiver<Result<(), wgpu::BufferAsyncError>>);

impl Mapping {
    async fn done(self) -> Result<()> {
        match self.0.receive().await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(Error::DeviceLost { reason: error.to_string() }),
            None => Err(Error::DeviceLost { reason: "the mapping was abandoned".into() }),
        }
    }
}

fn view(staging: &wgpu::Buffer) -> Result<wgpu::BufferView> {
    staging.slice(..).get_mapped_range().map_err(|error| Error::DeviceLost { reason: error.to_string() })
}

/// Submits `encoder`, and has `staging` mapped after it.
fn map(gpu: &Gpu, staging: &wgpu::Buffer, encoder: wgpu::CommandEncoder) -> Result<Mapping> {
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
            let _ = sender.send(result);
        });
        submission
    });
    if let Some(error) = error {
        return Err(Error::DeviceLost { reason: error.to_string() });
    }
    wait_in_background(gpu, submission, || ());
    Ok(Mapping(receiver))
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

/// Drives the callbacks of `submission` from a thread of its own.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn wait_in_background(gpu: &Gpu, submission: wgpu::SubmissionIndex, after: impl Fn() + Clone + Send + 'static) {
    let device = gpu.device().clone();
    let wait = move || {
        #[cfg(test)]
        count(|counts| counts.waits += 1);
        // an error means that the device is lost, which the callbacks hear as well
        let _ = device.poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout: None });
        after();
    };
    let fallback = wait.clone();
    if std::thread::Builder::new().name("gradus.wait".into()).spawn(wait).is_err() {
        fallback();
    }
}

#[cfg(target_arch = "wasm32")]
pub(crate) fn wait_in_background(_: &Gpu, _: wgpu::SubmissionIndex, _: impl Fn()) {}
