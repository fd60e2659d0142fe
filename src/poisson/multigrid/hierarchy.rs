//! The levels of a multigrid hierarchy, as shaders/shared/levels.wgsl describes them and `reference::poisson::multigrid` defines them.
//!
//! Unknowns of a level are numbered: first its cells, row-major, of which not all are unknowns, then further ones, of cells that have
//! several.

use std::collections::{BTreeMap, HashMap};

use crate::poisson::grid::{Cell, Grid};
use crate::poisson::rows::List;

/// The coarsest level has no more cells and unknowns than these, unless it has one cell.
const COARSEST_CELLS: usize = 64;
const COARSEST_UNKNOWNS: usize = 512;

/// The number of no unknown.
const NONE: u32 = u32::MAX;

/// By axis, the slowest first; two-dimensional grids have one plane.
type Place = [usize; 3];

/// (i, j) along an axis, i in the cell below, that is not between cells next to each other in memory.
#[derive(Clone, Copy)]
struct Edge {
    i: u32,
    j: u32,
    axis: usize,
    weight: f32,
}

/// How values are interpolated.
pub(super) enum Transfers {
    /// By flags: of each cell how many faces of its parent's outside are not solid, [`IRREGULAR`] where a list says all.
    Counts(Vec<u8>),
    /// Of each unknown the factors of the coarse cells next to its parent along x, y and z and of its parent; the last is -1 where a list
    /// says all.
    Rows(Vec<[f32; 4]>),
}

/// See [`Transfers::Counts`].
pub(super) const IRREGULAR: u8 = 4;

pub(super) struct Level {
    /// The cells by axis.
    pub sizes: Place,
    /// The cells of further unknowns.
    pub further: Vec<u32>,
    /// By axis: of each cell, the weight of the edge to the one below it.
    pub weights: [Vec<f32>; 3],
    /// Of each unknown; 0 where there is none.
    pub diagonal: Vec<f64>,
    /// Which axes the next level halves.
    pub halves: [bool; 3],
    pub transfers: Transfers,
    /// Rows of P that `transfers` does not say.
    pub rows: Vec<(u32, List)>,
    edges: Vec<Edge>,
    /// Where in `air` an unknown's is, one less; 0 if it has none.
    air_at: Vec<u32>,
    /// By axis and side.
    air: Vec<[[f32; 2]; 3]>,
    rest: Vec<f32>,
    present: Vec<bool>,
    spacing: [f64; 3],
    halved: [i32; 3],
    periodic: [bool; 3],
    by_counts: bool,
}

/// All levels, the finest first; of flags, the finest's transfers may be by counts.
pub(super) fn levels(grid: &Grid, by_counts: bool) -> Vec<Level> {
    let mut levels = vec![Level::finest(grid, by_counts)];
    while let Some(last) = levels.last_mut().filter(|level| !level.is_last()) {
        let next = last.coarser();
        levels.push(next);
    }
    levels
}

fn strides(sizes: Place) -> Place {
    [sizes[1] * sizes[2], sizes[2], 1]
}

fn place_of(sizes: Place, cell: usize) -> Place {
    let row = cell / sizes[2];
    [row / sizes[1], row % sizes[1], cell % sizes[2]]
}

impl Level {
    fn empty(sizes: Place, unknowns: usize) -> Self {
        let cells = sizes.iter().product();
        Self {
            sizes,
            further: Vec::new(),
            weights: [vec![0.0; cells], vec![0.0; cells], vec![0.0; cells]],
            diagonal: vec![0.0; unknowns],
            halves: [false; 3],
            transfers: Transfers::Counts(Vec::new()),
            rows: Vec::new(),
            edges: Vec::new(),
            air_at: vec![0; unknowns],
            air: Vec::new(),
            rest: vec![0.0; unknowns],
            present: vec![false; unknowns],
            spacing: [1.0; 3],
            halved: [0; 3],
            periodic: [false; 3],
            by_counts: false,
        }
    }

