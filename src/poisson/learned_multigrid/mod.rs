//! A V-cycle whose coefficients are learned: linear, symmetric and, for
//! coefficients that do not go too far, positive definite, so that plain conjugate gradients may use it.
//!
//! At each level, with A the flagged [`Laplacian`](super::Laplacian) of the level's cells, a cycle `e = M r` is
//!
//! x = S r;  x += γ P Q cycle(Q Pᵀ (r - A x));  x += S (r - A x);  S = D K D
//!
//! and on the coarsest level x = S r alone. K is a stencil, P interpolates, and D = 1 + d and Q = 1 + c are diagonal, by
//! the *class* of a cell: how many of its neighbours are solid, and how many air. All levels share the
//! [`Coefficients`].

mod coefficients;
mod hierarchy;
mod lattice;
mod preconditioner;
mod scenes;
mod training;

pub use super::training::Training;
pub use coefficients::Coefficients;
pub use preconditioner::LearnedMultigrid;
pub use scenes::{Scene, Scenes};
pub use training::{Batches, Cycle};
