//! Curvature and second-order steps where something is missing: unused parameters, parts without curvature, constant
//! losses, gradients of zero, losses with an offset that f32 cannot see beyond.

#![cfg(feature = "curvature")]

mod common;

use common::{gpu, gpu_for, read};
use gradus::curvature::{
    Curvature, GradientNormalizedNewton, HessianFree, HessianFreeOptions, Likelihood, Matrix, NewtonOptions, StepStatus,
};
use gradus::gpu::{Checks, Target};
use gradus::graph::{Graph, Init, Parameters, Plan, Stage, Var, layers, losses};
use gradus::krylov::LinearOperator;
use gradus::{DType, Gpu, Recording, Tensor};
use pollster::block_on;

fn gpus() -> [Gpu; 3] {
    [gpu(Checks::Checked), gpu_for(Target::software()), gpu_for(Target::discrete())]
}

/// The loss, the gradient, and the product of the matrix with `v`.
fn derivatives(gpu: &Gpu, graph: &Graph, loss: Var, matrix: Matrix, p: &[f32], v: &[f32]) -> (f64, Vec<f64>, Vec<f64>) {
    let parameters = Parameters::new(gpu, graph, 0).unwrap();
    parameters.flat().write(gpu, p).unwrap();
    let wrt: Vec<Var> = graph.parameters().map(|(_, var)| var).collect();
    let bindings: Vec<(Var, &Tensor)> = wrt.iter().copied().zip(parameters.tensors()).collect();
    let curvature = Curvature::new(gpu, graph, loss, matrix, &wrt, &bindings).unwrap();
    let n = v.len();
    let [x, y, g] = [v.to_vec(), vec![f32::NAN; n], vec![f32::NAN; n]].map(|values| Tensor::from_slice(gpu, &[n], &values).unwrap());
    let l = Tensor::from_slice(gpu, &[1], &[f32::NAN]).unwrap();
    let mut recording = Recording::new();
    curvature.record_prepare(&mut recording).unwrap();
    curvature.record(&mut recording, &x, &y).unwrap();
    gpu.submit([&recording]);
    let product = read(gpu, &y);
    let mut recording = Recording::new();
    curvature.record_gradient(&mut recording, &l, &g).unwrap();
    gpu.submit([&recording]);
    // what the gradient computes does not change the products
    y.write(gpu, &vec![f32::NAN; n]).unwrap();
    let mut recording = Recording::new();
    curvature.record(&mut recording, &x, &y).unwrap();
    gpu.submit([&recording]);
    assert_eq!(read(gpu, &y), product);
    (read(gpu, &l)[0], read(gpu, &g), product)
}

/// Parameters x [3] and y [2], and what is made of both.
fn two(build: impl Fn(&mut Graph, Var, Var) -> Var) -> (Graph, Var) {
    let mut graph = Graph::new();
    let x = graph.parameter("x", &[3], Init::Zeros).unwrap();
    let y = graph.parameter("y", &[2], Init::Zeros).unwrap();
    let loss = build(&mut graph, x, y);
    (graph, loss)
}

fn sum(graph: &mut Graph, x: Var) -> Var {
    graph.sum(x, &[0]).unwrap()
}

fn squares(graph: &mut Graph, x: Var) -> Var {
    let squares = graph.mul(x, x).unwrap();
    sum(graph, squares)
}

