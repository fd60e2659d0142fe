//! Loops of more rounds than a software driver executes: 65,535 for an invocation, all its loops together, after which it ends
//! them without a word.

#![cfg(all(feature = "graph", feature = "krylov", feature = "optim"))]

mod common;

use gradus::curvature::{DiagonalOptions, HutchPlusPlusOptions, TraceOptions, diagonal, hutch_plus_plus, trace};
use gradus::gpu::{Checks, GpuOptions, KERNELS, Target};
use gradus::graph::{ConvolutionOptions, Graph, Op, Plan, Stage, Var, Window, layers};
use gradus::krylov::{
    Cg, CgOptions, Csr, Diagonal, FlexibleCg, FlexibleCgOptions, LanczosOptions, LinearOperator, PowerOptions, Preconditioner, Richardson,
    RichardsonOptions, lanczos, power_iteration,
};
use gradus::optim::{Adadelta, Adagrad, Adam, AdamP, AdamW, Algorithm, DiffGrad, Optimizer, Options, Param, RmsProp, Sgd, SgdP};
use gradus::poisson::dcdm::{Architecture, DeepPreconditioner, Weights};
use gradus::poisson::{Grid, IncompletePoisson, Jacobi, Laplacian, Multigrid, MultigridOptions};
use gradus::{DType, Error, Gpu, Recording, Result, Tensor, vector};
use pollster::block_on;

const MOST: u64 = 65_535;

/// One device, seen in two ways: kernels of so many loops take long to compile.
fn gpus() -> Vec<Gpu> {
    let base = common::gpu(Checks::Unchecked);
    let with = |checks, target| {
        Gpu::with_options(base.device(), base.queue(), GpuOptions { checks, target: Some(target), ..Default::default() }).unwrap()
    };
    vec![with(Checks::Unchecked, Target::software()), with(Checks::Checked, Target::discrete())]
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

/// A device that computes nothing, with WebGPU's default limits, where a binding is of 128 MiB; and what tensors are made in, as
/// making them takes longer than all else: no two tensors of one call are written.
struct Noop {
    gpu: Gpu,
    operand: wgpu::Buffer,
    result: wgpu::Buffer,
}

/// The elements of the largest tensor that a binding holds.
const LARGE: usize = 1 << 25;

impl Noop {
    fn new(target: Target) -> Self {
        let limits = wgpu::Limits { max_buffer_size: 1 << 30, ..wgpu::Limits::defaults() };
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() });
        let gpu = Gpu::with_options(&device, &queue, GpuOptions { target: Some(target), ..Default::default() }).unwrap();
        let buffer = || common::buffer(&gpu, 4 * LARGE as u64, common::ALL);
        let (operand, result) = (buffer(), buffer());
        Self { gpu, operand, result }
    }

    fn operand(&self, shape: &[usize], dtype: DType) -> Tensor {
        Tensor::from_buffer(&self.operand, 0, shape, dtype).unwrap()
    }

    fn result(&self, shape: &[usize], dtype: DType) -> Tensor {
        Tensor::from_buffer(&self.result, 0, shape, dtype).unwrap()
    }

    /// Frees what was dropped: uploads that are under way keep it.
    fn free(&self) {
        self.gpu.queue().submit([]);
        self.gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
    }

    fn expect_recorded(&self, record: impl FnOnce(&mut Recording) -> Result<()>) {
        let mut recording = Recording::new();
        record(&mut recording).unwrap();
        expect_rounds(&recording);
        drop(recording);
        self.free();
    }

    /// What the plan of a graph records.
    fn expect_planned(&self, graph: &Graph, outputs: &[Var]) {
        let plan = Plan::new(&self.gpu, graph, &[Stage::new(outputs)]).unwrap();
        let tensors: Vec<(Var, Tensor)> = graph
            .vars()
            .filter(|&var| graph.op(var).unwrap().1.is_empty())
            .filter_map(|var| {
                let dtype = match graph.op(var).unwrap().0 {
                    Op::Indices(_) => DType::U32,
                    Op::Input(_) => DType::F32,
                    _ => return None,
                };
                Some((var, self.operand(graph.shape(var).unwrap(), dtype)))
            })
            .collect();
        let bound: Vec<(Var, &Tensor)> = tensors.iter().map(|(var, tensor)| (*var, tensor)).collect();
        let program = plan.compile(&self.gpu, &bound).unwrap();
        self.expect_recorded(|recording| program.record(recording, 0, &[]));
        drop(program);
        self.free();
    }
}

