//! Where the levels' vectors are, and what is known of their cells.

use super::coefficients::Coefficients;
use crate::poisson::grid::Grid;
use crate::shaders::layout::Lattice;

/// Rows and planes of zeros before and after a level's own. Kernels read up to three rows and two planes beyond.
const MARGIN: u32 = 3;

/// The vectors of all levels one after another: see shaders/shared/strips.wgsl.
pub(super) struct Lattices {
    pub levels: Vec<Lattice>,
    /// Cells of four.
    pub len: u32,
    /// Those of all levels but the finest.
    pub coarse_len: u32,
}

impl Lattices {
    pub fn new(grids: &[Grid], strip: u32) -> Self {
        let (mut at, mut coarse_at) = (0, 0);
        let lattice = |(level, grid): (usize, &Grid)| {
            let (nz, ny, nx, pitch, plane) = shape(grid);
            let margin = MARGIN * (pitch + plane) + 1;
            let (first, coarse_first) = (at + margin, if level == 0 { 0 } else { coarse_at + margin });
            let own = 2 * margin + if plane > 0 { nz * plane } else { ny * pitch };
            at += own;
            coarse_at += if level == 0 { 0 } else { own };
            Lattice { nx, ny, nz, pitch, plane, first, coarse_first, strip }
        };
        let levels = grids.iter().enumerate().map(lattice).collect();
        Self { levels, len: at, coarse_len: coarse_at.max(1) }
    }

    /// Of each element what shaders/shared/unknowns.wgsl says. `classes` are those of each level's cells.
    pub fn codes(&self, classes: &[Vec<Option<u8>>], coefficients: &Coefficients) -> Vec<u16> {
        let table = coefficients.table_of_codes();
        let mut codes = vec![0; 4 * self.len as usize];
        for (lattice, classes) in self.levels.iter().zip(classes) {
            fill(lattice, lattice.first, classes, &mut codes, |_, class| table[usize::from(class)]);
        }
        codes
    }

    /// D Q of each element of the coarser levels.
    pub fn transfers(&self, classes: &[Vec<Option<u8>>], coefficients: &Coefficients) -> Vec<f32> {
        let table = coefficients.table_of_transfers();
        let mut transfers = vec![0.0; 4 * self.coarse_len as usize];
        for (lattice, classes) in self.levels.iter().zip(classes).skip(1) {
            fill(lattice, lattice.coarse_first, classes, &mut transfers, |_, class| table[usize::from(class)]);
        }
        transfers
    }

    /// ±1 at random where there are unknowns, by the last round of MurmurHash3 of a cell's number.
    pub fn signs(&self, classes: &[Vec<Option<u8>>]) -> Vec<f32> {
        let mut signs = vec![0.0; 4 * self.len as usize];
        let sign = |i: u32| {
            let h = (i ^ i >> 16).wrapping_mul(0x85eb_ca6b);
            let h = (h ^ h >> 13).wrapping_mul(0xc2b2_ae35);
            if (h ^ h >> 16) & 1 == 0 { 1.0 } else { -1.0 }
        };
        for (lattice, classes) in self.levels.iter().zip(classes) {
            fill(lattice, lattice.first, classes, &mut signs, |i, _| sign(i));
        }
        signs
    }
}

/// Planes, rows, cells a row; cells of four from row to row and from plane to plane.
fn shape(grid: &Grid) -> (u32, u32, u32, u32, u32) {
    let ([nz, ny, nx], _) = grid.three_axes();
    let pitch = (nx + 2).div_ceil(4);
    let plane = if grid.sizes().len() == 3 { (ny + 2) * pitch } else { 0 };
    (nz as u32, ny as u32, nx as u32, pitch as u32, plane as u32)
}

/// Puts a value for each cell that is an unknown, by its number and class, to where it belongs, `first` being where its level's
/// first cell of four is.
fn fill<T>(lattice: &Lattice, first: u32, classes: &[Option<u8>], into: &mut [T], value: impl Fn(u32, u8) -> T) {
    let (nx, ny) = (lattice.nx as usize, lattice.ny as usize);
    let (mut x, mut y, mut z) = (0, 0, 0);
    for (i, class) in (0..).zip(classes) {
        if let &Some(class) = class {
            into[4 * (first as usize + z * lattice.plane as usize + y * lattice.pitch as usize) + x] = value(i, class);
        }
        x += 1;
        if x == nx {
            (x, y) = (0, y + 1);
        }
        if y == ny {
            (y, z) = (0, z + 1);
        }
    }
}