/// A loss of x and y, its value, its gradient and H·1 at p.
type Case = (&'static str, fn(&mut Graph, Var, Var) -> Var, f64, [f64; 5], [f64; 5]);

const P: [f32; 5] = [1.0, -2.0, 0.5, 3.0, -1.0];

#[test]
fn parts_without_curvature() {
    let e = 2f64.exp();
    let cases: [Case; 9] = [
        (
            "Σx² + Σy",
            |g, x, y| {
                let (a, b) = (squares(g, x), sum(g, y));
                g.add(a, b).unwrap()
            },
            7.25,
            [2.0, -4.0, 1.0, 1.0, 1.0],
            [2.0, 2.0, 2.0, 0.0, 0.0],
        ),
        (
            "Σrelu(x) + Σy²",
            |g, x, y| {
                let r = g.relu(x).unwrap();
                let (a, b) = (sum(g, r), squares(g, y));
                g.add(a, b).unwrap()
            },
            11.5,
            [1.0, 0.0, 1.0, 6.0, -2.0],
            [0.0, 0.0, 0.0, 2.0, 2.0],
        ),
        ("y unused", |g, x, _| squares(g, x), 5.25, [2.0, -4.0, 1.0, 0.0, 0.0], [2.0, 2.0, 2.0, 0.0, 0.0]),
        ("x unused", |g, _, y| squares(g, y), 10.0, [0.0, 0.0, 0.0, 6.0, -2.0], [0.0, 0.0, 0.0, 2.0, 2.0]),
        (
            "linear",
            |g, x, y| {
                let (a, b) = (sum(g, x), sum(g, y));
                g.sub(a, b).unwrap()
            },
            -2.5,
            [1.0, 1.0, 1.0, -1.0, -1.0],
            [0.0; 5],
        ),
        ("constant", |g, _, _| g.constant(7.0, &[]).unwrap(), 7.0, [0.0; 5], [0.0; 5]),
        ("an element", |g, _, y| g.slice(y, std::slice::from_ref(&(0..1))).unwrap(), 3.0, [0.0, 0.0, 0.0, 1.0, 0.0], [0.0; 5]),
        (
            "half the squares of x, Σ|y|",
            |g, x, y| {
                let a = squares(g, x);
                let a = g.scale(a, 0.5).unwrap();
                let b = g.abs(y).unwrap();
                let b = sum(g, b);
                g.add(a, b).unwrap()
            },
            6.625,
            [1.0, -2.0, 0.5, 1.0, -1.0],
            [1.0, 1.0, 1.0, 0.0, 0.0],
        ),
        // the loss itself is what products need
        (
            "exp Σy",
            |g, _, y| {
                let s = sum(g, y);
                g.exp(s).unwrap()
            },
            7.38905609893065,
            [0.0, 0.0, 0.0, 7.38905609893065, 7.38905609893065],
            [0.0, 0.0, 0.0, 14.7781121978613, 14.7781121978613],
        ),
    ];
    assert!((cases[8].2 - e).abs() < 1e-12);
    for gpu in gpus() {
        for (name, build, loss, gradient, product) in &cases {
            let (graph, var) = two(build);
            let (l, g, h) = derivatives(&gpu, &graph, var, Matrix::Hessian, &P, &[1.0; 5]);
            let near = |found: &[f64], expected: &[f64], what: &str| {
                let close =
                    found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| (f - e).abs() <= 1e-6 * (1.0 + e.abs()));
                assert!(close, "{name}: {what} {found:?}, and {expected:?} was expected");
            };
            near(&[l], &[*loss], "loss");
            near(&g, gradient, "gradient");
            near(&h, product, "product");
        }
    }
}

/// Where the gradient is a leaf of the graph, `c` of Σcx: it is bound beside the leaf.
#[test]
fn a_gradient_that_is_a_leaf() {
    for gpu in gpus() {
        let mut graph = Graph::new();
        let (x, c) = (graph.parameter("x", &[3], Init::Zeros).unwrap(), graph.input("c", &[3]).unwrap());
        let product = graph.mul(x, c).unwrap();
        let loss = sum(&mut graph, product);
        let [p, data, v, h, g] = [[1.0f32, 2.0, 3.0], [5.0, 6.0, -7.0], [1.0; 3], [f32::NAN; 3], [f32::NAN; 3]]
            .map(|values| Tensor::from_slice(&gpu, &[3], &values).unwrap());
        let l = Tensor::zeros(&gpu, &[1], DType::F32).unwrap();
        let curvature = Curvature::new(&gpu, &graph, loss, Matrix::Hessian, &[x], &[(x, &p), (c, &data)]).unwrap();
        let mut recording = Recording::new();
        curvature.record_gradient(&mut recording, &l, &g).unwrap();
        curvature.record(&mut recording, &v, &h).unwrap();
        gpu.submit([&recording]);
        assert_eq!((read(&gpu, &l), read(&gpu, &g), read(&gpu, &h)), (vec![-4.0], vec![5.0, 6.0, -7.0], vec![0.0; 3]));
    }
}

