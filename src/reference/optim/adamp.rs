use super::super::vector::{axpy, dot, max_magnitude, norm};
use super::{Step, bias_correction, check};

/// Removes from the update `u` its part along the weights `p`, where these seem scale-invariant, and
/// returns the factor for the weight decay.
///
/// A weight whose scale does not matter has a gradient at right angles to it, so that is what is
/// looked for: in the rows of the *channel view*, `shape[0]` rows of the other axes' elements, then
/// in the *layer view*, the whole tensor as one row. In a view with rows of `C` elements,
///
/// `cos_r = |⟨g_r, p_r⟩| / (max(‖g_r‖, eps)·max(‖p_r‖, eps))`
///
/// and if the greatest of them is below `delta/√C`, then in every row
///
/// `u_r -= n_r·⟨n_r, u_r⟩`, with `n_r = p_r/(‖p_r‖ + eps)`
///
/// and the result is `wd_ratio`. If neither view qualifies, `u` is left alone and the result is 1;
/// so too for parameters of fewer than two axes, empty ones, and those with NaN in `p` or `g`. A zero
/// gradient has cosine 0 and qualifies.
///
/// `g` is the raw gradient. `shape` is row-major, and `p`, `g` and `u` have its number of elements.
///
/// Source: the `adamp` package 0.3.0; Heo et al., ICLR 2021, arXiv:2006.08217.
///
/// # Panics
///
/// If `p`, `g` or `u` has not as many elements as `shape`.
///
/// ```
/// use gradus::reference::optim::projection;
///
/// // The gradient is at right angles to each row of the weights.
/// let (p, g) = ([1.0, 0.0, 0.0, 1.0], [0.0, 3.0, 3.0, 0.0]);
/// let mut u = [5.0; 4];
/// let ratio = projection(&[2, 2], &p, &g, &mut u, 0.1, 0.25, 0.0);
/// assert_eq!((ratio, u), (0.25, [0.0, 5.0, 5.0, 0.0]));
/// ```
pub fn projection(shape: &[usize], p: &[f64], g: &[f64], u: &mut [f64], delta: f64, wd_ratio: f64, eps: f64) -> f64 {
    let n: usize = shape.iter().product();
    assert_eq!(p.len(), n, "the parameter's length is not its shape's");
    assert_eq!(g.len(), n, "the gradient's length is not the shape's");
    assert_eq!(u.len(), n, "the update's length is not the shape's");
    if shape.len() < 2 || n == 0 {
        return 1.0;
    }
    for columns in [n / shape[0], n] {
        let rows = || p.chunks_exact(columns).zip(g.chunks_exact(columns));
        let cosines: Vec<f64> = rows().map(|(p, g)| dot(g, p).abs() / (norm(g).max(eps) * norm(p).max(eps))).collect();
        // False if any cosine is NaN. A NaN norm passes for `eps` above, but the product is NaN.
        if max_magnitude(&cosines) < delta / (columns as f64).sqrt() {
            for (p, u) in p.chunks_exact(columns).zip(u.chunks_exact_mut(columns)) {
                let length = norm(p) + eps;
                let along = dot(p, u) / length;
                axpy(-along / length, p, u);
            }
            return wd_ratio;
        }
    }
    1.0
}

