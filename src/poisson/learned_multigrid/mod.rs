//! A multigrid cycle whose coefficients are learned.

mod scenes;
mod training;

pub use scenes::{Scene, Scenes};
pub use training::{Batches, Cycle};
