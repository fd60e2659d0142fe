//! Second-order optimizers against their definitions in f64, on problems with known minima, and against Adam.

#![cfg(all(feature = "curvature", feature = "optim"))]

mod common;
#[path = "../examples/common/digits.rs"]
mod digits;

use std::collections::HashMap;

use gradus::curvature::{
    Curvature, GradientNormalizedNewton, HessianFree, HessianFreeOptions, Matrix, Model, NewtonOptions, StepReport, StepStatus,
};
use gradus::gpu::Checks;
use gradus::graph::{Graph, Init, Parameters, Plan, Stage, Var, layers, losses};
use gradus::optim::{Adam, Optimizer, Param};
use gradus::reference::graph::evaluate;
use gradus::reference::newton;
use gradus::reference::random::uniform;
use gradus::{Error, Gpu, Tensor};
use pollster::block_on;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// A graph with a loss, and the values of its inputs.
struct Task {
    graph: Graph,
    output: Var,
    loss: Var,
    data: Vec<(Var, Tensor)>,
    parameters: Parameters,
}

impl Task {
    fn bindings(&self) -> Vec<(Var, &Tensor)> {
        self.data.iter().map(|(var, tensor)| (*var, tensor)).collect()
    }

    fn hessian_free(&self, gpu: &Gpu, options: &HessianFreeOptions) -> HessianFree {
        HessianFree::new(gpu, &self.graph, self.output, self.loss, &self.parameters, &self.bindings(), options).unwrap()
    }

    fn newton(&self, gpu: &Gpu, options: &NewtonOptions) -> GradientNormalizedNewton {
        GradientNormalizedNewton::new(gpu, &self.graph, self.loss, &self.parameters, &self.bindings(), options).unwrap()
    }

    fn values(&self, gpu: &Gpu) -> Vec<f32> {
        block_on(self.parameters.flat().read(gpu)).unwrap()
    }
}

/// `½ Σ cᵢ (pᵢ - 1)²` from 0, as a squared error of `√cᵢ pᵢ`.
fn quadratic(gpu: &Gpu, n: usize) -> Task {
    let mut graph = Graph::new();
    let p = graph.parameter("p", &[n], Init::Zeros).unwrap();
    let (root, target) = (graph.input("root", &[n]).unwrap(), graph.input("target", &[n]).unwrap());
    let output = graph.mul(p, root).unwrap();
    let difference = graph.sub(output, target).unwrap();
    let squares = graph.mul(difference, difference).unwrap();
    let sum = graph.sum(squares, &[0]).unwrap();
    let loss = graph.scale(sum, 0.5).unwrap();
    let roots: Vec<f32> = (0..n).map(|i| (1.0 + 9.0 * i as f32 / n as f32).sqrt()).collect();
    let tensor = Tensor::from_slice(gpu, &[n], &roots).unwrap();
    let parameters = Parameters::new(gpu, &graph, 0).unwrap();
    Task { data: vec![(root, tensor.clone()), (target, tensor)], graph, output, loss, parameters }
}

/// `½ Σ rᵢ²` with `r = (10 (y - x²), 1 - x)`, from (-1.2, 1).
fn rosenbrock(gpu: &Gpu) -> Task {
    let mut graph = Graph::new();
    let p = graph.parameter("p", &[2, 1], Init::Zeros).unwrap();
    let x = graph.slice(p, &[0..1, 0..1]).unwrap();
    let y = graph.slice(p, &[1..2, 0..1]).unwrap();
    let square = graph.mul(x, x).unwrap();
    let valley = graph.sub(y, square).unwrap();
    let valley = graph.scale(valley, 10.0).unwrap();
    let far = graph.add_scalar(x, -1.0).unwrap();
    let output = graph.concat(&[valley, far], 0).unwrap();
    let squares = graph.mul(output, output).unwrap();
    let sum = graph.sum(squares, &[]).unwrap();
    let loss = graph.scale(sum, 0.5).unwrap();
    let parameters = Parameters::new(gpu, &graph, 0).unwrap();
    parameters.flat().write(gpu, &[-1.2f32, 1.0]).unwrap();
    Task { graph, output, loss, data: Vec::new(), parameters }
}

