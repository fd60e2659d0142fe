//! The Poisson equation on cells that are fluid, solid or air: [`Grid`] says which, [`Laplacian`] is the operator.

mod grid;
mod laplacian;
mod null_space;
mod vectors;

pub use grid::{Cell, Grid};
pub use laplacian::Laplacian;
