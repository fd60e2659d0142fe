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
//! Samples are of random grids ([`Scenes`]), and b is the Laplacian of noise of all scales: that of white noise would
//! hardly have any of what coarse levels are for. Steps are of Adam with one cycle of the learning rate, from the coefficients of
//! [`Coefficients::initial`]: a Jacobi sweep, linear interpolation, no tables. `examples/train_multigrid` does a thousand in 2D
//! in 3 minutes on two cores with a software driver, and in 3D in 19 beside other work.
//!
//! What comes of it: K is positive everywhere and wider than a Jacobi sweep. P is between the nearest value and linear
//! interpolation, with corners that are slightly negative. Q is greater beside walls and less along a flat surface of air; D is
//! greater, the more neighbours are solid.
//!
//! Iterations of conjugate gradients from zero until the residual is 10⁻⁶ of the first, on the scenes of `examples/poisson`
//! with noise for right-hand sides: with the cycle; with [`Multigrid`](super::Multigrid); without a preconditioner.
//!
//! | cells | box | open | sphere | surface | rubble |
//! |---|---|---|---|---|---|
//! | 64² | 5; 7; 223 | 6; 7; 166 | 6; 8; 236 | 11; 8; 252 | 15; 13; 367 |
//! | 256² | 5; 7; 891 | 7; 7; 643 | 7; 8; 956 | 12; 8; 997 | 19; 17; 1583 |
//! | 512² | 6; 7; 1731 | 7; 7; 1289 | 7; 8; 1940 | 12; 8; 2292 | 20; 18; 3918 |
//! | 1024² | 6; 7 | 7; 7 | 9; 8 | 13; 8 | 23; 20 |
//! | 65² | 6 | 7 | 8 | 10 | 16 |
//! | 511² | 6 | 10 | 8 | 12 | 21 |
//! | 32³ | 5; 8; 157 | 5; 7; 97 | 6; 8; 161 | 9; 8; 197 | 9; 10; 227 |
//! | 64³ | 5; 8; 304 | 6; 8; 186 | 6; 8; 311 | 9; 8; 379 | 9; 10; 406 |
//! | 128³ | 6; 8 | 6; 8 | 7; 8 | 10; 8 | 10; 10 |
//! | 33x47x90 | 7; 8 | 7; 8 | 8; 8 | 11; 8 | 10; 11 |
//!
//! The deep conjugate direction method takes 13 in the open box of 64² and 22 in that of 128², with the network that comes with
//! the crate.
//!
//! Another seed comes to the same iterations, but for one here and there.
//!
//! What did not help, or hardly:
//!
//! - A stencil that reaches two cells in 3D, of 10 values: after 200 steps 6.6 iterations in the mean of the scenes of 32³
//!   instead of 7.4, for 125 terms instead of 27.
//! - More to learn, by the loss on surfaces and rubble of 64² after 300 steps, which is 0.0112 without: factors of D and Q by how
//!   many cells of a coarse one are solid and how many air, 0.0108, and 0.0102 if only half of them must be air for it to be;
//!   two smoothings instead of one on all levels but the finest, 0.0111; a table by class added to the diagonal of coarse
//!   operators, 0.0090, which has not been tried in a solver.
//! - Other noise, each octave from 2 or 3 to 4 times as strong as the finer one instead of from 1 to 4 times: the same iterations.
//! - Coarse cells that are air only if at least half of what they are made of is: within one iteration everywhere.
//! - More odd sizes among the samples, which are of 64, 47 and 32 cells: the same iterations on 63² and 511².
//! - More rubble among the samples: one iteration more on rubble of 512² cells, and no fewer elsewhere.
//! - Children beyond the end of an odd axis that count as absent, rather than as what is beyond: 24 iterations on rubble of
//!   129² cells instead of 19, and 9 in the open box instead of 7.
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
#[cfg(feature = "weights")]
mod file;
mod hierarchy;
mod lattice;
mod preconditioner;
mod scenes;
#[cfg(feature = "graph")]
mod training;

pub use super::training::Training;
pub use coefficients::Coefficients;
pub use preconditioner::LearnedMultigrid;
pub use scenes::{Scene, Scenes};
#[cfg(feature = "graph")]
pub use training::{Batches, Cycle};
