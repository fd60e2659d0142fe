//! Products and convolutions in the form for GPUs: against the f64 interpreter, with each tile, whose results are the same bits; how
//! many workgroups they are, what they move; and their tuning.

#![cfg(feature = "graph")]

#[path = "../examples/common/cnn.rs"]
mod cnn;
mod common;
mod digits {
    pub const CLASSES: usize = 10;
}

use std::collections::HashMap;
use std::time::{Duration, Instant};

use common::{gpu, noise};
use gradus::gpu::{Checks, GpuOptions, Target, Tuning};
use gradus::graph::{ConvolutionOptions, Graph, Op, Padding, Plan, Stage, Var, losses};
use gradus::reference::graph::evaluate;
use gradus::{Error, Gpu, Recording, Tensor};
use pollster::block_on;

const TILES: [&str; 4] = ["128x8x8", "32x32x16", "64x64x16", "128x64x8"];

fn with(checks: Checks, tuning: Tuning) -> Gpu {
    let base = gpu(checks);
    let target = Some(Target::discrete().with_tuning(tuning));
    Gpu::with_options(base.device(), base.queue(), GpuOptions { checks, target, ..Default::default() }).unwrap()
}

/// The choices of a plan, all of them `tile`.
fn forced(plan: &Plan, tile: &str) -> Tuning {
    let chosen = block_on(plan.tune(&with(Checks::Unchecked, Tuning::default()), Duration::ZERO)).unwrap();
    assert!(!chosen.is_empty());
    let text: String = chosen
        .to_string()
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some((key, _)) => format!("{key} = {tile}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    text.parse().unwrap()
}

struct Case {
    graph: Graph,
    outputs: Vec<Var>,
    values: HashMap<Var, Vec<f64>>,
}

impl Case {
    fn new(build: impl FnOnce(&mut Graph) -> Vec<Var>) -> Self {
        let mut graph = Graph::new();
        let outputs = build(&mut graph);
        let leaves: Vec<Var> = graph.vars().filter(|&var| matches!(graph.op(var), Ok((Op::Input(_), _)))).collect();
        let numbers = |(seed, &var): (u64, &Var)| {
            let n = graph.shape(var).unwrap().iter().product();
            (var, noise(seed, n).into_iter().map(f64::from).collect())
        };
        let values = (0..).zip(&leaves).map(numbers).collect();
        Self { graph, outputs, values }
    }

    fn plan(&self, gpu: &Gpu) -> Plan {
        Plan::new(gpu, &self.graph, &[Stage::new(&self.outputs)]).unwrap()
    }

    /// Twice: the same bits.
    fn run(&self, gpu: &Gpu) -> (Vec<Vec<f32>>, Recording) {
        let tensor = |(&var, values): (&Var, &Vec<f64>)| {
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            (var, Tensor::from_slice(gpu, self.graph.shape(var).unwrap(), &values).unwrap())
        };
        let tensors: Vec<(Var, Tensor)> = self.values.iter().map(tensor).collect();
        let bound: Vec<(Var, &Tensor)> = tensors.iter().map(|(var, tensor)| (*var, tensor)).collect();
        let program = self.plan(gpu).compile(gpu, &bound).unwrap();
        let recording = program.recording(0).unwrap();
        let run = || -> Vec<Vec<f32>> {
            gpu.submit([&recording]);
            self.outputs.iter().map(|&var| block_on(program.tensor(var).unwrap().read::<f32>(gpu)).unwrap()).collect()
        };
        let found = run();
        assert_eq!(found, run(), "the same bits on every run");
        (found, recording)
    }

    /// Each element within `terms` roundings of the sum of magnitudes.
    fn expect(&self, found: &[Vec<f32>], what: &str) {
        let magnitudes: HashMap<Var, Vec<f64>> =
            self.values.iter().map(|(&var, values)| (var, values.iter().map(|value| value.abs()).collect())).collect();
        let expected = evaluate(&self.graph, &self.values, &self.outputs).unwrap();
        let magnitudes = evaluate(&self.graph, &magnitudes, &self.outputs).unwrap();
        for ((found, expected), magnitudes) in found.iter().zip(&expected).zip(&magnitudes) {
            assert_eq!(found.len(), expected.len());
            for (i, ((&found, expected), magnitude)) in found.iter().zip(expected).zip(magnitudes).enumerate() {
                assert!((f64::from(found) - expected).abs() <= 1e-6 * magnitude, "{what}: element {i}: {found} for {expected}");
            }
        }
    }
}

fn leaf(graph: &mut Graph, name: &str, shape: &[usize]) -> Var {
    graph.input(name, shape).unwrap()
}

/// `[batch.., m, k]` times `[batch.., k, n]`, each as it lies in memory or transposed.
fn product(graph: &mut Graph, name: &str, batch: &[usize], [m, n, k]: [usize; 3], transposed: [bool; 2]) -> Var {
    let mut operand = |which: &str, rows: usize, columns: usize, transposed: bool| {
        let [first, second] = if transposed { [columns, rows] } else { [rows, columns] };
        let var = leaf(graph, &format!("{name}.{which}"), &[batch, &[first, second]].concat());
        let rank = batch.len() + 2;
        let swapped: Vec<usize> = (0..batch.len()).chain([rank - 1, rank - 2]).collect();
        if transposed { graph.transpose(var, &swapped).unwrap() } else { var }
    };
    let (a, b) = (operand("a", m, k, transposed[0]), operand("b", k, n, transposed[1]));
    graph.matmul(a, b).unwrap()
}

/// Sizes of 1, odd, and around tiles and blocks; operands that are loaded along and across k, and one by one.
fn products() -> Case {
    Case::new(|graph| {
        let sizes = [[1, 1, 1], [3, 5, 7], [65, 33, 17], [130, 68, 36], [4, 260, 31]];
        let mut all = Vec::new();
        for (i, size) in sizes.into_iter().enumerate() {
            all.push(product(graph, &format!("p{i}"), &[], size, [i % 2 == 1, i % 4 > 1]));
        }
        all.push(product(graph, "deep", &[], [36, 40, 1100], [true, false]));
        all.push(product(graph, "batches", &[2, 3], [9, 12, 20], [false, true]));
        // a sum of two, whose bias and activation follow in the kernel
        let (x, y) = (product(graph, "x", &[], [34, 48, 520], [false, false]), product(graph, "y", &[], [34, 48, 520], [false, false]));
        let sum = graph.add(x, y).unwrap();
        let bias = leaf(graph, "bias", &[48]);
        let sum = graph.add(sum, bias).unwrap();
        all.push(graph.relu(sum).unwrap());
        all
    })
}

/// The three forms, with strides, dilation and padding; the loss is of the square, so that gradients are of all forms.
fn convolutions() -> Case {
    Case::new(|graph| {
        let mut all = Vec::new();
        let shapes: [(&[usize], &[usize], [usize; 2]); 3] =
            [(&[2, 3, 9], &[5, 3, 3], [2, 1]), (&[2, 4, 12, 16], &[40, 4, 3, 3], [1, 1]), (&[1, 2, 5, 6, 7], &[9, 2, 2, 3, 3], [2, 2])];
        for (i, (x, w, [stride, dilation])) in shapes.into_iter().enumerate() {
            let spatial = x.len() - 2;
            let (x, w) = (leaf(graph, &format!("x{i}"), x), leaf(graph, &format!("w{i}"), w));
            let options = ConvolutionOptions {
                stride: vec![stride; spatial],
                dilation: vec![dilation; spatial],
                padding: Padding::Explicit(vec![(1, 1); spatial]),
            };
            let y = graph.convolution(x, w, &options).unwrap();
            let shape = graph.shape(y).unwrap().to_vec();
            let seed = leaf(graph, &format!("s{i}"), &shape);
            let weighted = graph.mul(y, seed).unwrap();
            let loss = graph.sum(weighted, &[]).unwrap();
            all.push(y);
            all.extend(graph.gradient(loss, &[x, w]).unwrap());
        }
        all
    })
}

#[test]
fn all_tiles_give_the_same_bits() {
    for (case, what) in [(products(), "products"), (convolutions(), "convolutions")] {
        let base = with(Checks::Unchecked, Tuning::default());
        let (found, _) = case.run(&base);
        case.expect(&found, what);
        for tile in TILES {
            let gpu = with(Checks::Unchecked, forced(&case.plan(&base), tile));
            let (again, recording) = case.run(&gpu);
            for (i, (again, found)) in again.iter().zip(&found).enumerate() {
                assert_eq!(again, found, "{what} {i} with {tile}");
            }
            assert!(recording.dispatches().any(|dispatch| dispatch.kernel == "gradus.graph.product"));
        }
        let (checked, _) = case.run(&with(Checks::Checked, Tuning::default()));
        assert_eq!(checked, found, "{what}, checked");
    }
}

/// A million terms: ones, whose sum is exact, and noise.
#[test]
fn long_sums() {
    let gpu = with(Checks::Unchecked, Tuning::default());
    let k = 1_000_000;
    let mut case = Case::new(|graph| vec![product(graph, "p", &[], [2, 3, k], [false, true])]);
    let (found, _) = case.run(&gpu);
    case.expect(&found, "a million terms");
    case.values.values_mut().for_each(|values| values.fill(1.0));
    assert_eq!(case.run(&gpu).0, [vec![k as f32; 6]]);
}

/// Of a product on a device that executes nothing: its dispatches.
fn recorded(batch: &[usize], size: [usize; 3]) -> Vec<(u64, u64)> {
    let limits = wgpu::Limits { max_buffer_size: 1 << 30, max_storage_buffer_binding_size: 1 << 30, ..wgpu::Limits::defaults() };
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() });
    let gpu = Gpu::with_options(&device, &queue, GpuOptions { target: Some(Target::discrete()), ..Default::default() }).unwrap();
    let mut graph = Graph::new();
    let y = product(&mut graph, "p", batch, size, [false, false]);
    let leaves: Vec<Var> = graph.vars().filter(|&var| matches!(graph.op(var), Ok((Op::Input(_), _)))).collect();
    let tensors: Vec<(Var, Tensor)> =
        leaves.iter().map(|&var| (var, Tensor::zeros(&gpu, graph.shape(var).unwrap(), gradus::DType::F32).unwrap())).collect();
    let bound: Vec<(Var, &Tensor)> = tensors.iter().map(|(var, tensor)| (*var, tensor)).collect();
    let program = Plan::new(&gpu, &graph, &[Stage::new(&[y])]).unwrap().compile(&gpu, &bound).unwrap();
    let recording = program.recording(0).unwrap();
    let groups = |dispatch: &gradus::gpu::DispatchInfo| dispatch.workgroups.iter().map(|&n| u64::from(n)).product();
    recording.dispatches().map(|dispatch| (groups(&dispatch), dispatch.bytes())).collect()
}

