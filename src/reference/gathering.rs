//! Rows of a table by number, and sums of rows by number.
//!
//! ```
//! use gradus::reference::gathering::{gather, scatter_add};
//!
//! assert_eq!(gather(&[1.0, 2.0, 3.0, 4.0], 2, &[1, 0, 1]), [3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
//! assert_eq!(scatter_add(&[1.0, 2.0, 3.0], 1, &[1, 0, 1], 2), [2.0, 4.0]);
//! ```

/// `[indices, width]` from a table `[rows, width]`; NaN for a number that is no row.
pub fn gather(table: &[f64], width: usize, indices: &[u32]) -> Vec<f64> {
    let mut y = Vec::new();
    for &index in indices {
        for column in 0..width {
            y.push(table.get(index as usize * width + column).copied().unwrap_or(f64::NAN));
        }
    }
    y
}

/// The adjoint of [`gather`]: `[rows, width]` from `[indices, width]`. Numbers that are no row are left out.
///
/// # Panics
///
/// If `y` has fewer rows than there are indices.
pub fn scatter_add(y: &[f64], width: usize, indices: &[u32], rows: usize) -> Vec<f64> {
    let mut x = vec![0.0; rows * width];
    for (n, &index) in indices.iter().enumerate() {
        if (index as usize) < rows {
            for column in 0..width {
                x[index as usize * width + column] += y[n * width + column];
            }
        }
    }
    x
}
