use super::{Step, check, sign};

/// The exponentiated gradient: a multiplicative step, in which weights keep their sign.
///
/// `p *= exp(-lr·sign(p)·g)`. So `log |p|` descends along the gradient with respect to `|p|`, weights that are 0 stay so, and
/// the weights' distribution becomes log-normal. Beyond the range of numbers, infinity or 0.
///
/// Source: Cornford et al., "Brain-like learning with exponentiated gradients", 2024, and "Dale meets Langevin", 2025; Kivinen
/// and Warmuth, "Exponentiated gradient versus gradient descent for linear predictors", 1997, without normalization.
///
/// ```
/// use gradus::reference::optim::{ExponentiatedGradient, Step};
///
/// let step = ExponentiatedGradient { lr: 1.0, ..ExponentiatedGradient::default() };
/// let mut p = [1.0, -1.0, 0.0];
/// step.step(1, &[3], &mut p, &[2f64.ln(), 2f64.ln(), 5.0], &mut []);
/// // Both went down: the positive weight halved, the negative one doubled.
/// assert!((p[0] - 0.5).abs() < 1e-15 && (p[1] + 2.0).abs() < 1e-15 && p[2] == 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExponentiatedGradient {
    /// Learning rate; 1e-3 by default.
    pub lr: f64,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for ExponentiatedGradient {
    fn default() -> Self {
        Self { lr: 1e-3, maximize: false }
    }
}

impl Step for ExponentiatedGradient {
    fn state_names(&self) -> Vec<&'static str> {
        vec![]
    }

    fn step(&self, _t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        for (p, &g) in p.iter_mut().zip(g) {
            let g = if self.maximize { -g } else { g };
            *p *= (-self.lr * sign(*p) * g).exp();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of the same gradient add up in the exponent, up undoes down, and the sign of a weight stays.
    #[test]
    fn steps_compose() {
        let down = ExponentiatedGradient { lr: 0.1, maximize: false };
        let up = ExponentiatedGradient { lr: 0.3, maximize: true };
        let start = [2.0, -3.0, 1e-30, -1e30];
        let g = [4.0, -7.0, 20.0, 1.0];
        let mut p = start;
        for t in 1..=3 {
            down.step(t, &[4], &mut p, &g, &mut []);
            assert!(p.iter().zip(start).all(|(p, start)| p * start.signum() > 0.0));
        }
        up.step(4, &[4], &mut p, &g, &mut []);
        assert!(p.iter().zip(start).all(|(p, start)| (p / start - 1.0).abs() < 1e-14));
    }
}