/// Outputs o(x, z) of x alone, for x = p [2] and z [2]: all matrices have zeros for z.
#[test]
fn a_second_head_that_no_loss_reads() {
    for gpu in gpus() {
        let mut graph = Graph::new();
        let (x, z) = (graph.parameter("x", &[1, 2], Init::Zeros).unwrap(), graph.parameter("z", &[2], Init::Zeros).unwrap());
        let classes = graph.indices("classes", &[1]).unwrap();
        let loss = losses::cross_entropy(&mut graph, x, classes).unwrap();
        let parameters = Parameters::new(&gpu, &graph, 0).unwrap();
        let class = Tensor::from_slice(&gpu, &[1], &[1u32]).unwrap();
        let draw = |draws| Matrix::MonteCarloFisher { output: x, likelihood: Likelihood::Categorical, draws, seed: 1 };
        // p = ½, and so diag p - ppᵀ = ¼ [1 -1; -1 1], as is d dᵀ for either class
        for matrix in [Matrix::Hessian, Matrix::GaussNewton { output: x }, Matrix::EmpiricalFisher { output: x }, draw(1), draw(3)] {
            let wrt = [(x, &parameters.tensors()[0]), (z, &parameters.tensors()[1])];
            let bindings = [&wrt[..], &[(classes, &class)]].concat();
            let curvature = Curvature::new(&gpu, &graph, loss, matrix, &[x, z], &bindings).unwrap();
            let v = Tensor::from_slice(&gpu, &[4], &[1.0f32, 0.0, 5.0, 7.0]).unwrap();
            let y = Tensor::from_slice(&gpu, &[4], &[f32::NAN; 4]).unwrap();
            let mut recording = Recording::new();
            curvature.record_prepare(&mut recording).unwrap();
            curvature.record(&mut recording, &v, &y).unwrap();
            gpu.submit([&recording]);
            let found = read(&gpu, &y);
            let close = found.iter().zip([0.25, -0.25, 0.0, 0.0]).all(|(f, e)| (f - e).abs() < 1e-6);
            assert!(close, "{matrix:?}: {found:?}");
        }
        let mut newton =
            GradientNormalizedNewton::new(&gpu, &graph, loss, &parameters, &[(classes, &class)], &NewtonOptions::default()).unwrap();
        let mut free = HessianFree::new(&gpu, &graph, x, loss, &parameters, &[(classes, &class)], &HessianFreeOptions::default()).unwrap();
        for report in [block_on(newton.step()).unwrap(), block_on(free.step()).unwrap()] {
            assert!(report.status == StepStatus::Accepted && report.loss < report.loss_before, "{report:?}");
        }
        let p = read(&gpu, parameters.flat());
        assert!(p[1] > 0.0 && p[0] < 0.0 && p[2..] == [0.0; 2], "{p:?}");
    }
}

/// y = x², z = 3 y: y is changed in place between the stages, and z is that of the y before. So is y once more.
#[test]
fn outputs_changed_between_stages() {
    for gpu in gpus() {
        let mut graph = Graph::new();
        let (x, v) = (graph.input("x", &[5]).unwrap(), graph.input("v", &[5]).unwrap());
        let y = graph.mul(x, x).unwrap();
        let z = graph.mul(y, v).unwrap();
        let stages = [Stage::new(&[y]), Stage::new(&[z]).after(&[v]), Stage::new(&[y, y])];
        let data = Tensor::from_slice(&gpu, &[5], &[1.0f32, 2.0, 3.0, 4.0, -5.0]).unwrap();
        let tangent = Tensor::from_slice(&gpu, &[5], &[3.0f32; 5]).unwrap();
        let outputs = [(); 4].map(|()| Tensor::zeros(&gpu, &[5], DType::F32).unwrap());
        let [first, product, second, third] = &outputs;
        let plan = Plan::new(&gpu, &graph, &stages).unwrap();
        let bindings = [(x, &data), (y, first), (z, product), (y, second), (y, third)];
        let program = plan.compile(&gpu, &[bindings.to_vec(), vec![(v, &tangent)]].concat()).unwrap();
        gpu.submit([&program.recording(0).unwrap()]);
        assert_eq!(read(&gpu, first), [1.0, 4.0, 9.0, 16.0, 25.0]);
        first.write(&gpu, &[1.0f32; 5]).unwrap();
        gpu.submit([&program.recording(1).unwrap()]);
        assert_eq!(read(&gpu, product), [3.0, 12.0, 27.0, 48.0, 75.0]);
        gpu.submit([&program.recording(2).unwrap()]);
        assert_eq!(read(&gpu, first), [1.0; 5]);
        for again in [second, third] {
            assert_eq!(read(&gpu, again), [1.0, 4.0, 9.0, 16.0, 25.0]);
        }
    }
}

/// Products with the unit vectors: the matrix, by columns.
fn matrix_of(gpu: &Gpu, curvature: &Curvature) -> Vec<Vec<f64>> {
    let n = curvature.dim();
    let identity: Vec<f32> = (0..n * n).map(|i| f32::from(i % (n + 1) == 0)).collect();
    let [x, y] = [&identity, &vec![f32::NAN; n * n]].map(|values| Tensor::from_slice(gpu, &[n, n], values).unwrap());
    let mut recording = Recording::new();
    curvature.record_prepare(&mut recording).unwrap();
    curvature.record_block(&mut recording, &x, &y).unwrap();
    gpu.submit([&recording]);
    read(gpu, &y).chunks(n).map(<[f64]>::to_vec).collect()
}

