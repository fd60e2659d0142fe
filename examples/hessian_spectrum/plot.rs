//! The picture of a spectrum.

use std::path::Path;

use gradus::curvature::SpectralDensity;
use plotters::style::full_palette::{BLUE_700, RED_700};

use crate::Result;
use crate::chart::{self, Curve, Panel, Scale, Style};

/// Draws the density on a logarithmic axis, and a mark for each outlier.
pub fn plot(path: &Path, title: &str, spectrum: &SpectralDensity, outliers: &[f64]) -> Result<()> {
    let top = spectrum.density.iter().copied().fold(1e-3, f64::max);
    // below, Gaussians fall off for ever
    let bottom = 1e-6 * top;
    let density = spectrum.grid.iter().zip(&spectrum.density).map(|(&x, &y)| (x, y.max(bottom))).collect();
    let marks = outliers.iter().map(|&value| (value, 2.0 * bottom)).collect();
    let panel = Panel {
        title: title.into(),
        labels: ["eigenvalue", "density"].map(String::from),
        scales: [Scale::Linear, Scale::Logarithmic],
        curves: vec![
            Curve { name: "density".into(), color: BLUE_700, style: Style::Line, points: density },
            Curve { name: "largest eigenvalues".into(), color: RED_700, style: Style::Triangles, points: marks },
        ],
        ..Default::default()
    };
    chart::write(path, (1200, 700), &[panel])
}
