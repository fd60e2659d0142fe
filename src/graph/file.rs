//! Files of parameters.

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::Parameters;
use crate::gpu::{Gpu, floats};
use crate::{Error, Result};

impl Parameters {
    /// Takes the values of a safetensors file with these names and shapes, f32, f64, f16 or bf16, which are rounded
    /// to f32: f64 beyond its range become infinite or 0. NaN and infinities are taken as they are. It takes effect before the next
    /// submission.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] with every name that is missing or not expected and every other shape or type;
    /// [`Error::SafeTensors`] if it is no such file. Nothing is written then.
    pub fn load(&self, gpu: &Gpu, bytes: &[u8]) -> Result<()> {
        let file = SafeTensors::deserialize(bytes)?;
        let mut differences = Vec::new();
        let mut values = Vec::with_capacity(self.flat.len());
        for (name, tensor) in self.names.iter().zip(&self.tensors) {
            let shape = tensor.shape();
            match file.tensor(name) {
                Err(_) => differences.push(format!("`{name}` is missing")),
                Ok(view) if view.shape() != shape => {
                    differences.push(format!("`{name}` has shape {:?}, expected {shape:?}", view.shape()));
                }
                Ok(view) => match floats(&view) {
                    Some(floats) => values.extend(floats),
                    None => differences.push(format!("`{name}` is {:?}, expected F32, F64, F16 or BF16", view.dtype())),
                },
            }
        }
        let mut unexpected: Vec<&str> = file.names().into_iter().filter(|name| self.get(name).is_err()).collect();
        unexpected.sort_unstable();
        differences.extend(unexpected.into_iter().map(|name| format!("`{name}` is not expected")));
        match differences.is_empty() {
            true => self.flat.write(gpu, &values),
            false => Err(Error::StateMismatch { differences }),
        }
    }

    /// The bytes of a safetensors file with the values, f32, as they are after all that was submitted so far.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::OutOfMemory`].
    pub async fn save(&self, gpu: &Gpu) -> Result<Vec<u8>> {
        self.save_with(gpu, None).await
    }

    /// [`Parameters::save`] with metadata.
    pub(crate) async fn save_with(&self, gpu: &Gpu, metadata: Option<HashMap<String, String>>) -> Result<Vec<u8>> {
        let values: Vec<f32> = self.flat.read(gpu).await?;
        let mut rest = bytemuck::cast_slice(&values);
        let mut views = Vec::with_capacity(self.names.len());
        for (name, tensor) in self.names.iter().zip(&self.tensors) {
            let (data, later) = rest.split_at(tensor.bytes() as usize);
            views.push((name, TensorView::new(Dtype::F32, tensor.shape().to_vec(), data)?));
            rest = later;
        }
        Ok(safetensors::serialize(views, metadata.map(|entries| entries.into_iter().collect()))?)
    }
}