/// Points on two entangled spirals and a network for them.
fn network(graph: &mut Graph, samples: usize, hidden: usize) -> (Vec<Var>, Var, Var) {
    let x = graph.input("x", &[samples, 2]).unwrap();
    let classes = graph.indices("classes", &[samples]).unwrap();
    let h = if hidden > 0 {
        let h = layers::dense(graph, "hidden", x, hidden).unwrap();
        graph.tanh(h).unwrap()
    } else {
        x
    };
    let logits = layers::dense(graph, "logits", h, 2).unwrap();
    let loss = losses::cross_entropy(graph, logits, classes).unwrap();
    (vec![x, classes], logits, loss)
}

fn points(samples: usize) -> (Vec<f32>, Vec<u32>) {
    let noise = uniform(5, 0, 2 * samples);
    let mut x = Vec::new();
    for i in 0..samples {
        let (t, side) = (i as f64 / samples as f64, (i % 2) as f64);
        let (radius, angle) = (0.3 + 2.0 * t, 5.0 * t + std::f64::consts::PI * side);
        let jitter = |k: usize| 0.2 * (f64::from(noise[2 * i + k]) - 0.5);
        x.extend([(radius * angle.cos() + jitter(0)) as f32, (radius * angle.sin() + jitter(1)) as f32]);
    }
    (x, (0..samples).map(|i| (i % 2) as u32).collect())
}

fn spirals(gpu: &Gpu, samples: usize, hidden: usize) -> Task {
    let mut graph = Graph::new();
    let (inputs, output, loss) = network(&mut graph, samples, hidden);
    let (x, classes) = points(samples);
    let x = Tensor::from_slice(gpu, &[samples, 2], &x).unwrap();
    let classes = Tensor::from_slice(gpu, &[samples], &classes).unwrap();
    let parameters = Parameters::new(gpu, &graph, 3).unwrap();
    Task { data: inputs.into_iter().zip([x, classes]).collect(), graph, output, loss, parameters }
}

/// Loss, gradient and product of a task by the interpreter, in f64.
struct Interpreted {
    graph: Graph,
    values: HashMap<Var, Vec<f64>>,
    parameters: Vec<(Var, usize)>,
    loss: Var,
    gradient: Vec<Var>,
    tangents: Vec<Var>,
    product: Vec<Var>,
}

impl Interpreted {
    fn new(gpu: &Gpu, task: &Task, gauss_newton: bool) -> Self {
        let mut graph = task.graph.clone();
        let wrt: Vec<Var> = graph.parameters().map(|(_, var)| var).collect();
        let gradient = graph.gradient(task.loss, &wrt).unwrap();
        let mut tangents = Vec::new();
        for (i, &var) in wrt.iter().enumerate() {
            let shape = graph.shape(var).unwrap().to_vec();
            tangents.push(graph.input(&format!("tangent {i}"), &shape).unwrap());
        }
        let product = if gauss_newton {
            let tangent = graph.jvp(&[task.output], &wrt, &tangents).unwrap();
            let slope = graph.gradient(task.loss, &[task.output]).unwrap();
            let curved = graph.jvp(&slope, &[task.output], &tangent).unwrap();
            graph.vjp(&[task.output], &curved, &wrt).unwrap()
        } else {
            graph.jvp(&gradient, &wrt, &tangents).unwrap()
        };
        let mut values = HashMap::new();
        for (var, tensor) in &task.data {
            let read: Vec<f64> = match tensor.dtype() {
                gradus::DType::U32 => block_on(tensor.read::<u32>(gpu)).unwrap().into_iter().map(f64::from).collect(),
                _ => block_on(tensor.read::<f32>(gpu)).unwrap().into_iter().map(f64::from).collect(),
            };
            values.insert(*var, read);
        }
        let parameters = wrt.iter().map(|&var| (var, graph.shape(var).unwrap().iter().product())).collect();
        Self { graph, values, parameters, loss: task.loss, gradient, tangents, product }
    }

