use super::{Step, bias_correction, check};

/// Adan: adaptive Nesterov momentum, from the change of the gradient.
///
/// With `m` the state `exp_avg`, `v` the state `exp_avg_diff`, `n` the state `exp_avg_sq`, `q` the state
/// `neg_pre_grad`, and `bc1`, `bc2`, `bc3` from [`bias_correction`]:
///
/// - `d = g + q`, in step 1 zero; then `q = -g`
/// - `m = betas[0]·m + (1 - betas[0])·g`
/// - `v = betas[1]·v + (1 - betas[1])·d`
/// - `n = betas[2]·n + (1 - betas[2])·(g + betas[1]·d)²`
/// - `u = lr·(m/bc1 + betas[1]·v/bc2)/(√n/√bc3 + eps)`
/// - `p = (p - u)/(1 + lr·weight_decay)`; with `no_prox`, `p = (1 - lr·weight_decay)·p - u`
///
/// Source: the authors' code (`sail-sg/Adan`), whose `betas` are 1 minus those of the paper: Xie, Zhou, Li, Lin and Yan, IEEE
/// TPAMI 2024, arXiv:2208.06677, algorithm 1. Its clipping of the global norm is [`clip_factor`](super::clip_factor).
///
/// ```
/// use gradus::reference::optim::{Adan, Step};
///
/// let adan = Adan { lr: 0.5, weight_decay: 1.0, eps: 0.0, ..Adan::default() };
/// let (mut p, mut state) = ([2.0], adan.initial_state(1));
/// adan.step(1, &[1], &mut p, &[3.0], &mut state);
/// assert!((p[0] - 1.0).abs() < 1e-14 && state[3] == [-3.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adan {
    /// Learning rate; 1e-3 by default.
    pub lr: f64,
    /// Decay of the averages of the gradient, of its change, and of the square; 0.98, 0.92 and 0.99 by default.
    pub betas: [f64; 3],
    /// Added to the root, after its bias correction; 1e-8 by default.
    pub eps: f64,
    /// Weight decay, which divides after the step; 0 by default.
    pub weight_decay: f64,
    /// Decouple the weight decay as AdamW does, before the step; off by default.
    pub no_prox: bool,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for Adan {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.98, 0.92, 0.99], eps: 1e-8, weight_decay: 0.0, no_prox: false, maximize: false }
    }
}

impl Step for Adan {
    fn state_names(&self) -> Vec<&'static str> {
        vec!["exp_avg", "exp_avg_diff", "exp_avg_sq", "neg_pre_grad"]
    }

    fn step(&self, t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        let [beta1, beta2, beta3] = self.betas;
        let of_m = self.lr / bias_correction(beta1, t);
        let of_v = self.lr * beta2 / bias_correction(beta2, t);
        let root_bc3 = bias_correction(beta3, t).sqrt();
        let decay = self.lr * self.weight_decay;
        for (i, (p, &g)) in p.iter_mut().zip(g).enumerate() {
            let g = if self.maximize { -g } else { g };
            let d = if t == 1 { 0.0 } else { g + state[3][i] };
            let look_ahead = g + beta2 * d;
            let m = beta1 * state[0][i] + (1.0 - beta1) * g;
            let v = beta2 * state[1][i] + (1.0 - beta2) * d;
            let n = beta3 * state[2][i] + (1.0 - beta3) * look_ahead * look_ahead;
            state[0][i] = m;
            state[1][i] = v;
            state[2][i] = n;
            state[3][i] = -g;
            let u = (of_m * m + of_v * v) / (n.sqrt() / root_bc3 + self.eps);
            *p = if self.no_prox { (1.0 - decay) * *p - u } else { (*p - u) / (1.0 + decay) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps by hand, with all betas 1/2: the first has no change of the gradient, the second one of -2.
    #[test]
    fn change_of_the_gradient() {
        let adan = Adan { lr: 1.0, betas: [0.5; 3], eps: 0.0, ..Adan::default() };
        let (mut p, mut state) = ([0.0], adan.initial_state(1));
        adan.step(1, &[1], &mut p, &[4.0], &mut state);
        assert_eq!((p[0], &state[..]), (-1.0, &[vec![2.0], vec![0.0], vec![8.0], vec![-4.0]][..]));
        adan.step(2, &[1], &mut p, &[2.0], &mut state);
        assert_eq!(&state[..], [[2.0], [-1.0], [4.5], [-2.0]]);
        // (2/0.75 - 0.5/0.75)/√(4.5/0.75)
        assert!((p[0] + 1.0 + 2.0 / 6f64.sqrt()).abs() < 1e-15);
        let mut decayed = [3.0];
        let adan = Adan { weight_decay: 0.5, no_prox: true, ..adan };
        adan.step(1, &[1], &mut decayed, &[4.0], &mut adan.initial_state(1));
        assert_eq!(decayed, [0.5]);
    }
}
