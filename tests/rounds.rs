//! Loops of more rounds than a software driver executes: 65,535 for an invocation, all its loops together, after which it ends
//! them without a word.

#![cfg(all(feature = "graph", feature = "krylov", feature = "optim"))]

mod common;

use gradus::gpu::{Checks, GpuOptions, Shape};
use gradus::graph::{ConvolutionOptions, Graph, Op, Plan, Stage, Var, Window, layers};
use gradus::krylov::{Diagonal, LinearOperator};
use gradus::optim::{AdamP, AdamW, Optimizer, Options, Param};
use gradus::{DType, Gpu, Recording, Tensor, vector};

const MOST: u64 = 65_535;

/// One device, seen in two ways: kernels of so many loops take long to compile.
fn gpus() -> Vec<Gpu> {
    let base = common::gpu(Checks::Unchecked);
    let with = |checks, shape| Gpu::with_options(base.device(), base.queue(), GpuOptions { checks, shape, ..Default::default() }).unwrap();
    vec![with(Checks::Unchecked, Shape::Cpu), with(Checks::Checked, Shape::Gpu)]
}

/// The outputs, with leaves that hold one number each.
fn evaluate(gpu: &Gpu, graph: &Graph, leaves: &[(Var, f32)], outputs: &[Var]) -> Vec<Vec<f32>> {
    let tensors: Vec<(Var, Tensor)> = leaves
        .iter()
        .map(|&(var, value)| {
            let shape = graph.shape(var).unwrap();
            let n = shape.iter().product();
            (var, Tensor::from_slice(gpu, shape, &vec![value; n]).unwrap())
        })
        .collect();
    let bound: Vec<(Var, &Tensor)> = tensors.iter().map(|(var, tensor)| (*var, tensor)).collect();
    let program = Plan::new(gpu, graph, &[Stage::new(outputs)]).unwrap().compile(gpu, &bound).unwrap();
    let mut recording = Recording::new();
    program.record(&mut recording, 0, &[]).unwrap();
    expect_rounds(&recording);
    gpu.submit([&recording]);
    outputs.iter().map(|&var| pollster::block_on(program.tensor(var).unwrap().read::<f32>(gpu)).unwrap()).collect()
}

fn expect_rounds(recording: &Recording) {
    for dispatch in recording.dispatches() {
        assert!(dispatch.rounds <= MOST && dispatch.workgroups.iter().all(|&groups| groups <= 65_535), "{dispatch:?}");
    }
}

/// Ones times ones: the depth.
#[test]
fn products_of_any_depth() {
    for (i, gpu) in gpus().iter().enumerate() {
        for k in [262_144, 400_000].into_iter().skip(i % 2) {
            let mut graph = Graph::new();
            let (a, b) = (graph.input("a", &[2, k]).unwrap(), graph.input("b", &[k, 3]).unwrap());
            let y = graph.matmul(a, b).unwrap();
            let half = k / 2;
            let (c, d) = (graph.input("c", &[2, half]).unwrap(), graph.input("d", &[half, 3]).unwrap());
            let (e, f) = (graph.input("e", &[2, half]).unwrap(), graph.input("f", &[half, 3]).unwrap());
            let (first, second) = (graph.matmul(c, d).unwrap(), graph.matmul(e, f).unwrap());
            let sum = graph.add(first, second).unwrap();
            let leaves = [a, b, c, d, e, f].map(|var| (var, 1.0));
            let found = evaluate(gpu, &graph, &leaves, &[y, sum]);
            assert_eq!(found, [vec![k as f32; 6], vec![(2 * half) as f32; 6]], "{k}");
        }
    }
}

/// All elements of the output, 3 + 1, and the gradients of their sum, the number of samples.
#[test]
fn dense_layers_of_many_samples() {
    const SAMPLES: usize = 400_000;
    for gpu in gpus() {
        let mut graph = Graph::new();
        let x = graph.input("x", &[SAMPLES, 3]).unwrap();
        let y = layers::dense(&mut graph, "layer", x, 2).unwrap();
        let loss = graph.sum(y, &[]).unwrap();
        let parameters: Vec<Var> = graph.parameters().map(|(_, var)| var).collect();
        let gradients = graph.gradient(loss, &parameters).unwrap();
        let leaves: Vec<(Var, f32)> = parameters.iter().chain([&x]).map(|&var| (var, 1.0)).collect();
        let found = evaluate(&gpu, &graph, &leaves, &[&[y], &gradients[..]].concat());
        assert!(found[0].len() == 2 * SAMPLES && found[0].iter().all(|&y| y == 4.0));
        for gradient in &found[1..] {
            assert!(gradient.iter().all(|&g| g == SAMPLES as f32), "{gradient:?}");
        }
    }
}