    fn evaluate(&self, p: &[f64], v: Option<&[f64]>, outputs: &[Var]) -> Vec<f64> {
        let mut values = self.values.clone();
        let mut start = 0;
        for (&(var, n), &tangent) in self.parameters.iter().zip(&self.tangents) {
            values.insert(var, p[start..start + n].to_vec());
            if let Some(v) = v {
                values.insert(tangent, v[start..start + n].to_vec());
            }
            start += n;
        }
        evaluate(&self.graph, &values, outputs).unwrap().concat()
    }

    fn with<T>(&self, f: impl FnOnce(&newton::Problem) -> T) -> T {
        f(&newton::Problem {
            loss: &|p| self.evaluate(p, None, &[self.loss])[0],
            gradient: &|p| self.evaluate(p, None, &self.gradient),
            product: &|p, v| self.evaluate(p, Some(v), &self.product),
        })
    }
}

fn close(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance * (1.0 + expected.abs()), "{what}: {found}, and {expected} was expected");
}

#[test]
fn a_quadratic_takes_a_step_or_two() {
    for checks in [Checks::Unchecked, Checks::Checked] {
        let gpu = common::gpu(checks);
        for n in [1, 7, 40] {
            let task = quadratic(&gpu, n);
            let mut optimizer = task.hessian_free(&gpu, &HessianFreeOptions { lambda: 1e-6, truncation: 1e-9, ..Default::default() });
            let first = block_on(optimizer.step()).unwrap();
            assert!(first.status == StepStatus::Accepted && first.step_size == 1.0, "{first:?}");
            close(first.reduction_ratio, 1.0, 1e-4, "ratio");
            block_on(optimizer.step()).unwrap();
            task.values(&gpu).iter().for_each(|&p| close(p.into(), 1.0, 2e-5, "minimum"));

            let task = quadratic(&gpu, n);
            let mut optimizer = task.newton(&gpu, &NewtonOptions { gamma: 1e6, tolerance: 1e-6, ..Default::default() });
            let first = block_on(optimizer.step()).unwrap();
            assert!(first.status == StepStatus::Accepted, "{first:?}");
            close(first.reduction_ratio, 1.0, 1e-4, "ratio");
            block_on(optimizer.step()).unwrap();
            task.values(&gpu).iter().for_each(|&p| close(p.into(), 1.0, 2e-5, "minimum"));
        }
    }
}

#[test]
fn rosenbrocks_valley_is_followed_to_its_end() {
    let gpu = common::gpu(Checks::Unchecked);
    let reaches = |task: &Task, step: &mut dyn FnMut() -> StepReport| {
        let mut last = f64::INFINITY;
        for _ in 0..100 {
            let report = step();
            assert!(report.loss <= last, "{report:?}");
            last = report.loss;
        }
        task.values(&gpu).iter().for_each(|&p| close(p.into(), 1.0, 1e-3, "minimum"));
    };
    let task = rosenbrock(&gpu);
    let mut optimizer = task.hessian_free(&gpu, &HessianFreeOptions::default());
    reaches(&task, &mut || block_on(optimizer.step()).unwrap());
    let task = rosenbrock(&gpu);
    let mut optimizer = task.newton(&gpu, &NewtonOptions::default());
    reaches(&task, &mut || block_on(optimizer.step()).unwrap());
}

