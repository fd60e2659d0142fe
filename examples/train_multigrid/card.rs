//! The text that goes with coefficients.

use std::fmt;

use gradus::poisson::learned_multigrid::{Coefficients, Training};

use crate::iterations::{Iterations, TOLERANCES, both, number};
use crate::scenes::Scene;

/// A size, and for each scene the iterations of conjugate gradients without and with the cycle.
pub struct Row {
    pub size: String,
    pub scenes: Vec<[Iterations; 2]>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} |", self.size)?;
        for [plain, learned] in &self.scenes {
            write!(f, " {} ({}) |", both(*learned), number(plain[1]))?;
        }
        Ok(())
    }
}

pub fn card(coefficients: &Coefficients, parameters: usize, loss: f64, seconds: f64, command: &str, rows: &[Row]) -> String {
    let Coefficients { dim, stencil, transfer, correction, training, .. } = coefficients;
    let Training { data, steps, batch, optimizer, seed, adapter } = training;
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let names: String = Scene::ALL[..5].iter().map(|scene| format!(" {} |", scene.name())).collect();
    let list = |values: &[f32]| values.iter().map(|value| format!("{value:.3}")).collect::<Vec<_>>().join(", ");
    let [loose, tight] = TOLERANCES;
    format!(
        "# Coefficients of a learned multigrid cycle in {dim} dimensions

{parameters} numbers for `gradus::poisson::LearnedMultigrid`. K = ({}), P = ({}), γ = {correction:.3}; the tables are in the file.

- Data: {data}.
- Training: {steps} steps of {batch} samples, at other sizes than the first as many cells; {optimizer}; seed {seed}.
- Loss at the end: {loss:.5}, the mean of 100 steps.
- Time: {:.1} minutes, validations included, on {adapter}.
- Command: `{command}`

Iterations of conjugate gradients with the cycle until the residual that they update is {loose:.0e} / {tight:.0e} of the first,
from zero, and in brackets those without it to {tight:.0e}; the scenes of `examples/poisson`, which the training does not draw,
and noise for right-hand sides:

| cells |{names}
|---|{}
{rows}",
        list(stencil),
        list(transfer),
        seconds / 60.0,
        "---|".repeat(5),
    )
}
