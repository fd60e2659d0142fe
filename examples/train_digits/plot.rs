//! The picture of the losses.

use std::path::Path;

use crate::chart::{self, Curve, Panel, Scale, Style};
use crate::{Choice, Result};

/// Draws the loss of each epoch, on a logarithmic axis.
pub fn plot(path: &Path, title: &str, curves: &[(&Choice, Vec<f64>)]) -> Result<()> {
    let curves = curves.iter().map(|(choice, losses)| Curve {
        name: choice.name.into(),
        color: choice.color,
        // projected optimizers are often where the ones are that they modify: dashes let both be seen
        style: if choice.dashed { Style::Dashed } else { Style::Line },
        points: losses.iter().zip(1..).map(|(&loss, epoch)| (f64::from(epoch), loss)).collect(),
    });
    let panel = Panel {
        title: title.into(),
        labels: ["epoch", "training loss (mean cross-entropy)"].map(String::from),
        scales: [Scale::Linear, Scale::Logarithmic],
        curves: curves.collect(),
        ..Default::default()
    };
    // large, to be scaled down where it is shown
    chart::write(path, (1200, 800), &[panel])
}