#[test]
fn steps_are_those_of_the_reference() {
    for checks in [Checks::Unchecked, Checks::Checked] {
        let gpu = common::gpu(checks);
        for hidden in [0, 5] {
            let task = spirals(&gpu, 33, hidden);
            let mut p: Vec<f64> = task.values(&gpu).into_iter().map(f64::from).collect();
            let mut state = newton::HessianFree { lambda: 1.0, solution: vec![0.0; p.len()] };
            let mut optimizer = task.hessian_free(&gpu, &HessianFreeOptions::default());
            let interpreted = Interpreted::new(&gpu, &task, true);
            for step in 0..5 {
                let expected = interpreted.with(|problem| newton::hessian_free(problem, &mut p, &mut state, 250));
                let found = block_on(optimizer.step()).unwrap();
                close(found.loss, expected, 2e-4, &format!("hessian-free loss after step {step}, {hidden} hidden"));
                close(optimizer.lambda(), state.lambda, 1e-6, &format!("damping after step {step}, {hidden} hidden"));
            }

            let task = spirals(&gpu, 33, hidden);
            let mut p: Vec<f64> = task.values(&gpu).into_iter().map(f64::from).collect();
            let mut gamma = 1.0;
            let mut optimizer = task.newton(&gpu, &NewtonOptions::default());
            let interpreted = Interpreted::new(&gpu, &task, false);
            for step in 0..5 {
                let expected = interpreted.with(|problem| newton::gradient_normalized_newton(problem, &mut p, &mut gamma, 0.01, 250));
                let found = block_on(optimizer.step()).unwrap();
                close(found.loss, expected, 2e-4, &format!("newton loss after step {step}, {hidden} hidden"));
                close(optimizer.gamma(), gamma, 0.0, &format!("gamma after step {step}, {hidden} hidden"));
            }
        }
    }
}

#[test]
fn negative_curvature_alone_is_a_step_along_the_gradient() {
    let gpu = common::gpu(Checks::Unchecked);
    let mut graph = Graph::new();
    let p = graph.parameter("p", &[3], Init::Zeros).unwrap();
    let cosine = graph.cos(p).unwrap();
    let loss = graph.sum(cosine, &[0]).unwrap();
    let parameters = Parameters::new(&gpu, &graph, 0).unwrap();
    parameters.flat().write(&gpu, &[0.3f32, -0.2, 0.1]).unwrap();
    let options = NewtonOptions { gamma: 0.5, ..Default::default() };
    let mut optimizer = GradientNormalizedNewton::new(&gpu, &graph, loss, &parameters, &[], &options).unwrap();
    let first = block_on(optimizer.step()).unwrap();
    assert!(first.status == StepStatus::Accepted && first.cg_iterations == 0, "{first:?}");
    let moved = block_on(parameters.flat().read::<f32>(&gpu)).unwrap();
    let length = moved.iter().zip([0.3f32, -0.2, 0.1]).map(|(p, q)| f64::from(p - q).powi(2)).sum::<f64>().sqrt();
    close(length, 0.5, 1e-6, "length");
    for _ in 0..15 {
        block_on(optimizer.step()).unwrap();
    }
    close(block_on(optimizer.step()).unwrap().loss, -3.0, 1e-6, "minimum");
}

