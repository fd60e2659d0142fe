use super::super::vector::norm;
use super::check;

/// Momentum that a product with the Hessian carries along to where the parameter is now.
///
/// `p` stands for all parameters as one vector, since a normalized step divides by the norm of all. With `d` the state
/// `momentum_buffer` and `s` the state `displacement`, by which the last step moved `p`:
///
/// - `d = g` in step 1, later `d = momentum·(d + h) + (1 - momentum)·g`, where `h` is the caller's product of `s` with a
///   Hessian at a point between the parameter before the last step and now, uniform at random: `p - c·s` with `c` in [0, 1]
/// - `s = -lr·d/‖d‖` if `normalized`, and zero for a zero `d`; else `s = -lr·d`
/// - `p += s`
///
/// Without noise, on a quadratic function, `d` is the gradient in each step: `h` is just how the gradient changed.
///
/// Source: Fatkhullin, Barakat, Kireeva and He, "Stochastic policy gradient methods: improved sample complexity for
/// Fisher-non-degenerate policies", ICML 2023, arXiv:2302.01734, algorithm N-HARPG, where `momentum` is `1 - η` and `lr` is γ;
/// both vary with the step there.
///
/// ```
/// use gradus::reference::optim::HessianMomentum;
///
/// // The function p², whose Hessian is 2, from 3: a normalized step has the length lr.
/// let step = HessianMomentum { lr: 0.5, ..HessianMomentum::default() };
/// let (mut p, mut state) = ([3.0], step.initial_state(1));
/// for t in 1..=4 {
///     let (g, h) = ([2.0 * p[0]], [2.0 * state[1][0]]);
///     step.step(t, &mut p, &g, &h, &mut state);
/// }
/// assert!((p[0] - 1.0).abs() < 1e-15 && (state[0][0] - 3.0).abs() < 1e-14);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HessianMomentum {
    /// Learning rate, the length of a normalized step; 1e-3 by default.
    pub lr: f64,
    /// Share of the momentum that is kept; 0.9 by default.
    pub momentum: f64,
    /// Divide the step by the norm of the momentum; on by default.
    pub normalized: bool,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for HessianMomentum {
    fn default() -> Self {
        Self { lr: 1e-3, momentum: 0.9, normalized: true, maximize: false }
    }
}

impl HessianMomentum {
    /// The names of the state tensors.
    pub fn state_names(&self) -> Vec<&'static str> {
        vec!["momentum_buffer", "displacement"]
    }

    /// Zeros: the state before the first step of parameters of `n` elements in all.
    pub fn initial_state(&self, n: usize) -> Vec<Vec<f64>> {
        vec![vec![0.0; n]; 2]
    }

    /// Step number `t`, from 1, on all parameters; `product` is `h`, which step 1 does not look at.
    ///
    /// # Panics
    ///
    /// If `g`, `product` or a state tensor has not as many elements as `p`, or if there are not two state tensors.
    pub fn step(&self, t: u64, p: &mut [f64], g: &[f64], product: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), &[p.len()], p, g, state);
        assert_eq!(product.len(), p.len(), "the product's length is not the parameters'");
        let sign = if self.maximize { -1.0 } else { 1.0 };
        for (d, (g, h)) in state[0].iter_mut().zip(g.iter().zip(product)) {
            let (g, h) = (sign * g, sign * h);
            *d = if t == 1 { g } else { self.momentum * (*d + h) + (1.0 - self.momentum) * g };
        }
        let length = if self.normalized { norm(&state[0]) } else { 1.0 };
        let step_size = if length == 0.0 { 0.0 } else { self.lr / length };
        for (i, p) in p.iter_mut().enumerate() {
            state[1][i] = -step_size * state[0][i];
            *p += state[1][i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On ½ pᵀHp the momentum is the gradient in every step, exact gradients given, and so the path is that of gradient
    /// descent; and its error, where the gradients have one, is the momentum's share of the last.
    #[test]
    fn quadratic() {
        let hessian = [[3.0, 1.0], [1.0, 2.0]];
        let times = |x: &[f64]| hessian.map(|row| row[0] * x[0] + row[1] * x[1]);
        for maximize in [false, true] {
            let step = HessianMomentum { lr: 0.1, momentum: 0.75, normalized: false, maximize };
            let sign = if maximize { -1.0 } else { 1.0 };
            let (mut p, mut state) = ([1.0, -2.0], step.initial_state(2));
            let mut descent = p;
            let error = [0.5, -0.25];
            for t in 1..=6 {
                let (g, h) = (times(&p).map(|g| sign * g), times(&state[1]).map(|h| sign * h));
                step.step(t, &mut p, &g, &h, &mut state);
                let exact = times(&descent);
                for i in 0..2 {
                    assert!((state[0][i] - exact[i]).abs() < 1e-14);
                    descent[i] -= 0.1 * exact[i];
                }
            }
            // a first gradient that is wrong by `error`, then exact ones
            let (mut p, mut state) = ([1.0, -2.0], step.initial_state(2));
            for t in 1..=4 {
                let before = times(&p);
                let (mut g, h) = (before.map(|g| sign * g), times(&state[1]).map(|h| sign * h));
                if t == 1 {
                    g = [g[0] + sign * error[0], g[1] + sign * error[1]];
                }
                step.step(t, &mut p, &g, &h, &mut state);
                for i in 0..2 {
                    assert!((state[0][i] - before[i] - error[i] * 0.75f64.powi(t as i32 - 1)).abs() < 1e-14);
                }
            }
        }
        let (mut p, mut state) = ([1.0], HessianMomentum::default().initial_state(1));
        HessianMomentum::default().step(1, &mut p, &[0.0], &[7.0], &mut state);
        assert_eq!((p, state), ([1.0], vec![vec![0.0]; 2]));
    }
}
