//! Compiled graphs against the f64 interpreter: values, gradients and Hessian products of graphs drawn at random,
//! in stages as a user would record them, with checked and unchecked shaders and both shapes of kernels.

#![cfg(feature = "graph")]

mod common;
#[path = "common/graphs.rs"]
mod graphs;

use std::collections::HashMap;

use gradus::gpu::{Checks, GpuOptions, Target};
use gradus::graph::{ConvolutionOptions, Graph, Padding, Plan, Stage, Var, losses};
use gradus::reference::graph::evaluate;
use gradus::reference::random::uniform;
use gradus::{Gpu, Recording, Tensor};
use graphs::Drawn;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// The devices of this test: one, seen in four ways.
fn gpus() -> Vec<Gpu> {
    let base = common::gpu(Checks::Unchecked);
    let (device, queue) = (base.device().clone(), base.queue().clone());
    let mut gpus = Vec::new();
    for checks in [Checks::Checked, Checks::Unchecked] {
        for target in [Target::software(), Target::discrete()] {
            gpus.push(Gpu::with_options(&device, &queue, GpuOptions { checks, target: Some(target), ..Default::default() }).unwrap());
        }
    }
    gpus
}

fn tensor(gpu: &Gpu, graph: &Graph, var: Var, values: &[f64]) -> Tensor {
    let shape = graph.shape(var).unwrap();
    match matches!(graph.op(var).unwrap().0, gradus::graph::Op::Indices(_)) {
        true => Tensor::from_slice(gpu, shape, &values.iter().map(|&v| v as u32).collect::<Vec<_>>()).unwrap(),
        false => Tensor::from_slice(gpu, shape, &values.iter().map(|&v| v as f32).collect::<Vec<_>>()).unwrap(),
    }
}

/// Values that f32 holds.
fn direction(seed: u64, n: usize) -> Vec<f64> {
    uniform(seed, 0, n).into_iter().map(|u| f64::from(2.0 * u - 1.0)).collect()
}

