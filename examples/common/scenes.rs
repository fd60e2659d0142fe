//! Grids on which Poisson equations are solved, and right-hand sides for them. The first axis is up.

use std::f64::consts::{PI, TAU};

use gradus::poisson::{Cell, Grid};
use gradus::reference::random::uniform;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Walls all around.
    Box,
    /// Air all around.
    Open,
    /// A solid sphere in a box, in two dimensions a disc.
    Sphere,
    /// A wavy free surface over obstacles that stand on the ground, between walls.
    Surface,
    /// 15 % of the cells solid, at random, between walls, with air above.
    Rubble,
    /// 30 %, where what is fluid hardly hangs together.
    Rubble30,
    /// Droplets of single cells above a tank.
    Spray,
    /// Five walls of one cell with a gap each, and air above.
    Walls,
    /// Combs of walls of one cell from alternating sides, one cell apart: a long channel to the air above.
    Baffles,
    /// Corridors and walls of one cell without a loop; in three dimensions one plane's, drawn out.
    Maze,
    /// A channel of four cells between walls of one that winds inwards.
    Spiral,
}

/// What a right-hand side looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Rhs {
    /// A few long waves
    Smooth,
    /// Each cell by itself, uniform in [-1, 1)
    Noise,
}

/// The obstacles of [`Scene::Surface`].
const OBSTACLES: usize = 8;
/// The waves of [`Rhs::Smooth`].
const WAVES: usize = 8;

impl Scene {
    pub const ALL: [Scene; 11] = [
        Scene::Box,
        Scene::Open,
        Scene::Sphere,
        Scene::Surface,
        Scene::Rubble,
        Scene::Rubble30,
        Scene::Spray,
        Scene::Walls,
        Scene::Baffles,
        Scene::Maze,
        Scene::Spiral,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Scene::Box => "box",
            Scene::Open => "open",
            Scene::Sphere => "sphere",
            Scene::Surface => "surface",
            Scene::Rubble => "rubble",
            Scene::Rubble30 => "rubble30",
            Scene::Spray => "spray",
            Scene::Walls => "walls",
            Scene::Baffles => "baffles",
            Scene::Maze => "maze",
            Scene::Spiral => "spiral",
        }
    }

    /// The number of each cell's [`Cell`].
    pub fn flags(self, sizes: &[usize], seed: u64) -> Vec<u8> {
        let n = sizes.iter().product();
        let (fluid, solid, air) = (Cell::Fluid as u8, Cell::Solid as u8, Cell::Air as u8);
        match self {
            Scene::Box | Scene::Open => vec![fluid; n],
            Scene::Sphere => {
                let radius = 0.25 * sizes.iter().copied().min().unwrap_or(0) as f64;
                let inside = |at: &[f64]| {
                    let squares = at.iter().zip(sizes).map(|(x, &size)| ((x - 0.5) * size as f64).powi(2));
                    squares.sum::<f64>() < radius * radius
                };
                centres(sizes).map(|at| if inside(&at) { solid } else { fluid }).collect()
            }
            Scene::Surface => {
                let axes = sizes.len();
                let random: Vec<f64> = uniform(seed, 0, OBSTACLES * 2 * axes).into_iter().map(f64::from).collect();
                // from the ground up, and between two places along the other axes
                let in_obstacle = |at: &[f64], random: &[f64]| {
                    let beside = |axis: usize| 0.9 * random[2 * axis]..0.9 * random[2 * axis] + 0.05 + 0.2 * random[2 * axis + 1];
                    at[0] < 0.1 + 0.4 * random[0] && (1..axes).all(|axis| beside(axis).contains(&at[axis]))
                };
                let cell = |at: Vec<f64>| {
                    let wave: f64 = at[1..].iter().enumerate().map(|(axis, x)| (TAU * x + axis as f64).cos()).sum();
                    match () {
                        () if random.chunks_exact(2 * axes).any(|random| in_obstacle(&at, random)) => solid,
                        () if at[0] > 0.7 + 0.05 * wave => air,
                        () => fluid,
                    }
                };
                centres(sizes).map(cell).collect()
            }
            Scene::Rubble | Scene::Rubble30 => {
                let share = if self == Scene::Rubble { 0.15 } else { 0.3 };
                uniform(seed, 0, n).into_iter().map(|u| if u < share { solid } else { fluid }).collect()
            }
            Scene::Spray => {
                // a tank up to `level`, and droplets in the cells above up to `top`
                let level = sizes[0] * 6 / 10;
                let top = level + (sizes[0] / 6).max(3);
                let random = uniform(seed, 0, n);
                let cell = |i: usize| match i / (n / sizes[0]) {
                    height if height < level => fluid,
                    height if height < top && random[i] < 0.4 => fluid,
                    _ => air,
                };
                (0..n).map(cell).collect()
            }
            Scene::Walls => {
                let (rows, columns) = (sizes[0], sizes[sizes.len() - 1]);
                let gap = (columns / 10).max(1);
                let random = uniform(seed, 0, 8);
                let wall = |k: usize| {
                    let first = (f64::from(random[k]) * (columns - gap) as f64) as usize;
                    (k * rows / 6 + k % 2, first..first + gap)
                };
                let walls: Vec<_> = (1..6).map(wall).collect();
                extruded(sizes, |row, column| match walls.iter().rev().find(|(wall, _)| *wall == row) {
                    Some((_, gap)) if !gap.contains(&column) => solid,
                    _ => fluid,
                })
            }
            Scene::Baffles => extruded(sizes, |row, column| {
                let gap = if row / 2 % 2 == 0 { sizes[sizes.len() - 1] - 1 } else { 0 };
                if row % 2 == 1 && row + 1 < sizes[0] && column != gap { solid } else { fluid }
            }),
            Scene::Maze => {
                let plane = maze(sizes[0], sizes[sizes.len() - 1], seed);
                extruded(sizes, |row, column| if plane[row][column] { fluid } else { solid })
            }
            Scene::Spiral => {
                let plane = spiral(sizes[0], sizes[sizes.len() - 1]);
                extruded(sizes, |row, column| if plane[row][column] { solid } else { fluid })
            }
        }
    }

    /// Whether there is air beyond the low and the high face of each axis.
    pub fn open(self, axes: usize) -> Vec<[bool; 2]> {
        let mut open = vec![[self == Scene::Open; 2]; axes];
        if matches!(self, Scene::Rubble | Scene::Rubble30 | Scene::Walls | Scene::Baffles) {
            open[0][1] = true;
        }
        open
    }

    pub fn grid(self, sizes: &[usize], seed: u64) -> gradus::Result<Grid> {
        // which checks the sizes
        let grid = Grid::new(sizes)?;
        grid.with_flags(&self.flags(sizes, seed))?.with_open(&self.open(sizes.len()))
    }
}

