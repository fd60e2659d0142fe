//! Graphs in f64: each primitive as a loop over its definition. The oracle of every model.

use std::collections::{HashMap, HashSet};

use crate::graph::{Binary, Form, Graph, Op, Stencil, Var, Window};
use crate::{Error, Result};

/// The values of `outputs`, row-major, given values of leaves, or of any others, which are then not
/// computed. Indices are whole numbers. Only what the outputs need is evaluated, and has to be bound.
///
/// # Errors
/// [`Error::Unknown`] for a leaf without a value and for values of another graph, [`Error::Length`] for a
/// wrong number of elements.
///
/// ```
/// use std::collections::HashMap;
/// use gradus::graph::Graph;
/// use gradus::reference::graph::evaluate;
///
/// let mut graph = Graph::new();
/// let x = graph.input("x", &[3])?;
/// let squares = graph.mul(x, x)?;
/// let sum = graph.sum(squares, &[])?;
/// let gradient = graph.gradient(sum, &[x])?;
/// let values = evaluate(&graph, &HashMap::from([(x, vec![1.0, 2.0, 3.0])]), &[sum, gradient[0]])?;
/// assert_eq!(values, [vec![14.0], vec![2.0, 4.0, 6.0]]);
/// # Ok::<(), gradus::Error>(())
/// ```
pub fn evaluate(graph: &Graph, bindings: &HashMap<Var, Vec<f64>>, outputs: &[Var]) -> Result<Vec<Vec<f64>>> {
    for &var in bindings.keys().chain(outputs) {
        graph.shape(var)?;
    }
    let mut needed = HashSet::new();
    let mut open = outputs.to_vec();
    while let Some(var) = open.pop() {
        if needed.insert(var) && !bindings.contains_key(&var) {
            open.extend(graph.op(var)?.1);
        }
    }
    let mut values: HashMap<Var, Vec<f64>> = HashMap::new();
    for var in graph.vars().filter(|var| needed.contains(var)) {
        let value = match bindings.get(&var) {
            Some(value) => bound(graph, var, value)?,
            None => {
                let (op, inputs) = graph.op(var)?;
                let shapes = inputs.iter().map(|&input| graph.shape(input)).collect::<Result<Vec<_>>>()?;
                let arguments: Vec<(&[f64], &[usize])> =
                    inputs.iter().zip(shapes).map(|(input, shape)| (values.get(input).map_or(&[][..], Vec::as_slice), shape)).collect();
                apply(op, &arguments, graph.shape(var)?)?
            }
        };
        values.insert(var, value);
    }
    Ok(outputs.iter().map(|var| values.get(var).cloned().unwrap_or_default()).collect())
}

fn bound(graph: &Graph, var: Var, value: &[f64]) -> Result<Vec<f64>> {
    let expected = graph.shape(var)?.iter().product();
    match value.len() == expected {
        true => Ok(value.to_vec()),
        false => {
            let tensor = match graph.op(var)?.0 {
                Op::Input(name) | Op::Indices(name) | Op::Parameter(name) => name.clone(),
                op => format!("{op:?}"),
            };
            Err(Error::Length { tensor, unit: "elements", expected, found: value.len() })
        }
    }
}

