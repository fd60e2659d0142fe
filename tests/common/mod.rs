//! What the test binaries share: one device of each kind, and what tests of optimizers need.

#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

#[cfg(not(target_arch = "wasm32"))]
use std::sync::OnceLock;

#[cfg(not(target_arch = "wasm32"))]
use gradus::gpu::Checks;
use gradus::{DType, Gpu, Tensor};
#[cfg(feature = "optim")]
pub use optim::*;

#[cfg(feature = "optim")]
mod optim;
#[cfg(feature = "optim")]
pub mod twins;

/// The device, with checked or unchecked shaders; made once a test binary, with WebGPU's default
/// limits rather than the wider ones of the adapter.
#[cfg(not(target_arch = "wasm32"))]
pub fn gpu(checks: Checks) -> Gpu {
    static DEVICE: OnceLock<(wgpu::Device, wgpu::Queue)> = OnceLock::new();
    static UNCHECKED: OnceLock<Gpu> = OnceLock::new();
    static CHECKED: OnceLock<Gpu> = OnceLock::new();
    let make = || {
        let (device, queue) = DEVICE.get_or_init(|| device(wgpu::Limits::defaults()));
        let options = gradus::gpu::GpuOptions { checks, ..Default::default() };
        Gpu::with_options(device, queue, options).expect("default limits suffice")
    };
    match checks {
        Checks::Checked => CHECKED.get_or_init(make).clone(),
        _ => UNCHECKED.get_or_init(make).clone(),
    }
}

/// Unchecked, with the kernels shaped for one kind of processor, whatever the adapter is.
#[cfg(not(target_arch = "wasm32"))]
pub fn gpu_for(target: gradus::gpu::Target) -> Gpu {
    let gpu = gpu(Checks::Unchecked);
    let options = gradus::gpu::GpuOptions { target: Some(target), ..Default::default() };
    Gpu::with_options(gpu.device(), gpu.queue(), options).expect("default limits suffice")
}

/// A device of the adapter that the environment chooses, with just these limits.
#[cfg(not(target_arch = "wasm32"))]
pub fn device(required_limits: wgpu::Limits) -> (wgpu::Device, wgpu::Queue) {
    // `RUST_LOG=gradus=trace` tells how long each pipeline took to compile
    _ = env_logger::try_init();
    pollster::block_on(async {
        let adapter = gradus::gpu::headless_adapter().await.expect("an adapter; see with-vulkan");
        let info = adapter.get_info();
        eprintln!("adapter: {} ({:?}, {} {})", info.name, info.backend, info.driver, info.driver_info);
        let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
        adapter.request_device(&descriptor).await.expect("a device")
    })
}

/// A fast generator of numbers for tests, so that failures repeat: Philox by element.
pub fn noise(seed: u64, n: usize) -> Vec<f32> {
    gradus::reference::random::uniform(seed, 0, n).into_iter().map(|u| 2.0 * u - 1.0).collect()
}

/// Reads a tensor of floats as f64.
pub fn read(gpu: &Gpu, tensor: &Tensor) -> Vec<f64> {
    pollster::block_on(async {
        match tensor.dtype() {
            DType::F32 => tensor.read::<f32>(gpu).await.map(|v| v.into_iter().map(f64::from).collect()),
            DType::F16 => tensor.read::<half::f16>(gpu).await.map(|v| v.into_iter().map(f64::from).collect()),
            DType::Bf16 => tensor.read::<half::bf16>(gpu).await.map(|v| v.into_iter().map(f64::from).collect()),
            other => panic!("{other}"),
        }
    })
    .expect("readable")
}

/// Writes f32 values to a tensor of floats, rounded to its type.
pub fn write(gpu: &Gpu, tensor: &Tensor, values: &[f32]) {
    match tensor.dtype() {
        DType::F32 => tensor.write(gpu, values),
        DType::F16 => tensor.write(gpu, &values.iter().map(|&v| half::f16::from_f32(v)).collect::<Vec<_>>()),
        DType::Bf16 => tensor.write(gpu, &values.iter().map(|&v| half::bf16::from_f32(v)).collect::<Vec<_>>()),
        other => panic!("{other}"),
    }
    .expect("writable");
}

/// A buffer without a tensor.
pub fn buffer(gpu: &Gpu, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    gpu.device().create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
}

/// What a tensor's buffer is for.
pub const ALL: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

/// Zeros.
pub fn f32s(gpu: &Gpu, shape: &[usize]) -> Tensor {
    Tensor::zeros(gpu, shape, DType::F32).unwrap()
}

/// The bits of a tensor of floats, which tell zeros and NaNs apart.
pub fn bits(gpu: &Gpu, tensor: &Tensor) -> Vec<u32> {
    pollster::block_on(async {
        match tensor.dtype() {
            DType::F32 => tensor.read::<f32>(gpu).await.map(|v| v.into_iter().map(f32::to_bits).collect()),
            DType::F16 => tensor.read::<half::f16>(gpu).await.map(|v| v.into_iter().map(|x| x.to_bits().into()).collect()),
            _ => tensor.read::<half::bf16>(gpu).await.map(|v| v.into_iter().map(|x| x.to_bits().into()).collect()),
        }
    })
    .unwrap()
}

/// Names for a list of parameters: `p0`, `p1`, ...
pub fn numbered(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("p{i}")).collect()
}
