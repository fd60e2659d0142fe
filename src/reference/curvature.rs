//! The estimators of a matrix from its products, on f64 slices. A matrix is a function that multiplies;
//! random vectors are the caller's.

use super::vector::{axpy, dot, norm};

/// The mean of `samples` and its standard error, `√(Σ (s - mean)² / (k (k - 1)))`.
pub fn mean(samples: &[f64]) -> [f64; 2] {
    let k = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / k;
    let squares: f64 = samples.iter().map(|s| (s - mean).powi(2)).sum();
    [mean, (squares / (k * (k - 1.0))).sqrt()]
}

/// Hutchinson's samples of the trace, `⟨x, A x⟩` for each of `probes`. Source: Hutchinson, "A stochastic
/// estimator of the trace of the influence matrix", 1990.
///
/// ```
/// use gradus::reference::curvature::hutchinson;
///
/// let a = |x: &[f64]| vec![2.0 * x[0] + x[1], x[0] + 3.0 * x[1]];
/// let probes = [vec![1.0, 1.0], vec![1.0, -1.0]];
/// assert_eq!(hutchinson(a, &probes), [7.0, 3.0]);
/// ```
pub fn hutchinson(a: impl Fn(&[f64]) -> Vec<f64>, probes: &[Vec<f64>]) -> Vec<f64> {
    probes.iter().map(|x| dot(x, &a(x))).collect()
}

/// The diagonal, as the mean of `x ⊙ A x` over `probes` of signs, and its standard error, by element.
/// Source: Bekas, Kokiopoulou and Saad, "An estimator for the diagonal of a matrix", 2007.
pub fn diagonal(a: impl Fn(&[f64]) -> Vec<f64>, probes: &[Vec<f64>]) -> Vec<[f64; 2]> {
    let products: Vec<Vec<f64>> = probes.iter().map(|x| a(x)).collect();
    let n = probes.first().map_or(0, Vec::len);
    let element = |i: usize| -> Vec<f64> { probes.iter().zip(&products).map(|(x, ax)| x[i] * ax[i]).collect() };
    (0..n).map(|i| mean(&element(i))).collect()
}

/// The trace and its standard error by Hutch++: the trace of `Qᵀ A Q`, where the orthonormal columns of Q span
/// the products of `sketch`, and Hutchinson's samples of the rest, `(I - QQᵀ) A (I - QQᵀ)`, with `probes`.
/// Source: Meyer, Musco, Musco and Woodruff, "Hutch++: optimal stochastic trace estimation", 2021.
pub fn hutch_plus_plus(a: impl Fn(&[f64]) -> Vec<f64>, sketch: &[Vec<f64>], probes: &[Vec<f64>]) -> [f64; 2] {
    let mut q: Vec<Vec<f64>> = Vec::new();
    let project = |q: &[Vec<f64>], x: &mut [f64]| {
        for column in q.iter().chain(q) {
            axpy(-dot(column, x), column, x);
        }
    };
    for s in sketch {
        let mut y = a(s);
        let before = norm(&y);
        project(&q, &mut y);
        let after = norm(&y);
        // a vector in the span of the others adds nothing
        if after > 1e-12 * before {
            q.push(y.iter().map(|y| y / after).collect());
        }
    }
    let exact: f64 = hutchinson(&a, &q).iter().sum();
    let rest: Vec<Vec<f64>> = probes
        .iter()
        .map(|x| {
            let mut x = x.clone();
            project(&q, &mut x);
            x
        })
        .collect();
    let [value, error] = mean(&hutchinson(&a, &rest));
    [exact + value, error]
}

/// The sum of Gaussians of standard deviation `sigma` about `nodes`, each with its weight, at `t`.
pub fn density(nodes: &[f64], weights: &[f64], sigma: f64, t: f64) -> f64 {
    let gaussian = |z: f64| (-0.5 * z * z).exp() / (sigma * (2.0 * std::f64::consts::PI).sqrt());
    nodes.iter().zip(weights).map(|(node, weight)| weight * gaussian((t - node) / sigma)).sum()
}
