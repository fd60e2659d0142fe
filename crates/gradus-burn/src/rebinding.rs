//! An optimizer over tensors that are elsewhere in every step.

use gradus::optim::{Algorithm, Optimizer, Options, Param};
use gradus::{Gpu, Tensor};

use crate::Result;

/// An [`Optimizer`] whose parameters and gradients are told anew before each step.
pub(crate) struct Rebinding {
    gpu: Gpu,
    pub optimizer: Optimizer,
    names: Vec<String>,
    /// What stands for gradients that are not there.
    zeros: Vec<Option<Tensor>>,
}

impl Rebinding {
    pub fn new(gpu: &Gpu, algorithm: &dyn Algorithm, names: Vec<String>, params: &[Tensor], options: Options) -> Result<Self> {
        let zeros = params.iter().map(|param| Tensor::zeros(gpu, param.shape(), param.dtype())).collect::<gradus::Result<Vec<_>>>()?;
        let tensors = params.iter().zip(&zeros);
        let list: Vec<Param> = names.iter().zip(tensors).map(|(name, (param, grad))| Param::new(name, param, grad)).collect();
        let optimizer = Optimizer::with_options(gpu, algorithm, &list, options)?;
        // made again for those that need them
        let zeros = vec![None; params.len()];
        Ok(Self { gpu: gpu.clone(), optimizer, names, zeros })
    }

    /// Records a step over `params`; where there is no gradient, the parameter is left as it is.
    pub fn step(&mut self, encoder: &mut wgpu::CommandEncoder, params: &[&Tensor], grads: &[Option<&Tensor>]) -> Result<()> {
        let mut without = Vec::new();
        for (i, grad) in grads.iter().enumerate() {
            if grad.is_none() {
                without.push(self.names[i].as_str());
                if self.zeros[i].is_none() {
                    self.zeros[i] = Some(Tensor::zeros(&self.gpu, params[i].shape(), params[i].dtype())?);
                }
            }
        }
        let grads: Vec<&Tensor> = grads.iter().zip(&self.zeros).filter_map(|(grad, zeros)| grad.or(zeros.as_ref())).collect();
        self.optimizer.rebind(params, &grads)?;
        if without.is_empty() {
            self.optimizer.step(encoder);
        } else {
            self.optimizer.step_without(encoder, &without)?;
        }
        Ok(())
    }
}
