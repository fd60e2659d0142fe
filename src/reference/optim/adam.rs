use super::{Step, bias_correction, check, coupled};

/// Adam, and AMSGrad.
///
/// With coupled decay (decoupled if `decoupled`), `m` the state `exp_avg`, `v` the state
/// `exp_avg_sq`, and `bc1`, `bc2` from [`bias_correction`]:
///
/// - `m = betas[0]·m + (1 - betas[0])·g`
/// - `v = betas[1]·v + (1 - betas[1])·g²`
/// - `p -= (lr/bc1)·m/(√v/√bc2 + eps)`
///
/// With `amsgrad`, `w = max(w, v)` of the uncorrected `v` stands in the root, `w` the third state
/// `max_exp_avg_sq`. A NaN in `v` passes on to `w` and stays.
///
/// Source: `torch.optim.Adam`; Kingma and Ba, ICLR 2015, arXiv:1412.6980, algorithm 1; AMSGrad:
/// Reddi, Kale and Kumar, ICLR 2018, which leaves out the bias corrections.
///
/// ```
/// use gradus::reference::optim::{Adam, Step};
///
/// let adam = Adam::default();
/// let (mut p, mut state) = ([1.0, 1.0], adam.initial_state(2));
/// adam.step(1, &[2], &mut p, &[5.0, -0.1], &mut state);
/// // The first step is the learning rate, whatever the gradient's size.
/// assert!((p[0] - 0.999).abs() < 1e-9 && (p[1] - 1.001).abs() < 1e-9);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate; 1e-3 by default.
    pub lr: f64,
    /// Decay of the averages of the gradient and of its square; 0.9 and 0.999 by default.
    pub betas: [f64; 2],
    /// Added to the root, after its bias correction; 1e-8 by default.
    pub eps: f64,
    /// Weight decay, coupled unless `decoupled`; 0 by default.
    pub weight_decay: f64,
    /// Divide by the greatest `v` so far; off by default.
    pub amsgrad: bool,
    /// Ascend; off by default.
    pub maximize: bool,
    /// Decouple the weight decay, which makes this [`AdamW`]; off by default.
    pub decoupled: bool,
}

impl Default for Adam {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0, amsgrad: false, maximize: false, decoupled: false }
    }
}

impl Step for Adam {
    fn state_names(&self) -> Vec<&'static str> {
        if self.amsgrad { vec!["exp_avg", "exp_avg_sq", "max_exp_avg_sq"] } else { vec!["exp_avg", "exp_avg_sq"] }
    }

    fn step(&self, t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        let [beta1, beta2] = self.betas;
        let step_size = self.lr / bias_correction(beta1, t);
        let root_bc2 = bias_correction(beta2, t).sqrt();
        let decay = if self.decoupled { 0.0 } else { self.weight_decay };
        for (i, (p, &g)) in p.iter_mut().zip(g).enumerate() {
            if self.decoupled {
                *p *= 1.0 - self.lr * self.weight_decay;
            }
            let g = coupled(g, *p, self.maximize, decay);
            let m = beta1 * state[0][i] + (1.0 - beta1) * g;
            let v = beta2 * state[1][i] + (1.0 - beta2) * g * g;
            state[0][i] = m;
            state[1][i] = v;
            let in_root = if self.amsgrad {
                let w = &mut state[2][i];
                // Not `f64::max`, which would drop a NaN.
                if v > *w || v.is_nan() {
                    *w = v;
                }
                *w
            } else {
                v
            };
            *p -= step_size * m / (in_root.sqrt() / root_bc2 + self.eps);
        }
    }
}

/// Adam with decoupled weight decay.
///
/// `p *= 1 - lr·weight_decay`, then the step of [`Adam`] without decay; the states are the same.
///
/// Source: `torch.optim.AdamW`; Loshchilov and Hutter, ICLR 2019, arXiv:1711.05101, algorithm 2,
/// with the decay scaled by the learning rate.
///
/// ```
/// use gradus::reference::optim::{AdamW, Step};
///
/// let adamw = AdamW { lr: 0.5, weight_decay: 0.5, ..AdamW::default() };
/// let (mut p, mut state) = ([4.0], adamw.initial_state(1));
/// adamw.step(1, &[1], &mut p, &[0.0], &mut state);
/// assert_eq!(p, [3.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate; 1e-3 by default.
    pub lr: f64,
    /// Decay of the averages of the gradient and of its square; 0.9 and 0.999 by default.
    pub betas: [f64; 2],
    /// Added to the root, after its bias correction; 1e-8 by default.
    pub eps: f64,
    /// Decoupled weight decay; 1e-2 by default.
    pub weight_decay: f64,
    /// Divide by the greatest `v` so far; off by default.
    pub amsgrad: bool,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 1e-2, amsgrad: false, maximize: false }
    }
}

impl AdamW {
    fn adam(&self) -> Adam {
        Adam {
            lr: self.lr,
            betas: self.betas,
            eps: self.eps,
            weight_decay: self.weight_decay,
            amsgrad: self.amsgrad,
            maximize: self.maximize,
            decoupled: true,
        }
    }
}

impl Step for AdamW {
    fn state_names(&self) -> Vec<&'static str> {
        self.adam().state_names()
    }

    fn step(&self, t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        self.adam().step(t, shape, p, g, state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amsgrad_keeps_the_maximum_and_not_a_number() {
        let adam = Adam { amsgrad: true, ..Adam::default() };
        let (mut p, mut state) = ([0.0], adam.initial_state(1));
        adam.step(1, &[1], &mut p, &[10.0], &mut state);
        let first = state[2][0];
        adam.step(2, &[1], &mut p, &[0.0], &mut state);
        assert!(state[1][0] < first);
        assert_eq!(state[2][0], first);
        adam.step(3, &[1], &mut p, &[f64::NAN], &mut state);
        state[1][0] = 0.0;
        adam.step(4, &[1], &mut p, &[0.0], &mut state);
        assert!(state[2][0].is_nan());
    }
}
