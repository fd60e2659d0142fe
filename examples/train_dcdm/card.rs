//! The text that goes with weights.

use std::fmt;

use crate::iterations::{Iterations, TOLERANCES, both};
use crate::validation::{Obstacles, Rhs};
use gradus::poisson::dcdm::{Training, Weights};

/// A system, and the iterations of conjugate gradients and of the deep conjugate direction method.
pub struct Row {
    pub size: usize,
    pub obstacles: Obstacles,
    pub rhs: Rhs,
    pub plain: Iterations,
    pub deep: Iterations,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} | {} | {} | {} | {} |", self.size, self.obstacles.name(), self.rhs.name(), both(self.plain), both(self.deep))
    }
}

pub fn card(weights: &Weights, loss: f64, seconds: f64, command: &str, rows: &[Row]) -> String {
    let Weights { architecture, training, .. } = weights;
    let Training { data, steps, batch, optimizer, seed, adapter } = training;
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let [loose, tight] = TOLERANCES;
    format!(
        "# Weights for the deep conjugate direction method

A network for `gradus::poisson::dcdm`: `{}`.

- Data: {data}.
- Training: {steps} steps of {batch} samples, at other sizes than the first as many cells; {optimizer}; seed {seed}.
- Loss at the end: {loss:.5}, the mean of 100 steps.
- Time: {:.0} minutes, validations included, on {adapter}.
- Command: `{command}`

Iterations until the residual that they update is {loose:.0e} / {tight:.0e} of the first, for right-hand sides that the
training does not draw, from zero, with a truncation of 2; of conjugate gradients, without a preconditioner:

| cells an axis | obstacles | right-hand side | conjugate gradients | deep conjugate directions |
|---|---|---|---|---|
{rows}",
        architecture.to_json(),
        seconds / 60.0,
    )
}
