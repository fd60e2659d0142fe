use super::algorithm::{Algorithm, Update, json};
use crate::{Result, shaders};

/// The exponentiated gradient (Kivinen & Warmuth 1997; Cornford et al. 2024), a multiplicative step in which weights keep their sign; 12
/// bytes a parameter of f32.
///
/// `p *= exp(-lr·sign(p)·g)`. What is 0 stays 0. No states, no decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExponentiatedGradient {
    /// Learning rate. Default: 1e-3.
    pub lr: f64,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for ExponentiatedGradient {
    fn default() -> Self {
        Self { lr: 1e-3, maximize: false }
    }
}

impl Algorithm for ExponentiatedGradient {
    fn update(&self) -> Result<Update> {
        let Self { lr, maximize } = *self;
        let config = json(&[("maximize", &maximize)]);
        Ok(Update::built_in("exponentiated_gradient", shaders::optim::EXPONENTIATED_GRADIENT, &[], lr, config)?.maximize(maximize))
    }
}
