//! What can go wrong.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// From gradus: an option out of range, a limit of the device that is too small, a lost device.
    #[error(transparent)]
    Gradus(#[from] gradus::Error),
    /// The module's device is not one that was given to [`register`](crate::register).
    #[error("the device {device} is not registered: gradus_burn::register(&device, &setup) makes it known")]
    Unregistered {
        /// Burn's device.
        device: String,
    },
    /// A tensor that cannot be stepped: of another back end, of a type that is not a float of 16 or 32 bits, or in a tiled layout.
    #[error("tensor `{tensor}` is {found}, and {expected} was expected")]
    Tensor {
        /// The parameter's path in the module, with `.grad` for its gradient.
        tensor: String,
        /// What it is.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// The module is not the one that the optimizer was made for.
    #[error("parameter `{parameter}` is not known to the optimizer, which was made for another module or before it needed gradients")]
    UnknownParameter {
        /// Its path in the module.
        parameter: String,
    },
    /// The module lacks a parameter that the one of [`Setup::init`](crate::Setup::init) had.
    #[error("the module lacks a parameter that the optimizer was made for")]
    MissingParameter,
    /// Burn's runtime could not give a buffer or submit its work.
    #[error("Burn's runtime: {reason}")]
    Runtime {
        /// In its words.
        reason: String,
    },
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
