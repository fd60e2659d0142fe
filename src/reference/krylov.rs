//! Krylov methods as plain loops: Lanczos, conjugate gradients, Richardson's and power iteration.
//!
//! An operator is a function from a vector to its product.
//!
//! ```
//! use gradus::reference::krylov;
//!
//! let apply = |x: &[f64]| vec![2.0 * x[0] + x[1], x[0] + 2.0 * x[1]];
//! let run = krylov::lanczos(apply, &[1.0, 0.0], 2);
//! let values = krylov::tridiagonal_eigenvalues(&run.alpha, &run.beta);
//! assert!((values[0] - 3.0).abs() < 1e-12 && (values[1] - 1.0).abs() < 1e-12);
//! ```

use super::vector::{axpy, dot, norm, scale};

/// A product with a sparse matrix in compressed rows: the entries of row `r` are those from `offsets[r]` to
/// `offsets[r + 1]`.
///
/// # Panics
///
/// If the offsets or columns are out of range.
pub fn csr_product(offsets: &[u32], columns: &[u32], values: &[f64], x: &[f64]) -> Vec<f64> {
    let row = |ends: &[u32]| (ends[0] as usize..ends[1] as usize).map(|i| values[i] * x[columns[i] as usize]).sum();
    offsets.windows(2).map(row).collect()
}

/// What [`lanczos`] returns.
#[derive(Clone, Debug)]
pub struct Lanczos {
    /// The diagonal of T.
    pub alpha: Vec<f64>,
    /// Beside the diagonal, and last the norm of the residual.
    pub beta: Vec<f64>,
    /// The orthonormal vectors.
    pub basis: Vec<Vec<f64>>,
}

/// Lanczos with full reorthogonalisation, twice (Golub and Van Loan, "Matrix Computations", 4th edition, 2013,
/// sections 10.1 and 10.3): `α_j = ⟨q_j, A q_j⟩`, `β_j q_{j+1} = A q_j - α_j q_j - β_{j-1} q_{j-1}`. It ends
/// early where `β_j` is zero, but for rounding.
pub fn lanczos(apply: impl Fn(&[f64]) -> Vec<f64>, start: &[f64], steps: usize) -> Lanczos {
    let (mut alpha, mut beta, mut basis) = (Vec::new(), Vec::new(), Vec::new());
    let mut largest: f64 = 0.0;
    let mut q = start.to_vec();
    scale(1.0 / norm(start), &mut q);
    for _ in 0..steps {
        let mut w = apply(&q);
        alpha.push(dot(&q, &w));
        basis.push(q);
        for _ in 0..2 {
            for q in &basis {
                axpy(-dot(q, &w), q, &mut w);
            }
        }
        beta.push(norm(&w));
        let (a, b) = (alpha[alpha.len() - 1], beta[beta.len() - 1]);
        largest = largest.max(a.abs() + b);
        if b <= 64.0 * f64::EPSILON * largest {
            break;
        }
        scale(1.0 / b, &mut w);
        q = w;
    }
    Lanczos { alpha, beta, basis }
}

/// The eigenvalues of the symmetric tridiagonal matrix with `alpha` on the diagonal and `beta` beside it, in
/// descending order, by bisection with Sturm sequences (Golub and Van Loan 2013, section 8.4.1). Elements of
/// `beta` after the first `alpha.len() - 1` do not count.
pub fn tridiagonal_eigenvalues(alpha: &[f64], beta: &[f64]) -> Vec<f64> {
    let m = alpha.len();
    let beside = |i: usize| if i + 1 < m { beta[i].abs() } else { 0.0 };
    let radius = |i: usize| beside(i) + if i > 0 { beside(i - 1) } else { 0.0 };
    let low = (0..m).map(|i| alpha[i] - radius(i)).fold(f64::INFINITY, f64::min);
    let high = (0..m).map(|i| alpha[i] + radius(i)).fold(f64::NEG_INFINITY, f64::max);
    let below = |x: f64| {
        let mut pivot = 1.0;
        (0..m)
            .filter(|&i| {
                let square = if i > 0 { beta[i - 1] * beta[i - 1] } else { 0.0 };
                pivot = alpha[i] - x - if square == 0.0 { 0.0 } else { square / pivot };
                if pivot == 0.0 {
                    pivot = -f64::MIN_POSITIVE.sqrt();
                }
                pivot < 0.0
            })
            .count()
    };
    let nth = |n: usize| {
        let (mut low, mut high) = (low, high);
        for _ in 0..200 {
            let middle = 0.5 * (low + high);
            if below(middle) > n { high = middle } else { low = middle }
        }
        0.5 * (low + high)
    };
    (0..m).rev().map(nth).collect()
}

