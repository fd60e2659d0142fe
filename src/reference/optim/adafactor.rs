use super::super::vector::{dot, norm};
use super::Step;

/// Adafactor: the second moment of a matrix as the product of a column and a row.
///
/// A parameter of two axes or more is a batch of matrices over its last two, of `R` rows and `C` columns; `r`, an element a
/// row, is the state `row_var`, and `c`, an element a column, the state `col_var`. Of other parameters `v` is the state
/// `variance`, an element each. With `n` the number of elements of the parameter, and means over `p` and `u` as a whole:
///
/// - `w = t^beta2_decay`, `rho = min(lr, 1/√t)`, `alpha = max(eps[1], √mean(p²))·rho`
/// - `p *= 1 - lr·weight_decay`, which `alpha` does not see
/// - matrices: `r += w·(mean of g² over the row - r)`, `c` alike over columns, `v_ij = r_i·c_j/max(mean of r, eps[0])`
/// - others: `v += w·(g² - v)`
/// - `u = g/√max(v, eps[0]²)`
/// - `p -= alpha/max(1, √mean(u²)/d)·u`
///
/// The states are empty before the first step, and those that the shape does not need stay so.
///
/// Source: `torch.optim.Adafactor`, where `eps[0]` is the machine epsilon of the parameter's type unless given; Shazeer and
/// Stern, ICML 2018, arXiv:1804.04235, algorithms 4 and 5.
///
/// ```
/// use gradus::reference::optim::{Adafactor, Step};
///
/// let adafactor = Adafactor { lr: 0.5, ..Adafactor::default() };
/// let (mut p, mut state) = ([3.0, 3.0, 3.0, 3.0], adafactor.initial_state(4));
/// // Of rank one: the factors are exact, and the step has the size of p.
/// adafactor.step(1, &[2, 2], &mut p, &[1.0, 2.0, -2.0, 4.0], &mut state);
/// assert!(p.iter().zip([1.5, 1.5, 4.5, 1.5]).all(|(p, expect)| (p - expect).abs() < 1e-12));
/// assert_eq!(state, [vec![2.5, 10.0], vec![2.5, 10.0], vec![]]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adafactor {
    /// The greatest relative step size, and the factor of the weight decay; 1e-2 by default.
    pub lr: f64,
    /// Power of `t` in the decay of the second moment; -0.8 by default.
    pub beta2_decay: f64,
    /// Least root of the second moment, and least root mean square of the parameter; f32's machine epsilon, 2⁻²³, and 1e-3
    /// by default.
    pub eps: [f64; 2],
    /// Greatest root mean square of the update; 1 by default.
    pub d: f64,
    /// Decoupled weight decay; 0 by default.
    pub weight_decay: f64,
    /// Ascend; off by default.
    pub maximize: bool,
}

impl Default for Adafactor {
    fn default() -> Self {
        Self { lr: 1e-2, beta2_decay: -0.8, eps: [f64::from(f32::EPSILON), 1e-3], d: 1.0, weight_decay: 0.0, maximize: false }
    }
}

impl Step for Adafactor {
    fn state_names(&self) -> Vec<&'static str> {
        vec!["row_var", "col_var", "variance"]
    }

    /// Empty tensors: what they need depends on the shape, which the first step knows.
    fn initial_state(&self, _n: usize) -> Vec<Vec<f64>> {
        vec![vec![]; 3]
    }

    fn step(&self, t: u64, shape: &[usize], p: &mut [f64], g: &[f64], state: &mut [Vec<f64>]) {
        let n: usize = shape.iter().product();
        assert_eq!(p.len(), n, "the parameter's length is not its shape's");
        assert_eq!(g.len(), n, "the gradient's length is not the shape's");
        let [row_var, col_var, variance] = state else { panic!("the state tensors should be {:?}", self.state_names()) };
        if n == 0 {
            return;
        }
        let mean_root = |x: &[f64]| norm(x) / (n as f64).sqrt();
        let weight = (t as f64).powf(self.beta2_decay);
        let rho = self.lr.min(1.0 / (t as f64).sqrt());
        let size = mean_root(p);
        // Not `f64::max`, which would drop a NaN.
        let alpha = if size < self.eps[1] { self.eps[1] } else { size } * rho;
        let g: Vec<f64> = g.iter().map(|&g| if self.maximize { -g } else { g }).collect();
        let estimate = match *shape {
            [.., rows, columns] => {
                row_var.resize(n / columns, 0.0);
                col_var.resize(n / rows, 0.0);
                let mut estimate = Vec::with_capacity(n);
                let factors = row_var.chunks_exact_mut(rows).zip(col_var.chunks_exact_mut(columns));
                for (matrix, (row_var, col_var)) in g.chunks_exact(rows * columns).zip(factors) {
                    for (r, row) in row_var.iter_mut().zip(matrix.chunks_exact(columns)) {
                        *r += weight * (dot(row, row) / columns as f64 - *r);
                    }
                    for (j, c) in col_var.iter_mut().enumerate() {
                        let squares: f64 = matrix.iter().skip(j).step_by(columns).map(|g| g * g).sum();
                        *c += weight * (squares / rows as f64 - *c);
                    }
                    let mean = row_var.iter().sum::<f64>() / rows as f64;
                    let mean = if mean < self.eps[0] { self.eps[0] } else { mean };
                    estimate.extend(row_var.iter().flat_map(|r| col_var.iter().map(move |c| r * c / mean)));
                }
                estimate
            }
            _ => {
                variance.resize(n, 0.0);
                for (v, g) in variance.iter_mut().zip(&g) {
                    *v += weight * (g * g - *v);
                }
                variance.clone()
            }
        };
        let least = self.eps[0] * self.eps[0];
        let u: Vec<f64> = g.iter().zip(estimate).map(|(g, v)| g / if v < least { least } else { v }.sqrt()).collect();
        let excess = mean_root(&u) / self.d;
        let step_size = alpha / if excess < 1.0 { 1.0 } else { excess };
        for (p, u) in p.iter_mut().zip(u) {
            *p *= 1.0 - self.lr * self.weight_decay;
            *p -= step_size * u;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each matrix of a batch has factors of its own: gradients of rank one with one magnitude each, whatever it is, are the
    /// signs; a batch of one row and the vector differ in nothing but the state.
    #[test]
    fn batches() {
        let adafactor = Adafactor { lr: 0.5, ..Adafactor::default() };
        let (mut p, mut state) = ([2.0; 12], adafactor.initial_state(12));
        let g: Vec<f64> = (0..12).map(|i| if i < 6 { 1e-3 } else { -70.0 }).collect();
        adafactor.step(1, &[2, 3, 2], &mut p, &g, &mut state);
        for (i, p) in p.iter().enumerate() {
            let expect = if i < 6 { 1.0 } else { 3.0 };
            assert!((p - expect).abs() < 1e-12, "{i}: {p}");
        }
        assert_eq!(state.iter().map(Vec::len).collect::<Vec<_>>(), [6, 4, 0]);
        let (mut vector, mut matrix) = ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]);
        let (mut of_vector, mut of_matrix) = (adafactor.initial_state(3), adafactor.initial_state(3));
        for t in 1..=3 {
            let g = [1.0, t as f64, -4.0];
            adafactor.step(t, &[3], &mut vector, &g, &mut of_vector);
            adafactor.step(t, &[1, 3], &mut matrix, &g, &mut of_matrix);
        }
        for (vector, matrix) in vector.iter().zip(matrix) {
            assert!((vector - matrix).abs() < 1e-14);
        }
    }
}
