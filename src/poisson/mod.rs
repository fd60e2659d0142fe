//! The Poisson equation on cells that are fluid, solid or air: [`Grid`] says which, [`Laplacian`] is the operator.

mod grid;
mod hierarchy;
mod laplacian;
mod multigrid;
mod null_space;
mod vectors;

pub use grid::{Cell, Grid};
pub use laplacian::Laplacian;
pub use multigrid::{Multigrid, MultigridOptions};