/// Why [`cg`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgEnd {
    /// The residual is within the tolerance.
    Converged,
    /// All iterations were taken.
    IterationLimit,
    /// The quadratic makes no more progress.
    Truncated,
    /// `⟨p, A p⟩ <= 0`.
    NegativeCurvature,
}

/// What [`cg`] returns.
#[derive(Clone, Debug)]
pub struct Cg {
    /// The last iterate.
    pub x: Vec<f64>,
    /// Why it ended.
    pub end: CgEnd,
    /// `‖r‖` before the first iteration and after each.
    pub history: Vec<f64>,
    /// `½⟨x, A x⟩ - ⟨b, x⟩` before the first iteration and after each.
    pub objectives: Vec<f64>,
}

/// Preconditioned conjugate gradients for `A x = b` from `x` (Hestenes and Stiefel 1952; Golub and Van Loan 2013,
/// section 11.5.2): with `z = M r` and `ρ = ⟨r, z⟩`,
///
/// `α = ρ / ⟨p, A p⟩`, `x += α p`, `r -= α A p`, `p = z + (ρ' / ρ) p`, until `‖r‖ <= tolerance`.
///
/// With `truncation > 0` it ends as well when `φ` has fallen by less than `k·truncation` of itself in the last
/// `k = max(10, i/10)` iterations (Martens 2010, section 4.4).
pub fn cg(
    apply: impl Fn(&[f64]) -> Vec<f64>,
    precondition: impl Fn(&[f64]) -> Vec<f64>,
    b: &[f64],
    x: &[f64],
    tolerance: f64,
    truncation: f64,
    max_iterations: usize,
) -> Cg {
    let mut x = x.to_vec();
    let mut r = b.to_vec();
    axpy(-1.0, &apply(&x), &mut r);
    let phi = |x: &[f64]| 0.5 * dot(x, &apply(x)) - dot(b, x);
    let (mut history, mut objectives) = (vec![norm(&r)], vec![phi(&x)]);
    let mut p = precondition(&r);
    let mut rho = dot(&r, &p);
    let end = loop {
        let i = history.len() - 1;
        if history[i] <= tolerance {
            break CgEnd::Converged;
        }
        let k = i.div_ceil(10).max(10);
        if truncation > 0.0 && i > k && objectives[i] < 0.0 && (objectives[i] - objectives[i - k]) / objectives[i] < k as f64 * truncation {
            break CgEnd::Truncated;
        }
        if i == max_iterations {
            break CgEnd::IterationLimit;
        }
        let q = apply(&p);
        let curvature = dot(&p, &q);
        if curvature <= 0.0 {
            break CgEnd::NegativeCurvature;
        }
        let alpha = rho / curvature;
        axpy(alpha, &p, &mut x);
        axpy(-alpha, &q, &mut r);
        let z = precondition(&r);
        let before = std::mem::replace(&mut rho, dot(&r, &z));
        scale(rho / before, &mut p);
        axpy(1.0, &z, &mut p);
        history.push(norm(&r));
        objectives.push(phi(&x));
    };
    Cg { x, end, history, objectives }
}

/// What [`flexible_cg`] returns.
#[derive(Clone, Debug)]
pub struct FlexibleCg {
    /// The last iterate.
    pub x: Vec<f64>,
    /// Why it ended.
    pub end: CgEnd,
    /// `‖r‖` before the first iteration and after each, lost ones included.
    pub history: Vec<f64>,
    /// `½⟨x, A x⟩ - ⟨b, x⟩` before the first iteration and after each.
    pub objectives: Vec<f64>,
    /// How many iterations had a direction of no use.
    pub lost: usize,
}

