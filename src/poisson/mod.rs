//! The Poisson equation on cells that are fluid, solid or air: [`Grid`] says which, [`Laplacian`] is the operator;
//! [`Jacobi`], [`IncompletePoisson`], [`Multigrid`], [`LearnedMultigrid`] and the networks of [`dcdm`] are preconditioners for it.

pub mod dcdm;
mod grid;
mod hierarchy;
mod incomplete_poisson;
mod jacobi;
mod laplacian;
pub mod learned_multigrid;
mod multigrid;
mod null_space;
mod training;
mod vectors;

pub use grid::{Cell, Grid};
pub use incomplete_poisson::IncompletePoisson;
pub use jacobi::Jacobi;
pub use laplacian::Laplacian;
pub use learned_multigrid::LearnedMultigrid;
pub use multigrid::{Multigrid, MultigridOptions};
