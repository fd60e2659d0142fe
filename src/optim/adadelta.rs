use super::algorithm::{self, Algorithm, Update, json, not_negative};
use crate::{Result, shaders};

/// Adadelta (Zeiler 2012; `torch.optim.Adadelta`); 28 bytes a parameter of f32.
///
/// `s = rho·s+(1-rho)g²`; `d = √(u+eps)/√(s+eps)·g`; `u = rho·u+(1-rho)d²`; `p -= lr·d`. Weight decay is
/// coupled. States: `square_avg` (s), `acc_delta` (u).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adadelta {
    /// Learning rate. Default: 1.
    pub lr: f64,
    /// Default: 0.9.
    pub rho: f64,
    /// Default: 1e-6.
    pub eps: f64,
    /// Default: 0.
    pub weight_decay: f64,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for Adadelta {
    fn default() -> Self {
        Self { lr: 1.0, rho: 0.9, eps: 1e-6, weight_decay: 0.0, maximize: false }
    }
}

impl Algorithm for Adadelta {
    fn update(&self) -> Result<Update> {
        let Self { lr, rho, eps, weight_decay, maximize } = *self;
        algorithm::check("rho", rho, (0.0..=1.0).contains(&rho), "from 0 to 1")?;
        not_negative("eps", eps)?;
        let config = json(&[("rho", &rho), ("eps", &eps), ("maximize", &maximize)]);
        let update = Update::built_in("adadelta", shaders::optim::ADADELTA, &[], lr, config)?;
        Ok(update
            .coupled_decay(weight_decay)
            .maximize(maximize)
            .state("square_avg")
            .state("acc_delta")
            .constant("rho", rho)
            .constant("one_minus_rho", 1.0 - rho)
            .constant("eps", eps))
    }
}
