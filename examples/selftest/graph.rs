//! The kernels of graphs: each primitive at sizes that take its branches, forward and through its adjoints,
//! against the f64 interpreter. The error is that of the norm, relative.

use std::collections::HashMap;
use std::time::Duration;

use gradus::gpu::GpuOptions;
use gradus::graph::{ConvolutionOptions, Graph, Op, Padding, Plan, Stage, Var, Window};
use gradus::reference::graph::evaluate;
use gradus::{Gpu, Result, Tensor};

use super::values::{noise, of_norm, wide, worse};
use super::{Entry, Report};

/// Roundings of sums of a few hundred terms, and the functions of a device, which are not exact.
const BOUND: f64 = 1e-5;

/// Kernels that are for software drivers alone.
pub const SOFTWARE: [&str; 3] = ["graph/matmul", "graph/convolution", "graph/convolution_rows"];

/// The candidates of `graph/product`, the kernel of products and convolutions on GPUs.
const TILES: [&str; 4] = ["128x8x8", "32x32x16", "64x64x16", "128x64x8"];

type Build = fn(&mut Graph, &[usize]) -> Result<Var>;

pub fn run(report: &mut Report) {
    let table: [(&str, Build, &[&[usize]]); 14] = [
        ("graph/pointwise", pointwise, &[&[1], &[3, 5], &[64, 128], &[7, 1031]]),
        ("graph/pointwise views", views, &[&[2, 3, 4], &[4, 8, 12], &[3, 17, 5]]),
        ("graph/reduce rows", |g, s| reduce(g, s, &[1]), &[&[1, 1], &[5, 7], &[64, 256], &[3, 70_000]]),
        ("graph/reduce columns", |g, s| reduce(g, s, &[0]), &[&[7, 5], &[300, 64], &[70_000, 3]]),
        ("graph/reduce all", |g, s| reduce(g, s, &[]), &[&[1], &[999], &[1 << 18]]),
        ("graph/softmax", softmax, &[&[1, 2], &[33, 10], &[16, 128]]),
        ("graph/matmul", matmul, &[&[1, 1, 1], &[3, 5, 7], &[64, 64, 64], &[128, 96, 80], &[257, 33, 65]]),
        ("graph/matmul batched", batched, &[&[2, 3, 4, 5], &[6, 16, 8, 16], &[5, 7, 9, 3]]),
        (
            "graph/convolution",
            convolution,
            &[&[1, 1, 1, 5], &[2, 3, 4, 9], &[2, 3, 5, 8, 9], &[1, 16, 16, 16, 16], &[2, 4, 3, 6, 5, 7], &[2, 3, 17, 31, 39]],
        ),
        ("graph/convolution strided", strided, &[&[1, 2, 3, 11], &[2, 3, 5, 9, 10], &[1, 2, 2, 7, 6, 8]]),
        ("graph/pool", |g, s| pool(g, s, false), &[&[2, 3, 9], &[2, 3, 8, 8], &[1, 2, 5, 6, 7]]),
        ("graph/max_pool", |g, s| pool(g, s, true), &[&[2, 3, 9], &[2, 3, 8, 8], &[1, 2, 5, 6, 7]]),
        ("graph/unpool", upsample, &[&[2, 3, 5], &[2, 3, 4, 4], &[1, 2, 3, 2, 5]]),
        ("graph/gather", gather, &[&[1, 1, 1], &[10, 6, 33], &[100, 16, 7]]),
    ];
    report.case("graph/pointwise NaN", not_numbers);
    for (kernel, build, sizes) in table {
        report.case(kernel, |gpu| sizes.iter().map(|size| one(gpu, build, size)).collect());
    }
    for tile in TILES {
        let mut run = Vec::new();
        report.case_of_gpu(&format!("graph/product {tile}"), |gpu| {
            let build: [(Build, &[usize]); 2] = [(matmul, &[70, 520, 36]), (convolution, &[2, 3, 17, 31, 39])];
            build.into_iter().map(|(build, size)| product(gpu, tile, build, size, &mut run)).collect()
        });
        report.others.extend(run);
    }
    // its adjoint sorts the indices on a GPU
    let sizes: [&[usize]; 3] = [&[1, 1, 1], &[300, 6, 33], &[7, 16, 2000]];
    report.case_of_gpu("graph/sort", |gpu| sizes.iter().map(|size| one(gpu, gather, size)).collect());
}

