//! The picture of the residuals.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::full_palette::{BLUE_700, GREEN_500, GREY_300, ORANGE_700, PURPLE_400, RED_700};

use crate::Result;

/// By solver, in the order of the table.
const COLORS: [RGBColor; 5] = [BLACK, BLUE_700, GREEN_500, RED_700, PURPLE_400];

/// A grid with a curve for each solver: the relative residual before the first iteration and after each.
pub struct Panel {
    pub title: String,
    pub curves: Vec<(&'static str, Vec<f64>)>,
}

/// Draws the panels side by side, each with a logarithmic axis.
pub fn plot(path: &Path, panels: &[Panel]) -> Result<()> {
    // the font comes with a crate, so that a machine without any draws the same picture
    plotters::style::register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| "the font cannot be read")?;
    let columns = (1..).find(|columns| columns * columns >= panels.len()).unwrap_or(1);
    let rows = panels.len().div_ceil(columns);
    let root = BitMapBackend::new(path, (900 * columns as u32, 600 * rows as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    for (panel, area) in panels.iter().zip(root.split_evenly((rows, columns))) {
        // a logarithm has no place for what is not positive
        let visible = |residual: &f64| residual.is_finite() && *residual > 0.0;
        let residuals = || panel.curves.iter().flat_map(|(_, history)| history).copied().filter(visible);
        let (low, high) = (residuals().fold(f64::INFINITY, f64::min), residuals().fold(0.0, f64::max));
        let (low, high) = if low <= high { (low / 1.5, high * 1.5) } else { (1e-6, 1.0) };
        let iterations = panel.curves.iter().map(|(_, history)| history.len()).max().unwrap_or(0).max(2) - 1;
        let mut chart = ChartBuilder::on(&area)
            .caption(&panel.title, ("sans-serif", 32))
            .margin(20)
            .margin_right(34)
            .x_label_area_size(56)
            .y_label_area_size(96)
            .build_cartesian_2d(0.0..iterations as f64, (low..high).log_scale())?;
        chart
            .configure_mesh()
            .x_desc("iteration")
            .y_desc("relative residual")
            .x_labels(10)
            .x_label_formatter(&|iteration| format!("{iteration:.0}"))
            .y_label_formatter(&|residual| format!("{residual:.0e}"))
            .label_style(("sans-serif", 22))
            .axis_desc_style(("sans-serif", 24))
            .bold_line_style(GREY_300.stroke_width(1))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (i, (name, history)) in panel.curves.iter().enumerate() {
            let style = COLORS.get(i).unwrap_or(&ORANGE_700).stroke_width(3);
            let points = history.iter().enumerate().filter(|(_, residual)| visible(residual));
            chart
                .draw_series(LineSeries::new(points.map(|(i, &residual)| (i as f64, residual)), style))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 38, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .legend_area_size(52)
            .margin(16)
            .background_style(WHITE)
            .border_style(GREY_300)
            .label_font(("sans-serif", 23))
            .draw()?;
    }
    root.present()?;
    Ok(())
}