#[test]
fn each_token_is_a_sample() {
    for gpu in [gpu(Checks::Checked), gpu_for(Target::discrete())] {
        // logits [1, 2, 2] of zeros: ½ Σ d dᵀ over two tokens, d = (½, -½)
        let mut graph = Graph::new();
        let logits = graph.parameter("logits", &[1, 2, 2], Init::Zeros).unwrap();
        let classes = graph.indices("classes", &[1, 2]).unwrap();
        let loss = losses::cross_entropy(&mut graph, logits, classes).unwrap();
        let parameters = Parameters::new(&gpu, &graph, 0).unwrap();
        let numbers = Tensor::from_slice(&gpu, &[1, 2], &[0u32, 1]).unwrap();
        let bindings = [(logits, &parameters.tensors()[0]), (classes, &numbers)];
        let fisher = Matrix::EmpiricalFisher { output: logits };
        let found = matrix_of(&gpu, &Curvature::new(&gpu, &graph, loss, fisher, &[logits], &bindings).unwrap());
        // logits of token t are elements t and 2 + t
        for (i, row) in found.iter().enumerate() {
            for (j, &element) in row.iter().enumerate() {
                let expected = if i % 2 != j % 2 {
                    0.0
                } else if i == j {
                    0.125
                } else {
                    -0.125
                };
                assert!((element - expected).abs() < 1e-7, "{found:?}");
            }
        }

        // logits [2, 3, 4] of a dense layer, against the sum over tokens in f64
        let (batch, classes_count, tokens, width) = (2, 3, 4, 2);
        let mut graph = Graph::new();
        let x = graph.input("x", &[batch, tokens, width]).unwrap();
        let classes = graph.indices("classes", &[batch, tokens]).unwrap();
        let scores = layers::dense(&mut graph, "dense", x, classes_count).unwrap();
        let logits = graph.transpose(scores, &[0, 2, 1]).unwrap();
        let cross = losses::cross_entropy(&mut graph, logits, classes).unwrap();
        // the same loss of parts whose means are written by hand, over logits with the classes last
        let logs = graph.log_softmax(scores, 2).unwrap();
        let one_hot = graph.one_hot(classes, classes_count).unwrap();
        let picked = graph.mul(logs, one_hot).unwrap();
        let mean = graph.mean(picked, &[]).unwrap();
        let by_hand = graph.scale(mean, -(classes_count as f64)).unwrap();
        let parameters = Parameters::new(&gpu, &graph, 4).unwrap();
        let data = common::noise(3, batch * tokens * width);
        let targets: Vec<u32> = (0..8).map(|i| [0, 2, 1, 1, 2, 0, 2, 2][i]).collect();
        let data_tensor = Tensor::from_slice(&gpu, &[batch, tokens, width], &data).unwrap();
        let targets_tensor = Tensor::from_slice(&gpu, &[batch, tokens], &targets).unwrap();
        let wrt: Vec<Var> = graph.parameters().map(|(_, var)| var).collect();
        let mut bindings = vec![(x, &data_tensor), (classes, &targets_tensor)];
        bindings.extend(wrt.iter().copied().zip(parameters.tensors()));
        let p = read(&gpu, parameters.flat());
        let n = p.len();
        let mut expected = vec![vec![0.0; n]; n];
        for (token, input) in data.chunks(width).enumerate() {
            let score = |c: usize| (0..width).map(|i| p[c * width + i] * f64::from(input[i])).sum::<f64>() + p[classes_count * width + c];
            let e: Vec<f64> = (0..classes_count).map(|c| score(c).exp()).collect();
            let d = |c: usize| e[c] / e.iter().sum::<f64>() - f64::from(targets[token] as usize == c);
            let weights = (0..classes_count * width).map(|i| d(i / width) * f64::from(input[i % width]));
            let g: Vec<f64> = weights.chain((0..classes_count).map(d)).collect();
            for (row, a) in expected.iter_mut().zip(&g) {
                row.iter_mut().zip(&g).for_each(|(element, b)| *element += a * b / (batch * tokens) as f64);
            }
        }
        for (loss, output) in [(cross, logits), (by_hand, scores)] {
            let matrix = Matrix::EmpiricalFisher { output };
            let found = matrix_of(&gpu, &Curvature::new(&gpu, &graph, loss, matrix, &wrt, &bindings).unwrap());
            for (found, expected) in found.concat().iter().zip(expected.concat()) {
                assert!((found - expected).abs() < 2e-6, "{found}, and {expected} was expected");
            }
        }
    }
}

