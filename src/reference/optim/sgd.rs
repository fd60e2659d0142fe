use super::{Step, check, coupled};

/// Stochastic gradient descent, with momentum.
///
/// With coupled decay, and `b` the state `momentum_buffer`, which exists if `momentum` is not 0:
///
/// - `b = g` in step 1, later `b = momentum·b + (1 - dampening)·g`
/// - `d = g + momentum·b` with `nesterov`, else `d = b`; without momentum, `d = g`
/// - `p -= lr·d`
///
/// Source: `torch.optim.SGD`; Sutskever, Martens, Dahl and Hinton, ICML 2013.
///
/// ```
/// use gradus::reference::optim::{Sgd, Step};
///
/// let mut p = [1.0];
/// Sgd { lr: 0.5, ..Sgd::default() }.step(1, &[1], &mut p, &[3.0], &mut []);
/// assert_eq!(p, [-0.5]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate; 1e-3 by default.
    pub lr: f64,
    /// Share of the momentum buffer that is kept; 0 by default, which is no momentum.
    pub momentum: f64,
    /// Share of the gradient withheld from the buffer, from step 2 on; 0 by default.
    pub dampening: f64,
    /// Coupled weight decay; 0 by default.
    pub weight_decay: f64,
    /// Nesterov's momentum; off by default, and without effect if `momentum` is 0.
    pub nesterov: bool,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { lr: 1e-3, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false, maximize: false }
    }
}

impl Step for Sgd {
    fn state_names(&self) -> Vec<&'static str> {
        if self.momentum == 0.0 { vec![] } else { vec!["momentum_buffer"] }
    }

    fn step(&self, t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        for (i, (p, &g)) in p.iter_mut().zip(g).enumerate() {
            let g = coupled(g, *p, self.maximize, self.weight_decay);
            let d = if self.momentum == 0.0 {
                g
            } else {
                let b = &mut state[0][i];
                *b = if t == 1 { g } else { self.momentum * *b + (1.0 - self.dampening) * g };
                if self.nesterov { g + self.momentum * *b } else { *b }
            };
            *p -= self.lr * d;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dampening spares the first step.
    #[test]
    fn first_step_fills_the_buffer() {
        let sgd = Sgd { lr: 1.0, momentum: 0.5, dampening: 0.25, maximize: true, ..Sgd::default() };
        let (mut p, mut state) = ([0.0], sgd.initial_state(1));
        sgd.step(1, &[1], &mut p, &[4.0], &mut state);
        assert_eq!((p, state[0][0]), ([4.0], -4.0));
        sgd.step(2, &[1], &mut p, &[4.0], &mut state);
        assert_eq!((p, state[0][0]), ([9.0], -5.0));
    }
}
