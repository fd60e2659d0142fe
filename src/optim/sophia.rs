use super::algorithm::{Algorithm, Update, fraction, json, not_negative};
use crate::{Result, shaders};

/// Sophia (Liu et al. 2024, arXiv:2305.14342, algorithm 3); 24 bytes a parameter of f32.
///
/// `m = β1·m+(1-β1)g`; `p *= 1-lr·weight_decay`; `p -= lr·clamp(m/max(rho·h, eps), -1, 1)`. States: `exp_avg` (m), and `hessian` (h), which
/// the program renews every few steps (10 in the paper) from an estimate of the Hessian's diagonal,
/// `optimizer.blend(.., "hessian", betas[1], estimate)`. Before that h is 0, and the step that of the sign of m. With `maximize` h is that of
/// the negated loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sophia {
    /// Learning rate. Default: 1e-4.
    pub lr: f64,
    /// The decay of m, and of h, which is the program's to keep. Default: 0.965, 0.99.
    pub betas: [f64; 2],
    /// The factor of the diagonal: the less, the more elements are clipped. Default: 0.04.
    pub rho: f64,
    /// The least denominator. Default: 1e-15.
    pub eps: f64,
    /// Default: 0.1.
    pub weight_decay: f64,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for Sophia {
    fn default() -> Self {
        Self { lr: 1e-4, betas: [0.965, 0.99], rho: 0.04, eps: 1e-15, weight_decay: 0.1, maximize: false }
    }
}

impl Algorithm for Sophia {
    fn update(&self) -> Result<Update> {
        let Self { lr, betas, rho, eps, weight_decay, maximize } = *self;
        not_negative("rho", rho)?;
        not_negative("eps", eps)?;
        let config = json(&[("betas", &betas), ("rho", &rho), ("eps", &eps), ("maximize", &maximize)]);
        let update = Update::built_in("sophia", shaders::optim::SOPHIA, &[], lr, config)?.beta("beta1", "betas[0]", betas[0])?;
        fraction("betas[1]", betas[1])?;
        let update = update.constant("rho", rho).constant("eps", eps);
        Ok(update.decoupled_decay(weight_decay).maximize(maximize).state("exp_avg").input("hessian"))
    }
}
