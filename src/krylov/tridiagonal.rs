//! The symmetric tridiagonal eigenproblem, on the host.

use crate::{Error, Result};

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
/// which is the norm of the residual.
///
/// # Errors
/// [`Error::NonFinite`] if an element of `alpha` or `beta`, or what is computed of them, is not finite.
pub(crate) fn eigen(alpha: &[f64], beta: &[f64]) -> Result<(Ritz, Vec<Vec<f64>>)> {
    let Some((&residual, beside)) = beta.split_last() else { return Ok(Default::default()) };
    let not_finite = || Error::NonFinite { what: "the tridiagonal matrix of a Lanczos iteration".into() };
    if !alpha.iter().chain(beta).all(|x| x.is_finite()) {
        return Err(not_finite());
    }
    // from the smaller end of a graded matrix on, so that its small eigenvalues are accurate too
    let mut rows: Vec<usize> = (0..alpha.len()).collect();
    let mut beside = beside.to_vec();
    if alpha.first().map(|x| x.abs()) > alpha.last().map(|x| x.abs()) {
        rows.reverse();
        beside.reverse();
    }
    let mut values: Vec<f64> = rows.iter().map(|&i| alpha[i]).collect();
    let mut vectors = implicit_ql(&mut values, &mut beside).ok_or_else(not_finite)?;
    if rows[0] > 0 {
        vectors.iter_mut().for_each(|s| s.reverse());
    }
    let mut order: Vec<usize> = (0..alpha.len()).collect();
    order.sort_by(|&i, &j| values[j].total_cmp(&values[i]));
    let vectors: Vec<Vec<f64>> = order.iter().map(|&i| std::mem::take(&mut vectors[i])).collect();
    let ritz = Ritz {
        values: order.iter().map(|&i| values[i]).collect(),
        first_components: vectors.iter().map(|s| s[0]).collect(),
        residuals: vectors.iter().filter_map(|s| s.last()).map(|s| (residual * s).abs()).collect(),
    };
    Ok((ritz, vectors))
}

