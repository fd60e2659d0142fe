use super::{Step, bias_correction, check, coupled};

/// RAdam: Adam that waits for its second moment to be worth something.
///
/// With coupled decay (decoupled if `decoupled_weight_decay`), `m` the state `exp_avg`, `v` the state
/// `exp_avg_sq`, and `bc1`, `bc2` from [`bias_correction`]:
///
/// - `m = betas[0]·m + (1 - betas[0])·g`
/// - `v = betas[1]·v + (1 - betas[1])·g²`
/// - `rho = rho_inf - 2·t·betas[1]^t/bc2`, with `rho_inf = 2/(1 - betas[1]) - 1`: the number of gradients that `v` averages
/// - if `rho > 5`: `p -= (lr/bc1)·r·m·√bc2/(√v + eps)`, with
///   `r² = (rho - 4)(rho - 2)·rho_inf/((rho_inf - 4)(rho_inf - 2)·rho)`
/// - else `p -= (lr/bc1)·m`
///
/// Unlike Adam's, `eps` is not affected by the bias correction. With `betas[1]` of 2/3 or less, `rho` is never above 5.
///
/// Source: `torch.optim.RAdam`; Liu et al., ICLR 2020, arXiv:1908.03265, algorithm 2, which has 4 in the place of 5.
///
/// ```
/// use gradus::reference::optim::{RAdam, Step};
///
/// let radam = RAdam { lr: 0.5, ..RAdam::default() };
/// let (mut p, mut state) = ([1.0], radam.initial_state(1));
/// radam.step(1, &[1], &mut p, &[3.0], &mut state);
/// // The first steps are those of gradient descent with momentum.
/// assert!((p[0] + 0.5).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RAdam {
    /// Learning rate; 1e-3 by default.
    pub lr: f64,
    /// Decay of the averages of the gradient and of its square; 0.9 and 0.999 by default.
    pub betas: [f64; 2],
    /// Added to the root; 1e-8 by default.
    pub eps: f64,
    /// Weight decay, coupled unless `decoupled_weight_decay`; 0 by default.
    pub weight_decay: f64,
    /// Decouple the weight decay; off by default.
    pub decoupled_weight_decay: bool,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for RAdam {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0, decoupled_weight_decay: false, maximize: false }
    }
}

impl RAdam {
    /// The factor `r·√bc2` of the adaptive step number `t`; none while the step is not adaptive.
    ///
    /// ```
    /// use gradus::reference::optim::RAdam;
    ///
    /// assert_eq!(RAdam::default().rectification(5), None);
    /// assert!(RAdam::default().rectification(6).is_some());
    /// ```
    pub fn rectification(&self, t: u64) -> Option<f64> {
        let bc2 = bias_correction(self.betas[1], t);
        let rho_inf = 2.0 / (1.0 - self.betas[1]) - 1.0;
        // betas[1]^t, the rest of the bias correction
        let rho = rho_inf - 2.0 * t as f64 * (1.0 - bc2) / bc2;
        let square = (rho - 4.0) * (rho - 2.0) * rho_inf / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho);
        (rho > 5.0).then(|| square.sqrt() * bc2.sqrt())
    }
}

impl Step for RAdam {
    fn state_names(&self) -> Vec<&'static str> {
        vec!["exp_avg", "exp_avg_sq"]
    }

    fn step(&self, t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        let [beta1, beta2] = self.betas;
        let step_size = self.lr / bias_correction(beta1, t);
        let rectification = self.rectification(t);
        let decay = if self.decoupled_weight_decay { 0.0 } else { self.weight_decay };
        for (i, (p, &g)) in p.iter_mut().zip(g).enumerate() {
            if self.decoupled_weight_decay {
                *p *= 1.0 - self.lr * self.weight_decay;
            }
            let g = coupled(g, *p, self.maximize, decay);
            let m = beta1 * state[0][i] + (1.0 - beta1) * g;
            let v = beta2 * state[1][i] + (1.0 - beta2) * g * g;
            state[0][i] = m;
            state[1][i] = v;
            *p -= match rectification {
                Some(r) => step_size * m * r / (v.sqrt() + self.eps),
                None => step_size * m,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `r` rises to 1, where the step is Adam's with its `eps` outside of the bias correction.
    #[test]
    fn ends_as_adam() {
        let radam = RAdam::default();
        let r = |t: u64| radam.rectification(t).unwrap() / bias_correction(0.999, t).sqrt();
        assert!(r(6) < r(7) && r(7) < r(100) && (r(100_000) - 1.0).abs() < 1e-12);
        assert_eq!(RAdam { betas: [0.9, 0.66], ..radam }.rectification(1_000_000), None);
    }
}
