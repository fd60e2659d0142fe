//! The multigrid V-cycle for the flagged Laplacian, as a preconditioner.
//!
//! The general method is that of Trottenberg, Oosterlee and Schüller, "Multigrid", 2001, chapters 2 and 5. Here
//! `z = M r` is one cycle from zero, linear in r, and M is symmetric and positive definite on the unknowns.
//!
//! **Levels.** A coarse cell is 2 by 2 (by 2) cells, the last one of an odd axis half beyond the end; an axis of one
//! cell stays one. It is fluid if a child is, else air if a child is, else solid, what is beyond the domain counting as
//! children. The coarsest level is the first of at most 64 cells. On each level
//!
//! `(A x)_i = d_i x_i - Σ w_ij x_j`, `d_i = Σ w_ij + D_i`,
//!
//! over the faces of a fluid cell; `x_j` is 0 in air, and D is the weight of air within the cell: 0 on the finest level,
//! where w is 1 between fluid and what is not solid.
//!
//! **Coarse operators.** The weight of a coarse face is half the sum of the fine ones in it, which with `R = Pᵀ` is
//! that of the differences, in two and three dimensions. The surface of air is half a cell of the finest level from
//! the centre of its air on every level, and so a fine face between fluid and air counts
//!
//! - `2(2^l + 1) / (2^(l+1) + 1)` times, from level l to l + 1, if it is in a face of a coarse cell without fluid;
//! - once, in D of the fluid's parent, if it is in a face between coarse cells of fluid; and
//! - 4 times, in D, if it is within a coarse cell.
//!
//! D of a cell is half of these and of D of its children.
//!
//! **Transfer.** `(P e)_i = e_I + ¼ Σ (e_J - e_I)` over the axes along which the parent I has an open face, `w_IJ > 0`,
//! on the child's side, and which are coarsened (Kwak, SIAM J. Sci. Comput. 21, 1999). `R = Pᵀ`.
//!
//! **Smoothing.** Gauss-Seidel, red before black on the way down, black before red on the way up, and so symmetric. A
//! cell is red if its indices have an even sum. The coarsest level has 8 sweeps of each. Fluid that has no neighbours
//! but solid is no unknown: it is 0 in z.
//!
//! Nothing is projected: for a singular system let r be in the range of A ([`Cells::project`]), and project z.

use super::poisson::Cells;

const FLUID: u8 = 0;
const SOLID: u8 = 1;
const AIR: u8 = 2;

const COARSEST_CELLS: usize = 64;
const COARSEST_SWEEPS: usize = 8;

/// The factor of a face between fluid and air within a coarse fluid cell.
const WITHIN: f64 = 4.0;

/// The factor of a face between fluid and air that is in a face of a coarse cell without fluid.
fn between(level: usize) -> f64 {
    let cells = (level as f64).exp2();
    2.0 * (cells + 1.0) / (2.0 * cells + 1.0)
}

/// One level. All vectors have a layer of cells around the domain, the last axis the fastest: see [`Level::index`].
#[derive(Clone, Debug)]
pub struct Level {
    /// The cells by axis, without the layer around them.
    pub sizes: [usize; 3],
    /// Fluid (0), solid (1) or air (2).
    pub types: Vec<u8>,
    /// By axis, the weight w of the face between a cell and the one below it.
    pub weights: [Vec<f64>; 3],
    /// The weight D of air within the cell.
    pub air: Vec<f64>,
    /// d, 0 for what is not an unknown.
    pub diagonal: Vec<f64>,
    sweeps: usize,
}

impl Level {
    fn new(sizes: [usize; 3], open: [[bool; 2]; 3], sweeps: usize, inside: impl Fn([usize; 3]) -> u8) -> Self {
        let n: usize = sizes.iter().map(|size| size + 2).product();
        let (weights, zeros) = ([vec![0.0; n], vec![0.0; n], vec![0.0; n]], vec![0.0; n]);
        let mut level = Self { sizes, types: vec![SOLID; n], weights, air: zeros.clone(), diagonal: zeros, sweeps };
        for place in places([0; 3], sizes.map(|size| size + 1)) {
            let beyond = (0..3).find(|&a| place[a] == 0 || place[a] > sizes[a]);
            let i = level.index(place);
            level.types[i] = match beyond {
                Some(a) if open[a][usize::from(place[a] > 0)] => AIR,
                Some(_) => SOLID,
                None => inside(place),
            };
        }
        level
    }

