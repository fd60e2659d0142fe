//! Charts of curves, as PNG files.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::full_palette::GREY_300;

use crate::Result;

pub type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "each example uses its part")]
pub enum Style {
    Line,
    /// Without a place in the legend.
    Thin,
    Dashed,
    Triangles,
}

pub struct Curve {
    pub name: String,
    pub color: RGBColor,
    pub style: Style,
    pub points: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    #[default]
    Linear,
    Logarithmic,
}

/// One pair of axes, x and y. Points that are not finite are left out, on logarithmic axes those that are not positive too.
#[derive(Default)]
pub struct Panel {
    pub title: String,
    pub labels: [String; 2],
    pub scales: [Scale; 2],
    pub curves: Vec<Curve>,
    pub legend: Legend,
}

/// The corner where the curves' names are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(dead_code, reason = "each example uses its part")]
pub enum Legend {
    #[default]
    UpperRight,
    LowerLeft,
}

/// A white picture of so many pixels.
pub fn canvas(path: &Path, size: (u32, u32)) -> Result<Area<'_>> {
    // the font comes with a crate, so that a machine without any draws the same picture
    plotters::style::register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| "the font cannot be read")?;
    let area = BitMapBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    Ok(area)
}

/// A picture of panels of so many pixels, in about as many columns as rows.
#[allow(dead_code, reason = "each example uses its part")]
pub fn write(path: &Path, (width, height): (u32, u32), panels: &[Panel]) -> Result<()> {
    let columns = (1..).find(|columns| columns * columns >= panels.len()).unwrap_or(1).max(1);
    let rows = panels.len().div_ceil(columns).max(1);
    let root = canvas(path, (width * columns as u32, height * rows as u32))?;
    for (panel, area) in panels.iter().zip(root.split_evenly((rows, columns))) {
        draw(&area, panel)?;
    }
    root.present()?;
    Ok(())
}

pub fn draw(area: &Area<'_>, panel: &Panel) -> Result<()> {
    // on the axes, where they are linear again
    let place = |&(x, y): &(f64, f64)| {
        let [x, y] = [panel.scales[0].place(x), panel.scales[1].place(y)];
        (x.is_finite() && y.is_finite()).then_some((x, y))
    };
    let curves: Vec<Vec<(f64, f64)>> = panel.curves.iter().map(|curve| curve.points.iter().filter_map(place).collect()).collect();
    let range = |values: &mut dyn Iterator<Item = f64>, margin: f64| {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        match high - low {
            width if width > 0.0 => low - margin * width..high + margin * width,
            _ if low.is_finite() => low - 0.5..low + 0.5,
            _ => 0.0..1.0,
        }
    };
    let x = range(&mut curves.iter().flatten().map(|point| point.0), 0.0);
    let y = range(&mut curves.iter().flatten().map(|point| point.1), 0.03);
    let mut builder = ChartBuilder::on(area);
    if !panel.title.is_empty() {
        builder.caption(&panel.title, ("sans-serif", 32));
    }
    let mut chart = builder
        .margin(20)
        .margin_right(34)
        .x_label_area_size(60)
        .y_label_area_size(96)
        .build_cartesian_2d(Axis(panel.scales[0], x.clone()), Axis(panel.scales[1], y.clone()))?;
    chart
        .configure_mesh()
        .x_desc(&panel.labels[0])
        .y_desc(&panel.labels[1])
        .label_style(("sans-serif", 22))
        .axis_desc_style(("sans-serif", 24))
        .bold_line_style(GREY_300.stroke_width(1))
        .light_line_style(TRANSPARENT)
        .draw()?;
    let (width, height) = (x.end - x.start, y.end - y.start);
    for (curve, points) in panel.curves.iter().zip(curves) {
        // of points that are less than a line's width apart, strokes make spikes
        let apart = |a: (f64, f64), b: (f64, f64)| ((a.0 - b.0) / width).abs().max(((a.1 - b.1) / height).abs()) > 0.01;
        let points = points.into_iter().fold(Vec::new(), |mut kept: Vec<(f64, f64)>, at| {
            if kept.last().is_none_or(|&last| curve.style == Style::Triangles || apart(last, at)) {
                kept.push(at);
            }
            kept
        });
        let Curve { name, color, style, .. } = curve;
        let line = color.stroke_width(if *style == Style::Thin { 1 } else { 3 });
        let key = |(x, y)| [(x, y), (x + 38, y)];
        match style {
            Style::Thin => {
                chart.draw_series(LineSeries::new(points, line))?;
            }
            Style::Line => {
                chart.draw_series(LineSeries::new(points, line))?.label(name).legend(move |at| PathElement::new(key(at), line));
            }
            Style::Dashed => {
                chart
                    .draw_series(DashedLineSeries::new(points, 10, 10, line))?
                    .label(name)
                    .legend(move |at| DashedPathElement::new(key(at), 10, 6, line));
            }
            Style::Triangles => {
                let filled = color.filled();
                chart
                    .draw_series(points.into_iter().map(|at| TriangleMarker::new(at, 9, filled)))?
                    .label(name)
                    .legend(move |(x, y)| TriangleMarker::new((x + 19, y), 9, filled));
            }
        }
    }
    if panel.curves.iter().filter(|curve| curve.style != Style::Thin).count() > 1 {
        chart
            .configure_series_labels()
            .position(match panel.legend {
                Legend::UpperRight => SeriesLabelPosition::UpperRight,
                Legend::LowerLeft => SeriesLabelPosition::LowerLeft,
            })
            .legend_area_size(52)
            .margin(16)
            .background_style(WHITE)
            .border_style(GREY_300)
            .label_font(("sans-serif", 23))
            .draw()?;
    }
    Ok(())
}