#[test]
fn operands_are_read_a_few_times() {
    let n = 2048;
    let moved: u64 = recorded(&[], [n, n, n]).iter().map(|(_, bytes)| bytes).sum();
    let without_reuse = 2 * 4 * (n * n * n) as u64;
    assert!(moved * 16 <= without_reuse, "{moved} of {without_reuse}");
    // each operand once at least
    assert!(moved >= 3 * 4 * (n * n) as u64);
}

#[test]
fn small_products_are_many_workgroups() {
    let cases: [(&[usize], [usize; 3]); 5] =
        [(&[], [64, 64, 65_536]), (&[], [256, 64, 128]), (&[], [256, 128, 64]), (&[64], [64, 64, 64]), (&[], [8, 64, 65_536])];
    for (batch, size) in cases {
        let (workgroups, _) = recorded(batch, size)[0];
        assert!(workgroups >= 64, "{batch:?} {size:?}: {workgroups}");
    }
}

/// The gradient of the network for digits, within the time that is given, but for the measurement that is under way. Choices are text,
/// which another adapter refuses.
#[test]
fn a_tuning_is_saved_and_loaded() {
    let gpu = with(Checks::Unchecked, Tuning::default());
    let mut graph = Graph::new();
    let (images, labels) = (leaf(&mut graph, "images", &[32, 64]), graph.indices("labels", &[32]).unwrap());
    let logits = cnn::cnn(&mut graph, images, [8, 16]).unwrap();
    let loss = losses::cross_entropy(&mut graph, logits, labels).unwrap();
    let parameters: Vec<Var> = graph.parameters().map(|(_, var)| var).collect();
    let gradient = graph.gradient(loss, &parameters).unwrap();
    let plan = Plan::new(&gpu, &graph, &[Stage::new(&gradient)]).unwrap();
    let start = Instant::now();
    let tuning = block_on(plan.tune(&gpu, Duration::from_secs(5))).unwrap();
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    let text = tuning.to_string();
    let loaded: Tuning = text.parse().unwrap();
    assert_eq!(loaded, tuning);
    assert!(loaded.len() >= 5, "{text}");

    let case = Case::new(|graph| vec![product(graph, "p", &[], [32, 10, 64], [false, false])]);
    let (found, _) = case.run(&with(Checks::Unchecked, loaded));
    assert_eq!(found, case.run(&gpu).0);
    let other: Tuning = text.replacen("device ", "device another ", 1).parse().unwrap();
    let target = Some(Target::discrete().with_tuning(other));
    let error = Gpu::with_options(gpu.device(), gpu.queue(), GpuOptions { target, ..Default::default() }).unwrap_err();
    assert!(matches!(&error, Error::Option { option, .. } if option == "tuning"), "{error}");
}
