//! The flagged Laplacian, and preconditioners.

pub mod multigrid;

/// Cells that are fluid (0), solid (1) or air (2), in two or three dimensions, the slowest axis first. What is left empty is
/// that of plain flags: no axis is periodic, faces weigh 1, cells are cubes, and the mass is 0.
///
/// ```
/// use gradus::reference::poisson::Cells;
///
/// let flags = [0, 0, 2];
/// let row = Cells { sizes: &[1, 3], flags: &flags, open: &[[false; 2]; 2], ..Default::default() };
/// assert_eq!(row.apply(&[1.0, 5.0, 0.0]), [-4.0, 9.0, 0.0]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cells<'a> {
    /// The cells by axis.
    pub sizes: &'a [usize],
    /// What each cell is.
    pub flags: &'a [u8],
    /// Whether there is air, rather than solid, beyond the low and the high face of each axis.
    pub open: &'a [[bool; 2]],
    /// Whether the first cell along each axis follows the last. An axis of one cell has walls even so.
    pub periodic: &'a [bool],
    /// By axis, the weights of the faces across it, row-major, one more along it than there are cells: face i is below cell i. Of a
    /// periodic axis the last is not looked at: the first stands for both.
    pub faces: &'a [Vec<f64>],
    /// The sides of a cell by axis: weights are multiplied by (h_min / h)².
    pub spacing: &'a [f64],
    /// λ of each cell, of the operator A + λ I.
    pub mass: &'a [f64],
}

/// What is beyond a face of a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Fluid (0), solid (1) or air (2).
    pub flag: u8,
    /// Its index, if it is a cell.
    pub index: Option<usize>,
    /// The weight of the face, 0 if it is solid.
    pub weight: f64,
}

impl Cells<'_> {
    /// For each axis what is below a cell and what is above it.
    #[must_use]
    pub fn neighbours(&self, i: usize) -> Vec<Neighbour> {
        let strides: Vec<usize> = (0..self.sizes.len()).map(|axis| self.sizes[axis + 1..].iter().product()).collect();
        let least = self.spacing.iter().copied().fold(f64::INFINITY, f64::min);
        let mut all = Vec::new();
        for (axis, &stride) in strides.iter().enumerate() {
            let size = self.sizes[axis];
            let at = i / stride % size;
            let periodic = size > 1 && self.periodic.get(axis).is_some_and(|&periodic| periodic);
            let spacing = self.spacing.get(axis).map_or(1.0, |h| (least / h).powi(2));
            for above in [0, 1] {
                let at_end = at == above * (size - 1);
                let index = match (at_end, above) {
                    (false, 0) => Some(i - stride),
                    (false, _) => Some(i + stride),
                    (true, 0) if periodic => Some(i + (size - 1) * stride),
                    (true, _) if periodic => Some(i - (size - 1) * stride),
                    (true, _) => None,
                };
                let flag = index.map_or(if self.open[axis][above] { 2 } else { 1 }, |j| self.flags[j]);
                let face = if at_end && periodic { 0 } else { at + above };
                // of places one more along the axis
                let face = (i / stride / size * (size + 1) + face) * stride + i % stride;
                let weight = if flag == 1 { 0.0 } else { self.faces.get(axis).map_or(1.0, |faces| faces[face]) * spacing };
                all.push(Neighbour { flag, index, weight });
            }
        }
        all
    }

    fn mass(&self, i: usize) -> f64 {
        self.mass.get(i).copied().unwrap_or(0.0)
    }

    /// The fluid cells beyond faces that weigh something, with the weights.
    fn fluid(&self, i: usize) -> impl Iterator<Item = (usize, f64)> {
        let own = self.neighbours(i).into_iter().filter(|neighbour| neighbour.flag == 0 && neighbour.weight > 0.0);
        own.filter_map(|neighbour| Some((neighbour.index?, neighbour.weight)))
    }

    /// `A x`, with A = -Δ·h² + λ: for a fluid cell, λ times its value and Σ over neighbours that are not solid of the face's weight
    /// times its value less the neighbour's, which is 0 for air; 0 for other cells.
    #[must_use]
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        let row = |i: usize| -> f64 {
            let terms = self.neighbours(i).into_iter().map(|Neighbour { flag, index, weight }| match (flag, index) {
                (0, Some(j)) if weight > 0.0 => weight * (x[i] - x[j]),
                _ if weight > 0.0 => weight * x[i],
                _ => 0.0,
            });
            terms.sum::<f64>() + self.mass(i) * x[i]
        };
        (0..self.flags.len()).map(|i| if self.flags[i] == 0 { row(i) } else { 0.0 }).collect()
    }

    /// The diagonal of A: of each fluid cell the weights of its faces and λ, 0 of others.
    #[must_use]
    pub fn diagonal(&self) -> Vec<f64> {
        let sum = |i: usize| self.neighbours(i).iter().map(|neighbour| neighbour.weight).sum::<f64>() + self.mass(i);
        (0..self.flags.len()).map(|i| if self.flags[i] == 0 { sum(i) } else { 0.0 }).collect()
    }

    /// `D⁻¹ r`, 0 where the diagonal is.
    #[must_use]
    pub fn jacobi(&self, r: &[f64]) -> Vec<f64> {
        r.iter().zip(self.diagonal()).map(|(r, d)| if d == 0.0 { 0.0 } else { r / d }).collect()
    }

    /// `K Kᵀ r` with `K = I - L D⁻¹`, of the strict lower part and the diagonal of A, 0 where the diagonal is (Ament,
    /// Knittel, Weiskopf and Straßer, PDP 2010).
    #[must_use]
    pub fn incomplete_poisson(&self, r: &[f64]) -> Vec<f64> {
        let d = self.diagonal();
        let all = |row: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..r.len()).map(|i| if d[i] == 0.0 { 0.0 } else { row(i) }).collect() };
        let y = all(&|i| r[i] + self.fluid(i).filter(|&(j, _)| j > i).map(|(j, w)| w * r[j]).sum::<f64>() / d[i]);
        all(&|i| y[i] + self.fluid(i).filter(|&(j, _)| j < i).map(|(j, w)| w * y[j] / d[j]).sum::<f64>())
    }

    /// The connected components of fluid that touch no air and have no mass, on each of which A is singular: the constants.
    #[must_use]
    pub fn singular_components(&self) -> Vec<Vec<usize>> {
        let mut seen = vec![false; self.flags.len()];
        let mut all = Vec::new();
        for start in (0..self.flags.len()).filter(|&i| self.flags[i] == 0) {
            if std::mem::replace(&mut seen[start], true) {
                continue;
            }
            let (mut component, mut next, mut regular) = (vec![start], 0, false);
            while let Some(&i) = component.get(next) {
                next += 1;
                regular |= self.mass(i) > 0.0;
                regular |= self.neighbours(i).iter().any(|neighbour| neighbour.flag == 2 && neighbour.weight > 0.0);
                for (j, _) in self.fluid(i) {
                    if !std::mem::replace(&mut seen[j], true) {
                        component.push(j);
                    }
                }
            }
            if !regular {
                all.push(component);
            }
        }
        all
    }

    /// x less its mean on each singular component, and 0 where there is no fluid.
    #[must_use]
    pub fn project(&self, x: &[f64]) -> Vec<f64> {
        let mut projected: Vec<f64> = x.iter().zip(self.flags).map(|(&x, &flag)| if flag == 0 { x } else { 0.0 }).collect();
        for component in self.singular_components() {
            let mean = component.iter().map(|&i| x[i]).sum::<f64>() / component.len() as f64;
            component.iter().for_each(|&i| projected[i] -= mean);
        }
        projected
    }
}
