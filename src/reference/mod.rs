//! Plain f64 definitions of what the kernels compute.
//!
//! Nothing here is fast, and nothing here knows of a device: these are loops to be read beside the
//! papers, and the yardstick that every kernel is tested against. Only the standard library is used.
//!
//! - [`accuracy`]: how far a device may be from an exact value
//! - [`curvature`]: estimators of a matrix from its products
//! - [`gathering`]: rows of a table by number; [`pooling`]: sums and maxima over windows
//! - [`mod@graph`]: graphs, each primitive as a loop; of the crate it uses the definition of graphs alone
//! - [`newton`]: steps of the second-order optimizers
//! - [`optim`]: one step of each optimizer, on one parameter
//! - [`krylov`]: Lanczos, conjugate gradients, power iteration
//! - [`poisson`]: the Laplacian of cells, and [`poisson::multigrid`]; [`dcdm`]: the deep conjugate direction method
//! - [`vector`]: the vector operations of the iterative solvers
//! - [`random`]: the counter-based generator, equal on every device
//! - [`rounding`]: f32 to f16 and bf16, to nearest and stochastically
//!
//! Random words and rounded values are defined bit for bit; everything else is defined in f64, and
//! an f32 kernel agrees with it to a tolerance.

pub mod accuracy;
#[cfg(feature = "curvature")]
pub mod curvature;
#[cfg(all(feature = "graph", feature = "poisson"))]
pub mod dcdm;
#[cfg(feature = "graph")]
pub mod gathering;
#[cfg(feature = "graph")]
pub mod graph;
#[cfg(feature = "krylov")]
pub mod krylov;
#[cfg(feature = "curvature")]
pub mod newton;
#[cfg(feature = "optim")]
pub mod optim;
#[cfg(feature = "poisson")]
pub mod poisson;
#[cfg(feature = "graph")]
pub mod pooling;
pub mod random;
pub mod rounding;
pub mod vector;