/// Flexible conjugate gradients for `A x = b` from 0, truncated to `truncation` directions (Notay, SIAM J. Sci.
/// Comput. 22, 2000, algorithm FCG(m); Kaneda et al., ICML 2023, algorithm 1): with the `d_i` of the iterations
/// before, and their `A d_i`,
///
/// `q = M(r)`, `q -= Σ (⟨q, A d_i⟩ / ⟨d_i, A d_i⟩) d_i`, `α = ⟨q, r⟩ / ⟨q, A q⟩`, `x += α q`, `r -= α A q`, until
/// `‖r‖ <= tolerance`.
///
/// After every `recompute_every` iterations, if that is not 0, `r = b - A x`. Where `⟨q, A q⟩` or `⟨q, r⟩` is 0 or not
/// finite, `q` is dropped, though it takes the place of the oldest direction, and the next `q` is made of `r`.
pub fn flexible_cg(
    apply: impl Fn(&[f64]) -> Vec<f64>,
    precondition: impl Fn(&[f64]) -> Vec<f64>,
    b: &[f64],
    truncation: usize,
    recompute_every: usize,
    tolerance: f64,
    max_iterations: usize,
) -> FlexibleCg {
    let mut x = vec![0.0; b.len()];
    let residual = |x: &[f64]| {
        let mut r = b.to_vec();
        axpy(-1.0, &apply(x), &mut r);
        r
    };
    let phi = |x: &[f64]| 0.5 * dot(x, &apply(x)) - dot(b, x);
    let mut r = residual(&x);
    let (mut history, mut objectives) = (vec![norm(&r)], vec![phi(&x)]);
    let mut kept: Vec<Option<(Vec<f64>, Vec<f64>)>> = Vec::new();
    let (mut plain, mut lost) = (false, 0);
    let end = loop {
        let i = history.len() - 1;
        if history[i] <= tolerance {
            break CgEnd::Converged;
        }
        if i == max_iterations {
            break CgEnd::IterationLimit;
        }
        let z = if plain { r.clone() } else { precondition(&r) };
        let mut q = z.clone();
        for (d, image) in kept.iter().flatten() {
            axpy(-dot(&z, image) / dot(d, image), d, &mut q);
        }
        let image = apply(&q);
        let (numerator, curvature) = (dot(&q, &r), dot(&q, &image));
        if curvature > 0.0 && curvature.is_finite() && numerator.is_finite() && numerator != 0.0 {
            let alpha = numerator / curvature;
            axpy(alpha, &q, &mut x);
            axpy(-alpha, &image, &mut r);
            kept.push(Some((q, image)));
            plain = false;
        } else if plain || curvature < 0.0 {
            break CgEnd::NegativeCurvature;
        } else {
            kept.push(None);
            plain = true;
            lost += 1;
        }
        if kept.len() > truncation {
            kept.remove(0);
        }
        if recompute_every > 0 && (i + 1).is_multiple_of(recompute_every) {
            r = residual(&x);
        }
        history.push(norm(&r));
        objectives.push(phi(&x));
    };
    FlexibleCg { x, end, history, objectives, lost }
}

/// The stationary iteration `x += M (b - A x)` (Richardson 1910): the last iterate, and the norm of the residual before the
/// first iteration and after each, until that is within the tolerance.
pub fn richardson(
    apply: impl Fn(&[f64]) -> Vec<f64>,
    precondition: impl Fn(&[f64]) -> Vec<f64>,
    b: &[f64],
    x: &[f64],
    tolerance: f64,
    max_iterations: usize,
) -> (Vec<f64>, Vec<f64>) {
    let mut x = x.to_vec();
    let residual = |x: &[f64]| {
        let mut r = b.to_vec();
        axpy(-1.0, &apply(x), &mut r);
        r
    };
    let mut r = residual(&x);
    let mut history = vec![norm(&r)];
    while history[history.len() - 1] > tolerance && history.len() <= max_iterations {
        axpy(1.0, &precondition(&r), &mut x);
        r = residual(&x);
        history.push(norm(&r));
    }
    (x, history)
}

