use super::algorithm::{self, Lower, Lowered, constants, json, not_negative};
use crate::shaders::layout::AdadeltaConstants;
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

impl Lower for Adadelta {
    fn lower(&self, seed: [u32; 2]) -> Result<Lowered> {
        let Self { lr, rho, eps, weight_decay, maximize } = *self;
        let config = json(&[("rho", &rho), ("eps", &eps), ("maximize", &maximize)]);
        let mut lowered = Lowered::new("adadelta", &shaders::optim::ADADELTA, lr, weight_decay, config)?;
        algorithm::check("rho", rho, (0.0..=1.0).contains(&rho), "from 0 to 1")?;
        not_negative("eps", eps)?;
        lowered.maximize = maximize;
        lowered.constants = constants(&AdadeltaConstants {
            rho: rho as f32,
            one_minus_rho: (1.0 - rho) as f32,
            eps: eps as f32,
            seed,
            ..Default::default()
        });
        lowered.states = vec!["square_avg", "acc_delta"];
        Ok(lowered)
    }
}