/// The rounds of every kernel over the largest tensors, in the shapes that make for the most. A kernel that is not reached is a
/// failure. What submits its own recordings fails with an error if one has too many rounds.
#[test]
fn every_kernel_over_the_largest_tensors() {
    let mut reached: Vec<&str> = Vec::new();
    for target in [Target::software(), Target::discrete()] {
        let noop = Noop::new(target.clone());
        // of solvers and grids a GPU's kernels do less: invocations leave a 256th of the sums
        let most = if target == Target::software() { LARGE } else { LARGE / 16 };
        graphs(&noop);
        vectors(&noop);
        steps(&noop, most);
        solvers(&noop, most);
        // their kernels are cut as those of conjugate gradients are
        estimators(&noop, most / 8);
        grids(&noop, most);
        noop.free();
        reached.extend(noop.gpu.kernels());
    }
    let missing: Vec<&&str> = KERNELS.iter().filter(|kernel| !reached.contains(kernel)).collect();
    assert!(missing.is_empty(), "add them: {missing:?}");
}

fn graphs(noop: &Noop) {
    for k in [1, 1 << 12, 1 << 22, LARGE] {
        for (m, n) in [(1, 1), (LARGE / k, 1), (1, LARGE / k), ((LARGE / k).min(1 << 12), (LARGE / k).min(1 << 12))] {
            let mut graph = Graph::new();
            let (a, b) = (graph.input("a", &[m, k]).unwrap(), graph.input("b", &[k, n]).unwrap());
            let y = graph.matmul(a, b).unwrap();
            noop.expect_planned(&graph, &[y]);
        }
        // in batches, and reductions of either axis
        let mut graph = Graph::new();
        let (a, b) = (graph.input("a", &[LARGE / k, 1, k]).unwrap(), graph.input("b", &[LARGE / k, k, 1]).unwrap());
        let y = graph.matmul(a, b).unwrap();
        let x = graph.reshape(a, &[LARGE / k, k]).unwrap();
        let (rows, columns, all) = (graph.sum(x, &[0]).unwrap(), graph.sum(x, &[1]).unwrap(), graph.sum(x, &[]).unwrap());
        noop.expect_planned(&graph, &[y, rows, columns, all]);
    }
    let mut graph = Graph::new();
    let x = graph.input("x", &[LARGE]).unwrap();
    let doubled = graph.scale(x, 2.0).unwrap();
    noop.expect_planned(&graph, &[doubled]);
    // rows of a table, and their gradient
    for (rows, width, count) in [(LARGE / 64, 64, 1 << 12), (64, 64, LARGE / 64), (1, 1, LARGE), (20_000, 512, 1 << 15)] {
        let mut graph = Graph::new();
        let (table, indices) = (graph.input("table", &[rows, width]).unwrap(), graph.indices("indices", &[count]).unwrap());
        let y = graph.gather(table, indices).unwrap();
        let loss = graph.mul(y, y).unwrap();
        let loss = graph.sum(loss, &[]).unwrap();
        let gradients = graph.gradient(loss, &[table]).unwrap();
        noop.expect_planned(&graph, &gradients);
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
        noop.expect_planned(&graph, &gradients);
    }
    for (batch, channels, side, kernel) in [(1, 1, 1 << 12, 3), (1, 1 << 10, 128, 3), (1 << 10, 1, 128, 5), (1, 8, 1 << 11, 3)] {
        let mut graph = Graph::new();
        let x = graph.input("x", &[batch, channels, side, side]).unwrap();
        let w = graph.input("w", &[2, channels, kernel, kernel]).unwrap();
        let y = graph.convolution(x, w, &ConvolutionOptions::default()).unwrap();
        let loss = graph.mul(y, y).unwrap();
        let loss = graph.sum(loss, &[]).unwrap();
        let gradients = graph.gradient(loss, &[x, w]).unwrap();
        noop.expect_planned(&graph, &gradients);
    }
    // values that are repeated
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 1, 1 << 11, 1 << 11]).unwrap();
    let y = graph.upsample_nearest(x, 2).unwrap();
    noop.expect_planned(&graph, &[y]);
}

