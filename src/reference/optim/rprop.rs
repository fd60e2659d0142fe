use super::{Step, check, sign};

/// Rprop: each element has a step size of its own, which grows while the gradient keeps its sign.
///
/// With `q` the state `prev` and `s` the state `step_size`, which starts at `lr`:
///
/// - where `g` and `q` have the same sign, `s *= etas[1]`; where they have opposite ones, `s *= etas[0]` and `g = 0`
/// - `s` is kept between `step_sizes[0]` and `step_sizes[1]`
/// - `p -= sign(g)·s`
/// - `q = g`
///
/// `lr` has no other effect. For full batches: the signs of noisy gradients mean little. A NaN in `g` stays in `s`.
///
/// Source: `torch.optim.Rprop`; Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the
/// RPROP algorithm", ICNN 1993, without going back where the sign changes (Igel and Hüsken, 2000: iRprop⁻). PyTorch takes the
/// sign of the product of `g` and `q`, which is 0 where that underflows.
///
/// ```
/// use gradus::reference::optim::{Rprop, Step};
///
/// let rprop = Rprop { lr: 1.0, ..Rprop::default() };
/// let (mut p, mut state) = ([0.0], rprop.initial_state(1));
/// for (t, g, expect) in [(1, -9.0, 1.0), (2, -0.1, 2.2), (3, 5.0, 2.2), (4, 5.0, 1.6)] {
///     rprop.step(t, &[1], &mut p, &[g], &mut state);
///     assert!((p[0] - expect).abs() < 1e-15);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rprop {
    /// The first step size; 1e-2 by default.
    pub lr: f64,
    /// Factors of the step size after a change of sign and without one; 0.5 and 1.2 by default.
    pub etas: [f64; 2],
    /// The least and the greatest step size; 1e-6 and 50 by default.
    pub step_sizes: [f64; 2],
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for Rprop {
    fn default() -> Self {
        Self { lr: 1e-2, etas: [0.5, 1.2], step_sizes: [1e-6, 50.0], maximize: false }
    }
}

impl Step for Rprop {
    fn state_names(&self) -> Vec<&'static str> {
        vec!["prev", "step_size"]
    }

    fn initial_state(&self, n: usize) -> Vec<Vec<f64>> {
        vec![vec![0.0; n], vec![self.lr; n]]
    }

    fn step(&self, _t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        let [least, greatest] = self.step_sizes;
        for (i, (p, &g)) in p.iter_mut().zip(g).enumerate() {
            let g = if self.maximize { -g } else { g };
            let agreement = sign(g) * sign(state[0][i]);
            let (factor, g) = if agreement > 0.0 {
                (self.etas[1], g)
            } else if agreement < 0.0 {
                (self.etas[0], 0.0)
            } else {
                (if agreement.is_nan() { f64::NAN } else { 1.0 }, g)
            };
            let s = state[1][i] * factor;
            // Not `f64::clamp`, which panics where the bounds are out of order.
            let s = if s < least {
                least
            } else if s > greatest {
                greatest
            } else {
                s
            };
            state[0][i] = g;
            state[1][i] = s;
            *p -= sign(g) * s;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Step sizes stop at their bounds; a change of sign spares the next step; a NaN stays.
    #[test]
    fn bounds() {
        let rprop = Rprop { lr: 1.0, etas: [0.25, 4.0], step_sizes: [0.125, 2.0], ..Rprop::default() };
        let (mut p, mut state) = ([0.0], rprop.initial_state(1));
        for (t, g, expect) in [(1, 1.0, -1.0), (2, 1.0, -3.0), (3, -1.0, -3.0), (4, -1.0, -2.5), (5, 1.0, -2.5), (6, -1.0, -2.375)] {
            rprop.step(t, &[1], &mut p, &[g], &mut state);
            assert_eq!(p, [expect], "{t}");
        }
        rprop.step(7, &[1], &mut p, &[f64::NAN], &mut state);
        rprop.step(8, &[1], &mut p, &[1.0], &mut state);
        assert!(p[0].is_nan() && state[1][0].is_nan());
    }

    /// The signs count, not a product that would underflow.
    #[test]
    fn tiny_gradients_have_signs() {
        let (mut p, mut state) = ([0.0], Rprop::default().initial_state(1));
        for t in 1..=2 {
            Rprop::default().step(t, &[1], &mut p, &[1e-200], &mut state);
        }
        assert_eq!(state[1], [1e-2 * 1.2]);
    }
}
