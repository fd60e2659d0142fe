//! A static tensor graph, its derivatives, and its compilation to recordings.
//!
//! A [`Graph`] is built from leaves ([`Graph::input`], [`Graph::parameter`]) by operations that check their
//! shapes when they are called. [`Graph::gradient`], [`Graph::vjp`] and [`Graph::jvp`] append derivatives, and
//! compose in any order: a Hessian-vector product is `jvp` of `gradient`.

mod build;
mod derivative;
pub mod layers;
mod op;
mod ops;
mod parameters;
pub(crate) mod template;

pub use build::{Graph, Var};
pub use op::{Binary, Form, Number, Op, Stencil, Unary, Window};
pub use ops::{ConvolutionOptions, Padding};
pub use parameters::Init;
