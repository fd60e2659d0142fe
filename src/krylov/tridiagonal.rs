//! The symmetric tridiagonal eigenproblem, on the host.

use nalgebra::{DMatrix, SymmetricEigen};

/// The eigenvalues of the tridiagonal matrix of a Lanczos iteration, in descending order, and what is
/// needed of their eigenvectors `s` (of norm one).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ritz {
    /// Ritz values: approximate eigenvalues of the operator.
    pub values: Vec<f64>,
    /// The first component of each `s`. Its square is the weight of the value in the Gauss quadrature of the
    /// operator's spectral measure at the start vector (Golub and Welsch 1969).
    pub first_components: Vec<f64>,
    /// `|beta_m s_m|`, which is ‖A v - value v‖ for the Ritz vector v in exact arithmetic: some eigenvalue is
    /// that close.
    pub residuals: Vec<f64>,
}

/// The eigenvalues of the tridiagonal matrix with the diagonal `alpha`, and `beta` beside it, and the
/// components of each eigenvector, in descending order. `beta` has as many elements as `alpha`, the last of
/// which is the norm of the residual. All are finite.
pub(crate) fn eigen(alpha: &[f64], beta: &[f64]) -> (Ritz, Vec<Vec<f64>>) {
    let m = alpha.len();
    let matrix = DMatrix::from_fn(m, m, |i, j| match i.abs_diff(j) {
        0 => alpha[i],
        1 => beta[i.min(j)],
        _ => 0.0,
    });
    if m == 0 {
        return Default::default();
    }
    let eigen = SymmetricEigen::new(matrix);
    let mut order: Vec<usize> = (0..m).collect();
    order.sort_by(|&i, &j| eigen.eigenvalues[j].total_cmp(&eigen.eigenvalues[i]));
    let vectors: Vec<Vec<f64>> = order.iter().map(|&i| eigen.eigenvectors.column(i).iter().copied().collect()).collect();
    let ritz = Ritz {
        values: order.iter().map(|&i| eigen.eigenvalues[i]).collect(),
        first_components: vectors.iter().map(|s| s[0]).collect(),
        residuals: vectors.iter().map(|s| (beta[m - 1] * s[m - 1]).abs()).collect(),
    };
    (ritz, vectors)
}