/// What f32 may do to a result: what a change of the leaves in their last bits does, with room for the roundings on the
/// way.
fn bounds(graph: &Graph, values: &HashMap<Var, Vec<f64>>, outputs: &[Var]) -> (Vec<Vec<f64>>, Vec<f64>) {
    let expected = evaluate(graph, values, outputs).unwrap();
    let mut bounds: Vec<f64> = expected.iter().map(|values| 2e-5 * norm(values) + 1e-5).collect();
    for seed in 0..2 {
        let mut moved = values.clone();
        for (i, (&var, values)) in moved.iter_mut().enumerate() {
            if !matches!(graph.op(var).unwrap().0, gradus::graph::Op::Indices(_)) {
                for (value, by) in values.iter_mut().zip(direction(100 * seed + i as u64, 1 << 12).iter().cycle()) {
                    *value *= 1.0 + 1e-6 * by;
                }
            }
        }
        for ((bound, a), b) in bounds.iter_mut().zip(evaluate(graph, &moved, outputs).unwrap()).zip(&expected) {
            let change: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
            *bound += 20.0 * norm(&change);
        }
    }
    (expected, bounds)
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Compiles values, gradients and Hessian products in three stages and compares all with the interpreter.
fn compare(gpu: &Gpu, drawn: &Drawn) -> Result<(), String> {
    let mut graph = drawn.graph.clone();
    let gradients = graph.gradient(drawn.loss, &drawn.leaves).unwrap();
    let mut values = drawn.values.clone();
    let mut tangents = Vec::new();
    for (i, &leaf) in drawn.leaves.iter().enumerate() {
        let shape = graph.shape(leaf).unwrap().to_vec();
        let tangent = graph.input(&format!("tangent {i}"), &shape).unwrap();
        values.insert(tangent, direction(i as u64, shape.iter().product()));
        tangents.push(tangent);
    }
    let products = graph.jvp(&gradients, &drawn.leaves, &tangents).unwrap();
    let stages =
        [Stage::new(&[&drawn.outputs[..], &[drawn.loss]].concat()), Stage::new(&gradients), Stage::new(&products).after(&tangents)];
    let wanted: Vec<Var> = drawn.outputs.iter().chain([&drawn.loss]).chain(&gradients).chain(&products).copied().collect();
    let (expected, bounds) = bounds(&graph, &values, &wanted);

    let plan = Plan::new(gpu, &graph, &stages).map_err(|error| error.to_string())?;
    let tensors: Vec<(Var, Tensor)> = values.iter().map(|(&var, values)| (var, tensor(gpu, &graph, var, values))).collect();
    let early: Vec<(Var, &Tensor)> =
        tensors.iter().filter(|(var, _)| !tangents.contains(var)).map(|(var, tensor)| (*var, tensor)).collect();
    let program = plan.compile(gpu, &early).map_err(|error| error.to_string())?;
    let mut late: Vec<(Var, Tensor)> = tensors.iter().filter(|(var, _)| tangents.contains(var)).cloned().collect();
    // after the leaves come the products, which may be among them
    for &product in &products {
        late.push((product, common::f32s(gpu, graph.shape(product).unwrap())));
    }
    let late_bindings: Vec<(Var, &Tensor)> = late.iter().map(|(var, tensor)| (*var, tensor)).collect();
    let mut apply = Recording::new();
    program.record(&mut apply, 2, &late_bindings).map_err(|error| error.to_string())?;
    let recordings = [program.recording(0).map_err(|e| e.to_string())?, program.recording(1).map_err(|e| e.to_string())?];
    gpu.submit([&recordings[0], &recordings[1], &apply]);
    // the product again, alone
    gpu.submit([&apply]);
    let early = wanted.len() - products.len();
    for (i, ((var, expected), bound)) in wanted.iter().zip(&expected).zip(&bounds).enumerate() {
        let tensor = match i.checked_sub(early) {
            Some(product) => &late[tangents.len() + product].1,
            None => program.tensor(*var).map_err(|error| error.to_string())?,
        };
        let found = common::read(gpu, tensor);
        let difference: Vec<f64> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
        let error = norm(&difference);
        if error.is_nan() || error > *bound {
            return Err(format!("{var:?}: off by {error:e}, more than {bound:e}\n{found:?}\n{expected:?}\n{graph:?}{plan:?}"));
        }
    }
    Ok(())
}

/// Graphs of which no more may be computed where it is used: what is in between is in memory, and values are what they were.
#[test]
fn deep_graphs_are_cut() {
    let base = common::gpu(Checks::Unchecked);
    let gpus = [Target::software(), Target::discrete()]
        .map(|target| Gpu::with_options(base.device(), base.queue(), GpuOptions { target: Some(target), ..Default::default() }).unwrap());
    type Step = fn(&mut Graph, Var, usize) -> gradus::Result<Var>;
    // sums of all elements up to each in twice as many at a time, of which each is read at 2^i places; a chain; a diamond
    let steps: [(usize, Step); 3] = [
        (7, |graph, x, i| {
            let moved = graph.pad(x, &[(1 << i, 0)])?;
            let moved = graph.slice(moved, std::slice::from_ref(&(0..128)))?;
            graph.add(x, moved)
        }),
        (150, |graph, x, i| if i % 2 == 0 { graph.add_scalar(x, 0.01) } else { graph.abs(x) }),
        (33, |graph, x, _| graph.relu(x).and_then(|y| graph.sub(y, x)).and_then(|y| graph.maximum(x, y))),
    ];
    for (times, step) in steps {
        let mut graph = Graph::new();
        let x = graph.input("x", &[128]).unwrap();
        let y = (0..times).try_fold(x, |y, i| step(&mut graph, y, i)).unwrap();
        // away from kinks
        let numbers = direction(7, 128).into_iter().map(|v| (v * 1000.0).round() / 1024.0 + 0.5 / 1024.0).collect();
        let values = HashMap::from([(x, numbers)]);
        let loss = losses::mean_squared_error(&mut graph, y, x).unwrap();
        let drawn = Drawn { graph, leaves: vec![x], values, outputs: vec![y], loss };
        for gpu in &gpus {
            compare(gpu, &drawn).unwrap();
        }
    }
}

#[test]
fn graphs_agree_with_the_interpreter() {
    let gpus = gpus();
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, max_shrink_iters: 200, ..Config::default() });
    let turn = std::cell::Cell::new(0);
    let result = runner.run(&graphs::graphs(12), |drawn| {
        turn.set(turn.get() + 1);
        compare(&gpus[turn.get() % gpus.len()], &drawn).map_err(TestCaseError::fail)
    });
    result.unwrap();
}

