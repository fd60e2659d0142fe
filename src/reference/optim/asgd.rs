use super::{Step, check, coupled};

/// Averaged stochastic gradient descent.
///
/// With coupled decay, and `a` the state `ax`, the average of the parameter from step `t0` on:
///
/// - `eta = lr/(1 + lambd·lr·(t - 1))^alpha`
/// - `p *= 1 - lambd·eta`
/// - `p -= eta·g`, where `g` has the decay of `p` before it shrank
/// - `a += (p - a)/max(1, t - 1 - t0)`; `a = p` up to step `t0 + 2`
///
/// Source: `torch.optim.ASGD`; Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992; the
/// learning rate is that of Bottou's `sgd` 2.1.
///
/// ```
/// use gradus::reference::optim::{Asgd, Step};
///
/// let asgd = Asgd { lr: 1.0, lambd: 0.0, t0: 0.0, ..Asgd::default() };
/// let (mut p, mut state) = ([0.0], asgd.initial_state(1));
/// for t in 1..=5 {
///     asgd.step(t, &[1], &mut p, &[-1.0], &mut state);
/// }
/// // The average of 2, 3, 4 and 5.
/// assert_eq!((p, &state[0][..]), ([5.0], &[3.5][..]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asgd {
    /// Learning rate of the first step; 1e-2 by default.
    pub lr: f64,
    /// Decay of the parameter, and of the learning rate; 1e-4 by default.
    pub lambd: f64,
    /// Power of the learning rate's decay; 0.75 by default.
    pub alpha: f64,
    /// The step after which averaging begins; 1e6 by default.
    pub t0: f64,
    /// Coupled weight decay; 0 by default.
    pub weight_decay: f64,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for Asgd {
    fn default() -> Self {
        Self { lr: 1e-2, lambd: 1e-4, alpha: 0.75, t0: 1e6, weight_decay: 0.0, maximize: false }
    }
}

impl Step for Asgd {
    fn state_names(&self) -> Vec<&'static str> {
        vec!["ax"]
    }

    fn step(&self, t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        let before = t as f64 - 1.0;
        let eta = self.lr / (1.0 + self.lambd * self.lr * before).powf(self.alpha);
        let averaged = before - self.t0;
        for (i, (p, &g)) in p.iter_mut().zip(g).enumerate() {
            let g = coupled(g, *p, self.maximize, self.weight_decay);
            *p *= 1.0 - self.lambd * eta;
            *p -= eta * g;
            let a = &mut state[0][i];
            if averaged > 1.0 {
                *a += (*p - *a) / averaged;
            } else {
                *a = *p;
            }
        }
    }
}
