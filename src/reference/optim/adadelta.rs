use super::{Step, check, coupled};

/// Adadelta.
///
/// With coupled decay, `s` the state `square_avg` and `u` the state `acc_delta`:
///
/// - `s = rho·s + (1 - rho)·g²`
/// - `d = √(u + eps)/√(s + eps)·g`
/// - `u = rho·u + (1 - rho)·d²`
/// - `p -= lr·d`
///
/// Source: `torch.optim.Adadelta`; Zeiler, arXiv:1212.5701, algorithm 1, which has no `lr`.
///
/// ```
/// use gradus::reference::optim::{Adadelta, Step};
///
/// let adadelta = Adadelta { rho: 0.0, eps: 1.0, ..Adadelta::default() };
/// let (mut p, mut state) = ([1.0], adadelta.initial_state(1));
/// adadelta.step(1, &[1], &mut p, &[0.75], &mut state);
/// assert!((p[0] - (1.0 - 0.75 / 1.25)).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adadelta {
    /// Learning rate; 1 by default.
    pub lr: f64,
    /// Decay of both running averages; 0.9 by default.
    pub rho: f64,
    /// Added under both roots; 1e-6 by default.
    pub eps: f64,
    /// Coupled weight decay; 0 by default.
    pub weight_decay: f64,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for Adadelta {
    fn default() -> Self {
        Self { lr: 1.0, rho: 0.9, eps: 1e-6, weight_decay: 0.0, maximize: false }
    }
}

impl Step for Adadelta {
    fn state_names(&self) -> Vec<&'static str> {
        vec!["square_avg", "acc_delta"]
    }

    fn step(&self, _t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        for (i, (p, &g)) in p.iter_mut().zip(g).enumerate() {
            let g = coupled(g, *p, self.maximize, self.weight_decay);
            let s = self.rho * state[0][i] + (1.0 - self.rho) * g * g;
            let u = state[1][i];
            let d = (u + self.eps).sqrt() / (s + self.eps).sqrt() * g;
            state[0][i] = s;
            state[1][i] = self.rho * u + (1.0 - self.rho) * d * d;
            *p -= self.lr * d;
        }
    }
}
