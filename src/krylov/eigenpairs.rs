//! A few eigenpairs at an end of the spectrum.

use super::lanczos::{Iteration, LanczosEnd};
use super::operator::LinearOperator;
use super::scaling::Scaling;
use super::tridiagonal::eigen;
use crate::gpu::{Recording, read_all};
use crate::{DType, Error, Result, Tensor, vector};

/// With what probability a pair may be missed.
const MISSED: f64 = 1e-8;

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
    /// The most vectors to keep: those of the pairs that are locked and one for each Lanczos step of the last block. No more
    /// than the operator's dimension are kept. Default: 200.
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
    /// Whether all residuals are within the tolerance, and what is orthogonal to the vectors was found to have nothing further
    /// out: a search from a random vector ended with less.
    pub converged: bool,
    /// The Lanczos steps that were taken, in all blocks.
    pub steps: usize,
}

/// The `k` eigenpairs at one end of the spectrum of a symmetric operator, by Lanczos iterations with full
/// reorthogonalisation, which grow until the pairs have converged. The host looks each time that the number
/// of steps has grown by half.
///
/// From one start vector Lanczos finds each eigenvalue once, whatever its multiplicity. So the pairs that have converged are
/// locked: they become the basis, and a further block begins at a random vector orthogonal to them. It finds the
/// outermost eigenvalues of what is left, another vector of each multiple eigenvalue among them. That goes on until the
/// outermost value of a block has converged and does not lie further out than the last of the `k` pairs, or lies so far
/// within after so many steps that a pair was missed with a probability of 1e-8 at most. Only then `converged` is true.
/// (Eigenvalues within the tolerance of each other count as equal.)
///
/// If `max_steps` are not enough, the best approximations are returned, with their residuals, and `converged` is false. The
/// scale of the operator does not matter, as long as products are normal numbers of f32.
///
/// # Errors
/// [`Error::Option`] if `k` is 0 or more than the dimension or `max_steps`, which an operator without rows leaves no
/// choice, or the tolerance is not a positive number; [`Error::NonFinite`] if a product is infinite or NaN; those of
/// [`lanczos`](super::lanczos()).
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
    let first_target = (2 * k + 10).max(20);
    let mut search = Search { k, which, tolerance: options.tolerance, block: 0, norm: 0.0 };
    let mut target = capacity.min(first_target);
    // a block has no more steps than the one before, but for rounding
    let mut longest = capacity;
    let (mut taken, mut blocks) = (0, 1);
    let complete = loop {
        let before = iteration.seen.alpha.len();
        iteration.advance((target - before).min(longest));
        iteration.look().await?;
        let steps = iteration.seen.alpha.len();
        taken += steps - before;
        let end = iteration.seen.end();
        if end == LanczosEnd::NonFinite {
            return Err(Error::NonFinite { what: format!("the product of Lanczos step {}", taken + 1) });
        }
        let found = search.judge(&iteration, operator.dim())?;
        if found == Found::All {
            break true;
        }
        if found == Found::Unverified && k < capacity {
            let indices: Vec<usize> = (0..k).map(|i| search.end(steps, i)).collect();
            iteration.lock(&indices, search.norm)?;
            search.block = k;
            longest = capacity;
            target = capacity.min(k + first_target);
        } else if steps == capacity {
            break false;
        } else if end == LanczosEnd::Breakdown {
            longest = steps - search.block;
            search.block = steps;
        } else {
            target = capacity.min(steps + steps.div_ceil(2));
            continue;
        }
        iteration.begin_at_random(options.seed, blocks)?;
        blocks += 1;
        if iteration.seen.alpha.len() >= target {
            target = capacity.min(target + target.div_ceil(2));
        }
    };
    search.residuals(iteration, taken, complete).await
}

/// What is known of the pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Found {
    /// Some have not converged, or the outermost value of the last block has not.
    Unconverged,
    /// All have converged, and there may be others further out.
    Unverified,
    /// All have converged, and nothing lies further out.
    All,
}

struct Search {
    k: usize,
    which: Which,
    tolerance: f64,
    /// Where the last block begins; 0 for the first, which misses copies of multiple eigenvalues.
    block: usize,
    /// The largest magnitude of a Ritz value so far.
    norm: f64,
}