    fn finest(grid: &Grid, by_counts: bool) -> Self {
        let (sizes, _) = grid.three_axes();
        let first = 3 - grid.sizes().len();
        let mut level = Self::empty(sizes, grid.len());
        let flagged = grid.is_flagged();
        level.by_counts = by_counts && flagged;
        level.spacing[first..].copy_from_slice(grid.spacing());
        level.periodic[first..].copy_from_slice(grid.periodic());
        let strides = strides(sizes);
        for (i, (cell, around)) in grid.all_neighbours().enumerate() {
            if cell != Cell::Fluid {
                continue;
            }
            level.present[i] = true;
            level.rest[i] = grid.mass(i);
            level.diagonal[i] = grid.mass(i).into();
            for (k, (cell, j)) in around.into_iter().enumerate() {
                let (axis, above) = (k / 2, k % 2);
                let weight = match cell {
                    Cell::Solid => continue,
                    _ if flagged => 1.0,
                    _ => grid.weight(i, k),
                };
                if weight == 0.0 {
                    continue;
                }
                level.diagonal[i] += f64::from(weight);
                match (cell, j) {
                    (Cell::Fluid, Some(j)) if above == 0 && j < i => level.weights[axis][i] = weight,
                    (Cell::Fluid, Some(j)) if above == 1 && j != i + strides[axis] => {
                        level.edges.push(Edge { i: i as u32, j: j as u32, axis, weight });
                    }
                    (Cell::Fluid, Some(_)) => {}
                    _ => level.air_of(i)[axis][above] += weight,
                }
            }
        }
        level
    }

    pub fn cells(&self) -> usize {
        self.weights[0].len()
    }

    fn unknowns(&self) -> usize {
        self.diagonal.len()
    }

    fn is_last(&self) -> bool {
        let unknowns = || self.present.iter().filter(|&&present| present).count();
        self.cells() == 1 || (self.cells() <= COARSEST_CELLS && unknowns() <= COARSEST_UNKNOWNS)
    }

    fn air_of(&mut self, i: usize) -> &mut [[f32; 2]; 3] {
        if self.air_at[i] == 0 {
            self.air.push([[0.0; 2]; 3]);
            self.air_at[i] = self.air.len() as u32;
        }
        &mut self.air[self.air_at[i] as usize - 1]
    }

    fn air(&self, i: usize) -> [[f32; 2]; 3] {
        match self.air_at[i] {
            0 => [[0.0; 2]; 3],
            at => self.air[at as usize - 1],
        }
    }

    fn cell_of(&self, unknown: usize) -> usize {
        unknown.checked_sub(self.cells()).map_or(unknown, |k| self.further[k] as usize)
    }

    /// Rows of A that the weights of neighbouring cells do not say.
    pub fn lists(&self) -> Vec<(u32, List)> {
        let mut lists = BTreeMap::<u32, List>::new();
        for &Edge { i, j, weight, .. } in &self.edges {
            lists.entry(i).or_default().push((j, weight));
            lists.entry(j).or_default().push((i, weight));
        }
        lists.into_iter().collect()
    }

    /// The weight of the edge to the cell above along an axis.
    fn above(&self, cell: usize, place: Place, axis: usize) -> f32 {
        if place[axis] + 1 < self.sizes[axis] { self.weights[axis][cell + strides(self.sizes)[axis]] } else { 0.0 }
    }

