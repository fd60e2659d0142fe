//! How far a device may be from the exact value: what WGSL promises of its operators and built-in functions, and what the
//! crate's own functions keep on every device that keeps those promises. Tests and the self-test take their bounds from here.
//!
//! Errors are in units in the last place of an f32 result, [`ulp`]. Results below 2⁻¹²⁶ may be 0, and so may such operands.

use crate::graph::Unary;

/// What WGSL promises of `a / b` for 2⁻¹²⁶ ≤ |b| ≤ 2¹²⁶ (section 15.7.4, *Floating point accuracy*).
pub const DIVISION: f64 = 2.5;

/// What WGSL promises of `sqrt`: that of `1 / inverseSqrt(x)`, of which the latter errs by 2 units.
pub const SQRT: f64 = 5.0;

/// The largest error of a function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Accuracy {
    /// In units in the last place.
    Ulps(f64),
    /// In absolute terms.
    Absolute(f64),
}

impl Accuracy {
    /// The error of `found` as a part of what is allowed: 1 is the bound. 0 where both are NaN, the same infinity, or too small
    /// for a normal f32; ∞ where only one is.
    #[must_use]
    pub fn share(self, found: f64, exact: f64) -> f64 {
        let rounded = f64::from(exact as f32);
        let tiny = f64::from(f32::MIN_POSITIVE);
        if found == rounded || (found.is_nan() && exact.is_nan()) || (exact.abs() < tiny && found.abs() <= tiny) {
            return 0.0;
        }
        let share = match self {
            // a result that rounds to infinity may be the largest number
            Self::Ulps(ulps) => (found - exact).abs() / (ulps * ulp(exact)),
            Self::Absolute(bound) => (found - exact).abs() / bound,
        };
        if share.is_nan() { f64::INFINITY } else { share }
    }
}

/// The distance of f32 numbers of this size.
#[must_use]
pub fn ulp(x: f64) -> f64 {
    let exponent = x.abs().log2().floor().clamp(-126.0, 127.0);
    (exponent - 23.0).exp2()
}

/// The bound of a function of [`Graph`](crate::graph::Graph).
#[must_use]
pub fn unary(function: Unary) -> Accuracy {
    match function {
        Unary::Log => Accuracy::Ulps(1.0),
        Unary::Exp | Unary::Expm1 => Accuracy::Ulps(2.0),
        Unary::Log1p | Unary::Tanh | Unary::Erf | Unary::Sigmoid | Unary::Softplus => Accuracy::Ulps(3.0),
        Unary::Sqrt => Accuracy::Ulps(SQRT),
        Unary::Reciprocal => Accuracy::Ulps(DIVISION),
        Unary::Sin | Unary::Cos => Accuracy::Absolute(5e-7),
        Unary::Relu | Unary::Step | Unary::Abs | Unary::Sign => Accuracy::Absolute(0.0),
    }
}