/// The value of one primitive, given values and shapes of its inputs.
fn apply(op: &Op, inputs: &[(&[f64], &[usize])], shape: &[usize]) -> Result<Vec<f64>> {
    let elements: usize = shape.iter().product();
    let (x, from) = inputs.first().copied().unwrap_or_default();
    let (z, other) = inputs.get(1).copied().unwrap_or_default();
    let mut y = vec![0.0; elements];
    match op {
        Op::Input(name) | Op::Indices(name) | Op::Parameter(name) => {
            return Err(Error::Unknown { what: "value bound to leaf", name: name.clone() });
        }
        Op::Constant(value) => y.fill(value.get()),
        Op::Iota(axis) => {
            let mut only = vec![0; shape.len()];
            only[*axis] = 1;
            walk(shape, &only, 0, |i, coordinate| y[i] = coordinate as f64);
        }
        Op::OneHot => {
            let classes = elements / x.len();
            for (row, &class) in y.chunks_mut(classes).zip(x) {
                match number(class, classes) {
                    Some(class) => row[class] = 1.0,
                    None => row.fill(f64::NAN),
                }
            }
        }

        Op::Reshape | Op::Detach => y.copy_from_slice(x),
        Op::Transpose(axes) => {
            let strides = strides(from);
            let moved: Vec<usize> = axes.iter().map(|&axis| strides[axis]).collect();
            walk(shape, &moved, 0, |i, at| y[i] = x[at]);
        }
        Op::Broadcast => walk(shape, &strides_of_kept(from), 0, |i, at| y[i] = x[at]),
        Op::Sum(_) => walk(from, &strides_of_kept(shape), 0, |i, at| y[at] += x[i]),
        Op::Max(_) => {
            y.fill(f64::NEG_INFINITY);
            walk(from, &strides_of_kept(shape), 0, |i, at| y[at] = Binary::Maximum.apply(y[at], x[i]));
        }
        Op::Pad(before) => {
            let strides = strides(shape);
            walk(from, &strides, place(before, &strides), |i, at| y[at] = x[i]);
        }
        Op::Slice(start) => {
            let strides = strides(from);
            walk(shape, &strides, place(start, &strides), |i, at| y[i] = x[at]);
        }
        Op::Scale(factor) => {
            for (y, x) in y.iter_mut().zip(x) {
                *y = factor.get() * x;
            }
        }
        Op::Linear(map) => {
            for (y, x) in y.chunks_mut(map.rows()).zip(x.chunks(map.columns())) {
                y.copy_from_slice(&map.reference(x)?);
            }
        }
        Op::Unary(function) => {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = function.apply(x);
            }
        }
        Op::Binary(function) => {
            for ((y, &a), &b) in y.iter_mut().zip(x).zip(z) {
                *y = function.apply(a, b);
            }
        }

        Op::Pool(window) => windows(window, from, shape, |_, pooled, place| y[pooled] += x[place]),
        Op::Unpool(window) => windows(window, shape, from, |_, pooled, place| y[place] += x[pooled]),
        Op::MaxPoolIndices(window) => {
            let mut greatest = vec![None; elements];
            windows(window, from, shape, |plane, pooled, place| {
                let value = x[place];
                if greatest[pooled].is_none_or(|greatest: f64| value > greatest || value.is_nan() && !greatest.is_nan()) {
                    greatest[pooled] = Some(value);
                    y[pooled] = (place - plane) as f64;
                }
            });
        }
        Op::PoolSelect(window) => windows(window, from, shape, |plane, pooled, place| {
            if z[pooled] == (place - plane) as f64 {
                y[pooled] = x[place];
            }
        }),
        Op::PoolScatter(window) => windows(window, shape, from, |plane, pooled, place| {
            if z[pooled] == (place - plane) as f64 {
                y[place] += x[pooled];
            }
        }),
        Op::Gather => {
            let width = from[1];
            for (to, &row) in y.chunks_mut(width).zip(z) {
                match number(row, from[0]) {
                    Some(row) => to.copy_from_slice(&x[row * width..][..width]),
                    None => to.fill(f64::NAN),
                }
            }
        }
        Op::ScatterAdd => {
            let width = shape[1];
            for (from, &row) in x.chunks(width).zip(z) {
                for (column, value) in from.iter().enumerate() {
                    if let Some(row) = number(row, shape[0]) {
                        y[row * width + column] += value;
                    }
                }
            }
        }

        Op::Matmul => {
            let [.., m, n] = *shape else { return Ok(y) };
            let k = from[from.len() - 1];
            for (batch, c) in y.chunks_mut(m * n).enumerate() {
                let (a, b) = (&x[batch * m * k..][..m * k], &z[batch * k * n..][..k * n]);
                for i in 0..m {
                    for l in 0..k {
                        for j in 0..n {
                            c[i * n + j] += a[i * k + l] * b[l * n + j];
                        }
                    }
                }
            }
        }
        Op::Convolution(form, stencil) => match form {
            Form::Output => taps(stencil, shape, from, other, |o, i, k| y[o] += x[i] * z[k]),
            Form::Input => taps(stencil, from, shape, other, |o, i, k| y[i] += x[o] * z[k]),
            Form::Weight => taps(stencil, from, other, shape, |o, i, k| y[k] += x[o] * z[i]),
        },
    }
    Ok(y)
}

/// A whole number below a bound.
fn number(value: f64, below: usize) -> Option<usize> {
    (value >= 0.0 && value < below as f64 && value.fract() == 0.0).then_some(value as usize)
}