/// With places from and to.
struct Axis(Scale, Range<f64>);

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, (low, high): (i32, i32)) -> i32 {
        let share = (place - self.1.start) / (self.1.end - self.1.start);
        low + (share * f64::from(high - low)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.0.ticks(self.1.start, self.1.end)
    }

    fn range(&self) -> Range<f64> {
        self.1.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, place: &f64) -> String {
        self.0.label(*place)
    }
}

impl Scale {
    /// Where a value is on the axis; not finite if it has no place.
    fn place(self, value: f64) -> f64 {
        match self {
            Scale::Linear => value,
            Scale::Logarithmic if value > 0.0 => value.log10(),
            Scale::Logarithmic => f64::NAN,
        }
    }

    fn label(self, place: f64) -> String {
        let value = match self {
            Scale::Linear => place,
            Scale::Logarithmic => 10f64.powf(place),
        };
        // without what the ticks' arithmetic adds to the last digits
        let short = format!("{value:.3e}").parse::<f64>().unwrap_or(value);
        if short != 0.0 && !(1e-3..1e6).contains(&short.abs()) { format!("{short:e}") } else { short.to_string() }
    }

    /// At most ten places, of round values.
    fn ticks(self, low: f64, high: f64) -> Vec<f64> {
        let within = |places: &mut dyn Iterator<Item = f64>| places.filter(|place| (low..=high).contains(place)).collect::<Vec<f64>>();
        if self == Scale::Logarithmic && high - low > 0.5 {
            // 1, 2 and 5 times the powers of ten; of many powers only they, and of very many not all
            let decades = || (low.floor() as i32..=high.ceil() as i32).map(f64::from);
            let digits: &[f64] = if high - low < 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let stride = ((high - low) / 10.0).ceil().max(1.0);
            let powers = decades().filter(|decade| decade.rem_euclid(stride) == 0.0);
            return within(&mut powers.flat_map(|decade| digits.iter().map(move |digit| decade + digit.log10())));
        }
        // of a short logarithmic axis the values are about evenly spaced
        let value = |place: f64| if self == Scale::Linear { place } else { 10f64.powf(place) };
        let (from, to) = (value(low), value(high));
        let decade = 10f64.powf(((to - from) / 10.0).log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|digit| digit * decade).into_iter().find(|step| (to - from) / step <= 10.0).unwrap_or(to - from);
        let first = (from / step).ceil();
        within(&mut (0..=10).map(|i| self.place((first + f64::from(i)) * step)))
    }
}
