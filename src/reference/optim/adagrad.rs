use super::{Step, check, coupled};

/// Adagrad.
///
/// With coupled decay, and `s` the state `sum`, which starts at `initial_accumulator_value`:
///
/// - `s += g²`
/// - `p -= lr/(1 + (t - 1)·lr_decay) · g/(√s + eps)`
///
/// Source: `torch.optim.Adagrad`; Duchi, Hazan and Singer, JMLR 12, 2011.
///
/// ```
/// use gradus::reference::optim::{Adagrad, Step};
///
/// let adagrad = Adagrad { initial_accumulator_value: 7.0, eps: 0.0, ..Adagrad::default() };
/// let (mut p, mut state) = ([1.0], adagrad.initial_state(1));
/// adagrad.step(1, &[1], &mut p, &[3.0], &mut state);
/// assert_eq!(state, [[16.0]]);
/// assert_eq!(p, [1.0 - 0.01 * 3.0 / 4.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adagrad {
    /// Learning rate; 1e-2 by default.
    pub lr: f64,
    /// Decay of the learning rate with the step count; 0 by default.
    pub lr_decay: f64,
    /// Coupled weight decay; 0 by default.
    pub weight_decay: f64,
    /// Start of the sum of squares; 0 by default.
    pub initial_accumulator_value: f64,
    /// Added to the root; 1e-10 by default.
    pub eps: f64,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for Adagrad {
    fn default() -> Self {
        Self { lr: 1e-2, lr_decay: 0.0, weight_decay: 0.0, initial_accumulator_value: 0.0, eps: 1e-10, maximize: false }
    }
}

impl Step for Adagrad {
    fn state_names(&self) -> Vec<&'static str> {
        vec!["sum"]
    }

    fn initial_state(&self, n: usize) -> Vec<Vec<f64>> {
        vec![vec![self.initial_accumulator_value; n]]
    }

    fn step(&self, t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        let lr = self.lr / (1.0 + (t as f64 - 1.0) * self.lr_decay);
        for ((p, &g), s) in p.iter_mut().zip(g).zip(&mut state[0]) {
            let g = coupled(g, *p, self.maximize, self.weight_decay);
            *s += g * g;
            *p -= lr * g / (s.sqrt() + self.eps);
        }
    }
}
