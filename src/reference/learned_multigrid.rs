//! The learned multigrid V-cycle for the flagged Laplacian, as a preconditioner.
//!
//! `z = M r` is one cycle from zero, at each level
//!
//! - `x = S r`, with `S = D K D`;
//! - unless it is the coarsest, `x += γ P Q cycle(Q Pᵀ (r - A x))` and `x += S (r - A x)`.
//!
//! Coefficients ([`Coefficients`]) are the same on all levels. M is symmetric; it is positive definite on the unknowns if K
//! is, γ > 0, and all eigenvalues of S A are below 2. For there are cells that no training has seen, the last is seen to on
//! each level: D is multiplied by `√(1.8 / λ)` if `λ = ⟨A v, S A v⟩ / ⟨v, A v⟩` is above 1.8, where `v = (S A)¹⁵ v₀` is what
//! power iterations make of random signs.
//!
//! **Levels.** A coarse cell is 2 by 2 (by 2) cells, of which some are beyond the domain at the end of an odd axis; an axis of
//! one cell stays one. It is air if a child is, else fluid if a child is, else solid; beyond the domain is what is beyond the
//! grid. A is the flagged Laplacian of those
//! cells, on each level `Σ (x_i - x_j)`. The coarsest level is the first of no more than two cells an axis.
//!
//! **Unknowns** are fluid cells with a neighbour that is not solid. Vectors are 0 elsewhere.
//!
//! **Smoothing.** K is a stencil, the same everywhere, of one value for offsets that are equal but for signs and order. It
//! does not see walls. `D = 1 + d`, to a multiple of 1/4096, with d by the cell's class, which is how many of its neighbours are solid and how many air.
//!
//! **Transfer.** `(P e)_i = Σ p e_J` over the parent J of i and its neighbours on the side where i is in it, diagonal ones
//! included, with p by the number of axes along which J is not the parent. On an axis of one cell there is no
//! such side, and p of both are added. `Q = 1 + c`, with c by the class of the coarse cell.

use std::ops::Range;

use super::poisson::Cells;
use super::vector::dot;
use crate::poisson::learned_multigrid::Coefficients;

const FLUID: u8 = 0;
const SOLID: u8 = 1;
const AIR: u8 = 2;

const POWERS: usize = 15;
/// The most that S may amplify A.
const MOST: f64 = 1.8;

/// One level.
#[derive(Clone, Debug)]
pub struct Level {
    /// The cells by axis, the slowest first.
    pub sizes: Vec<usize>,
    /// Fluid (0), solid (1) or air (2).
    pub flags: Vec<u8>,
    open: Vec<[bool; 2]>,
    /// D, 0 where there is no unknown.
    pub smoothing: Vec<f64>,
    /// Q, 0 where there is no unknown.
    pub transfer: Vec<f64>,
}

impl Level {
    fn new(sizes: Vec<usize>, flags: Vec<u8>, open: &[[bool; 2]], coefficients: &Coefficients) -> Self {
        let mut level = Self { sizes, flags, open: open.to_vec(), smoothing: Vec::new(), transfer: Vec::new() };
        let classes = level.classes();
        let table = |values: &[f32]| -> Vec<f64> {
            classes.iter().map(|class| class.map_or(0.0, |class| 1.0 + f64::from(values[class]))).collect()
        };
        level.smoothing = table(&coefficients.smoothing).into_iter().map(|d| (4096.0 * d).round() / 4096.0).collect();
        level.transfer = table(&coefficients.coarse);
        level
    }

