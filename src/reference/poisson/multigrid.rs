//! One multigrid cycle for flags, face weights, spacing, periodic axes and mass, as a preconditioner.
//!
//! The general method is that of Trottenberg, Oosterlee and Schüller, "Multigrid", 2001, chapters 2 and 5; interpolation is
//! smoothed aggregation (Vaněk, Mandel and Brezina, Computing 56, 1996) with its step held back; the smoother is Lottes,
//! "Optimal polynomial smoothers for multigrid V-cycles", 2022. Here `z = M r` is one cycle from zero, and M is symmetric and
//! positive definite on the unknowns.
//!
//! **Levels.** A level is a graph: unknowns i, each in a cell, several of which may share one; edges (i, j) along an axis, of
//! weight w > 0; weights b of faces to air, by axis and side; and m, all else that is on the diagonal:
//!
//! `(A x)_i = d_i x_i - Σ w_ij x_j`, `d_i = Σ w_ij + Σ b_i + m_i`.
//!
//! On the finest level these are the fluid cells, the weights of their faces, and the mass.
//!
//! **Axes.** The next level halves each axis of more than one cell whose cells are not longer, by more than √2, than those of
//! the axis with the shortest of these.
//!
//! **Unknowns of the next level.** The children in a parent cell fall into parts that edges among them connect; each part is an
//! unknown. A child without an edge has no parent.
//!
//! **Coarse weights.** With θ = ½ along a halved axis and 1 along another, w_IJ = θ Σ w over the edges between parts I and J along
//! an axis, and m_I = Σ m. A child's weight v of a face to air, on level l of cells of s fine ones along its axis, counts
//!
//! - θ β v in b_I, with β = 2(s + 1)/(2s + 1) along a halved axis and 1 along another, if the face is on the parent cell's outside and no
//!   unknown of this level is in the cell beyond: the surface stays half a fine cell from the centre of its air;
//! - θ v in m_I, if it is there and one is;
//! - 2 v in m_I, if it is within the parent cell.
//!
//! **Interpolation.** Let A' have the edges between different parents and the air on the parent's outside, along halved axes. Then
//! `P = (I - D'⁻¹ A') P0`, where P0 gives each child its parent's value and D' is the larger of d and four times the largest sum of
//! the weights in A' on one side. Restriction is Pᵀ.
//!
//! **Smoothing.** Chebyshev polynomials of the fourth kind in D⁻¹A on [0, 2], of a degree k: `r_0 = b - A x`, `z_0 = 0`,
//!
//! `z_t = (2t-3)/(2t+1) z_(t-1) + (4t-2)/(2t+1) D⁻¹ r_(t-1)`, `x += β_t z_t`, `r_t = r_(t-1) - A z_t`,
//!
//! with Lottes' β for k <= 2, and 1 beyond. The same before and after the correction.
//!
//! **Cycle.** A level is visited once for each visit of the finer one, or twice: `C r = y + M (r - A y)`, `y = M r`. The coarsest level is
//! solved exactly: the first of at most 64 cells and 512 unknowns, or of one cell.
//!
//! **Positive.** Edges have |off-diagonal| row sums of at most d, so that D⁻¹A has eigenvalues in [0, 2], where the smoother contracts.
//! `PᵀAP <= 2 A_c`: with `y = D'⁻¹A'P0 e` the energy of P e is at most `|P0 e|² + |P0 e|²` in the masses, and the coarse operator has at
//! least half of the edges and air and all of the mass. So λ(M A) <= 2 on each level, by induction, and two visits are positive as well.
//! (Where an axis is not halved, PᵀAP <= 2 A_c is not proven.)
//!
//! Nothing is projected: for a singular system let r be in the range of A ([`Cells::project`]), and project z.

use super::{Cells, Neighbour};

const COARSEST_CELLS: usize = 64;
const COARSEST_UNKNOWNS: usize = 512;

/// (i, j) along an axis; i is in the cell below.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// One end.
    pub i: usize,
    /// The other.
    pub j: usize,
    /// Which axis.
    pub axis: usize,
    /// w > 0.
    pub weight: f64,
}

