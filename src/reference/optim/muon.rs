use super::super::vector::norm;
use super::{Step, check};

/// How Muon's learning rate depends on the shape of a matrix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdjustLr {
    /// `lr·√max(1, rows/columns)`, Jordan's.
    #[default]
    Original,
    /// `0.2·lr·√max(rows, columns)`, with which updates have about the root mean square of AdamW's, Moonshot's.
    MatchRmsAdamW,
}

/// Muon: momentum, orthogonalized. For matrices alone.
///
/// With decoupled decay, and `b` the state `momentum_buffer`:
///
/// - `b += (1 - momentum)·(g - b)`
/// - `u = g + momentum·(b - g)` with `nesterov`, else `u = b`
/// - `u` from [`orthogonalized`]
/// - `p *= 1 - lr·weight_decay`
/// - `p -= adjusted·u`, with `adjusted` from [`AdjustLr`]
///
/// Source: `torch.optim.Muon`, which orthogonalizes in bfloat16; Jordan et al., "Muon: an optimizer for hidden layers in neural
/// networks", 2024; `MatchRmsAdamW`: Liu et al., arXiv:2502.16982.
///
/// # Panics
///
/// If the shape has not two axes.
///
/// ```
/// use gradus::reference::optim::{Muon, Step};
///
/// let muon = Muon { lr: 1.0, weight_decay: 0.0, ..Muon::default() };
/// let (mut p, mut state) = ([0.0; 4], muon.initial_state(4));
/// muon.step(1, &[2, 2], &mut p, &[30.0, 0.0, 0.0, 20.0], &mut state);
/// // Whatever the singular values, those of the update are about 1.
/// assert!((p[0] + 1.0).abs() < 0.35 && (p[3] + 1.0).abs() < 0.35 && p[1] == 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Muon {
    /// Learning rate; 1e-3 by default.
    pub lr: f64,
    /// Decoupled weight decay; 0.1 by default.
    pub weight_decay: f64,
    /// Share of the momentum buffer that is kept; 0.95 by default.
    pub momentum: f64,
    /// Nesterov's momentum; on by default.
    pub nesterov: bool,
    /// The polynomial's coefficients of degree 1, 3 and 5; 3.4445, -4.775 and 2.0315 by default.
    pub ns_coefficients: [f64; 3],
    /// Least norm by which the update is divided; 1e-7 by default.
    pub eps: f64,
    /// How often the polynomial is applied; 5 by default.
    pub ns_steps: u32,
    /// How the learning rate depends on the shape; [`AdjustLr::Original`] by default.
    pub adjust_lr_fn: AdjustLr,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for Muon {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            weight_decay: 0.1,
            momentum: 0.95,
            nesterov: true,
            ns_coefficients: [3.4445, -4.775, 2.0315],
            eps: 1e-7,
            ns_steps: 5,
            adjust_lr_fn: AdjustLr::Original,
            maximize: false,
        }
    }
}

impl Step for Muon {
    fn state_names(&self) -> Vec<&'static str> {
        vec!["momentum_buffer"]
    }

    fn step(&self, _t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        check(&self.state_names(), shape, p, g, state);
        let &[rows, columns] = shape else { panic!("the shape {shape:?} is not that of a matrix") };
        let mut u = vec![0.0; p.len()];
        for ((u, b), &g) in u.iter_mut().zip(&mut state[0]).zip(g) {
            let g = if self.maximize { -g } else { g };
            *b += (1.0 - self.momentum) * (g - *b);
            *u = if self.nesterov { g + self.momentum * (*b - g) } else { *b };
        }
        let u = orthogonalized([rows, columns], &u, self.ns_coefficients, self.ns_steps, self.eps);
        let (rows, columns) = (rows as f64, columns as f64);
        let adjusted = match self.adjust_lr_fn {
            AdjustLr::Original => self.lr * (rows / columns).max(1.0).sqrt(),
            AdjustLr::MatchRmsAdamW => 0.2 * self.lr * rows.max(columns).sqrt(),
        };
        for (p, u) in p.iter_mut().zip(u) {
            *p *= 1.0 - self.lr * self.weight_decay;
            *p -= adjusted * u;
        }
    }
}

