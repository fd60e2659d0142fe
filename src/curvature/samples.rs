//! Which axes of an output count samples.

use std::collections::HashMap;

use crate::Result;
use crate::graph::{Binary, Graph, Op, Var};

/// How the elements of a value depend on those of the output, along one of its axes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Along {
    /// Not at all.
    Free,
    /// At `i` of this axis on those at `i + shift` of the output's alone.
    Axis { axis: usize, shift: isize },
    /// As a sum of functions of which each depends on one index alone.
    Sum,
    /// In another way.
    Coupled,
}

use Along::{Axis, Coupled, Free, Sum};

/// The axes of `output` that count samples: the first; and, if the loss couples elements along some other axis, as the softmax
/// does along the axis of classes, each along which it is a sum of independent terms. So every token of a sequence is a
/// sample. A loss by element, such as a squared error, couples none: then a sample is all of an index of the first axis.
pub(super) fn sample_axes(graph: &Graph, loss: Var, output: Var) -> Result<Vec<usize>> {
    let shape = graph.shape(output)?.to_vec();
    let mut separate = vec![0];
    let mut coupled = false;
    for axis in (1..shape.len()).filter(|&axis| shape[axis] != 1) {
        match along(graph, loss, output, axis)? {
            Coupled => coupled = true,
            _ => separate.push(axis),
        }
    }
    Ok(if coupled { separate } else { vec![0] })
}

fn along(graph: &Graph, loss: Var, output: Var, axis: usize) -> Result<Along> {
    let mut known: HashMap<Var, Along> = HashMap::from([(output, Axis { axis, shift: 0 })]);
    // inputs come before what is made of them
    for var in graph.vars() {
        if known.contains_key(&var) {
            continue;
        }
        let (op, inputs) = graph.op(var)?;
        let states: Vec<Along> = inputs.iter().map(|input| known.get(input).copied().unwrap_or(Free)).collect();
        let state = match states.iter().all(|state| *state == Free) {
            true => Free,
            false => through(op, &states, graph.shape(inputs[0])?, graph.shape(var)?),
        };
        known.insert(var, state);
    }
    Ok(known.get(&loss).copied().unwrap_or(Free))
}

/// Of the result of an operation, of whose inputs one depends on the output. `from` is the shape of the first input.
fn through(op: &Op, inputs: &[Along], from: &[usize], to: &[usize]) -> Along {
    let rank = to.len();
    match (op, inputs) {
        (_, states) if states.contains(&Coupled) => Coupled,
        (Op::Binary(function), &[a, b]) => binary(*function, a, b),
        // bilinear: by batch; by rows of the first or columns of the second; or contracted
        (Op::Matmul, &[a @ Axis { axis, .. }, b]) if a == b && axis + 2 < rank => a,
        (Op::Matmul, &[a @ Axis { axis, .. }, Free]) => {
            if axis + 1 == rank {
                Sum
            } else {
                a
            }
        }
        (Op::Matmul, &[Free, b @ Axis { axis, .. }]) => {
            if axis + 2 == rank {
                Sum
            } else {
                b
            }
        }
        (Op::Matmul | Op::Convolution(..), &[Sum, Free] | &[Free, Sum]) => Sum,
        // linear
        (Op::Reshape | Op::Transpose(_) | Op::Broadcast | Op::Sum(_) | Op::Pad(_) | Op::Slice(_), &[Sum]) => Sum,
        (Op::Scale(_) | Op::Pool(_) | Op::Unpool(_) | Op::Linear(_) | Op::Detach, &[Sum]) => Sum,
        (Op::Scale(_) | Op::Broadcast | Op::Detach | Op::Unary(_), &[a]) if a != Sum => a,
        (Op::Reshape, &[Axis { axis, shift }]) => {
            let before = |shape: &[usize], axis: usize| shape[..axis].iter().product::<usize>();
            let kept = (0..rank).find(|&i| to[i] == from[axis] && before(to, i) == before(from, axis));
            kept.map_or(Coupled, |axis| Axis { axis, shift })
        }
        (Op::Transpose(axes), &[Axis { axis, shift }]) => {
            axes.iter().position(|&from| from == axis).map_or(Coupled, |axis| Axis { axis, shift })
        }
        (Op::Sum(axes), &[Axis { axis, .. }]) if axes.contains(&axis) => Sum,
        (Op::Sum(_), &[a]) => a,
        (Op::Max(axes), &[a @ Axis { axis, .. }]) if !axes.contains(&axis) => a,
        (Op::Slice(start), &[Axis { axis, shift }]) => Axis { axis, shift: shift + start[axis] as isize },
        (Op::Pad(before), &[Axis { axis, shift }]) => Axis { axis, shift: shift - before[axis] as isize },
        (Op::Linear(_), &[a @ Axis { axis, .. }]) => {
            if axis + 1 == rank {
                Sum
            } else {
                a
            }
        }
        (Op::Pool(_) | Op::Unpool(_), &[a @ Axis { axis, .. }]) => {
            if axis < 2 {
                a
            } else {
                Sum
            }
        }
        (Op::Gather | Op::ScatterAdd, &[a @ Axis { axis: 1, .. }, Free]) => a,
        (Op::Gather | Op::ScatterAdd, &[Sum | Axis { .. }, Free]) => Sum,
        _ => Coupled,
    }
}

fn binary(function: Binary, a: Along, b: Along) -> Along {
    match (function, a, b) {
        (_, Axis { .. }, Axis { .. }) if a == b => a,
        (_, Axis { .. }, Free) => a,
        (_, Free, Axis { .. }) => b,
        (Binary::Add | Binary::Sub, ..) => Sum,
        (Binary::Mul, Sum, Free) | (Binary::Mul, Free, Sum) | (Binary::Div, Sum, Free) => Sum,
        _ => Coupled,
    }
}