/// The Rayleigh quotient after each of `iterations` products of power iteration from `start`, the first of the
/// start itself (Golub and Van Loan 2013, section 8.2.1).
pub fn power_iteration(apply: impl Fn(&[f64]) -> Vec<f64>, start: &[f64], iterations: usize) -> Vec<f64> {
    let mut v = start.to_vec();
    (0..iterations)
        .map(|_| {
            scale(1.0 / norm(&v), &mut v);
            let w = apply(&v);
            let value = dot(&v, &w);
            v = w;
            value
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second difference, with eigenvalues 2 - 2 cos(kπ/(n+1)).
    fn laplacian(x: &[f64]) -> Vec<f64> {
        let at = |i: Option<usize>| i.and_then(|i| x.get(i)).copied().unwrap_or(0.0);
        (0..x.len()).map(|i| 2.0 * x[i] - at(i.checked_sub(1)) - at(Some(i + 1))).collect()
    }

    fn spectrum(n: usize) -> Vec<f64> {
        (1..=n).rev().map(|k| 2.0 - 2.0 * (k as f64 * std::f64::consts::PI / (n + 1) as f64).cos()).collect()
    }

    #[test]
    fn eigenvalues_of_tridiagonal_matrices() {
        for n in [1, 2, 7, 40] {
            let found = tridiagonal_eigenvalues(&vec![2.0; n], &vec![-1.0; n]);
            assert!(found.iter().zip(spectrum(n)).all(|(found, expected)| (found - expected).abs() < 1e-12), "{found:?}");
        }
        assert_eq!(tridiagonal_eigenvalues(&[1.0, 1.0, 1.0], &[0.0, 0.0]).len(), 3);
    }

    #[test]
    fn lanczos_finds_the_whole_spectrum() {
        let n = 12;
        let start: Vec<f64> = (0..n).map(|i| 1.0 + (i * i) as f64).collect();
        let run = lanczos(laplacian, &start, 50);
        assert_eq!(run.alpha.len(), n);
        let found = tridiagonal_eigenvalues(&run.alpha, &run.beta);
        assert!(found.iter().zip(spectrum(n)).all(|(found, expected)| (found - expected).abs() < 1e-12));
    }

    #[test]
    fn conjugate_gradients_end_after_as_many_iterations_as_there_are_eigenvalues() {
        let n = 10;
        let x: Vec<f64> = (0..n).map(|i| (i as f64).sin()).collect();
        let run = cg(laplacian, <[f64]>::to_vec, &laplacian(&x), &vec![0.0; n], 1e-12, 0.0, 100);
        assert_eq!(run.end, CgEnd::Converged);
        assert!(run.history.len() <= n + 2);
        assert!(run.x.iter().zip(&x).all(|(found, x)| (found - x).abs() < 1e-11));
        let indefinite = |x: &[f64]| vec![x[0], -x[1]];
        assert_eq!(cg(indefinite, <[f64]>::to_vec, &[0.1, 1.0], &[0.0; 2], 1e-9, 0.0, 9).end, CgEnd::NegativeCurvature);
    }

    #[test]
    fn flexible_conjugate_gradients_are_conjugate_gradients_where_the_preconditioner_is_linear() {
        let n = 30;
        let b: Vec<f64> = (0..n).map(|i| ((i * i) as f64).sin()).collect();
        let jacobi = |r: &[f64]| r.iter().enumerate().map(|(i, r)| r / (1.0 + i as f64)).collect::<Vec<f64>>();
        // no more iterations than rounding lets agree
        let plain = cg(laplacian, jacobi, &b, &vec![0.0; n], 1e-9, 0.0, 10);
        for (truncation, recompute) in [(1, 0), (2, 1), (8, 3)] {
            let run = flexible_cg(laplacian, jacobi, &b, truncation, recompute, 1e-9, 10);
            assert_eq!((run.end, run.lost), (plain.end, 0));
            // later, rounding tells apart how much of their orthogonality the directions have kept
            let ratios = run.history.iter().zip(&plain.history).map(|(found, expected)| (found - expected).abs() / expected);
            let worst = ratios.take(10).fold(0.0, f64::max);
            assert!(worst < 1e-9, "{truncation}, {recompute}: {worst}");
        }
        // steepest descent: each step ends where the next residual is orthogonal to it
        let run = flexible_cg(laplacian, <[f64]>::to_vec, &b, 0, 0, 0.0, 1);
        let mut r = b.clone();
        axpy(-1.0, &laplacian(&run.x), &mut r);
        assert!(dot(&r, &b).abs() < 1e-12);
        // every other direction is of no use
        let never = |r: &[f64]| vec![0.0; r.len()];
        let run = flexible_cg(laplacian, never, &b, 2, 0, 0.0, 20);
        assert_eq!((run.end, run.lost), (CgEnd::IterationLimit, 10));
        assert!(run.objectives.windows(2).all(|pair| pair[1] <= pair[0]) && run.objectives[20] < run.objectives[0]);
    }

    #[test]
    fn stationary_iterations_contract_by_their_factor() {
        // ω of 1/4: the mode of eigenvalue λ is multiplied by 1 - λ/4
        let n = 9;
        let damped = |r: &[f64]| r.iter().map(|r| 0.25 * r).collect::<Vec<f64>>();
        let mode: Vec<f64> = (1..=n).map(|i| (2.0 * i as f64 * std::f64::consts::PI / (n + 1) as f64).sin()).collect();
        let (x, history) = richardson(laplacian, damped, &mode, &vec![0.0; n], 0.0, 5);
        let factor = 1.0 - spectrum(n)[n - 2] / 4.0;
        assert!(history.windows(2).all(|pair| (pair[1] - factor * pair[0]).abs() < 1e-12));
        assert!(x.iter().zip(&mode).all(|(x, m)| (x - m / spectrum(n)[n - 2] * (1.0 - factor.powi(5))).abs() < 1e-12));
    }

    #[test]
    fn power_iteration_nears_the_largest() {
        let values = power_iteration(|x| vec![3.0 * x[0], x[1], -2.0 * x[2]], &[1.0; 3], 40);
        assert!((values[39] - 3.0).abs() < 1e-12);
    }
}
