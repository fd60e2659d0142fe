//! The deep conjugate direction method.

mod network;
mod preconditioner;
mod weights;

pub use network::Architecture;
pub use preconditioner::DeepPreconditioner;
pub use weights::{Training, Weights};