/// A device that computes nothing, with WebGPU's default limits: a binding is of 128 MiB.
fn without_memory(shape: Shape) -> Gpu {
    let limits = wgpu::Limits { max_buffer_size: 1 << 30, ..wgpu::Limits::defaults() };
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() });
    Gpu::with_options(&device, &queue, GpuOptions { shape, ..Default::default() }).unwrap()
}

/// Frees what was dropped: uploads that are under way keep it.
fn free(gpu: &Gpu) {
    gpu.queue().submit([]);
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
}

/// What the plan of a graph records.
fn planned(gpu: &Gpu, graph: &Graph, outputs: &[Var]) -> Recording {
    let plan = Plan::new(gpu, graph, &[Stage::new(outputs)]).unwrap();
    let tensors: Vec<(Var, Tensor)> = graph
        .vars()
        .filter(|&var| graph.op(var).unwrap().1.is_empty())
        .filter_map(|var| {
            let dtype = match graph.op(var).unwrap().0 {
                Op::Indices(_) => DType::U32,
                Op::Input(_) => DType::F32,
                _ => return None,
            };
            Some((var, Tensor::zeros(gpu, graph.shape(var).unwrap(), dtype).unwrap()))
        })
        .collect();
    let bound: Vec<(Var, &Tensor)> = tensors.iter().map(|(var, tensor)| (*var, tensor)).collect();
    let program = plan.compile(gpu, &bound).unwrap();
    let mut recording = Recording::new();
    program.record(&mut recording, 0, &[]).unwrap();
    free(gpu);
    recording
}

/// The elements of the largest tensor that a binding holds.
const LARGE: usize = 1 << 25;

/// The largest tensors in the shapes that make for the most rounds.
#[test]
fn kernels_of_graphs_over_the_largest_tensors() {
    for gpu in [without_memory(Shape::Cpu), without_memory(Shape::Gpu)] {
        for k in [1, 1 << 12, 1 << 22, LARGE] {
            for (m, n) in [(1, 1), (LARGE / k, 1), (1, LARGE / k), ((LARGE / k).min(1 << 12), (LARGE / k).min(1 << 12))] {
                let mut graph = Graph::new();
                let (a, b) = (graph.input("a", &[m, k]).unwrap(), graph.input("b", &[k, n]).unwrap());
                let y = graph.matmul(a, b).unwrap();
                expect_rounds(&planned(&gpu, &graph, &[y]));
            }
            // in batches, and reductions of either axis
            let mut graph = Graph::new();
            let (a, b) = (graph.input("a", &[LARGE / k, 1, k]).unwrap(), graph.input("b", &[LARGE / k, k, 1]).unwrap());
            let y = graph.matmul(a, b).unwrap();
            let x = graph.reshape(a, &[LARGE / k, k]).unwrap();
            let (rows, columns, all) = (graph.sum(x, &[0]).unwrap(), graph.sum(x, &[1]).unwrap(), graph.sum(x, &[]).unwrap());
            let doubled = graph.scale(x, 2.0).unwrap();
            expect_rounds(&planned(&gpu, &graph, &[y, rows, columns, all, doubled]));
        }
        // rows of a table, and their gradient
        for (rows, width, count) in [(LARGE / 64, 64, 1 << 12), (64, 64, LARGE / 64), (1, 1, LARGE), (20_000, 512, 1 << 15)] {
            let mut graph = Graph::new();
            let (table, indices) = (graph.input("table", &[rows, width]).unwrap(), graph.indices("indices", &[count]).unwrap());
            let y = graph.gather(table, indices).unwrap();
            let loss = graph.mul(y, y).unwrap();
            let loss = graph.sum(loss, &[]).unwrap();
            let gradients = graph.gradient(loss, &[table]).unwrap();
            expect_rounds(&planned(&gpu, &graph, &[&[y], &gradients[..]].concat()));
        }
        // windows and convolutions, and their gradients
        for (channels, side, size, stride) in [(1, 1 << 12, 2, 2), (1, 1 << 12, 1 << 12, 1), (1 << 11, 128, 128, 1), (1, 1 << 12, 9, 1)] {
            let mut graph = Graph::new();
            let x = graph.input("x", &[1, channels, side, side]).unwrap();
            let window = Window { size: vec![size; 2], stride: vec![stride; 2], padding: vec![0; 2] };
            let (mean, greatest) = (graph.avg_pool(x, &window).unwrap(), graph.max_pool(x, &window).unwrap());
            let loss = graph.add(mean, greatest).unwrap();
            let loss = graph.mul(loss, loss).unwrap();
            let loss = graph.sum(loss, &[]).unwrap();
            let gradients = graph.gradient(loss, &[x]).unwrap();
            expect_rounds(&planned(&gpu, &graph, &[&[mean, greatest], &gradients[..]].concat()));
        }
        for (batch, channels, side, kernel) in [(1, 1, 1 << 12, 3), (1, 1 << 10, 128, 3), (1 << 10, 1, 128, 5), (1, 8, 1 << 11, 3)] {
            let mut graph = Graph::new();
            let x = graph.input("x", &[batch, channels, side, side]).unwrap();
            let w = graph.input("w", &[2, channels, kernel, kernel]).unwrap();
            let y = graph.convolution(x, w, &ConvolutionOptions::default()).unwrap();
            let loss = graph.mul(y, y).unwrap();
            let loss = graph.sum(loss, &[]).unwrap();
            let gradients = graph.gradient(loss, &[x, w]).unwrap();
            expect_rounds(&planned(&gpu, &graph, &[&[y], &gradients[..]].concat()));
        }
    }
}

