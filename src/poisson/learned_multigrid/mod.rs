//! A V-cycle whose coefficients are learned: linear, symmetric and, for coefficients that [`Coefficients::check`] accepts, positive
//! definite, so that plain conjugate gradients may use it.
//!
//! At each level, with A the flagged [`Laplacian`](super::Laplacian) of the level's cells, a cycle `e = M r` is
//!
//! x = S r;  x += γ P Q cycle(Q Pᵀ (r - A x));  x += S (r - A x);  S = D K D
//!
//! and on the coarsest level x = S r alone. K is a stencil, P interpolates, and D = 1 + d and Q = 1 + c are diagonal, by
//! the *class* of a cell: how many of its neighbours are solid, and how many air. All levels share the
//! [`Coefficients`].
//!
//! # Training
//!
//! The deep conjugate direction method ([`dcdm`](super::dcdm)) trains a network of tens of thousands of weights, which is not
//! linear, to say where the solution of a linear problem lies. Its loss is of use for something much smaller. With `q = M b`,
//!
//! loss = mean of ‖b - α A q‖² / ‖b‖²,  α = ⟨q, b⟩ / ⟨q, A q⟩,
//!
//! is what one step along a cycle's direction leaves ([`direction_loss`](super::dcdm::direction_loss)), and its gradient with
//! respect to the coefficients is that of a [graph](crate::graph) over a batch of grids: K and Pᵀ are convolutions, P is the
//! vector-Jacobian product of Pᵀ, A is the Laplacians of all grids of a level as one matrix, and the tables are gathered. Grids
//! and their levels are inputs, which change from step to step ([`Batches`]).
//!
//! Samples are of random grids ([`Scenes`]), and b is the Laplacian of noise of all scales: of white noise, b would have next
//! to nothing of what coarse levels are for. Steps are of Adam with one cycle of the learning rate, from the coefficients of
//! [`Coefficients::initial`]: a Jacobi sweep, linear interpolation, no tables. `examples/train_multigrid` does it in 2D in 3
//! minutes on two cores with a software driver, and in 3D in 5.
//!
//! What comes of it: K is close to an inverse of A for what is rough, as far as so few cells can be; P is narrower than linear
//! interpolation and its corners are negative, for Q, which is greater beside walls and air, makes up for the
//! operators of coarse cells that are more fluid, or more air, than what they are made of.
//!
//! ITERATIONS
//!
//! What did not help, or hardly:
//!
//! - Other noise. Whether all octaves are as strong in b or the finer ones are stronger is the same in all iterations.
//! - More rubble among the samples: one iteration more on rubble of 512² cells, and no fewer elsewhere.
//! - Children beyond the end of an odd axis that count as absent, rather than as what is beyond: 24 iterations on rubble of
//!   129² cells instead of 19, and 9 in the open box instead of 7. Of a coarse cell that is half beyond a surface, nothing
//!   says that it is.
//!
//! What is not claimed:
//!
//! - That any of the values is optimal for a grid: they are the best of a mean over scenes, and for a box alone, trained
//!   without tables, others are as good.
//! - Anything about the coefficients' cells of classes that no scene has, such as air on four sides: their tables are 0, and
//!   [`LearnedMultigrid`] damps the smoothing where it would otherwise not be positive.
//! - That iterations are independent of the size where channels of one cell wind through solids: such rubble takes more of them
//!   the larger it is, as coarse cells cannot tell the walls within them.

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