#[test]
fn what_fails_leaves_the_parameters_as_they_were() {
    let gpu = common::gpu(Checks::Unchecked);
    // a loss that is NaN beyond 1, whose minimum lies there: log(1 - p) and a pull to 3
    let mut graph = Graph::new();
    let p = graph.parameter("p", &[3], Init::Zeros).unwrap();
    let difference = graph.add_scalar(p, -3.0).unwrap();
    let squares = graph.mul(difference, difference).unwrap();
    let minus = graph.scale(p, -1.0).unwrap();
    let room = graph.add_scalar(minus, 1.0).unwrap();
    let wall = graph.log(room).unwrap();
    let wall = graph.scale(wall, -1e-3).unwrap();
    let each = graph.add(squares, wall).unwrap();
    let loss = graph.sum(each, &[0]).unwrap();
    let parameters = Parameters::new(&gpu, &graph, 0).unwrap();
    let start = [0.1f32, -0.0, 0.3];
    parameters.flat().write(&gpu, &start).unwrap();
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();

    let options = NewtonOptions { gamma: 1e3, ..Default::default() };
    let mut optimizer = GradientNormalizedNewton::new(&gpu, &graph, loss, &parameters, &[], &options).unwrap();
    let report = block_on(optimizer.step()).unwrap();
    assert!(report.status == StepStatus::NonFinite && report.step_size == 0.0 && report.loss == report.loss_before, "{report:?}");
    assert_eq!(bits(&block_on(parameters.flat().read::<f32>(&gpu)).unwrap()), bits(&start));
    assert_eq!(optimizer.gamma(), 500.0);

    // the line search of the other finds a point before the wall
    let options = HessianFreeOptions { lambda: 1e-3, ..Default::default() };
    let mut optimizer = HessianFree::new(&gpu, &graph, p, loss, &parameters, &[], &options).unwrap();
    let report = block_on(optimizer.step()).unwrap();
    assert!(report.status == StepStatus::Accepted && report.step_size < 1.0 && report.loss < report.loss_before, "{report:?}");
    assert!(optimizer.lambda() > 1e-3);

    // and nothing helps where the loss is not a number at the start
    let nowhere = [2.0f32, -0.0, 0.5];
    parameters.flat().write(&gpu, &nowhere).unwrap();
    let lambda = optimizer.lambda();
    let report = block_on(optimizer.step()).unwrap();
    assert!(report.status == StepStatus::NonFinite && report.loss.is_nan(), "{report:?}");
    assert_eq!(bits(&block_on(parameters.flat().read::<f32>(&gpu)).unwrap()), bits(&nowhere));
    assert_eq!(optimizer.lambda(), 1.5 * lambda);
}

#[test]
fn at_a_minimum_nothing_happens() {
    let gpu = common::gpu(Checks::Unchecked);
    let task = quadratic(&gpu, 5);
    task.parameters.flat().write(&gpu, &[1.0f32; 5]).unwrap();
    let report = block_on(task.hessian_free(&gpu, &HessianFreeOptions::default()).step()).unwrap();
    assert!(report.status == StepStatus::Stationary && report.gradient_norm == 0.0 && report.loss == 0.0, "{report:?}");
    let report = block_on(task.newton(&gpu, &NewtonOptions::default()).step()).unwrap();
    assert!(report.status == StepStatus::Stationary && report.gradient_norm == 0.0 && report.loss == 0.0, "{report:?}");
    assert_eq!(task.values(&gpu), [1.0; 5]);
}

#[test]
fn two_runs_are_the_same_bits() {
    let gpu = common::gpu(Checks::Unchecked);
    let run = |second_order: bool| {
        let task = spirals(&gpu, 64, 8);
        let options = HessianFreeOptions { preconditioner_samples: 4, ..Default::default() };
        let (mut free, mut newton) = (task.hessian_free(&gpu, &options), task.newton(&gpu, &NewtonOptions::default()));
        let reports: Vec<String> = (0..6)
            .map(|_| {
                let report = if second_order { block_on(newton.step()) } else { block_on(free.step()) };
                format!("{:?}", report.unwrap())
            })
            .collect();
        (reports, task.values(&gpu).iter().map(|v| v.to_bits()).collect::<Vec<_>>())
    };
    assert_eq!(run(false), run(false));
    assert_eq!(run(true), run(true));
}

#[test]
fn batches_are_one_batch() {
    let gpu = common::gpu(Checks::Unchecked);
    let whole = spirals(&gpu, 50, 6);
    let cut = spirals(&gpu, 50, 6);
    let mut optimizer = whole.hessian_free(&gpu, &HessianFreeOptions::default());
    let data: Vec<&Tensor> = cut.data.iter().map(|(_, tensor)| tensor).collect();
    let build = |graph: &mut Graph, samples: usize| {
        let (inputs, output, loss) = network(graph, samples, 6);
        Ok(Model { inputs, loss, matrix: Matrix::GaussNewton { output } })
    };
    let curvature = Curvature::over_batches(&gpu, &cut.parameters, cut.parameters.names(), &data, 16, build).unwrap();
    let mut batched = HessianFree::over(curvature, cut.parameters.flat(), &HessianFreeOptions::default()).unwrap();
    for _ in 0..3 {
        let (a, b) = (block_on(optimizer.step()).unwrap(), block_on(batched.step()).unwrap());
        close(b.loss, a.loss, 1e-4, "loss");
        assert!(b.status == StepStatus::Accepted);
    }
}