/// NaN of either sign, and infinities, come through rectifiers and maxima as in f64: in whole cells and one by one.
#[test]
fn what_is_not_a_number_stays() {
    let special = [f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001), f32::INFINITY, f32::NEG_INFINITY, 0.0, -1.5, 2.0];
    // all pairs
    let pairs: Vec<(f32, f32)> = special.iter().flat_map(|&x| special.map(|y| (x, y))).collect();
    for gpu in gpus() {
        for n in [64, 63] {
            let (x, y): (Vec<f32>, Vec<f32>) = pairs[..n].iter().copied().unzip();
            let mut graph = Graph::new();
            let (a, b) = (graph.input("a", &[n]).unwrap(), graph.input("b", &[n]).unwrap());
            let zeros = graph.constant(0.0, &[n]).unwrap();
            let outputs = [graph.relu(a).unwrap(), graph.maximum(a, b).unwrap(), graph.maximum(b, zeros).unwrap()];
            let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<f64>>();
            let expected = evaluate(&graph, &HashMap::from([(a, wide(&x)), (b, wide(&y))]), &outputs).unwrap();
            let (ta, tb) = (Tensor::from_slice(&gpu, &[n], &x).unwrap(), Tensor::from_slice(&gpu, &[n], &y).unwrap());
            let program = Plan::new(&gpu, &graph, &[Stage::new(&outputs)]).unwrap().compile(&gpu, &[(a, &ta), (b, &tb)]).unwrap();
            gpu.submit([&program.recording(0).unwrap()]);
            for (i, (&output, expected)) in outputs.iter().zip(&expected).enumerate() {
                let found = common::read(&gpu, program.tensor(output).unwrap());
                let same = |(found, expected): (&f64, &f64)| found == expected || found.is_nan() && expected.is_nan();
                assert!(found.iter().zip(expected).all(same), "output {i} of {n}: {found:?} for {expected:?}");
            }
        }
    }
}

/// A convolution of `[batch, channels, sizes]` with kernels of `taps`, and a loss that is not linear in it.
fn convolution(sizes: &[usize], channels: [usize; 2], taps: &[usize], options: &ConvolutionOptions) -> Drawn {
    let mut graph = Graph::new();
    let x = graph.input("x", &[&[2, channels[0]], sizes].concat()).unwrap();
    let w = graph.input("w", &[&[channels[1], channels[0]], taps].concat()).unwrap();
    let y = graph.convolution(x, w, options).unwrap();
    let bent = graph.tanh(y).unwrap();
    let shape = graph.shape(y).unwrap().to_vec();
    let target = graph.constant(0.25, &shape).unwrap();
    let loss = losses::mean_squared_error(&mut graph, bent, target).unwrap();
    let values = [x, w].map(|var| (var, direction(7, graph.shape(var).unwrap().iter().product())));
    Drawn { graph, leaves: vec![x, w], values: values.into(), outputs: vec![y], loss }
}

/// Large enough for the kernel of three taps in x, which those drawn at random are not: sizes that fill its patches and
/// sizes that do not, and whatever may happen along the other axes.
#[test]
fn convolutions_of_three_taps() {
    let gpus = gpus();
    let same = || ConvolutionOptions { padding: Padding::Same, ..Default::default() };
    let explicit = |padding: &[(usize, usize)]| ConvolutionOptions { padding: Padding::Explicit(padding.to_vec()), ..Default::default() };
    // sizes, channels in and out, taps
    type Case<'a> = (&'a [usize], [usize; 2], &'a [usize], ConvolutionOptions);
    let cases: [Case; 8] = [
        (&[32, 32], [4, 16], &[3, 3], same()),
        (&[31, 39], [3, 9], &[3, 3], same()),
        (&[24, 47], [1, 17], &[5, 3], explicit(&[(0, 3), (2, 2)])),
        (&[33, 34], [9, 9], &[2, 3], ConvolutionOptions::default()),
        (&[48, 40], [4, 9], &[3, 3], ConvolutionOptions { stride: vec![2, 1], dilation: vec![2, 1], ..same() }),
        (&[6, 15, 16], [4, 8], &[3, 3, 3], same()),
        (&[9, 11, 23], [2, 5], &[1, 3, 3], explicit(&[(1, 0), (0, 0), (1, 4)])),
        (&[8, 14, 14], [2, 9], &[2, 2, 3], ConvolutionOptions { stride: vec![2, 1, 1], ..same() }),
    ];
    for (i, (sizes, channels, taps, options)) in cases.iter().enumerate() {
        let drawn = convolution(sizes, *channels, taps, options);
        let plan = Plan::new(&gpus[0], &drawn.graph, &[Stage::new(&drawn.outputs)]).unwrap();
        let tensors: Vec<(Var, Tensor)> =
            drawn.leaves.iter().map(|&leaf| (leaf, tensor(&gpus[0], &drawn.graph, leaf, &drawn.values[&leaf]))).collect();
        let bindings: Vec<(Var, &Tensor)> = tensors.iter().map(|(leaf, tensor)| (*leaf, tensor)).collect();
        let recording = plan.compile(&gpus[0], &bindings).unwrap().recording(0).unwrap();
        assert!(recording.dispatches().all(|dispatch| dispatch.kernel == "gradus.graph.convolution_rows"), "{sizes:?}: {recording:?}");
        compare(&gpus[i % 4], &drawn).unwrap_or_else(|error| panic!("{sizes:?} {taps:?}: {error:.2000}"));
    }
}
