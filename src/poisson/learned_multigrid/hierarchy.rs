//! The levels: on each a grid of its own.

use crate::Result;
use crate::poisson::grid::{Cell, Grid};

/// All levels, the finest first. The coarsest is the first of no more than two cells an axis.
pub(super) fn levels(grid: &Grid) -> Result<Vec<Grid>> {
    let mut levels = vec![grid.clone()];
    while let Some(last) = levels.last().filter(|grid| grid.sizes().iter().any(|&size| size > 2)) {
        levels.push(coarser(last)?);
    }
    Ok(levels)
}

/// Cells twice as large along each axis with more than one. A cell is air if one of those that it is made of is, else fluid
/// if one is. At the end of an odd axis it is also made of what is beyond: it is air if that is open.
fn coarser(grid: &Grid) -> Result<Grid> {
    let ([_, ny, nx], _) = grid.three_axes();
    let sizes: Vec<usize> = grid.sizes().iter().map(|size| size.div_ceil(2)).collect();
    // what is beyond the end of an odd axis
    let beyond = |i: usize| {
        let axes = grid.sizes().iter().zip(&sizes).zip(grid.open()).enumerate();
        axes.filter(|(_, ((size, _), open))| *size % 2 == 1 && **size > 1 && open[1]).any(|(axis, ((_, &halves), _))| {
            let stride: usize = sizes[axis + 1..].iter().product();
            i / stride % halves == halves - 1
        })
    };
    let start = |i: usize| if beyond(i) { Cell::Air as u8 } else { Cell::Solid as u8 };
    let mut flags: Vec<u8> = (0..sizes.iter().product()).map(start).collect();
    let (coarse_ny, coarse_nx) = (ny.div_ceil(2), nx.div_ceil(2));
    for (row, cells) in grid.cells().chunks(nx).enumerate() {
        let (z, y) = (row / ny / 2, row % ny / 2);
        let parents = &mut flags[(z * coarse_ny + y) * coarse_nx..][..coarse_nx];
        for (parent, children) in parents.iter_mut().zip(cells.chunks(2)) {
            for &child in children {
                *parent = match (*parent, child) {
                    (2, _) | (_, Cell::Air) => Cell::Air as u8,
                    (_, Cell::Fluid) => Cell::Fluid as u8,
                    (before, Cell::Solid) => before,
                };
            }
        }
    }
    Grid::new(&sizes)?.with_flags(&flags)?.with_open(grid.open())
}

/// Of each cell, where its class is in a table by solid neighbours and by air; none where there is no unknown: fluid with a
/// neighbour that is not solid.
pub(super) fn classes(grid: &Grid) -> impl Iterator<Item = Option<u8>> {
    let axes = grid.sizes().len();
    // two axes are three, the first between walls
    let beyond = 2 * (3 - axes);
    grid.all_neighbours().map(move |(cell, neighbours)| {
        let count = |kind: Cell| neighbours.iter().filter(|(cell, _)| *cell == kind).count();
        let (solid, air) = (count(Cell::Solid) - beyond, count(Cell::Air));
        (cell == Cell::Fluid && solid < 2 * axes).then_some((solid * (2 * axes + 1) + air) as u8)
    })
}
