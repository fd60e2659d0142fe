//! A few eigenpairs at an end of the spectrum.

use super::lanczos::{Iteration, LanczosEnd};
use super::operator::LinearOperator;
use super::tridiagonal::eigen;
use crate::gpu::{Recording, read_all};
use crate::{DType, Error, Result, Tensor, vector};

/// Which end of the spectrum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The largest eigenvalues, in descending order.
    Largest,
    /// The smallest eigenvalues, in ascending order; negative ones come first.
    Smallest,
}

/// Options of [`eigenpairs`].
#[derive(Clone, Debug, PartialEq)]
pub struct EigenOptions {
    /// The most Lanczos steps, each of which keeps a vector; no more than the operator's dimension are taken.
    /// Default: 200.
    pub max_steps: usize,
    /// What ‖A v - value v‖ may be, as a multiple of the largest magnitude of an eigenvalue. Rounding leaves
    /// about 1e-6. Default: 1e-5.
    pub tolerance: f64,
    /// Of the random start vectors. Default: 0.
    pub seed: u64,
}

impl Default for EigenOptions {
    fn default() -> Self {
        Self { max_steps: 200, tolerance: 1e-5, seed: 0 }
    }
}

/// The result of [`eigenpairs`].
#[derive(Clone, Debug)]
pub struct Eigenpairs {
    /// Eigenvalues, `[k]`, in the order of [`Which`].
    pub values: Vec<f64>,
    /// Eigenvectors of norm one, [k, dim].
    pub vectors: Tensor,
    /// ‖A v - value v‖ of each, computed from the vectors.
    pub residuals: Vec<f64>,
    /// Whether all residuals are within the tolerance, and there is no sign of a pair that was missed.
    pub converged: bool,
    /// The Lanczos steps that were taken.
    pub steps: usize,
}

/// The `k` eigenpairs at one end of the spectrum of a symmetric operator, by Lanczos iterations with full
/// reorthogonalisation, which grow until the pairs have converged. The host looks each time that the number
/// of steps has grown by half.
///
/// From one start vector exact Lanczos finds each eigenvalue once, whatever its multiplicity. When the basis
/// spans an invariant subspace (always so for the identity), a further block begins at a random vector
/// orthogonal to it, and finds another vector of each multiple eigenvalue; that goes on until a block has
/// nothing more to add to the `k` pairs. Where the pairs converge before the first breakdown, as they do in
/// large problems, further copies of a multiple eigenvalue may be missing, though rounding often brings them
/// in.
///
/// If `max_steps` are not enough, the best approximations are returned, with their residuals.
///
/// # Errors
/// [`Error::Option`] if `k` is 0 or more than the dimension or `max_steps`, or the tolerance is not a positive
/// number; [`Error::NonFinite`] if a product is not finite; those of [`lanczos`](super::lanczos()).
pub async fn eigenpairs(operator: &dyn LinearOperator, k: usize, which: Which, options: &EigenOptions) -> Result<Eigenpairs> {
    let capacity = options.max_steps.min(operator.dim());
    if k == 0 || k > capacity {
        let expected = format!("between 1 and the lesser of the dimension and `max_steps`, {capacity}");
        return Err(Error::Option { option: "k".into(), found: k.to_string(), expected });
    }
    if !(options.tolerance > 0.0 && options.tolerance.is_finite()) {
        let found = options.tolerance.to_string();
        return Err(Error::Option { option: "tolerance".into(), found, expected: "a positive number".into() });
    }
    let mut iteration = Iteration::new(operator, capacity)?;
    iteration.begin_at_random(options.seed, 0)?;
    let mut blocks = vec![0];
    let mut target = capacity.min((2 * k + 10).max(20));
    // a block has no more steps than the one before, but for rounding
    let mut longest = capacity;
    let complete = loop {
        let before = iteration.seen.alpha.len();
        iteration.advance((target - before).min(longest));
        iteration.look().await?;
        let steps = iteration.seen.alpha.len();
        let end = iteration.seen.end();
        if end == LanczosEnd::NonFinite {
            return Err(Error::NonFinite { what: format!("the product of Lanczos step {steps}") });
        }
        let block = blocks.last().copied().unwrap_or(0);
        // one block finds but one vector of a multiple eigenvalue; the whole space has them all
        let more = (blocks.len() > 1 || end == LanczosEnd::Breakdown) && steps < operator.dim();
        let enough = sufficient(&iteration, more.then_some(block), k, which, options.tolerance);
        if enough || steps == capacity {
            break enough;
        }
        if end == LanczosEnd::Breakdown {
            longest = steps - block;
            blocks.push(steps);
            iteration.begin_at_random(options.seed, steps as u32)?;
        }
        if steps >= target {
            target = capacity.min(steps + steps.div_ceil(2));
        }
    };
    residuals(iteration, k, which, complete, options.tolerance).await
}

