//! Sums of many equal terms, whose error would grow with their number if they were added one after another: within 1e-6 of the
//! f64 sum of the same f32 terms.

#![cfg(all(feature = "graph", feature = "optim"))]

mod common;

use gradus::gpu::{Checks, GpuOptions, Target};
use gradus::graph::{ConvolutionOptions, Graph, Plan, Stage, Var, Window};
use gradus::optim::{Optimizer, Options, Param, Sgd};
use gradus::{DType, Gpu, Recording, Tensor, vector};

/// One device, seen in two ways.
fn gpus() -> Vec<Gpu> {
    let base = common::gpu(Checks::Unchecked);
    let with = |checks, target| {
        Gpu::with_options(base.device(), base.queue(), GpuOptions { checks, target: Some(target), ..Default::default() }).unwrap()
    };
    vec![with(Checks::Unchecked, Target::software()), with(Checks::Checked, Target::discrete())]
}

fn filled(gpu: &Gpu, shape: &[usize], value: f32) -> Tensor {
    Tensor::from_slice(gpu, shape, &vec![value; shape.iter().product()]).unwrap()
}

fn read(gpu: &Gpu, tensor: &Tensor) -> Vec<f32> {
    pollster::block_on(tensor.read::<f32>(gpu)).unwrap()
}

fn expect(found: &[f32], expected: f64, what: &str) {
    for &found in found {
        let error = (f64::from(found) - expected).abs() / expected.abs();
        assert!(error < 1e-6, "{what}: {found} for {expected}, off by {error:e}");
    }
}

fn evaluate(gpu: &Gpu, graph: &Graph, leaves: &[(Var, Tensor)], outputs: &[Var]) -> Vec<Vec<f32>> {
    let bound: Vec<(Var, &Tensor)> = leaves.iter().map(|(var, tensor)| (*var, tensor)).collect();
    let program = Plan::new(gpu, graph, &[Stage::new(outputs)]).unwrap().compile(gpu, &bound).unwrap();
    let mut recording = Recording::new();
    program.record(&mut recording, 0, &[]).unwrap();
    let run = || -> Vec<Vec<f32>> {
        gpu.submit([&recording]);
        outputs.iter().map(|&var| read(gpu, program.tensor(var).unwrap())).collect()
    };
    let found = run();
    assert_eq!(found, run(), "the same bits on every run");
    found
}

#[test]
fn reductions() {
    for gpu in gpus() {
        for (shape, axis, value) in [([512, 32_768], 1, 0.3f32), ([32_768, 512], 0, 0.3), ([1, 1_000_000], 1, 0.1), ([3, 333_333], 1, 0.7)]
        {
            let mut graph = Graph::new();
            let x = graph.input("x", &shape).unwrap();
            let (sum, mean, all) = (graph.sum(x, &[axis]).unwrap(), graph.mean(x, &[axis]).unwrap(), graph.sum(x, &[]).unwrap());
            let found = evaluate(&gpu, &graph, &[(x, filled(&gpu, &shape, value))], &[sum, mean, all]);
            let (value, n) = (f64::from(value), (shape[0] * shape[1]) as f64);
            expect(&found[0], value * shape[axis] as f64, "sum");
            expect(&found[1], value, "mean");
            expect(&found[2], value * n, "sum of all");
        }
    }
}

#[test]
fn products() {
    for gpu in gpus() {
        for k in [5_000, 262_144] {
            let mut graph = Graph::new();
            let (a, b) = (graph.input("a", &[3, k]).unwrap(), graph.input("b", &[k, 2]).unwrap());
            let y = graph.matmul(a, b).unwrap();
            let found = evaluate(&gpu, &graph, &[(a, filled(&gpu, &[3, k], 0.3)), (b, filled(&gpu, &[k, 2], 0.1))], &[y]);
            expect(&found[0], f64::from(0.3f32) * f64::from(0.1f32) * k as f64, "matmul");

            let matrix = filled(&gpu, &[k, 4], 0.3);
            let (x, y) = (filled(&gpu, &[k], 0.7), filled(&gpu, &[4], 0.0));
            let mut recording = Recording::new();
            vector::gemv_transposed(&gpu, &mut recording, 1.0, &matrix, &x, 0.0, &y).unwrap();
            let (wide, z) = (matrix.reshape(&[4, k]).unwrap(), filled(&gpu, &[4], 0.0));
            vector::gemv(&gpu, &mut recording, 1.0, &wide, &x, 0.0, &z).unwrap();
            gpu.submit([&recording]);
            for y in [y, z] {
                expect(&read(&gpu, &y), f64::from(0.3f32) * f64::from(0.7f32) * k as f64, "gemv");
            }
        }
    }
}

