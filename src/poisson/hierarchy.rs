//! The levels of a multigrid hierarchy: what each cell is, and the operator on the coarser ones.

use super::grid::{Cell, Grid};
use super::rows;

/// A level with no more cells than this is the last.
const COARSEST: usize = 64;
/// What a face between fluid and air weighs that ends up within a cell of the next level.
const WITHIN: f32 = 4.0;

/// As in shaders/shared/multigrid.wgsl.
const NEAR: [u16; 3] = [0x800, 0x400, 0x200];
const UNKNOWN: u16 = 0x1000;
const RED: u16 = 0x2000;

/// Cells of three axes, the slowest first; two-dimensional grids have one plane.
pub(super) struct Level {
    pub sizes: [usize; 3],
    cells: Vec<Cell>,
    open: [[bool; 2]; 3],
    /// Of a coarser level.
    pub operator: Option<Operator>,
}

/// The operator of a coarser level.
pub(super) struct Operator {
    /// By place, of which there is one more along each axis than there are cells: the weights of the faces below along x, y
    /// and z, and the diagonal, which is 0 where there is no unknown.
    pub weights: Vec<[f32; 4]>,
    /// Of each cell, what is on the diagonal besides the weights of the faces: air within.
    inner: Vec<f32>,
}

type Place = [usize; 3];

fn step(mut place: Place, axis: usize) -> Place {
    place[axis] += 1;
    place
}

/// The distances from 0 to 1 along each of the axes.
fn corners(axes: &[usize]) -> impl Iterator<Item = Place> {
    (0..1usize << axes.len()).map(move |bits| {
        let mut corner = [0; 3];
        axes.iter().enumerate().for_each(|(k, &axis)| corner[axis] = bits >> k & 1);
        corner
    })
}

