//! Grids of random cells, in f32 and in f64.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use gradus::Gpu;
use gradus::gpu::{Checks, Target};
use gradus::poisson::{Grid, Laplacian};
use gradus::reference::poisson::Cells;
use gradus::reference::random::uniform;

use crate::common::{gpu, gpu_for};

pub struct Scene {
    pub sizes: Vec<usize>,
    pub flags: Vec<u8>,
    pub open: Vec<[bool; 2]>,
}

impl Scene {
    /// Random flags, `solid` and `air` being shares of the cells, and random faces.
    pub fn random(seed: u64, sizes: &[usize], solid: f32, air: f32) -> Self {
        let n = sizes.iter().product();
        let flags = uniform(seed, 0, n).into_iter().map(|u| if u < solid { 1 } else { 2 * u8::from(u < solid + air) }).collect();
        let faces = uniform(seed + 1000, 0, 6);
        let open = (0..sizes.len()).map(|axis| [faces[2 * axis] < 0.3, faces[2 * axis + 1] < 0.3]).collect();
        Self { sizes: sizes.to_vec(), flags, open }
    }

    /// Random ones of all sizes with all shares of solid and air.
    pub fn all(sizes: &[&[usize]], shares: &[(f32, f32)]) -> Vec<Self> {
        let scenes = sizes.iter().enumerate().flat_map(|(i, sizes)| {
            shares.iter().enumerate().map(move |(j, &(solid, air))| Self::random((10 * i + j) as u64, sizes, solid, air))
        });
        scenes.collect()
    }

    pub fn cells(&self) -> Cells<'_> {
        Cells { sizes: &self.sizes, flags: &self.flags, open: &self.open, ..Default::default() }
    }

    pub fn grid(&self) -> Grid {
        Grid::new(&self.sizes).unwrap().with_flags(&self.flags).unwrap().with_open(&self.open).unwrap()
    }

    pub fn laplacian(&self, gpu: &Gpu) -> Laplacian {
        Laplacian::new(gpu, &self.grid()).unwrap()
    }
}

pub fn gpus() -> [Gpu; 3] {
    [gpu(Checks::Checked), gpu_for(Target::discrete()), gpu_for(Target::software())]
}
