//! Files of weights.

use serde_json::{Map, Number, Value};

use super::network::{Architecture, FIELDS};
use super::{DeepPreconditioner, Weights};
use crate::gpu::{FLOATS, File, Gpu, Object};
use crate::graph::Parameters;
use crate::poisson::Grid;
use crate::poisson::file::Metadata;
use crate::{Error, Result};

/// The value of the metadata key `format`.
const FORMAT: &str = "gradus.dcdm.1";

impl Weights {
    /// The values of a file. They are there before the next submission.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] with every difference: metadata that are missing or not valid, tensors that are missing or
    /// not of this architecture, of another shape or type. Of those that are missing as many are listed as the file has tensors,
    /// or 16. [`Error::SafeTensors`] if it is no such file, or gives a name twice.
    /// [`Error::OutOfMemory`], [`Error::LimitTooSmall`].
    pub fn from_safetensors(gpu: &Gpu, bytes: &[u8]) -> Result<Self> {
        let file = File::read(bytes)?;
        let mut metadata = Metadata::of(&file);
        metadata.expect_format(FORMAT);
        let training = metadata.training();
        let architecture = metadata.text("architecture").and_then(|text| match Architecture::from_json(text) {
            Ok(found) => Some(found),
            Err(error) => {
                metadata.differences.push(error.to_string());
                None
            }
        });
        let (Some(architecture), true) = (architecture, metadata.differences.is_empty()) else {
            return Err(Error::StateMismatch { differences: metadata.differences });
        };
        // before anything of the size of the network is made, which the file may not be of
        let differences = file.differences(architecture.tensors().map(|(name, shape)| (name, FLOATS, shape)));
        if !differences.is_empty() {
            return Err(Error::StateMismatch { differences });
        }
        let parameters = Parameters::zeros(gpu, architecture.tensors().collect())?;
        parameters.take(gpu, &file)?;
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

impl Architecture {
    /// As JSON: an object of the fields.
    #[must_use]
    pub fn to_json(&self) -> String {
        let fields = FIELDS.iter().zip(self.values()).map(|(&(name, ..), value)| (name.to_owned(), Value::from(value)));
        Value::Object(fields.collect::<Map<_, _>>()).to_string()
    }

    /// From [`Architecture::to_json`].
    ///
    /// # Errors
    /// [`Error::Option`] if it is not an object of these fields alone, each in its range.
    pub fn from_json(text: &str) -> Result<Self> {
        let invalid = |expected: String| Error::Option { option: "architecture".into(), found: text.to_owned(), expected };
        let Ok(Object(fields)) = serde_json::from_str::<Object<Number>>(text) else {
            return Err(invalid("an object of JSON, of numbers with a name each".into()));
        };
        if let Some(name) = fields.keys().find(|name| FIELDS.iter().all(|(known, ..)| known != name)) {
            return Err(invalid(format!("no field `{name}`")));
        }
        let field = |i: usize| {
            let name = FIELDS[i].0;
            let value = fields.get(name).and_then(Number::as_u64).and_then(|value| usize::try_from(value).ok());
            value.ok_or_else(|| invalid(format!("a whole number `{name}`")))
        };
        let found = Self { dim: field(0)?, channels: field(1)?, levels: field(2)?, before: field(3)?, coarse: field(4)?, after: field(5)? };
        found.check()?;
        Ok(found)
    }
}

impl DeepPreconditioner {
    /// [`DeepPreconditioner::new`] with the weights of a file.
    ///
    /// # Errors
    /// As there, and those of [`Weights::from_safetensors`].
    pub fn from_safetensors(gpu: &Gpu, grid: &Grid, bytes: &[u8]) -> Result<Self> {
        Self::new(gpu, grid, &Weights::from_safetensors(gpu, bytes)?)
    }
}
