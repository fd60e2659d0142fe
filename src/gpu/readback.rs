//! Reading tensors without blocking anybody.

use futures_intrusive::channel::shared::oneshot_channel;
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
    let lost = |reason: String| Error::DeviceLost { reason };
    map(gpu, &staging, encoder).await.map_err(lost)?;
    let view = staging.slice(..).get_mapped_range().map_err(|error| lost(error.to_string()))?;
    let mut start = 0;
    let part = |tensor: &Tensor| {
        let bytes = view[start..start + tensor.bytes() as usize].to_vec();
        start += if tensor.is_empty() { 0 } else { tensor.padded_bytes() as usize };
        bytes
    };
    Ok(tensors.iter().map(part).collect())
}

async fn map(gpu: &Gpu, staging: &wgpu::Buffer, encoder: wgpu::CommandEncoder) -> Result<(), String> {
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
        return Err(error.to_string());
    }
    wait_in_background(gpu, submission, || ());
    match receiver.receive().await {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the mapping was abandoned".into()),
    }
}

/// Drives the callbacks of `submission` from a thread of its own.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn wait_in_background(gpu: &Gpu, submission: wgpu::SubmissionIndex, after: impl Fn() + Clone + Send + 'static) {
    let device = gpu.device().clone();
    let wait = move || {
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