/// One level. Two axes are three, the first of one cell between walls.
#[derive(Clone, Debug, Default)]
pub struct Level {
    /// The cells by axis.
    pub sizes: [usize; 3],
    /// Of each unknown, its cell.
    pub places: Vec<[usize; 3]>,
    /// All edges.
    pub edges: Vec<Edge>,
    /// b of each unknown, by axis and side.
    pub air: Vec<[[f64; 2]; 3]>,
    /// m of each unknown.
    pub rest: Vec<f64>,
    /// d of each unknown.
    pub diagonal: Vec<f64>,
    /// The rows of P: unknowns of the next level, and how much of each.
    pub interpolation: Vec<Vec<(usize, f64)>>,
    periodic: [bool; 3],
    /// By axis: the sides of a cell, and how often the axis was halved.
    spacing: [f64; 3],
    halved: [i32; 3],
    /// Edges of each unknown.
    neighbours: Vec<Vec<(usize, f64)>>,
}

impl Level {
    fn finest(cells: &Cells<'_>) -> (Self, Vec<usize>) {
        let first = 3 - cells.sizes.len();
        let mut level = Self { sizes: [1; 3], spacing: [1.0; 3], ..Self::default() };
        level.sizes[first..].copy_from_slice(cells.sizes);
        level.spacing[first..].iter_mut().zip(cells.spacing).for_each(|(own, &h)| *own = h);
        level.periodic[first..].iter_mut().zip(cells.periodic).for_each(|(own, &periodic)| *own = periodic);
        let fluid: Vec<usize> = (0..cells.flags.len()).filter(|&i| cells.flags[i] == 0).collect();
        let mut index = vec![usize::MAX; cells.flags.len()];
        for (i, &cell) in fluid.iter().enumerate() {
            index[cell] = i;
        }
        for (i, &cell) in fluid.iter().enumerate() {
            let (row, x) = (cell / level.sizes[2], cell % level.sizes[2]);
            level.places.push([row / level.sizes[1], row % level.sizes[1], x]);
            let mut air = [[0.0; 2]; 3];
            for (k, neighbour) in cells.neighbours(cell).into_iter().enumerate() {
                let (axis, above) = (first + k / 2, k % 2);
                match neighbour {
                    Neighbour { flag: 2, weight, .. } => air[axis][above] = weight,
                    Neighbour { flag: 0, index: Some(j), weight } if above == 1 && weight > 0.0 => {
                        level.edges.push(Edge { i, j: index[j], axis, weight });
                    }
                    _ => {}
                }
            }
            level.air.push(air);
            level.rest.push(cells.mass(cell));
        }
        level.sum();
        (level, fluid)
    }

    /// d and the neighbours, from all else.
    fn sum(&mut self) {
        let air = |air: &[[f64; 2]; 3]| air.iter().flatten().sum::<f64>();
        self.diagonal = self.air.iter().zip(&self.rest).map(|(b, m)| air(b) + m).collect();
        self.neighbours = vec![Vec::new(); self.places.len()];
        for &Edge { i, j, weight, .. } in &self.edges {
            for (i, j) in [(i, j), (j, i)] {
                self.diagonal[i] += weight;
                self.neighbours[i].push((j, weight));
            }
        }
    }

    /// The number of unknowns.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no unknown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether the next level halves each axis.
    #[must_use]
    pub fn halves(&self) -> [bool; 3] {
        let long = |axis: usize| self.sizes[axis] > 1;
        let least = (0..3).filter(|&axis| long(axis)).map(|axis| self.spacing[axis]).fold(f64::INFINITY, f64::min);
        [0, 1, 2].map(|axis| long(axis) && self.spacing[axis].powi(2) <= 2.0 * least.powi(2))
    }

