//! Poisson problems of every kind, as grids and in f64.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::f64::consts::PI;

use gradus::poisson::Grid;
use gradus::reference::poisson::Cells;
use gradus::reference::random::uniform;

#[path = "../../examples/common/scenes.rs"]
pub mod scenes;

use scenes::Scene;

#[derive(Clone)]
pub struct Problem {
    pub sizes: Vec<usize>,
    pub flags: Vec<u8>,
    pub open: Vec<[bool; 2]>,
    pub periodic: Vec<bool>,
    /// Values of f32. Empty where all weigh 1.
    pub faces: Vec<Vec<f64>>,
    pub spacing: Vec<f64>,
    pub mass: Vec<f64>,
}

/// Problems that are more than flags.
pub const GENERAL: [&str; 8] = ["density", "bubble", "mass", "heavy", "spacing", "flat", "periodic", "periodic box"];

impl Problem {
    pub fn flagged(sizes: &[usize], flags: Vec<u8>, open: Vec<[bool; 2]>) -> Self {
        let axes = sizes.len();
        Self {
            sizes: sizes.to_vec(),
            flags,
            open,
            periodic: vec![false; axes],
            faces: Vec::new(),
            spacing: vec![1.0; axes],
            mass: Vec::new(),
        }
    }

    pub fn scene(scene: Scene, sizes: &[usize]) -> Self {
        Self::flagged(sizes, scene.flags(sizes, 0), scene.open(sizes.len()))
    }

    /// A scene's or one of [`GENERAL`].
    pub fn named(name: &str, sizes: &[usize]) -> Self {
        if let Some(scene) = Scene::ALL.into_iter().find(|scene| scene.name() == name) {
            return Self::scene(scene, sizes);
        }
        let flags_of = |scene: Scene| Self::flagged(sizes, scene.flags(sizes, 0), vec![[false; 2]; sizes.len()]);
        match name {
            "density" => flags_of(Scene::Box).two_fluids(1000.0, true),
            "bubble" => flags_of(Scene::Box).two_fluids(1e4, false),
            "mass" => Self { mass: vec![0.1; sizes.iter().product()], ..flags_of(Scene::Surface) },
            "heavy" => Self { mass: vec![10.0; sizes.iter().product()], ..flags_of(Scene::Box) },
            "spacing" | "flat" => {
                let (first, others, scene) = if name == "flat" { (1.0, 4.0, Scene::Box) } else { (4.0, 1.0, Scene::Surface) };
                let mut problem = Self { spacing: vec![others; sizes.len()], ..flags_of(scene) };
                problem.spacing[0] = first;
                problem
            }
            "periodic" => Self { periodic: vec![true; sizes.len()], ..flags_of(Scene::Rubble) },
            "periodic box" => Self { periodic: vec![true; sizes.len()], ..flags_of(Scene::Box) },
            _ => panic!("no problem {name}"),
        }
    }

    /// Faces weigh 1/ρ, ρ being the mean of both sides: `ratio` within a ball, or outside of it.
    fn two_fluids(mut self, ratio: f64, inside: bool) -> Self {
        let density = |place: &[usize]| {
            let squares = place.iter().zip(&self.sizes).map(|(&p, &size)| ((p as f64 + 0.5) / size as f64 - 0.5).powi(2));
            if (squares.sum::<f64>() < 0.09) == inside { ratio } else { 1.0 }
        };
        let weight = |axis: usize, place: &[usize]| {
            if place[axis] == 0 || place[axis] == self.sizes[axis] {
                return 0.0;
            }
            let mut below = place.to_vec();
            below[axis] -= 1;
            f64::from((2.0 / (density(place) + density(&below))) as f32)
        };
        self.faces = (0..self.sizes.len()).map(|axis| faces(&self.sizes, axis).iter().map(|place| weight(axis, place)).collect()).collect();
        self
    }

