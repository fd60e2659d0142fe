//! A static tensor graph, its derivatives, and its compilation to recordings.
//!
//! A [`Graph`] is built from leaves ([`Graph::input`], [`Graph::parameter`]) by operations that check their
//! shapes when they are called. [`Graph::gradient`], [`Graph::vjp`] and [`Graph::jvp`] append derivatives, and
//! compose in any order: a Hessian-vector product is `jvp` of `gradient`. [`Graph::apply`] multiplies with a matrix of
//! the caller's.

mod build;
pub(crate) mod convolution;
mod derivative;
mod emit;
#[cfg(feature = "weights")]
mod file;
pub(crate) mod gathering;
mod kernels;
pub mod layers;
mod linear_map;
pub mod losses;
pub(crate) mod matmul;
mod op;
mod ops;
mod parameters;
mod plan;
pub(crate) mod pooling;
pub(crate) mod product;
mod program;
mod quotient;
pub(crate) mod template;
#[cfg(test)]
mod testing;
mod tiles;
mod tune;
mod view;

pub use build::{Graph, Var};
pub use linear_map::{LinearMap, Product};
pub use op::{Binary, Form, Number, Op, Stencil, Unary, Window};
pub use ops::{ConvolutionOptions, Padding};
pub use parameters::{Init, Parameters};
pub use plan::{Plan, Stage};
pub use program::Program;
