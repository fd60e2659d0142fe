use super::algorithm::{Algorithm, Update, json};
use crate::{Result, shaders};

/// Lion (Chen et al. 2023, arXiv:2302.06675, algorithm 2), as the authors' code computes it; 20 bytes a parameter of f32.
///
/// `p -= lr·sign(β1·m+(1-β1)g)`; `m = β2·m+(1-β2)g`. The sign of 0 is 0, that of NaN is NaN. Weight decay is decoupled. State: `exp_avg` (m).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lion {
    /// Learning rate. Default: 1e-4.
    pub lr: f64,
    /// The share of the momentum in the step, and how much of it is kept. Default: 0.9, 0.99.
    pub betas: [f64; 2],
    /// Default: 0.
    pub weight_decay: f64,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for Lion {
    fn default() -> Self {
        Self { lr: 1e-4, betas: [0.9, 0.99], weight_decay: 0.0, maximize: false }
    }
}

impl Algorithm for Lion {
    fn update(&self) -> Result<Update> {
        let Self { lr, betas, weight_decay, maximize } = *self;
        let config = json(&[("betas", &betas), ("maximize", &maximize)]);
        let update = Update::built_in("lion", shaders::optim::LION, &[], lr, config)?.decoupled_decay(weight_decay).maximize(maximize);
        Ok(update.beta("beta1", "betas[0]", betas[0])?.beta("beta2", "betas[1]", betas[1])?.state("exp_avg"))
    }
}
