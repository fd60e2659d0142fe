use super::algorithm::{Algorithm, Update, json};
use crate::{Result, shaders};

/// Adamax (Kingma & Ba 2015, algorithm 2; `torch.optim.Adamax`); 28 bytes a parameter of f32.
///
/// `m` as in [`Adam`](super::Adam); `u = max(β2·u, |g|+eps)`; `p -= (lr/bc1)·m/u`. Weight decay is coupled. States: `exp_avg` (m), `exp_inf` (u).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adamax {
    /// Learning rate. Default: 2e-3.
    pub lr: f64,
    /// Default: 0.9, 0.999.
    pub betas: [f64; 2],
    /// Default: 1e-8.
    pub eps: f64,
    /// Default: 0.
    pub weight_decay: f64,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for Adamax {
    fn default() -> Self {
        Self { lr: 2e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0, maximize: false }
    }
}

impl Algorithm for Adamax {
    fn update(&self) -> Result<Update> {
        let Self { lr, betas, eps, weight_decay, maximize } = *self;
        let config = json(&[("betas", &betas), ("eps", &eps), ("maximize", &maximize)]);
        let update = Update::built_in("adamax", shaders::optim::ADAMAX, &[], lr, config)?.moments(betas, eps)?;
        Ok(update.coupled_decay(weight_decay).maximize(maximize).state("exp_avg").state("exp_inf").prepared("step_size"))
    }
}
