//! Files of parameters.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, TensorView};

use super::Parameters;
use crate::gpu::{FLOATS, File, Gpu, floats};
use crate::{Error, Result};

impl Parameters {
    /// Takes the values of a safetensors file with these names and shapes, f32, f64, f16 or bf16, which are rounded
    /// to f32: f64 beyond its range become infinite or 0. NaN and infinities are taken as they are. It takes effect before the next
    /// submission.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] with every name that is not expected, every other shape or type, and the names that are missing, of
    /// which as many are listed as the file has tensors, or 16;
    /// [`Error::SafeTensors`] if it is no such file, or gives a name twice. Nothing is written then.
    pub fn load(&self, gpu: &Gpu, bytes: &[u8]) -> Result<()> {
        self.take(gpu, &File::read(bytes)?)
    }

    /// [`Parameters::load`] of a file that has been read.
    pub(crate) fn take(&self, gpu: &Gpu, file: &File) -> Result<()> {
        let expected = self.names.iter().zip(&self.tensors);
        let differences = file.differences(expected.map(|(name, tensor)| (name, FLOATS, tensor.shape())));
        if !differences.is_empty() {
            return Err(Error::StateMismatch { differences });
        }
        let mut values = Vec::with_capacity(self.flat.len());
        for view in self.names.iter().filter_map(|name| file.tensor(name)) {
            values.extend(floats(view).into_iter().flatten());
        }
        self.flat.write(gpu, &values)
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