    /// Random flags, faces, weights of 10^±`decades`, mass, and axes that are open or periodic.
    pub fn random(seed: u64, sizes: &[usize], decades: f64) -> Self {
        let n = sizes.iter().product();
        let [solid, air] = [0.6, 0.8];
        let flags = uniform(seed, 0, n).into_iter().map(|u| u8::from(u > solid) + u8::from(u > air)).collect();
        let kinds = uniform(seed, 1, 3 * sizes.len());
        let open = kinds.chunks(3).map(|u| if u[2] < 0.3 { [false; 2] } else { [u[0] < 0.3, u[1] < 0.3] }).collect();
        let mut problem = Self::flagged(sizes, flags, open);
        problem.periodic = kinds.chunks(3).map(|u| u[2] < 0.3).collect();
        if seed % 5 == 4 {
            problem.spacing = uniform(seed, 6, sizes.len()).into_iter().map(|u| 1.0 + 3.0 * f64::from(u)).collect();
        }
        if !seed.is_multiple_of(3) {
            let power = |u: f32| f64::from(10f64.powf(decades * (2.0 * f64::from(u) - 1.0)) as f32);
            let weights = |axis: usize| uniform(seed, 2 + axis as u32, faces(sizes, axis).len()).into_iter().map(power).collect();
            problem.faces = (0..sizes.len()).map(weights).collect();
        }
        if seed % 4 == 3 {
            problem.mass = uniform(seed, 5, n).into_iter().map(f64::from).collect();
        }
        problem
    }

    pub fn cells(&self) -> Cells<'_> {
        Cells {
            sizes: &self.sizes,
            flags: &self.flags,
            open: &self.open,
            periodic: &self.periodic,
            faces: &self.faces,
            spacing: &self.spacing,
            mass: &self.mass,
        }
    }

    pub fn grid(&self) -> Grid {
        let mut grid = Grid::new(&self.sizes).unwrap().with_flags(&self.flags).unwrap().with_open(&self.open).unwrap();
        grid = grid.with_periodic(&self.periodic).unwrap().with_spacing(&self.spacing).unwrap();
        let narrow = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<_>>();
        if !self.faces.is_empty() {
            let faces: Vec<Vec<f32>> = self.faces.iter().map(|faces| narrow(faces)).collect();
            grid = grid.with_faces(&faces.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        }
        match self.mass.as_slice() {
            [] => grid,
            [mass, rest @ ..] if rest.iter().all(|other| other == mass) => grid.with_mass(*mass as f32).unwrap(),
            masses => grid.with_masses(&narrow(masses)).unwrap(),
        }
    }

    /// Noise, and long waves.
    pub fn right_hand_sides(&self) -> [Vec<f32>; 2] {
        let n = self.flags.len();
        let noise = uniform(1, 1, n).into_iter().map(|u| 2.0 * u - 1.0).collect();
        let wave = |place: &Vec<usize>| {
            let along = |(axis, &p): (usize, &usize)| (p as f64 + 0.5) / self.sizes[axis] as f64;
            let at: Vec<f64> = place.iter().enumerate().map(along).collect();
            let turns = |j: usize| at.iter().enumerate().map(|(axis, x)| (j * (axis + 1) % 4) as f64 * x).sum::<f64>();
            (1..4).map(|j| (PI * turns(j) + j as f64).cos()).sum::<f64>() as f32
        };
        [noise, places(&self.sizes).iter().map(wave).collect()]
    }
}

/// All places, row-major.
pub fn places(sizes: &[usize]) -> Vec<Vec<usize>> {
    let n = sizes.iter().product();
    let place = |mut i: usize| {
        let mut place = vec![0; sizes.len()];
        for (p, &size) in place.iter_mut().zip(sizes).rev() {
            *p = i % size;
            i /= size;
        }
        place
    };
    (0..n).map(place).collect()
}

/// The faces across an axis.
fn faces(sizes: &[usize], axis: usize) -> Vec<Vec<usize>> {
    let mut sizes = sizes.to_vec();
    sizes[axis] += 1;
    places(&sizes)
}
