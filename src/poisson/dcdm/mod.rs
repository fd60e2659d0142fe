//! The deep conjugate direction method.

mod data;
mod loss;
mod network;
mod preconditioner;
mod training;
mod weights;

pub use data::{Mixtures, Sample};
pub use loss::{Laplacians, direction_loss};
pub use network::Architecture;
pub use preconditioner::DeepPreconditioner;
pub use training::Batches;
pub use weights::{Training, Weights};