fn sum(a: Place, b: Place) -> Place {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

fn places(sizes: Place) -> impl Iterator<Item = Place> {
    let [nz, ny, nx] = sizes;
    (0..nz).flat_map(move |z| (0..ny).flat_map(move |y| (0..nx).map(move |x| [z, y, x])))
}

/// All levels, the finest first.
pub(super) fn levels(grid: &Grid) -> Vec<Level> {
    let mut levels = vec![Level::finest(grid)];
    while let Some(last) = levels.last().filter(|level| level.len() > COARSEST) {
        levels.push(last.coarser(levels.len() - 1));
    }
    levels
}

impl Level {
    fn finest(grid: &Grid) -> Self {
        let (sizes, open) = grid.three_axes();
        Self { sizes, cells: grid.cells().to_vec(), open, operator: None }
    }

    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Of places `sizes` apart from the cells' own.
    fn index(sizes: Place, place: Place) -> usize {
        (place[0] * sizes[1] + place[1]) * sizes[2] + place[2]
    }

    fn lattice(&self) -> Place {
        self.sizes.map(|size| size + 1)
    }

    /// What is at a place, which may be beyond the end.
    fn at(&self, place: Place) -> Cell {
        match (0..3).find(|&axis| place[axis] >= self.sizes[axis]) {
            None => self.cells[Self::index(self.sizes, place)],
            Some(axis) => self.beyond(axis, 1),
        }
    }

    fn beyond(&self, axis: usize, end: usize) -> Cell {
        if self.open[axis][end] { Cell::Air } else { Cell::Solid }
    }

    /// What is below a place along an axis.
    fn below(&self, mut place: Place, axis: usize) -> Cell {
        match place[axis].checked_sub(1) {
            None => self.beyond(axis, 0),
            Some(before) => {
                place[axis] = before;
                self.at(place)
            }
        }
    }

    /// The weight of the face below a place along an axis.
    fn face(&self, place: Place, axis: usize) -> f32 {
        if (0..3).any(|other| place[other] >= self.sizes[other] + usize::from(other == axis)) {
            return 0.0;
        }
        match &self.operator {
            Some(operator) => operator.weights[Self::index(self.lattice(), place)][2 - axis],
            None => match (self.below(place, axis), self.at(place)) {
                (Cell::Solid, _) | (_, Cell::Solid) | (Cell::Air, Cell::Air) => 0.0,
                _ => 1.0,
            },
        }
    }

    fn inner(&self, place: Place) -> f32 {
        match &self.operator {
            Some(operator) if (0..3).all(|axis| place[axis] < self.sizes[axis]) => operator.inner[Self::index(self.sizes, place)],
            _ => 0.0,
        }
    }

    /// The next level, of cells twice as large along each axis with more than one. This level is the `depth`-th, from 0.
    ///
    /// A cell is fluid if one of those that it is made of is, else air if one is. A face weighs half of what the faces do
    /// that it is made of: with as many unknowns a length, the Galerkin operator of piecewise constants has twice the
    /// energy that the same pressure has. Where there is air, its distance counts: the value 0 is at the centre of
    /// the air's cell, and moves away with it.
    fn coarser(&self, depth: usize) -> Self {
        let sizes = self.sizes.map(|size| size.div_ceil(2));
        let child = |place: Place| place.map(|p| 2 * p);
        let kind = |place: Place| {
            let kinds = corners(&[0, 1, 2]).map(|corner| self.at(sum(child(place), corner)));
            kinds.fold(Cell::Solid, |best, cell| match (best, cell) {
                (Cell::Fluid, _) | (_, Cell::Fluid) => Cell::Fluid,
                (Cell::Air, _) | (_, Cell::Air) => Cell::Air,
                _ => Cell::Solid,
            })
        };
        let mut coarse = Self { sizes, cells: places(sizes).map(kind).collect(), open: self.open, operator: None };
        let scale = 2f32.powi(depth as i32);
        let apart = 2.0 * (scale + 1.0) / (2.0 * scale + 1.0);

        let lattice = coarse.lattice();
        let mut weights = vec![[0.0f32; 4]; lattice.iter().product()];
        let mut inner = vec![0.0f32; coarse.len()];
        let own = |place: Place| (0..3).all(|axis| place[axis] < sizes[axis]).then(|| Self::index(sizes, place));
        for place in places(lattice) {
            for axis in 0..3 {
                let (lower, upper) = (coarse.below(place, axis) == Cell::Fluid, coarse.at(place) == Cell::Fluid);
                if !lower && !upper {
                    continue;
                }
                let across: Vec<usize> = (0..3).filter(|&other| other != axis).collect();
                let mut weight = 0.0;
                for corner in corners(&across) {
                    let face = sum(child(place), corner);
                    let value = self.face(face, axis);
                    if value == 0.0 {
                        continue;
                    }
                    match (self.below(face, axis), self.at(face)) {
                        (Cell::Fluid, Cell::Fluid) => weight += value,
                        _ if lower != upper => weight += apart * value,
                        // both coarse cells are unknowns, of which the fluid one keeps its air
                        (Cell::Fluid, _) => {
                            let mut below = place;
                            below[axis] -= 1;
                            if let Some(i) = own(below) {
                                inner[i] += 0.5 * value;
                            }
                        }
                        _ => {
                            if let Some(i) = own(place) {
                                inner[i] += 0.5 * value;
                            }
                        }
                    }
                }
                weights[Self::index(lattice, place)][2 - axis] = 0.5 * weight;
            }
        }
        for (i, place) in places(sizes).enumerate().filter(|&(i, _)| coarse.cells[i] == Cell::Fluid) {
            for corner in corners(&[0, 1, 2]) {
                let cell = sum(child(place), corner);
                inner[i] += 0.5 * self.inner(cell);
                for axis in (0..3).filter(|&axis| corner[axis] == 1) {
                    if (self.at(cell) == Cell::Air) != (self.below(cell, axis) == Cell::Air) {
                        inner[i] += 0.5 * WITHIN * self.face(cell, axis);
                    }
                }
            }
        }
        for (i, place) in places(sizes).enumerate().filter(|&(i, _)| coarse.cells[i] == Cell::Fluid) {
            let at = Self::index(lattice, place);
            let faces = (0..3).map(|axis| weights[at][2 - axis] + weights[Self::index(lattice, step(place, axis))][2 - axis]);
            weights[at][3] = faces.sum::<f32>() + inner[i];
        }
        coarse.operator = Some(Operator { weights, inner });
        coarse
    }

    /// The operator in the form of a coarser level's.
    pub fn weights(&self) -> Vec<[f32; 4]> {
        if let Some(operator) = &self.operator {
            return operator.weights.clone();
        }
        let weight = |place: Place| {
            let below = [2, 1, 0].map(|axis| self.face(place, axis));
            let inside = (0..3).all(|axis| place[axis] < self.sizes[axis]);
            let unknown = inside && self.at(place) == Cell::Fluid;
            let above = (0..3).map(|axis| self.face(step(place, axis), axis)).sum::<f32>();
            [below[0], below[1], below[2], if unknown { below.iter().sum::<f32>() + above } else { 0.0 }]
        };
        places(self.lattice()).map(weight).collect()
    }

    /// Of each cell: see shaders/shared/multigrid.wgsl. `grid` for the finest level.
    pub fn codes(&self, coarse: Option<&Level>, grid: Option<&Grid>) -> Vec<u16> {
        let of_stencil: Vec<u16> = grid.map_or(vec![0; self.len()], |grid| rows::codes(grid).collect());
        let code = |(place, mut code): (Place, u16)| {
            let unknown = match (&self.operator, grid) {
                (Some(operator), _) => operator.weights[Self::index(self.lattice(), place)][3] > 0.0,
                (None, Some(_)) => code >> 6 > 0,
                (None, None) => {
                    self.at(place) == Cell::Fluid && (0..3).any(|axis| self.face(place, axis) + self.face(step(place, axis), axis) > 0.0)
                }
            };
            code |= if unknown { UNKNOWN } else { 0 };
            code |= if place.iter().sum::<usize>().is_multiple_of(2) { RED } else { 0 };
            if let Some(coarse) = coarse {
                for axis in (0..3).filter(|&axis| self.sizes[axis] > 1) {
                    let mut near = place.map(|p| p / 2);
                    near[axis] += place[axis] % 2;
                    code |= if coarse.face(near, axis) > 0.0 { NEAR[axis] } else { 0 };
                }
            }
            code
        };
        places(self.sizes).zip(of_stencil).map(code).collect()
    }
}
