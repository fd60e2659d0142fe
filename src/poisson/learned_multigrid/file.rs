//! Files of coefficients.

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::coefficients::{Coefficients, invalid};
use crate::gpu::floats;
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
    /// another shape or type. [`Error::SafeTensors`] if it is no such file.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self> {
        let mut metadata = Metadata::read(bytes)?;
        metadata.expect_format(FORMAT);
        let training = metadata.training();
        let [dim, radius] = ["dim", "radius"].map(|key| metadata.number(key));
        let mut differences = metadata.differences;
        let (Some(dim), Some(radius)) = (dim, radius) else { return Err(Error::StateMismatch { differences }) };
        let mut coefficients = match Self::initial(dim as usize, radius as usize) {
            Ok(initial) => Self { training, ..initial },
            Err(error) => {
                differences.push(error.to_string());
                return Err(Error::StateMismatch { differences });
            }
        };
        let file = SafeTensors::deserialize(bytes)?;
        let mut names = Vec::new();
        for (name, shape, values) in coefficients.tensors_mut() {
            names.push(name);
            match file.tensor(name) {
                Err(_) => differences.push(format!("`{name}` is missing")),
                Ok(view) if view.shape() != shape => {
                    differences.push(format!("`{name}` has shape {:?}, expected {shape:?}", view.shape()));
                }
                Ok(view) => match floats(&view) {
                    Some(floats) => values.copy_from_slice(&floats),
                    None => differences.push(format!("`{name}` is {:?}, expected F32, F64, F16 or BF16", view.dtype())),
                },
            }
        }
        let mut unexpected: Vec<&str> = file.names().into_iter().filter(|name| !names.contains(name)).collect();
        unexpected.sort_unstable();
        differences.extend(unexpected.into_iter().map(|name| format!("`{name}` is not expected")));
        match differences.is_empty() {
            true => Ok(coefficients),
            false => Err(Error::StateMismatch { differences }),
        }
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
