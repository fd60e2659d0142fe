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

/// Cells in two or three dimensions, the slowest axis first; what is beyond the faces of their domain; and what the faces weigh: the
/// system `A x = b` with
///
/// `(A x)_i = Σ w_ij (x_i - x_j) + λ_i x_i`
///
/// over the faces of a fluid cell i to cells j that are not solid, x being 0 in air. By default cells are cubes between walls, w is 1 and λ
/// is 0, which is -Δ·h².
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
///
/// // (1 - Δ) on a torus of cells that are twice as high as wide
/// let grid = Grid::new(&[20, 30])?.with_periodic(&[true, true])?.with_spacing(&[2.0, 1.0])?.with_mass(1.0)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    sizes: Vec<usize>,
    cells: Vec<Cell>,
    /// By axis, at its low and its high end.
    open: Vec<[bool; 2]>,
    periodic: Vec<bool>,
    /// By axis, of places one more along it; empty where all faces weigh 1.
    faces: Vec<Vec<f32>>,
    spacing: Vec<f64>,
    /// λ: none, one for all cells, or one for each.
    mass: Vec<f32>,
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
        let axes = sizes.len();
        Ok(Self {
            sizes: sizes.to_vec(),
            cells: vec![Cell::Fluid; cells],
            open: vec![[false; 2]; axes],
            periodic: vec![false; axes],
            faces: Vec::new(),
            spacing: vec![1.0; axes],
            mass: Vec::new(),
        })
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
    /// [`Error::Length`] for another number of pairs than axes; [`Error::Option`] for air beyond a periodic axis.
    pub fn with_open(mut self, open: &[[bool; 2]]) -> Result<Self> {
        self.expect_axes("open", open.len())?;
        self.open = open.to_vec();
        self.expect_ends()
    }

    /// Whether the first cell along each axis follows the last. An axis of one cell has walls at its ends even so. Default: none does.
    ///
    /// # Errors
    /// [`Error::Length`] for another number than of axes; [`Error::Option`] for a periodic axis with air beyond it.
    pub fn with_periodic(mut self, periodic: &[bool]) -> Result<Self> {
        self.expect_axes("periodic", periodic.len())?;
        self.periodic = periodic.to_vec();
        self.expect_ends()
    }

    /// The weights w of the faces across each axis, row-major, one more along that axis than there are cells: face i is between cells i - 1
    /// and i. Open fractions of cut cells (Batty, Bertails and Bridson 2007), say, or 1/ρ. Of a face beside a solid cell or a wall the weight
    /// does not count; of a periodic axis the first face is the last one as well, and the last weight does not count. Default: 1.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of axes or of faces; [`Error::Option`] for a weight that is negative, NaN or more than 10³⁰.
    pub fn with_faces(mut self, faces: &[&[f32]]) -> Result<Self> {
        self.expect_axes("faces", faces.len())?;
        for (axis, weights) in faces.iter().enumerate() {
            let expected = self.cells.len() / self.sizes[axis] * (self.sizes[axis] + 1);
            if weights.len() != expected {
                return Err(Error::Length { tensor: format!("faces[{axis}]"), unit: "faces", expected, found: weights.len() });
            }
            expect_not_negative(&format!("faces[{axis}]"), weights)?;
        }
        self.faces = faces.iter().map(|weights| weights.to_vec()).collect();
        Ok(self)
    }

    /// The sides of a cell by axis, in any unit: faces across an axis of side h weigh (h_min / h)² times as much. Default: 1 for all.
    ///
    /// # Errors
    /// [`Error::Length`] for another number than of axes; [`Error::Option`] for a side that is not positive and finite, or more than 10⁶
    /// times another.
    pub fn with_spacing(mut self, spacing: &[f64]) -> Result<Self> {
        self.expect_axes("spacing", spacing.len())?;
        let (least, most) = spacing.iter().fold((f64::INFINITY, 0.0f64), |(least, most), &h| (least.min(h), most.max(h)));
        if !(spacing.iter().all(|h| h.is_finite()) && least > 0.0 && most <= 1e6 * least) {
            let expected = "positive numbers within a factor of 10^6".into();
            return Err(Error::Option { option: "spacing".into(), found: format!("{spacing:?}"), expected });
        }
        self.spacing = spacing.to_vec();
        Ok(self)
    }

    /// λ of all cells, of A + λ I: that of an implicit step of diffusion, or a screened Poisson equation. Default: 0.
    ///
    /// # Errors
    /// [`Error::Option`] if it is negative, NaN or more than 10³⁰.
    pub fn with_mass(mut self, mass: f32) -> Result<Self> {
        expect_not_negative("mass", &[mass])?;
        self.mass = if mass == 0.0 { Vec::new() } else { vec![mass] };
        Ok(self)
    }

    /// [`Grid::with_mass`] of each cell, row-major. Those of cells that are not fluid do not count.
    ///
    /// # Errors
    /// [`Error::Length`] for another number than of cells; [`Error::Option`] if one is negative, NaN or more than 10³⁰.
    pub fn with_masses(mut self, masses: &[f32]) -> Result<Self> {
        if masses.len() != self.cells.len() {
            return Err(Error::Length { tensor: "masses".into(), unit: "cells", expected: self.cells.len(), found: masses.len() });
        }
        expect_not_negative("masses", masses)?;
        self.mass = masses.to_vec();
        Ok(self)
    }

    fn expect_axes(&self, tensor: &str, found: usize) -> Result<()> {
        match found == self.sizes.len() {
            true => Ok(()),
            false => Err(Error::Length { tensor: tensor.into(), unit: "axes", expected: self.sizes.len(), found }),
        }
    }

    fn expect_ends(self) -> Result<Self> {
        match self.open.iter().zip(&self.periodic).position(|(open, &periodic)| periodic && *open != [false; 2]) {
            None => Ok(self),
            Some(axis) => {
                let found = format!("{:?} of an axis that is periodic", self.open[axis]);
                Err(Error::Option { option: format!("open[{axis}]"), found, expected: "[false, false]".into() })
            }
        }
    }

    /// Whether flags say all: weights of 1, no mass, walls or air at the ends.
    pub(super) fn is_flagged(&self) -> bool {
        let equal = self.spacing.iter().all(|&h| h == self.spacing[0]);
        self.faces.is_empty() && self.mass.is_empty() && equal && !self.periodic.contains(&true)
    }

    /// `what` is for flags alone.
    pub(super) fn expect_flagged(&self, what: &str) -> Result<()> {
        match self.is_flagged() {
            true => Ok(()),
            false => Err(Error::Option {
                option: "grid".into(),
                found: "face weights, spacing, periodic axes or mass".into(),
                expected: format!("flags and open faces alone, for {what}"),
            }),
        }
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

    /// The sides of a cell by axis.
    #[must_use]
    pub fn spacing(&self) -> &[f64] {
        &self.spacing
    }

    /// Whether the first cell along each axis follows the last.
    #[must_use]
    pub fn periodic(&self) -> &[bool] {
        &self.periodic
    }

    /// λ of cell `i`.
    pub(super) fn mass(&self, i: usize) -> f32 {
        match self.mass.len() {
            0 => 0.0,
            1 => self.mass[0],
            _ => self.mass[i],
        }
    }

    /// What the face of cell `i` weighs to its neighbour `k` of [`Grid::neighbours`], if that is not solid.
    pub(super) fn weight(&self, i: usize, k: usize) -> f32 {
        let Some(axis) = (k / 2 + self.sizes.len()).checked_sub(3) else { return 0.0 };
        let least = self.spacing.iter().copied().fold(f64::INFINITY, f64::min);
        let scale = (least / self.spacing[axis]).powi(2) as f32;
        let Some(faces) = self.faces.get(axis) else { return scale };
        let (size, stride) = (self.sizes[axis], self.sizes[axis + 1..].iter().product::<usize>());
        let at = i / stride % size + k % 2;
        let at = if self.periodic[axis] { at % size } else { at };
        scale * faces[(i / stride / size * (size + 1) + at) * stride + i % stride]
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
        let first = 3 - self.sizes.len();
        std::array::from_fn(|k| {
            let (axis, above) = (k / 2, k % 2);
            let inside = if above == 0 { place[axis] > 0 } else { place[axis] + 1 < sizes[axis] };
            match inside {
                true => {
                    let j = if above == 0 { i - strides[axis] } else { i + strides[axis] };
                    (self.cells[j], Some(j))
                }
                false if axis >= first && sizes[axis] > 1 && self.periodic[axis - first] => {
                    let around = (sizes[axis] - 1) * strides[axis];
                    let j = if above == 0 { i + around } else { i - around };
                    (self.cells[j], Some(j))
                }
                false if open[axis][above] => (Cell::Air, None),
                false => (Cell::Solid, None),
            }
        })
    }
}

/// The most that a weight or mass may be: sums of them are finite.
const MOST: f32 = 1e30;

fn expect_not_negative(option: &str, values: &[f32]) -> Result<()> {
    match values.iter().position(|value| !(0.0..=MOST).contains(value)) {
        None => Ok(()),
        Some(i) => {
            let option = if values.len() == 1 { option.into() } else { format!("{option}[{i}]") };
            Err(Error::Option { option, found: values[i].to_string(), expected: format!("a number from 0 to {MOST:e}") })
        }
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