    /// `A x`.
    #[must_use]
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        let row = |i: usize| self.diagonal[i] * x[i] - self.neighbours[i].iter().map(|&(j, w)| w * x[j]).sum::<f64>();
        (0..x.len()).map(row).collect()
    }

    /// Of each unknown the part that it is in, a number below that of the parts. Parts are in the order of their first unknowns.
    fn parts(&self, parents: &[[usize; 3]]) -> (Vec<usize>, usize) {
        let (mut part, mut parts) = (vec![usize::MAX; self.len()], 0);
        for start in 0..self.len() {
            if part[start] != usize::MAX {
                continue;
            }
            part[start] = parts;
            let mut next = vec![start];
            while let Some(i) = next.pop() {
                for &(j, _) in self.neighbours[i].iter().filter(|(j, _)| parents[*j] == parents[i]) {
                    if part[j] == usize::MAX {
                        part[j] = parts;
                        next.push(j);
                    }
                }
            }
            parts += 1;
        }
        (part, parts)
    }

    /// The next level. Makes the interpolation from it.
    fn coarser(&mut self) -> Self {
        let halves = self.halves();
        let halve = |place: [usize; 3]| [0, 1, 2].map(|axis| if halves[axis] { place[axis] / 2 } else { place[axis] });
        let parents: Vec<[usize; 3]> = self.places.iter().map(|&place| halve(place)).collect();
        let (part, parts) = self.parts(&parents);
        // parts of children without an edge are left out
        let mut coarse = Self { periodic: self.periodic, ..Self::default() };
        coarse.sizes = [0, 1, 2].map(|axis| if halves[axis] { self.sizes[axis].div_ceil(2) } else { self.sizes[axis] });
        coarse.spacing = [0, 1, 2].map(|axis| self.spacing[axis] * if halves[axis] { 2.0 } else { 1.0 });
        coarse.halved = [0, 1, 2].map(|axis| self.halved[axis] + i32::from(halves[axis]));
        let mut number = vec![usize::MAX; parts];
        for i in (0..self.len()).filter(|&i| !self.neighbours[i].is_empty()) {
            if number[part[i]] == usize::MAX {
                number[part[i]] = coarse.places.len();
                coarse.places.push(parents[i]);
            }
        }
        let own: Vec<usize> = part.iter().map(|&part| number[part]).collect();

        let mut edges = std::collections::BTreeMap::<(usize, usize, usize), f64>::new();
        for edge in self.edges.iter().filter(|edge| own[edge.i] != own[edge.j]) {
            let theta = if halves[edge.axis] { 0.5 } else { 1.0 };
            *edges.entry((own[edge.i], own[edge.j], edge.axis)).or_default() += theta * edge.weight;
        }
        coarse.edges = edges.into_iter().map(|((i, j, axis), weight)| Edge { i, j, axis, weight }).collect();

        let occupied: std::collections::HashSet<[usize; 3]> = parents.iter().copied().collect();
        let outside = |i: usize, axis: usize, side: usize| !halves[axis] || self.places[i][axis] % 2 == side;
        coarse.air = vec![[[0.0; 2]; 3]; coarse.len()];
        coarse.rest = vec![0.0; coarse.len()];
        for i in (0..self.len()).filter(|&i| own[i] != usize::MAX) {
            coarse.rest[own[i]] += self.rest[i];
            for axis in 0..3 {
                let cells = f64::powi(2.0, self.halved[axis]);
                let (theta, beta) = if halves[axis] { (0.5, 2.0 * (cells + 1.0) / (2.0 * cells + 1.0)) } else { (1.0, 1.0) };
                for side in 0..2 {
                    let v = self.air[i][axis][side];
                    let size = coarse.sizes[axis];
                    let mut beyond = parents[i];
                    let inside = match (side, self.periodic[axis]) {
                        (0, true) => Some((beyond[axis] + size - 1) % size),
                        (_, true) => Some((beyond[axis] + 1) % size),
                        (0, false) => beyond[axis].checked_sub(1),
                        (_, false) => Some(beyond[axis] + 1).filter(|&p| p < size),
                    };
                    beyond[axis] = inside.unwrap_or(0);
                    match outside(i, axis, side) {
                        true if inside.is_some() && occupied.contains(&beyond) => coarse.rest[own[i]] += theta * v,
                        true => coarse.air[own[i]][axis][side] += theta * beta * v,
                        false => coarse.rest[own[i]] += 2.0 * v,
                    }
                }
            }
        }
        coarse.sum();

        let mut sides = vec![[[0.0; 2]; 3]; self.len()];
        let between = |edge: &&Edge| own[edge.i] != own[edge.j] && halves[edge.axis];
        for edge in self.edges.iter().filter(between) {
            sides[edge.i][edge.axis][1] += edge.weight;
            sides[edge.j][edge.axis][0] += edge.weight;
        }
        let mut left = vec![1.0; self.len()];
        let mut larger = vec![0.0; self.len()];
        for i in 0..self.len() {
            let mut air = 0.0;
            for axis in (0..3).filter(|&axis| halves[axis]) {
                for side in (0..2).filter(|&side| outside(i, axis, side)) {
                    sides[i][axis][side] += self.air[i][axis][side];
                    air += self.air[i][axis][side];
                }
            }
            larger[i] = 4.0 * sides[i].iter().flatten().copied().fold(0.25 * self.diagonal[i], f64::max);
            left[i] -= if air > 0.0 { air / larger[i] } else { 0.0 };
        }
        self.interpolation = vec![Vec::new(); self.len()];
        for edge in self.edges.iter().filter(between) {
            for (i, j) in [(edge.i, edge.j), (edge.j, edge.i)] {
                self.interpolation[i].push((own[j], edge.weight / larger[i]));
                left[i] -= edge.weight / larger[i];
            }
        }
        for i in (0..self.len()).filter(|&i| own[i] != usize::MAX) {
            self.interpolation[i].push((own[i], left[i]));
        }
        coarse
    }

    fn scaled(&self, r: &[f64]) -> Vec<f64> {
        r.iter().zip(&self.diagonal).map(|(r, &d)| if d > 0.0 { r / d } else { 0.0 }).collect()
    }

    fn smooth(&self, degree: usize, b: &[f64], x: &mut [f64]) {
        let beta: &[f64] = match degree {
            1 => &[1.125],
            2 => &[1.023_872_875_703_13, 1.264_089_053_710_85],
            _ => &[],
        };
        let mut r: Vec<f64> = self.apply(x).iter().zip(b).map(|(y, b)| b - y).collect();
        let mut z = vec![0.0; b.len()];
        for t in 1..=degree {
            let n = t as f64;
            for (z, r) in z.iter_mut().zip(self.scaled(&r)) {
                *z = (2.0 * n - 3.0) / (2.0 * n + 1.0) * *z + (4.0 * n - 2.0) / (2.0 * n + 1.0) * r;
            }
            let beta = beta.get(t - 1).copied().unwrap_or(1.0);
            x.iter_mut().zip(&z).for_each(|(x, z)| *x += beta * z);
            r.iter_mut().zip(self.apply(&z)).for_each(|(r, y)| *r -= y);
        }
    }
}