/// AdamP: Adam whose update leaves alone the norm of scale-invariant weights.
///
/// With `m` the state `exp_avg`, `v` the state `exp_avg_sq`, and `bc1`, `bc2` from
/// [`bias_correction`]:
///
/// - `m = betas[0]·m + (1 - betas[0])·g`
/// - `v = betas[1]·v + (1 - betas[1])·g²`
/// - `u = m/(√v/√bc2 + eps)`; with `nesterov`, `betas[0]·m + (1 - betas[0])·g` in the place of `m`
/// - `ratio`, `u` from [`projection`]
/// - `p *= 1 - lr·weight_decay·ratio`
/// - `p -= (lr/bc1)·u`
///
/// Source: the `adamp` package 0.3.0; Heo et al., ICLR 2021, arXiv:2006.08217, algorithm 2.
///
/// ```
/// use gradus::reference::optim::{AdamP, Step};
///
/// // One channel at right angles to its gradient: the step is too.
/// let adamp = AdamP { lr: 0.1, ..AdamP::default() };
/// let (mut p, mut state) = ([2.0, 0.0], adamp.initial_state(2));
/// adamp.step(1, &[1, 2], &mut p, &[0.0, 1.0], &mut state);
/// assert!(p[0] == 2.0 && (p[1] + 0.1).abs() < 1e-8);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamP {
    /// Learning rate; 1e-3 by default.
    pub lr: f64,
    /// Decay of the averages of the gradient and of its square; 0.9 and 0.999 by default.
    pub betas: [f64; 2],
    /// Added to the root after its bias correction, and to norms; 1e-8 by default.
    pub eps: f64,
    /// Decoupled weight decay; 0 by default.
    pub weight_decay: f64,
    /// Cosine, times the root of the row's length, below which weights count as scale-invariant;
    /// 0.1 by default.
    pub delta: f64,
    /// Factor of the weight decay for scale-invariant weights; 0.1 by default.
    pub wd_ratio: f64,
    /// Nesterov's momentum; off by default.
    pub nesterov: bool,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for AdamP {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0, delta: 0.1, wd_ratio: 0.1, nesterov: false, maximize: false }
    }
}

impl Step for AdamP {
    fn state_names(&self) -> Vec<&'static str> {
        vec!["exp_avg", "exp_avg_sq"]
    }

    fn step(&self, t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        let [beta1, beta2] = self.betas;
        let root_bc2 = bias_correction(beta2, t).sqrt();
        let mut u = vec![0.0; p.len()];
        for (i, (u, &g)) in u.iter_mut().zip(g).enumerate() {
            let g = if self.maximize { -g } else { g };
            let m = beta1 * state[0][i] + (1.0 - beta1) * g;
            let v = beta2 * state[1][i] + (1.0 - beta2) * g * g;
            state[0][i] = m;
            state[1][i] = v;
            let numerator = if self.nesterov { beta1 * m + (1.0 - beta1) * g } else { m };
            *u = numerator / (v.sqrt() / root_bc2 + self.eps);
        }
        let ratio = projection(shape, p, g, &mut u, self.delta, self.wd_ratio, self.eps);
        let step_size = self.lr / bias_correction(beta1, t);
        for (p, u) in p.iter_mut().zip(u) {
            *p *= 1.0 - self.lr * self.weight_decay * ratio;
            *p -= step_size * u;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The branches, on two rows of two: (p, g, the ratio, u after from all ones).
    #[test]
    fn branches() {
        let nan = f64::NAN;
        let cases = [
            // Both rows at right angles.
            ([1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 1.0, 0.0], 0.1, [0.0, 1.0, 1.0, 0.0]),
            // Neither row, but the tensor: ⟨p, u⟩/‖p‖² is 1.
            ([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, -1.0, -1.0], 0.1, [0.0; 4]),
            // One row is not enough, and the tensor is not either.
            ([1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0], 1.0, [1.0; 4]),
            // A zero gradient, and a zero row of weights.
            ([1.0, 0.0, 0.0, 0.0], [0.0; 4], 0.1, [0.0, 1.0, 1.0, 1.0]),
            // Not a number, in either.
            ([1.0, 0.0, 0.0, 2.0], [0.0, 1.0, nan, 0.0], 1.0, [1.0; 4]),
            ([1.0, nan, 0.0, 2.0], [0.0; 4], 1.0, [1.0; 4]),
        ];
        for (p, g, expect_ratio, expect) in cases {
            let mut u = [1.0; 4];
            let ratio = projection(&[2, 2], &p, &g, &mut u, 0.1, 0.1, 1e-8);
            assert_eq!(ratio, expect_ratio, "{p:?} {g:?}");
            for (u, expect) in u.iter().zip(expect) {
                assert!((u - expect).abs() < 1e-7, "{p:?} {g:?}: {u}");
            }
            let mut u = [1.0; 4];
            assert_eq!(projection(&[4], &p, &g, &mut u, 0.1, 0.1, 1e-8), 1.0);
            assert_eq!(u, [1.0; 4]);
        }
    }
}
