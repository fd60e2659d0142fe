use super::check;

/// Sophia: momentum over the diagonal of the Hessian, clipped.
///
/// `d` is an estimate of the diagonal, made anew every few steps (10 in the paper). With decoupled decay, `m` the state
/// `exp_avg` and `h` the state `hessian`:
///
/// - `m = betas[0]·m + (1 - betas[0])·g`
/// - with a diagonal, `h = betas[1]·h + (1 - betas[1])·d`
/// - `p *= 1 - lr·weight_decay`
/// - `p -= lr·u`, with `u = m/max(rho·h, eps)` kept between -1 and 1
///
/// Where `h` is negative, as estimates by products with random vectors may be, the step is that of the sign of `m`.
/// `maximize` negates `g` and `d`.
///
/// Source: Liu et al., ICLR 2024, arXiv:2305.14342, algorithm 3, where `rho` is γ; the defaults are of the authors' `SophiaG`
/// (`Liuhong99/Sophia`), which adds `eps` where the paper has the maximum. Its diagonal is that of Gauss, Newton and Bartlett,
/// the size of the batch times the square of the gradient with labels drawn from the model, and is never negative.
///
/// ```
/// use gradus::reference::optim::Sophia;
///
/// let sophia = Sophia { lr: 0.5, betas: [0.0; 2], rho: 1.0, weight_decay: 0.0, ..Sophia::default() };
/// let (mut p, mut state) = ([0.0; 3], sophia.initial_state(3));
/// sophia.step(&[3], &mut p, &[2.0, 2.0, 2.0], Some(&[4.0, 1.0, -1.0]), &mut state);
/// assert_eq!(p, [-0.25, -0.5, -0.5]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sophia {
    /// Learning rate; 1e-4 by default.
    pub lr: f64,
    /// Decay of the averages of the gradient and of the diagonal; 0.965 and 0.99 by default.
    pub betas: [f64; 2],
    /// Factor of the diagonal: the less, the more elements are clipped; 0.04 by default.
    pub rho: f64,
    /// Least denominator; 1e-15 by default.
    pub eps: f64,
    /// Decoupled weight decay; 0.1 by default.
    pub weight_decay: f64,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for Sophia {
    fn default() -> Self {
        Self { lr: 1e-4, betas: [0.965, 0.99], rho: 0.04, eps: 1e-15, weight_decay: 0.1, maximize: false }
    }
}

impl Sophia {
    /// The names of the state tensors.
    pub fn state_names(&self) -> Vec<&'static str> {
        vec!["exp_avg", "hessian"]
    }

    /// Zeros: the state before the first step of a parameter of `n` elements.
    pub fn initial_state(&self, n: usize) -> Vec<Vec<f64>> {
        vec![vec![0.0; n]; 2]
    }

    /// A step on one parameter, with a diagonal if one was made for it.
    ///
    /// # Panics
    ///
    /// If `p`, `g`, `diagonal` or a state tensor has not as many elements as `shape`, or if there are not two state tensors.
    pub fn step(&self, shape: &[usize], p: &mut [f64], g: &[f64], diagonal: Option<&[f64]>, state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        assert!(diagonal.is_none_or(|d| d.len() == p.len()), "the diagonal's length is not the shape's");
        let [beta1, beta2] = self.betas;
        for (i, (p, &g)) in p.iter_mut().zip(g).enumerate() {
            let g = if self.maximize { -g } else { g };
            let m = beta1 * state[0][i] + (1.0 - beta1) * g;
            state[0][i] = m;
            let h = &mut state[1][i];
            if let Some(d) = diagonal {
                let d = if self.maximize { -d[i] } else { d[i] };
                *h = beta2 * *h + (1.0 - beta2) * d;
            }
            let scaled = self.rho * *h;
            let quotient = m / if scaled < self.eps { self.eps } else { scaled };
            // A NaN stays, since the bounds are numbers.
            let u = quotient.clamp(-1.0, 1.0);
            *p *= 1.0 - self.lr * self.weight_decay;
            *p -= self.lr * u;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The diagonal's average changes in the steps that bring one, and the momentum in all; ascent of a concave function is
    /// descent of its negative.
    #[test]
    fn two_steps() {
        let sophia = Sophia { lr: 1.0, betas: [0.5, 0.75], rho: 0.5, weight_decay: 0.25, ..Sophia::default() };
        for (sign, maximize) in [(1.0, false), (-1.0, true)] {
            let sophia = Sophia { maximize, ..sophia };
            let (mut p, mut state) = ([4.0], sophia.initial_state(1));
            sophia.step(&[1], &mut p, &[sign * 1.0], Some(&[sign * 16.0]), &mut state);
            assert_eq!((p, &state[..]), ([3.0 - 0.25], &[vec![0.5], vec![4.0]][..]));
            sophia.step(&[1], &mut p, &[sign * -0.5], None, &mut state);
            assert_eq!((p, &state[..]), ([2.75 * 0.75], &[vec![0.0], vec![4.0]][..]));
            sophia.step(&[1], &mut p, &[f64::NAN], None, &mut state);
            assert!(p[0].is_nan());
        }
    }
}
