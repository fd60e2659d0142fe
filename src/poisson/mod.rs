//! The Poisson equation on cells that are fluid, solid or air: [`Grid`] says which, [`Laplacian`] is the operator.

mod grid;
mod laplacian;
mod null_space;

pub use grid::{Cell, Grid};
pub use laplacian::Laplacian;
