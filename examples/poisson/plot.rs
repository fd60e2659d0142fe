//! The picture of the residuals.

use std::path::Path;

use plotters::style::RGBColor;
use plotters::style::full_palette::{BLACK, BLUE_700, GREEN_500, ORANGE_700, PURPLE_400, RED_700};

use crate::Result;
use crate::chart::{self, Curve, Scale, Style};

/// By solver, in the order of the table.
const COLORS: [RGBColor; 6] = [BLACK, BLUE_700, GREEN_500, RED_700, PURPLE_400, ORANGE_700];

/// A grid with a curve for each solver: the relative residual before the first iteration and after each.
pub struct Panel {
    pub title: String,
    pub curves: Vec<(String, Vec<f64>)>,
}

/// Draws the panels side by side, each with a logarithmic axis.
pub fn plot(path: &Path, panels: Vec<Panel>) -> Result<()> {
    let panels = panels.into_iter().map(|Panel { title, curves }| {
        let curves = curves.into_iter().zip(COLORS.into_iter().cycle()).map(|((name, history), color)| {
            let points = history.into_iter().enumerate().map(|(i, residual)| (i as f64, residual)).collect();
            Curve { name, color, style: Style::Line, points }
        });
        chart::Panel {
            title,
            labels: ["iteration", "relative residual"].map(String::from),
            scales: [Scale::Linear, Scale::Logarithmic],
            curves: curves.collect(),
            ..Default::default()
        }
    });
    chart::write(path, (900, 600), &panels.collect::<Vec<_>>())
}
