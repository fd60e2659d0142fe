//! The parameters of a graph in one buffer, one after another.

/// What a parameter begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Init {
    /// 0
    #[default]
    Zeros,
    /// 1
    Ones,
    /// Uniform between minus and plus this bound.
    Uniform(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
}
