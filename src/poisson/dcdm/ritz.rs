//! Approximate eigenvectors of the Laplacian of any grid, by a few steps of Lanczos.

use crate::Result;
use crate::krylov::tridiagonal::eigen;
use crate::poisson::{Cell, Grid};
use crate::reference::krylov::lanczos;

/// The sum of `weight(i / m) · normal_i · y_i` over the Ritz vectors y_i of m steps of Lanczos from `start`, in the order of
/// their values from the least on. `start` is in the range of the Laplacian; there are as many steps as `normals`, or fewer
/// where the Krylov space of the start ends.
pub(super) fn mixture(grid: &Grid, start: &[f32], normals: &[f64], weight: impl Fn(f64) -> f64) -> Result<Vec<f32>> {
    let start: Vec<f64> = start.iter().copied().map(f64::from).collect();
    if start.iter().all(|&x| x == 0.0) {
        return Ok(vec![0.0; start.len()]);
    }
    let rows = rows(grid);
    let apply = |x: &[f64]| {
        let mut y = vec![0.0; x.len()];
        for (i, diagonal, neighbours) in &rows {
            y[*i] = diagonal * x[*i] - neighbours.iter().flatten().map(|&j| x[j]).sum::<f64>();
        }
        y
    };
    let run = lanczos(apply, &start, normals.len());
    let (_, vectors) = eigen(&run.alpha, &run.beta)?;
    let m = run.basis.len();
    // of each basis vector; the greatest Ritz value is the first
    let mut of_basis = vec![0.0; m];
    for (i, (vector, normal)) in vectors.iter().rev().zip(normals).enumerate() {
        let coefficient = weight(i as f64 / m as f64) * normal;
        of_basis.iter_mut().zip(vector).for_each(|(sum, s)| *sum += coefficient * s);
    }
    let mut sum = vec![0.0; start.len()];
    for (q, coefficient) in run.basis.iter().zip(of_basis) {
        sum.iter_mut().zip(q).for_each(|(sum, q)| *sum += coefficient * q);
    }
    Ok(sum.into_iter().map(|x| x as f32).collect())
}

/// Of each fluid cell: which it is, its diagonal, and the fluid neighbours.
fn rows(grid: &Grid) -> Vec<(usize, f64, [Option<usize>; 6])> {
    let fluid = grid.all_neighbours().enumerate().filter(|(_, (cell, _))| *cell == Cell::Fluid);
    let row = fluid.map(|(i, (_, around))| {
        let diagonal = around.iter().filter(|&&(cell, _)| cell != Cell::Solid).count() as f64;
        (i, diagonal, around.map(|(cell, j)| j.filter(|_| cell == Cell::Fluid)))
    });
    row.collect()
}
