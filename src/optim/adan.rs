use super::algorithm::{Algorithm, Decay, Update, json, not_negative};
use crate::{Result, shaders};

/// Adan (Xie et al. 2022, arXiv:2208.06677), as the authors' code computes it; 44 bytes a parameter of f32.
///
/// `d = g - g_previous`; `m = β1·m+(1-β1)g`; `v = β2·v+(1-β2)d`; `n = β3·n+(1-β3)(g+β2·d)²`;
/// `u = lr·(m/bc1 + β2·v/bc2)/(√n/√bc3+eps)`; `p = (p-u)/(1+lr·weight_decay)`. States: `exp_avg` (m), `exp_avg_diff` (v), `exp_avg_sq` (n),
/// `neg_pre_grad` (-g). With master weights, or an average of the weights, that is a storage buffer more than WebGPU's default limits
/// allow: [`Error::LimitTooSmall`](crate::Error::LimitTooSmall) there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adan {
    /// Learning rate. Default: 1e-3.
    pub lr: f64,
    /// Default: 0.98, 0.92, 0.99.
    pub betas: [f64; 3],
    /// Default: 1e-8.
    pub eps: f64,
    /// Default: 0.
    pub weight_decay: f64,
    /// Decay the parameter before the step, as in AdamW. Default: false.
    pub no_prox: bool,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for Adan {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.98, 0.92, 0.99], eps: 1e-8, weight_decay: 0.0, no_prox: false, maximize: false }
    }
}

impl Algorithm for Adan {
    fn update(&self) -> Result<Update> {
        let Self { lr, betas, eps, weight_decay, no_prox, maximize } = *self;
        not_negative("eps", eps)?;
        let config = json(&[("betas", &betas), ("eps", &eps), ("no_prox", &no_prox), ("maximize", &maximize)]);
        let defines: &[&str] = if no_prox { &["NO_PROX"] } else { &[] };
        let mut update = Update::built_in("adan", shaders::optim::ADAN, defines, lr, config)?.maximize(maximize).constant("eps", eps);
        for (i, beta) in betas.into_iter().enumerate() {
            update = update.beta(&format!("beta{}", i + 1), &format!("betas[{i}]"), beta)?;
        }
        for name in ["step_of_m", "step_of_v", "root_scale", "first", "shrink"] {
            update = update.prepared(name);
        }
        let update = update.state("exp_avg").state("exp_avg_diff").state("exp_avg_sq").state("neg_pre_grad");
        Ok(Update { weight_decay, decay: Decay::Own, ..update })
    }
}