    fn finest(cells: &Cells<'_>, open: [[bool; 2]; 3], sweeps: usize) -> Self {
        let mut sizes = [1; 3];
        sizes[3 - cells.sizes.len()..].copy_from_slice(cells.sizes);
        let flag = |[i, j, k]: [usize; 3]| cells.flags[((i - 1) * sizes[1] + j - 1) * sizes[2] + k - 1];
        let mut level = Self::new(sizes, open, sweeps, flag);
        let stride = level.strides();
        for (_, i) in level.cells() {
            for (a, &s) in stride.iter().enumerate() {
                for upper in [i, i + s] {
                    let (p, q) = (level.types[upper - s], level.types[upper]);
                    level.weights[a][upper] = f64::from(p != SOLID && q != SOLID && (p == FLUID || q == FLUID));
                }
            }
        }
        level.sum_diagonal();
        level
    }

    /// The next coarser level, this one being level `l`.
    fn coarser(&self, l: usize, open: [[bool; 2]; 3], sweeps: usize) -> Self {
        let stride = self.strides();
        let first = |place: [usize; 3]| self.index(place.map(|p| 2 * p - 1));
        // along the two axes other than `a`
        let across = |a: usize| {
            let (s, t) = (stride[(a + 1) % 3], stride[(a + 2) % 3]);
            [0, s, t, s + t]
        };
        let children = |place| across(0).into_iter().flat_map(move |s| [first(place) + s, first(place) + s + stride[0]]);
        let mut coarse = Self::new(self.sizes.map(|size| size.div_ceil(2)), open, sweeps, |place| {
            let has = |flag| children(place).any(|i| self.types[i] == flag);
            [FLUID, AIR].into_iter().find(|&flag| has(flag)).unwrap_or(SOLID)
        });
        for (place, cell) in coarse.cells() {
            let mut air: f64 = children(place).map(|i| self.air[i]).sum();
            for (a, coarse_stride) in coarse.strides().into_iter().enumerate() {
                let (s, w) = (stride[a], &self.weights[a]);
                let is = |flag, i: usize| [self.types[i - s] == flag, self.types[i] == flag];
                // the lower face, and the upper unless it is half a coarse cell beyond the end
                for side in (0..2).filter(|side| 2 * (place[a] + side) <= self.sizes[a] + 2) {
                    let upper = cell + side * coarse_stride;
                    let both = coarse.types[upper - coarse_stride] == FLUID && coarse.types[upper] == FLUID;
                    let mut sum = 0.0;
                    for i in across(a).map(|t| first(place) + 2 * side * s + t) {
                        match is(FLUID, i) {
                            [true, true] => sum += w[i],
                            _ if !both => sum += between(l) * w[i],
                            // the cell's own side of the face is the upper one of its lower face
                            fluid if fluid[1 - side] => air += w[i],
                            _ => {}
                        }
                    }
                    coarse.weights[a][upper] = 0.5 * sum;
                }
                for i in across(a).map(|t| first(place) + s + t) {
                    let [p, q] = is(AIR, i);
                    air += if p == q { 0.0 } else { WITHIN * w[i] };
                }
            }
            coarse.air[cell] = 0.5 * air;
        }
        coarse.sum_diagonal();
        coarse
    }

    fn sum_diagonal(&mut self) {
        let stride = self.strides();
        for (_, i) in self.cells() {
            if self.types[i] == FLUID {
                let faces = (0..3).map(|a| self.weights[a][i] + self.weights[a][i + stride[a]]);
                self.diagonal[i] = faces.sum::<f64>() + self.air[i];
            }
        }
    }

    /// Where a cell is in the vectors. Its indices count from 1: 0 is below the domain, the size and 1 above it.
    #[must_use]
    pub fn index(&self, [i, j, k]: [usize; 3]) -> usize {
        (i * (self.sizes[1] + 2) + j) * (self.sizes[2] + 2) + k
    }

