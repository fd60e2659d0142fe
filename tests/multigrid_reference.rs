//! The multigrid cycle in f64: its table of iterations, and what its proof promises, by explicit matrices.

#![cfg(feature = "poisson")]

#[path = "common/problems.rs"]
mod problems;

use gradus::reference::krylov::{self, CgEnd};
use gradus::reference::poisson::Cells;
use gradus::reference::poisson::multigrid::{Level, Multigrid};
use gradus::reference::vector::norm;
use nalgebra::{DMatrix, SymmetricEigen};
use problems::Problem;

const V: usize = usize::MAX;
/// Twice from level 2 on.
const W_LATE: usize = 2;
const W: usize = 1;

/// Iterations of conjugate gradients to 1e-6, the more of two right-hand sides, by another implementation of the same cycle, on sparse
/// matrices: with degree 2 by the V-cycle, the W-cycle from level 2 on, and the W-cycle; with degree 3 by the W-cycle.
const TABLE: &[(&str, &[usize], [usize; 4])] = &[
    ("box", &[24, 24, 24], [6, 6, 6, 5]),
    ("open", &[24, 24, 24], [6, 6, 5, 5]),
    ("sphere", &[24, 24, 24], [6, 6, 6, 5]),
    ("surface", &[24, 24, 24], [7, 7, 6, 6]),
    ("rubble", &[24, 24, 24], [7, 7, 7, 6]),
    ("rubble30", &[24, 24, 24], [9, 9, 8, 7]),
    ("spray", &[24, 24, 24], [7, 6, 6, 6]),
    ("walls", &[24, 24, 24], [13, 12, 9, 8]),
    ("baffles", &[24, 24, 24], [10, 10, 8, 7]),
    ("maze", &[24, 24, 24], [17, 13, 9, 7]),
    ("spiral", &[24, 24, 24], [9, 9, 7, 6]),
    ("box", &[17, 20, 33], [6, 6, 6, 5]),
    ("open", &[17, 20, 33], [6, 6, 5, 5]),
    ("sphere", &[17, 20, 33], [6, 6, 6, 5]),
    ("surface", &[17, 20, 33], [7, 7, 6, 6]),
    ("rubble", &[17, 20, 33], [8, 8, 7, 6]),
    ("rubble30", &[17, 20, 33], [9, 9, 8, 7]),
    ("spray", &[17, 20, 33], [6, 6, 6, 6]),
    ("walls", &[17, 20, 33], [12, 11, 8, 8]),
    ("baffles", &[17, 20, 33], [9, 7, 7, 6]),
    ("maze", &[17, 20, 33], [17, 13, 9, 8]),
    ("spiral", &[17, 20, 33], [9, 8, 7, 6]),
    ("box", &[96, 96], [6, 5, 5, 4]),
    ("open", &[96, 96], [6, 6, 5, 5]),
    ("sphere", &[96, 96], [6, 6, 6, 5]),
    ("surface", &[96, 96], [8, 7, 6, 5]),
    ("rubble", &[96, 96], [11, 10, 9, 7]),
    ("rubble30", &[96, 96], [15, 14, 11, 9]),
    ("spray", &[96, 96], [6, 6, 6, 5]),
    ("walls", &[96, 96], [12, 9, 7, 6]),
    ("baffles", &[96, 96], [11, 9, 8, 7]),
    ("maze", &[96, 96], [29, 15, 10, 9]),
    ("spiral", &[96, 96], [12, 10, 8, 7]),
    ("box", &[63, 90], [6, 5, 5, 4]),
    ("open", &[63, 90], [8, 7, 5, 5]),
    ("sphere", &[63, 90], [6, 6, 6, 5]),
    ("surface", &[63, 90], [9, 7, 6, 5]),
    ("rubble", &[63, 90], [11, 10, 9, 8]),
    ("rubble30", &[63, 90], [16, 14, 10, 10]),
    ("spray", &[63, 90], [7, 6, 6, 5]),
    ("walls", &[63, 90], [13, 9, 7, 6]),
    ("baffles", &[63, 90], [9, 7, 7, 6]),
    ("maze", &[63, 90], [24, 15, 10, 9]),
    ("spiral", &[63, 90], [11, 10, 8, 7]),
    ("density", &[20, 20, 20], [6, 7, 6, 6]),
    ("bubble", &[20, 20, 20], [8, 7, 7, 6]),
    ("mass", &[20, 20, 20], [6, 6, 6, 5]),
    ("heavy", &[20, 20, 20], [5, 5, 5, 4]),
    ("periodic", &[20, 20, 20], [7, 7, 6, 6]),
    ("spacing", &[20, 20, 20], [7, 7, 6, 5]),
    ("flat", &[20, 20, 20], [5, 5, 5, 4]),
    ("density", &[64, 64], [8, 8, 7, 6]),
    ("bubble", &[64, 64], [10, 8, 7, 6]),
    ("mass", &[64, 64], [5, 5, 5, 4]),
    ("heavy", &[64, 64], [5, 5, 5, 4]),
    ("periodic", &[64, 64], [9, 9, 8, 7]),
    ("spacing", &[64, 64], [8, 6, 5, 4]),
    ("flat", &[64, 64], [5, 5, 5, 4]),
    ("periodic box", &[21, 21, 21], [7, 7, 7, 6]),
    ("periodic box", &[65, 65], [7, 7, 6, 5]),
];

