//! The picture of the losses.

use std::path::Path;

use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::full_palette::GREY_300;

use crate::{Choice, Result};

/// Draws the loss of each epoch, on a logarithmic axis.
pub fn plot(path: &Path, title: &str, curves: &[(&Choice, Vec<f64>)]) -> Result<()> {
    // the font comes with a crate, so that a machine without any draws the same picture
    plotters::style::register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| "the font cannot be read")?;
    // a training that diverged has no loss to show
    let visible = |loss: &f64| loss.is_finite() && *loss > 0.0;
    let losses = || curves.iter().flat_map(|(_, losses)| losses).copied().filter(visible);
    let (low, high) = (losses().fold(f64::INFINITY, f64::min), losses().fold(0.0, f64::max));
    let (low, high) = if low <= high { (low / 1.1, high * 1.1) } else { (0.01, 1.0) };
    let epochs = curves.iter().map(|(_, losses)| losses.len()).max().unwrap_or(0).max(2);

    // large, to be scaled down where it is shown
    let root = BitMapBackend::new(path, (1200, 800)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 34))
        .margin(20)
        .margin_right(34)
        .x_label_area_size(60)
        .y_label_area_size(88)
        .build_cartesian_2d(1.0..epochs as f64, (low..high).log_scale().with_key_points(ticks(low, high)))?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .y_desc("training loss (mean cross-entropy)")
        .x_labels(10)
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .y_label_formatter(&|loss| loss.to_string())
        .label_style(("sans-serif", 22))
        .axis_desc_style(("sans-serif", 24))
        .bold_line_style(GREY_300.stroke_width(1))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (choice, losses) in curves {
        let points = losses.iter().zip(1..).filter(|(loss, _)| visible(loss)).map(|(&loss, epoch)| (f64::from(epoch), loss));
        let style = choice.color.stroke_width(3);
        let key = |(x, y)| [(x, y), (x + 38, y)];
        // projected optimizers are often where the ones are that they modify: dashes let both be seen
        match choice.dashed {
            true => chart
                .draw_series(DashedLineSeries::new(points, 10, 10, style))?
                .label(choice.name)
                .legend(move |at| DashedPathElement::new(key(at), 10, 6, style)),
            false => {
                chart.draw_series(LineSeries::new(points, style))?.label(choice.name).legend(move |at| PathElement::new(key(at), style))
            }
        };
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

/// 1, 2 and 5 times the powers of ten from `low` to `high`.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let decade = |power: i32| {
        // a division by a power of ten is exact enough to be printed as the decimal number
        let times = move |digit: f64| if power < 0 { digit / 10f64.powi(-power) } else { digit * 10f64.powi(power) };
        [1.0, 2.0, 5.0].map(times)
    };
    (-12..=12).flat_map(decade).filter(|tick| (low..=high).contains(tick)).collect()
}
