//! The optimizer of a module.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, GradientCheckpointingStrategy, Tensor};
use burn_core as burn;
use burn_optim::GradientsParams;
use gradus::Gpu;
use gradus::optim::{AdamP, AdamW, Algorithm, Options, StepStatus};

use crate::buffers::{self, Held};
use crate::rebinding::Rebinding;
use crate::{Error, Result};

/// An optimizer that is not yet made for a module.
///
/// ```
/// use gradus::optim::Options;
/// use gradus_burn::GradusOptimizer;
///
/// let setup = GradusOptimizer::adamw(Default::default()).options(Options { max_norm: Some(1.0), ..Default::default() });
/// ```
pub struct Setup {
    algorithm: Box<dyn Algorithm>,
    options: Options,
}

impl Setup {
    /// Clipping, loss scaling and what else [`Options`] has. Of groups there is one.
    #[must_use]
    pub fn options(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// Makes the optimizer for the float parameters of `module` that require a gradient, which all lie on one device. States are
    /// zeros.
    ///
    /// # Errors
    /// [`Error::Unregistered`] for a device that was not given to [`register`](crate::register); [`Error::Tensor`] for parameters that
    /// cannot be stepped; [`Error::Gradus`] for an option out of range, and where memory or limits do not suffice.
    pub fn init<M: Module>(self, module: &M) -> Result<GradusOptimizer> {
        let mut list = List::default();
        module.visit(&mut list);
        let List { names, held, index, device, error, .. } = list;
        if let Some(error) = error {
            return Err(error);
        }
        let device = match device {
            Some(device) => device,
            None => module.devices().into_iter().next().unwrap_or_default(),
        };
        let gpu = buffers::gpu(&device)?;
        // master weights are copied from the parameters
        device.flush().map_err(runtime)?;
        let params: Vec<_> = held.iter().map(|held| held.tensor.clone()).collect();
        let rebinding = Rebinding::new(&gpu, &*self.algorithm, names, &params, self.options)?;
        Ok(GradusOptimizer { gpu, device, rebinding, index })
    }
}

/// A fused optimizer for the parameters of a module.
pub struct GradusOptimizer {
    gpu: Gpu,
    device: Device,
    rebinding: Rebinding,
    /// Where a parameter is among those of `rebinding`.
    index: HashMap<ParamId, usize>,
}

impl GradusOptimizer {
    /// Any algorithm of [`gradus::optim`].
    #[must_use]
    #[allow(clippy::new_ret_no_self, reason = "an optimizer needs a module, which `Setup::init` takes")]
    pub fn new(algorithm: impl Algorithm + 'static) -> Setup {
        Setup { algorithm: Box::new(algorithm), options: Options::default() }
    }

    /// AdamW, with PyTorch's defaults. Those of Burn's are an `eps` of 1e-5 and a `weight_decay` of 1e-4.
    #[must_use]
    pub fn adamw(adamw: AdamW) -> Setup {
        Self::new(adamw)
    }

    /// AdamP.
    #[must_use]
    pub fn adamp(adamp: AdamP) -> Setup {
        Self::new(adamp)
    }

    /// A step with the learning rate `lr`, submitted to Burn's queue. Parameters without a gradient are left as they are; other
    /// parameters of `module` are returned in the buffers that they were in, unless another tensor shares them.
    ///
    /// # Errors
    /// [`Error::UnknownParameter`], [`Error::MissingParameter`], [`Error::Tensor`], [`Error::Runtime`]; [`Error::Gradus`] for a learning rate that is negative
    /// or not finite in f32. The module is lost then, so a program that wants to go on keeps a clone.
    pub fn step<M: Module>(&mut self, lr: f64, module: M, gradients: GradientsParams) -> Result<M> {
        self.rebinding.optimizer.set_lr(0, lr)?;
        let mut take = Take { index: &self.index, gradients, held: Vec::new(), path: Vec::new(), error: None };
        take.held.resize_with(self.index.len(), || None);
        let module = module.map(&mut take);
        if let Some(error) = take.error {
            return Err(error);
        }
        let held = take.held.into_iter().collect::<Option<Vec<_>>>().ok_or(Error::MissingParameter)?;
        let params: Vec<_> = held.iter().map(|(param, _)| &param.tensor).collect();
        let gradients: Vec<_> = held.iter().map(|(_, gradient)| gradient.as_ref().map(|gradient| &gradient.tensor)).collect();
        let mut encoder = self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("gradus.burn.step") });
        self.rebinding.step(&mut encoder, &params, &gradients)?;
        // what Burn has encoded so far comes first
        self.device.flush().map_err(runtime)?;
        self.gpu.queue().submit([encoder.finish()]);
        Ok(module)
    }

    /// How many dispatches the last step was.
    #[must_use]
    pub fn dispatches(&self) -> usize {
        self.rebinding.optimizer.recording().len()
    }

    /// The states as safetensors, as [`Optimizer::state_dict`](gradus::optim::Optimizer::state_dict) has them; parameters are called
    /// by their paths in the module.
    ///
    /// # Errors
    /// [`Error::Gradus`].
    pub async fn state_dict(&self) -> Result<Vec<u8>> {
        Ok(self.rebinding.optimizer.state_dict().await?)
    }

    /// Restores what [`state_dict`](Self::state_dict) saved.
    ///
    /// # Errors
    /// [`Error::Gradus`] if the file belongs to another module or algorithm. Nothing has changed then.
    pub fn load_state_dict(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.rebinding.optimizer.load_state_dict(bytes)?)
    }

    /// What the device knows of the gradients, with clipping or loss scaling.
    ///
    /// # Errors
    /// [`Error::Gradus`].
    pub async fn status(&self) -> Result<StepStatus> {
        Ok(self.rebinding.optimizer.status().await?)
    }
}

