//! The deep conjugate direction method.

mod data;
mod loss;
mod network;
mod training;

pub use data::{Mixtures, Sample};
pub use loss::{Laplacians, direction_loss};
pub use network::Architecture;
pub use training::Batches;
