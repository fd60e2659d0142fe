//! Which template computes a primitive, and how reductions are cut.

use super::build::{Graph, Id};
use super::convolution::{self, Geometry};
use super::gathering::{self, Rows};
use super::matmul::{self, Matmul};
use super::op::{Form, Op, Window};
use super::pooling::{self, Planes};
use super::template::{Operand, Template};
use super::view::View;
use crate::gpu::Target;
use crate::{Error, Result};

/// Where the operands of a kernel are, a view and whether its binding may hold vectors.
pub(crate) struct Place {
    /// Where element 0 of the base is in the binding, in elements.
    pub offset: u64,
    pub vec4: bool,
    /// See [`Operand::halves`].
    pub halves: bool,
}

impl Graph {
    /// The template of the product, or of the sum of two products, that `terms` are. `halves`: the result is stored as 16-bit
    /// floats, and so are operands whose windows are summed.
    pub(crate) fn template(&self, target: &Target, terms: &[Id], views: &[View], places: &[Place], halves: bool) -> Result<Template> {
        let Some(&first) = terms.first() else { return Err(unknown("nothing")) };
        let node = self.node(first);
        let operand = |i: usize, strides: Vec<u32>| {
            let offset = places[i].offset + views[i].offset as u64;
            Operand { offset: offset as u32, strides, vec4: places[i].vec4, halves: places[i].halves }
        };
        let plain = |i: usize| operand(i, Vec::new());
        let dims = |i: usize| self.dims(node.inputs[i]);
        match &node.op {
            Op::Matmul => {
                let rank = node.shape.len();
                let (sizes, strides) = batch(&node.shape[..rank - 2], views).ok_or_else(|| unknown("a batch"))?;
                let matrix = |i: usize| {
                    let own = &views[i].strides[rank - 2..];
                    let all = strides[i].iter().chain(own).map(|&stride| stride as u32);
                    operand(i, all.collect())
                };
                let operands: Vec<[Operand; 2]> = (0..terms.len()).map(|t| [matrix(2 * t), matrix(2 * t + 1)]).collect();
                let size = Matmul {
                    batch: sizes.map(|size| size as u32),
                    m: node.shape[rank - 2] as u32,
                    n: node.shape[rank - 1] as u32,
                    k: dims(0)[rank - 1] as u32,
                };
                Ok(matmul::matmul(&size, &operands))
            }
            Op::Convolution(form, stencil) => {
                let (x, w, y) = match form {
                    Form::Output => (dims(0), dims(1), node.shape.as_slice()),
                    Form::Input => (node.shape.as_slice(), dims(1), dims(0)),
                    Form::Weight => (dims(1), node.shape.as_slice(), dims(0)),
                };
                let geometry = Geometry {
                    batch: x[0] as u32,
                    in_channels: x[1] as u32,
                    out_channels: y[1] as u32,
                    input: small(&x[2..]),
                    output: small(&y[2..]),
                    kernel: small(&w[2..]),
                    stride: small(&stencil.stride),
                    dilation: small(&stencil.dilation),
                    padding: small(&stencil.padding),
                };
                let operands: Vec<[Operand; 2]> = (0..terms.len()).map(|t| [plain(2 * t), plain(2 * t + 1)]).collect();
                Ok(convolution::convolution(*form, &geometry, &operands, halves))
            }
            Op::Pool(window) => Ok(pooling::pool(target, &planes(window, dims(0), &node.shape), &plain(0))),
            Op::Unpool(window) => Ok(pooling::unpool(&planes(window, &node.shape, dims(0)), &plain(0))),
            Op::MaxPoolIndices(window) => Ok(pooling::max_pool_indices(target, &planes(window, dims(0), &node.shape), &plain(0))),
            Op::PoolSelect(window) => Ok(pooling::pool_select(&planes(window, dims(0), &node.shape), &plain(0), &plain(1))),
            Op::PoolScatter(window) => Ok(pooling::pool_scatter(&planes(window, &node.shape, dims(0)), &plain(0), &plain(1))),
            Op::Gather => {
                let rows = Rows { rows: dims(0)[0] as u32, width: dims(0)[1] as u32, count: node.shape[0] as u32 };
                Ok(gathering::gather(&rows, &plain(0), &plain(1)))
            }
            Op::ScatterAdd => {
                let rows = Rows { rows: node.shape[0] as u32, width: node.shape[1] as u32, count: dims(0)[0] as u32 };
                Ok(gathering::scatter_add(target, &rows, &plain(0), &plain(1)))
            }
            op => Err(unknown(&format!("{op:?}"))),
        }
    }
}

fn unknown(what: &str) -> Error {
    Error::Pipeline { kernel: "gradus.graph".into(), reason: format!("{what} has no kernel") }
}

fn small(sizes: &[usize]) -> Vec<u32> {
    sizes.iter().map(|&size| size as u32).collect()
}

fn planes(window: &Window, input: &[usize], output: &[usize]) -> Planes {
    Planes { planes: (input[0] * input[1]) as u32, input: small(&input[2..]), output: small(&output[2..]), window: window.clone() }
}

/// The batch of products as two axes, with the strides of each operand; `None` if it takes more.
pub(crate) fn batch(shape: &[usize], views: &[View]) -> Option<([usize; 2], Vec<[usize; 2]>)> {
    // (size, the stride of each operand), from the last axis to the first
    let mut axes: Vec<(usize, Vec<usize>)> = Vec::new();
    for (i, &size) in shape.iter().enumerate().rev().filter(|(_, size)| **size > 1) {
        let strides: Vec<usize> = views.iter().map(|view| view.strides[i]).collect();
        match axes.last_mut() {
            Some((inner, known)) if strides.iter().zip(known.iter()).all(|(&stride, &below)| stride == below * *inner) => *inner *= size,
            _ => axes.push((size, strides)),
        }
    }
    if axes.len() > 2 {
        return None;
    }
    axes.resize(2, (1, vec![0; views.len()]));
    let [inner, outer] = [&axes[0], &axes[1]];
    Some(([outer.0, inner.0], (0..views.len()).map(|i| [outer.1[i], inner.1[i]]).collect()))
}

/// A reduction cut into parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub parts: u32,
    /// The terms of a part, a multiple of four.
    pub part: u32,
}

/// How to cut the `length` terms of each of `outputs` results: so that there is work for a device, parts that an
/// invocation can do, and few enough of them for an invocation to finish.
pub(crate) fn cut(target: &Target, outputs: usize, length: usize) -> Cut {
    let wanted = target.reducing() / outputs.max(1);
    let parts = wanted.min(length.div_ceil(64)).max(length.div_ceil(1 << 15)).max(1);
    let part = length.div_ceil(parts).next_multiple_of(4);
    Cut { parts: length.div_ceil(part) as u32, part: part as u32 }
}

/// The number of results and the terms of each of a reduction.
pub(crate) fn reduction(graph: &Graph, id: Id) -> (usize, usize) {
    let outputs = graph.dims(id).iter().product::<usize>();
    let all = graph.dims(graph.node(id).inputs[0]).iter().product::<usize>();
    (outputs, all / outputs.max(1))
}