fn runtime(error: impl std::fmt::Debug) -> Error {
    Error::Runtime { reason: format!("{error:?}") }
}

/// The parameters of a module.
#[derive(Default)]
struct List {
    names: Vec<String>,
    held: Vec<Held>,
    index: HashMap<ParamId, usize>,
    device: Option<Device>,
    path: Vec<String>,
    error: Option<Error>,
}

impl ModuleVisitor for List {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.base();
        if self.error.is_some() || !tensor.is_require_grad() || self.index.contains_key(&param.id) {
            return;
        }
        let name = self.path.join(".");
        let device = tensor.device();
        match buffers::to_read(&name, tensor.inner()) {
            Ok(held) => {
                self.index.insert(param.id, self.held.len());
                self.names.push(name);
                self.held.push(held);
                self.device.get_or_insert(device);
            }
            Err(error) => self.error = Some(error),
        }
    }
}

/// Takes the buffers of the parameters, and of the gradients that there are.
struct Take<'a> {
    index: &'a HashMap<ParamId, usize>,
    gradients: GradientsParams,
    held: Vec<Option<(Held, Option<Held>)>>,
    path: Vec<String>,
    error: Option<Error>,
}

impl Take<'_> {
    /// The parameter, in memory of its own, and that memory.
    fn take<const D: usize>(&mut self, id: ParamId, tensor: Tensor<D>, gradient: Tensor<D>) -> Result<Tensor<D>> {
        let name = self.path.join(".");
        let &i = self.index.get(&id).ok_or_else(|| Error::UnknownParameter { parameter: name.clone() })?;
        let state = AutodiffState::of(&tensor);
        let gradient = buffers::to_read(&format!("{name}.grad"), gradient)?;
        let (tensor, param) = buffers::to_write(&name, tensor.inner())?;
        self.held[i] = Some((param, Some(gradient)));
        Ok(state.restored(id, tensor))
    }
}

impl ModuleMapper for Take<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        let Some(gradient) = self.gradients.remove::<D>(param.id) else {
            if let Some(&i) = self.index.get(&param.id).filter(|&&i| self.held[i].is_none()) {
                match buffers::to_read(&self.path.join("."), param.base().inner()) {
                    Ok(held) => self.held[i] = Some((held, None)),
                    Err(error) => self.error = Some(error),
                }
            }
            return param;
        };
        let (id, tensor, mapper) = param.consume();
        let kept = tensor.device();
        let tensor = match self.take(id, tensor, gradient) {
            Ok(tensor) => tensor,
            Err(error) => {
                self.error = Some(error);
                // the module is not returned
                Tensor::empty([1; D], &kept)
            }
        };
        Param::from_mapped_value(id, tensor, mapper)
    }
}

/// What of a parameter belongs to autodiff, which `Tensor::from_inner` leaves at its defaults.
struct AutodiffState {
    checkpointing: Option<GradientCheckpointingStrategy>,
    requires_grad: bool,
    distributed: bool,
}

impl AutodiffState {
    fn of<const D: usize>(tensor: &Tensor<D>) -> Self {
        Self {
            checkpointing: tensor.gradient_checkpointing_strategy(),
            requires_grad: tensor.is_require_grad(),
            distributed: tensor.is_distributed(),
        }
    }

    fn restored<const D: usize>(self, id: ParamId, tensor: Tensor<D>) -> Tensor<D> {
        let Some(strategy) = self.checkpointing else { return tensor };
        let tensor = Tensor::from_inner(tensor).with_gradient_checkpointing_strategy(strategy);
        let tensor = if self.requires_grad { tensor.require_grad() } else { tensor };
        if self.distributed { tensor.set_distributed(id) } else { tensor }
    }
}
