//! One step of each optimizer, in f64.
//!
//! The arithmetic and the defaults are those of PyTorch's `torch.optim`, of the `adamp` package for
//! [`AdamP`] and [`SgdP`], of `torch_optimizer` for [`DiffGrad`], and of the authors' code for algorithms that none of these
//! has, where they differ from what the papers print. Fields have the names of the hyperparameters there.
//!
//! Throughout, `p` is the parameter, `g` its gradient, and `t` the step's number, from 1.
//! `maximize` negates `g` before anything else. Weight decay is *coupled* where `g += weight_decay·p`
//! follows, *decoupled* where instead the parameter shrinks, `p *= 1 - lr·weight_decay`.
//!
//! ```
//! use gradus::reference::optim::{AdamW, Step};
//!
//! let optimizer = AdamW { lr: 0.1, weight_decay: 0.0, ..AdamW::default() };
//! let mut p = vec![1.0, -1.0];
//! let mut state = optimizer.initial_state(p.len());
//! for t in 1..=200 {
//!     let g = p.clone(); // the gradient of ‖p‖²/2
//!     optimizer.step(t, &[2], &mut p, &g, &mut state);
//! }
//! assert!(p.iter().all(|p| p.abs() < 0.01));
//! ```

mod adadelta;
mod adafactor;
mod adagrad;
mod adahessian;
mod adam;
mod adamax;
mod adamp;
mod adan;
mod asgd;
mod diffgrad;
mod exponentiated_gradient;
mod hessian_momentum;
mod lamb;
mod lion;
mod muon;
mod nadam;
mod orthogonal_gradient;
pub mod quantized;
mod radam;
mod rmsprop;
mod rprop;
mod schedule_free;
mod sgd;
mod sgdp;
mod sophia;

pub use adadelta::Adadelta;
pub use adafactor::Adafactor;
pub use adagrad::Adagrad;
pub use adahessian::AdaHessian;
pub use adam::{Adam, AdamW};
pub use adamax::Adamax;
pub use adamp::{AdamP, projection};
pub use adan::Adan;
pub use asgd::Asgd;
pub use diffgrad::DiffGrad;
pub use exponentiated_gradient::ExponentiatedGradient;
pub use hessian_momentum::HessianMomentum;
pub use lamb::Lamb;
pub use lion::Lion;
pub use muon::{AdjustLr, Muon, orthogonalized};
pub use nadam::NAdam;
pub use orthogonal_gradient::orthogonal_gradient;
pub use radam::RAdam;
pub use rmsprop::RmsProp;
pub use rprop::Rprop;
pub use schedule_free::{ScheduleFreeAdamW, ScheduleFreeSgd};
pub use sgd::Sgd;
pub use sgdp::SgdP;
pub use sophia::Sophia;

use super::vector;

/// An optimizer, as a function of one parameter, its gradient and its state.
///
/// [`AdaHessian`], [`Sophia`] and [`HessianMomentum`] need more than the gradient and have a `step` of their own.
/// Hyperparameters are not checked. Out of range ones give infinities or NaN, not panics.
pub trait Step {
    /// The names of the state tensors, in PyTorch's spelling and in the order of `state`.
    ///
    /// The list depends on the hyperparameters: a tensor that a setting does not need is absent.
    fn state_names(&self) -> Vec<&'static str>;

    /// The state before the first step of a parameter of `n` elements: a tensor of `n` for each of
    /// [`state_names`](Self::state_names), zero unless the optimizer says otherwise.
    fn initial_state(&self, n: usize) -> Vec<Vec<f64>> {
        vec![vec![0.0; n]; self.state_names().len()]
    }

    /// Step number `t`, from 1, on one parameter.
    ///
    /// `p` and `g` have the `shape`, row-major, with the channels along its first axis; only
    /// [`AdamP`], [`SgdP`], [`Adafactor`] and [`Muon`] look at it. A scalar's shape is empty.
    ///
    /// # Panics
    ///
    /// If `p`, `g` or a state tensor has not as many elements as `shape`, or if there are not as
    /// many state tensors as [`state_names`](Self::state_names); [`Muon`]'s, if `shape` is not a matrix's.
    fn step(&self, t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]);
}

/// The factor that brings gradients of global norm `norm` down to `max_norm`.
///
/// `min(1, max_norm/(norm + 1e-6))`, as `torch.nn.utils.clip_grad_norm_`. NaN if `norm` is NaN.
///
/// ```
/// use gradus::reference::optim::clip_factor;
///
/// assert_eq!(clip_factor(0.5, 1.0), 1.0);
/// assert!((clip_factor(4.0, 1.0) - 0.25).abs() < 1e-6);
/// ```
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    let factor = max_norm / (norm + 1e-6);
    // Not `f64::min`, which would turn NaN into 1.
    if factor > 1.0 { 1.0 } else { factor }
}

