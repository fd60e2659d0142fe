//! Fused optimizer steps: one pass over memory for each step, whatever the number of tensors.
//!
//! [`Optimizer`] takes the configuration of an algorithm ([`Sgd`], [`Adagrad`], [`Adadelta`],
//! [`RmsProp`], [`Adam`], [`AdamW`], [`RAdam`], [`NAdam`], [`Adamax`], [`Rprop`], [`Asgd`], [`Lion`], [`Adan`], [`Lamb`],
//! [`ScheduleFreeAdamW`], [`ScheduleFreeSgd`], [`DiffGrad`], [`AdamP`], [`SgdP`], [`AdaHessian`], [`Sophia`],
//! [`ExponentiatedGradient`], with PyTorch's or the authors' names and defaults, or a program's own, an [`Update`]) and a list of [`Param`]s, compiles them into a [`Recording`](crate::Recording) once, and
//! encodes it each step. Tensors that lie in the same buffers are one dispatch. Learning rates, the
//! choice of tensors that take part, step counts, bias corrections, the loss scale and the clip factor
//! are read by the kernels from small buffers, so nothing is rebuilt when they change.
//!
//! What steps do at the edges of f32:
//! - A NaN or an infinity in a gradient goes into the states and the parameter of its element and stays there (AMSGrad's
//!   maximum and centered RMSProp keep a NaN too), unless [`Options::skip_non_finite`] or what implies it skips the step. In AdamP
//!   and SGDP a row with a NaN, or with a norm beyond 1.8e19, is not projected.
//! - Subnormal numbers may count as 0, depending on the device.
//! - Decoupled decay is right however small `lr·weight_decay` is: what is below a unit in the last place is made up for in
//!   later steps, to a few units and 1e-5 of the decay. Coupled decay is part of the gradient. An update of less than half a
//!   unit in the last place of the parameter is lost, as in any f32 arithmetic. For parameters of 16 bits see
//!   [`Options::master_weights`].
//! - A weight decay of 0 is none: `0·p` is not computed.
//! - Counts of steps and of skipped steps stop at 2^32 - 1; bias corrections are 1 long before.
//! - Parameters without elements are left alone.

mod adadelta;
mod adagrad;
mod adahessian;
mod adam;
mod adamax;
mod adamp;
mod adan;
mod algorithm;
mod asgd;
mod diffgrad;
mod exponentiated_gradient;
mod lamb;
mod lion;
mod nadam;
mod optimizer;
mod options;
mod param;
mod plan;
mod radam;
mod record;
mod rmsprop;
mod rprop;
pub mod schedule;
mod schedule_free;
mod sgd;
mod sgdp;
mod sophia;
#[cfg(feature = "weights")]
mod state_dict;
mod streams;

pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adahessian::AdaHessian;
pub use adam::{Adam, AdamW};
pub use adamax::Adamax;
pub use adamp::AdamP;
pub use adan::Adan;
pub use algorithm::{Algorithm, Initial, Update};
pub use asgd::Asgd;
pub use diffgrad::DiffGrad;
pub use exponentiated_gradient::ExponentiatedGradient;
pub use lamb::Lamb;
pub use lion::Lion;
pub use nadam::NAdam;
pub use optimizer::{Optimizer, StepStatus};
pub use options::{Group, LossScale, Options, Rounding};
pub use param::Param;
pub use radam::RAdam;
pub use rmsprop::RmsProp;
pub use rprop::Rprop;
pub use schedule_free::{ScheduleFreeAdamW, ScheduleFreeSgd};
pub use sgd::Sgd;
pub use sgdp::SgdP;
pub use sophia::Sophia;
