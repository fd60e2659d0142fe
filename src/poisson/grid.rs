use crate::{DType, Error, Gpu, Result, Tensor};

/// What a cell of a [`Grid`] holds, as the numbers that [`Grid::with_flags`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Cell {
    /// 0: an unknown of the system.
    Fluid = 0,
    /// 1: nothing flows into it (Neumann).
    Solid = 1,
    /// 2: its value is 0 (Dirichlet).
    Air = 2,
}

/// Cells in two or three dimensions, the slowest axis first, and what is beyond the faces of their domain: solid, or
/// air where a face is open.
///
/// ```
/// use gradus::poisson::{Cell, Grid};
///
/// # fn main() -> gradus::Result<()> {
/// // 20 rows of 30 cells, an obstacle, and air above the last row
/// let mut flags = vec![Cell::Fluid as u8; 20 * 30];
/// flags[5 * 30 + 7] = Cell::Solid as u8;
/// let grid = Grid::new(&[20, 30])?.with_flags(&flags)?.with_open(&[[false, true], [false, false]])?;
/// assert_eq!(grid.len(), 600);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    sizes: Vec<usize>,
    cells: Vec<Cell>,
    /// By axis, at its low and its high end.
    open: Vec<[bool; 2]>,
}

impl Grid {
    /// Fluid everywhere, walls around. `sizes` are the cells by axis, the slowest first.
    ///
    /// # Errors
    /// [`Error::Option`] if there are not two or three axes, an axis is 0, or there are 2³¹ cells or more.
    pub fn new(sizes: &[usize]) -> Result<Self> {
        let invalid = |expected: &str| Error::Option { option: "sizes".into(), found: format!("{sizes:?}"), expected: expected.into() };
        if !(2..=3).contains(&sizes.len()) || sizes.contains(&0) {
            return Err(invalid("two or three axes of one cell at least"));
        }
        let cells = sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size)).filter(|&n| n < 1 << 31);
        let cells = cells.ok_or_else(|| invalid("fewer than 2^31 cells"))?;
        Ok(Self { sizes: sizes.to_vec(), cells: vec![Cell::Fluid; cells], open: vec![[false; 2]; sizes.len()] })
    }

    /// With a [`Cell`]'s number for each cell, row-major.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of flags than cells, [`Error::Option`] for a flag that is none.
    pub fn with_flags(mut self, flags: &[u8]) -> Result<Self> {
        if flags.len() != self.cells.len() {
            return Err(Error::Length { tensor: "flags".into(), unit: "cells", expected: self.cells.len(), found: flags.len() });
        }
        self.cells = flags.iter().enumerate().map(|(i, &flag)| cell(i, flag.into())).collect::<Result<_>>()?;
        Ok(self)
    }

    /// [`Grid::with_flags`] of a u32 for each cell in a tensor, which may be the caller's buffer ([`Tensor::from_buffer`]).
    /// They are read back, for what is made of a grid is set up on the host.
    ///
    /// # Errors
    /// [`Error::DType`] or [`Error::Length`] if they are not a u32 for each cell, [`Error::Option`] for a flag that is none;
    /// [`Error::DeviceLost`], [`Error::OutOfMemory`].
    pub async fn with_flags_on(mut self, gpu: &Gpu, flags: &Tensor) -> Result<Self> {
        flags.expect_dtype("flags", &[DType::U32])?;
        if flags.len() != self.cells.len() {
            return Err(Error::Length { tensor: "flags".into(), unit: "cells", expected: self.cells.len(), found: flags.len() });
        }
        let flags = flags.read::<u32>(gpu).await?;
        self.cells = flags.into_iter().enumerate().map(|(i, flag)| cell(i, flag)).collect::<Result<_>>()?;
        Ok(self)
    }

    /// Whether there is air beyond the low and the high face of each axis. Default: walls.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of pairs than axes.
    pub fn with_open(mut self, open: &[[bool; 2]]) -> Result<Self> {
        if open.len() != self.sizes.len() {
            return Err(Error::Length { tensor: "open".into(), unit: "axes", expected: self.sizes.len(), found: open.len() });
        }
        self.open = open.to_vec();
        Ok(self)
    }

    /// The cells by axis, the slowest first.
    #[must_use]
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Whether there is air beyond the low and the high face of each axis.
    #[must_use]
    pub fn open(&self) -> &[[bool; 2]] {
        &self.open
    }

    /// All cells, row-major.
    #[must_use]
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The number of cells.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a grid has a cell at least")]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// The sizes and the faces of three axes: where there are two, the first is of one cell between walls.
    pub(super) fn three_axes(&self) -> ([usize; 3], [[bool; 2]; 3]) {
        let (mut sizes, mut open) = ([1; 3], [[false; 2]; 3]);
        let first = 3 - self.sizes.len();
        sizes[first..].copy_from_slice(&self.sizes);
        open[first..].copy_from_slice(&self.open);
        (sizes, open)
    }

    /// The overrides of shaders/shared/stencil.wgsl: the distances from row to row and from plane to plane.
    pub(super) fn stencil(&self) -> [(&'static str, u32); 2] {
        let ([_, ny, nx], _) = self.three_axes();
        [("STRIDE_Y", nx as u32), ("STRIDE_Z", if self.sizes.len() == 3 { (ny * nx) as u32 } else { 0 })]
    }

    /// The distance in memory from cell to cell along each axis, the slowest first.
    pub(super) fn strides(&self) -> Vec<usize> {
        (0..self.sizes.len()).map(|axis| self.sizes[axis + 1..].iter().product()).collect()
    }

    /// All places, with what each has around: see [`Grid::neighbours`].
    pub(super) fn all_neighbours(&self) -> impl Iterator<Item = (Cell, [(Cell, Option<usize>); 6])> {
        let ([nz, ny, nx], _) = self.three_axes();
        let places = (0..nz).flat_map(move |z| (0..ny).flat_map(move |y| (0..nx).map(move |x| [z, y, x])));
        places.enumerate().map(|(i, place)| (self.cells[i], self.around(i, place)))
    }

    /// The neighbours of cell `i`: for each of three axes, below and above, what is there and, within the domain, where.
    pub(super) fn neighbours(&self, i: usize) -> [(Cell, Option<usize>); 6] {
        let ([_, ny, nx], _) = self.three_axes();
        // of 32 bits, whose division takes less time; there are fewer than 2^31 cells
        let (i, ny, nx) = (i as u32, ny as u32, nx as u32);
        let row = i / nx;
        self.around(i as usize, [row / ny, row % ny, i % nx].map(|p| p as usize))
    }

    fn around(&self, i: usize, place: [usize; 3]) -> [(Cell, Option<usize>); 6] {
        let (sizes, open) = self.three_axes();
        let strides = [sizes[1] * sizes[2], sizes[2], 1];
        std::array::from_fn(|k| {
            let (axis, above) = (k / 2, k % 2);
            let inside = if above == 0 { place[axis] > 0 } else { place[axis] + 1 < sizes[axis] };
            match inside {
                true => {
                    let j = if above == 0 { i - strides[axis] } else { i + strides[axis] };
                    (self.cells[j], Some(j))
                }
                false if open[axis][above] => (Cell::Air, None),
                false => (Cell::Solid, None),
            }
        })
    }
}

/// What flag `i` means.
fn cell(i: usize, flag: u32) -> Result<Cell> {
    match flag {
        0 => Ok(Cell::Fluid),
        1 => Ok(Cell::Solid),
        2 => Ok(Cell::Air),
        _ => {
            let expected = "0 (fluid), 1 (solid) or 2 (air)".into();
            Err(Error::Option { option: format!("flags[{i}]"), found: flag.to_string(), expected })
        }
    }
}
