//! Weights, which say what they are of.

use super::network::Architecture;
use crate::Result;
use crate::gpu::Gpu;
use crate::graph::Parameters;
use crate::poisson::training::Training;

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
}
