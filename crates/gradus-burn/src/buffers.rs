//! From Burn's tensors to ranges of wgpu buffers.

use std::sync::{Mutex, PoisonError};

use burn_core::backend::Cube;
use burn_core::tensor::wgpu::WgpuSetup;
use burn_core::tensor::{DType, Device, Tensor};
use burn_cubecl::cubecl::wgpu::{AutoCompiler, WgpuResource, WgpuServer};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use gradus::Gpu;

use crate::{Error, Result};

/// Burn does not tell which wgpu device is behind one of its own, so programs say so.
static REGISTERED: Mutex<Vec<(Device, Gpu)>> = Mutex::new(Vec::new());

/// Tells which wgpu device and queue are behind a device of Burn's: `setup` is what
/// [`WgpuOptions::init_with_setup`](burn_core::tensor::wgpu::WgpuOptions::init_with_setup) returned with it, or was given to
/// [`WgpuOptions::setup`](burn_core::tensor::wgpu::WgpuOptions::setup). To be called once, before optimizers are made. A later call
/// for the same device replaces the earlier one.
///
/// # Errors
/// [`Error::Gradus`] if the device lacks what gradus needs.
pub fn register(device: &Device, setup: &WgpuSetup) -> Result<()> {
    let gpu = Gpu::new(&setup.device, &setup.queue)?;
    let device = device.clone().inner();
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    registered.retain(|(known, _)| *known != device);
    registered.push((device, gpu));
    Ok(())
}

/// The wgpu device behind one of Burn's.
pub(crate) fn gpu(device: &Device) -> Result<Gpu> {
    let device = device.clone().inner();
    let registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    let found = registered.iter().find(|(known, _)| *known == device);
    found.map(|(_, gpu)| gpu.clone()).ok_or_else(|| Error::Unregistered { device: format!("{device:?}") })
}

/// A range of one of Burn's buffers, which nobody frees or moves while this exists.
pub(crate) struct Held {
    pub tensor: gradus::Tensor,
    _resource: Box<dyn std::any::Any>,
}

/// The elements of `tensor`, which is not of an autodiff device, in row-major order. They are a copy where Burn has them in
/// another order, and so are for reading.
pub(crate) fn to_read<const D: usize>(name: &str, tensor: Tensor<D>) -> Result<Held> {
    held(name, into_contiguous(cube(name, tensor)?))
}

/// `tensor` in row-major order and in memory that no other tensor sees, and its elements, for writing.
pub(crate) fn to_write<const D: usize>(name: &str, tensor: Tensor<D>) -> Result<(Tensor<D>, Held)> {
    let shape = tensor.dims();
    let unique = |tensor: Tensor<D>| -> Result<Result<(Tensor<D>, Held), Tensor<D>>> {
        let primitive = tensor.try_into_primitive::<Cube>().map_err(|e| other_back_end(name, e))?;
        let can_write = burn_core::backend::TensorMetadata::can_mut(&primitive);
        let elements = resolved(primitive.clone());
        let tensor = Tensor::from_primitive::<Cube>(primitive);
        if can_write && elements.is_contiguous() { Ok(Ok((tensor, held(name, elements)?))) } else { Ok(Err(tensor)) }
    };
    match unique(tensor)? {
        Ok(all) => Ok(all),
        Err(tensor) => {
            // a product with 1 has memory of its own, and a change of shape brings the elements in order
            let elements: usize = shape.iter().product();
            let copy = tensor.reshape([elements]).mul_scalar(1.0).reshape(shape);
            let expected = "a tensor with memory of its own";
            unique(copy)?.map_err(|_| Error::Tensor { tensor: name.to_owned(), found: "shared after a copy".to_owned(), expected })
        }
    }
}

fn cube<const D: usize>(name: &str, tensor: Tensor<D>) -> Result<CubeTensor> {
    Ok(resolved(tensor.try_into_primitive::<Cube>().map_err(|e| other_back_end(name, e))?))
}

#[cfg(not(feature = "fusion"))]
fn resolved(primitive: CubeTensor) -> CubeTensor {
    primitive
}

/// What a fused tensor stands for, after the operations that it waits for.
#[cfg(feature = "fusion")]
fn resolved(primitive: burn_core::backend::tensor::FloatTensor<Cube>) -> CubeTensor {
    primitive.client.clone().resolve_tensor_float::<burn_cubecl::CubeBackend>(primitive)
}

fn other_back_end(name: &str, error: impl std::fmt::Debug) -> Error {
    Error::Tensor { tensor: name.to_owned(), found: format!("{error:?}"), expected: "a tensor of floats on Burn's wgpu back end" }
}

fn held(name: &str, elements: CubeTensor) -> Result<Held> {
    let wrong = |found: String, expected| Error::Tensor { tensor: name.to_owned(), found, expected };
    let dtype = match elements.dtype {
        DType::F32 => gradus::DType::F32,
        DType::F16 => gradus::DType::F16,
        DType::BF16 => gradus::DType::Bf16,
        other => return Err(wrong(other.name().to_owned(), "f32, f16 or bf16")),
    };
    if elements.meta.is_tiled() {
        return Err(wrong("tiled".to_owned(), "a row-major layout"));
    }
    let shape = elements.meta.shape().to_vec();
    let resource = elements.client.get_resource::<WgpuServer<AutoCompiler>>(elements.handle.clone());
    let resource = resource.map_err(|e| Error::Runtime { reason: format!("{e:?}") })?;
    let WgpuResource { buffer, offset, .. } = resource.resource();
    let tensor = gradus::Tensor::from_buffer(buffer, *offset, &shape, dtype)?;
    Ok(Held { tensor, _resource: Box::new(resource) })
}
