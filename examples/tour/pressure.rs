//! The pressure of a step of smoke, by one solver after another.

use std::io::{Stdout, Write};
use std::path::Path;
use std::time::Instant;

use gradus::poisson::{Cell, Grid};
use gradus::{DType, Gpu, Tensor};
use plotters::prelude::*;
use plotters::style::full_palette::{BLUE_700, GREEN_500, ORANGE_700, PURPLE_400, RED_700};

use crate::chart::{self, Area, Curve, Legend, Panel, Scale, Style};
use crate::fluid::{Fluid, Options};
use crate::solvers::{Settings, choice};
use crate::{Result, wrote};

/// Cells an axis.
const SIZE: usize = 128;
/// Of the smoke, before the step that is solved for.
const STEPS: u32 = 170;
const TOLERANCE: f64 = 1e-4;
/// Of the solvers, in the order in which they are named.
const COLORS: [RGBColor; 6] = [BLACK, BLUE_700, GREEN_500, ORANGE_700, PURPLE_400, RED_700];

/// A solution: the residual before the first iteration and after each, relative to the first, and the time of all.
struct Solution {
    name: &'static str,
    color: RGBColor,
    history: Vec<f64>,
    seconds: f64,
}

pub async fn solve(gpu: &Gpu, solvers: &[String], path: &Path, out: &mut Stdout) -> Result<()> {
    writeln!(out, "\n3. The pressure of smoke, {SIZE} by {SIZE} cells, after {STEPS} steps")?;
    let options = Options { size: SIZE, dim: 2, solver: choice("multigrid")?, tolerance: TOLERANCE, weights: None, warm_start: true };
    let mut fluid = Fluid::new(gpu, &options)?;
    for i in 1..=STEPS {
        let step = fluid.step().await?;
        if step.failed() {
            return Err(format!("step {i} of the smoke failed: {:?}", step.status).into());
        }
    }
    let (grid, smoke, b) = (fluid.grid().clone(), fluid.density().await?, fluid.right_hand_side().await?);
    let solutions = solutions(gpu, &grid, &b, solvers, out).await?;
    if let Some(fastest) = solutions.iter().min_by(|a, b| a.seconds.total_cmp(&b.seconds)) {
        writeln!(out, "   on this adapter {} is the fastest", fastest.name)?;
    }
    wrote(out, path, |path| picture(path, &grid, &smoke, &solutions))
}

async fn solutions(gpu: &Gpu, grid: &Grid, b: &[f32], solvers: &[String], out: &mut Stdout) -> Result<Vec<Solution>> {
    let b = Tensor::from_slice(gpu, grid.sizes(), b)?;
    let x = Tensor::zeros(gpu, grid.sizes(), DType::F32)?;
    let settings = Settings { tolerance: TOLERANCE, max_iterations: 5000, weights: None, truncation: 2, recompute: true };
    let mut solutions = Vec::new();
    for (name, color) in solvers.iter().zip(COLORS.into_iter().cycle()) {
        let choice = choice(name)?;
        let name = choice.name;
        let mut solver = choice.solver(gpu, grid, &b, &x, &settings)?;
        // drivers compile in the first solution, which does not count
        let mut measured = None;
        for _ in 0..2 {
            x.write(gpu, &vec![0f32; x.len()])?;
            let start = Instant::now();
            let report = solver.solve().await?;
            measured = Some((report, start.elapsed().as_secs_f64()));
        }
        let Some((report, seconds)) = measured else { continue };
        writeln!(out, "   {name:20} {:4} iterations {:8.1} ms  {:?}", report.iterations, 1e3 * seconds, report.status)?;
        let first = report.history.first().copied().unwrap_or(1.0);
        let history = report.history.into_iter().map(|norm| norm / first).collect();
        solutions.push(Solution { name, color, history, seconds });
    }
    Ok(solutions)
}

/// The smoke, and the residuals by iterations and by time.
fn picture(path: &Path, grid: &Grid, smoke: &[f32], solutions: &[Solution]) -> Result<()> {
    let panel = |label: &str, of: &dyn Fn(&Solution, usize) -> f64| Panel {
        title: String::new(),
        labels: [label, "relative residual"].map(String::from),
        scales: [Scale::Logarithmic; 2],
        legend: Legend::LowerLeft,
        curves: solutions
            .iter()
            .map(|solution| {
                let points = solution.history.iter().enumerate().map(|(i, &residual)| (of(solution, i), residual));
                Curve { name: solution.name.into(), color: solution.color, style: Style::Line, points: points.collect() }
            })
            .collect(),
    };
    let each = |solution: &Solution| 1e3 * solution.seconds / (solution.history.len().max(2) - 1) as f64;
    let panels = [panel("iterations", &|_, i| i as f64), panel("time in ms", &|solution, i| each(solution) * i as f64)];
    let side = 640;
    let root = chart::canvas(path, (3 * side, side))?;
    let parts = root.split_evenly((1, 3));
    draw_smoke(&parts[0], side, grid, smoke)?;
    for (panel, area) in panels.iter().zip(&parts[1..]) {
        chart::draw(area, panel)?;
    }
    root.present()?;
    Ok(())
}

fn draw_smoke(area: &Area<'_>, side: u32, grid: &Grid, smoke: &[f32]) -> Result<()> {
    let n = grid.sizes()[0];
    let scale = (side as usize / n).max(1);
    let margin = (side as usize - scale * n) / 2;
    for (i, (&cell, &density)) in grid.cells().iter().zip(smoke).enumerate() {
        let (x, y) = (margin + i % n * scale, margin + (n - 1 - i / n) * scale);
        let share = 1.0 - (-2.0 * density).exp();
        let color = match cell {
            Cell::Fluid => RGBColor(shade(16, 244, share), shade(20, 240, share), shade(36, 232, share)),
            _ => RGBColor(196, 84, 48),
        };
        let corners = [(x as i32, y as i32), ((x + scale) as i32, (y + scale) as i32)];
        area.draw(&Rectangle::new(corners, color.filled()))?;
    }
    Ok(())
}

fn shade(from: u8, to: u8, share: f32) -> u8 {
    (f32::from(from) + share * (f32::from(to) - f32::from(from))).round() as u8
}