    fn strides(&self) -> [usize; 3] {
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]].map(|step| self.index(step))
    }

    /// Each cell and where it is in the vectors.
    fn cells(&self) -> Vec<([usize; 3], usize)> {
        places([1; 3], self.sizes).map(|place| (place, self.index(place))).collect()
    }

    fn unknowns(&self) -> impl Iterator<Item = ([usize; 3], usize)> {
        self.cells().into_iter().filter(|&(_, i)| self.diagonal[i] > 0.0)
    }

    /// `Σ w_ij x_j`.
    fn neighbours(&self, x: &[f64], i: usize) -> f64 {
        let along = |(a, s): (usize, usize)| self.weights[a][i] * x[i - s] + self.weights[a][i + s] * x[i + s];
        self.strides().into_iter().enumerate().map(along).sum()
    }

    fn relax(&self, colour: usize, b: &[f64], x: &mut [f64]) {
        // three indices from 1 have the sum of those from 0 and 3
        for (_, i) in self.unknowns().filter(|(place, _)| (place.iter().sum::<usize>() + 1) % 2 == colour) {
            x[i] = (b[i] + self.neighbours(x, i)) / self.diagonal[i];
        }
    }

    /// The row of P for a cell: where in the coarse vector, and how much.
    fn row(&self, coarse: &Self, place: [usize; 3]) -> [(usize, f64); 4] {
        let parent = coarse.index(place.map(|p| p.div_ceil(2)));
        let mut row = [(parent, 1.0); 4];
        for (a, s) in coarse.strides().into_iter().enumerate() {
            let (face, near) = if place[a].is_multiple_of(2) { (parent + s, parent + s) } else { (parent, parent - s) };
            let open = self.sizes[a] > 1 && coarse.weights[a][face] > 0.0;
            row[a + 1] = (near, if open { 0.25 } else { 0.0 });
            row[0].1 -= row[a + 1].1;
        }
        row
    }
}

/// All places from `low` to `high`, both included, row-major.
fn places(low: [usize; 3], high: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    let rows = (low[0]..=high[0]).flat_map(move |i| (low[1]..=high[1]).map(move |j| (i, j)));
    rows.flat_map(move |(i, j)| (low[2]..=high[2]).map(move |k| [i, j, k]))
}

/// The V-cycle of a scene.
#[derive(Clone, Debug)]
pub struct Multigrid {
    /// From the finest to the coarsest.
    pub levels: Vec<Level>,
}

impl Multigrid {
    /// With so many sweeps (at least 1) before and after the correction, on the finest level and on those between it
    /// and the coarsest. Two axes are three, the first of one cell between walls.
    ///
    /// # Panics
    ///
    /// If there are not two or three axes, or the flags or faces are fewer than the cells or axes.
    #[must_use]
    pub fn new(cells: &Cells<'_>, finest_sweeps: usize, coarse_sweeps: usize) -> Self {
        let mut open = [[false; 2]; 3];
        open[3 - cells.sizes.len()..].copy_from_slice(cells.open);
        let mut levels = Vec::new();
        let mut level = Level::finest(cells, open, finest_sweeps);
        while level.sizes.iter().product::<usize>() > COARSEST_CELLS {
            let coarser = level.coarser(levels.len(), open, coarse_sweeps);
            levels.push(std::mem::replace(&mut level, coarser));
        }
        level.sweeps = COARSEST_SWEEPS;
        levels.push(level);
        Self { levels }
    }

    /// `z = M r`: one V-cycle from zero. r counts where there are unknowns, and z is 0 elsewhere.
    ///
    /// # Panics
    ///
    /// If r is shorter than the cells are many.
    #[must_use]
    pub fn apply(&self, r: &[f64]) -> Vec<f64> {
        let finest = &self.levels[0];
        let mut b = vec![0.0; finest.types.len()];
        finest.cells().iter().enumerate().for_each(|(cell, &(_, i))| b[i] = r[cell]);
        let x = cycle(&self.levels, &b);
        finest.cells().iter().map(|&(_, i)| x[i]).collect()
    }
}

fn cycle(levels: &[Level], b: &[f64]) -> Vec<f64> {
    let (level, coarser) = (&levels[0], &levels[1..]);
    let (red, black) = (0, 1);
    let mut x = vec![0.0; b.len()];
    for _ in 0..level.sweeps {
        level.relax(red, b, &mut x);
        level.relax(black, b, &mut x);
    }
    if let Some(coarse) = coarser.first() {
        let mut restricted = vec![0.0; coarse.types.len()];
        for (place, i) in level.unknowns() {
            let residual = b[i] - level.diagonal[i] * x[i] + level.neighbours(&x, i);
            level.row(coarse, place).iter().for_each(|&(j, p)| restricted[j] += p * residual);
        }
        let e = cycle(coarser, &restricted);
        for (place, i) in level.unknowns() {
            x[i] += level.row(coarse, place).iter().map(|&(j, p)| p * e[j]).sum::<f64>();
        }
    }
    for _ in 0..level.sweeps {
        level.relax(black, b, &mut x);
        level.relax(red, b, &mut x);
    }
    x
}

