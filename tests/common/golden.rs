//! Cases computed elsewhere in f64: what a file of `tests/golden/` says of the reference and of the kernels.

use std::collections::HashMap;

use gradus::curvature::{Curvature, Matrix};
use gradus::graph::{Graph, Op, Plan, Stage, Var};
use gradus::krylov::{Cg, CgOptions, FlexibleCg, FlexibleCgOptions, LinearOperator, Richardson, RichardsonOptions, Status};
use gradus::optim::{Optimizer, Param};
use gradus::poisson::{Laplacian, Multigrid, MultigridOptions};
use gradus::reference::graph::evaluate;
use gradus::{DType, Gpu, Recording, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::Value;

use super::common::twins::twin;
use super::common::{pair, read, step};
use super::curvature as model;
use super::problems::Problem;

/// The kinds of case that the format knows.
const KINDS: [&str; 3] = ["optimizer", "curvature", "poisson"];

/// The optimizers whose steps grow with the gradient.
const UNBOUNDED: [&str; 6] = ["sgd", "sgdp", "asgd", "schedule_free_sgd", "exponentiated_gradient", "adadelta"];

/// A file.
pub struct Case {
    /// For messages.
    pub name: String,
    bytes: Vec<u8>,
    metadata: HashMap<String, String>,
}

impl Case {
    /// Panics if the file is of no kind that is known.
    pub fn new(name: String, bytes: Vec<u8>) -> Self {
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let case = Self { name, bytes, metadata };
        assert!(KINDS.contains(&case.kind()), "{}: kind {}", case.name, case.kind());
        case
    }

    pub fn kind(&self) -> &str {
        self.metadata.get("kind").unwrap_or_else(|| panic!("{}: no kind", self.name))
    }

    fn json(&self, key: &str) -> Value {
        let text = self.metadata.get(key).unwrap_or_else(|| panic!("{}: no {key}", self.name));
        serde_json::from_str(text).unwrap_or_else(|e| panic!("{}: {key}: {e}", self.name))
    }
}

/// The values of a tensor of f32 or f64, and its shape.
fn tensor(file: &SafeTensors, name: &str) -> (Vec<usize>, Vec<f64>) {
    let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    let values = match view.dtype() {
        Dtype::F32 => view.data().as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
        Dtype::F64 => view.data().as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
        other => panic!("{name}: {other:?}"),
    };
    (view.shape().to_vec(), values)
}

fn to_f32(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

struct Parameter {
    name: String,
    shape: Vec<usize>,
    start: Vec<f64>,
    gradients: Vec<f64>,
}

/// Every step of the reference and of the kernels.
pub fn optimizer(case: &Case, gpus: &[Gpu]) {
    let file = SafeTensors::deserialize(&case.bytes).unwrap();
    let optimizer = &case.metadata["optimizer"];
    let path = &case.name;
    let config = case.json("config");
    // algorithms without kernels have a reference alone
    let (reference, kernel) = match pair(optimizer, &config) {
        Some(pair) => (pair.reference, Some(pair.kernel)),
        None => (twin(optimizer, &config).unwrap_or_else(|| panic!("{path}: optimizer {optimizer}")), None),
    };
    let steps = case.json("steps").as_u64().unwrap();
    let checkpoints: Vec<u64> = serde_json::from_value(case.json("checkpoints")).unwrap();
    let names: Vec<String> = serde_json::from_value(case.json("parameters")).unwrap();
    assert!(!checkpoints.is_empty() && !names.is_empty() && checkpoints.iter().all(|&t| 1 <= t && t <= steps), "{path}");
    let parameters: Vec<Parameter> = names
        .into_iter()
        .map(|name| {
            let (shape, start) = tensor(&file, &format!("param.{name}"));
            let (gradient_shape, gradients) = tensor(&file, &format!("grad.{name}"));
            assert_eq!(gradient_shape, [&[steps as usize], shape.as_slice()].concat());
            Parameter { name, shape, start, gradients }
        })
        .collect();
    let expected = |t: u64, name: &str| tensor(&file, &format!("expect.{t}.{name}")).1;

    // the reference, to the accuracy of f64
    for parameter in &parameters {
        let n = parameter.start.len();
        let mut p = parameter.start.clone();
        let mut state = reference.initial_state(n);
        for t in 1..=steps {
            let g = &parameter.gradients[(t as usize - 1) * n..][..n];
            reference.step(t, &parameter.shape, &mut p, g, &mut state);
            if checkpoints.contains(&t) {
                compare(&p, &expected(t, &parameter.name), 1e-13, 1e-12, &format!("{path}: reference: {} at {t}", parameter.name));
            }
        }
    }

    // the kernels
    let Some(kernel) = kernel else { return };
    // where the learning rate bounds the change of a step, so it does the error of as many as there were
    let lr = match optimizer.as_str() {
        // a step is up to so many times the learning rate
        "rmsprop" => {
            let [lr, alpha, momentum] = ["lr", "alpha", "momentum"].map(|name| config[name].as_f64().unwrap());
            lr / ((1.0 - alpha).sqrt() * (1.0 - momentum))
        }
        _ => config["lr"].as_f64().unwrap(),
    };
    // steps of one size are rounded to one side, half a unit of the parameter each time
    let relative =
        |t: u64| if ["lion", "rprop"].contains(&optimizer.as_str()) { t as f64 * 2f64.powi(-24) + 2f64.powi(-22) } else { 1.3e-6 };
    let absolute = |t: u64| if UNBOUNDED.contains(&optimizer.as_str()) { 1e-5 } else { 1e-6 * lr * t as f64 };
    for gpu in gpus {
        let checks = gpu.checks();
        let shapes: Vec<&[usize]> = parameters.iter().map(|parameter| parameter.shape.as_slice()).collect();
        let params = Tensor::arena(gpu, &shapes, gradus::DType::F32).unwrap();
        let grads = Tensor::arena(gpu, &shapes, gradus::DType::F32).unwrap();
        for (param, parameter) in params.iter().zip(&parameters) {
            param.write(gpu, &to_f32(&parameter.start)).unwrap();
        }
        let list: Vec<Param> =
            parameters.iter().zip(params.iter().zip(&grads)).map(|(parameter, (p, g))| Param::new(&parameter.name, p, g)).collect();
        let optimizer = Optimizer::new(gpu, &*kernel, &list).unwrap();
        for t in 1..=steps {
            for (grad, parameter) in grads.iter().zip(&parameters) {
                let n = grad.len();
                grad.write(gpu, &to_f32(&parameter.gradients[(t as usize - 1) * n..][..n])).unwrap();
            }
            step(gpu, &optimizer);
            if checkpoints.contains(&t) {
                for (param, parameter) in params.iter().zip(&parameters) {
                    let what = format!("{path}: {checks:?}: {} at {t}", parameter.name);
                    compare(&read(gpu, param), &expected(t, &parameter.name), absolute(t), relative(t), &what);
                }
            }
        }
    }
}

/// The interpreter and the derivatives of graphs, in f64; what it returns is for [`curvature_on_device`].
pub fn curvature(file: &Case) -> (model::Case, Graph) {
    let path = &file.name;
    let mut case = model::build(&file.bytes);
    let (output, loss, parameters) = (case.output, case.loss, case.vars());
    let model = case.graph.clone();
    let graph = &mut case.graph;
    let mut vector = Vec::new();
    for (i, (&parameter, values)) in parameters.iter().zip(&case.vector).enumerate() {
        let shape = graph.shape(parameter).unwrap().to_vec();
        let part = graph.input(&format!("vector {i}"), &shape).unwrap();
        case.values.insert(part, values.clone());
        vector.push(part);
    }
    let gradient = graph.gradient(loss, &parameters).unwrap();
    let hessian = graph.jvp(&gradient, &parameters, &vector).unwrap();
    // Jᵀ H J v with J of the output by the parameters and H of the loss by the output
    let tangent = graph.jvp(&[output], &parameters, &vector).unwrap();
    let slope = graph.gradient(loss, &[output]).unwrap();
    let curved = graph.jvp(&slope, &[output], &tangent).unwrap();
    let gauss_newton = graph.vjp(&[output], &curved, &parameters).unwrap();
    // Σ over samples of d⟨d, Jv⟩/N; the slope is that of the mean, hence d/N
    let shape = graph.shape(output).unwrap().to_vec();
    let products = graph.mul(slope[0], tangent[0]).unwrap();
    let along = graph.sum(products, &(1..shape.len()).collect::<Vec<_>>()).unwrap();
    let along = graph.reshape(along, &[&shape[..1], &vec![1; shape.len() - 1]].concat()).unwrap();
    let weighted = graph.mul(slope[0], along).unwrap();
    let weighted = graph.scale(weighted, shape[0] as f64).unwrap();
    let fisher = graph.vjp(&[output], &[weighted], &parameters).unwrap();

    let check = |what: &str, vars: &[Var], expected: Vec<Vec<f64>>| {
        let found = evaluate(&case.graph, &case.values, vars).unwrap();
        let scale = expected.iter().flatten().fold(0f64, |m, x| m.max(x.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            compare(found, expected, 1e-9 * scale, 1e-9, &format!("{path}: {what}"));
        }
    };
    check("loss", &[loss], vec![case.expected["loss"].clone()]);
    check("output", &[output], vec![case.expected["output"].clone()]);
    for (what, vars) in [("gradient", &gradient), ("hessian", &hessian), ("gauss_newton", &gauss_newton)] {
        check(what, vars, case.expected(what).unwrap_or_else(|| panic!("{path}: {what}")));
    }
    match case.expected("fisher") {
        Some(expected) => check("fisher", &fisher, expected),
        None => assert!(!case.expected.keys().any(|name| name.starts_with("fisher")), "{path}"),
    }
    (case, model)
}

/// The same by compiled graphs, in f32.
pub fn curvature_on_device(gpu: &Gpu, case: &model::Case, graph: &Graph, path: &str) {
    let upload = |var: &Var, values: &[f64]| {
        let shape = graph.shape(*var).unwrap();
        match graph.op(*var).unwrap().0 {
            Op::Indices(_) => Tensor::from_slice(gpu, shape, &values.iter().map(|&v| v as u32).collect::<Vec<_>>()),
            _ => Tensor::from_slice(gpu, shape, &to_f32(values)),
        }
        .unwrap()
    };
    let wrt = case.vars();
    let leaves: Vec<(Var, Tensor)> =
        wrt.iter().chain([&case.input, &case.target]).map(|var| (*var, upload(var, &case.values[var]))).collect();
    let bindings: Vec<(Var, &Tensor)> = leaves.iter().map(|(var, tensor)| (*var, tensor)).collect();
    let close = |what: &str, found: &[f64], expected: &[f64], bound: f64| near(found, expected, bound, &format!("{path}: {what}"));
    let program = Plan::new(gpu, graph, &[Stage::new(&[case.output])]).unwrap().compile(gpu, &bindings).unwrap();
    gpu.submit([&program.recording(0).unwrap()]);
    close("output", &read(gpu, program.tensor(case.output).unwrap()), &case.expected["output"], 1e-5);

    let x = Tensor::from_slice(gpu, &[case.vector.concat().len()], &to_f32(&case.vector.concat())).unwrap();
    let output = case.output;
    let matrices =
        [("hessian", Matrix::Hessian), ("gauss_newton", Matrix::GaussNewton { output }), ("fisher", Matrix::EmpiricalFisher { output })];
    for (what, matrix) in matrices {
        let operator = Curvature::new(gpu, graph, case.loss, matrix, &wrt, &bindings).unwrap();
        let zeros = |n: usize| Tensor::zeros(gpu, &[n], gradus::DType::F32).unwrap();
        let (y, loss, gradient) = (zeros(operator.dim()), zeros(1), zeros(operator.dim()));
        let mut recording = Recording::new();
        operator.record_gradient(&mut recording, &loss, &gradient).unwrap();
        operator.record(&mut recording, &x, &y).unwrap();
        gpu.submit([&recording]);
        close("loss", &read(gpu, &loss), &case.expected["loss"], 1e-5);
        close("gradient", &read(gpu, &gradient), &case.expected("gradient").unwrap().concat(), 1e-5);
        if let Some(expected) = case.expected(what) {
            close(what, &read(gpu, &y), &expected.concat(), 2e-5);
        }
    }
}

/// A problem on cells: by flags alone, with walls around, or with the weights of faces, axes that are open or periodic, spacing, mass and
/// what air cells hold.
fn problem(case: &Case, file: &SafeTensors) -> Problem {
    let flags = file.tensor("flags").unwrap();
    let mut problem = Problem::flagged(flags.shape(), flags.data().to_vec(), vec![[false; 2]; flags.shape().len()]);
    let of = |key: &str| case.metadata.get(key).map(|text| text.as_str());
    if let Some(open) = of("open") {
        problem.open = serde_json::from_str(open).unwrap();
        problem.periodic = serde_json::from_str(of("periodic").unwrap()).unwrap();
        problem.spacing = serde_json::from_str(of("spacing").unwrap()).unwrap();
        let mass: f64 = serde_json::from_str(of("mass").unwrap()).unwrap();
        problem.mass = if mass == 0.0 { Vec::new() } else { vec![mass; problem.flags.len()] };
    }
    if file.names().iter().any(|name| name.starts_with("face.")) {
        problem.faces = (0..problem.sizes.len()).map(|axis| tensor(file, &format!("face.{axis}")).1).collect();
    }
    problem
}

/// Products and solutions.
pub fn poisson(case: &Case, gpus: &[Gpu]) {
    let file = SafeTensors::deserialize(&case.bytes).unwrap();
    let path = &case.name;
    let problem = problem(case, &file);
    let (cells, sizes) = (problem.cells(), &problem.sizes[..]);
    if let Some(singular) = case.metadata.get("singular_components") {
        assert_eq!(cells.singular_components().len().to_string(), *singular, "{path}");
    }
    let [probe, apply, mut rhs, solution] = ["probe", "expect.apply", "rhs", "expect.solution"].map(|name| tensor(&file, name).1);
    if file.names().contains(&"value") {
        let value = tensor(&file, "value").1;
        for (i, rhs) in rhs.iter_mut().enumerate() {
            let air = cells.neighbours(i).into_iter().filter(|neighbour| problem.flags[i] == 0 && neighbour.flag == 2);
            *rhs += air.filter_map(|neighbour| Some(neighbour.weight * value[neighbour.index?])).sum::<f64>();
        }
    }
    compare(&cells.apply(&probe), &apply, 1e-12, 1e-12, &format!("{path}: product"));
    compare(&cells.apply(&solution), &cells.project(&rhs), 1e-9, 1e-9, &format!("{path}: the reference's solution"));

    let grid = problem.grid();
    let flagged = case.metadata.contains_key("scene");
    for gpu in gpus {
        let laplacian = Laplacian::new(gpu, &grid).unwrap();
        let [probe, b] = [&probe, &rhs].map(|values| Tensor::from_slice(gpu, sizes, &to_f32(values)).unwrap());
        let (y, x) = (Tensor::zeros(gpu, sizes, DType::F32).unwrap(), Tensor::zeros(gpu, sizes, DType::F32).unwrap());
        let mut recording = Recording::new();
        laplacian.record(&mut recording, &probe, &y).unwrap();
        laplacian.record_project(&mut recording, &b).unwrap();
        gpu.submit([&recording]);
        near(&read(gpu, &y), &apply, 1e-6, &format!("{path}: product"));
        let options = CgOptions { relative_tolerance: 1e-6, ..Default::default() };
        let multigrid = Multigrid::new(gpu, &grid, &MultigridOptions::default()).unwrap();
        if !flagged {
            for preconditioner in [None, Some(&multigrid as &dyn gradus::krylov::Preconditioner)] {
                x.write(gpu, &vec![0.0f32; grid.len()]).unwrap();
                let report = pollster::block_on(Cg::new(&laplacian, preconditioner, &b, &x, &options).unwrap().solve()).unwrap();
                let limited = report.status == Status::PrecisionLimited && report.rounding > 2e-7 * report.history[0];
                assert!(report.converged() || limited, "{path}: {report:?}");
                near(&read(gpu, &x), &solution, 1e-4, path);
            }
            continue;
        }
        let thorough = Multigrid::new(gpu, &grid, &MultigridOptions { degree: 3, twice_from: Some(1) }).unwrap();
        let flexible = FlexibleCgOptions { relative_tolerance: 1e-6, ..Default::default() };
        let stationary = RichardsonOptions { relative_tolerance: 1e-6, ..Default::default() };
        for solver in ["cg", "multigrid cg", "flexible cg", "multigrid flexible cg", "multigrid"] {
            let what = format!("{path}: {solver}");
            x.write(gpu, &vec![0.0f32; grid.len()]).unwrap();
            let report = pollster::block_on(async {
                match solver {
                    "cg" => Cg::new(&laplacian, None, &b, &x, &options).unwrap().solve().await,
                    "multigrid cg" => Cg::new(&laplacian, Some(&multigrid), &b, &x, &options).unwrap().solve().await,
                    "flexible cg" => FlexibleCg::new(&laplacian, None, &b, &x, &flexible).unwrap().solve().await,
                    "multigrid flexible cg" => FlexibleCg::new(&laplacian, Some(&multigrid), &b, &x, &flexible).unwrap().solve().await,
                    _ => Richardson::new(&laplacian, &thorough, &b, &x, &stationary).unwrap().solve().await,
                }
            });
            let report = report.unwrap();
            // 1e-6 is below what f32 allow in some of them
            let limited = report.status == Status::PrecisionLimited && report.rounding > 2e-7 * report.history[0];
            assert!(report.converged() || limited, "{what}: {report:?}");
            near(&read(gpu, &x), &solution, 1e-4, &what);
        }
    }
}

/// By norm.
fn near(found: &[f64], expected: &[f64], bound: f64, what: &str) {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    assert_eq!(found.len(), expected.len(), "{what}");
    let error = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b)) / norm(&mut expected.iter().copied());
    assert!(error <= bound, "{what}: relative error {error:e}");
}

fn compare(found: &[f64], expected: &[f64], absolute: f64, relative: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(error <= absolute + relative * expected.abs(), "{what}[{i}]: {found} for {expected}, error {error:e}");
    }
}
