//! Krylov methods over anything that can be recorded: [`LinearOperator`] does not say what it is, and
//! conjugate gradients and Lanczos do not ask.
//!
//! - Operators: [`Dense`], [`Csr`], [`Diagonal`], [`FromFn`] over a caller's own kernels, and [`Sum`],
//!   [`Scaled`] and [`Shifted`] of others.
//! - [`Cg`]: linear systems, preconditioned by a symmetric [`Preconditioner`]; [`FlexibleCg`]: by any, which
//!   may be a network; [`Richardson`]: by a preconditioner alone.
//! - [`lanczos`]: the spectrum, by full reorthogonalisation; [`eigenpairs`]: a few of its ends, with
//!   residuals; [`power_iteration`]: the eigenvalue of greatest magnitude.
//!
//! # Domain
//! Vectors are of f32. [`Cg`], [`FlexibleCg`] and [`Richardson`] scale a system by a power of two, so that the size of b does not
//! matter, from the least subnormal number to the largest f32; entries of A may be between 1e-20 and 1e20. NaN and infinity in b
//! or x, or a solution that f32 cannot hold, are [`Status::NonFinite`]; a solution of 0 unknowns, or with b = 0, has
//! [`Status::Converged`] with x = 0. Where f32 cannot meet a tolerance, the status is [`Status::PrecisionLimited`]. The same
//! problem gives the same bits on every run.

pub(crate) mod blocks;
mod cg;
mod csr;
mod eigenpairs;
mod flexible_cg;
mod lanczos;
pub(crate) mod operator;
mod operators;
mod power;
mod preconditioner;
mod richardson;
pub(crate) mod scaling;
mod solution;
pub(crate) mod tridiagonal;

pub use cg::{Cg, CgOptions};
pub use csr::Csr;
pub use eigenpairs::{EigenOptions, Eigenpairs, Which, eigenpairs};
pub use flexible_cg::{FlexibleCg, FlexibleCgOptions};
pub use lanczos::{Lanczos, LanczosEnd, LanczosOptions, lanczos};
pub use operator::LinearOperator;
pub use operators::{Dense, Diagonal, FromFn, Scaled, Shifted, Sum};
pub use power::{PowerIteration, PowerOptions, power_iteration};
pub use preconditioner::Preconditioner;
pub use richardson::{Richardson, RichardsonOptions};
pub use solution::{Report, Snapshot, Status};
pub use tridiagonal::Ritz;
