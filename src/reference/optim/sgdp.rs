use super::{Step, check, projection};

/// SGDP: stochastic gradient descent that leaves alone the norm of scale-invariant weights.
///
/// With `b` the state `momentum`, zero at first:
///
/// - `b = momentum·b + (1 - dampening)·g`, in step 1 too, unlike [`Sgd`](super::Sgd)
/// - `d = g + momentum·b` with `nesterov`, else `d = b`
/// - `ratio`, `d` from [`projection`]; without `nesterov`, `b = d` after it
/// - `p *= 1 - lr·weight_decay·ratio/(1 - momentum)`
/// - `p -= lr·d`
///
/// That the projection reaches the stored momentum when `nesterov` is off, and only then, is what
/// the published code does: there `d` is the buffer itself.
///
/// Source: the `adamp` package 0.3.0; Heo et al., ICLR 2021, arXiv:2006.08217, algorithm 1.
///
/// ```
/// use gradus::reference::optim::{SgdP, Step};
///
/// // One channel, at a right angle to its gradient but not to what the momentum remembers.
/// let sgdp = SgdP { lr: 0.5, momentum: 0.5, eps: 0.0, ..SgdP::default() };
/// let (mut p, mut state) = ([2.0, 0.0], vec![vec![1.0, 1.0]]);
/// sgdp.step(2, &[1, 2], &mut p, &[0.0, 1.0], &mut state);
/// assert_eq!((p, &state[0][..]), ([2.0, -0.75], &[0.0, 1.5][..]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdP {
    /// Learning rate; 1e-3 by default.
    pub lr: f64,
    /// Share of the momentum buffer that is kept; 0 by default.
    pub momentum: f64,
    /// Share of the gradient withheld from the buffer; 0 by default.
    pub dampening: f64,
    /// Decoupled weight decay, which is also divided by `1 - momentum`; 0 by default.
    pub weight_decay: f64,
    /// Nesterov's momentum; off by default.
    pub nesterov: bool,
    /// Added to norms; 1e-8 by default.
    pub eps: f64,
    /// Cosine, times the root of the row's length, below which weights count as scale-invariant;
    /// 0.1 by default.
    pub delta: f64,
    /// Factor of the weight decay for scale-invariant weights; 0.1 by default.
    pub wd_ratio: f64,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for SgdP {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
            eps: 1e-8,
            delta: 0.1,
            wd_ratio: 0.1,
            maximize: false,
        }
    }
}

impl Step for SgdP {
    fn state_names(&self) -> Vec<&'static str> {
        vec!["momentum"]
    }

    fn step(&self, _t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        let b = &mut state[0];
        let mut d = vec![0.0; p.len()];
        for (i, (d, &g)) in d.iter_mut().zip(g).enumerate() {
            let g = if self.maximize { -g } else { g };
            b[i] = self.momentum * b[i] + (1.0 - self.dampening) * g;
            *d = if self.nesterov { g + self.momentum * b[i] } else { b[i] };
        }
        let ratio = projection(shape, p, g, &mut d, self.delta, self.wd_ratio, self.eps);
        if !self.nesterov {
            b.copy_from_slice(&d);
        }
        let decay = if self.weight_decay == 0.0 {
            0.0 // even if momentum is 1
        } else {
            self.lr * self.weight_decay * ratio / (1.0 - self.momentum)
        };
        for (p, d) in p.iter_mut().zip(d) {
            *p *= 1.0 - decay;
            *p -= self.lr * d;
        }
    }
}
