//! The steps of the smoother.

use std::f64::consts::PI;

use crate::{Error, Result};

/// The factors ω of as many steps of Jacobi as `degree` says whose polynomial, Π (1 - ω t), is that of Lottes ("Optimal polynomial smoothers for
/// multigrid V-cycles", 2022): Chebyshev's of the fourth kind on [0, 2], for degrees 1 and 2 with his optimized coefficients.
///
/// The plain polynomial, `W_k(1 - t) / (2k + 1)` with `W_k(cos θ) = sin((k + ½)θ) / sin(θ/2)`, has its roots at `t = 1 - cos(jπ / (k + ½))`. Of degree
/// 2, with β, it is `1 - (2β₁ + 4β₂)/3 t + 4β₂/5 t²`.
pub(super) fn factors(degree: u32) -> Result<Vec<f32>> {
    let factors = match degree {
        1 => vec![1.125 * 2.0 / 3.0],
        2 => {
            let beta: [f64; 2] = [1.023_872_875_703_13, 1.264_089_053_710_85];
            let (sum, product) = ((2.0 * beta[0] + 4.0 * beta[1]) / 3.0, 0.8 * beta[1]);
            let root = (sum * sum - 4.0 * product).sqrt();
            vec![(sum - root) / 2.0, (sum + root) / 2.0]
        }
        3 | 4 => {
            let root = |j: u32| 1.0 / (1.0 - (f64::from(j) * PI / (f64::from(degree) + 0.5)).cos());
            (1..=degree).rev().map(root).collect()
        }
        _ => {
            return Err(Error::Option { option: "degree".into(), found: degree.to_string(), expected: "1 to 4".into() });
        }
    };
    Ok(factors.into_iter().map(|factor: f64| factor as f32).collect())
}