    /// The next level. Makes the interpolation from it.
    fn coarser(&mut self) -> Self {
        let long = |axis: usize| self.sizes[axis] > 1;
        let least = (0..3).filter(|&axis| long(axis)).map(|axis| self.spacing[axis]).fold(f64::INFINITY, f64::min);
        self.halves = [0, 1, 2].map(|axis| long(axis) && self.spacing[axis].powi(2) <= 2.0 * least.powi(2));
        let halves = self.halves;
        let sizes = [0, 1, 2].map(|axis| if halves[axis] { self.sizes[axis].div_ceil(2) } else { self.sizes[axis] });
        let (parents, further, occupied) = self.parts(sizes);
        let cells: usize = sizes.iter().product();
        let mut coarse = Self::empty(sizes, cells + further.len());
        coarse.further = further;
        coarse.periodic = self.periodic;
        coarse.spacing = [0, 1, 2].map(|axis| self.spacing[axis] * if halves[axis] { 2.0 } else { 1.0 });
        coarse.halved = [0, 1, 2].map(|axis| self.halved[axis] + i32::from(halves[axis]));
        parents.iter().filter(|&&parent| parent != NONE).for_each(|&parent| coarse.present[parent as usize] = true);
        self.coarsen_edges(&mut coarse, &parents);
        self.coarsen_air(&mut coarse, &parents, &occupied);
        coarse.sum();
        self.interpolate(&coarse, &parents);
        coarse
    }

    /// Of each unknown its parent, where it has one; the cells of parents that are not the first of a cell; and which cells have children.
    /// The largest part of a cell is the first.
    fn parts(&self, sizes: Place) -> (Vec<u32>, Vec<u32>, Vec<bool>) {
        let strides = strides(self.sizes);
        let coarse_cell = |cell: usize| {
            let place = place_of(self.sizes, cell);
            let [z, y, x] = [0, 1, 2].map(|axis| if self.halves[axis] { place[axis] / 2 } else { place[axis] });
            (z * sizes[1] + y) * sizes[2] + x
        };
        let mut joined = vec![false; self.unknowns()];
        for (axis, weights) in self.weights.iter().enumerate() {
            for (i, _) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                joined[i] = true;
                joined[i - strides[axis]] = true;
            }
        }
        let mut inner: Vec<(usize, Edge)> = Vec::new();
        for &edge in &self.edges {
            joined[edge.i as usize] = true;
            joined[edge.j as usize] = true;
            let [from, to] = [edge.i, edge.j].map(|i| coarse_cell(self.cell_of(i as usize)));
            if from == to {
                inner.push((from, edge));
            }
        }
        inner.sort_by_key(|&(cell, _)| cell);
        let mut own: Vec<(usize, u32)> =
            self.further.iter().enumerate().map(|(k, &cell)| (coarse_cell(cell as usize), (self.cells() + k) as u32)).collect();
        own.sort_unstable();
        let (mut inner, mut own) = (inner.into_iter().peekable(), own.into_iter().peekable());

