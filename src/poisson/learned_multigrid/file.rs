//! Files of coefficients.

use safetensors::tensor::{Dtype, TensorView};

use super::coefficients::{Coefficients, invalid};
use crate::gpu::{FLOATS, File, floats};
use crate::poisson::file::Metadata;
use crate::{Error, Result};

/// The value of the metadata key `format`.
const FORMAT: &str = "gradus.learned_multigrid.1";

impl Coefficients {
    /// Those that come with the crate, `weights/multigrid-2d.safetensors` or `3d`, whose cards say what they are worth.
    ///
    /// # Errors
    /// [`Error::Option`] if `dim` is not 2 or 3.
    pub fn trained(dim: usize) -> Result<Self> {
        match dim {
            2 => Self::from_safetensors(include_bytes!("../../../weights/multigrid-2d.safetensors")),
            3 => Self::from_safetensors(include_bytes!("../../../weights/multigrid-3d.safetensors")),
            _ => Err(invalid("dim", dim, "2 or 3")),
        }
    }

    /// The values of a file.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] with every difference: metadata that are missing or not valid, tensors that are missing or of
    /// another shape or type. [`Error::SafeTensors`] if it is no such file, or gives a name twice.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self> {
        let file = File::read(bytes)?;
        let mut metadata = Metadata::of(&file);
        metadata.expect_format(FORMAT);
        let training = metadata.training();
        let [dim, radius] = ["dim", "radius"].map(|key| metadata.number(key).map(|n| usize::try_from(n).unwrap_or(usize::MAX)));
        let mut differences = metadata.differences;
        let (Some(dim), Some(radius)) = (dim, radius) else { return Err(Error::StateMismatch { differences }) };
        let mut coefficients = match Self::initial(dim, radius) {
            Ok(initial) => Self { training, ..initial },
            Err(error) => {
                differences.push(error.to_string());
                return Err(Error::StateMismatch { differences });
            }
        };
        let tensors = coefficients.tensors_mut();
        differences.extend(file.differences(tensors.iter().map(|(name, shape, _)| (*name, FLOATS, shape))));
        if !differences.is_empty() {
            return Err(Error::StateMismatch { differences });
        }
        for (name, _, values) in tensors {
            let found = file.tensor(name).and_then(floats).into_iter().flatten();
            values.iter_mut().zip(found).for_each(|(value, found)| *value = found);
        }
        Ok(coefficients)
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// [`Error::SafeTensors`] if the values are not as many as the shapes say.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        let mut own = self.clone();
        let tensors = own.tensors_mut();
        let views = tensors
            .iter()
            .map(|(name, shape, values)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values))?)));
        let views = views.collect::<Result<Vec<_>>>()?;
        let others = [("dim", self.dim.to_string()), ("radius", self.radius().to_string())];
        Ok(safetensors::serialize(views, Some(self.training.metadata(FORMAT, &others).into_iter().collect()))?)
    }
}
