use super::{Step, bias_correction, check};

/// What the two schedule-free optimizers share: the learning rate and the share of `z` in the average, by step.
///
/// With `lr_t = lr·min(1, t/warmup_steps)` and weights `w_t = t^r·(max of lr_1 … lr_t)^weight_lr_power`:
/// `[lr_t, w_t/(w_1 + … + w_t)]`, and 0 for the quotient where the sum is 0.
fn average(t: u64, lr: f64, warmup_steps: u64, r: f64, weight_lr_power: f64) -> [f64; 2] {
    let rate = |t: u64| if t < warmup_steps { lr * t as f64 / warmup_steps as f64 } else { lr };
    let weight = |t: u64| (t as f64).powf(r) * rate(t).powf(weight_lr_power);
    let sum: f64 = (1..=t).map(weight).sum();
    [rate(t), if sum == 0.0 { 0.0 } else { weight(t) / sum }]
}

/// From `y`, at which gradients are taken, to `x`, at which the model is evaluated: `y = (1 - momentum)·z + momentum·x`.
fn evaluated(momentum: f64, y: &[f64], z: &[f64]) -> Vec<f64> {
    y.iter().zip(z).map(|(y, z)| y + (1.0 - 1.0 / momentum) * (z - y)).collect()
}

/// Schedule-free stochastic gradient descent: averaging in the place of a learning-rate schedule.
///
/// With coupled decay, `y` the parameter, `z` the state `z`, which starts at the parameter, and
/// `lr_t = lr·min(1, t/warmup_steps)`:
///
/// - `c = w_t/(w_1 + … + w_t)`, with `w_t = t^r·lr_t^weight_lr_power`
/// - `y += c·(z - y) + lr_t·(momentum·(1 - c) - 1)·g`
/// - `z -= lr_t·g`
///
/// The model is evaluated at [`evaluated`](Self::evaluated), the average `x` of the `z`: `y = (1 - momentum)·z + momentum·x`.
///
/// Source: the authors' `schedulefree` package; Defazio et al., NeurIPS 2024, arXiv:2405.15682, equations 3 to 5 and 16.
///
/// ```
/// use gradus::reference::optim::{ScheduleFreeSgd, Step};
///
/// let sgd = ScheduleFreeSgd { lr: 0.5, ..ScheduleFreeSgd::default() };
/// let (mut y, mut state) = ([1.0], sgd.initial_state(1));
/// for t in 1..=400 {
///     let g = y;
///     sgd.step(t, &[1], &mut y, &g, &mut state);
/// }
/// assert!(sgd.evaluated(&y, &state)[0].abs() < 0.02);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScheduleFreeSgd {
    /// Learning rate; 1 by default.
    pub lr: f64,
    /// Share of the average in the point at which gradients are taken, above 0 and below 1; 0.9 by default.
    pub momentum: f64,
    /// Coupled weight decay; 0 by default.
    pub weight_decay: f64,
    /// The learning rate grows linearly over this many steps; 0 by default.
    pub warmup_steps: u64,
    /// Power of `t` in the weights of the average; 0 by default.
    pub r: f64,
    /// Power of the learning rate in the weights of the average; 2 by default.
    pub weight_lr_power: f64,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for ScheduleFreeSgd {
    fn default() -> Self {
        Self { lr: 1.0, momentum: 0.9, weight_decay: 0.0, warmup_steps: 0, r: 0.0, weight_lr_power: 2.0, maximize: false }
    }
}

impl ScheduleFreeSgd {
    /// The average `x` of a parameter `y` after a step; NaN if `momentum` is 0.
    ///
    /// # Panics
    ///
    /// If the state is not one tensor.
    pub fn evaluated(&self, y: &[f64], state: &[Vec<f64>]) -> Vec<f64> {
        evaluated(self.momentum, y, &state[0])
    }
}

impl Step for ScheduleFreeSgd {
    fn state_names(&self) -> Vec<&'static str> {
        vec!["z"]
    }

    fn step(&self, t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        let [lr, c] = average(t, self.lr, self.warmup_steps, self.r, self.weight_lr_power);
        for (i, (y, &g)) in p.iter_mut().zip(g).enumerate() {
            let g = super::coupled(g, *y, self.maximize, self.weight_decay);
            let z = &mut state[0][i];
            if t == 1 {
                *z = *y;
            }
            *y += c * (*z - *y) + lr * (self.momentum * (1.0 - c) - 1.0) * g;
            *z -= lr * g;
        }
    }
}