/// With one tile for all, on a device whose kernels are for GPUs.
fn product(base: &Gpu, tile: &str, build: Build, size: &[usize], run: &mut Vec<&'static str>) -> Result<Entry> {
    let (graph, outputs) = with_gradients(build, size)?;
    let plan = Plan::new(base, &graph, &[Stage::new(&outputs)])?;
    // no time to measure: each choice is what it would be without
    let chosen = pollster::block_on(plan.tune(base, Duration::ZERO))?.to_string();
    let lines = chosen.lines().map(|line| line.split_once(" = ").map_or(line.into(), |(key, _)| format!("{key} = {tile}")));
    let target = Some(base.target().clone().with_tuning(lines.collect::<Vec<_>>().join("\n").parse()?));
    let gpu = Gpu::with_options(base.device(), base.queue(), GpuOptions { checks: base.checks(), target, ..Default::default() })?;
    let entry = one(&gpu, build, size)?;
    run.extend(gpu.kernels());
    Ok(entry)
}

/// A graph's value, and its gradient by each of its inputs.
fn with_gradients(build: Build, size: &[usize]) -> Result<(Graph, Vec<Var>)> {
    let mut graph = Graph::new();
    let y = build(&mut graph, size)?;
    let leaves: Vec<Var> = graph.vars().filter(|&var| matches!(graph.op(var), Ok((Op::Input(_), _)))).collect();
    // not a constant, which would hide what is in the wrong place
    let shape = graph.shape(y)?.to_vec();
    let weight = graph.input("weight", &shape)?;
    let weighted = graph.mul(y, weight)?;
    let square = graph.mul(y, weighted)?;
    let loss = graph.sum(square, &[])?;
    let mut outputs = vec![y];
    outputs.extend(graph.gradient(loss, &leaves)?);
    Ok((graph, outputs))
}

fn one(gpu: &Gpu, build: Build, size: &[usize]) -> Result<Entry> {
    let (graph, outputs) = with_gradients(build, size)?;

    let mut values = HashMap::new();
    let mut tensors = Vec::new();
    for (i, var) in graph.vars().enumerate() {
        let shape = graph.shape(var)?;
        let numbers = noise(i as u64, shape.iter().product());
        let tensor = match graph.op(var)?.0 {
            Op::Input(_) => Tensor::from_slice(gpu, shape, &numbers)?,
            Op::Indices(_) => {
                let rows: Vec<u32> = numbers.iter().map(|u| ((u + 1.0) * 0.5 * size[0] as f32) as u32).collect();
                values.insert(var, rows.iter().map(|&row| f64::from(row)).collect());
                tensors.push((var, Tensor::from_slice(gpu, shape, &rows)?));
                continue;
            }
            _ => continue,
        };
        values.insert(var, numbers.iter().map(|&v| f64::from(v)).collect());
        tensors.push((var, tensor));
    }
    let bindings: Vec<(Var, &Tensor)> = tensors.iter().map(|(var, tensor)| (*var, tensor)).collect();
    let program = Plan::new(gpu, &graph, &[Stage::new(&outputs)])?.compile(gpu, &bindings)?;
    gpu.submit([&program.recording(0)?]);
    let mut error = 0.0;
    for (expected, &output) in evaluate(&graph, &values, &outputs)?.iter().zip(&outputs) {
        let found = pollster::block_on(program.tensor(output)?.read::<f32>(gpu))?;
        error = worse(error, of_norm(&found, expected));
    }
    Ok(Entry::new(size, "F32", error, BOUND))
}

/// Of all pairs of special values, and of all but one for no whole number of cells.
fn not_numbers(gpu: &Gpu) -> Result<Vec<Entry>> {
    let special = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, 2.0];
    let pairs: Vec<(f32, f32)> = special.iter().flat_map(|&x| special.map(|y| (x, y))).collect();
    let entry = |n: usize| {
        let (x, y): (Vec<f32>, Vec<f32>) = pairs[..n].iter().copied().unzip();
        let mut graph = Graph::new();
        let (a, b) = (graph.input("a", &[n])?, graph.input("b", &[n])?);
        let outputs = [graph.relu(a)?, graph.maximum(a, b)?];
        let tensors = [Tensor::from_slice(gpu, &[n], &x)?, Tensor::from_slice(gpu, &[n], &y)?];
        let program = Plan::new(gpu, &graph, &[Stage::new(&outputs)])?.compile(gpu, &[(a, &tensors[0]), (b, &tensors[1])])?;
        gpu.submit([&program.recording(0)?]);
        let mut wrong = 0.0;
        for (expected, &output) in evaluate(&graph, &HashMap::from([(a, wide(&x)), (b, wide(&y))]), &outputs)?.iter().zip(&outputs) {
            let found = pollster::block_on(program.tensor(output)?.read::<f32>(gpu))?;
            // zeros of either sign
            let same = |(found, expected): (&f32, &f64)| f64::from(*found) == *expected || (found.is_nan() && expected.is_nan());
            wrong += found.iter().zip(expected).filter(|&pair| !same(pair)).count() as f64;
        }
        Ok(Entry::new(&[n], "F32", wrong, 0.0))
    };
    [pairs.len(), pairs.len() - 1].into_iter().map(entry).collect()
}

