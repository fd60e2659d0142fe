//! The text that goes with weights.

use std::fmt;

use crate::trainer::Config;
use crate::validation::{Iterations, Obstacles, Rhs, TOLERANCES};

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
        let number = |iterations: Option<usize>| iterations.map_or("-".to_owned(), |iterations| iterations.to_string());
        let both = |iterations: Iterations| iterations.map(number).join(" / ");
        write!(f, "| {} | {} | {} | {} | {} |", self.size, self.obstacles.name(), self.rhs.name(), both(self.plain), both(self.deep))
    }
}

pub fn card(config: &Config, loss: f64, seconds: f64, adapter: &str, command: &str, rows: &[Row]) -> String {
    let Config { architecture, sizes, open, obstacles, batch, steps, optimizer, lr, seed } = config;
    let dim = architecture.dim;
    let around = if *open { "air" } else { "walls" };
    let sizes = sizes.iter().map(|size| format!("{size}{}", if dim == 2 { "²" } else { "³" })).collect::<Vec<_>>().join(", ");
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    format!(
        "# Deep conjugate directions in {dim} dimensions, {around} around

Weights of `gradus::poisson::dcdm`, architecture `{}`.

- Data: mixtures of the modes of empty boxes of {sizes} cells, {around} around, the lower 55 % weighted 9 times as much as the
  others; {:.0} % of the samples with obstacles (balls, or rubble of up to 20 %). {steps} steps of {batch} samples, seed {seed}.
- Optimizer: {optimizer:?}, one cycle with a peak of {lr}. Loss at the end {loss:.5}, the mean of 100 steps.
- Time: {:.0} minutes, validations included, on {adapter}.
- Command: `{command}`

Iterations to a relative residual of {:.0e} / {:.0e}, of right-hand sides that the training did not draw, from zero; the
truncation is 2, and the residual is recomputed in every iteration:

| cells an axis | obstacles | right-hand side | conjugate gradients | deep conjugate directions |
|---|---|---|---|---|
{rows}",
        architecture.to_json(),
        100.0 * obstacles,
        seconds / 60.0,
        TOLERANCES[0],
        TOLERANCES[1],
    )
}
