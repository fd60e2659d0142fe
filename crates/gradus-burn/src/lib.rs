//! The optimizers of [`gradus`] for the modules of [Burn](https://burn.dev), on Burn's wgpu back end.
//!
//! A step reads the gradients and updates the parameters in the buffers in which Burn has them, on Burn's own queue: nothing is
//! copied or read back, and Burn's next operation sees the new values. Tensors whose memory lies in the same of Burn's pages share
//! dispatches, so that a step is a few, whatever the number of tensors.
//!
//! ```no_run
//! # use burn_core as burn;
//! use burn::module::Module;
//! use burn::tensor::{Device, Tensor};
//! use burn_optim::GradientsParams;
//! use gradus::optim::AdamP;
//! use gradus_burn::GradusOptimizer;
//!
//! # fn train<M: Module>(mut model: M, loss: impl Fn(&M) -> Tensor<1>) -> gradus_burn::Result<M> {
//! let (device, setup) = Device::wgpu_options().init_with_setup().expect("a device");
//! gradus_burn::register(&device, &setup)?;
//! // the model is made on `device.autodiff()`
//! let mut optimizer = GradusOptimizer::new(AdamP { weight_decay: 1e-2, ..Default::default() }).init(&model)?;
//! for _ in 0..100 {
//!     let gradients = GradientsParams::from_grads(loss(&model).backward(), &model);
//!     model = optimizer.step(1e-3, model, gradients)?;
//! }
//! # Ok(model)
//! # }
//! ```
//!
//! - Parameters of f32, f16 and bf16, of any number of axes. A parameter that shares its buffer with a clone of the module gets a
//!   buffer of its own first, so that the clone keeps its values.
//! - A parameter without a gradient is left alone in that step, as by Burn's optimizers.
//! - The thread that calls `step` must be the one that made the gradients, or that one must have called `Device::flush`: Burn keeps
//!   operations back for each thread.
//! - Feature `fusion` must be on exactly where Burn's is.

mod buffers;
mod error;
mod optimizer;
mod rebinding;

pub use buffers::register;
pub use error::{Error, Result};
pub use optimizer::{GradusOptimizer, Setup};
