//! Files of weights, which say what they are of.

use std::collections::HashMap;

use safetensors::SafeTensors;

use super::network::Architecture;
use crate::gpu::Gpu;
use crate::graph::Parameters;
use crate::{Error, Result};

/// The value of the metadata key `format`.
const FORMAT: &str = "gradus.dcdm.1";

/// How weights were trained, and on what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Training {
    /// What the right-hand sides were, and of which grids.
    pub data: String,
    /// Steps of the optimizer.
    pub steps: u64,
    /// Right-hand sides a step.
    pub batch: u64,
    /// The optimizer, with its options.
    pub optimizer: String,
    /// Of the initial weights and of the data.
    pub seed: u64,
    /// On what device.
    pub adapter: String,
}

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
        let training = Training { data: "none".into(), optimizer: "none".into(), seed, adapter: "none".into(), ..Default::default() };
        Ok(Self { architecture: *architecture, training, parameters: architecture.parameters(gpu, seed)? })
    }

    /// The values of a file. They are there before the next submission.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] with every difference: metadata that are missing or not valid, tensors that are missing or
    /// not of this architecture, of another shape or type. [`Error::SafeTensors`] if it is no such file.
    /// [`Error::OutOfMemory`], [`Error::LimitTooSmall`].
    pub fn from_safetensors(gpu: &Gpu, bytes: &[u8]) -> Result<Self> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let mut differences = Vec::new();
        let mut text = |key: &str| {
            let found = metadata.get(key).cloned();
            if found.is_none() {
                differences.push(format!("the metadata have no `{key}`"));
            }
            found.unwrap_or_default()
        };
        let (format, architecture) = (text("format"), text("architecture"));
        let (data, optimizer, adapter) = (text("data"), text("optimizer"), text("adapter"));
        let numbers = ["steps", "batch", "seed"].map(|key| (key, text(key)));
        let mut number = |(key, text): &(&str, String)| {
            let found = text.parse::<u64>();
            if found.is_err() && metadata.contains_key(*key) {
                differences.push(format!("{key} is `{text}`, expected a whole number"));
            }
            found.unwrap_or_default()
        };
        let [steps, batch, seed] = [number(&numbers[0]), number(&numbers[1]), number(&numbers[2])];
        if format != FORMAT && metadata.contains_key("format") {
            differences.push(format!("the format is `{format}`, expected `{FORMAT}`"));
        }
        let architecture = match Architecture::from_json(&architecture) {
            Ok(found) => Some(found),
            Err(error) if metadata.contains_key("architecture") => {
                differences.push(error.to_string());
                None
            }
            Err(_) => None,
        };
        let (Some(architecture), true) = (architecture, differences.is_empty()) else {
            return Err(Error::StateMismatch { differences });
        };
        let parameters = architecture.parameters(gpu, 0)?;
        parameters.load(gpu, bytes)?;
        Ok(Self { architecture, training: Training { data, steps, batch, optimizer, seed, adapter }, parameters })
    }

    /// The bytes of a file of the values as they are after all that was submitted so far.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::OutOfMemory`].
    pub async fn to_safetensors(&self, gpu: &Gpu) -> Result<Vec<u8>> {
        let Training { data, steps, batch, optimizer, seed, adapter } = &self.training;
        let metadata = [
            ("format", FORMAT.to_owned()),
            ("architecture", self.architecture.to_json()),
            ("data", data.clone()),
            ("steps", steps.to_string()),
            ("batch", batch.to_string()),
            ("optimizer", optimizer.clone()),
            ("seed", seed.to_string()),
            ("adapter", adapter.clone()),
        ];
        let metadata: HashMap<String, String> = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        self.parameters.save_with(gpu, Some(metadata)).await
    }
}
