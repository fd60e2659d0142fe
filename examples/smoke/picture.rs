//! Pictures of the smoke, each a byte a pixel, and their files.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use gradus::poisson::{Cell, Grid};

use crate::Result;

/// From what is behind the smoke to smoke alone. Few, so that the files are small.
const SHADES: usize = 32;
const AIR: [u8; 3] = [16, 20, 36];
const SOLID: [u8; 3] = [196, 84, 48];
const SMOKE: [u8; 3] = [244, 240, 232];

/// Frames of squares of equal sides.
pub struct Pictures {
    /// Pixels a cell.
    scale: usize,
    side: u32,
    frames: Vec<Vec<u8>>,
}

impl Pictures {
    pub fn new(grid: &Grid, scale: usize) -> Self {
        Self { scale, side: (grid.sizes()[0] * scale) as u32, frames: Vec::new() }
    }

    /// A frame: in two dimensions the cells, in three what is seen along the second axis.
    pub fn add(&mut self, grid: &Grid, density: &[f32]) {
        let n = grid.sizes()[0];
        let (depth, absorption) = if grid.sizes().len() == 2 { (1, 2.0) } else { (n, 16.0 / n as f32) };
        let pixel = |row: usize, column: usize| {
            let mut smoke = 0.0;
            let mut behind = 0;
            for k in 0..depth {
                let cell = ((n - 1 - row) * depth + k) * n + column;
                if grid.cells()[cell] == Cell::Solid {
                    behind = SHADES;
                    break;
                }
                smoke += density[cell];
            }
            let share = 1.0 - (-absorption * smoke).exp();
            (behind + (share * (SHADES - 1) as f32).round() as usize) as u8
        };
        let mut frame = Vec::with_capacity((self.side * self.side) as usize);
        for row in 0..n {
            let line: Vec<u8> = (0..n).flat_map(|column| std::iter::repeat_n(pixel(row, column), self.scale)).collect();
            (0..self.scale).for_each(|_| frame.extend(&line));
        }
        self.frames.push(frame);
    }

    /// The last frame.
    pub fn write_last(&self, path: &Path) -> Result<()> {
        let frame = self.frames.last().ok_or("there is no frame")?;
        let mut writer = self.encoder(path)?.write_header()?;
        writer.write_image_data(frame)?;
        Ok(writer.finish()?)
    }

    /// All frames, 15 a second, again and again: an animated PNG.
    pub fn write_all(&self, path: &Path) -> Result<()> {
        let mut encoder = self.encoder(path)?;
        encoder.set_animated(self.frames.len() as u32, 0)?;
        encoder.set_frame_delay(1, 15)?;
        let mut writer = encoder.write_header()?;
        for frame in &self.frames {
            writer.write_image_data(frame)?;
        }
        Ok(writer.finish()?)
    }

    fn encoder(&self, path: &Path) -> Result<png::Encoder<'static, BufWriter<File>>> {
        let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), self.side, self.side);
        let shades = |behind: [u8; 3]| {
            (0..SHADES).flat_map(move |i| {
                let share = i as f32 / (SHADES - 1) as f32;
                [0, 1, 2].map(|k| ((1.0 - share) * f32::from(behind[k]) + share * f32::from(SMOKE[k])).round() as u8)
            })
        };
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette(shades(AIR).chain(shades(SOLID)).collect::<Vec<u8>>());
        encoder.set_compression(png::Compression::Best);
        Ok(encoder)
    }
}