/// Descending order from the end that is asked for: a sign.
fn sign(which: Which) -> f64 {
    match which {
        Which::Largest => 1.0,
        Which::Smallest => -1.0,
    }
}

/// Whether the k pairs have converged, and, if `block` is where the last one begins, it has nothing to add: a
/// block holds a vector of each eigenvalue that is multiple enough, so that the ends of later ones do not lie
/// further out.
fn sufficient(iteration: &Iteration, block: Option<usize>, k: usize, which: Which, tolerance: f64) -> bool {
    let (alpha, beta) = (&iteration.seen.alpha, &iteration.seen.beta);
    let (all, _) = eigen(alpha, beta);
    if alpha.len() < k {
        return false;
    }
    let norm = all.values.iter().fold(0.0, |norm: f64, value| norm.max(value.abs()));
    let end = |len: usize, i: usize| if which == Which::Largest { i } else { len - 1 - i };
    let converged = |i: usize| all.residuals[end(alpha.len(), i)] <= tolerance * norm;
    if !(0..k).all(converged) {
        return false;
    }
    let Some(block) = block else { return true };
    let (last, _) = eigen(&alpha[block..], &beta[block..]);
    let Some(outermost) = last.values.len().checked_sub(1).map(|_| end(last.values.len(), 0)) else { return false };
    let (worst, found) = (all.values[end(alpha.len(), k - 1)], last.values[outermost]);
    last.residuals[outermost] <= tolerance * norm && sign(which) * (found - worst) <= tolerance * norm
}

/// The pairs, and their residuals by k more products.
async fn residuals(iteration: Iteration, k: usize, which: Which, complete: bool, tolerance: f64) -> Result<Eigenpairs> {
    let (w, q, product) = (iteration.w.clone(), iteration.q.clone(), iteration.product.clone());
    let gpu = iteration.gpu().clone();
    let lanczos = iteration.finish();
    let ritz = lanczos.ritz();
    let steps = lanczos.steps();
    let indices: Vec<usize> = match which {
        Which::Largest => (0..k).collect(),
        Which::Smallest => (0..k).map(|i| steps - 1 - i).collect(),
    };
    let values: Vec<f64> = indices.iter().map(|&i| ritz.values[i]).collect();
    let vectors = lanczos.ritz_vectors(&indices)?;
    let norms = Tensor::zeros(&gpu, &[k], DType::F32)?;
    let n = q.len();
    for (i, &value) in values.iter().enumerate() {
        let row = vectors.within(4 * (i * n) as u64, &[n], DType::F32)?;
        let norm = norms.within(4 * i as u64, &[1], DType::F32)?;
        let (mut before, mut after) = (Recording::new(), Recording::new());
        vector::copy(&gpu, &mut before, &row, &q)?;
        vector::axpy(&gpu, &mut after, -value, &q, &w)?;
        vector::norm(&gpu, &mut after, &w, &norm)?;
        gpu.submit([&before, &product, &after]);
    }
    let read = read_all(&gpu, std::slice::from_ref(&norms)).await?;
    let residuals: Vec<f64> = bytemuck::pod_collect_to_vec::<u8, f32>(&read.concat()).into_iter().map(f64::from).collect();
    let norm = ritz.values.iter().fold(0.0, |norm: f64, value| norm.max(value.abs()));
    let converged = complete && residuals.iter().all(|&residual| residual <= tolerance * norm);
    Ok(Eigenpairs { values, vectors, residuals, converged, steps })
}
