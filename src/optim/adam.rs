use super::algorithm::{Algorithm, Update, json};
use crate::{Result, shaders};

/// Adam (Kingma & Ba 2015; `torch.optim.Adam`), and AMSGrad (Reddi et al. 2018); 28 bytes a
/// parameter of f32, AMSGrad 36.
///
/// `m = β1·m+(1-β1)g`; `v = β2·v+(1-β2)g²`; `p -= (lr/bc1)·m/(√v/√bc2+eps)`, `bc = 1-β^t`. AMSGrad puts
/// the largest `v` so far, not bias-corrected, in the root. Weight decay is coupled. States: `exp_avg`
/// (m), `exp_avg_sq` (v), `max_exp_avg_sq`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate. Default: 1e-3.
    pub lr: f64,
    /// Default: 0.9, 0.999.
    pub betas: [f64; 2],
    /// Default: 1e-8.
    pub eps: f64,
    /// Default: 0.
    pub weight_decay: f64,
    /// Default: false.
    pub amsgrad: bool,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for Adam {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0, amsgrad: false, maximize: false }
    }
}

/// AdamW (Loshchilov & Hutter 2019; `torch.optim.AdamW`): [`Adam`] with decoupled weight decay,
/// `p *= 1 - lr·weight_decay` before the step, right however small the product is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate. Default: 1e-3.
    pub lr: f64,
    /// Default: 0.9, 0.999.
    pub betas: [f64; 2],
    /// Default: 1e-8.
    pub eps: f64,
    /// Default: 1e-2.
    pub weight_decay: f64,
    /// Default: false.
    pub amsgrad: bool,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 1e-2, amsgrad: false, maximize: false }
    }
}

/// The step with either kind of decay.
fn adam(name: &str, lr: f64, betas: [f64; 2], eps: f64, amsgrad: bool, maximize: bool) -> Result<Update> {
    let config = json(&[("betas", &betas), ("eps", &eps), ("amsgrad", &amsgrad), ("maximize", &maximize)]);
    let defines: &[&str] = if amsgrad { &["AMSGRAD"] } else { &[] };
    let update = Update::built_in(name, shaders::optim::ADAM, defines, lr, config)?.adam(betas, eps)?.maximize(maximize);
    Ok(if amsgrad { update.state("max_exp_avg_sq") } else { update })
}

impl Algorithm for Adam {
    fn update(&self) -> Result<Update> {
        let Self { lr, betas, eps, weight_decay, amsgrad, maximize } = *self;
        Ok(adam("adam", lr, betas, eps, amsgrad, maximize)?.coupled_decay(weight_decay))
    }
}

impl Algorithm for AdamW {
    fn update(&self) -> Result<Update> {
        let Self { lr, betas, eps, weight_decay, amsgrad, maximize } = *self;
        Ok(adam("adamw", lr, betas, eps, amsgrad, maximize)?.decoupled_decay(weight_decay))
    }
}
