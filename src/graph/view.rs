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
    /// A value as a view of the deepest value below, itself if there is none, that is not a view or is taken for none by `is_base`, and
    /// of which it is elements at strides: no zeros come in, and each reshape agrees with the strides.
    pub(crate) fn view(&self, id: Id, is_base: &impl Fn(Id) -> bool) -> View {
        let mut below = vec![id];
        while let Some(&last) =
            below.last().filter(|&&last| !is_base(last) && (self.node(last).op.is_view() || self.node(last).op == Op::Detach))
        {
            below.push(self.node(last).inputs[0]);
        }
        let found = (1..below.len()).rev().find_map(|at| self.view_of(&below[..=at]));
        let mut view = found.unwrap_or_else(|| View { base: id, offset: 0, strides: contiguous(self.dims(id)) });
        // of the same elements in another shape
        while !is_base(view.base) && matches!(self.node(view.base).op, Op::Reshape | Op::Detach) {
            view.base = self.node(view.base).inputs[0];
        }
        view
    }

    /// The first of a chain of values, each a view of the next, as a view of the last.
    fn view_of(&self, chain: &[Id]) -> Option<View> {
        let (&base, views) = chain.split_last()?;
        let mut view = View { base, offset: 0, strides: contiguous(self.dims(base)) };
        for node in views.iter().rev().map(|&id| self.node(id)) {
            let from = self.dims(node.inputs[0]);
            match &node.op {
                Op::Reshape => view.strides = reshaped(from, &view.strides, &node.shape)?,
                Op::Transpose(axes) => view.strides = axes.iter().map(|&axis| view.strides[axis]).collect(),
                Op::Broadcast => {
                    let repeated = from.iter().zip(&node.shape).map(|(before, after)| before != after);
                    view.strides.iter_mut().zip(repeated).filter(|(_, repeated)| *repeated).for_each(|(stride, _)| *stride = 0);
                }
                Op::Slice(start) => view.offset += start.iter().zip(&view.strides).map(|(&at, &stride)| at * stride).sum::<usize>(),
                Op::Pad(_) => return None,
                _ => {}
            }
        }
        Some(view)
    }

    /// The value whose elements, in order, are those of `id`.
    pub(crate) fn physical(&self, mut id: Id) -> Id {
        while matches!(self.node(id).op, Op::Reshape | Op::Detach) {
            id = self.node(id).inputs[0];
        }
        id
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

    /// The deepest value of which another is elements at strides.
    #[test]
    fn views_are_of_the_deepest_value() {
        let mut graph = Graph::new();
        let x = graph.input("x", &[4, 6]).unwrap();
        let id = |graph: &Graph, var| graph.check(var).unwrap();
        let turned = graph.transpose(x, &[1, 0]).unwrap();
        let sliced = graph.slice(turned, &[1..5, 0..4]).unwrap();
        let expected = View { base: id(&graph, x), offset: 1, strides: vec![1, 6] };
        assert_eq!(graph.view(id(&graph, sliced), &|_| false), expected);
        // a transposed matrix has no rows side by side, but the other of its reshape is at strides of that
        let flat = graph.reshape(turned, &[24]).unwrap();
        let wide = graph.reshape(flat, &[2, 12]).unwrap();
        let back = graph.transpose(wide, &[1, 0]).unwrap();
        assert_eq!(graph.view(id(&graph, back), &|_| false), View { base: id(&graph, turned), offset: 0, strides: vec![1, 12] });
        // zeros are in no memory
        let padded = graph.pad(x, &[(1, 0), (0, 0)]).unwrap();
        let broad = graph.transpose(padded, &[1, 0]).unwrap();
        assert_eq!(graph.view(id(&graph, broad), &|_| false), View { base: id(&graph, padded), offset: 0, strides: vec![1, 6] });
    }
}
