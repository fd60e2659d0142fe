//! The deep conjugate direction method.

mod data;
mod loss;

pub use data::{Mixtures, Sample};
pub use loss::{Laplacians, direction_loss};
