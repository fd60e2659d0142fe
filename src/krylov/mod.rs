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
//! Vectors are of f32. Scalars that are squares or their sums are as well: norms beyond 1.8e19 are
//! infinite, and below 1e-19 zero. The same problem gives the same bits on every run.

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
