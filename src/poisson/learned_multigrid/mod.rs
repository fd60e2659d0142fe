//! A multigrid cycle whose coefficients are learned.

pub mod explore;
mod scenes;
mod training;

pub use scenes::{Scene, Scenes};
pub use training::{Batches, Cycle};
