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
//! What is not claimed:
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