    /// The level's cells.
    #[must_use]
    pub fn cells(&self) -> Cells<'_> {
        Cells { sizes: &self.sizes, flags: &self.flags, open: &self.open, ..Default::default() }
    }

    /// Of each unknown, where its class is in a table by solid neighbours and by air.
    fn classes(&self) -> Vec<Option<usize>> {
        let axes = self.sizes.len();
        let class = |(i, diagonal): (usize, f64)| {
            let air = self.cells().neighbours(i).iter().filter(|neighbour| neighbour.flag == AIR).count();
            (diagonal > 0.0).then(|| (2 * axes - diagonal as usize) * (2 * axes + 1) + air)
        };
        self.cells().diagonal().into_iter().enumerate().map(class).collect()
    }

    fn coarser(&self, coefficients: &Coefficients) -> Self {
        let sizes: Vec<usize> = self.sizes.iter().map(|size| size.div_ceil(2)).collect();
        let half_beyond = |i: usize| {
            let odd = |(axis, &p): (usize, &isize)| self.open[axis][1] && self.sizes[axis] > 1 && 2 * p + 1 == self.sizes[axis] as isize;
            place(&sizes, i).iter().enumerate().any(odd)
        };
        let mut flags: Vec<u8> = (0..sizes.iter().product()).map(|i| if half_beyond(i) { AIR } else { SOLID }).collect();
        for (i, &flag) in self.flags.iter().enumerate() {
            let parent: Vec<isize> = place(&self.sizes, i).iter().map(|p| p / 2).collect();
            let Some(j) = index(&sizes, &parent) else { continue };
            flags[j] = match (flags[j], flag) {
                (AIR, _) | (_, AIR) => AIR,
                (FLUID, _) | (_, FLUID) => FLUID,
                _ => SOLID,
            };
        }
        Self::new(sizes, flags, &self.open, coefficients)
    }

    /// `S r`.
    fn smooth(&self, coefficients: &Coefficients, r: &[f64]) -> Vec<f64> {
        let radius = coefficients.radius() as isize;
        let row = |i: usize| {
            let own = place(&self.sizes, i);
            let terms = boxes(self.sizes.len(), -radius..radius + 1).filter_map(|offset| {
                let j = index(&self.sizes, &sum(&own, &offset))?;
                Some(f64::from(coefficients.stencil[Coefficients::orbit(&offset)]) * self.smoothing[j] * r[j])
            });
            self.smoothing[i] * terms.sum::<f64>()
        };
        (0..r.len()).map(|i| if self.smoothing[i] == 0.0 { 0.0 } else { row(i) }).collect()
    }

    /// Sees to it that S A has no eigenvalue that is too large.
    fn damp(&mut self, coefficients: &Coefficients) {
        let mut v: Vec<f64> = (0..self.flags.len()).map(|i| if self.smoothing[i] == 0.0 { 0.0 } else { sign(i) }).collect();
        for _ in 0..POWERS {
            v = self.smooth(coefficients, &self.cells().apply(&v));
        }
        let product = self.cells().apply(&v);
        let eigenvalue = dot(&product, &self.smooth(coefficients, &product)) / dot(&v, &product);
        if eigenvalue > MOST {
            self.smoothing.iter_mut().for_each(|d| *d *= (MOST / eigenvalue).sqrt());
        }
    }

    /// The row of P for a cell: where in the coarse vector, and how much.
    fn row(&self, coarse: &Self, coefficients: &Coefficients, i: usize) -> Vec<(usize, f64)> {
        let own = place(&self.sizes, i);
        let entry = |far: Vec<isize>| {
            let parent: Vec<isize> = own.iter().zip(&far).map(|(p, far)| p / 2 + far * (2 * (p % 2) - 1)).collect();
            // the same cell again along an axis of one
            let parent: Vec<isize> = parent.iter().zip(&self.sizes).map(|(&p, &size)| if size == 1 { 0 } else { p }).collect();
            let at = index(&coarse.sizes, &parent);
            at.map(|j| (j, f64::from(coefficients.transfer[far.iter().sum::<isize>() as usize])))
        };
        boxes(self.sizes.len(), 0..2).filter_map(entry).collect()
    }
}

/// ±1 at random, by the last round of MurmurHash3.
fn sign(i: usize) -> f64 {
    let mut h = i as u32;
    h = (h ^ h >> 16).wrapping_mul(0x85eb_ca6b);
    h = (h ^ h >> 13).wrapping_mul(0xc2b2_ae35);
    if (h ^ h >> 16) & 1 == 0 { 1.0 } else { -1.0 }
}