impl Rhs {
    /// Of each cell; 0 where there is no fluid.
    pub fn values(self, grid: &Grid, seed: u64) -> Vec<f32> {
        let value: Vec<f32> = match self {
            Rhs::Noise => uniform(seed, 1, grid.len()).into_iter().map(|u| 2.0 * u - 1.0).collect(),
            Rhs::Smooth => {
                let axes = grid.sizes().len();
                let random: Vec<f64> = uniform(seed, 1, WAVES * (axes + 1)).into_iter().map(f64::from).collect();
                // up to two periods along an axis
                let wave = |at: &[f64], random: &[f64]| {
                    let turns: f64 = at.iter().zip(random).map(|(x, u)| (4.0 * u).round() * x).sum();
                    (PI * turns + TAU * random[axes]).cos()
                };
                let sum = |at: Vec<f64>| random.chunks_exact(axes + 1).map(|random| wave(&at, random)).sum::<f64>() as f32;
                centres(grid.sizes()).map(sum).collect()
            }
        };
        value.into_iter().zip(grid.cells()).map(|(value, &cell)| if cell == Cell::Fluid { value } else { 0.0 }).collect()
    }
}

/// The centres of all cells, row-major, in [0, 1] along each axis.
fn centres(sizes: &[usize]) -> impl Iterator<Item = Vec<f64>> {
    let strides: Vec<usize> = (0..sizes.len()).map(|axis| sizes[axis + 1..].iter().product()).collect();
    let at = move |i: usize| sizes.iter().zip(&strides).map(|(&size, &stride)| ((i / stride % size) as f64 + 0.5) / size as f64).collect();
    (0..sizes.iter().product()).map(at)
}

/// Cells that depend on where they are along the first and the last axis alone.
fn extruded(sizes: &[usize], cell: impl Fn(usize, usize) -> u8) -> Vec<u8> {
    let (n, columns) = (sizes.iter().product::<usize>(), sizes[sizes.len() - 1]);
    (0..n).map(|i| cell(i / (n / sizes[0]), i % columns)).collect()
}

/// Whether there is a room or a passage: a random walk that goes back where it is stuck, until all rooms, of one cell, are joined.
fn maze(rows: usize, columns: usize, seed: u64) -> Vec<Vec<bool>> {
    let mut plane = vec![vec![false; columns]; rows];
    let (high, wide) = ((rows.max(1) - 1) / 2, (columns.max(1) - 1) / 2);
    if high == 0 || wide == 0 {
        return plane;
    }
    let mut random = uniform(seed, 0, high * wide).into_iter();
    let mut stack = vec![(0usize, 0usize)];
    plane[1][1] = true;
    while let Some(&(y, x)) = stack.last() {
        let rooms = [(y, x + 1), (y + 1, x), (y, x.wrapping_sub(1)), (y.wrapping_sub(1), x)];
        let rooms: Vec<_> = rooms.into_iter().filter(|&(y, x)| y < high && x < wide && !plane[2 * y + 1][2 * x + 1]).collect();
        if rooms.is_empty() {
            stack.pop();
            continue;
        }
        // one number for each room but the first
        let u = random.next().map_or(0.0, f64::from);
        let (to_y, to_x) = rooms[(u * rooms.len() as f64) as usize];
        plane[y + to_y + 1][x + to_x + 1] = true;
        plane[2 * to_y + 1][2 * to_x + 1] = true;
        stack.push((to_y, to_x));
    }
    plane
}

/// Whether there is a wall.
fn spiral(rows: usize, columns: usize) -> Vec<Vec<bool>> {
    let mut plane = vec![vec![false; columns]; rows];
    let [mut top, mut left, mut bottom, mut right] = [4, 0, rows as isize - 5, columns as isize - 5];
    let step = 5;
    while bottom - top > 6 && right - left > 6 {
        let [t, l, b, r] = [top, left, bottom, right].map(|p| p as usize);
        plane[t][l..=r].fill(true);
        plane[b][l + step..=r].fill(true);
        for (y, row) in plane.iter_mut().enumerate().take(b + 1) {
            row[r] |= y >= t;
            row[l + step] |= y >= t + step;
        }
        (top, left, bottom, right) = (top + 5, left + 5, bottom - 5, right - 5);
    }
    plane
}