/// ½Σh(p − 1)² + offset from 0, with h from 1 to 100.
fn valley(gpu: &Gpu, n: usize, offset: f64) -> (Graph, Var, Var, Parameters, [(Var, Tensor); 1]) {
    let mut graph = Graph::new();
    let p = graph.parameter("p", &[n], Init::Zeros).unwrap();
    let root = graph.input("root", &[n]).unwrap();
    let shifted = graph.add_scalar(p, -1.0).unwrap();
    let output = graph.mul(root, shifted).unwrap();
    let squares = squares(&mut graph, output);
    let half = graph.scale(squares, 0.5).unwrap();
    let loss = graph.add_scalar(half, offset).unwrap();
    let roots: Vec<f32> = (0..n).map(|i| 10f32.powf(i as f32 / (n - 1) as f32)).collect();
    let parameters = Parameters::new(gpu, &graph, 0).unwrap();
    let root_tensor = Tensor::from_slice(gpu, &[n], &roots).unwrap();
    (graph, output, loss, parameters, [(root, root_tensor)])
}

#[test]
fn a_loss_with_an_offset() {
    let gpu = gpu(Checks::Unchecked);
    for (n, offset) in [(10, 100.0), (30, 0.0), (10, -1e6), (10, 1e8)] {
        for newton in [true, false] {
            let (graph, output, loss, parameters, data) = valley(&gpu, n, offset);
            let bindings = [(data[0].0, &data[0].1)];
            let mut newton_steps =
                GradientNormalizedNewton::new(&gpu, &graph, loss, &parameters, &bindings, &NewtonOptions::default()).unwrap();
            let mut free_steps =
                HessianFree::new(&gpu, &graph, output, loss, &parameters, &bindings, &HessianFreeOptions::default()).unwrap();
            let mut step = || if newton { block_on(newton_steps.step()).unwrap() } else { block_on(free_steps.step()).unwrap() };
            let what = format!("{n} parameters, offset {offset}, newton {newton}");
            let mut count = 0;
            while step().gradient_norm > 1e-3 {
                count += 1;
                assert!(count < 60, "{what}: no end");
            }
            // and f32 allow some more, and then no more: nothing moves for good
            let end = (0..200).map(|_| step()).find(|report| matches!(report.status, StepStatus::NoProgress | StepStatus::Stationary));
            assert!(end.is_some_and(|report| report.gradient_norm <= 1e-3), "{what}: {end:?}");
            for p in read(&gpu, parameters.flat()) {
                assert!((p - 1.0).abs() < 1e-3, "{what}: {p}");
            }
        }
    }
}

/// Gradients whose squares f32 do not hold: neither zero nor infinite.
#[test]
fn gradients_of_any_scale() {
    let gpu = gpu(Checks::Unchecked);
    for scale in [1e-25, 1e25] {
        let mut graph = Graph::new();
        let p = graph.parameter("p", &[3], Init::Ones).unwrap();
        let sum = sum(&mut graph, p);
        let loss = graph.scale(sum, scale).unwrap();
        let parameters = Parameters::new(&gpu, &graph, 0).unwrap();
        let mut newton = GradientNormalizedNewton::new(&gpu, &graph, loss, &parameters, &[], &NewtonOptions::default()).unwrap();
        let report = block_on(newton.step()).unwrap();
        assert!((report.gradient_norm / (3f64.sqrt() * scale) - 1.0).abs() < 1e-5, "{report:?}");
        assert!(report.status != StepStatus::Stationary, "{report:?}");
    }
    // a gradient of zeros, and one that is not a number
    let mut graph = Graph::new();
    let p = graph.parameter("p", &[3], Init::Ones).unwrap();
    let shifted = graph.add_scalar(p, -1.0).unwrap();
    let loss = squares(&mut graph, shifted);
    let parameters = Parameters::new(&gpu, &graph, 0).unwrap();
    let mut newton = GradientNormalizedNewton::new(&gpu, &graph, loss, &parameters, &[], &NewtonOptions::default()).unwrap();
    let mut free = HessianFree::new(&gpu, &graph, shifted, loss, &parameters, &[], &HessianFreeOptions::default()).unwrap();
    assert_eq!(block_on(newton.step()).unwrap().status, StepStatus::Stationary);
    assert_eq!(block_on(free.step()).unwrap().status, StepStatus::Stationary);
    parameters.flat().write(&gpu, &[1.0f32, f32::NAN, 2.0]).unwrap();
    assert_eq!(block_on(newton.step()).unwrap().status, StepStatus::NonFinite);
    assert_eq!(block_on(free.step()).unwrap().status, StepStatus::NonFinite);
}