fn vectors(noop: &Noop) {
    let gpu = &noop.gpu;
    let out = common::f32s(gpu, &[1]);
    for dtype in [DType::F32, DType::F16] {
        let n = 4 * LARGE / dtype.size() as usize;
        let (x, y) = (noop.operand(&[n], dtype), noop.result(&[n], dtype));
        noop.expect_recorded(|recording| {
            vector::dot(gpu, recording, &x, &y, &out)?;
            vector::norm(gpu, recording, &x, &out)?;
            vector::max_magnitude(gpu, recording, &x, &out)?;
            vector::fill(gpu, recording, 1.0, &x)?;
            vector::scale(gpu, recording, 2.0, &x)?;
            vector::copy(gpu, recording, &x, &y)?;
            vector::axpy(gpu, recording, 1.0, &x, &y)?;
            vector::random_normal(gpu, recording, 1, 0, &x)
        });
    }
    let (x, y) = (noop.operand(&[LARGE], DType::F32), noop.result(&[LARGE], DType::F16));
    noop.expect_recorded(|recording| {
        vector::cast(gpu, recording, &x, &y)?;
        vector::cast(gpu, recording, &y, &x)
    });
    for rows in [1, 3, 1 << 10, 1 << 14, LARGE / 3, LARGE] {
        let columns = LARGE / rows;
        let a = noop.operand(&[rows, columns], DType::F32);
        let (x, y) = (common::f32s(gpu, &[columns]), common::f32s(gpu, &[rows]));
        noop.expect_recorded(|recording| {
            vector::gemv(gpu, recording, 1.0, &a, &x, 0.0, &y)?;
            vector::gemv_transposed(gpu, recording, 1.0, &a, &y, 0.0, &x)
        });
    }
}

fn steps(noop: &Noop, most: usize) {
    let step = |algorithm: &dyn Algorithm, shape: &[usize]| {
        let (p, g) = (noop.result(shape, DType::F32), noop.operand(shape, DType::F32));
        let options = Options { max_norm: Some(1.0), ..Options::default() };
        let optimizer = Optimizer::with_options(&noop.gpu, algorithm, &[Param::new("p", &p, &g)], options).unwrap();
        expect_rounds(optimizer.recording());
        drop(optimizer);
        noop.free();
    };
    let elementwise: [&dyn Algorithm; 6] =
        [&Sgd::default(), &Adagrad::default(), &Adadelta::default(), &RmsProp::default(), &Adam::default(), &DiffGrad::default()];
    for algorithm in elementwise {
        // all are cut alike
        step(algorithm, &[most / 16]);
    }
    step(&AdamW::default(), &[LARGE]);
    // sums by row
    step(&SgdP::default(), &[64, LARGE / 64]);
    for shape in [&[LARGE][..], &[LARGE, 1], &[1 << 16, 1 << 9], &[1, LARGE]] {
        step(&AdamP::default(), shape);
    }
}

/// Products, and what iterations are made of.
fn solvers(noop: &Noop, n: usize) {
    let gpu = &noop.gpu;
    let (d, x) = (noop.operand(&[n], DType::F32), noop.result(&[n], DType::F32));
    let operator = Diagonal::new(gpu, &d).unwrap();
    noop.expect_recorded(|recording| LinearOperator::record(&operator, recording, &d, &x));
    // a binding holds all snapshots
    let options = CgOptions { snapshots: n < LARGE, max_iterations: 4, ..Default::default() };
    let cg = Cg::new(&operator, Some(&operator), &d, &x, &options).unwrap();
    expect_rounds(cg.iteration());
    drop(cg);
    noop.free();
    // the others' kernels are cut as those of conjugate gradients are
    let n = n / 8;
    let (d, x) = (noop.operand(&[n], DType::F32), noop.result(&[n], DType::F32));
    let operator = Diagonal::new(gpu, &d).unwrap();
    let options = FlexibleCgOptions { truncation: 2, ..Default::default() };
    let flexible = FlexibleCg::new(&operator, Some(&operator), &d, &x, &options).unwrap();
    expect_rounds(flexible.iteration());
    drop(flexible);
    noop.free();
    let richardson = Richardson::new(&operator, &operator, &d, &x, &RichardsonOptions::default()).unwrap();
    expect_rounds(richardson.iteration());
    drop(richardson);
    noop.free();
    expect_no_refusal(block_on(lanczos(&operator, Some(&x), &LanczosOptions { steps: 2, seed: 0 })).map(drop));
    noop.free();
    expect_no_refusal(block_on(power_iteration(&operator, None, &PowerOptions { max_iterations: 1, ..Default::default() })).map(drop));
    noop.free();
    // short rows, and one as long as may be
    for row in [1, 1 << 20] {
        let rows = if row == 1 { 1 << 22 } else { 16 };
        let offsets: Vec<u32> = (0..=rows).map(|i| i * row).collect();
        let entries = (rows * row) as usize;
        let csr = Csr::new(gpu, &offsets, &vec![0; entries], &vec![1.0; entries]).unwrap();
        let [x, y] = [noop.operand(&[rows as usize], DType::F32), noop.result(&[rows as usize], DType::F32)];
        noop.expect_recorded(|recording| LinearOperator::record(&csr, recording, &x, &y));
    }
}