fn pointwise(g: &mut Graph, size: &[usize]) -> Result<Var> {
    let (x, y) = (g.input("x", size)?, g.input("y", size)?);
    let [a, b, c, d] = [g.tanh(x)?, g.sigmoid(y)?, g.softplus(x)?, g.sin(y)?];
    let e = g.exp(x)?;
    let f = g.add(c, e)?;
    let (f, h) = (g.log(f)?, g.sqrt(c)?);
    let (i, j) = (g.div(d, c)?, g.relu(y)?);
    let (k, l) = (g.maximum(x, y)?, g.abs(x)?);
    let mut sum = g.mul(a, b)?;
    for term in [f, h, i, j, k, l] {
        sum = g.add(sum, term)?;
    }
    Ok(sum)
}

fn views(g: &mut Graph, size: &[usize]) -> Result<Var> {
    let x = g.input("x", size)?;
    let row = g.input("row", &size[2..])?;
    let x = g.add(x, row)?;
    let t = g.transpose(x, &[2, 0, 1])?;
    let p = g.pad(t, &[(1, 2), (0, 1), (3, 0)])?;
    let s = g.slice(p, &[0..size[2] + 2, 0..size[0] + 1, 1..size[1] + 2])?;
    let u = g.sin(s)?;
    g.reshape(u, &[(size[0] + 1) * (size[2] + 2), size[1] + 1])
}

fn reduce(g: &mut Graph, size: &[usize], axes: &[usize]) -> Result<Var> {
    let x = g.input("x", size)?;
    let shifted = g.add_scalar(x, 2.0)?;
    let sum = g.mean(shifted, axes)?;
    g.log(sum)
}

fn softmax(g: &mut Graph, size: &[usize]) -> Result<Var> {
    let x = g.input("x", size)?;
    let x = g.scale(x, 5.0)?;
    g.softmax(x, 1)
}

fn matmul(g: &mut Graph, size: &[usize]) -> Result<Var> {
    let (a, b) = (g.input("a", &size[..2])?, g.input("b", &size[1..])?);
    let bias = g.input("bias", &size[2..])?;
    let c = g.matmul(a, b)?;
    let c = g.add(c, bias)?;
    // the same product with both operands transposed, and a sum of two products
    let (at, bt) = (g.input("at", &[size[1], size[0]])?, g.input("bt", &[size[2], size[1]])?);
    let (at, bt) = (g.transpose(at, &[1, 0])?, g.transpose(bt, &[1, 0])?);
    let (d, e) = (g.matmul(at, b)?, g.matmul(a, bt)?);
    let sum = g.add(d, e)?;
    let c = g.tanh(c)?;
    g.add(c, sum)
}

fn batched(g: &mut Graph, size: &[usize]) -> Result<Var> {
    let (n, m, k, l) = (size[0], size[1], size[2], size[3]);
    let (a, b) = (g.input("a", &[2, n, m, k])?, g.input("b", &[n, k, l])?);
    g.matmul(a, b)
}

/// `[batch, in, out, spatial..]`
fn convolution(g: &mut Graph, size: &[usize]) -> Result<Var> {
    let options = ConvolutionOptions { padding: Padding::Same, ..Default::default() };
    layer(g, size, 3, &options)
}

fn strided(g: &mut Graph, size: &[usize]) -> Result<Var> {
    let axes = size.len() - 3;
    let options = ConvolutionOptions { stride: vec![2; axes], dilation: vec![2; axes], padding: Padding::Explicit(vec![(1, 2); axes]) };
    layer(g, size, 2, &options)
}

fn layer(g: &mut Graph, size: &[usize], taps: usize, options: &ConvolutionOptions) -> Result<Var> {
    let (batch, channels, out, spatial) = (size[0], size[1], size[2], &size[3..]);
    let x = g.input("x", &[&[batch, channels], spatial].concat())?;
    let w = g.input("w", &[&[out, channels][..], &vec![taps; spatial.len()]].concat())?;
    let y = g.convolution(x, w, options)?;
    g.tanh(y)
}

fn pool(g: &mut Graph, size: &[usize], max: bool) -> Result<Var> {
    let axes = size.len() - 2;
    let x = g.input("x", size)?;
    let overlapping = Window { size: vec![3; axes], stride: vec![2; axes], padding: vec![1; axes] };
    match max {
        true => g.max_pool(x, &overlapping),
        false => g.avg_pool(x, &overlapping),
    }
}

fn upsample(g: &mut Graph, size: &[usize]) -> Result<Var> {
    let x = g.input("x", size)?;
    let y = g.upsample_nearest(x, 2)?;
    g.sin(y)
}

/// `[rows, width, count]`
fn gather(g: &mut Graph, size: &[usize]) -> Result<Var> {
    let table = g.input("table", &size[..2])?;
    let indices = g.indices("indices", &size[2..])?;
    g.gather(table, indices)
}