fn iterations(cells: &Cells<'_>, m: &Multigrid, b: &[f32]) -> usize {
    let b = cells.project(&b.iter().copied().map(f64::from).collect::<Vec<_>>());
    let diagonal = cells.diagonal();
    let b: Vec<f64> = b.iter().zip(diagonal).map(|(&b, d)| if d > 0.0 { b } else { 0.0 }).collect();
    let precondition = |r: &[f64]| cells.project(&m.apply(&cells.project(r)));
    let run = krylov::cg(|x| cells.apply(x), precondition, &b, &vec![0.0; b.len()], 1e-6 * norm(&b), 0.0, 60);
    assert_eq!(run.end, CgEnd::Converged);
    run.history.len() - 1
}

#[test]
fn iterations_are_those_of_the_table() {
    let mut wrong = Vec::new();
    for (name, sizes, expected) in TABLE {
        let problem = Problem::named(name, sizes);
        let cells = problem.cells();
        let right_hand_sides = problem.right_hand_sides();
        for ((degree, twice_from), expected) in [(2, V), (2, W_LATE), (2, W), (3, W)].into_iter().zip(expected) {
            let m = Multigrid::new(&cells, degree, twice_from);
            let found = right_hand_sides.iter().map(|b| iterations(&cells, &m, b)).max().unwrap();
            if found.abs_diff(*expected) > 1 {
                wrong.push(format!("{name} {sizes:?}, degree {degree}, twice from {twice_from}: {found}, expected {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn matrix(n: usize, m: usize, apply: impl Fn(&[f64]) -> Vec<f64>) -> DMatrix<f64> {
    let column = |i: usize| apply(&(0..m).map(|j| f64::from(u8::from(i == j))).collect::<Vec<_>>());
    DMatrix::from_iterator(n, m, (0..m).flat_map(column))
}

/// The eigenvalues of B in the energy of a semidefinite A, on the range of A.
fn in_energy(a: &DMatrix<f64>, b: &DMatrix<f64>) -> Vec<f64> {
    let scale = DMatrix::from_diagonal(&a.diagonal().map(|d| if d > 0.0 { d.sqrt().recip() } else { 0.0 }));
    let eigen = SymmetricEigen::new(&scale * a * &scale);
    let kept: Vec<usize> = (0..a.nrows()).filter(|&i| eigen.eigenvalues[i] > 1e-9).collect();
    if kept.is_empty() {
        return Vec::new();
    }
    let mut basis = eigen.eigenvectors.select_columns(&kept);
    for (k, &i) in kept.iter().enumerate() {
        basis.column_mut(k).scale_mut(eigen.eigenvalues[i].sqrt().recip());
    }
    SymmetricEigen::new(basis.transpose() * &scale * b * &scale * basis).eigenvalues.iter().copied().collect()
}

/// PᵀAP <= 2 A_c on each level.
fn assert_bound(fine: &Level, coarse: &Level, what: &str) {
    let p = |e: &[f64]| -> Vec<f64> { fine.interpolation.iter().map(|row| row.iter().map(|&(j, p)| p * e[j]).sum()).collect() };
    let p = matrix(fine.len(), coarse.len(), p);
    let a = matrix(fine.len(), fine.len(), |x| fine.apply(x));
    let most =
        in_energy(&matrix(coarse.len(), coarse.len(), |x| coarse.apply(x)), &(p.transpose() * a * &p)).into_iter().fold(0.0, f64::max);
    assert!(most <= 2.0 + 1e-9, "{what}: {most}");
}

/// M is symmetric and positive, and M A has no eigenvalue above 2: so a stationary iteration converges.
fn assert_symmetric_and_positive(problem: &Problem, degree: usize, twice_from: usize, what: &str) {
    let cells = problem.cells();
    let n = problem.flags.len();
    let m = Multigrid::new(&cells, degree, twice_from);
    let d = cells.diagonal();
    let scale = DMatrix::from_diagonal(&nalgebra::DVector::from_iterator(n, d.iter().map(|d| d.sqrt())));
    let scaled = &scale * matrix(n, n, |r| m.apply(r)) * &scale;
    let asymmetry = (&scaled - scaled.transpose()).amax();
    assert!(asymmetry <= 1e-10 * scaled.amax(), "{what}: asymmetry {asymmetry:e}");
    let unknowns: Vec<usize> = (0..n).filter(|&i| d[i] > 0.0).collect();
    assert!((0..n).all(|i| d[i] > 0.0 || m.apply(&vec![1.0; n])[i] == 0.0), "{what}: not an unknown");
    if unknowns.is_empty() {
        return;
    }
    let scaled = (&scaled + scaled.transpose()).scale(0.5);
    let a = matrix(n, n, |x| cells.apply(x));
    // on the range of A alone if the only level is solved exactly
    if m.levels.len() > 1 {
        let least = SymmetricEigen::new(scaled.select_rows(&unknowns).select_columns(&unknowns)).eigenvalues.min();
        assert!(least >= 0.1, "{what}: least eigenvalue of D^1/2 M D^1/2 {least}");
    }
    // the eigenvalues of A M on the range of A are those of M A
    let half = in_energy(&a, &(&a * matrix(n, n, |r| m.apply(r)) * &a));
    let (least, most) = half.iter().fold((f64::INFINITY, 0.0f64), |(least, most), &e| (least.min(e), most.max(e)));
    assert!(least > 0.0 && most <= 2.0 + 1e-9, "{what}: eigenvalues of M A from {least} to {most}");
    if problem.spacing.windows(2).all(|pair| pair[0] == pair[1]) {
        m.levels.windows(2).for_each(|pair| assert_bound(&pair[0], &pair[1], what));
    }
}

#[test]
fn cycles_are_symmetric_and_positive() {
    let all: [&[usize]; 8] = [&[1, 1], &[3, 33], &[9, 13], &[14, 11], &[1, 19, 7], &[5, 6, 7], &[2, 90], &[6, 1, 20]];
    for (i, sizes) in all.iter().enumerate() {
        for seed in 0..6 {
            let seed = 6 * i as u64 + seed;
            let (degree, twice_from) = [(2, W), (3, W_LATE), (1, W), (2, V)][seed as usize % 4];
            assert_symmetric_and_positive(&Problem::random(seed, sizes, 4.0), degree, twice_from, &format!("{sizes:?}, {seed}"));
        }
    }
    for name in ["open", "surface", "rubble30", "spray", "walls", "maze", "bubble", "mass", "spacing", "periodic box"] {
        for sizes in [&[17usize, 14][..], &[7, 6, 7]] {
            assert_symmetric_and_positive(&Problem::named(name, sizes), 2, W, &format!("{name} {sizes:?}"));
        }
    }
}

#[test]
fn a_cell_alone_is_divided_by_its_diagonal() {
    let cells = |open: &'static [[bool; 2]]| Cells { sizes: &[1, 1, 1], flags: &[0], open, ..Default::default() };
    assert_eq!(Multigrid::new(&cells(&[[false; 2]; 3]), 2, W).apply(&[3.0]), [0.0]);
    let z = Multigrid::new(&cells(&[[true, false], [false, false], [true, true]]), 2, W).apply(&[3.0])[0];
    assert!((z - 1.0).abs() < 1e-15, "{z}");
}

/// An unknown for each part of a cell that fluid connects: on both sides of a wall.
#[test]
fn walls_stay_closed() {
    let mut flags = vec![0u8; 16 * 16];
    flags[7 * 16..8 * 16].fill(1);
    flags[7 * 16 + 3] = 0;
    flags[8 * 16..9 * 16].fill(0);
    let cells = Cells { sizes: &[16, 16], flags: &flags, open: &[[false; 2]; 2], ..Default::default() };
    let m = Multigrid::new(&cells, 2, W);
    // cells of two rows have the wall at their end, those of four have it within
    assert_eq!(m.levels.iter().map(Level::len).collect::<Vec<_>>(), [16 * 15 + 1, 64]);
    let deeper = Cells { sizes: &[32, 16], flags: &[flags.clone(), vec![0; 256]].concat(), ..cells };
    let m = Multigrid::new(&deeper, 2, W);
    assert_eq!(m.levels.iter().map(Level::len).collect::<Vec<_>>(), [16 * 31 + 1, 128, 32]);
}
