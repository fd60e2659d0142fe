use super::{Step, bias_correction, check, coupled};

/// Adamax: Adam with the greatest gradient so far, which fades, in the place of the root mean square.
///
/// With coupled decay, `m` the state `exp_avg`, `u` the state `exp_inf`, and `bc1` from [`bias_correction`]:
///
/// - `m = betas[0]·m + (1 - betas[0])·g`
/// - `u = max(betas[1]·u, |g| + eps)`; a NaN stays
/// - `p -= (lr/bc1)·m/u`
///
/// Source: `torch.optim.Adamax`; Kingma and Ba, ICLR 2015, arXiv:1412.6980, algorithm 2, which has no `eps`.
///
/// ```
/// use gradus::reference::optim::{Adamax, Step};
///
/// let adamax = Adamax { lr: 0.5, eps: 0.0, ..Adamax::default() };
/// let (mut p, mut state) = ([1.0], adamax.initial_state(1));
/// adamax.step(1, &[1], &mut p, &[-3.0], &mut state);
/// assert!((p[0] - 1.5).abs() < 1e-15 && state[1] == [3.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adamax {
    /// Learning rate; 2e-3 by default.
    pub lr: f64,
    /// Decay of the average of the gradient and of its maximum; 0.9 and 0.999 by default.
    pub betas: [f64; 2],
    /// Added to the gradient's magnitude; 1e-8 by default.
    pub eps: f64,
    /// Coupled weight decay; 0 by default.
    pub weight_decay: f64,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for Adamax {
    fn default() -> Self {
        Self { lr: 2e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0, maximize: false }
    }
}

impl Step for Adamax {
    fn state_names(&self) -> Vec<&'static str> {
        vec!["exp_avg", "exp_inf"]
    }

    fn step(&self, t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        let [beta1, beta2] = self.betas;
        let step_size = self.lr / bias_correction(beta1, t);
        for (i, (p, &g)) in p.iter_mut().zip(g).enumerate() {
            let g = coupled(g, *p, self.maximize, self.weight_decay);
            let m = beta1 * state[0][i] + (1.0 - beta1) * g;
            let faded = beta2 * state[1][i];
            let now = g.abs() + self.eps;
            // Not `f64::max`, which would drop a NaN.
            let u = if now > faded || now.is_nan() { now } else { faded };
            state[0][i] = m;
            state[1][i] = u;
            *p -= step_size * m / u;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The maximum fades by `betas[1]` a step until a gradient exceeds it, and keeps a NaN.
    #[test]
    fn maximum_fades() {
        let adamax = Adamax { betas: [0.0, 0.5], eps: 1.0, ..Adamax::default() };
        let (mut p, mut state) = ([0.0], adamax.initial_state(1));
        for (t, g, expect) in [(1, 7.0, 8.0), (2, 0.0, 4.0), (3, -3.5, 4.5), (4, 0.0, 2.25)] {
            adamax.step(t, &[1], &mut p, &[g], &mut state);
            assert_eq!(state[1], [expect]);
        }
        adamax.step(5, &[1], &mut p, &[f64::NAN], &mut state);
        adamax.step(6, &[1], &mut p, &[1.0], &mut state);
        assert!(state[1][0].is_nan());
    }
}
