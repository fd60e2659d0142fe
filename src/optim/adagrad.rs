use super::algorithm::{Algorithm, Initial, Update, json, not_negative};
use crate::{Result, shaders};

/// Adagrad (Duchi, Hazan & Singer 2011; `torch.optim.Adagrad`); 20 bytes a parameter of f32.
///
/// `s += g²`; `p -= lr/(1+(t-1)·lr_decay) · g/(√s+eps)`. Weight decay is coupled. State: `sum`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adagrad {
    /// Learning rate. Default: 1e-2.
    pub lr: f64,
    /// Default: 0.
    pub lr_decay: f64,
    /// Default: 0.
    pub weight_decay: f64,
    /// What `sum` begins with. Default: 0.
    pub initial_accumulator_value: f64,
    /// Default: 1e-10.
    pub eps: f64,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for Adagrad {
    fn default() -> Self {
        Self { lr: 1e-2, lr_decay: 0.0, weight_decay: 0.0, initial_accumulator_value: 0.0, eps: 1e-10, maximize: false }
    }
}

impl Algorithm for Adagrad {
    fn update(&self) -> Result<Update> {
        let Self { lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize } = *self;
        not_negative("lr_decay", lr_decay)?;
        not_negative("initial_accumulator_value", initial_accumulator_value)?;
        not_negative("eps", eps)?;
        let config = json(&[
            ("lr_decay", &lr_decay),
            ("initial_accumulator_value", &initial_accumulator_value),
            ("eps", &eps),
            ("maximize", &maximize),
        ]);
        let update = Update::built_in("adagrad", shaders::optim::ADAGRAD, &[], lr, config)?;
        Ok(update
            .coupled_decay(weight_decay)
            .maximize(maximize)
            .state_from("sum", Initial::Value(initial_accumulator_value))
            .constant("eps", eps)
            .constant("lr_decay", lr_decay)
            .prepared("step_size"))
    }
}
