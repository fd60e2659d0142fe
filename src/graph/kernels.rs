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
            Op::ScatterAdd => Ok(gathering::scatter_add(target, &self.rows_scattered(first), &plain(0), &plain(1))),
            op => Err(unknown(&format!("{op:?}"))),
        }
    }
}

impl Graph {
    /// What a sum by number sums.
    pub(crate) fn rows_scattered(&self, id: Id) -> Rows {
        let node = self.node(id);
        Rows { rows: node.shape[0] as u32, width: node.shape[1] as u32, count: self.dims(node.inputs[0])[0] as u32 }
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

/// A reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reduction {
    pub outputs: usize,
    /// The terms of each result.
    pub length: usize,
    /// Whether neighbouring terms are neighbours in memory, rather than neighbouring results.
    pub rows: bool,
}

/// A reduction cut into parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The invocations that share a part.
    pub lanes: u32,
    pub parts: u32,
    /// The terms of a part, a multiple of four.
    pub part: u32,
}

impl Cut {
    /// Of the terms of each result in one part.
    pub fn whole(target: &Target, r: &Reduction) -> Self {
        Self { lanes: target.lanes_of_reduction(r.outputs, r.length, r.rows) as u32, parts: 1, part: r.length as u32 }
    }
}

/// How to cut a reduction: so that there is work for a device, parts that an invocation can do, and few enough of them to finish.
pub(crate) fn cut(target: &Target, r: &Reduction) -> Cut {
    let lanes = target.lanes_of_reduction(r.outputs, r.length, r.rows);
    // 64 terms an invocation on a software driver, four loads of four on a GPU
    let least = if target.is_software() { 64 } else { 16 * lanes };
    let wanted = match target.reducing() / lanes / r.outputs.max(1) {
        // no less than a quarter of what a GPU has room for does without a second dispatch
        2..4 if !target.is_software() => 1,
        wanted => wanted,
    };
    let parts = wanted.min(r.length.div_ceil(least)).max(r.length.div_ceil(lanes << 15)).max(1);
    let part = r.length.div_ceil(parts).next_multiple_of(4 * lanes);
    Cut { lanes: lanes as u32, parts: r.length.div_ceil(part) as u32, part: part as u32 }
}

