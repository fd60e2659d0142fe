use super::{Step, bias_correction, check, coupled};

/// diffGrad: Adam, slowed where the gradient hardly changes.
///
/// With coupled decay, `m` the state `exp_avg`, `v` the state `exp_avg_sq`, `q` the state
/// `previous_grad`, and `bc1`, `bc2` from [`bias_correction`]:
///
/// - `m = betas[0]·m + (1 - betas[0])·g`
/// - `v = betas[1]·v + (1 - betas[1])·g²`
/// - `ξ = 1/(1 + exp(-|q - g|))`, between 1/2 and 1; then `q = g`
/// - `p -= lr·√bc2/bc1 · m·ξ/(√v + eps)`
///
/// `q` is the gradient after the decay, and zero before step 1. `m` is kept without `ξ`. Unlike
/// Adam's, `eps` is not affected by the bias correction.
///
/// Source: `torch_optimizer.DiffGrad` 0.3.0; Dubey et al., IEEE TNNLS 2020, arXiv:1909.11015. The
/// first code published with the paper kept an alias of the gradient, not a copy, so that `ξ` stuck
/// at 1/2 after step 1; this is the corrected form.
///
/// ```
/// use gradus::reference::optim::{DiffGrad, Step};
///
/// let diffgrad = DiffGrad { lr: 1.0, eps: 0.0, ..DiffGrad::default() };
/// let (mut p, mut state) = ([0.0], diffgrad.initial_state(1));
/// diffgrad.step(1, &[1], &mut p, &[3.0], &mut state);
/// let xi = 1.0 / (1.0 + (-3.0f64).exp());
/// assert!((p[0] + xi).abs() < 1e-14);
/// assert_eq!(state[2], [3.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiffGrad {
    /// Learning rate; 1e-3 by default.
    pub lr: f64,
    /// Decay of the averages of the gradient and of its square; 0.9 and 0.999 by default.
    pub betas: [f64; 2],
    /// Added to the root; 1e-8 by default.
    pub eps: f64,
    /// Coupled weight decay; 0 by default.
    pub weight_decay: f64,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for DiffGrad {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0, maximize: false }
    }
}

impl Step for DiffGrad {
    fn state_names(&self) -> Vec<&'static str> {
        vec!["exp_avg", "exp_avg_sq", "previous_grad"]
    }

    fn step(&self, t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        let [beta1, beta2] = self.betas;
        let step_size = self.lr * bias_correction(beta2, t).sqrt() / bias_correction(beta1, t);
        for (i, (p, &g)) in p.iter_mut().zip(g).enumerate() {
            let g = coupled(g, *p, self.maximize, self.weight_decay);
            let m = beta1 * state[0][i] + (1.0 - beta1) * g;
            let v = beta2 * state[1][i] + (1.0 - beta2) * g * g;
            let xi = 1.0 / (1.0 + (-(state[2][i] - g).abs()).exp());
            state[0][i] = m;
            state[1][i] = v;
            state[2][i] = g;
            *p -= step_size * (m * xi) / (v.sqrt() + self.eps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ξ`, from the step taken, is 1/2 for an unchanged gradient and more for a changed one.
    #[test]
    fn friction_follows_the_change() {
        let diffgrad = DiffGrad { lr: 1.0, ..DiffGrad::default() };
        let second_step = |g: f64| {
            let (mut p, mut state) = ([0.0], diffgrad.initial_state(1));
            diffgrad.step(1, &[1], &mut p, &[2.0], &mut state);
            let before = p[0];
            diffgrad.step(2, &[1], &mut p, &[g], &mut state);
            let step = bias_correction(0.999, 2).sqrt() / bias_correction(0.9, 2);
            (before - p[0]) / (step * state[0][0] / state[1][0].sqrt())
        };
        assert!((second_step(2.0) - 0.5).abs() < 1e-6);
        assert!((second_step(3.0) - 1.0 / (1.0 + (-1f64).exp())).abs() < 1e-6);
    }
}
