//! The picture of a stencil and of how it was trained.

use std::path::Path;

use gradus::poisson::learned_multigrid::Coefficients;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Result;
use crate::chart::{self, Panel};

/// Draws the planes of the stencil from its centre outward, and below them the panels.
pub fn write(path: &Path, coefficients: &Coefficients, panels: &[Panel]) -> Result<()> {
    let (radius, planes) = (coefficients.radius(), if coefficients.dim == 3 { coefficients.radius() + 1 } else { 1 });
    let root = chart::canvas(path, (1500, 1150))?;
    let (above, below) = root.split_vertically(600);
    let all = above.split_evenly((1, planes));
    let most = coefficients.stencil.iter().fold(0f32, |most, value| most.max(value.abs()));
    for (plane, area) in all.iter().enumerate() {
        let (width, height) = area.dim_in_pixel();
        let side = (width.min(height) as i32 - 60) / (2 * radius as i32 + 1);
        let (left, top) = ((width as i32 - side * (2 * radius as i32 + 1)) / 2, 30);
        for y in 0..=2 * radius {
            for x in 0..=2 * radius {
                let offset = [y, x].map(|p| p as isize - radius as isize);
                let offset = if coefficients.dim == 3 { vec![plane as isize, offset[0], offset[1]] } else { offset.to_vec() };
                let value = coefficients.stencil[Coefficients::orbit(&offset)];
                let (x, y) = (left + x as i32 * side, top + y as i32 * side);
                // by the square root, so that the outer ones are seen
                let pale = (255.0 * (1.0 - (value.abs() / most).sqrt())) as u8;
                let color = if value < 0.0 { RGBColor(255, pale, pale) } else { RGBColor(pale, pale, 255) };
                area.draw(&Rectangle::new([(x, y), (x + side - 3, y + side - 3)], color.filled()))?;
                let ink = if pale < 128 { WHITE } else { BLACK };
                let style = ("sans-serif", 26).into_font().color(&ink).pos(Pos::new(HPos::Center, VPos::Center));
                area.draw(&Text::new(format!("{value:.4}"), (x + side / 2, y + side / 2), style))?;
            }
        }
    }
    for (panel, area) in panels.iter().zip(below.split_evenly((1, panels.len()))) {
        chart::draw(&area, panel)?;
    }
    root.present()?;
    Ok(())
}
