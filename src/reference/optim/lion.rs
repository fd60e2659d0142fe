use super::{Step, check, sign};

/// Lion: the sign of an interpolation between momentum and gradient.
///
/// With decoupled decay, and `m` the state `exp_avg`:
///
/// - `u = sign(betas[0]·m + (1 - betas[0])·g)`; the sign of 0 is 0, that of NaN is NaN
/// - `p *= 1 - lr·weight_decay`
/// - `p -= lr·u`
/// - `m = betas[1]·m + (1 - betas[1])·g`
///
/// Source: Chen et al., NeurIPS 2023, arXiv:2302.06675, algorithm 2, and the authors' code (`google/automl`).
///
/// ```
/// use gradus::reference::optim::{Lion, Step};
///
/// let lion = Lion { lr: 0.5, ..Lion::default() };
/// let (mut p, mut state) = ([1.0, 1.0, 1.0], lion.initial_state(3));
/// lion.step(1, &[3], &mut p, &[1e-9, -7.0, 0.0], &mut state);
/// assert_eq!(p, [0.5, 1.5, 1.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lion {
    /// Learning rate; 1e-4 by default.
    pub lr: f64,
    /// Share of the momentum in the update, and share of it that is kept; 0.9 and 0.99 by default.
    pub betas: [f64; 2],
    /// Decoupled weight decay; 0 by default.
    pub weight_decay: f64,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for Lion {
    fn default() -> Self {
        Self { lr: 1e-4, betas: [0.9, 0.99], weight_decay: 0.0, maximize: false }
    }
}

impl Step for Lion {
    fn state_names(&self) -> Vec<&'static str> {
        vec!["exp_avg"]
    }

    fn step(&self, _t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        let [beta1, beta2] = self.betas;
        for (i, (p, &g)) in p.iter_mut().zip(g).enumerate() {
            let g = if self.maximize { -g } else { g };
            let m = &mut state[0][i];
            let u = sign(beta1 * *m + (1.0 - beta1) * g);
            *p *= 1.0 - self.lr * self.weight_decay;
            *p -= self.lr * u;
            *m = beta2 * *m + (1.0 - beta2) * g;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The update follows `betas[0]`, the momentum `betas[1]`: with 0 and 1/2, the steps have the gradients' signs
    /// and the momentum is a geometric sum.
    #[test]
    fn two_betas() {
        let lion = Lion { lr: 1.0, betas: [0.0, 0.5], maximize: true, ..Lion::default() };
        let (mut p, mut state) = ([0.0], lion.initial_state(1));
        for (t, g, expect, momentum) in [(1, 8.0, 1.0, -4.0), (2, -2.0, 0.0, -1.0), (3, 1.0, 1.0, -1.0), (4, f64::NAN, f64::NAN, f64::NAN)]
        {
            lion.step(t, &[1], &mut p, &[g], &mut state);
            assert_eq!(
                (p[0].to_bits() << 1, state[0][0].to_bits() << 1),
                (expect.to_bits() << 1, f64::to_bits(momentum) << 1),
                "{t}: {p:?} {state:?}"
            );
        }
    }
}
