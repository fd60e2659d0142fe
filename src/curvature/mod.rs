//! What can be learnt of a matrix from its products: traces, the diagonal, the spectrum, solutions.
//!
//! The estimators take any [`LinearOperator`](crate::krylov::LinearOperator), such as a Hessian. Each
//! records a sample once, with the product in it, and replays it for every random vector: the number of
//! the sample is on the device, the host waits for nothing in between, and the same seed gives the
//! same bits. They submit to the queue, one submission a sample. None takes an operator without rows.

mod check;
mod descent;
mod diagonal;
mod finite_difference;
mod hessian_free;
mod hutch_plus_plus;
mod inverse;
mod matrix;
mod newton;
mod operator;
mod sampler;
mod samples;
mod spectrum;
mod trace;

pub use check::{Check, check};
pub use descent::{StepReport, StepStatus};
pub use diagonal::{DiagonalEstimate, DiagonalOptions, diagonal};
pub use finite_difference::FiniteDifferenceHessian;
pub use hessian_free::{HessianFree, HessianFreeOptions};
pub use hutch_plus_plus::{HutchPlusPlusOptions, hutch_plus_plus};
pub use inverse::Inverse;
pub use matrix::{Likelihood, Matrix, Model};
pub use newton::{GradientNormalizedNewton, NewtonOptions};
pub use operator::Curvature;
pub use spectrum::{DensityOptions, Quadrature, SpectralDensity, spectral_density};
pub use trace::{TraceOptions, block_traces, trace};

/// A mean of random samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub value: f64,
    /// The square root of the mean's variance, estimated from the samples: infinite for a single one.
    pub standard_error: f64,
    /// The number of samples.
    pub samples: usize,
}

impl Estimate {
    fn of(samples: &[f64]) -> Self {
        let n = samples.len() as f64;
        let value = samples.iter().sum::<f64>() / n;
        let squares: f64 = samples.iter().map(|sample| (sample - value).powi(2)).sum();
        let standard_error = match samples.len() {
            1 => f64::INFINITY,
            _ => (squares / (n * (n - 1.0))).sqrt(),
        };
        Self { value, standard_error, samples: samples.len() }
    }
}