/// `x = A⁺ b` of a level's operator, component by component: by factors of Cholesky, of `A + s 1 1ᵀ` where A is singular, whose inverse has
/// `1 1ᵀ / (s n²)` more than A⁺.
#[derive(Clone, Debug)]
struct Exact {
    /// The unknowns of each, its factor, and whether it is singular.
    components: Vec<(Vec<usize>, Vec<Vec<f64>>, bool)>,
}

impl Exact {
    fn new(level: &Level) -> Self {
        let (label, count) = level.parts(&vec![[0; 3]; level.len()]);
        let mut components = vec![Vec::new(); count];
        label.iter().enumerate().for_each(|(i, &label)| components[label].push(i));
        let components = components.into_iter().map(|unknowns| {
            let singular = unknowns.iter().all(|&i| level.rest[i] == 0.0 && level.air[i].iter().flatten().all(|&b| b == 0.0));
            let mut at = std::collections::HashMap::new();
            unknowns.iter().enumerate().for_each(|(k, &i)| _ = at.insert(i, k));
            let n = unknowns.len();
            let scale = unknowns.iter().map(|&i| level.diagonal[i]).fold(0.0, f64::max) / n as f64;
            let mut factor = vec![vec![if singular { scale } else { 0.0 }; n]; n];
            for (k, &i) in unknowns.iter().enumerate() {
                factor[k][k] += level.diagonal[i];
                level.neighbours[i].iter().for_each(|(j, w)| factor[k][at[j]] -= w);
            }
            for k in 0..n {
                for j in 0..=k {
                    let sum: f64 = (0..j).map(|t| factor[k][t] * factor[j][t]).sum();
                    let rest = factor[k][j] - sum;
                    factor[k][j] = if j == k { rest.max(0.0).sqrt() } else { rest / factor[j][j] };
                }
            }
            (unknowns, factor, singular)
        });
        Self { components: components.filter(|(_, factor, _)| factor[0][0] > 0.0).collect() }
    }

