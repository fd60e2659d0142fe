//! Pictures of the smoke, each a byte a pixel, and their files.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use gradus::poisson::{Cell, Grid};

use crate::Result;

/// The shades between air and smoke. Few, so that the files are small.
const SHADES: usize = 32;
const AIR: [u8; 3] = [16, 20, 36];
const SMOKE: [u8; 3] = [244, 240, 232];
const SOLID: [u8; 3] = [196, 84, 48];

/// Frames of one size.
pub struct Pictures {
    width: u32,
    height: u32,
    /// Of each pixel, the first of the cells that are seen there, how many, and how far from one to the next.
    frames: Vec<Vec<u8>>,
    scale: usize,
}

impl Pictures {
    /// For an array of cells of equal axes, each cell a square of `scale` pixels.
    pub fn new(grid: &Grid, scale: usize) -> Self {
        let n = grid.sizes()[0];
        let side = (n * scale) as u32;
        Self { width: side, height: side, frames: Vec::new(), scale }
    }

    /// A frame: in two dimensions the density, in three what light is lost on its way along the second axis.
    pub fn add(&mut self, grid: &Grid, density: &[f32]) {
        let n = grid.sizes()[0];
        let depth = if grid.sizes().len() == 3 { n } else { 1 };
        // light to 1/e through an eighth of the domain full of smoke
        let absorption = if depth == 1 { 2.0 } else { 8.0 / depth as f32 };
        let shade = |row: usize, column: usize| {
            let cells = (0..depth).map(|k| ((n - 1 - row) * depth + k) * n + column);
            if cells.clone().any(|cell| grid.cells()[cell] == Cell::Solid) {
                return SHADES as u8;
            }
            let smoke = 1.0 - (-absorption * cells.map(|cell| density[cell]).sum::<f32>()).exp();
            (smoke * (SHADES - 1) as f32).round() as u8
        };
        let mut frame = Vec::with_capacity((self.width * self.height) as usize);
        for row in 0..n {
            let line: Vec<u8> = (0..n).flat_map(|column| std::iter::repeat_n(shade(row, column), self.scale)).collect();
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
        let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), self.width, self.height);
        let shade = |i: usize| {
            let part = i as f32 / (SHADES - 1) as f32;
            [0, 1, 2].map(|k| (f32::from(AIR[k]) + part * (f32::from(SMOKE[k]) - f32::from(AIR[k]))).round() as u8)
        };
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette((0..SHADES).flat_map(shade).chain(SOLID).collect::<Vec<u8>>());
        encoder.set_compression(png::Compression::Best);
        Ok(encoder)
    }
}