/// The Euclidean norm of all gradients taken as one vector.
///
/// `√(Σ ‖g_k‖²)`, the norm that `torch.nn.utils.clip_grad_norm_` clips. 0 if there are none.
///
/// ```
/// use gradus::reference::optim::global_norm;
///
/// assert_eq!(global_norm(&[&[3.0], &[0.0, 4.0]]), 5.0);
/// ```
pub fn global_norm(gradients: &[&[f64]]) -> f64 {
    let mut sum = 0.0;
    for g in gradients {
        sum += vector::dot(g, g);
    }
    sum.sqrt()
}

/// `1 - beta^t`, which divides a running average that started at zero (Adam, section 3).
///
/// To a few units in the last place for `beta` in [0, 1] and any `t`: the difference itself would
/// lose digits to cancellation while `t·(1 - beta)` is small. NaN for a negative `beta`.
///
/// ```
/// use gradus::reference::optim::bias_correction;
///
/// assert_eq!(bias_correction(0.5, 2), 0.75);
/// assert_eq!(bias_correction(0.0, 1), 1.0);
/// ```
pub fn bias_correction(beta: f64, t: u64) -> f64 {
    if t == 0 || beta == 1.0 {
        return 0.0;
    }
    // 1 - e^(t·ln beta). From 1/2 on, beta - 1 is exact.
    let logarithm = if beta >= 0.5 { (beta - 1.0).ln_1p() } else { beta.ln() };
    -(t as f64 * logarithm).exp_m1()
}

/// The gradient that an optimizer with `maximize` and coupled decay works with.
fn coupled(g: f64, p: f64, maximize: bool, weight_decay: f64) -> f64 {
    let g = if maximize { -g } else { g };
    if weight_decay == 0.0 {
        g // whatever p is, even infinite
    } else {
        g + weight_decay * p
    }
}

