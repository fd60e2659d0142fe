use super::{Step, bias_correction, check, coupled};

/// NAdam: Adam with Nesterov's momentum, whose coefficient warms up.
///
/// With coupled decay (decoupled if `decoupled_weight_decay`), `m` the state `exp_avg`, `v` the state
/// `exp_avg_sq`, `bc2` from [`bias_correction`], and `mu_t = betas[0]·(1 - 0.96^(t·momentum_decay)/2)`:
///
/// - `m = betas[0]·m + (1 - betas[0])·g`
/// - `v = betas[1]·v + (1 - betas[1])·g²`
/// - `u = (1 - mu_t)/(1 - mu_1·…·mu_t)·g + mu_(t+1)/(1 - mu_1·…·mu_(t+1))·m`
/// - `p -= lr·u/(√v/√bc2 + eps)`
///
/// Source: `torch.optim.NAdam`; Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016.
///
/// ```
/// use gradus::reference::optim::{NAdam, Step};
///
/// // Without momentum it is the gradient over its root mean square.
/// let nadam = NAdam { lr: 0.5, betas: [0.0, 0.999], ..NAdam::default() };
/// let (mut p, mut state) = ([1.0], nadam.initial_state(1));
/// nadam.step(1, &[1], &mut p, &[3.0], &mut state);
/// assert!((p[0] - 0.5).abs() < 1e-8);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NAdam {
    /// Learning rate; 2e-3 by default.
    pub lr: f64,
    /// Decay of the averages of the gradient and of its square; 0.9 and 0.999 by default.
    pub betas: [f64; 2],
    /// Added to the root, after its bias correction; 1e-8 by default.
    pub eps: f64,
    /// Weight decay, coupled unless `decoupled_weight_decay`; 0 by default.
    pub weight_decay: f64,
    /// How fast the momentum's coefficient grows from `betas[0]/2` to `betas[0]`; 4e-3 by default.
    pub momentum_decay: f64,
    /// Decouple the weight decay; off by default.
    pub decoupled_weight_decay: bool,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for NAdam {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
            momentum_decay: 4e-3,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

impl NAdam {
    /// `mu_t`.
    fn mu(&self, t: u64) -> f64 {
        self.betas[0] * (1.0 - 0.5 * 0.96f64.powf(t as f64 * self.momentum_decay))
    }

    /// What multiplies `g` and `m` in `u` of step number `t`: `[(1 - mu_t)/(1 - mu_1·…·mu_t), mu_(t+1)/(1 - mu_1·…·mu_(t+1))]`.
    ///
    /// ```
    /// use gradus::reference::optim::NAdam;
    ///
    /// // mu is betas[0]/2 throughout.
    /// let nadam = NAdam { betas: [0.5, 0.999], momentum_decay: 0.0, ..NAdam::default() };
    /// assert_eq!(nadam.shares(1), [1.0, 0.25 / (1.0 - 0.0625)]);
    /// ```
    pub fn shares(&self, t: u64) -> [f64; 2] {
        let mut product = 1.0;
        for i in 1..=t {
            product *= self.mu(i);
            if product == 0.0 {
                break; // and stays so
            }
        }
        let next = self.mu(t.saturating_add(1));
        [(1.0 - self.mu(t)) / (1.0 - product), next / (1.0 - product * next)]
    }
}

impl Step for NAdam {
    fn state_names(&self) -> Vec<&'static str> {
        vec!["exp_avg", "exp_avg_sq"]
    }

    fn step(&self, t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        let [beta1, beta2] = self.betas;
        let root_bc2 = bias_correction(beta2, t).sqrt();
        let [of_g, of_m] = self.shares(t);
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
            *p -= self.lr * (of_g * g + of_m * m) / (v.sqrt() / root_bc2 + self.eps);
        }
    }
}
