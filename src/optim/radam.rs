use super::algorithm::{Algorithm, Update, json};
use crate::{Result, shaders};

/// RAdam (Liu et al. 2020, arXiv:1908.03265; `torch.optim.RAdam`); 28 bytes a parameter of f32.
///
/// `m`, `v` as in [`Adam`](super::Adam). `ρ = ρ∞-2tβ2^t/bc2` with `ρ∞ = 2/(1-β2)-1`; where `ρ > 5`,
/// `p -= (lr/bc1)·m·r·√bc2/(√v+eps)` with `r² = (ρ-4)(ρ-2)ρ∞/((ρ∞-4)(ρ∞-2)ρ)`, else `p -= (lr/bc1)·m`. States: `exp_avg` (m), `exp_avg_sq` (v).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RAdam {
    /// Learning rate. Default: 1e-3.
    pub lr: f64,
    /// Default: 0.9, 0.999.
    pub betas: [f64; 2],
    /// Default: 1e-8.
    pub eps: f64,
    /// Default: 0.
    pub weight_decay: f64,
    /// Whether weight decay is decoupled, as in AdamW. Default: false.
    pub decoupled_weight_decay: bool,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for RAdam {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0, decoupled_weight_decay: false, maximize: false }
    }
}

impl Algorithm for RAdam {
    fn update(&self) -> Result<Update> {
        let Self { lr, betas, eps, weight_decay, decoupled_weight_decay, maximize } = *self;
        let config =
            json(&[("betas", &betas), ("eps", &eps), ("decoupled_weight_decay", &decoupled_weight_decay), ("maximize", &maximize)]);
        let update = Update::built_in("radam", shaders::optim::RADAM, &[], lr, config)?.moments(betas, eps)?.maximize(maximize);
        let rho_inf = 2.0 / (1.0 - betas[1]) - 1.0;
        // 0 where rho is 4 or less throughout
        let rectification = if rho_inf > 4.0 { rho_inf / ((rho_inf - 4.0) * (rho_inf - 2.0)) } else { 0.0 };
        let update = update
            .state("exp_avg")
            .state("exp_avg_sq")
            .exact("scaled_rho_inf", rho_inf.min(2f64.powi(31)) / 2f64.powi(32))
            .constant("rectification", rectification)
            .prepared("step_size")
            .prepared("adapts")
            .prepared("rectified_root");
        Ok(if decoupled_weight_decay { update.decoupled_decay(weight_decay) } else { update.coupled_decay(weight_decay) })
    }
}
