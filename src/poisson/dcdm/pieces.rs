//! How a grid is cut into pieces, each of which a network sees apart from the others.

use std::ops::Range;

/// What a network asks of the pieces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overlap {
    /// How far, in cells along an axis, what it says of a cell depends on others.
    pub reach: usize,
    /// The cells along an axis that are one on its coarsest level: there as here cells are counted from the last one.
    pub multiple: usize,
}

/// A part of an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// What the network is applied to.
    pub all: Range<usize>,
    /// Of what is said there, what is so without a cut. Own parts cover the axis, one after another.
    pub own: Range<usize>,
}

/// Of each axis the stretches. Pieces are all their combinations.
pub(super) type Cut = Vec<Vec<Stretch>>;

/// A cut of a grid into pieces of at most so many cells, or the whole as one if it has no more. The longest stretches are
/// cut again until pieces are small enough, so that they are about as long as wide, which keeps the overlaps small. Stretches of
/// an axis are equally long, but for the first one where `multiple` does not divide the axis. `None` if the least pieces,
/// of [`least`] cells, are more.
pub(super) fn cut(sizes: &[usize], overlap: Overlap, most: usize) -> Option<Cut> {
    let mut counts = vec![1; sizes.len()];
    while sizes.iter().product::<usize>() <= most || least(sizes, overlap) <= most {
        let lengths: Vec<usize> = sizes.iter().zip(&counts).map(|(&n, &count)| overlap.length(n, count)).collect();
        if lengths.iter().try_fold(1usize, |product, &length| product.checked_mul(length)).is_some_and(|cells| cells <= most) {
            return Some(sizes.iter().zip(lengths).map(|(&n, length)| overlap.stretches(n, length)).collect());
        }
        // of equals the slowest axis
        let axis = (0..sizes.len()).rev().filter(|&axis| counts[axis] < sizes[axis]).max_by_key(|&axis| lengths[axis])?;
        counts[axis] += 1;
    }
    None
}

/// The cells of the least pieces that a grid can be cut into.
pub(super) fn least(sizes: &[usize], overlap: Overlap) -> usize {
    sizes.iter().map(|&n| overlap.length(n, n)).product()
}

impl Overlap {
    /// Of about `count` equal stretches of an axis of n cells.
    fn length(&self, n: usize, count: usize) -> usize {
        let length = (n.div_ceil(count) + 2 * (self.reach + self.multiple)).next_multiple_of(self.multiple);
        if count == 1 { n } else { n.min(length) }
    }

    /// `length` is that of the axis, or of [`Overlap::length`].
    fn stretches(&self, n: usize, length: usize) -> Vec<Stretch> {
        // the last cell from which on windows are whole
        let aligned = |at: usize| n - (n - at).next_multiple_of(self.multiple);
        let mut stretches = Vec::new();
        let (mut all, mut done) = (if length < n { 0..aligned(length) } else { 0..n }, 0);
        while all.end < n {
            let end = all.end - self.reach;
            stretches.push(Stretch { all, own: done..end });
            done = end;
            let start = aligned(end - self.reach).min(n - length);
            all = start..start + length;
        }
        stretches.push(Stretch { all, own: done..n });
        stretches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that pieces must be, by brute force.
    #[test]
    fn stretches_cover_axes() {
        for n in 1..150 {
            for (reach, multiple) in [(1, 1), (4, 2), (7, 1), (9, 4), (22, 2)] {
                let overlap = Overlap { reach, multiple };
                for count in 1..=n {
                    let length = overlap.length(n, count);
                    let stretches = overlap.stretches(n, length);
                    let case = format!("{n}, {overlap:?}, {length}: {stretches:?}");
                    assert!(stretches.len() <= count, "{case}");
                    let mut done = 0;
                    for (i, Stretch { all, own }) in stretches.iter().enumerate() {
                        assert!(own.start == done && own.end > done, "{case}");
                        done = own.end;
                        assert!(all.start <= own.start.saturating_sub(reach) && all.end >= (own.end + reach).min(n), "{case}");
                        assert!(all.end <= n && (n - all.end) % multiple == 0, "{case}");
                        // windows of all levels are those of the axis
                        assert!(all.start == 0 || (n - all.start) % multiple == 0, "{case}");
                        // and compiled once
                        assert!(all.len() == length || (i == 0 && all.len() < length && length - all.len() < multiple), "{case}");
                    }
                    assert_eq!(done, n, "{case}");
                }
            }
        }
    }

    #[test]
    fn pieces_are_no_larger_than_asked() {
        let overlap = Overlap { reach: 22, multiple: 2 };
        let cells = |cut: &Cut| cut.iter().map(|axis| axis.iter().map(|stretch| stretch.all.len()).max().unwrap()).product::<usize>();
        for (sizes, most) in [(&[2048, 2048][..], 1 << 21), (&[256, 256, 256], 1 << 21), (&[1 << 22, 3], 1 << 20), (&[100, 100], 10_000)] {
            let cut = cut(sizes, overlap, most).unwrap();
            assert!(cells(&cut) <= most && cells(&cut) > most / 3, "{sizes:?}: {}", cells(&cut));
        }
        let least = least(&[300, 300, 20], overlap);
        assert_eq!(least, 50 * 50 * 20);
        assert!(cut(&[300, 300, 20], overlap, least).is_some_and(|cut| cut[2].len() == 1));
        assert!(cut(&[300, 300, 20], overlap, least - 1).is_none());
        assert_eq!(cut(&[40, 30], overlap, 1200).unwrap().concat().len(), 2);
    }
}