/// Schedule-free AdamW: averaging in the place of a learning-rate schedule and of Adam's first moment.
///
/// With `y` the parameter, `z` the state `z`, which starts at the parameter, `v` the state `exp_avg_sq`, `bc2` from
/// [`bias_correction`], and `lr_t = lr·min(1, t/warmup_steps)`:
///
/// - `v = betas[1]·v + (1 - betas[1])·g²`
/// - `u = g/(√v/√bc2 + eps) + weight_decay·y`
/// - `c = w_t/(w_1 + … + w_t)`, with `w_t = t^r·lr_t^weight_lr_power`
/// - `y += c·(z - y) + lr_t·(betas[0]·(1 - c) - 1)·u`
/// - `z -= lr_t·u`
///
/// The model is evaluated at [`evaluated`](Self::evaluated), the average `x` of the `z`: `y = (1 - betas[0])·z + betas[0]·x`.
///
/// Source: the authors' `schedulefree` package; Defazio et al., NeurIPS 2024, arXiv:2405.15682, algorithm 1, which has the root
/// of the bias correction in the learning rate.
///
/// ```
/// use gradus::reference::optim::{ScheduleFreeAdamW, Step};
///
/// let adamw = ScheduleFreeAdamW { lr: 0.1, ..ScheduleFreeAdamW::default() };
/// let (mut y, mut state) = ([1.0], adamw.initial_state(1));
/// for t in 1..=400 {
///     let g = y;
///     adamw.step(t, &[1], &mut y, &g, &mut state);
/// }
/// assert!(adamw.evaluated(&y, &state)[0].abs() < 0.05);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScheduleFreeAdamW {
    /// Learning rate; 2.5e-3 by default.
    pub lr: f64,
    /// Share of the average in the point at which gradients are taken, above 0 and below 1, and decay of the average of the
    /// gradient's square; 0.9 and 0.999 by default.
    pub betas: [f64; 2],
    /// Added to the root, after its bias correction; 1e-8 by default.
    pub eps: f64,
    /// Weight decay, at `y`, scaled by the learning rate as AdamW's; 0 by default.
    pub weight_decay: f64,
    /// The learning rate grows linearly over this many steps; 0 by default.
    pub warmup_steps: u64,
    /// Power of `t` in the weights of the average; 0 by default.
    pub r: f64,
    /// Power of the learning rate in the weights of the average; 2 by default.
    pub weight_lr_power: f64,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for ScheduleFreeAdamW {
    fn default() -> Self {
        Self {
            lr: 2.5e-3,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
            warmup_steps: 0,
            r: 0.0,
            weight_lr_power: 2.0,
            maximize: false,
        }
    }
}

impl ScheduleFreeAdamW {
    /// The average `x` of a parameter `y` after a step; NaN if `betas[0]` is 0.
    ///
    /// # Panics
    ///
    /// If there is no state tensor.
    pub fn evaluated(&self, y: &[f64], state: &[Vec<f64>]) -> Vec<f64> {
        evaluated(self.betas[0], y, &state[0])
    }
}

impl Step for ScheduleFreeAdamW {
    fn state_names(&self) -> Vec<&'static str> {
        vec!["z", "exp_avg_sq"]
    }

    fn step(&self, t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        let [beta1, beta2] = self.betas;
        let [lr, c] = average(t, self.lr, self.warmup_steps, self.r, self.weight_lr_power);
        let root_bc2 = bias_correction(beta2, t).sqrt();
        for (i, (y, &g)) in p.iter_mut().zip(g).enumerate() {
            let g = if self.maximize { -g } else { g };
            let v = beta2 * state[1][i] + (1.0 - beta2) * g * g;
            state[1][i] = v;
            let mut u = g / (v.sqrt() / root_bc2 + self.eps);
            if self.weight_decay != 0.0 {
                u += self.weight_decay * *y;
            }
            let z = &mut state[0][i];
            if t == 1 {
                *z = *y;
            }
            *y += c * (*z - *y) + lr * (beta1 * (1.0 - c) - 1.0) * u;
            *z -= lr * u;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x` is the weighted average of all `z` after the first, by the definition, with a warm-up and a power of `t`.
    #[test]
    fn average_of_z() {
        let sgd = ScheduleFreeSgd { lr: 0.3, warmup_steps: 4, r: 1.5, maximize: true, ..ScheduleFreeSgd::default() };
        let (mut y, mut state) = ([1.0], sgd.initial_state(1));
        let (mut sum, mut weights) = (0.0, 0.0);
        for t in 1..=12u64 {
            sgd.step(t, &[1], &mut y, &[(t as f64).sin()], &mut state);
            let w = (t as f64).powf(1.5) * (0.3 * (t as f64 / 4.0).min(1.0)).powi(2);
            sum += w * state[0][0];
            weights += w;
            assert!((sgd.evaluated(&y, &state)[0] - sum / weights).abs() < 1e-13, "{t}");
        }
        assert_eq!(average(3, 0.0, 0, 0.0, 2.0), [0.0, 0.0]);
    }
}