/// Where cell `i` is along each axis.
fn place(sizes: &[usize], mut i: usize) -> Vec<isize> {
    let mut place = vec![0; sizes.len()];
    for (p, &size) in place.iter_mut().zip(sizes).rev() {
        *p = (i % size) as isize;
        i /= size;
    }
    place
}

/// The cell at a place, if it is within.
fn index(sizes: &[usize], place: &[isize]) -> Option<usize> {
    place.iter().zip(sizes).try_fold(0, |index, (&p, &size)| Some(index * size + usize::try_from(p).ok().filter(|&p| p < size)?))
}

fn sum(a: &[isize], b: &[isize]) -> Vec<isize> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// All combinations of as many numbers of a range as there are axes.
fn boxes(axes: usize, range: Range<isize>) -> impl Iterator<Item = Vec<isize>> {
    let width = range.len();
    (0..width.pow(axes as u32)).map(move |k| place(&vec![width; axes], k).into_iter().map(|p| p + range.start).collect())
}

/// The V-cycle of a scene.
#[derive(Clone, Debug)]
pub struct LearnedMultigrid {
    /// From the finest to the coarsest.
    pub levels: Vec<Level>,
    coefficients: Coefficients,
}

impl LearnedMultigrid {
    /// # Panics
    ///
    /// If there are as many axes as the coefficients are for, but not as many flags as cells or pairs of faces as axes; or
    /// fewer axes or coefficients.
    #[must_use]
    pub fn new(cells: &Cells<'_>, coefficients: &Coefficients) -> Self {
        let mut level = Level::new(cells.sizes.to_vec(), cells.flags.to_vec(), cells.open, coefficients);
        let mut levels = Vec::new();
        while level.sizes.iter().any(|&size| size > 2) {
            let coarser = level.coarser(coefficients);
            levels.push(std::mem::replace(&mut level, coarser));
        }
        levels.push(level);
        levels.iter_mut().for_each(|level| level.damp(coefficients));
        Self { levels, coefficients: coefficients.clone() }
    }

    /// `z = M r`: one V-cycle from zero. r counts where there are unknowns, and z is 0 elsewhere.
    ///
    /// # Panics
    ///
    /// If r is shorter than the cells are many.
    #[must_use]
    pub fn apply(&self, r: &[f64]) -> Vec<f64> {
        self.cycle(0, r)
    }

