use super::bias_correction;

/// AdaHessian: Adam with the diagonal of the Hessian in the place of the gradient's square.
///
/// `d` is an estimate of the diagonal at the parameter, `v∘Hv` for a vector `v` of random signs. With `m` the state
/// `exp_avg`, `h` the state `exp_hessian_diag_sq`, and `bc1`, `bc2` from [`bias_correction`]:
///
/// - `d = |d|`; of a parameter of three axes or more, `d = mean of |d|` over the axes after the second, the kernel of a
///   convolution
/// - `m = betas[0]·m + (1 - betas[0])·g`
/// - `h = betas[1]·h + (1 - betas[1])·d²`
/// - `p -= lr·((m/bc1)/((√h/√bc2)^hessian_power + eps) + weight_decay·p)`
///
/// `maximize` negates both `g` and `d`.
///
/// Source: the authors' code (`amirgholami/adahessian`), which knows parameters of one, two and four axes; Yao et al., AAAI
/// 2021, arXiv:2006.00719, algorithm 1.
///
/// ```
/// use gradus::reference::optim::AdaHessian;
///
/// // Newton's step on p²: the gradient over the second derivative.
/// let adahessian = AdaHessian { lr: 1.0, eps: 0.0, ..AdaHessian::default() };
/// let (mut p, mut state) = ([3.0], adahessian.initial_state(1));
/// adahessian.step(1, &[1], &mut p, &[6.0], &[2.0], &mut state);
/// assert!(p[0].abs() < 1e-14);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaHessian {
    /// Learning rate; 0.15 by default.
    pub lr: f64,
    /// Decay of the averages of the gradient and of the diagonal's square; 0.9 and 0.999 by default.
    pub betas: [f64; 2],
    /// Added to the power of the root; 1e-4 by default.
    pub eps: f64,
    /// Decoupled weight decay; 0 by default.
    pub weight_decay: f64,
    /// Power of the diagonal, from 0, which is gradient descent with momentum, to 1, the default.
    pub hessian_power: f64,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for AdaHessian {
    fn default() -> Self {
        Self { lr: 0.15, betas: [0.9, 0.999], eps: 1e-4, weight_decay: 0.0, hessian_power: 1.0, maximize: false }
    }
}

impl AdaHessian {
    /// The names of the state tensors.
    pub fn state_names(&self) -> Vec<&'static str> {
        vec!["exp_avg", "exp_hessian_diag_sq"]
    }

    /// Zeros: the state before the first step of a parameter of `n` elements.
    pub fn initial_state(&self, n: usize) -> Vec<Vec<f64>> {
        vec![vec![0.0; n]; 2]
    }

    /// Step number `t`, from 1, on one parameter.
    ///
    /// # Panics
    ///
    /// If `p`, `g`, `diagonal` or a state tensor has not as many elements as `shape`, or if there are not two state tensors.
    pub fn step(&self, t: u64, shape: &[usize], p: &mut [f64], g: &[f64], diagonal: &[f64], state: &mut [Vec<f64>]) {
        super::check(&self.state_names(), shape, p, g, state);
        assert_eq!(diagonal.len(), p.len(), "the diagonal's length is not the shape's");
        let [beta1, beta2] = self.betas;
        let bc1 = bias_correction(beta1, t);
        let root_bc2 = bias_correction(beta2, t).sqrt();
        let kernel: usize = shape.iter().skip(2).product();
        for (i, (p, &g)) in p.iter_mut().zip(g).enumerate() {
            let g = if self.maximize { -g } else { g };
            let of_kernel = &diagonal[i / kernel * kernel..][..kernel];
            let d = of_kernel.iter().map(|d| d.abs()).sum::<f64>() / kernel as f64;
            let m = beta1 * state[0][i] + (1.0 - beta1) * g;
            let h = beta2 * state[1][i] + (1.0 - beta2) * d * d;
            state[0][i] = m;
            state[1][i] = h;
            let denominator = (h.sqrt() / root_bc2).powf(self.hessian_power) + self.eps;
            *p -= self.lr * (m / bc1 / denominator + self.weight_decay * *p);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::optim::{Adam, Step};

    /// With the gradient for the diagonal it is Adam; power 0 is gradient descent with momentum; kernels share a mean.
    #[test]
    fn special_cases() {
        let adahessian = AdaHessian { maximize: true, ..AdaHessian::default() };
        let adam = Adam { lr: 0.15, eps: 1e-4, maximize: true, ..Adam::default() };
        let (mut p, mut state) = ([0.3, -2.0], adahessian.initial_state(2));
        let (mut expect, mut of_adam) = (p, adam.initial_state(2));
        for t in 1..=5 {
            let g = [0.1 * t as f64, -3.0];
            adahessian.step(t, &[2], &mut p, &g, &g, &mut state);
            adam.step(t, &[2], &mut expect, &g, &mut of_adam);
        }
        assert!(p.iter().zip(expect).all(|(p, expect)| (p - expect).abs() < 1e-14));

        let plain = AdaHessian { lr: 0.5, betas: [0.0; 2], eps: 1.0, weight_decay: 0.25, hessian_power: 0.0, maximize: false };
        let mut p = [4.0];
        plain.step(1, &[1], &mut p, &[1.0], &[9.0], &mut plain.initial_state(1));
        assert_eq!(p, [4.0 - 0.5 * (1.0 / 2.0 + 1.0)]);

        let mean = AdaHessian { lr: 1.0, betas: [0.0; 2], eps: 0.0, ..AdaHessian::default() };
        let (mut p, mut state) = ([0.0; 4], mean.initial_state(4));
        mean.step(1, &[1, 2, 2], &mut p, &[1.0; 4], &[1.0, -3.0, 8.0, 0.0], &mut state);
        assert_eq!(p, [-0.5, -0.5, -0.25, -0.25]);
        mean.step(1, &[0, 2], &mut [], &[], &[], &mut mean.initial_state(0));
    }
}
