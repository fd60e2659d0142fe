//! The course of a training: progress, validations, checkpoints, and the picture of it.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use plotters::style::full_palette::{BLUE_200, BLUE_700, GREEN_500, RED_700};
use serde_json::{Value, json};

use crate::Result;
use crate::chart::{Curve, Panel, Scale, Style};
use crate::trainer::{Source, Trainer};

/// The steps over which the picture averages the loss.
const WINDOW: usize = 50;

/// The mean iterations after so many steps, to a loose and a tight tolerance; not a number where one was not reached.
pub type Validation = (u32, [f64; 2]);

#[derive(Default)]
pub struct Course {
    /// Of the training, with its validations.
    pub seconds: f64,
    pub validations: Vec<Validation>,
}

impl Course {
    /// That of a checkpoint, from which the training goes on.
    pub fn resume<S: Source>(trainer: &mut Trainer<S>, checkpoint: &Path) -> Result<Self> {
        let bytes = std::fs::read(checkpoint).map_err(|error| format!("{}: {error}", checkpoint.display()))?;
        Ok(Self::parse(&trainer.resume(&bytes)?).ok_or("the checkpoint has no times and validations")?)
    }

    /// To step `steps`. Every `every` steps and at the end there is a validation, and after it a checkpoint.
    pub async fn run<S: Source>(
        &mut self,
        trainer: &mut Trainer<S>,
        steps: u32,
        every: u32,
        checkpoint: &Path,
        validate: impl AsyncFn() -> Result<[f64; 2]>,
    ) -> Result<()> {
        let bar = bar(steps);
        let mut start = Instant::now();
        while trainer.steps() < steps {
            trainer.step().await?;
            let step = trainer.steps();
            bar.set_position(step.into());
            let due = step.is_multiple_of(every) || step == steps;
            if step.is_multiple_of(10) || due {
                bar.set_message(format!("{:.4}", trainer.loss().await?));
            }
            if due {
                let found = validate().await?;
                self.validations.push((step, found));
                self.seconds += start.elapsed().as_secs_f64();
                start = Instant::now();
                write(checkpoint, &trainer.checkpoint(&self.note()).await?)?;
                let loss = trainer.loss().await?;
                let line = format!("step {step}, {:.0} s: loss {loss:.5}, iterations {:.1} and {:.1}", self.seconds, found[0], found[1]);
                // println would panic if nobody reads any more
                bar.suspend(|| writeln!(std::io::stdout(), "{line}"))?;
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// The loss of each step, and below it the iterations of the validations, on grids of so many cells.
    pub fn panels(&self, losses: &[f32], tolerances: [f64; 2], cells: &str) -> [Panel; 2] {
        let each: Vec<f64> = losses.iter().copied().map(f64::from).collect();
        let window = WINDOW.min(each.len().max(1));
        let means = each.windows(window).map(|part| part.iter().sum::<f64>() / part.len() as f64);
        let from = |first: usize, values: Vec<f64>| values.into_iter().enumerate().map(|(i, loss)| ((i + first) as f64, loss)).collect();
        let means = from(window, means.collect());
        let curve = |name: String, color, style, points| Curve { name, color, style, points };
        let iterations = |i: usize| self.validations.iter().map(|&(step, found)| (f64::from(step), found[i])).collect();
        [
            Panel {
                labels: ["step".into(), "loss".into()],
                scales: [Scale::Linear, Scale::Logarithmic],
                curves: vec![
                    curve("each".into(), BLUE_200, Style::Thin, from(1, each)),
                    curve(format!("mean of {window}"), BLUE_700, Style::Line, means),
                ],
                ..Default::default()
            },
            Panel {
                labels: ["step".into(), format!("iterations, {cells}")],
                curves: vec![
                    curve(format!("to {:.0e}", tolerances[0]), GREEN_500, Style::Line, iterations(0)),
                    curve(format!("to {:.0e}", tolerances[1]), RED_700, Style::Line, iterations(1)),
                ],
                ..Default::default()
            },
        ]
    }

    fn note(&self) -> String {
        json!({ "seconds": self.seconds, "validations": self.validations }).to_string()
    }

    /// What was not a number is `null` there.
    fn parse(note: &str) -> Option<Self> {
        let note: Value = serde_json::from_str(note).ok()?;
        let validation = |entry: &Value| {
            let found = |i: usize| entry[1][i].as_f64().unwrap_or(f64::NAN);
            Some((u32::try_from(entry[0].as_u64()?).ok()?, [found(0), found(1)]))
        };
        let validations = note["validations"].as_array()?.iter().map(validation).collect::<Option<Vec<_>>>()?;
        Some(Self { seconds: note["seconds"].as_f64()?, validations })
    }
}

/// By way of another file, so that an interruption leaves the one that was there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let aside = path.with_extension("part");
    std::fs::write(&aside, bytes).map_err(failed)?;
    std::fs::rename(&aside, path).map_err(failed)?;
    Ok(())
}

/// What an example was called with, as one would type it.
pub fn command(example: &str) -> String {
    let arguments = std::env::args().skip(1).filter(|argument| argument != "--resume");
    std::iter::once(format!("cargo run --release --example {example} --")).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn bar(steps: u32) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} step {pos}/{len}, loss {msg}, {elapsed}, {eta} to go");
    // the template is known to be valid; without it the bar has another look
    ProgressBar::new(steps.into()).with_message("-").with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
