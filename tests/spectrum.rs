//! The outliers of a trained network's Hessian follow the number of classes (Sagun et al. 2017): of k
//! Gaussian clusters, k - 1 eigenvalues lie apart from the rest.

#![cfg(all(feature = "curvature", feature = "optim"))]

mod common;
#[path = "../examples/hessian_spectrum/experiment.rs"]
mod experiment;
#[path = "../examples/common/random.rs"]
mod random;

use common::gpu;
use experiment::{Problem, outliers, ritz};
use gradus::gpu::Checks;
use gradus::krylov::Ritz;

/// The outliers with a seed, which is that of the points, of the weights and of Lanczos.
async fn count(classes: usize, seed: u64) -> usize {
    let gpu = gpu(Checks::Unchecked);
    let problem = Problem::clusters(&gpu, classes, seed).unwrap();
    let (steps, loss) = problem.train(&gpu, 0.1, 200).await.unwrap();
    assert!(loss < 0.1, "{classes} classes, seed {seed}: loss {loss} after {steps} steps");
    let hessian = problem.hessian(&gpu).unwrap();
    outliers(&ritz(&hessian, classes, seed).await.unwrap())
}

/// With seed 0, which is that of the example, and with five others. The rule was chosen on seeds 100 to 105.
fn outliers_are_one_less_than(classes: usize) {
    let counts: Vec<usize> = (0..6).map(|seed| pollster::block_on(count(classes, seed))).collect();
    println!("{classes} classes: {counts:?} outliers with seeds 0 to 5");
    assert_eq!(counts, [classes - 1; 6]);
}

#[test]
fn three_classes() {
    outliers_are_one_less_than(3);
}

#[test]
fn five_classes() {
    outliers_are_one_less_than(5);
}

#[test]
fn ten_classes() {
    outliers_are_one_less_than(10);
}

/// On values that are known, of which all but the last `bulk` have converged.
#[test]
fn outliers_are_before_the_largest_ratio() {
    let count = |values: &[f64], bulk: usize| {
        let residual = |i: usize| if i + bulk < values.len() { 1e-9 } else { 1e-2 };
        let residuals = (0..values.len()).map(residual).collect();
        outliers(&Ritz { values: values.to_vec(), first_components: vec![0.0; values.len()], residuals })
    };
    let values = [9.0, 4.0, 3.5, 1.0, 0.95, 0.01, 1e-9, -1.0];
    assert_eq!(count(&values, 3), 3);
    // were 0.01 or 1e-9 an eigenvalue, it would be where the bulk begins
    assert_eq!(count(&values, 2), 5);
    assert_eq!(count(&values, 1), 6);
    // no ratio has a negative value
    assert_eq!(count(&values, 0), 6);
    // the first ratio does not count
    assert_eq!(count(&[9.0, 2.0, 1.9, 1.0, 0.99], 0), 3);
    assert_eq!(count(&[2.0, 1e-3], 0), 1);
    assert_eq!(count(&[2.0, 1e-3], 2), 0);
    assert_eq!(count(&[], 0), 0);
}