    /// The cycle from a level on.
    #[must_use]
    pub fn cycle(&self, from: usize, r: &[f64]) -> Vec<f64> {
        let (level, c) = (&self.levels[from], &self.coefficients);
        let mut x = level.smooth(c, r);
        let Some(coarse) = self.levels.get(from + 1) else { return x };
        let residual = |x: &[f64]| -> Vec<f64> { r.iter().zip(level.cells().apply(x)).map(|(r, q)| r - q).collect() };
        let unknowns: Vec<usize> = (0..r.len()).filter(|&i| level.smoothing[i] != 0.0).collect();
        let (mut restricted, rest) = (vec![0.0; coarse.flags.len()], residual(&x));
        for &i in &unknowns {
            level.row(coarse, c, i).into_iter().for_each(|(j, p)| restricted[j] += p * coarse.transfer[j] * rest[i]);
        }
        let e = self.cycle(from + 1, &restricted);
        for &i in &unknowns {
            let correction = level.row(coarse, c, i).into_iter().map(|(j, p)| p * coarse.transfer[j] * e[j]).sum::<f64>();
            x[i] += f64::from(c.correction) * correction;
        }
        let rest = residual(&x);
        x.iter_mut().zip(level.smooth(c, &rest)).for_each(|(x, s)| *x += s);
        x
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::{DMatrix, SymmetricEigen};

    use super::*;
    use crate::reference::krylov::{self, CgEnd};
    use crate::reference::random::{normal, uniform};
    use crate::reference::vector::norm;

    /// What a training in two dimensions without tables comes to.
    fn plane() -> Coefficients {
        let (stencil, transfer) = (vec![0.43, 0.117, 0.050, 0.022, 0.011, 0.001], vec![0.676, 0.174, 0.048]);
        Coefficients { stencil, transfer, correction: 1.025, ..Coefficients::initial(2, 2).unwrap() }
    }

    struct Scene {
        sizes: Vec<usize>,
        flags: Vec<u8>,
        open: Vec<[bool; 2]>,
    }

    impl Scene {
        fn random(seed: u64, sizes: &[usize], solid: f32, air: f32) -> Self {
            let flag = |u| if u < solid { SOLID } else { u8::from(u < solid + air) * AIR };
            let flags = uniform(seed, 0, sizes.iter().product()).into_iter().map(flag).collect();
            let open = uniform(seed, 1, 2 * sizes.len()).chunks(2).map(|u| [u[0] < 0.3, u[1] < 0.3]).collect();
            Self { sizes: sizes.to_vec(), flags, open }
        }

        fn closed(sizes: &[usize]) -> Self {
            Self { open: vec![[false; 2]; sizes.len()], ..Self::random(0, sizes, 0.0, 0.0) }
        }

        fn cells(&self) -> Cells<'_> {
            Cells { sizes: &self.sizes, flags: &self.flags, open: &self.open, ..Default::default() }
        }

        /// To 1e-6, on a right-hand side in the range of A.
        fn iterations(&self, coefficients: &Coefficients) -> usize {
            let (cells, m) = (self.cells(), LearnedMultigrid::new(&self.cells(), coefficients));
            let b = cells.project(&normal(7, 0, self.flags.len()));
            let precondition = |r: &[f64]| cells.project(&m.apply(&cells.project(r)));
            let run = krylov::cg(|x| cells.apply(x), precondition, &b, &vec![0.0; b.len()], 1e-6 * norm(&b), 0.0, 200);
            assert_eq!(run.end, CgEnd::Converged, "{:?}", self.sizes);
            run.history.len() - 1
        }
    }

    #[test]
    fn the_cycle_is_symmetric_and_positive() {
        let planes: [&[usize]; 6] = [&[1, 1], &[9, 11], &[1, 33], &[3, 4], &[13, 10], &[2, 2]];
        let spaces: [&[usize]; 6] = [&[1, 1, 1], &[5, 3, 3], &[1, 9, 7], &[7, 1, 6], &[5, 6, 4], &[4, 4, 4]];
        let three = [1, 2].map(|radius| Coefficients::initial(3, radius).unwrap());
        let mut two = [Coefficients::initial(2, 1).unwrap(), plane()];
        // tables that are not all the same
        for (i, (d, c)) in two[1].smoothing.iter_mut().zip(&mut two[1].coarse).enumerate() {
            (*d, *c) = (0.01 * (i % 7) as f32 - 0.03, 0.1 * (i % 5) as f32 - 0.2);
        }
        for (i, sizes) in planes.into_iter().chain(spaces).enumerate() {
            for (j, (solid, air)) in [(0.0, 0.0), (0.15, 0.0), (0.3, 0.05), (0.5, 0.2), (0.1, 0.5)].into_iter().enumerate() {
                let scene = Scene::random((10 * i + j) as u64, sizes, solid, air);
                let coefficients = if sizes.len() == 2 { &two } else { &three };
                assert_symmetric_and_positive(&scene, &coefficients[j % 2]);
            }
        }
        for flag in [SOLID, AIR] {
            let mut scene = Scene::closed(&[9, 11]);
            scene.flags.fill(flag);
            assert_symmetric_and_positive(&scene, &two[1]);
        }
    }

