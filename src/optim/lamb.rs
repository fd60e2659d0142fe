use super::algorithm::{Algorithm, Projection, Update, json};
use crate::{Result, shaders};

/// LAMB (You et al. 2020, arXiv:1904.00962), as `pytorch_optimizer.Lamb` computes it; 40 bytes a parameter of f32.
///
/// `m`, `v` as in [`Adam`](super::Adam); `u = m/(√v+eps)`; `p *= 1-lr·weight_decay`; `p -= (lr/bc1)·ratio·u` with
/// `ratio = min(‖p‖, 10)/(‖u‖+eps)` of the tensor, 1 where either norm is 0. A norm of which the square is below f32 counts as 0. States:
/// `exp_avg` (m), `exp_avg_sq` (v).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lamb {
    /// Learning rate. Default: 1e-3.
    pub lr: f64,
    /// Default: 0.9, 0.999.
    pub betas: [f64; 2],
    /// Default: 1e-6.
    pub eps: f64,
    /// Default: 0.
    pub weight_decay: f64,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for Lamb {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-6, weight_decay: 0.0, maximize: false }
    }
}

impl Algorithm for Lamb {
    fn update(&self) -> Result<Update> {
        let Self { lr, betas, eps, weight_decay, maximize } = *self;
        let config = json(&[("betas", &betas), ("eps", &eps), ("maximize", &maximize)]);
        let update = Update::built_in("lamb", shaders::optim::LAMB, &[], lr, config)?.moments(betas, eps)?;
        let update = update.decoupled_decay(weight_decay).maximize(maximize).state("exp_avg").state("exp_avg_sq").prepared("step_size");
        Ok(Update { projection: Some(Projection { delta: 0.0, eps, nesterov: false, writes_states: false, ratio: true }), ..update })
    }
}
