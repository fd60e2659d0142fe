use super::algorithm::{Algorithm, Update, check, json, not_negative};
use crate::{Result, shaders};

/// Averaged stochastic gradient descent (Polyak & Juditsky 1992; `torch.optim.ASGD`); 20 bytes a parameter of f32.
///
/// `η = lr/(1+lambd·lr·(t-1))^alpha`; `p *= 1-lambd·η`; `p -= η·g`; `a += (p-a)/max(1, t-1-t0)`. Weight decay is coupled. State: `ax` (a).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asgd {
    /// Learning rate. Default: 1e-2.
    pub lr: f64,
    /// Decay of the parameter and of the learning rate. Default: 1e-4.
    pub lambd: f64,
    /// The power of the learning rate's decay. Default: 0.75.
    pub alpha: f64,
    /// The step after which averaging begins. Default: 1e6.
    pub t0: f64,
    /// Default: 0.
    pub weight_decay: f64,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for Asgd {
    fn default() -> Self {
        Self { lr: 1e-2, lambd: 1e-4, alpha: 0.75, t0: 1e6, weight_decay: 0.0, maximize: false }
    }
}

impl Algorithm for Asgd {
    fn update(&self) -> Result<Update> {
        let Self { lr, lambd, alpha, t0, weight_decay, maximize } = *self;
        not_negative("lambd", lambd)?;
        check("alpha", alpha, (alpha as f32).is_finite(), "a finite number")?;
        not_negative("t0", t0)?;
        let config = json(&[("lambd", &lambd), ("alpha", &alpha), ("t0", &t0), ("maximize", &maximize)]);
        Ok(Update::built_in("asgd", shaders::optim::ASGD, &[], lr, config)?
            .coupled_decay(weight_decay)
            .maximize(maximize)
            .state("ax")
            .constant("lambd", lambd)
            .constant("alpha", alpha)
            .constant("t0", t0)
            .prepared("eta")
            .prepared("mu")
            .prepared("shrink"))
    }
}
