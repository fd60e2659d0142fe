//! The Poisson equation on cells that are fluid, solid or air: [`Grid`] says which, [`Laplacian`] is the operator;
//! [`Jacobi`] and [`IncompletePoisson`] are preconditioners for it.

mod grid;
mod incomplete_poisson;
mod jacobi;
mod laplacian;
mod null_space;
mod vectors;

pub use grid::{Cell, Grid};
pub use incomplete_poisson::IncompletePoisson;
pub use jacobi::Jacobi;
pub use laplacian::Laplacian;