#[test]
fn convolutions_windows_and_rows() {
    for gpu in gpus() {
        let mut graph = Graph::new();
        let (x, w) = (graph.input("x", &[1, 64, 40, 40]).unwrap(), graph.input("w", &[8, 64, 3, 3]).unwrap());
        let y = graph.convolution(x, w, &ConvolutionOptions::default()).unwrap();
        let loss = graph.sum(y, &[]).unwrap();
        let gradient = graph.gradient(loss, &[w]).unwrap()[0];
        let window = Window { size: vec![40; 2], stride: vec![1; 2], padding: vec![0; 2] };
        let mean = graph.avg_pool(x, &window).unwrap();
        let leaves = [(x, filled(&gpu, &[1, 64, 40, 40], 0.3)), (w, filled(&gpu, &[8, 64, 3, 3], 0.1))];
        let found = evaluate(&gpu, &graph, &leaves, &[y, gradient, mean]);
        expect(&found[0], f64::from(0.3f32) * f64::from(0.1f32) * 576.0, "convolution");
        expect(&found[1], f64::from(0.3f32) * 38.0 * 38.0, "gradient of the weights");
        expect(&found[2], f64::from(0.3f32), "mean of windows");

        // all rows to one of three, and the gradient of a table
        let count = 100_000;
        let mut graph = Graph::new();
        let (table, indices) = (graph.input("table", &[3, 2]).unwrap(), graph.indices("indices", &[count]).unwrap());
        let y = graph.gather(table, indices).unwrap();
        let scale = graph.input("scale", &[count, 2]).unwrap();
        let loss = graph.mul(y, scale).unwrap();
        let loss = graph.sum(loss, &[]).unwrap();
        let gradient = graph.gradient(loss, &[table]).unwrap()[0];
        let leaves = [
            (table, filled(&gpu, &[3, 2], 1.0)),
            (indices, Tensor::from_slice(&gpu, &[count], &vec![1u32; count]).unwrap()),
            (scale, filled(&gpu, &[count, 2], 0.1)),
        ];
        let found = evaluate(&gpu, &graph, &leaves, &[gradient]);
        expect(&found[0][2..4], f64::from(0.1f32) * count as f64, "rows of a table");
        assert_eq!([found[0][0], found[0][1], found[0][4], found[0][5]], [0.0; 4]);
    }
}

#[test]
fn dots_and_norms() {
    for gpu in gpus() {
        let n = 20_000_003;
        let (x, out) = (Tensor::zeros(&gpu, &[n], DType::F32).unwrap(), filled(&gpu, &[1], 0.0));
        let mut recording = Recording::new();
        vector::fill(&gpu, &mut recording, 0.3, &x).unwrap();
        vector::dot(&gpu, &mut recording, &x, &x, &out).unwrap();
        gpu.submit([&recording]);
        expect(&read(&gpu, &out), f64::from(0.3f32).powi(2) * n as f64, "dot");

        // a gradient of norm 0.3 √n, clipped to 1
        let n = 4_000_000;
        let (p, g) = (filled(&gpu, &[n], 0.0), filled(&gpu, &[n], 0.3));
        let options = Options { max_norm: Some(1.0), ..Options::default() };
        let optimizer = Optimizer::with_options(&gpu, &Sgd { lr: 1.0, ..Sgd::default() }, &[Param::new("p", &p, &g)], options).unwrap();
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        optimizer.step(&mut encoder);
        gpu.queue().submit([encoder.finish()]);
        expect(&read(&gpu, &p)[..4], -1.0 / (n as f64).sqrt(), "a clipped step");
    }
}