    fn solve(&self, b: &[f64]) -> Vec<f64> {
        let mut x = vec![0.0; b.len()];
        for (unknowns, factor, singular) in &self.components {
            let n = unknowns.len();
            let mean = |v: &[f64]| if *singular { v.iter().sum::<f64>() / n as f64 } else { 0.0 };
            let mut y: Vec<f64> = unknowns.iter().map(|&i| b[i]).collect();
            let shift = mean(&y);
            y.iter_mut().for_each(|y| *y -= shift);
            for k in 0..n {
                let sum: f64 = (0..k).map(|t| factor[k][t] * y[t]).sum();
                y[k] = (y[k] - sum) / factor[k][k];
            }
            for k in (0..n).rev() {
                let sum: f64 = (k + 1..n).map(|t| factor[t][k] * y[t]).sum();
                y[k] = (y[k] - sum) / factor[k][k];
            }
            let shift = mean(&y);
            unknowns.iter().zip(y).for_each(|(&i, y)| x[i] = y - shift);
        }
        x
    }
}

/// The cycle of a scene.
#[derive(Clone, Debug)]
pub struct Multigrid {
    /// From the finest to the coarsest.
    pub levels: Vec<Level>,
    /// The cells of the finest level's unknowns.
    fluid: Vec<usize>,
    exact: Exact,
    degree: usize,
    twice_from: usize,
}

impl Multigrid {
    /// With smoothing of a degree from 1 on. Levels are visited twice from the level `twice_from` on, which is at least 1: 1 for the
    /// W-cycle, `usize::MAX` for the V-cycle.
    ///
    /// # Panics
    ///
    /// If there are not two or three axes, or anything is shorter than the cells or axes.
    #[must_use]
    pub fn new(cells: &Cells<'_>, degree: usize, twice_from: usize) -> Self {
        let (mut level, fluid) = Level::finest(cells);
        let mut levels = Vec::new();
        let last = |level: &Level| {
            let cells = level.sizes.iter().product::<usize>();
            cells == 1 || (cells <= COARSEST_CELLS && level.len() <= COARSEST_UNKNOWNS)
        };
        while !last(&level) {
            let coarser = level.coarser();
            levels.push(std::mem::replace(&mut level, coarser));
        }
        let exact = Exact::new(&level);
        levels.push(level);
        Self { levels, fluid, exact, degree, twice_from }
    }

    /// `z = M r`: one cycle from zero. r counts where there are unknowns, and z is 0 elsewhere.
    ///
    /// # Panics
    ///
    /// If r is shorter than the cells are many.
    #[must_use]
    pub fn apply(&self, r: &[f64]) -> Vec<f64> {
        let b: Vec<f64> = self.fluid.iter().map(|&cell| r[cell]).collect();
        let mut z = vec![0.0; r.len()];
        self.fluid.iter().zip(self.cycle(0, &b)).for_each(|(&cell, x)| z[cell] = x);
        z
    }

    fn cycle(&self, l: usize, b: &[f64]) -> Vec<f64> {
        let level = &self.levels[l];
        let Some(coarse) = self.levels.get(l + 1) else { return self.exact.solve(b) };
        let residual = |level: &Level, b: &[f64], x: &[f64]| -> Vec<f64> { level.apply(x).iter().zip(b).map(|(y, b)| b - y).collect() };
        let mut x = vec![0.0; b.len()];
        level.smooth(self.degree, b, &mut x);
        let mut restricted = vec![0.0; coarse.len()];
        for (r, row) in residual(level, b, &x).iter().zip(&level.interpolation) {
            row.iter().for_each(|&(j, p)| restricted[j] += p * r);
        }
        let mut e = self.cycle(l + 1, &restricted);
        if l + 1 >= self.twice_from && l + 2 < self.levels.len() {
            let further = self.cycle(l + 1, &residual(coarse, &restricted, &e));
            e.iter_mut().zip(further).for_each(|(e, y)| *e += y);
        }
        for (x, row) in x.iter_mut().zip(&level.interpolation) {
            *x += row.iter().map(|&(j, p)| p * e[j]).sum::<f64>();
        }
        level.smooth(self.degree, b, &mut x);
        x
    }
}