    fn assert_symmetric_and_positive(scene: &Scene, coefficients: &Coefficients) {
        let m = LearnedMultigrid::new(&scene.cells(), coefficients);
        for (from, level) in m.levels.iter().enumerate() {
            let n = level.flags.len();
            let column = |i: usize| m.cycle(from, &(0..n).map(|j| f64::from(u8::from(i == j))).collect::<Vec<_>>());
            let matrix = DMatrix::from_iterator(n, n, (0..n).flat_map(column));
            let asymmetry = (&matrix - matrix.transpose()).amax();
            assert!(asymmetry <= 1e-12 * matrix.amax(), "{:?}: {asymmetry:e}", scene.sizes);
            let diagonal = level.cells().diagonal();
            let unknowns: Vec<usize> = (0..n).filter(|&i| diagonal[i] > 0.0).collect();
            assert!((0..n).all(|i| diagonal[i] > 0.0 || matrix.column(i).amax() == 0.0), "{:?}: not an unknown", scene.sizes);
            if !unknowns.is_empty() {
                let least = SymmetricEigen::new(matrix.select_rows(&unknowns).select_columns(&unknowns)).eigenvalues.min();
                assert!(least >= 0.02, "{:?}: {least}", scene.sizes);
            }
        }
    }

    #[test]
    fn stencils_have_one_value_an_orbit() {
        for (dim, expected) in [
            (2, &[[0, 0, 0], [1, 0, 0], [1, 1, 0], [2, 0, 0], [2, 1, 0], [2, 2, 0]][..]),
            (3, &[[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 0, 0], [2, 1, 0], [2, 1, 1], [2, 2, 0], [2, 2, 1], [2, 2, 2]]),
        ] {
            for (k, offset) in expected.iter().enumerate() {
                let mut offset = offset[..dim].to_vec();
                assert_eq!(Coefficients::orbit(&offset), k);
                offset.reverse();
                offset[0] *= -1;
                assert_eq!(Coefficients::orbit(&offset), k);
            }
            assert_eq!(Coefficients::initial(dim, 2).unwrap().stencil.len(), expected.len());
        }
    }

    /// Cells with air at all their faces, which a stencil that reaches across corners sees as neighbours.
    #[test]
    fn smoothing_is_damped_where_it_would_go_too_far() {
        let mut scene = Scene::closed(&[9, 9]);
        scene.flags.iter_mut().enumerate().for_each(|(i, flag)| *flag = AIR * u8::from(i % 2 == 1));
        let levels = LearnedMultigrid::new(&scene.cells(), &plane()).levels;
        let middle = levels[0].smoothing[40];
        assert!(middle < 0.85 && middle > 0.75, "{middle}");
        assert!(LearnedMultigrid::new(&Scene::closed(&[16, 16]).cells(), &plane()).levels[0].smoothing.iter().all(|&d| d == 1.0));
    }

    #[test]
    fn as_many_iterations_whatever_the_size() {
        let open = |sizes: &[usize]| Scene { open: vec![[true; 2]; 2], ..Scene::closed(sizes) };
        for (sizes, most) in [([32, 32], 8), ([64, 64], 9), ([65, 65], 11), ([67, 93], 11)] {
            let found = open(&sizes).iterations(&plane());
            assert!(found <= most, "{sizes:?}: {found}");
        }
        let space = Coefficients::initial(3, 1).unwrap();
        for (sizes, most) in [([12, 12, 12], 9), ([17, 23, 40], 12)] {
            let scene = Scene { open: vec![[true; 2]; 3], ..Scene::closed(&sizes) };
            let found = scene.iterations(&space);
            assert!(found <= most, "{sizes:?}: {found}");
        }
    }

    #[test]
    fn cells_alone() {
        let mut scene = Scene::closed(&[1, 1]);
        let apply = |scene: &Scene| LearnedMultigrid::new(&scene.cells(), &plane()).apply(&[3.0]);
        assert_eq!(apply(&scene), [0.0]);
        scene.open = vec![[true, false], [false, false]];
        assert!((apply(&scene)[0] - 3.0 * 0.43).abs() < 1e-6);
    }
}
