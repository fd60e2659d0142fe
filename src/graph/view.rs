//! Views: values that are elements of another, at strides. They cost no kernel where they are read.

use super::build::{Graph, Id};
use super::op::Op;

/// Elements of a value at strides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    /// The value that holds the elements, contiguous and row-major.
    pub base: Id,
    /// In elements.
    pub offset: usize,
    /// For each axis of the view, in elements.
    pub strides: Vec<usize>,
}

/// The strides of a contiguous value.
pub(crate) fn contiguous(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

impl Graph {
    /// A value as a view of the first value below that is not a view, nor taken for one by `is_base`; `None` where
    /// zeros come in or a reshape does not agree with the strides.
    pub(crate) fn view(&self, id: Id, is_base: &impl Fn(Id) -> bool) -> Option<View> {
        let node = self.node(id);
        let whole = || View { base: id, offset: 0, strides: contiguous(&node.shape) };
        if is_base(id) {
            return Some(whole());
        }
        let input = |i: usize| self.view(node.inputs[i], is_base);
        match &node.op {
            Op::Detach => input(0),
            Op::Reshape => {
                let view = input(0)?;
                let strides = reshaped(self.dims(node.inputs[0]), &view.strides, &node.shape)?;
                Some(View { strides, ..view })
            }
            Op::Transpose(axes) => {
                let view = input(0)?;
                Some(View { strides: axes.iter().map(|&axis| view.strides[axis]).collect(), ..view })
            }
            Op::Broadcast => {
                let view = input(0)?;
                let from = self.dims(node.inputs[0]);
                let strides = (0..from.len()).map(|i| if from[i] == node.shape[i] { view.strides[i] } else { 0 }).collect();
                Some(View { strides, ..view })
            }
            Op::Slice(start) => {
                let view = input(0)?;
                let offset = view.offset + start.iter().zip(&view.strides).map(|(&at, &stride)| at * stride).sum::<usize>();
                Some(View { offset, ..view })
            }
            Op::Pad(_) => None,
            _ => Some(whole()),
        }
    }

    /// The value whose elements, in order, are those of `id`.
    pub(crate) fn physical(&self, id: Id) -> Id {
        match self.node(id).op {
            Op::Reshape | Op::Detach => self.physical(self.node(id).inputs[0]),
            _ => id,
        }
    }
}

/// The strides under another shape, if there are any.
fn reshaped(from: &[usize], strides: &[usize], to: &[usize]) -> Option<Vec<usize>> {
    // axes of size 1 have no say
    let axes: Vec<(usize, usize)> = from.iter().copied().zip(strides.iter().copied()).filter(|&(size, _)| size > 1).collect();
    let mut result = vec![0; to.len()];
    let (mut i, mut j) = (0, 0);
    while i < axes.len() {
        // the least run of axes on both sides with equally many elements
        let (mut old, mut new) = (axes[i].0, 1);
        let (first, start) = (i, j);
        while old != new {
            if new < old {
                new *= *to.get(j)?;
                j += 1;
            } else {
                i += 1;
                old *= axes.get(i)?.0;
            }
        }
        // the old run must be one stretch
        if (first..i).any(|k| axes[k].1 != axes[k + 1].1 * axes[k + 1].0) {
            return None;
        }
        let mut stride = axes[i].1;
        for k in (start..j).rev() {
            result[k] = stride;
            stride *= to[k];
        }
        i += 1;
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshapes_agree_with_strides_or_are_refused() {
        assert_eq!(reshaped(&[4, 6], &[6, 1], &[24]), Some(vec![1]));
        assert_eq!(reshaped(&[4, 6], &[6, 1], &[2, 2, 3, 2]), Some(vec![12, 6, 2, 1]));
        assert_eq!(reshaped(&[4, 6], &[1, 4], &[24]), None);
        assert_eq!(reshaped(&[4, 6], &[1, 4], &[2, 2, 6]), Some(vec![2, 1, 4]));
        assert_eq!(reshaped(&[4, 1, 6], &[6, 9, 1], &[4, 6, 1]).map(|s| s[..2].to_vec()), Some(vec![6, 1]));
        assert_eq!(reshaped(&[4, 6], &[0, 1], &[24]), None);
        assert_eq!(reshaped(&[1], &[1], &[1, 1]), Some(vec![0, 0]));
        assert_eq!(reshaped(&[2, 3], &[6, 2], &[6]), Some(vec![2]));
    }
}