/// -1, 0 or 1; NaN of NaN.
fn sign(x: f64) -> f64 {
    // Not `f64::signum` alone, which is 1 of 0.
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// The precondition of [`Step::step`].
fn check(names: &[&str], shape: &[usize], p: &[f64], g: &[f64], state: &[Vec<f64>]) {
    let n: usize = shape.iter().product();
    assert_eq!(p.len(), n, "the parameter's length is not its shape's");
    assert_eq!(g.len(), n, "the gradient's length is not the shape's");
    assert_eq!(state.len(), names.len(), "the state tensors should be {names:?}");
    for (name, tensor) in names.iter().zip(state) {
        assert_eq!(tensor.len(), n, "the length of {name} is not the shape's");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the recurrence `bc ← beta·bc + (1 - beta)`, which has no cancellation.
    #[test]
    fn bias_correction_keeps_its_digits() {
        for beta in [0.0, 0.3, 0.5, 0.9, 0.99, 0.999, 0.9999] {
            let mut expect = 0.0;
            for t in 1..=1_000_000 {
                expect = beta * expect + (1.0 - beta);
                let error = (bias_correction(beta, t) / expect - 1.0).abs();
                assert!(error < 1e-12, "beta {beta}, t {t}: {error:e}");
            }
        }
        assert_eq!(bias_correction(0.9, 0), 0.0);
        assert!(bias_correction(1.0, 5).is_sign_positive());
        assert_eq!(bias_correction(0.9999, u64::MAX), 1.0);
    }

    #[test]
    fn clip_factor_of_odd_norms() {
        assert!(clip_factor(f64::NAN, 1.0).is_nan());
        assert_eq!(clip_factor(f64::INFINITY, 1.0), 0.0);
        assert_eq!(clip_factor(0.0, 1.0), 1.0);
        assert_eq!(clip_factor(2.0, 1.0), 1.0 / (2.0 + 1e-6));
        assert_eq!(global_norm(&[]), 0.0);
    }

    /// `maximize` is a step along the negative gradient, for every optimizer.
    #[test]
    fn maximize_negates() {
        let maximize = true;
        let cases: [[Box<dyn Step>; 2]; 22] = [
            [Box::new(Sgd::default()), Box::new(Sgd { maximize, ..Sgd::default() })],
            [Box::new(Adagrad::default()), Box::new(Adagrad { maximize, ..Adagrad::default() })],
            [Box::new(Adadelta::default()), Box::new(Adadelta { maximize, ..Adadelta::default() })],
            [Box::new(RmsProp::default()), Box::new(RmsProp { maximize, ..RmsProp::default() })],
            [Box::new(Adam::default()), Box::new(Adam { maximize, ..Adam::default() })],
            [Box::new(AdamW::default()), Box::new(AdamW { maximize, ..AdamW::default() })],
            [Box::new(DiffGrad::default()), Box::new(DiffGrad { maximize, ..DiffGrad::default() })],
            [Box::new(AdamP::default()), Box::new(AdamP { maximize, ..AdamP::default() })],
            [Box::new(SgdP::default()), Box::new(SgdP { maximize, ..SgdP::default() })],
            [Box::new(Lion::default()), Box::new(Lion { maximize, ..Lion::default() })],
            [Box::new(RAdam::default()), Box::new(RAdam { maximize, ..RAdam::default() })],
            [Box::new(NAdam::default()), Box::new(NAdam { maximize, ..NAdam::default() })],
            [Box::new(Adamax::default()), Box::new(Adamax { maximize, ..Adamax::default() })],
            [Box::new(Rprop::default()), Box::new(Rprop { maximize, ..Rprop::default() })],
            [Box::new(Asgd::default()), Box::new(Asgd { maximize, ..Asgd::default() })],
            [Box::new(Adan::default()), Box::new(Adan { maximize, ..Adan::default() })],
            [Box::new(Lamb::default()), Box::new(Lamb { maximize, ..Lamb::default() })],
            [Box::new(ScheduleFreeAdamW::default()), Box::new(ScheduleFreeAdamW { maximize, ..ScheduleFreeAdamW::default() })],
            [Box::new(ScheduleFreeSgd::default()), Box::new(ScheduleFreeSgd { maximize, ..ScheduleFreeSgd::default() })],
            [Box::new(Adafactor::default()), Box::new(Adafactor { maximize, ..Adafactor::default() })],
            [Box::new(Muon::default()), Box::new(Muon { maximize, ..Muon::default() })],
            [Box::new(ExponentiatedGradient::default()), Box::new(ExponentiatedGradient { maximize, ..ExponentiatedGradient::default() })],
        ];
        for [down, up] in cases {
            let mut p = [[1.0, -2.0, 0.5, 3.0]; 2];
            let mut states = [down.initial_state(4), up.initial_state(4)];
            for t in 1..=3 {
                let g = [0.1, 4.0 - t as f64 * 3.0, 2.0, -7.0];
                down.step(t, &[2, 2], &mut p[0], &g, &mut states[0]);
                up.step(t, &[2, 2], &mut p[1], &g.map(|g| -g), &mut states[1]);
            }
            assert_eq!(p[0], p[1], "{:?}", down.state_names());
            assert_ne!(p[0], [1.0, -2.0, 0.5, 3.0]);
        }
    }

    /// Every optimizer in every setting that changes the state: the state fits its names, and steps
    /// on a scalar, an empty parameter and a matrix go through.
    #[test]
    fn state_fits() {
        let momentum = 0.9;
        let cases: [(Box<dyn Step>, &[&str]); 25] = [
            (Box::new(Sgd::default()), &[]),
            (Box::new(Sgd { momentum, ..Sgd::default() }), &["momentum_buffer"]),
            (Box::new(Adagrad::default()), &["sum"]),
            (Box::new(Adadelta::default()), &["square_avg", "acc_delta"]),
            (Box::new(RmsProp::default()), &["square_avg"]),
            (Box::new(RmsProp { momentum, ..RmsProp::default() }), &["square_avg", "momentum_buffer"]),
            (Box::new(RmsProp { centered: true, ..RmsProp::default() }), &["square_avg", "grad_avg"]),
            (Box::new(RmsProp { momentum, centered: true, ..RmsProp::default() }), &["square_avg", "momentum_buffer", "grad_avg"]),
            (Box::new(Adam::default()), &["exp_avg", "exp_avg_sq"]),
            (Box::new(AdamW::default()), &["exp_avg", "exp_avg_sq"]),
            (Box::new(AdamW { amsgrad: true, ..AdamW::default() }), &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]),
            (Box::new(DiffGrad::default()), &["exp_avg", "exp_avg_sq", "previous_grad"]),
            (Box::new(AdamP::default()), &["exp_avg", "exp_avg_sq"]),
            (Box::new(SgdP::default()), &["momentum"]),
            (Box::new(Lion::default()), &["exp_avg"]),
            (Box::new(RAdam::default()), &["exp_avg", "exp_avg_sq"]),
            (Box::new(NAdam::default()), &["exp_avg", "exp_avg_sq"]),
            (Box::new(Adamax::default()), &["exp_avg", "exp_inf"]),
            (Box::new(Rprop::default()), &["prev", "step_size"]),
            (Box::new(Asgd::default()), &["ax"]),
            (Box::new(Adan::default()), &["exp_avg", "exp_avg_diff", "exp_avg_sq", "neg_pre_grad"]),
            (Box::new(Lamb::default()), &["exp_avg", "exp_avg_sq"]),
            (Box::new(ScheduleFreeAdamW::default()), &["z", "exp_avg_sq"]),
            (Box::new(ScheduleFreeSgd::default()), &["z"]),
            (Box::new(ExponentiatedGradient::default()), &[]),
        ];
        for (optimizer, names) in cases {
            assert_eq!(optimizer.state_names(), names);
            for shape in [&[][..], &[0], &[3, 0], &[2, 3]] {
                let n = shape.iter().product();
                let mut state = optimizer.initial_state(n);
                let mut p = vec![1.0; n];
                for t in 1..=3 {
                    optimizer.step(t, shape, &mut p, &vec![0.5; n], &mut state);
                }
                assert_eq!(state.len(), names.len());
                assert!(state.iter().all(|tensor| tensor.len() == n));
                assert!(p.iter().all(|&p| p < 1.0), "{names:?} {p:?}");
            }
        }
    }
}