/// About the orthogonal matrix nearest to `u`: of `u = U·S·Vᵀ`, `U·f(S/‖u‖)·Vᵀ` with `f` near 1.
///
/// With `x = u/max(‖u‖, eps)`, by the Frobenius norm, and `[a, b, c]` the `coefficients`, `steps` times:
///
/// `x = a·x + (b·A + c·A²)·x`, with `A = x·xᵀ`
///
/// which is `s → a·s + b·s³ + c·s⁵` of each singular value. Of matrices with more rows than columns the transpose is taken,
/// so that `A` is the smaller product. With Muon's coefficients, five steps take what is above 0.01 to between 0.68 and 1.2.
///
/// Source: Jordan et al., 2024 (see [`Muon`]); the iteration of Newton and Schulz: Higham, "Functions of matrices", section 8.3.
///
/// # Panics
///
/// If `u` has not `rows·columns` elements.
///
/// ```
/// use gradus::reference::optim::orthogonalized;
///
/// // The polynomial of a scalar: 2·s - s³ of s = 1, the quotient of u and its norm.
/// assert_eq!(orthogonalized([1, 1], &[-7.0], [2.0, -1.0, 0.0], 1, 0.0), [-1.0]);
/// ```
pub fn orthogonalized([rows, columns]: [usize; 2], u: &[f64], coefficients: [f64; 3], steps: u32, eps: f64) -> Vec<f64> {
    assert_eq!(u.len(), rows * columns, "the update's length is not its shape's");
    if rows > columns {
        let x = orthogonalized([columns, rows], &transposed(rows, columns, u), coefficients, steps, eps);
        return transposed(columns, rows, &x);
    }
    let [a, b, c] = coefficients;
    let length = norm(u);
    let length = if length < eps { eps } else { length };
    let mut x: Vec<f64> = u.iter().map(|u| u / length).collect();
    for _ in 0..steps {
        let gram = product(rows, columns, &x, &transposed(rows, columns, &x));
        let square = product(rows, rows, &gram, &gram);
        let polynomial: Vec<f64> = gram.iter().zip(&square).map(|(gram, square)| b * gram + c * square).collect();
        let higher = product(rows, rows, &polynomial, &x);
        for (x, higher) in x.iter_mut().zip(higher) {
            *x = a * *x + higher;
        }
    }
    x
}

/// `a·b`, where `a` has `rows` rows of `inner` elements and `b` has `inner` rows.
fn product(rows: usize, inner: usize, a: &[f64], b: &[f64]) -> Vec<f64> {
    let columns = b.len().checked_div(inner).unwrap_or(0);
    let mut all = vec![0.0; rows * columns];
    for i in 0..rows {
        for k in 0..inner {
            for j in 0..columns {
                all[i * columns + j] += a[i * inner + k] * b[k * columns + j];
            }
        }
    }
    all
}

fn transposed(rows: usize, columns: usize, a: &[f64]) -> Vec<f64> {
    (0..columns).flat_map(|j| (0..rows).map(move |i| a[i * columns + j])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a diagonal matrix each element is the polynomial of its own, wide, square or tall; zeros and empty matrices stay.
    #[test]
    fn singular_values() {
        let coefficients = Muon::default().ns_coefficients;
        for [rows, columns] in [[3, 3], [3, 5], [5, 3]] {
            let mut u = vec![0.0; rows * columns];
            let diagonal = [4.0, -0.5, 0.25];
            for (i, d) in diagonal.iter().enumerate() {
                u[i * columns + i] = *d;
            }
            let x = orthogonalized([rows, columns], &u, coefficients, 5, 1e-7);
            let length = norm(&diagonal);
            for i in 0..rows {
                for j in 0..columns {
                    let mut s = if i == j { diagonal[i] / length } else { 0.0 };
                    for _ in 0..5 {
                        s = coefficients[0] * s + coefficients[1] * s.powi(3) + coefficients[2] * s.powi(5);
                    }
                    assert!((x[i * columns + j] - s).abs() < 1e-13);
                    assert!(i != j || (0.6..1.3).contains(&(s.abs())));
                }
            }
            assert!(orthogonalized([rows, columns], &vec![0.0; rows * columns], coefficients, 5, 1e-7).iter().all(|&x| x == 0.0));
        }
        for shape in [[0, 3], [3, 0], [0, 0]] {
            assert!(orthogonalized(shape, &[], coefficients, 5, 1e-7).is_empty());
        }
    }

    /// A rotation on either side passes through.
    #[test]
    fn rotations_pass() {
        let (c, s) = (0.6, 0.8);
        let [rotation, u] = [[c, -s, s, c], [3.0, 1.0, -0.5, 2.0]];
        let coefficients = Muon::default().ns_coefficients;
        let of = |u: &[f64]| orthogonalized([2, 2], u, coefficients, 5, 1e-7);
        let (left, right) = (of(&product(2, 2, &rotation, &u)), product(2, 2, &rotation, &of(&u)));
        assert!(left.iter().zip(right).all(|(left, right)| (left - right).abs() < 1e-13));
    }
}