#[test]
fn kernels_of_vectors_over_the_largest_tensors() {
    for gpu in [without_memory(Shape::Cpu), without_memory(Shape::Gpu)] {
        let tensor = |shape: &[usize]| Tensor::zeros(&gpu, shape, DType::F32).unwrap();
        let (x, y, out) = (tensor(&[LARGE]), tensor(&[LARGE]), tensor(&[1]));
        let mut recording = Recording::new();
        vector::dot(&gpu, &mut recording, &x, &y, &out).unwrap();
        vector::norm(&gpu, &mut recording, &x, &out).unwrap();
        vector::max_magnitude(&gpu, &mut recording, &x, &out).unwrap();
        vector::fill(&gpu, &mut recording, 1.0, &x).unwrap();
        vector::axpy(&gpu, &mut recording, 1.0, &x, &y).unwrap();
        vector::random_normal(&gpu, &mut recording, 1, 0, &x).unwrap();
        let half = Tensor::zeros(&gpu, &[LARGE], DType::F16).unwrap();
        vector::cast(&gpu, &mut recording, &x, &half).unwrap();
        expect_rounds(&recording);
        recording = Recording::new();
        free(&gpu);
        for rows in [1 << 10, 1 << 14] {
            let columns = LARGE / rows;
            let (a, of_rows, of_columns) = (tensor(&[rows, columns]), tensor(&[rows]), tensor(&[columns]));
            vector::gemv(&gpu, &mut recording, 1.0, &a, &of_columns, 0.0, &of_rows).unwrap();
            vector::gemv_transposed(&gpu, &mut recording, 1.0, &a, &of_rows, 0.0, &of_columns).unwrap();
            expect_rounds(&recording);
            recording = Recording::new();
            free(&gpu);
        }
    }
}

#[test]
fn steps_over_the_largest_tensors() {
    for gpu in [without_memory(Shape::Cpu), without_memory(Shape::Gpu)] {
        for shape in [&[LARGE][..], &[64, LARGE / 64], &[1 << 16, 1 << 9], &[1, LARGE]] {
            let (p, g) = (Tensor::zeros(&gpu, shape, DType::F32).unwrap(), Tensor::zeros(&gpu, shape, DType::F32).unwrap());
            let options = Options { max_norm: Some(1.0), ..Options::default() };
            let adamw = Optimizer::with_options(&gpu, &AdamW::default(), &[Param::new("p", &p, &g)], options).unwrap();
            expect_rounds(adamw.recording());
            let adamp = Optimizer::new(&gpu, &AdamP::default(), &[Param::new("p", &p, &g)]).unwrap();
            expect_rounds(adamp.recording());
            free(&gpu);
        }
    }
}

/// Solvers and operators over a vector as large.
#[test]
fn kernels_of_solvers_over_the_largest_tensors() {
    for gpu in [without_memory(Shape::Cpu), without_memory(Shape::Gpu)] {
        let tensor = || Tensor::zeros(&gpu, &[LARGE], DType::F32).unwrap();
        let (d, b, x) = (tensor(), tensor(), tensor());
        let operator = Diagonal::new(&gpu, &d).unwrap();
        let mut recording = Recording::new();
        operator.record_dot(&mut recording, &b, &x, &Tensor::zeros(&gpu, &[1], DType::F32).unwrap()).unwrap();
        expect_rounds(&recording);
    }
}