impl Search {
    /// The index of pair `i` from the end that is asked for, of `len` in descending order.
    fn end(&self, len: usize, i: usize) -> usize {
        match self.which {
            Which::Largest => i,
            Which::Smallest => len - 1 - i,
        }
    }

    /// The last block is orthogonal to all pairs found before it: its outermost value is that of all that is left.
    fn judge(&mut self, iteration: &Iteration, dim: usize) -> Result<Found> {
        let (alpha, beta) = (&iteration.seen.alpha, &iteration.seen.beta);
        let steps = alpha.len();
        let (all, _) = eigen(alpha, beta)?;
        self.norm = all.values.iter().fold(self.norm, |norm, value| norm.max(value.abs()));
        let bound = self.tolerance * self.norm;
        // pairs that are locked leave something to the residuals of later ones
        if steps < self.k || !(0..self.k).all(|i| all.residuals[self.end(steps, i)] <= 0.25 * bound) {
            return Ok(Found::Unconverged);
        }
        if steps == dim {
            return Ok(Found::All);
        }
        let (last, _) = eigen(&alpha[self.block..], &beta[self.block..])?;
        if self.block == 0 || last.values.is_empty() {
            return Ok(Found::Unverified);
        }
        let outermost = self.end(last.values.len(), 0);
        let worst = all.values[self.end(steps, self.k - 1)];
        let sign = if self.which == Which::Largest { 1.0 } else { -1.0 };
        let within = sign * (worst - last.values[outermost]);
        // The chance that an eigenvalue as far out as `worst` leaves a random vector's outermost Ritz value so far within
        // (Kuczyński and Woźniakowski, "Estimating the largest eigenvalue by the power and Lanczos algorithms with a random
        // start", 1992, theorem 4.2).
        let relative = (within / (worst.abs() + self.norm)).max(0.0);
        let chance = 1.648 * (dim as f64).sqrt() * (-relative.sqrt() * (2 * last.values.len() - 1) as f64).exp();
        Ok(match last.residuals[outermost] <= bound {
            _ if within > bound && chance <= MISSED => Found::All,
            false => Found::Unconverged,
            true if within >= -bound => Found::All,
            true => Found::Unverified,
        })
    }

    /// The pairs, and their residuals by k more products.
    async fn residuals(&self, iteration: Iteration, taken: usize, complete: bool) -> Result<Eigenpairs> {
        let k = self.k;
        let (w, q, product) = (iteration.w.clone(), iteration.q.clone(), iteration.product.clone());
        let gpu = iteration.gpu().clone();
        let lanczos = iteration.finish()?;
        let ritz = lanczos.ritz();
        let indices: Vec<usize> = (0..k).map(|i| self.end(lanczos.steps(), i)).collect();
        let values: Vec<f64> = indices.iter().map(|&i| ritz.values[i]).collect();
        let vectors = lanczos.ritz_vectors(&indices)?;
        let scaling = Scaling::new(&gpu)?;
        // a norm, and the unit in which it is
        let norms = Tensor::zeros(&gpu, &[k, 2], DType::F32)?;
        let n = q.len();
        for (i, &value) in values.iter().enumerate() {
            let row = vectors.within(4 * (i * n) as u64, &[n], DType::F32)?;
            let part = |j: usize| norms.within(4 * (2 * i + j) as u64, &[1], DType::F32);
            let (mut before, mut after) = (Recording::new(), Recording::new());
            vector::copy(&gpu, &mut before, &row, &q)?;
            vector::axpy(&gpu, &mut after, -value, &q, &w)?;
            scaling.record_norm(&gpu, &mut after, &w, &part(0)?)?;
            vector::copy(&gpu, &mut after, &scaling.unit, &part(1)?)?;
            gpu.submit([&before, &product, &after]);
        }
        let read = read_all(&gpu, std::slice::from_ref(&norms)).await?;
        let pairs: Vec<[f32; 2]> = bytemuck::pod_collect_to_vec(&read.concat());
        let residuals: Vec<f64> = pairs.into_iter().map(|[norm, unit]| f64::from(norm) * f64::from(unit)).collect();
        let converged = complete && residuals.iter().all(|&residual| residual <= self.tolerance * self.norm);
        Ok(Eigenpairs { values, vectors, residuals, converged, steps: taken })
    }
}
