//! The Poisson equation on cells that are fluid, solid or air: [`Grid`] says which, and what their faces weigh, [`Laplacian`] is the operator;
//! [`Jacobi`], [`IncompletePoisson`], [`Multigrid`] and the networks of [`dcdm`] are preconditioners for it.
//!
//! # Domain
//! Vectors have a value for each cell. What they hold in cells that are not fluid is not looked at, be it NaN, and becomes 0 in
//! results. NaN or infinity in a fluid cell comes out in those that depend on it. A fluid cell whose faces all weigh 0, with solid all around say,
//! has a row of zeros without a mass: its value in a solution is 0. Values are not rescaled by a bare product or preconditioner: results beyond
//! 3.4e38 are infinite, and ⟨r, z⟩ under- or overflows where its terms do. Solvers rescale. A grid has a cell at least; it need not have a
//! fluid one.

#[cfg(feature = "graph")]
pub mod dcdm;
#[cfg(feature = "weights")]
mod file;
mod grid;
mod incomplete_poisson;
mod jacobi;
mod laplacian;
mod multigrid;
mod null_space;
mod rows;
mod training;
mod vectors;

pub use grid::{Cell, Grid};
pub use incomplete_poisson::IncompletePoisson;
pub use jacobi::Jacobi;
pub use laplacian::Laplacian;
pub use multigrid::{Multigrid, MultigridOptions};