/// How far apart neighbours along each axis are.
fn strides(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

/// Of a value whose axes of size 1 stand for longer ones.
fn strides_of_kept(shape: &[usize]) -> Vec<usize> {
    strides(shape).into_iter().zip(shape).map(|(stride, &size)| if size == 1 { 0 } else { stride }).collect()
}

fn place(coordinates: &[usize], strides: &[usize]) -> usize {
    coordinates.iter().zip(strides).map(|(&coordinate, &stride)| coordinate * stride).sum()
}

/// Visits the coordinates of `shape` row-major: `visit(i, start + Σ coordinate·stride)` for i = 0, 1, ..
fn walk(shape: &[usize], strides: &[usize], start: usize, mut visit: impl FnMut(usize, usize)) {
    let mut coordinates = vec![0; shape.len()];
    let mut at = start;
    for i in 0..shape.iter().product() {
        visit(i, at);
        for axis in (0..shape.len()).rev() {
            coordinates[axis] += 1;
            at += strides[axis];
            if coordinates[axis] < shape[axis] {
                break;
            }
            at -= shape[axis] * strides[axis];
            coordinates[axis] = 0;
        }
    }
}

/// One to three numbers, by spatial axis, as those of three axes.
fn three(given: &[usize], missing: usize) -> [usize; 3] {
    let mut all = [missing; 3];
    for (to, &from) in all.iter_mut().rev().zip(given.iter().rev()) {
        *to = from;
    }
    all
}

/// The coordinates of o, below `output`, and k, below `kernel`, for which `o·stride + k·dilation - padding`
/// is below `input`: `visit(o, k, that)`, as row-major places, o fastest.
fn positions(
    (input, output, kernel): ([usize; 3], [usize; 3], [usize; 3]),
    (stride, dilation, padding): ([usize; 3], [usize; 3], [usize; 3]),
    mut visit: impl FnMut(usize, usize, usize),
) {
    let along =
        |axis: usize, o: usize, k: usize| (o * stride[axis] + k * dilation[axis]).checked_sub(padding[axis]).filter(|&i| i < input[axis]);
    for k0 in 0..kernel[0] {
        for k1 in 0..kernel[1] {
            for k2 in 0..kernel[2] {
                for o0 in 0..output[0] {
                    let Some(i0) = along(0, o0, k0) else { continue };
                    for o1 in 0..output[1] {
                        let Some(i1) = along(1, o1, k1) else { continue };
                        for o2 in 0..output[2] {
                            let Some(i2) = along(2, o2, k2) else { continue };
                            visit(
                                (o0 * output[1] + o1) * output[2] + o2,
                                (k0 * kernel[1] + k1) * kernel[2] + k2,
                                (i0 * input[1] + i1) * input[2] + i2,
                            );
                        }
                    }
                }
            }
        }
    }
}

/// Visits the elements of each window: `visit(plane, pooled, place)`, `plane` being where the plane begins
/// in the value that is not pooled and `place` an element of it; row-major within a window.
fn windows(window: &Window, input: &[usize], pooled: &[usize], mut visit: impl FnMut(usize, usize, usize)) {
    let sizes = (three(&input[2..], 1), three(&pooled[2..], 1), three(&window.size, 1));
    let moves = (three(&window.stride, 1), [1; 3], three(&window.padding, 0));
    let [plane, pooled_plane] = [sizes.0, sizes.1].map(|size| size.iter().product::<usize>());
    for p in 0..input[0] * input[1] {
        positions(sizes, moves, |o, _, i| visit(p * plane, p * pooled_plane + o, p * plane + i));
    }
}

/// Visits the products of a convolution: `visit(o, i, k)` with places in the output `[batch, out, ..]`, the
/// input `[batch, in, ..]` and the weight `[out, in, ..]`.
fn taps(stencil: &Stencil, output: &[usize], input: &[usize], weight: &[usize], mut visit: impl FnMut(usize, usize, usize)) {
    let sizes = (three(&input[2..], 1), three(&output[2..], 1), three(&weight[2..], 1));
    let moves = (three(&stencil.stride, 1), three(&stencil.dilation, 1), three(&stencil.padding, 0));
    let [input_plane, output_plane, kernel] = [sizes.0, sizes.1, sizes.2].map(|size| size.iter().product::<usize>());
    let (outs, ins) = (weight[0], weight[1]);
    for n in 0..output[0] {
        for co in 0..outs {
            for ci in 0..ins {
                let (to, from, w) = ((n * outs + co) * output_plane, (n * ins + ci) * input_plane, (co * ins + ci) * kernel);
                positions(sizes, moves, |o, k, i| visit(to + o, from + i, w + k));
            }
        }
    }
}
