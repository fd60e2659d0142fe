//! The vector operations of the iterative solvers, on f64 slices.
//!
//! Names and the order of arguments are those of the BLAS (Lawson, Hanson, Kincaid and Krogh, 1979):
//! the scalar first, the vector that is written last. Sums run from the first element to the last.
//!
//! ```
//! use gradus::reference::vector;
//!
//! let mut y = [1.0, 2.0];
//! vector::axpy(2.0, &[1.0, -3.0], &mut y);
//! assert_eq!(y, [3.0, -4.0]);
//! assert_eq!(vector::norm(&y), 5.0);
//! assert_eq!(vector::max_magnitude(&y), 4.0);
//! ```

/// `x = alpha` in every element.
pub fn fill(alpha: f64, x: &mut [f64]) {
    x.fill(alpha);
}

/// `y = x`.
///
/// # Panics
///
/// If the lengths differ.
pub fn copy(x: &[f64], y: &mut [f64]) {
    assert_eq!(x.len(), y.len(), "copy: x and y differ in length");
    y.copy_from_slice(x);
}

/// `x = alpha·x`.
pub fn scale(alpha: f64, x: &mut [f64]) {
    for x in x {
        *x *= alpha;
    }
}

/// `y = y + alpha·x`.
///
/// # Panics
///
/// If the lengths differ.
pub fn axpy(alpha: f64, x: &[f64], y: &mut [f64]) {
    assert_eq!(x.len(), y.len(), "axpy: x and y differ in length");
    for (y, x) in y.iter_mut().zip(x) {
        *y += alpha * x;
    }
}

/// `⟨x, y⟩ = Σ x_i·y_i`; 0 for empty vectors.
///
/// # Panics
///
/// If the lengths differ.
pub fn dot(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len(), "dot: x and y differ in length");
    let mut sum = 0.0;
    for (x, y) in x.iter().zip(y) {
        sum += x * y;
    }
    sum
}

/// The Euclidean norm `‖x‖ = √⟨x, x⟩`; 0 for an empty vector.
///
/// Nothing is rescaled: magnitudes past about 1e154 overflow, and ones below 1e-154 lose digits.
/// Every f32 is well inside.
pub fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// The greatest `|x_i|`; NaN if any element is NaN, 0 for an empty vector.
pub fn max_magnitude(x: &[f64]) -> f64 {
    let mut max: f64 = 0.0;
    for x in x {
        // A NaN enters by the second condition, and stays: no comparison with it holds.
        if x.abs() > max || x.is_nan() {
            max = x.abs();
        }
    }
    max
}

/// `y = alpha·A x + beta·y` for a row-major matrix of `x.len()` columns and `y.len()` rows.
///
/// # Panics
///
/// If `a` does not have that many elements.
pub fn gemv(alpha: f64, a: &[f64], x: &[f64], beta: f64, y: &mut [f64]) {
    assert_eq!(a.len(), x.len() * y.len(), "gemv: the shape of a");
    for (r, y) in y.iter_mut().enumerate() {
        *y = alpha * dot(&a[r * x.len()..(r + 1) * x.len()], x) + if beta == 0.0 { 0.0 } else { beta * *y };
    }
}

/// `y = alpha·Aᵀx + beta·y` for a row-major matrix of `x.len()` rows and `y.len()` columns.
///
/// # Panics
///
/// If `a` does not have that many elements.
pub fn gemv_transposed(alpha: f64, a: &[f64], x: &[f64], beta: f64, y: &mut [f64]) {
    assert_eq!(a.len(), x.len() * y.len(), "gemv_transposed: the shape of a");
    if beta == 0.0 {
        fill(0.0, y);
    } else {
        scale(beta, y);
    }
    let columns = y.len();
    for (r, &x) in x.iter().enumerate() {
        axpy(alpha * x, &a[r * columns..(r + 1) * columns], y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations() {
        let mut x = [0.0; 3];
        fill(2.0, &mut x);
        assert_eq!(x, [2.0; 3]);
        copy(&[1.0, -2.0, 3.0], &mut x);
        scale(-2.0, &mut x);
        assert_eq!(x, [-2.0, 4.0, -6.0]);
        axpy(0.5, &[2.0, 0.0, 4.0], &mut x);
        assert_eq!(x, [-1.0, 4.0, -4.0]);
        assert_eq!(dot(&x, &[1.0, 1.0, 2.0]), -5.0);
        assert_eq!(norm(&x), 33f64.sqrt());
        assert_eq!(max_magnitude(&x), 4.0);
    }

    #[test]
    fn empty_and_not_a_number() {
        assert_eq!((dot(&[], &[]), norm(&[]), max_magnitude(&[])), (0.0, 0.0, 0.0));
        for x in [[f64::NAN, 1.0], [1.0, f64::NAN], [f64::INFINITY, f64::NAN]] {
            assert!(max_magnitude(&x).is_nan());
        }
        assert_eq!(max_magnitude(&[1.0, f64::NEG_INFINITY]), f64::INFINITY);
    }
}
