//! The picture of a training.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::full_palette::{BLUE_200, BLUE_700, GREEN_500, GREY_300, RED_700};

use crate::{Result, Validation};

/// The steps over which the loss is averaged.
const WINDOW: usize = 50;

/// Draws the loss of each step on a logarithmic axis, and below it the iterations of the validations.
pub fn plot(path: &Path, losses: &[f32], validations: &[Validation], size: usize) -> Result<()> {
    // the font comes with a crate, so that a machine without any draws the same picture
    plotters::style::register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| "the font cannot be read")?;
    let root = BitMapBackend::new(path, (1200, 1100)).into_drawing_area();
    root.fill(&WHITE)?;
    let (above, below) = root.split_vertically(600);
    let steps = losses.len().max(2) as f64;

    let visible = |loss: &f64| loss.is_finite() && *loss > 0.0;
    let each: Vec<f64> = losses.iter().copied().map(f64::from).collect();
    let means: Vec<f64> = each.windows(WINDOW.min(each.len().max(1))).map(|part| part.iter().sum::<f64>() / part.len() as f64).collect();
    let (low, high) = each.iter().copied().filter(visible).fold((1.0, 1e-3), |(low, high): (f64, f64), x| (low.min(x), high.max(x)));
    let mut chart = chart_builder(&above).build_cartesian_2d(0.0..steps, (0.8 * low..1.2 * high).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("step")
        .y_desc("loss")
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&|loss| loss.to_string())
        .label_style(("sans-serif", 22))
        .axis_desc_style(("sans-serif", 24))
        .bold_line_style(GREY_300.stroke_width(1))
        .light_line_style(TRANSPARENT)
        .draw()?;
    let points = |values: &[f64], first: usize| -> Vec<(f64, f64)> {
        values.iter().enumerate().filter(|(_, loss)| visible(loss)).map(|(i, &loss)| ((i + first) as f64, loss)).collect()
    };
    chart.draw_series(LineSeries::new(points(&each, 1), BLUE_200.stroke_width(1)))?;
    chart.draw_series(LineSeries::new(points(&means, WINDOW.min(each.len())), BLUE_700.stroke_width(3)))?;

    let most = validations.iter().flat_map(|(_, found)| found).copied().filter(visible).fold(10.0, f64::max);
    let mut chart = chart_builder(&below).build_cartesian_2d(0.0..steps, 0.0..1.1 * most)?;
    chart
        .configure_mesh()
        .x_desc("step")
        .y_desc(format!("iterations, {size} cells an axis"))
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&|iterations| format!("{iterations:.0}"))
        .label_style(("sans-serif", 22))
        .axis_desc_style(("sans-serif", 24))
        .bold_line_style(GREY_300.stroke_width(1))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (i, (name, color)) in [("to 1e-4", GREEN_500), ("to 1e-6", RED_700)].into_iter().enumerate() {
        let points = validations.iter().filter(|(_, found)| visible(&found[i])).map(|&(step, found)| (f64::from(step), found[i]));
        let style = color.stroke_width(3);
        chart.draw_series(LineSeries::new(points, style))?.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 38, y)], style));
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
    root.present()?;
    Ok(())
}

fn chart_builder<'a, 'b, DB: DrawingBackend>(area: &'a DrawingArea<DB, plotters::coord::Shift>) -> ChartBuilder<'a, 'b, DB> {
    let mut builder = ChartBuilder::on(area);
    builder.margin(20).margin_right(34).x_label_area_size(60).y_label_area_size(88);
    builder
}
