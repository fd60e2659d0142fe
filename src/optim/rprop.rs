use super::algorithm::{Algorithm, Initial, Update, check, json, not_negative};
use crate::{Result, shaders};

/// Rprop (Riedmiller & Braun 1993; `torch.optim.Rprop`): a step size for each element, which grows while the gradient keeps its sign; 28
/// bytes a parameter of f32. For gradients of whole data sets.
///
/// `s *= etas[1]` where the gradient has the sign that it had, `s *= etas[0]` and `g = 0` where it has the other; `p -= sign(g)·s`. The
/// learning rate is the first `s` and has no other effect. States: `prev` (the last g), `step_size` (s).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rprop {
    /// The first step size. Default: 1e-2.
    pub lr: f64,
    /// Factors of the step size after a change of sign, and without one. Default: 0.5, 1.2.
    pub etas: [f64; 2],
    /// The least and the greatest step size. Default: 1e-6, 50.
    pub step_sizes: [f64; 2],
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for Rprop {
    fn default() -> Self {
        Self { lr: 1e-2, etas: [0.5, 1.2], step_sizes: [1e-6, 50.0], maximize: false }
    }
}

impl Algorithm for Rprop {
    fn update(&self) -> Result<Update> {
        let Self { lr, etas, step_sizes, maximize } = *self;
        check("etas", format!("{etas:?}"), 0.0 < etas[0] && etas[0] < 1.0 && 1.0 < etas[1], "0 < etas[0] < 1 < etas[1]")?;
        not_negative("step_sizes[0]", step_sizes[0])?;
        not_negative("step_sizes[1]", step_sizes[1])?;
        check("step_sizes", format!("{step_sizes:?}"), step_sizes[0] <= step_sizes[1], "the least and the greatest")?;
        let config = json(&[("etas", &etas), ("step_sizes", &step_sizes), ("maximize", &maximize)]);
        Ok(Update::built_in("rprop", shaders::optim::RPROP, &[], lr, config)?
            .maximize(maximize)
            .state("prev")
            .state_from("step_size", Initial::LearningRate)
            .constant("etaminus", etas[0])
            .constant("etaplus", etas[1])
            .constant("least", step_sizes[0])
            .constant("greatest", step_sizes[1]))
    }
}