/// The handwritten digits that are trained on, and a network of one hidden layer for them.
fn digits(gpu: &Gpu) -> Task {
    let digits = digits::Digits::load().unwrap();
    let n = digits.train;
    let mut graph = Graph::new();
    let x = graph.input("x", &[n, digits::PIXELS]).unwrap();
    let classes = graph.indices("classes", &[n]).unwrap();
    let hidden = layers::dense(&mut graph, "hidden", x, 32).unwrap();
    let hidden = graph.tanh(hidden).unwrap();
    let output = layers::dense(&mut graph, "logits", hidden, digits::CLASSES).unwrap();
    let loss = losses::cross_entropy(&mut graph, output, classes).unwrap();
    let pixels = Tensor::from_slice(gpu, &[n, digits::PIXELS], &digits.pixels[..n * digits::PIXELS]).unwrap();
    let labels = Tensor::from_slice(gpu, &[n], &digits.labels[..n]).unwrap();
    let parameters = Parameters::new(gpu, &graph, 0).unwrap();
    Task { data: vec![(x, pixels), (classes, labels)], graph, output, loss, parameters }
}

/// The loss that Adam ends with at each learning rate.
fn adam(gpu: &Gpu, task: &Task, steps: usize, rates: &[f64]) -> Vec<f64> {
    let mut graph = task.graph.clone();
    let wrt: Vec<Var> = graph.parameters().map(|(_, var)| var).collect();
    let gradient = graph.gradient(task.loss, &wrt).unwrap();
    let start = task.values(gpu);
    let mut losses = Vec::new();
    for &lr in rates {
        task.parameters.flat().write(gpu, &start).unwrap();
        let gradients = task.parameters.like(gpu).unwrap();
        let mut bindings = task.bindings();
        bindings.extend(wrt.iter().copied().zip(task.parameters.tensors()));
        bindings.extend(gradient.iter().copied().zip(gradients.tensors()));
        let stages = [Stage::new(&[&[task.loss], gradient.as_slice()].concat())];
        let program = Plan::new(gpu, &graph, &stages).unwrap().compile(gpu, &bindings).unwrap();
        let recording = program.recording(0).unwrap();
        let param = Param::new("all", task.parameters.flat(), gradients.flat());
        let optimizer = Optimizer::new(gpu, &Adam { lr, ..Default::default() }, &[param]).unwrap();
        for _ in 0..steps {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            recording.encode(&mut encoder);
            optimizer.step(&mut encoder);
            gpu.queue().submit([encoder.finish()]);
        }
        gpu.submit([&recording]);
        let loss = block_on(program.tensor(task.loss).unwrap().read::<f32>(gpu)).unwrap()[0];
        losses.push(loss.into());
    }
    task.parameters.flat().write(gpu, &start).unwrap();
    losses
}

