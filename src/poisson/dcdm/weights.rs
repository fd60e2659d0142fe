//! Files of weights, which say what they are of.

use super::network::Architecture;
use crate::gpu::Gpu;
use crate::graph::Parameters;
use crate::poisson::training::{Metadata, Training};
use crate::{Error, Result};

/// The value of the metadata key `format`.
const FORMAT: &str = "gradus.dcdm.1";

/// A network's weights on a device.
///
/// In a file they are safetensors, f32, under the names of [`Architecture::build`]. Metadata: `format`, which is
/// `gradus.dcdm.1`; `architecture`, see [`Architecture::to_json`]; and the fields of [`Training`].
#[derive(Clone, Debug)]
pub struct Weights {
    /// The network.
    pub architecture: Architecture,
    /// Where the values are from.
    pub training: Training,
    /// The values.
    pub parameters: Parameters,
}

impl Weights {
    /// Initial values: see [`Architecture::parameters`].
    ///
    /// # Errors
    /// Those of [`Architecture::parameters`].
    pub fn initial(gpu: &Gpu, architecture: &Architecture, seed: u64) -> Result<Self> {
        Ok(Self { architecture: *architecture, training: Training::none(seed), parameters: architecture.parameters(gpu, seed)? })
    }

    /// The values of a file. They are there before the next submission.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] with every difference: metadata that are missing or not valid, tensors that are missing or
    /// not of this architecture, of another shape or type. [`Error::SafeTensors`] if it is no such file.
    /// [`Error::OutOfMemory`], [`Error::LimitTooSmall`].
    pub fn from_safetensors(gpu: &Gpu, bytes: &[u8]) -> Result<Self> {
        let mut metadata = Metadata::read(bytes)?;
        metadata.expect_format(FORMAT);
        let training = metadata.training();
        let architecture = metadata.text("architecture").and_then(|text| match Architecture::from_json(&text) {
            Ok(found) => Some(found),
            Err(error) => {
                metadata.differences.push(error.to_string());
                None
            }
        });
        let (Some(architecture), true) = (architecture, metadata.differences.is_empty()) else {
            return Err(Error::StateMismatch { differences: metadata.differences });
        };
        let parameters = architecture.parameters(gpu, 0)?;
        parameters.load(gpu, bytes)?;
        Ok(Self { architecture, training, parameters })
    }

    /// The bytes of a file of the values as they are after all that was submitted so far.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::OutOfMemory`].
    pub async fn to_safetensors(&self, gpu: &Gpu) -> Result<Vec<u8>> {
        let metadata = self.training.metadata(FORMAT, &[("architecture", self.architecture.to_json())]);
        self.parameters.save_with(gpu, Some(metadata)).await
    }
}