        let cells: usize = sizes.iter().product();
        let mut parents = vec![NONE; self.unknowns()];
        let (mut further, mut occupied) = (Vec::new(), vec![false; cells]);
        // the unknowns of a cell, the part of each, and how many are in it
        let (mut members, mut part, mut count) = (Vec::<u32>::new(), Vec::<usize>::new(), Vec::<usize>::new());
        for (cell, occupied) in occupied.iter_mut().enumerate() {
            let place = place_of(sizes, cell);
            members.clear();
            let mut first = [0; 3];
            let mut ends = [0; 3];
            for axis in 0..3 {
                first[axis] = if self.halves[axis] { 2 * place[axis] } else { place[axis] };
                ends[axis] = (first[axis] + 1 + usize::from(self.halves[axis])).min(self.sizes[axis]);
            }
            for z in first[0]..ends[0] {
                for y in first[1]..ends[1] {
                    for x in first[2]..ends[2] {
                        let i = z * strides[0] + y * strides[1] + x;
                        *occupied |= self.present[i];
                        if joined[i] {
                            members.push(i as u32);
                        }
                    }
                }
            }
            while let Some((_, i)) = own.next_if(|&(of, _)| of == cell) {
                *occupied = true;
                if joined[i as usize] {
                    members.push(i);
                }
            }
            part.clear();
            part.extend(0..members.len());
            let mut join = |i: u32, j: u32| {
                let at = |i: u32| members.iter().position(|&member| member == i);
                let (Some(i), Some(j)) = (at(i), at(j)) else { return };
                let (keep, drop) = (part[i].min(part[j]), part[i].max(part[j]));
                part.iter_mut().filter(|part| **part == drop).for_each(|part| *part = keep);
            };
            for &i in members.iter().take_while(|&&i| (i as usize) < self.cells()) {
                let at = place_of(self.sizes, i as usize);
                for axis in (0..3).filter(|&axis| at[axis] > first[axis]) {
                    if self.weights[axis][i as usize] > 0.0 {
                        join(i - strides[axis] as u32, i);
                    }
                }
            }
            while let Some((_, edge)) = inner.next_if(|&(of, _)| of == cell) {
                join(edge.i, edge.j);
            }
            if members.is_empty() {
                continue;
            }
            count.clear();
            count.resize(members.len(), 0);
            part.iter().for_each(|&part| count[part] += 1);
            let largest = (0..members.len()).rev().max_by_key(|&part| count[part]).unwrap_or(0);
            for first in (0..members.len()).filter(|&part| count[part] > 0) {
                let parent = match first == largest {
                    true => cell,
                    false => {
                        further.push(cell as u32);
                        cells + further.len() - 1
                    }
                };
                for (&i, _) in members.iter().zip(&part).filter(|&(_, &part)| part == first) {
                    parents[i as usize] = parent as u32;
                }
            }
        }
        (parents, further, occupied)
    }

    fn coarsen_edges(&self, coarse: &mut Self, parents: &[u32]) {
        let (own, strides, cells) = (strides(self.sizes), strides(coarse.sizes), coarse.cells());
        let mut edges = BTreeMap::<(u32, u32, usize), f32>::new();
        let mut add = |i: u32, j: u32, axis: usize, weight: f32| {
            if i == j {
                return;
            }
            let weight = if self.halves[axis] { 0.5 * weight } else { weight };
            match (j as usize) < cells && (i as usize) < cells && j == i + strides[axis] as u32 {
                true => coarse.weights[axis][j as usize] += weight,
                false => *edges.entry((i, j, axis)).or_default() += weight,
            }
        };
        for axis in 0..3 {
            for (i, &weight) in self.weights[axis].iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                add(parents[i - own[axis]], parents[i], axis, weight);
            }
        }
        for &Edge { i, j, axis, weight } in &self.edges {
            add(parents[i as usize], parents[j as usize], axis, weight);
        }
        coarse.edges = edges.into_iter().map(|((i, j, axis), weight)| Edge { i, j, axis, weight }).collect();
    }

    fn coarsen_air(&self, coarse: &mut Self, parents: &[u32], occupied: &[bool]) {
        let strides = strides(coarse.sizes);
        for (i, &parent) in parents.iter().enumerate().filter(|&(_, &parent)| parent != NONE) {
            let parent = parent as usize;
            coarse.rest[parent] += self.rest[i];
            if self.air_at[i] == 0 {
                continue;
            }
            let (air, place) = (self.air(i), place_of(self.sizes, self.cell_of(i)));
            let cell = coarse.cell_of(parent);
            let above = place_of(coarse.sizes, cell);
            for axis in 0..3 {
                // of cells of the finest level
                let side_of_cell = 2f32.powi(self.halved[axis]);
                let (theta, beta) =
                    if self.halves[axis] { (0.5, 2.0 * (side_of_cell + 1.0) / (2.0 * side_of_cell + 1.0)) } else { (1.0, 1.0) };
                for (side, &weight) in air[axis].iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                    if self.halves[axis] && place[axis] % 2 != side {
                        coarse.rest[parent] += 2.0 * weight;
                        continue;
                    }
                    let (at, size) = (above[axis], coarse.sizes[axis]);
                    let beyond = match (side, at == side * (size - 1), self.periodic[axis]) {
                        (0, false, _) => Some(cell - strides[axis]),
                        (_, false, _) => Some(cell + strides[axis]),
                        (0, true, true) => Some(cell + (size - 1) * strides[axis]),
                        (_, true, true) => Some(cell - (size - 1) * strides[axis]),
                        _ => None,
                    };
                    match beyond.is_some_and(|cell| occupied[cell]) {
                        true => coarse.rest[parent] += theta * weight,
                        false => coarse.air_of(parent)[axis][side] += theta * beta * weight,
                    }
                }
            }
        }
    }

    /// The diagonal, from all else.
    fn sum(&mut self) {
        let strides = strides(self.sizes);
        for i in 0..self.unknowns() {
            let air: f64 = self.air(i).iter().flatten().map(|&b| f64::from(b)).sum();
            self.diagonal[i] = f64::from(self.rest[i]) + air;
        }
        for (axis, weights) in self.weights.iter().enumerate() {
            for (i, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                self.diagonal[i] += f64::from(weight);
                self.diagonal[i - strides[axis]] += f64::from(weight);
            }
        }
        for edge in &self.edges {
            self.diagonal[edge.i as usize] += f64::from(edge.weight);
            self.diagonal[edge.j as usize] += f64::from(edge.weight);
        }
    }

    fn interpolate(&mut self, coarse: &Self, parents: &[u32]) {
        let (strides, cells) = (strides(self.sizes), self.cells());
        // edges between parents, of each end: the other end, the axis, the side and the weight
        let mut between = HashMap::<u32, Vec<(u32, usize, usize, f32)>>::new();
        for &Edge { i, j, axis, weight } in &self.edges {
            if self.halves[axis] && parents[i as usize] != parents[j as usize] {
                between.entry(i).or_default().push((j, axis, 1, weight));
                between.entry(j).or_default().push((i, axis, 0, weight));
            }
        }
        let mut counts = vec![0u8; if self.by_counts { cells } else { 0 }];
        let mut transfers = vec![[0.0f32; 4]; if self.by_counts { 0 } else { self.unknowns() }];
        let mut rows = Vec::new();
        for (i, &parent) in parents.iter().enumerate().filter(|&(_, &parent)| parent != NONE) {
            let mut regular = i < cells && (parent as usize) < coarse.cells();
            let (place, air) = (place_of(self.sizes, self.cell_of(i)), self.air(i));
            let mut sides = [[0.0f64; 2]; 3];
            let mut row = List::new();
            let (mut near, mut outside, mut count) = ([0.0f32; 3], 0.0, 0);
            for axis in (0..3).filter(|&axis| self.halves[axis]) {
                let side = place[axis] % 2;
                let b = air[axis][side];
                outside += f64::from(b);
                sides[axis][side] += f64::from(b);
                count += u8::from(b > 0.0);
                if i >= cells {
                    continue;
                }
                let weight = if side == 0 { self.weights[axis][i] } else { self.above(i, place, axis) };
                if weight > 0.0 {
                    let j = if side == 0 { i - strides[axis] } else { i + strides[axis] };
                    regular &= (parents[j] as usize) < coarse.cells();
                    sides[axis][side] += f64::from(weight);
                    near[2 - axis] = weight;
                    count += 1;
                    row.push((parents[j], weight));
                }
            }
            for &(j, axis, side, weight) in between.get(&(i as u32)).into_iter().flatten() {
                regular = false;
                sides[axis][side] += f64::from(weight);
                row.push((parents[j as usize], weight));
            }
            let larger = sides.iter().flatten().fold(self.diagonal[i], |most, side| most.max(4.0 * side));
            outside += row.iter().map(|&(_, weight)| f64::from(weight)).sum::<f64>();
            let left = (1.0 - outside / larger) as f32;
            match (regular, self.by_counts) {
                (true, true) => counts[i] = count,
                (true, false) => {
                    let [x, y, z] = near.map(|weight| (f64::from(weight) / larger) as f32);
                    transfers[i] = [x, y, z, left];
                }
                (false, flagged) => {
                    row.iter_mut().for_each(|(_, weight)| *weight = (f64::from(*weight) / larger) as f32);
                    row.push((parent, left));
                    rows.push((i as u32, row));
                    match flagged {
                        true => counts[i] = IRREGULAR,
                        false => transfers[i][3] = -1.0,
                    }
                }
            }
        }
        self.transfers = if self.by_counts { Transfers::Counts(counts) } else { Transfers::Rows(transfers) };
        self.rows = rows;
    }

    /// `A⁺`, row-major over all unknowns, component by component: the inverse of A + s 1 1ᵀ, by its factor of Cholesky, less `1 1ᵀ / (s n²)`
    /// where A is singular.
    pub fn inverse(&self) -> Vec<f32> {
        let (n, strides) = (self.unknowns(), strides(self.sizes));
        let mut edges: Vec<(usize, usize, f64)> =
            self.edges.iter().map(|edge| (edge.i as usize, edge.j as usize, edge.weight.into())).collect();
        for (axis, weights) in self.weights.iter().enumerate() {
            let own = weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0);
            edges.extend(own.map(|(i, &weight)| (i - strides[axis], i, weight.into())));
        }
        let mut label: Vec<usize> = (0..n).collect();
        for &(i, j, _) in &edges {
            let (keep, drop) = (label[i].min(label[j]), label[i].max(label[j]));
            label.iter_mut().filter(|label| **label == drop).for_each(|label| *label = keep);
        }
        let mut inverse = vec![0.0f32; n * n];
        for first in (0..n).filter(|&i| label[i] == i && self.diagonal[i] > 0.0) {
            let own: Vec<usize> = (first..n).filter(|&i| label[i] == first).collect();
            let m = own.len();
            let singular = own.iter().all(|&i| self.rest[i] == 0.0 && self.air_at[i] == 0);
            // so that 1 is an eigenvector as large as others
            let scale = own.iter().map(|&i| self.diagonal[i]).fold(0.0, f64::max) / m as f64;
            let at: HashMap<usize, usize> = own.iter().enumerate().map(|(k, &i)| (i, k)).collect();
            let mut a = vec![if singular { scale } else { 0.0 }; m * m];
            own.iter().enumerate().for_each(|(k, &i)| a[k * m + k] += self.diagonal[i]);
            for (i, j, weight) in edges.iter().filter_map(|(i, j, weight)| Some((at.get(i)?, at.get(j)?, weight))) {
                a[i * m + j] -= weight;
                a[j * m + i] -= weight;
            }
            invert(&mut a, m);
            let shift = if singular { 1.0 / (scale * (m * m) as f64) } else { 0.0 };
            for (k, &i) in own.iter().enumerate() {
                own.iter().enumerate().for_each(|(l, &j)| inverse[i * n + j] = (a[k * m + l] - shift) as f32);
            }
        }
        inverse
    }
}

/// The inverse of a symmetric positive definite matrix of n rows, in place.
fn invert(a: &mut [f64], n: usize) {
    // the factor L, then L⁻¹, in the lower half
    for i in 0..n {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| a[i * n + k] * a[j * n + k]).sum();
            let rest = a[i * n + j] - sum;
            a[i * n + j] = if i == j { rest.max(f64::MIN_POSITIVE).sqrt() } else { rest / a[j * n + j] };
        }
    }
    for i in 0..n {
        a[i * n + i] = 1.0 / a[i * n + i];
        for j in 0..i {
            let sum: f64 = (j..i).map(|k| a[i * n + k] * a[k * n + j]).sum();
            a[i * n + j] = -a[i * n + i] * sum;
        }
    }
    // L⁻ᵀ L⁻¹, into the upper half
    let mut inverse = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let sum: f64 = (i..n).map(|k| a[k * n + i] * a[k * n + j]).sum();
            inverse[i * n + j] = sum;
            inverse[j * n + i] = sum;
        }
    }
    a.copy_from_slice(&inverse);
}
