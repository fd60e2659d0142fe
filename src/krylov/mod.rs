//! Krylov methods over anything that can be recorded: [`LinearOperator`] does not say what it is, and
//! conjugate gradients and Lanczos do not ask.

mod operator;

pub use operator::LinearOperator;
