use super::super::vector::dot;

/// One gradient, and the part of another that does not oppose it: `f + eta·(b - ⟨b, f⟩/⟨f, f⟩·f)` by rows.
///
/// `forward` is `f`, `backward` is `b`, each cut into `rows` rows; 1 takes the whole tensor as one. The quotient is 0 for a row
/// of zeros in `f`. NaN in a row stays in it.
///
/// Source: Mao et al., "ODICE: Revealing the mystery of distribution correction estimation via orthogonal-gradient update",
/// ICLR 2024, arXiv:2402.00348, equation 10, where `f` and `b` are gradients by the values of a state and of the next one.
///
/// # Panics
///
/// If the gradients' lengths differ, or are no multiple of `rows`.
///
/// ```
/// use gradus::reference::optim::orthogonal_gradient;
///
/// let g = orthogonal_gradient(2, &[1.0, 0.0, 0.0, 2.0], &[5.0, 5.0, 5.0, 5.0], 0.5);
/// assert_eq!(g, [1.0, 2.5, 2.5, 2.0]);
/// ```
pub fn orthogonal_gradient(rows: usize, forward: &[f64], backward: &[f64], eta: f64) -> Vec<f64> {
    assert_eq!(forward.len(), backward.len(), "the gradients' lengths differ");
    assert!(forward.is_empty() || (rows > 0 && forward.len().is_multiple_of(rows)), "{} elements in {rows} rows", forward.len());
    let columns = (forward.len() / rows.max(1)).max(1);
    let row = |(f, b): (&[f64], &[f64])| -> Vec<f64> {
        let square = dot(f, f);
        let along = if square == 0.0 { 0.0 } else { dot(b, f) / square };
        f.iter().zip(b).map(|(f, b)| f + eta * (b - along * f)).collect()
    };
    forward.chunks(columns).zip(backward.chunks(columns)).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::random::normal;

    /// What is added is at right angles to `f` in every row, a zero `f` leaves `b`, and `b = f` adds nothing.
    #[test]
    fn right_angles() {
        let (mut f, b) = (normal(1, 0, 12), normal(1, 1, 12));
        f[4..8].fill(0.0);
        for rows in [1, 3] {
            let g = orthogonal_gradient(rows, &f, &b, 2.0);
            let columns = 12 / rows;
            for (row, (f, g)) in f.chunks(columns).zip(g.chunks(columns)).enumerate() {
                assert!((dot(f, g) - dot(f, f)).abs() < 1e-13, "{row}");
            }
            let same = orthogonal_gradient(rows, &f, &f, 2.0);
            assert!(same.iter().zip(&f).all(|(g, f)| (g - f).abs() < 1e-14));
        }
        for (g, b) in orthogonal_gradient(3, &f, &b, 2.0)[4..8].iter().zip(&b[4..8]) {
            assert_eq!(*g, 2.0 * b);
        }
        assert!(orthogonal_gradient(0, &[], &[], 1.0).is_empty());
    }
}