#[cfg(test)]
mod tests {
    use nalgebra::{DMatrix, SymmetricEigen};

    use super::*;
    use crate::reference::krylov::{self, CgEnd};
    use crate::reference::random::{normal, uniform};
    use crate::reference::vector::{axpy, norm, scale};

    struct Scene {
        sizes: Vec<usize>,
        flags: Vec<u8>,
        open: Vec<[bool; 2]>,
    }

    impl Scene {
        fn closed(sizes: &[usize]) -> Self {
            Self { sizes: sizes.to_vec(), flags: vec![FLUID; sizes.iter().product()], open: vec![[false; 2]; sizes.len()] }
        }

        /// Random flags, `solid` and `air` being shares of the cells, and random faces.
        fn random(seed: u64, sizes: &[usize], solid: f32, air: f32) -> Self {
            let mut scene = Self::closed(sizes);
            let u = uniform(seed, 0, scene.flags.len());
            for (flag, u) in scene.flags.iter_mut().zip(u) {
                *flag = if u < solid { SOLID } else { u8::from(u < solid + air) * AIR };
            }
            let faces = uniform(seed, 1, 2 * sizes.len());
            scene.open = faces.chunks(2).map(|u| [u[0] < 0.3, u[1] < 0.3]).collect();
            scene
        }

        fn cells(&self) -> Cells<'_> {
            Cells { sizes: &self.sizes, flags: &self.flags, open: &self.open, ..Default::default() }
        }

