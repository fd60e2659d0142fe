//! An optimizer over tensors that are elsewhere in every step.

use gradus::optim::{Algorithm, Optimizer, Options, Param};
use gradus::{DType, Gpu, Tensor};

use crate::Result;

/// A parameter of which only name, shape and type are known.
pub(crate) struct Known {
    pub name: String,
    pub shape: Vec<usize>,
    pub dtype: DType,
}

/// An [`Optimizer`] whose parameters and gradients are copied to buffers of its own before a step, and parameters back after it.
pub(crate) struct Rebinding {
    pub optimizer: Optimizer,
    names: Vec<String>,
    params: Vec<Tensor>,
    grads: Vec<Tensor>,
}

impl Rebinding {
    pub fn new(gpu: &Gpu, algorithm: &dyn Algorithm, known: &[Known], options: Options) -> Result<Self> {
        let params = arenas(gpu, known)?;
        let grads = arenas(gpu, known)?;
        let tensors = params.iter().zip(&grads);
        let list: Vec<Param> = known.iter().zip(tensors).map(|(known, (param, grad))| Param::new(&known.name, param, grad)).collect();
        let optimizer = Optimizer::with_options(gpu, algorithm, &list, options)?;
        let names = known.iter().map(|known| known.name.clone()).collect();
        Ok(Self { optimizer, names, params, grads })
    }

    /// Records a step of the parameters in `tensors`, pairs of a parameter and its gradient; where there is none, the parameter is
    /// left as it is.
    pub fn step_with(&self, encoder: &mut wgpu::CommandEncoder, tensors: &[Option<(Tensor, Tensor)>]) -> Result<()> {
        let mut without = Vec::new();
        for (i, pair) in tensors.iter().enumerate() {
            match pair {
                Some((param, grad)) => {
                    copy(encoder, param, &self.params[i]);
                    copy(encoder, grad, &self.grads[i]);
                }
                None => without.push(self.names[i].as_str()),
            }
        }
        self.optimizer.step_without(encoder, &without)?;
        for (pair, own) in tensors.iter().zip(&self.params) {
            if let Some((param, _)) = pair {
                copy(encoder, own, param);
            }
        }
        Ok(())
    }
}

/// Tensors of each type in a buffer of their own, in the order of `known`.
fn arenas(gpu: &Gpu, known: &[Known]) -> Result<Vec<Tensor>> {
    let mut all: Vec<Option<Tensor>> = vec![None; known.len()];
    for dtype in [DType::F32, DType::F16, DType::Bf16] {
        let members: Vec<usize> = (0..known.len()).filter(|&i| known[i].dtype == dtype).collect();
        let shapes: Vec<&[usize]> = members.iter().map(|&i| known[i].shape.as_slice()).collect();
        if members.is_empty() {
            continue;
        }
        for (i, tensor) in members.into_iter().zip(Tensor::arena(gpu, &shapes, dtype)?) {
            all[i] = Some(tensor);
        }
    }
    Ok(all.into_iter().flatten().collect())
}

/// Copies are of whole words: Burn's allocations are, and those of an arena.
fn copy(encoder: &mut wgpu::CommandEncoder, from: &Tensor, to: &Tensor) {
    let bytes = from.bytes().next_multiple_of(4);
    if bytes > 0 {
        encoder.copy_buffer_to_buffer(from.buffer(), from.offset(), to.buffer(), to.offset(), bytes);
    }
}
