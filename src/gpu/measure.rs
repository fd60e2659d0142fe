use std::time::Duration;

use wgpu::BufferUsages;

use super::{DType, Gpu, Recording, Tensor, readback};
use crate::{Error, Result};

/// How long the device takes for `recording`: by its timestamps where the device has
/// `TIMESTAMP_QUERY`, else from submission to completion by the host's clock. It submits the
/// recording once and waits for it.
///
/// # Errors
/// [`Error::DeviceLost`], [`Error::OutOfMemory`]; in a browser [`Error::MissingFeatures`] without
/// timestamps.
pub async fn measure(gpu: &Gpu, recording: &Recording) -> Result<Duration> {
    match gpu.device().features().contains(wgpu::Features::TIMESTAMP_QUERY) {
        true => by_timestamps(gpu, recording).await,
        // the browser's clock is not the standard library's
        false if cfg!(target_arch = "wasm32") => Err(Error::MissingFeatures { missing: wgpu::Features::TIMESTAMP_QUERY }),
        false => by_clock(gpu, recording).await,
    }
}

async fn by_timestamps(gpu: &Gpu, recording: &Recording) -> Result<Duration> {
    let queries = gpu.device().create_query_set(&wgpu::QuerySetDescriptor {
        label: Some("gradus.measure"),
        ty: wgpu::QueryType::Timestamp,
        count: 2,
    });
    let resolved = gpu.buffer("gradus.measure", 16, BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC | BufferUsages::STORAGE)?;
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let writes =
        wgpu::ComputePassTimestampWrites { query_set: &queries, beginning_of_pass_write_index: Some(0), end_of_pass_write_index: Some(1) };
    recording.encode_timed(&mut encoder, Some(writes));
    encoder.resolve_query_set(&queries, 0..2, &resolved, 0);
    gpu.submit_encoder(encoder)?;
    let words: Vec<u32> = Tensor::from_buffer(&resolved, 0, &[4], DType::U32)?.read(gpu).await?;
    let [start, end] = [0, 2].map(|i| u64::from(words[i]) | u64::from(words[i + 1]) << 32);
    let nanoseconds = end.saturating_sub(start) as f64 * f64::from(gpu.queue().get_timestamp_period());
    Ok(Duration::from_secs_f64(nanoseconds * 1e-9))
}

async fn by_clock(gpu: &Gpu, recording: &Recording) -> Result<Duration> {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    recording.encode(&mut encoder);
    let start = std::time::Instant::now();
    readback::run(gpu, encoder, move || start.elapsed()).await
}