#[test]
fn forty_steps_reach_what_adam_does_not_in_four_hundred() {
    let gpu = common::gpu(Checks::Unchecked);
    let task = digits(&gpu);
    let rates = [1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1];
    let losses = adam(&gpu, &task, 400, &rates);
    let best = (0..rates.len()).min_by(|&i, &j| losses[i].total_cmp(&losses[j])).unwrap();
    println!("Adam, 400 steps: losses {losses:?} at learning rates {rates:?}");
    assert!(0 < best && best < rates.len() - 1, "a rate beyond those tried may be better");

    // the first step that is below it, and the loss after all of them
    let start = task.values(&gpu);
    let check = |name: &str, step: &mut dyn FnMut() -> StepReport| {
        task.parameters.flat().write(&gpu, &start).unwrap();
        let found: Vec<f64> = (0..40).map(|_| step().loss).collect();
        let below = found.iter().position(|&loss| loss < losses[best]);
        println!("{name}: {:.2e} after 40 steps, below {:.2e} after {:?}", found[39], losses[best], below.map(|i| i + 1));
        assert!(below.is_some_and(|i| i + 1 < 40), "{name}: {found:?}, Adam: {losses:?}");
    };
    let mut optimizer = task.hessian_free(&gpu, &HessianFreeOptions::default());
    check("hessian-free", &mut || block_on(optimizer.step()).unwrap());
    let mut optimizer = task.newton(&gpu, &NewtonOptions::default());
    check("newton", &mut || block_on(optimizer.step()).unwrap());
}

#[test]
fn the_preconditioner_solves_a_badly_scaled_quadratic_in_fewer_iterations() {
    let gpu = common::gpu(Checks::Unchecked);
    let n = 60;
    let iterations = |samples: usize| {
        let task = quadratic(&gpu, n);
        let roots: Vec<f32> = (0..n).map(|i| 10f32.powf(2.0 * i as f32 / n as f32)).collect();
        task.data.iter().for_each(|(_, tensor)| tensor.write(&gpu, &roots).unwrap());
        let options = HessianFreeOptions { lambda: 1e-3, truncation: 1e-6, preconditioner_samples: samples, ..Default::default() };
        let report = block_on(task.hessian_free(&gpu, &options).step()).unwrap();
        assert!(report.status == StepStatus::Accepted && report.loss < 1e-3 * report.loss_before, "{report:?}");
        report.cg_iterations
    };
    let (plain, preconditioned) = (iterations(0), iterations(2));
    assert!(2 * preconditioned < plain, "{preconditioned} with, {plain} without");
}

#[test]
fn options_and_parameters_are_checked() {
    let gpu = common::gpu(Checks::Unchecked);
    let task = quadratic(&gpu, 5);
    let free = |options: HessianFreeOptions| {
        HessianFree::new(&gpu, &task.graph, task.output, task.loss, &task.parameters, &task.bindings(), &options).err()
    };
    let newton = |options: NewtonOptions| {
        GradientNormalizedNewton::new(&gpu, &task.graph, task.loss, &task.parameters, &task.bindings(), &options).err()
    };
    let option = |error: Option<Error>| match error {
        Some(Error::Option { option, .. }) => option,
        other => panic!("{other:?}"),
    };
    assert_eq!(option(free(HessianFreeOptions { lambda: 0.0, ..Default::default() })), "lambda");
    assert_eq!(option(free(HessianFreeOptions { lambda: f64::NAN, ..Default::default() })), "lambda");
    assert_eq!(option(free(HessianFreeOptions { decay: 1.5, ..Default::default() })), "decay");
    assert_eq!(option(free(HessianFreeOptions { truncation: -1.0, ..Default::default() })), "truncation");
    assert_eq!(option(free(HessianFreeOptions { preconditioner_samples: 1, ..Default::default() })), "preconditioner_samples");
    assert_eq!(option(newton(NewtonOptions { gamma: f64::INFINITY, ..Default::default() })), "gamma");
    assert_eq!(option(newton(NewtonOptions { tolerance: 1.0, ..Default::default() })), "tolerance");
    let other = rosenbrock(&gpu);
    let error = HessianFree::new(&gpu, &task.graph, task.output, task.loss, &other.parameters, &task.bindings(), &Default::default());
    assert!(error.is_err());
    let other = spirals(&gpu, 4, 2);
    let error = GradientNormalizedNewton::new(&gpu, &task.graph, task.loss, &other.parameters, &task.bindings(), &Default::default());
    assert!(matches!(error.err(), Some(Error::StateMismatch { .. })));
    let error = HessianFree::new(&gpu, &task.graph, task.output, task.loss, &task.parameters, &[], &Default::default());
    assert!(error.is_err());
}
