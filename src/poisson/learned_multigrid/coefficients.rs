//! What is learned.

use std::f64::consts::PI;

use super::preconditioner::MOST;
use crate::poisson::training::Training;
use crate::{Error, Result};

/// The coefficients of a V-cycle in two or three dimensions, the same on all levels.
///
/// In a file they are safetensors, f32, under the names of the fields, [`Coefficients::correction`] of shape `[1]` and the
/// tables of shape `[2 dim + 1; 2]`. Metadata: `format`, which is `gradus.learned_multigrid.1`; `dim` and `radius`; and the
/// fields of [`Training`].
#[derive(Clone, Debug, PartialEq)]
pub struct Coefficients {
    /// The axes, 2 or 3.
    pub dim: usize,
    /// K by offset, one value for those that are equal but for signs and order: see [`Coefficients::orbit`]. There are 6 for a
    /// radius of 2 in two dimensions (0,0 1,0 1,1 2,0 2,1 2,2), in three 4 for a radius of 1 and 10 for one of 2.
    pub stencil: Vec<f32>,
    /// P: of a cell's parent, and of the coarse cells that are further away along one axis, two, and three. `dim + 1` values.
    pub transfer: Vec<f32>,
    /// γ
    pub correction: f32,
    /// d, by solid neighbours (the slower axis of the table) and neighbours of air: `(2 dim + 1)²` values. 1 + d is rounded to a
    /// multiple of 1/4096.
    pub smoothing: Vec<f32>,
    /// c, as `smoothing`.
    pub coarse: Vec<f32>,
    /// Where the values are from.
    pub training: Training,
}

impl Coefficients {
    /// Before any training: a stencil of `radius` that is a Jacobi sweep with a factor of 0.8 and no more, interpolation that is
    /// linear, no tables.
    ///
    /// # Errors
    /// [`Error::Option`] if `dim` is not 2 or 3, or `radius` not 1 or 2.
    pub fn initial(dim: usize, radius: usize) -> Result<Self> {
        if !(2..=3).contains(&dim) {
            return Err(invalid("dim", dim, "2 or 3"));
        }
        if !(1..=2).contains(&radius) {
            return Err(invalid("radius", radius, "1 or 2"));
        }
        let mut stencil = vec![0.0; orbits(dim, radius)];
        stencil[0] = 0.8 / (2 * dim) as f32;
        let transfer = (0..=dim).map(|far| 0.75f32.powi((dim - far) as i32) * 0.25f32.powi(far as i32)).collect();
        // sums of 2ᵈⁱᵐ residuals, of which 4 would do for a Laplacian without its h²
        let correction = 4.0 / (1u32 << dim) as f32;
        let table = vec![0.0; (2 * dim + 1) * (2 * dim + 1)];
        Ok(Self { dim, stencil, transfer, correction, smoothing: table.clone(), coarse: table, training: Training::none(0) })
    }

    /// The cells that the stencil reaches along an axis: 1 or 2.
    #[must_use]
    pub fn radius(&self) -> usize {
        if self.stencil.len() > orbits(self.dim, 1) { 2 } else { 1 }
    }

    /// Where in the stencil the value of an offset is: by its distances along the axes, sorted, the greatest first.
    #[must_use]
    pub fn orbit(offset: &[isize]) -> usize {
        let mut distances: Vec<usize> = offset.iter().map(|d| d.unsigned_abs()).collect();
        distances.sort_unstable();
        // of `axes` distances, how many orbits have none greater than d: (d + axes) over axes
        let before = |(k, &d): (usize, &usize)| (0..=k).fold(1, |product, i| product * (d + i) / (i + 1));
        distances.iter().enumerate().map(before).sum()
    }

