use super::algorithm::{Algorithm, Update, json};
use crate::{Result, shaders};

/// diffGrad (Dubey et al. 2020, arXiv:1909.11015), as the corrected second release of the authors'
/// code computes it; 36 bytes a parameter of f32.
///
/// `m`, `v` as in [`Adam`](super::Adam); `ξ = 1/(1+exp(-|g_prev-g|))`;
/// `p -= lr·√bc2/bc1 · m·ξ/(√v+eps)`. Weight decay is coupled, and part of `g_prev`. States: `exp_avg`,
/// `exp_avg_sq`, `previous_grad`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiffGrad {
    /// Learning rate. Default: 1e-3.
    pub lr: f64,
    /// Default: 0.9, 0.999.
    pub betas: [f64; 2],
    /// Default: 1e-8.
    pub eps: f64,
    /// Default: 0.
    pub weight_decay: f64,
}

impl Default for DiffGrad {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 }
    }
}

impl Algorithm for DiffGrad {
    fn update(&self) -> Result<Update> {
        let Self { lr, betas, eps, weight_decay } = *self;
        let config = json(&[("betas", &betas), ("eps", &eps)]);
        let update = Update::built_in("diffgrad", shaders::optim::DIFFGRAD, &[], lr, config)?.moments(betas, eps)?;
        Ok(update.coupled_decay(weight_decay).state("exp_avg").state("exp_avg_sq").state("previous_grad").prepared("step_size"))
    }
}
