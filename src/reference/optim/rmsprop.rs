use super::{Step, check, coupled};

/// RMSProp, plain or centered, with or without momentum.
///
/// With coupled decay, `s` the state `square_avg`, `b` the state `momentum_buffer` (if `momentum` is
/// above 0) and `a` the state `grad_avg` (if `centered`), in that order:
///
/// - `s = alpha·s + (1 - alpha)·g²`
/// - `v = s`; if centered, `a += (1 - alpha)·(g - a)` and `v = s - a²`
/// - `d = g/(√v + eps)`
/// - `p -= lr·d`; with momentum, `b = momentum·b + d` and `p -= lr·b`
///
/// `s - a²` is not negative but for rounding, which can take it below 0 where the gradient hardly
/// varies for many times `1/(1 - alpha)` steps; the result is NaN then, as it is in PyTorch.
///
/// Source: `torch.optim.RMSprop`; Tieleman and Hinton, "Neural networks for machine learning",
/// lecture 6.5, 2012; centered: Graves, arXiv:1308.0850.
///
/// ```
/// use gradus::reference::optim::{RmsProp, Step};
///
/// let rmsprop = RmsProp { alpha: 0.75, eps: 0.0, ..RmsProp::default() };
/// let (mut p, mut state) = ([1.0], rmsprop.initial_state(1));
/// rmsprop.step(1, &[1], &mut p, &[3.0], &mut state);
/// assert_eq!(p, [1.0 - 0.01 * 3.0 / 1.5]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    /// Learning rate; 1e-2 by default.
    pub lr: f64,
    /// Decay of the running averages; 0.99 by default.
    pub alpha: f64,
    /// Added to the root; 1e-8 by default.
    pub eps: f64,
    /// Coupled weight decay; 0 by default.
    pub weight_decay: f64,
    /// Share of the momentum buffer that is kept; 0 by default, which is no momentum.
    pub momentum: f64,
    /// Divide by an estimate of the standard deviation, not of the root mean square; off by default.
    pub centered: bool,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for RmsProp {
    fn default() -> Self {
        Self { lr: 1e-2, alpha: 0.99, eps: 1e-8, weight_decay: 0.0, momentum: 0.0, centered: false, maximize: false }
    }
}

impl Step for RmsProp {
    fn state_names(&self) -> Vec<&'static str> {
        let mut names = vec!["square_avg"];
        if self.momentum > 0.0 {
            names.push("momentum_buffer");
        }
        if self.centered {
            names.push("grad_avg");
        }
        names
    }

    fn step(&self, _t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        let grad_avg = if self.momentum > 0.0 { 2 } else { 1 };
        for (i, (p, &g)) in p.iter_mut().zip(g).enumerate() {
            let g = coupled(g, *p, self.maximize, self.weight_decay);
            let s = self.alpha * state[0][i] + (1.0 - self.alpha) * g * g;
            state[0][i] = s;
            let v = if self.centered {
                let a = &mut state[grad_avg][i];
                *a += (1.0 - self.alpha) * (g - *a);
                s - *a * *a
            } else {
                s
            };
            let d = g / (v.sqrt() + self.eps);
            if self.momentum > 0.0 {
                let b = &mut state[1][i];
                *b = self.momentum * *b + d;
                *p -= self.lr * *b;
            } else {
                *p -= self.lr * d;
            }
        }
    }
}
