use super::algorithm::{Algorithm, Update, json, not_negative};
use crate::{Result, shaders};

/// NAdam (Dozat 2016; `torch.optim.NAdam`); 28 bytes a parameter of f32.
///
/// `m`, `v` as in [`Adam`](super::Adam). `μ_t = β1·(1-½·0.96^(t·momentum_decay))` and `Π` the product of all so far;
/// `p -= lr·((1-μ_t)/(1-Π)·g + μ_(t+1)/(1-Π·μ_(t+1))·m)/(√v/√bc2+eps)`. States: `exp_avg` (m), `exp_avg_sq` (v), and of a parameter
/// `mu_product` (Π).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NAdam {
    /// Learning rate. Default: 2e-3.
    pub lr: f64,
    /// Default: 0.9, 0.999.
    pub betas: [f64; 2],
    /// Default: 1e-8.
    pub eps: f64,
    /// Default: 0.
    pub weight_decay: f64,
    /// How fast the momentum grows from half of `betas[0]` to all of it. Default: 4e-3.
    pub momentum_decay: f64,
    /// Whether weight decay is decoupled, as in AdamW. Default: false.
    pub decoupled_weight_decay: bool,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for NAdam {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
            momentum_decay: 4e-3,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

impl Algorithm for NAdam {
    fn update(&self) -> Result<Update> {
        let Self { lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize } = *self;
        not_negative("momentum_decay", momentum_decay)?;
        let config = json(&[
            ("betas", &betas),
            ("eps", &eps),
            ("momentum_decay", &momentum_decay),
            ("decoupled_weight_decay", &decoupled_weight_decay),
            ("maximize", &maximize),
        ]);
        let update = Update::built_in("nadam", shaders::optim::NADAM, &[], lr, config)?.moments(betas, eps)?.maximize(maximize);
        let update = update
            .state("exp_avg")
            .state("exp_avg_sq")
            .constant("log_decay", momentum_decay * 0.96f64.ln())
            .kept("mu_product", 1.0)
            .prepared("step_of_g")
            .prepared("step_of_m")
            .prepared("root_scale");
        Ok(if decoupled_weight_decay { update.decoupled_decay(weight_decay) } else { update.coupled_decay(weight_decay) })
    }
}
