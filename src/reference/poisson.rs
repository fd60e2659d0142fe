//! The flagged Laplacian, and preconditioners.

/// Cells that are fluid (0), solid (1) or air (2), in two or three dimensions, the slowest axis first.
#[derive(Clone, Debug)]
pub struct Cells<'a> {
    /// The cells by axis.
    pub sizes: &'a [usize],
    /// What each cell is.
    pub flags: &'a [u8],
    /// Whether there is air, rather than solid, beyond the low and the high face of each axis.
    pub open: &'a [[bool; 2]],
}

impl Cells<'_> {
    /// What is at a place, which may be just outside, and its index if it is within.
    fn at(&self, place: &[isize]) -> (u8, Option<usize>) {
        let mut index = 0;
        for (axis, (&p, &size)) in place.iter().zip(self.sizes).enumerate() {
            match usize::try_from(p).ok().filter(|&p| p < size) {
                Some(p) => index = index * size + p,
                None => return (if self.open[axis][usize::from(p > 0)] { 2 } else { 1 }, None),
            }
        }
        (self.flags[index], Some(index))
    }

    pub(super) fn neighbours(&self, mut i: usize) -> Vec<(u8, Option<usize>)> {
        let mut place = vec![0isize; self.sizes.len()];
        for (p, &size) in place.iter_mut().zip(self.sizes).rev() {
            *p = (i % size) as isize;
            i /= size;
        }
        let mut all = Vec::new();
        for axis in 0..place.len() {
            for step in [-1, 1] {
                place[axis] += step;
                all.push(self.at(&place));
                place[axis] -= step;
            }
        }
        all
    }

    /// `A x`, with A = -Δ·h²: for a fluid cell, Σ over neighbours that are not solid of its value less the neighbour's,
    /// which is 0 for air; 0 for other cells.
    #[must_use]
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        let row = |i: usize| -> f64 {
            let terms = self.neighbours(i).into_iter().map(|(flag, j)| match (flag, j) {
                (0, Some(j)) => x[i] - x[j],
                (2, _) => x[i],
                _ => 0.0,
            });
            terms.sum()
        };
        (0..self.flags.len()).map(|i| if self.flags[i] == 0 { row(i) } else { 0.0 }).collect()
    }

    /// The diagonal of A: of each fluid cell the number of neighbours that are not solid, 0 of others.
    #[must_use]
    pub fn diagonal(&self) -> Vec<f64> {
        let count = |i: usize| self.neighbours(i).iter().filter(|(flag, _)| *flag != 1).count() as f64;
        (0..self.flags.len()).map(|i| if self.flags[i] == 0 { count(i) } else { 0.0 }).collect()
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
        let fluid = |i: usize| self.neighbours(i).into_iter().filter_map(|(flag, j)| if flag == 0 { j } else { None });
        let all = |row: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..r.len()).map(|i| if d[i] == 0.0 { 0.0 } else { row(i) }).collect() };
        let y = all(&|i| r[i] + fluid(i).filter(|&j| j > i).map(|j| r[j]).sum::<f64>() / d[i]);
        all(&|i| y[i] + fluid(i).filter(|&j| j < i).map(|j| y[j] / d[j]).sum::<f64>())
    }

    /// The connected components of fluid that touch no air, on each of which A is singular: the constants.
    #[must_use]
    pub fn singular_components(&self) -> Vec<Vec<usize>> {
        let mut seen = vec![false; self.flags.len()];
        let mut all = Vec::new();
        for start in (0..self.flags.len()).filter(|&i| self.flags[i] == 0) {
            if std::mem::replace(&mut seen[start], true) {
                continue;
            }
            let (mut component, mut next, mut air) = (vec![start], 0, false);
            while let Some(&i) = component.get(next) {
                next += 1;
                for (flag, j) in self.neighbours(i) {
                    air |= flag == 2;
                    if let (0, Some(j)) = (flag, j)
                        && !std::mem::replace(&mut seen[j], true)
                    {
                        component.push(j);
                    }
                }
            }
            if !air {
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
