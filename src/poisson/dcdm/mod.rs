//! The deep conjugate direction method (Kaneda, Akar, Chen, Kala, Hyde and Teran, "A deep conjugate direction method for
//! iteratively solving linear systems", ICML 2023).
//!
//! A convolutional network f is trained to say, of the residual of a Poisson equation, in which direction the solution
//! lies. Given r = b - A x, an iteration is
//!
//! q = f(r/‖r‖);  q -= Σ (⟨q, A d_i⟩ / ⟨d_i, A d_i⟩) d_i over the last two directions;  α = ⟨q, r⟩ / ⟨q, A q⟩;
//! x += α q;  r = b - A x
//!
//! which is [`FlexibleCg`](crate::krylov::FlexibleCg) with a truncation of 2, a residual recomputed in every iteration, and
//! for its preconditioner a [`DeepPreconditioner`]. [`Architecture`] is the network, [`Weights`] its values and their file.
//!
//! For training, [`Mixtures`] makes right-hand sides, and [`Batches`] records the gradient of [`direction_loss`].
//!
//! # Iterations
//!
//! With the weights in `weights/`, from zero to 1e-4 / 1e-6 of the residual, of conjugate gradients and with a truncation of 2;
//! the cards beside the weights have all cases:
//!
//! Networks were trained with sizes up to 128² and 32³.
//!
//! | box | cells | right-hand side | conjugate gradients | deep conjugate directions |
//! |---|---|---|---|---|
//! | open | 64² | white noise, mixture, blobs, smoke | 122-137 / 160-170 | 8-9 / 12-15 |
//! | open | 128² | the same | 232-268 / 321-336 | 14-20 / 22-32 |
//! | open | 256² | the same | 469-530 / 650-918 | 31-46 / 54-66 |
//! | open, ball | 64² and 128² | the four | 123-259 / 156-332 | 9-20 / 13-28 |
//! | open, 10 % rubble | 64² and 128² | the four | 136-341 / 203-545 | 15-25 / 23-33 |
//! | walls | 64² | the four | 179-182 / 219-226 | 14-21 / 23-31 |
//! | walls, ball or 10 % rubble | 64² | the four | 178-262 / 220-341 | 19-26 / 30-38 |
//! | open | 32³ | the four | 70-74 / 98-101 | 9-11 / 14-16 |
//! | open | 64³ | the four | 122-144 / 186-198 | 17-22 / 29-36 |
//! | walls | 32³ | the four | 107-123 / 155-157 | 14-19 / 21-26 |
//!
//! From 64² to 256² iterations become four to five times as many, conjugate gradients' four times: what a network says of a
//! cell depends on no more than 22 cells around it, whatever sizes it was trained with.
//!
//! How much the [truncation](crate::krylov::FlexibleCgOptions::truncation) matters, and whether the residual is computed
//! anew in each iteration (as published) or updated, in the open box (`examples/poisson --solver dcdm --truncation 0,1,2,4,8
//! --residual anew,updated`); iterations to 1e-4 and 1e-6, with r anew / updated:
//!
//! | truncation | noise, 64², to 1e-4 | to 1e-6 | noise, 128², to 1e-4 | to 1e-6 | smooth, 64², to 1e-4 | smooth, 128², to 1e-4 |
//! |---|---|---|---|---|---|---|
//! | 0 | 18 / 18 | 33 / 34 | 64 / 64 | 99 / 114 | 26 / 26 | 97 / 95 |
//! | 1 | 8 / 8 | 14 / 14 | 14 / 14 | 21 / 25 | 11 / 11 | 29 / 27 |
//! | 2 | 8 / 8 | 14 / 13 | 14 / 14 | 23 / 25 | 11 / 11 | 28 / 25 |
//! | 4 | 8 / 8 | 12 / 11 | 14 / 14 | 23 / 24 | 9 / 9 | 24 / 23 |
//! | 8 | 8 / 8 | 12 / 11 | 14 / 14 | 20 / 21 | 9 / 9 | 21 / 20 |
//! | conjugate gradients | 129 | 166 | 238 | 325 | 142 | 285 |
//!
//! Without any earlier direction, two to five times as many iterations are needed. One direction does most of what there is to
//! do, and seven more take away a quarter of the iterations at the most; each costs two vectors and eight bytes a cell in each
//! iteration, which is nothing beside a network. Whether the residual is computed anew, another product, makes little
//! difference before rounding does. So 1 is enough, 2 is as published, and 8 is best where there is memory for it.
//!
//! # What is not claimed
//!
//! - The network sees the residual alone, not where walls and obstacles are. A direction is zeroed where there is no
//!   fluid, and is otherwise what it is without them.
//! - Weights are of the boundary that they were trained with. On others, and on grids much larger than those of the
//!   training, more iterations are taken; none is taken that makes the error larger in the norm of A, and what is reported
//!   of a solution is true whatever the weights are.
//! - An iteration is tens of thousands of multiply-adds a cell, of a Laplacian's seven. Fewer iterations than conjugate
//!   gradients' are less time on devices with arithmetic to spare, and on a software driver they are not.
//! - A grid of more cells than a binding holds with all channels is cut into [pieces](DeepPreconditionerOptions) that overlap,
//!   which in three dimensions is several times the work. A vector over all cells still takes one binding.

mod data;
#[cfg(feature = "weights")]
mod file;
mod loss;
mod network;
mod pieces;
mod preconditioner;
mod ritz;
mod training;
mod weights;

pub use data::{Mixtures, Sample};
pub use loss::{Laplacians, direction_loss};
pub use network::Architecture;
pub use preconditioner::{DeepPreconditioner, DeepPreconditionerOptions};
pub use training::Batches;
pub use weights::Weights;

pub use super::training::Training;
