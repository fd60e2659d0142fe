//! The deep conjugate direction method.

mod network;

pub use network::Architecture;