        /// To 1e-6, on a right-hand side in the range of A.
        fn iterations(&self, sweeps: usize) -> usize {
            let (cells, m) = (self.cells(), Multigrid::new(&self.cells(), sweeps, 2));
            let b = cells.project(&normal(7, 0, self.flags.len()));
            let precondition = |r: &[f64]| cells.project(&m.apply(&cells.project(r)));
            let run = krylov::cg(|x| cells.apply(x), precondition, &b, &vec![0.0; b.len()], 1e-6 * norm(&b), 0.0, 100);
            assert_eq!(run.end, CgEnd::Converged, "{:?}", self.sizes);
            run.history.len() - 1
        }
    }

    fn assert_symmetric_and_positive(scene: &Scene, finest_sweeps: usize, coarse_sweeps: usize) {
        let cells = scene.cells();
        let m = Multigrid::new(&cells, finest_sweeps, coarse_sweeps);
        let n = scene.flags.len();
        let column = |i: usize| m.apply(&(0..n).map(|j| f64::from(u8::from(i == j))).collect::<Vec<_>>());
        let matrix = DMatrix::from_iterator(n, n, (0..n).flat_map(column));
        let asymmetry = (&matrix - matrix.transpose()).amax();
        assert!(asymmetry <= 1e-12 * matrix.amax(), "{:?}: {asymmetry:e}", scene.sizes);

        // all that are fluid with a neighbour that is not solid
        let finest = &m.levels[0];
        let diagonals: Vec<f64> = finest.cells().iter().map(|&(_, i)| finest.diagonal[i]).collect();
        for (i, &diagonal) in diagonals.iter().enumerate() {
            let unit: Vec<f64> = (0..n).map(|j| f64::from(u8::from(i == j))).collect();
            assert_eq!(cells.apply(&unit)[i], diagonal);
        }
        let unknowns: Vec<usize> = (0..n).filter(|&i| diagonals[i] > 0.0).collect();
        assert!((0..n).all(|i| diagonals[i] > 0.0 || matrix.column(i).amax() == 0.0), "{:?}: not an unknown", scene.sizes);
        if unknowns.is_empty() {
            return;
        }
        let eigenvalues = SymmetricEigen::new(matrix.select_rows(&unknowns).select_columns(&unknowns)).eigenvalues;
        // M is at least one symmetric sweep, (A + L D⁻¹ Lᵀ)⁻¹ with A <= 2D, L D⁻¹ Lᵀ <= D and D <= 6
        assert!(eigenvalues.min() >= 1.0 / 18.0 - 1e-12, "{:?}: {}", scene.sizes, eigenvalues.min());
    }

    #[test]
    fn the_cycle_is_symmetric_and_positive() {
        // one level (2), two (5) and three (3)
        let all: [&[usize]; 10] =
            [&[1, 1], &[5, 3, 3], &[9, 11], &[5, 3, 7], &[1, 9, 13], &[7, 1, 11], &[3, 33], &[17, 19], &[1, 19, 17], &[5, 9, 13]];
        for (i, sizes) in all.iter().enumerate() {
            for (j, (solid, air)) in [(0.0, 0.0), (0.15, 0.0), (0.3, 0.05), (0.5, 0.2), (0.1, 0.5)].into_iter().enumerate() {
                let scene = Scene::random((10 * i + j) as u64, sizes, solid, air);
                let (finest_sweeps, coarse_sweeps) = [(1, 1), (1, 2), (2, 2)][(i + j) % 3];
                assert_symmetric_and_positive(&scene, finest_sweeps, coarse_sweeps);
            }
        }
        for flag in [SOLID, AIR] {
            let mut scene = Scene::random(1, &[9, 11], 0.0, 0.0);
            scene.flags.fill(flag);
            assert_symmetric_and_positive(&scene, 1, 2);
        }
    }

    #[test]
    fn a_cell_alone_is_divided_by_its_diagonal() {
        let mut scene = Scene::closed(&[1, 1, 1]);
        assert_eq!(Multigrid::new(&scene.cells(), 1, 2).apply(&[3.0]), [0.0]);
        scene.open = vec![[true, false], [false, false], [true, true]];
        assert_eq!(Multigrid::new(&scene.cells(), 1, 2).apply(&[3.0]), [1.0]);
    }

    #[test]
    fn a_box_converges_by_a_quarter_a_cycle() {
        for sizes in [&[24, 24, 24][..], &[64, 64]] {
            let scene = Scene::closed(sizes);
            let (cells, m) = (scene.cells(), Multigrid::new(&scene.cells(), 2, 2));
            let mut r = cells.project(&normal(3, 0, scene.flags.len()));
            let mut factor = 0.0;
            for _ in 0..40 {
                let before = norm(&r);
                axpy(-1.0, &cells.apply(&m.apply(&r)), &mut r);
                r = cells.project(&r);
                factor = norm(&r) / before;
                scale(1.0 / norm(&r), &mut r);
            }
            assert!(factor <= 0.25, "{sizes:?}: {factor}");
        }
    }

    #[test]
    fn conjugate_gradients_take_as_many_iterations_on_larger_grids() {
        let (small, closed) = (Scene::closed(&[8, 12, 5]).iterations(1), Scene::closed(&[33, 47, 20]).iterations(1));
        assert!(closed <= 9 && closed <= small + 2, "{small}, {closed}");
        // an axis that is not coarsened any more, with air at its end
        let mut thin = Scene::closed(&[5, 64, 64]);
        thin.open[0][1] = true;
        assert!(thin.iterations(1) <= 9);
        for seed in 0..6 {
            let random = |n| Scene::random(seed, &[n, n + 3, n - 2], 0.15, 0.05 * (seed % 3) as f32).iterations(2);
            let (small, large) = (random(9), random(24));
            assert!(large <= 9 && large <= small + 2, "{small}, {large}");
        }
    }

    #[test]
    fn coarse_weights_without_air_are_those_of_the_differences() {
        for (sizes, growth) in [(&[16, 16, 16][..], 2.0), (&[64, 64], 1.0)] {
            let scene = Scene::closed(sizes);
            let levels = Multigrid::new(&scene.cells(), 1, 1).levels;
            assert_eq!(levels.len(), if sizes.len() == 3 { 3 } else { 4 });
            for (l, level) in levels.iter().enumerate() {
                for (place, i) in level.cells() {
                    for a in 0..3 {
                        let expected = if place[a] > 1 { f64::powi(growth, l as i32) } else { 0.0 };
                        assert_eq!(level.weights[a][i], expected, "{sizes:?}, level {l}, {place:?}");
                    }
                }
            }
        }
        let mut scene = Scene::random(5, &[13, 11, 17], 0.4, 0.0);
        scene.open = vec![[false; 2]; 3];
        for level in Multigrid::new(&scene.cells(), 1, 1).levels {
            assert!(level.air.iter().all(|&d| d == 0.0));
        }
    }

    /// Area over distance, of the centres of a cell of level l and of the air above a level surface: `2^l / 2 + 1/2`
    /// where the surface is at the end of a coarse cell, 1/2 where it is in the middle of one of two cells.
    #[test]
    fn a_level_surface_is_as_far_as_it_is() {
        for (sizes, axes) in [(&[32, 8, 8][..], 3), (&[64, 8], 2)] {
            let mut scene = Scene::closed(sizes);
            scene.open[0][1] = true;
            let levels = Multigrid::new(&scene.cells(), 1, 1).levels;
            assert!(levels.len() > 2);
            let along = 3 - axes;
            for (l, level) in levels.iter().enumerate() {
                let cells = f64::powi(2.0, l as i32);
                let mut above = [1, 1, 1];
                above[along] = level.sizes[along] + 1;
                let expected = cells.powi(axes as i32 - 1) / (0.5 * cells + 0.5);
                let found = level.weights[along][level.index(above)];
                assert!((found - expected).abs() <= 1e-12 * expected, "{sizes:?}, level {l}: {found}, not {expected}");
                assert!(level.air.iter().all(|&d| d == 0.0));
            }
        }
        for (sizes, area) in [(&[9, 4, 4][..], 4.0), (&[17, 4], 2.0)] {
            let mut scene = Scene::closed(sizes);
            scene.open[0][1] = true;
            let level = &Multigrid::new(&scene.cells(), 1, 1).levels[1];
            let last = level.cells()[level.cells().len() - 1].1;
            assert_eq!(level.air[last], area / 0.5);
            assert_eq!(level.air.iter().filter(|&&d| d != 0.0).count(), if sizes.len() == 3 { 4 } else { 2 });
        }
    }

    #[test]
    fn air_within_a_coarse_cell_is_shared_out() {
        let mut scene = Scene::closed(&[10, 10]);
        let mut set = |row: usize, column: usize, flag| scene.flags[10 * row + column] = flag;
        set(4, 4, AIR);
        for (row, column) in [(8, 0), (8, 1), (9, 0), (9, 1)] {
            set(row, column, SOLID);
            set(row, column + 8, SOLID);
        }
        set(9, 9, AIR);
        let level = &Multigrid::new(&scene.cells(), 1, 1).levels[1];
        let at = |row: usize, column: usize| level.index([1, row + 1, column + 1]);
        assert_eq!([level.types[at(2, 2)], level.types[at(4, 0)], level.types[at(4, 4)]], [FLUID, SOLID, AIR]);
        // half a fine face each for the fluid above and to the left of the air, and two faces 4 times, halved
        assert_eq!([level.air[at(1, 2)], level.air[at(2, 1)], level.air[at(2, 2)]], [0.5, 0.5, 4.0]);
        assert_eq!(level.air.iter().filter(|&&d| d != 0.0).count(), 3);
        assert_eq!([level.weights[1][at(2, 2)], level.weights[2][at(2, 2)]], [0.5, 0.5]);
        assert_eq!([level.diagonal[at(2, 2)], level.diagonal[at(1, 1)], level.diagonal[at(1, 2)]], [7.0, 4.0, 4.0]);
        // solid between fluid and that air
        assert_eq!([level.weights[1][at(4, 4)], level.weights[2][at(4, 4)]], [0.0, 0.0]);
    }

    #[test]
    fn corrections_come_from_across_open_faces() {
        // a wall of one cell, and air beyond the last column and along the axis that is not coarsened
        let mut scene = Scene::closed(&[1, 12, 12]);
        scene.flags[5 * 12..6 * 12].fill(SOLID);
        scene.open = vec![[true, true], [false, false], [false, true]];
        let levels = Multigrid::new(&scene.cells(), 1, 1).levels;
        let at = |row: usize, column: usize| levels[1].index([1, row + 1, column + 1]);
        for ((row, column), expected) in [
            ((2, 3), [(at(1, 1), 0.5), (at(0, 1), 0.25), (at(1, 2), 0.25)]),
            ((0, 3), [(at(0, 1), 0.75), (at(0, 1) - 8, 0.0), (at(0, 2), 0.25)]),
            ((6, 3), [(at(3, 1), 0.75), (at(2, 1), 0.0), (at(3, 2), 0.25)]),
            ((8, 11), [(at(4, 5), 0.5), (at(3, 5), 0.25), (at(4, 6), 0.25)]),
        ] {
            let [parent, not_coarsened, near_row, near_column] = levels[0].row(&levels[1], [1, row + 1, column + 1]);
            assert_eq!([parent, near_row, near_column], expected, "{row}, {column}");
            assert_eq!(not_coarsened.1, 0.0);
        }
        let deep = Scene::closed(&[8, 8, 8]);
        let levels = Multigrid::new(&deep.cells(), 1, 1).levels;
        assert!(levels[0].row(&levels[1], [3, 4, 5]).iter().all(|&(_, p)| p == 0.25));
    }
}
