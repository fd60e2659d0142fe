//! Fused optimizer steps: one pass over memory for each step, whatever the number of tensors.
//!
//! [`Optimizer`] takes the configuration of an algorithm ([`Sgd`], [`Adagrad`], [`Adadelta`],
//! [`RmsProp`], [`Adam`], [`AdamW`], [`DiffGrad`], [`AdamP`], [`SgdP`], with PyTorch's names and
//! defaults) and a list of [`Param`]s, compiles them into a [`Recording`](crate::Recording) once, and
//! encodes it each step. Tensors that lie in the same buffers are one dispatch. Learning rates, the
//! choice of tensors that take part, step counts, bias corrections, the loss scale and the clip factor
//! are read by the kernels from small buffers, so nothing is rebuilt when they change.

mod adadelta;
mod adagrad;
mod adam;
mod adamp;
mod algorithm;
mod diffgrad;
mod optimizer;
mod options;
mod param;
mod plan;
mod record;
mod rmsprop;
mod sgd;
mod sgdp;
mod state_dict;

pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
pub use adamp::AdamP;
pub use algorithm::Algorithm;
pub use diffgrad::DiffGrad;
pub use optimizer::{Optimizer, StepStatus};
pub use options::{Group, LossScale, Options, Rounding};
pub use param::Param;
pub use rmsprop::RmsProp;
pub use sgd::Sgd;
pub use sgdp::SgdP;