    /// Checks that there are as many values as there must be, and what makes the cycle positive definite together with the damping
    /// of a level's smoothing: K has a positive symbol, D = 1 + d is above 0 and below 2, and γ is positive. And that a cell without
    /// fluid neighbours is not smoothed by too much: there S A = D² K₀ times its neighbours of air is a number, which must be at most
    /// 1.8. One droplet of fluid would otherwise damp the smoothing of all cells.
    ///
    /// # Errors
    /// [`Error::Option`] naming the coefficient.
    pub fn check(&self) -> Result<()> {
        let initial = Self::initial(self.dim, self.radius())?;
        let refused = |name: &str, found: String, expected: &str| Err(invalid(&format!("coefficients.{name}"), found, expected));
        let (mut own, mut expected) = (self.clone(), initial);
        for ((name, _, values), (_, _, expected)) in own.tensors_mut().into_iter().zip(expected.tensors_mut()) {
            if values.len() != expected.len() {
                return refused(name, format!("{} values", values.len()), &expected.len().to_string());
            }
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return refused(name, value.to_string(), "finite values");
            }
        }
        if self.correction <= 0.0 {
            return refused("correction", self.correction.to_string(), "a positive value");
        }
        if let Some(value) = self.smoothing.iter().find(|&&value| !(1..1 << 13).contains(&fixed(value))) {
            return refused("smoothing", value.to_string(), "values between -1 and 1");
        }
        for (class, most) in self.most_of_lone_cells() {
            if fixed(self.smoothing[class]) > most {
                let expected = format!("at most {} for a cell without fluid neighbours", most as f64 / 4096.0 - 1.0);
                return refused(&format!("smoothing[{class}]"), self.smoothing[class].to_string(), &expected);
            }
        }
        let least = self.least_of_symbol();
        match least > 0.0 {
            true => Ok(()),
            false => refused("stencil", format!("a symbol of {least} somewhere"), "a stencil that is positive definite"),
        }
    }

    /// Makes d of cells without fluid neighbours what [`Coefficients::check`] allows at most. Samples of a training hardly have such
    /// cells.
    pub(super) fn limit_lone_cells(&mut self) {
        for (class, most) in self.most_of_lone_cells() {
            let d = &mut self.smoothing[class];
            if fixed(*d) > most {
                *d = (most as f64 / 4096.0 - 1.0) as f32;
            }
        }
    }

    /// The classes of cells without fluid neighbours, with 4096 times the most that D may be: D² K₀ air = 1.8.
    fn most_of_lone_cells(&self) -> Vec<(usize, i64)> {
        let (faces, k) = (2 * self.dim, f64::from(self.stencil[0]));
        let most = |air: usize| (4096.0 * (f64::from(MOST) / (k * air as f64)).sqrt()).floor() as i64;
        (1..=faces).map(|air| ((faces - air) * (faces + 1) + air, most(air))).collect()
    }

    /// Of the stencil's Fourier transform, at multiples of π/32.
    fn least_of_symbol(&self) -> f64 {
        let (radius, steps) = (self.radius() as isize, 32);
        let offsets = (0..(2 * radius + 1).pow(self.dim as u32)).map(|k| {
            let offset: Vec<isize> = (0..self.dim as u32).map(|axis| k / (2 * radius + 1).pow(axis) % (2 * radius + 1) - radius).collect();
            (f64::from(self.stencil[Self::orbit(&offset)]), offset)
        });
        let offsets: Vec<(f64, Vec<isize>)> = offsets.collect();
        let cosines: Vec<f64> = (0..=2 * steps).map(|k| (PI * k as f64 / steps as f64).cos()).collect();
        let cosine = |turns: isize, at: isize| cosines[(turns * at).unsigned_abs() % (2 * steps as usize)];
        let symbol = |frequency: &[isize]| {
            // even in each frequency
            let term =
                |(k, offset): &(f64, Vec<isize>)| k * offset.iter().zip(frequency).map(|(&turns, &at)| cosine(turns, at)).product::<f64>();
            offsets.iter().map(term).sum::<f64>()
        };
        // and the same in whatever order they are
        let ordered = (0..=steps).flat_map(|a| (0..=a).flat_map(move |b| (0..=if self.dim == 3 { b } else { 0 }).map(move |c| [a, b, c])));
        ordered.map(|frequency| symbol(&frequency[..self.dim])).fold(f64::INFINITY, f64::min)
    }

    /// By class: see shaders/shared/unknowns.wgsl.
    pub(super) fn table_of_codes(&self) -> Vec<u16> {
        let width = 2 * self.dim + 1;
        let code = |(class, &d): (usize, &f32)| ((2 * self.dim - class / width) as u32 | (fixed(d) as u32) << 3) as u16;
        self.smoothing.iter().enumerate().map(code).collect()
    }

    /// D Q by class.
    pub(super) fn table_of_transfers(&self) -> Vec<f32> {
        self.smoothing.iter().zip(&self.coarse).map(|(&d, c)| fixed(d) as f32 / 4096.0 * (1.0 + c)).collect()
    }

    pub(super) fn tensors_mut(&mut self) -> [(&'static str, Vec<usize>, &mut [f32]); 5] {
        let (stencil, table) = (self.stencil.len(), vec![2 * self.dim + 1; 2]);
        [
            ("stencil", vec![stencil], &mut self.stencil),
            ("transfer", vec![self.dim + 1], &mut self.transfer),
            ("correction", vec![1], std::slice::from_mut(&mut self.correction)),
            ("smoothing", table.clone(), &mut self.smoothing),
            ("coarse", table, &mut self.coarse),
        ]
    }
}

/// D = 1 + d times 4096, to the nearest whole number.
fn fixed(d: f32) -> i64 {
    ((1.0 + f64::from(d)) * 4096.0).round() as i64
}

/// How many offsets there are up to `radius` that differ by more than signs and order.
fn orbits(dim: usize, radius: usize) -> usize {
    (1..=dim).fold(1, |product, i| product * (radius + i) / i)
}

pub(super) fn invalid(option: &str, found: impl ToString, expected: &str) -> Error {
    Error::Option { option: option.into(), found: found.to_string(), expected: expected.into() }
}