/// The implicit QL method with Wilkinson's shift (Dubrulle, Martin and Wilkinson 1968; `tql2` of EISPACK): makes eigenvalues of the
/// diagonal `d`, to whose sides is `e`, and returns the eigenvectors. `None` if it does not converge, as where something overflows.
fn implicit_ql(d: &mut [f64], e: &mut [f64]) -> Option<Vec<Vec<f64>>> {
    let n = d.len();
    let mut z: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    let mut sweeps = 0;
    for l in 0..n {
        loop {
            let negligible = |i: usize| f64::EPSILON * d[i].abs().sqrt() * d[i + 1].abs().sqrt() + f64::MIN_POSITIVE;
            let m = (l..n - 1).find(|&i| e[i].abs() <= negligible(i)).unwrap_or(n - 1);
            if m == l {
                break;
            }
            sweeps += 1;
            if sweeps > 30 * n {
                return None;
            }
            // rows l to m are a matrix of their own
            if m < n - 1 {
                e[m] = 0.0;
            }
            let ratio = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let mut g = d[m] - d[l] + e[l] / (ratio + ratio.hypot(1.0).copysign(ratio));
            let (mut sine, mut cosine, mut shift) = (1.0, 1.0, 0.0);
            let mut split = false;
            for i in (l..m).rev() {
                let (f, b) = (sine * e[i], cosine * e[i]);
                let r = f.hypot(g);
                if i + 1 < m {
                    e[i + 1] = r;
                }
                // the block falls apart by itself
                if r == 0.0 {
                    d[i + 1] -= shift;
                    split = true;
                    break;
                }
                (sine, cosine) = (f / r, g / r);
                g = d[i + 1] - shift;
                let r = (d[i] - g) * sine + 2.0 * cosine * b;
                shift = sine * r;
                d[i + 1] = g + shift;
                g = cosine * r - b;
                let (low, high) = z.split_at_mut(i + 1);
                for (x, y) in low[i].iter_mut().zip(&mut high[0]) {
                    (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
                }
            }
            if !split {
                d[l] -= shift;
                e[l] = g;
            }
        }
    }
    d.iter().all(|x| x.is_finite()).then_some(z)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::krylov::tridiagonal_eigenvalues;

    /// Values in descending order, with `T s = value s` and orthonormal `s` to a few units of roundoff.
    fn solved(alpha: &[f64], beside: &[f64]) -> (Ritz, Vec<Vec<f64>>) {
        let n = alpha.len();
        let beta: Vec<f64> = beside.iter().copied().chain([0.5]).collect();
        let (ritz, vectors) = eigen(alpha, &beta).unwrap();
        assert!(ritz.values.is_sorted_by(|a, b| a >= b) && ritz.values.len() == n && vectors.len() == n);
        let norm = alpha.iter().chain(beside).fold(0.0f64, |norm, x| norm.max(x.abs()));
        for (i, (s, value)) in vectors.iter().zip(&ritz.values).enumerate() {
            assert_eq!((s[0], (0.5 * s[n - 1]).abs()), (ritz.first_components[i], ritz.residuals[i]));
            for row in 0..n {
                let left = if row > 0 { beside[row - 1] * s[row - 1] } else { 0.0 };
                let right = if row + 1 < n { beside[row] * s[row + 1] } else { 0.0 };
                let residual = left + alpha[row] * s[row] + right - value * s[row];
                assert!(residual.abs() <= 1e-14 * n as f64 * norm, "{alpha:?} {beside:?}: {residual}");
            }
            for (j, other) in vectors.iter().enumerate() {
                let product: f64 = s.iter().zip(other).map(|(a, b)| a * b).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() <= 1e-14 * n as f64, "{alpha:?} {beside:?}: {i} {j} {product}");
            }
        }
        (ritz, vectors)
    }

    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance, "{found}, expected {expected}");
    }

    #[test]
    fn known_spectra() {
        use std::f64::consts::PI;
        for n in [1usize, 2, 3, 10, 33] {
            // the second difference: 2 - 2 cos(k pi / (n + 1)), with sines for eigenvectors
            let (ritz, _) = solved(&vec![2.0; n], &vec![-1.0; n - 1]);
            for (i, (value, first)) in ritz.values.iter().zip(&ritz.first_components).enumerate() {
                let angle = (n - i) as f64 * PI / (n + 1) as f64;
                close(*value, 2.0 - 2.0 * angle.cos(), 1e-14);
                close(first.abs(), (2.0 / (n + 1) as f64).sqrt() * angle.sin(), 1e-14);
            }
            // Kac's matrix: n - 1, n - 3, ... 1 - n, zeros on the diagonal
            let beside: Vec<f64> = (1..n).map(|k| ((k * (n - k)) as f64).sqrt()).collect();
            for (i, value) in solved(&vec![0.0; n], &beside).0.values.iter().enumerate() {
                close(*value, n as f64 - 1.0 - 2.0 * i as f64, 1e-14 * n as f64);
            }
        }
        // Gauss and Legendre's rule of three points: nodes 0 and sqrt(3/5), weights 8/9 and 5/9, of 2 in all
        let beside: Vec<f64> = (1..3).map(|k| f64::from(k) / f64::from(4 * k * k - 1).sqrt()).collect();
        let ritz = solved(&[0.0; 3], &beside).0;
        for (i, (node, weight)) in [(0.6f64.sqrt(), 5.0 / 9.0), (0.0, 8.0 / 9.0), (-(0.6f64.sqrt()), 5.0 / 9.0)].into_iter().enumerate() {
            close(ritz.values[i], node, 1e-15);
            close(2.0 * ritz.first_components[i].powi(2), weight, 1e-15);
        }
    }

    #[test]
    fn equal_and_nearly_equal_eigenvalues() {
        assert_eq!(solved(&[3.0; 5], &[0.0; 4]).0.values, [3.0; 5]);
        assert_eq!(solved(&[0.0; 4], &[0.0; 3]).0.values, [0.0; 4]);
        assert_eq!(solved(&[1.0, 5.0, -2.0, 5.0], &[0.0; 3]).0.values, [5.0, 5.0, 1.0, -2.0]);
        // two equal blocks side by side
        let values = solved(&[2.0; 6], &[1.0, 1.0, 0.0, 1.0, 1.0]).0.values;
        for (i, expected) in [2.0 + 2f64.sqrt(), 2.0, 2.0 - 2f64.sqrt()].into_iter().enumerate() {
            close(values[2 * i], expected, 1e-14);
            close(values[2 * i + 1], expected, 1e-14);
        }
        // Wilkinson's W21+: the two greatest, 10.7461941829..., agree in 14 digits
        let alpha: Vec<f64> = (-10..=10).map(|k: i32| f64::from(k.abs())).collect();
        let values = solved(&alpha, &[1.0; 20]).0.values;
        close(values[0], 10.746_194_182_903_39, 1e-13);
        close(values[1], 10.746_194_182_903_32, 1e-13);
    }

    #[test]
    fn graded_matrices_and_all_scales() {
        // dominated by its diagonal, so that elements determine small eigenvalues to relative accuracy
        let alpha: Vec<f64> = (0..12).map(|i| 10f64.powi(-2 * i)).collect();
        let beside: Vec<f64> = (0..11).map(|i| 0.1 * 10f64.powi(-2 * i - 1)).collect();
        let expected = tridiagonal_eigenvalues(&alpha, &beside);
        let (mut upward, mut upward_beside) = (alpha.clone(), beside.clone());
        upward.reverse();
        upward_beside.reverse();
        for (alpha, beside) in [(&alpha, &beside), (&upward, &upward_beside)] {
            for (found, expected) in solved(alpha, beside).0.values.iter().zip(&expected) {
                close(*found, *expected, 1e-13 * expected);
            }
        }
        for scale in [1e-150, 1e-38, 1e38, 1e150] {
            let values = solved(&[2.0 * scale, 2.0 * scale], &[scale]).0.values;
            close(values[0], 3.0 * scale, 1e-15 * scale);
            close(values[1], scale, 1e-15 * scale);
        }
    }

    #[test]
    fn nothing_and_what_is_not_finite() {
        assert_eq!(eigen(&[], &[]).unwrap(), Default::default());
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for (alpha, beta) in [([1.0, bad], [1.0, 1.0]), ([1.0, 1.0], [bad, 1.0]), ([1.0, 1.0], [1.0, bad])] {
                assert!(matches!(eigen(&alpha, &beta), Err(Error::NonFinite { .. })), "{alpha:?} {beta:?}");
            }
        }
        assert!(matches!(eigen(&[f64::MAX, -f64::MAX, 0.0], &[f64::MAX, f64::MAX, 1.0]), Err(Error::NonFinite { .. })));
    }
}
