use super::super::vector::{axpy, norm, scale};
use super::{Step, bias_correction, check};

/// Norms of parameters count as this at most.
const GREATEST: f64 = 10.0;

/// LAMB: Adam whose step is in proportion to the norm of each parameter.
///
/// With `m` the state `exp_avg`, `v` the state `exp_avg_sq`, and `bc1` from [`bias_correction`]:
///
/// - `m = betas[0]·m + (1 - betas[0])·g`
/// - `v = betas[1]·v + (1 - betas[1])·g²`
/// - `u = m/(√v + eps)`
/// - `p *= 1 - lr·weight_decay`
/// - `ratio = min(‖p‖, 10)/(‖u‖ + eps)`; 1 where either norm is 0
/// - `p -= (lr/bc1)·ratio·u`
///
/// The correction of `v` would cancel in `ratio·u`. That of `m` is outside of it: the first steps are `lr/bc1` of the
/// parameter's norm, 10 times `lr` with the default `betas[0]`.
///
/// Source: `pytorch_optimizer.Lamb` with its defaults; You et al., ICLR 2020, arXiv:1904.00962, algorithm 2, has the
/// decay in `u`, both corrections inside of the ratio, and any bounds of `‖p‖`. The clipping of the global norm that some
/// implementations add is [`clip_factor`](super::clip_factor).
///
/// ```
/// use gradus::reference::optim::{Lamb, Step};
///
/// let lamb = Lamb { lr: 0.5, betas: [0.0, 0.999], eps: 1e-15, ..Lamb::default() };
/// let (mut p, mut state) = ([3.0, 4.0], lamb.initial_state(2));
/// lamb.step(1, &[2], &mut p, &[1.0, 0.0], &mut state);
/// // Half the norm, 5, along the update.
/// assert!((p[0] - 0.5).abs() < 1e-12 && p[1] == 4.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lamb {
    /// Learning rate: the step's share of the parameter's norm; 1e-3 by default.
    pub lr: f64,
    /// Decay of the averages of the gradient and of its square; 0.9 and 0.999 by default.
    pub betas: [f64; 2],
    /// Added to the root, and to the update's norm; 1e-6 by default.
    pub eps: f64,
    /// Decoupled weight decay; 0 by default.
    pub weight_decay: f64,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for Lamb {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-6, weight_decay: 0.0, maximize: false }
    }
}

impl Step for Lamb {
    fn state_names(&self) -> Vec<&'static str> {
        vec!["exp_avg", "exp_avg_sq"]
    }

    fn step(&self, t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        let [beta1, beta2] = self.betas;
        let mut u = vec![0.0; p.len()];
        for (i, (u, &g)) in u.iter_mut().zip(g).enumerate() {
            let g = if self.maximize { -g } else { g };
            let m = beta1 * state[0][i] + (1.0 - beta1) * g;
            let v = beta2 * state[1][i] + (1.0 - beta2) * g * g;
            state[0][i] = m;
            state[1][i] = v;
            *u = m / (v.sqrt() + self.eps);
        }
        scale(1.0 - self.lr * self.weight_decay, p);
        let (of_p, of_u) = (norm(p), norm(&u));
        let of_p = if of_p > GREATEST { GREATEST } else { of_p };
        let ratio = if of_p == 0.0 || of_u == 0.0 { 1.0 } else { of_p / (of_u + self.eps) };
        axpy(-self.lr / bias_correction(beta1, t) * ratio, &u, p);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The step has `lr/bc1` times the norm of the parameter, 10 at most, whatever the gradient's.
    #[test]
    fn ratio() {
        let lamb = Lamb { lr: 0.25, betas: [0.5, 0.9], eps: 1e-15, maximize: true, ..Lamb::default() };
        for (size, expect) in [(1.0, 1.5), (5.0, 5.0)] {
            let start = [size, -2.0 * size, 2.0 * size];
            let (mut p, mut state) = (start, lamb.initial_state(3));
            lamb.step(1, &[3], &mut p, &[1e-3, 50.0, 0.0], &mut state);
            let moved: Vec<f64> = p.iter().zip(start).map(|(p, start)| p - start).collect();
            assert!((norm(&moved) - expect).abs() < 1e-12 && moved[1] > 0.0 && moved[2] == 0.0);
        }
    }

    /// A parameter of zeros moves by `(lr/bc1)·u`, and one without a gradient only decays.
    #[test]
    fn zeros() {
        let lamb = Lamb { lr: 0.25, betas: [0.5, 0.0], eps: 1e-6, weight_decay: 1.0, ..Lamb::default() };
        for (start, g, expect) in [(0.0, 4.0, -0.25), (8.0, 0.0, 6.0), (8.0, 1.0, 3.0)] {
            let (mut p, mut state) = ([start], lamb.initial_state(1));
            lamb.step(1, &[1], &mut p, &[g], &mut state);
            assert!((p[0] - expect).abs() < 1e-5, "{p:?}");
        }
    }
}