fn estimators(noop: &Noop, n: usize) {
    let d = noop.operand(&[n], DType::F32);
    let operator = Diagonal::new(&noop.gpu, &d).unwrap();
    expect_no_refusal(block_on(trace(&operator, &TraceOptions { samples: 2, seed: 0 })).map(drop));
    noop.free();
    expect_no_refusal(diagonal(&operator, &DiagonalOptions { samples: 2, seed: 0 }).map(drop));
    noop.free();
    expect_no_refusal(block_on(hutch_plus_plus(&operator, &HutchPlusPlusOptions { rank: 2, samples: 2, seed: 0 })).map(drop));
}

/// The device returns zeros, which a method may refuse; that is not what is asked.
fn expect_no_refusal(result: Result<()>) {
    assert!(!matches!(result, Err(Error::Pipeline { .. } | Error::LimitTooSmall { .. } | Error::OutOfMemory { .. })), "{result:?}");
}

fn grids(noop: &Noop, n: usize) {
    let gpu = &noop.gpu;
    let dot = common::f32s(gpu, &[1]);
    let product = |operator: &dyn LinearOperator, n: usize| {
        let (x, y) = (noop.operand(&[n], DType::F32), noop.result(&[n], DType::F32));
        noop.expect_recorded(|recording| {
            operator.record_dot(recording, &x, &y, &dot)?;
            operator.record_project(recording, &y)
        });
    };
    // solid, so that no components have to be found
    let solid = Grid::new(&[n >> 12, 1 << 12]).unwrap().with_flags(&vec![1; n]).unwrap();
    product(&Laplacian::new(gpu, &solid).unwrap(), n);
    let n = n / 8;
    let grid = Grid::new(&[n >> 12, 1 << 12]).unwrap();
    product(&Laplacian::new(gpu, &grid).unwrap(), n);
    product(&Jacobi::new(gpu, &grid).unwrap(), n);
    product(&IncompletePoisson::new(gpu, &grid).unwrap(), n);
    // many pockets of a cell
    let sizes = [1 << 10, 1 << 11];
    let flags: Vec<u8> = (0..sizes[0] * sizes[1]).map(|i| ((i / sizes[1] + i) % 2) as u8).collect();
    product(&Laplacian::new(gpu, &Grid::new(&sizes).unwrap().with_flags(&flags).unwrap()).unwrap(), flags.len());
    // rows of one cell, and of many
    for sizes in [&[n / 4, 1, 1][..], &[n >> 12, 1 << 10], &[n >> 14, 1 << 6, 1 << 6]] {
        let grid = Grid::new(sizes).unwrap();
        product(&Multigrid::new(gpu, &grid, &MultigridOptions::default()).unwrap(), grid.len());
    }
    let grid = Grid::new(&[n >> 11, 1 << 11]).unwrap();
    let weights = Weights::initial(gpu, &Architecture::net_64(2), 0).unwrap();
    let network = DeepPreconditioner::new(gpu, &grid, &weights).unwrap();
    let (x, y) = (noop.operand(&[grid.len()], DType::F32), noop.result(&[grid.len()], DType::F32));
    noop.expect_recorded(|recording| Preconditioner::record(&network, recording, &x, &y));
}
