use super::algorithm::{Lower, Lowered, Rule, json};
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

impl Lower for DiffGrad {
    fn lower(&self, seed: [u32; 2]) -> Result<Lowered> {
        let Self { lr, betas, eps, weight_decay } = *self;
        let config = json(&[("betas", &betas), ("eps", &eps)]);
        let mut lowered = Lowered::new("diffgrad", &shaders::optim::DIFFGRAD, lr, weight_decay, config)?;
        lowered.moments(betas, eps, seed)?;
        lowered.rule = Rule::DiffGrad;
        lowered.states = vec!["exp_avg", "exp_avg_sq", "previous_grad"];
        Ok(lowered)
    }
}