/// The reduction that a sum or a maximum is.
pub(crate) fn reduction(graph: &Graph, id: Id) -> Reduction {
    let outputs = graph.dims(id).iter().product::<usize>();
    let node = graph.node(id);
    let shape = graph.dims(node.inputs[0]);
    let rows = match &node.op {
        Op::Sum(axes) | Op::Max(axes) => shape.iter().rposition(|&size| size > 1).is_none_or(|last| axes.contains(&last)),
        _ => true,
    };
    Reduction { outputs, length: shape.iter().product::<usize>() / outputs.max(1), rows }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Checks, Gpu, GpuOptions, Recording, Tensor};
    use crate::graph::testing::gpu;
    use crate::graph::{Plan, Stage};

    /// Sums and maxima of whole numbers, which f32 adds exactly in any order: of rows, of columns and of both, of lengths around a
    /// cell, the invocations of a result, a workgroup and the parts of long ones. A NaN is the maximum wherever it is.
    #[test]
    fn reductions_of_every_shape() {
        let shapes: [&[usize]; 9] = [
            &[1, 1, 1],
            &[5, 7, 3],
            &[2, 27, 63],
            &[3, 128, 4],
            &[4, 1023, 65],
            &[2, 5000, 1],
            &[1, 4, 1025],
            &[1, 70_001, 1],
            &[70_000, 1, 4],
        ];
        let base = gpu(Checks::Unchecked);
        for (checks, target) in [(Checks::Unchecked, Target::software()), (Checks::Checked, Target::discrete())] {
            let options = GpuOptions { checks, target: Some(target), ..Default::default() };
            let gpu = Gpu::with_options(base.device(), base.queue(), options).unwrap();
            for shape in shapes {
                let elements: usize = shape.iter().product();
                let mut values: Vec<f32> = (0..elements).map(|i| ((i * 7919 + i / 13) % 17) as f32 - 11.0).collect();
                for axes in [&[1][..], &[0, 2], &[]] {
                    let mut graph = Graph::new();
                    let x = graph.input("x", shape).unwrap();
                    let sum = graph.sum(x, axes).unwrap();

                    let reduced: Vec<usize> = if axes.is_empty() { vec![0, 1, 2] } else { axes.to_vec() };
                    let max = graph.greatest(x.id, &reduced);
                    let max = graph.var(max);
                    // of each element the index of its result
                    let results: Vec<usize> = (0..elements)
                        .map(|i| {
                            let places = [i / shape[2] / shape[1], i / shape[2] % shape[1], i % shape[2]];
                            let kept = (0..3).filter(|axis| !axes.is_empty() && !axes.contains(axis));
                            kept.fold(0, |flat, axis| flat * shape[axis] + places[axis])
                        })
                        .collect();
                    for nan in [None, Some(elements / 2)] {
                        let before = nan.map(|i| std::mem::replace(&mut values[i], f32::NAN));
                        let count = 1 + results[elements - 1];
                        let (mut sums, mut maxima) = (vec![0.0; count], vec![f64::NEG_INFINITY; count]);
                        for (&value, &result) in values.iter().zip(&results) {
                            let value = f64::from(value);
                            sums[result] += value;
                            maxima[result] = if value.is_nan() || maxima[result].is_nan() { f64::NAN } else { value.max(maxima[result]) };
                        }
                        let leaf = Tensor::from_slice(&gpu, shape, &values).unwrap();
                        let program = Plan::new(&gpu, &graph, &[Stage::new(&[sum, max])]).unwrap().compile(&gpu, &[(x, &leaf)]).unwrap();
                        let mut recording = Recording::new();
                        program.record(&mut recording, 0, &[]).unwrap();
                        let found = [(); 2].map(|()| {
                            gpu.submit([&recording]);
                            [sum, max].map(|var| pollster::block_on(program.tensor(var).unwrap().read::<f32>(&gpu)).unwrap())
                        });
                        let bits = |found: &[Vec<f32>; 2]| found.iter().flatten().map(|value| value.to_bits()).collect::<Vec<u32>>();
                        assert_eq!(bits(&found[0]), bits(&found[1]), "the same bits on every run");
                        let found = &found[0];
                        for (found, expected) in found.iter().zip([sums, maxima]) {
                            let same =
                                |(&found, &expected): (&f32, &f64)| f64::from(found) == expected || (found.is_nan() && expected.is_nan());
                            let what = format!("{:?} {shape:?} {axes:?} {nan:?}", gpu.target().processor);
                            assert_eq!(found.len(), expected.len(), "{what}");
                            let wrong = found.iter().zip(&expected).position(|pair| !same(pair));
                            assert!(wrong.is_none(), "{what}: result {wrong:?}: {found:?}");
                        }
                        if let (Some(i), Some(before)) = (nan, before) {
                            values[i] = before;
                        }
                    }
                }
            }
        }
    }

    /// The workgroups and the terms of an invocation on a GPU: every row and column is shared as far as it is worth it.
    #[test]
    fn reductions_fill_a_gpu() {
        let target = Target::discrete();
        let of = |outputs, length, rows| {
            let r = Reduction { outputs, length, rows };
            let cut = cut(&target, &r);
            let (lanes, parts) = (cut.lanes as usize, cut.parts as usize);
            assert!(parts * cut.part as usize >= length && (parts - 1) * (cut.part as usize) < length, "{r:?}: {cut:?}");
            let finish = Cut::whole(&target, &Reduction { outputs, length: parts, rows: false });
            (outputs.div_ceil(256 / lanes) * parts, (cut.part as usize).div_ceil(lanes), parts.div_ceil(finish.lanes as usize))
        };
        // one sum of 1 Mi terms, and of 1 Gi; rows; columns, of a bias say
        assert_eq!(of(1, 1 << 20, true), (256, 16, 4));
        assert_eq!(of(1, 1 << 30, true), (1024, 4096, 4));
        assert_eq!(of(4096, 768, true), (512, 24, 1));
        assert_eq!(of(3, 10_000_000, true).0, 3 * 337);
        assert_eq!(of(64, 65_536, false), (1024, 16, 16));
        assert_eq!(of(1 << 20, 27, true).1, 4);
    }
}
