//! Curvature products: over parts of the parameters, blocks, batches, with random draws and by differences. The
//! products themselves are checked in `golden.rs`.

#![cfg(feature = "curvature")]

mod common;

use std::collections::HashMap;
use std::ops::Range;

use common::{bits, gpu, noise, read};
use gradus::curvature::{Curvature, FiniteDifferenceHessian, Likelihood, Matrix, Model};
use gradus::gpu::Checks;
use gradus::graph::{Graph, Parameters, Var, layers, losses};
use gradus::krylov::LinearOperator;
use gradus::reference::graph::evaluate;
use gradus::{DType, Error, Gpu, Recording, Result, Tensor};

const CLASSES: usize = 4;

/// The kind of matrix, to be given an output.
type Kind = fn(Var) -> Matrix;

const HESSIAN: Kind = |_| Matrix::Hessian;
const GAUSS_NEWTON: Kind = |output| Matrix::GaussNewton { output };
const FISHER: Kind = |output| Matrix::EmpiricalFisher { output };
const CATEGORICAL: Kind = |output| Matrix::MonteCarloFisher { output, likelihood: Likelihood::Categorical, draws: 3, seed: 7 };

/// A smooth network of 5-6-4, by classes or values.
fn model(graph: &mut Graph, samples: usize, classes: bool, kind: Kind) -> Result<Model> {
    let x = graph.input("x", &[samples, 5])?;
    let hidden = layers::dense(graph, "hidden", x, 6)?;
    let hidden = graph.tanh(hidden)?;
    let output = layers::dense(graph, "output", hidden, CLASSES)?;
    let (target, loss) = match classes {
        true => {
            let target = graph.indices("target", &[samples])?;
            (target, losses::cross_entropy(graph, output, target)?)
        }
        false => {
            let target = graph.input("target", &[samples, CLASSES])?;
            (target, losses::mean_squared_error(graph, output, target)?)
        }
    };
    Ok(Model { inputs: vec![x, target], loss, matrix: kind(output) })
}

/// The network with parameters and data.
struct Fixture {
    gpu: Gpu,
    graph: Graph,
    model: Model,
    parameters: Parameters,
    data: [Tensor; 2],
}

fn fixture(checks: Checks, samples: usize, classes: bool, kind: Kind) -> Fixture {
    let gpu = gpu(checks);
    let mut graph = Graph::new();
    let model = model(&mut graph, samples, classes, kind).unwrap();
    let parameters = Parameters::new(&gpu, &graph, 3).unwrap();
    let x = Tensor::from_slice(&gpu, &[samples, 5], &noise(1, 5 * samples)).unwrap();
    let target = match classes {
        true => {
            let classes: Vec<u32> = noise(2, samples).iter().map(|u| ((u + 1.0) / 2.0 * CLASSES as f32) as u32).collect();
            Tensor::from_slice(&gpu, &[samples], &classes).unwrap()
        }
        false => Tensor::from_slice(&gpu, &[samples, CLASSES], &noise(2, CLASSES * samples)).unwrap(),
    };
    Fixture { gpu, graph, model, parameters, data: [x, target] }
}

impl Fixture {
    fn bindings(&self) -> Vec<(Var, &Tensor)> {
        let parameters = self.graph.parameters().map(|(_, var)| var).zip(self.parameters.tensors());
        parameters.chain(self.model.inputs.iter().copied().zip(&self.data)).collect()
    }

    fn vars(&self, names: &[&str]) -> Vec<Var> {
        names.iter().map(|name| self.graph.parameters().find(|(known, _)| known == name).unwrap().1).collect()
    }

    fn operator(&self, names: &[&str]) -> Curvature {
        let Model { loss, matrix, .. } = self.model;
        Curvature::new(&self.gpu, &self.graph, loss, matrix, &self.vars(names), &self.bindings()).unwrap()
    }

    fn vector(&self, values: &[f32]) -> Tensor {
        Tensor::from_slice(&self.gpu, &[values.len()], values).unwrap()
    }

    fn product(&self, operator: &dyn LinearOperator, x: &[f32]) -> Vec<f64> {
        let (x, y) = (self.vector(x), self.vector(&vec![f32::NAN; x.len()]));
        let mut recording = Recording::new();
        operator.record_prepare(&mut recording).unwrap();
        operator.record(&mut recording, &x, &y).unwrap();
        self.gpu.submit([&recording]);
        read(&self.gpu, &y)
    }
}

const ALL: [&str; 4] = ["hidden.weight", "hidden.bias", "output.weight", "output.bias"];
const DIM: usize = 30 + 6 + 24 + 4;

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn dot(x: &[f32], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(&x, y)| f64::from(x) * y).sum()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], bound: f64) {
    assert_eq!(found.len(), expected.len());
    let difference: Vec<f64> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
    let error = norm(&difference) / norm(expected);
    assert!(error <= bound, "relative error {error:e}");
}

#[test]
fn products_are_symmetric_and_bit_equal_when_replayed() {
    // most of the time goes into making kernels: with checks only what `golden.rs` does not cover
    for (checks, kinds) in [(Checks::Unchecked, &[HESSIAN, FISHER, CATEGORICAL][..]), (Checks::Checked, &[CATEGORICAL])] {
        for &kind in kinds {
            let fixture = fixture(checks, 13, true, kind);
            let operator = fixture.operator(&ALL);
            assert_eq!(operator.dim(), DIM);
            let (u, v) = (noise(10, DIM), noise(11, DIM));
            let (au, av) = (fixture.product(&operator, &u), fixture.product(&operator, &v));
            let asymmetry = (dot(&v, &au) - dot(&u, &av)).abs();
            assert!(asymmetry <= 1e-5 * norm(&au) * (DIM as f64).sqrt(), "{asymmetry}");
            if fixture.model.matrix != Matrix::Hessian {
                assert!(dot(&u, &au) > 0.0);
            }

            let (x, y) = (fixture.vector(&u), fixture.vector(&[0.0; DIM]));
            let (mut prepare, mut apply) = (Recording::new(), Recording::new());
            operator.record_prepare(&mut prepare).unwrap();
            operator.record(&mut apply, &x, &y).unwrap();
            fixture.gpu.submit([&prepare, &apply]);
            let once = bits(&fixture.gpu, &y);
            fixture.gpu.submit([&apply, &apply, &apply]);
            assert_eq!(bits(&fixture.gpu, &y), once);
            for _ in 0..2 {
                fixture.gpu.submit([&prepare]);
                fixture.gpu.submit([&apply]);
            }
            assert_eq!(bits(&fixture.gpu, &y), once);
        }
    }
}

/// The block of a matrix that belongs to some of the parameters, in an order of its own.
#[test]
fn parameters_may_be_chosen() {
    for kind in [HESSIAN, GAUSS_NEWTON] {
        let fixture = fixture(Checks::Unchecked, 13, true, kind);
        let part = fixture.operator(&["output.bias", "hidden.weight"]);
        assert_eq!(part.dim(), 34);
        let v = noise(12, 34);
        let mut all = vec![0.0; DIM];
        all[60..].copy_from_slice(&v[..4]);
        all[..30].copy_from_slice(&v[4..]);
        let whole = fixture.product(&fixture.operator(&ALL), &all);
        let expected: Vec<f64> = whole[60..].iter().chain(&whole[..30]).copied().collect();
        assert_close(&fixture.product(&part, &v), &expected, 1e-6);
    }
}

#[test]
fn rows_of_a_block_are_products() {
    for batch in [64, 5] {
        let fixture = fixture(Checks::Unchecked, 13, true, HESSIAN);
        let operator = batches(&fixture, batch, true, HESSIAN);
        let x = Tensor::from_slice(&fixture.gpu, &[3, DIM], &noise(13, 3 * DIM)).unwrap();
        let y = Tensor::zeros(&fixture.gpu, &[3, DIM], DType::F32).unwrap();
        let mut recording = Recording::new();
        operator.record_prepare(&mut recording).unwrap();
        operator.record_block(&mut recording, &x, &y).unwrap();
        fixture.gpu.submit([&recording]);
        let found = read(&fixture.gpu, &y);
        for (x, found) in noise(13, 3 * DIM).chunks(DIM).zip(found.chunks(DIM)) {
            assert_close(found, &fixture.product(&operator, x), 1e-6);
        }
    }
}

fn batches(fixture: &Fixture, size: usize, classes: bool, kind: Kind) -> Curvature {
    let data: Vec<&Tensor> = fixture.data.iter().collect();
    let build = |graph: &mut Graph, samples: usize| model(graph, samples, classes, kind);
    Curvature::over_batches(&fixture.gpu, &fixture.parameters, &ALL, &data, size, build).unwrap()
}

#[test]
fn batches_add_up_to_the_whole() {
    let unchecked: [(bool, Kind); 3] = [(true, HESSIAN), (true, FISHER), (false, GAUSS_NEWTON)];
    for (checks, kinds) in [(Checks::Unchecked, &unchecked[..]), (Checks::Checked, &unchecked[..1])] {
        for &(classes, kind) in kinds {
            let fixture = fixture(checks, 600, classes, kind);
            let (whole, parts) = (fixture.operator(&ALL), batches(&fixture, 256, classes, kind));
            let v = noise(14, DIM);
            assert_close(&fixture.product(&parts, &v), &fixture.product(&whole, &v), 1e-5);

            let gradient = |operator: &Curvature| {
                let (loss, gradient) = (fixture.vector(&[f32::NAN]), fixture.vector(&[f32::NAN; DIM]));
                let mut recording = Recording::new();
                operator.record_gradient(&mut recording, &loss, &gradient).unwrap();
                fixture.gpu.submit([&recording, &recording]);
                (read(&fixture.gpu, &loss), read(&fixture.gpu, &gradient))
            };
            let (loss, of_whole) = gradient(&whole);
            let (sum, of_parts) = gradient(&parts);
            assert_close(&sum, &loss, 1e-6);
            assert_close(&of_parts, &of_whole, 1e-5);
        }
    }
}

/// The mean of the draws' matrices is the Gauss-Newton matrix, within five standard errors of the projection on a
/// vector; and the draws are not all alike.
#[test]
fn drawn_targets_give_the_gauss_newton_matrix() {
    for (classes, likelihood) in [(true, Likelihood::Categorical), (false, Likelihood::Gaussian)] {
        let mut fixture = fixture(Checks::Unchecked, 40, classes, GAUSS_NEWTON);
        let (v, w) = (noise(15, DIM), noise(16, DIM));
        let exact = fixture.product(&fixture.operator(&ALL), &v);
        let Matrix::GaussNewton { output } = fixture.model.matrix else { panic!() };
        let mut products = Vec::new();
        for seed in 0..24 {
            fixture.model.matrix = Matrix::MonteCarloFisher { output, likelihood, draws: 16, seed };
            products.push(fixture.product(&fixture.operator(&ALL), &v));
        }
        for (what, along) in [("v", &v), ("w", &w)] {
            let samples: Vec<f64> = products.iter().map(|product| dot(along, product)).collect();
            let mean = samples.iter().sum::<f64>() / 24.0;
            let error = (samples.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (24.0 * 23.0)).sqrt();
            let expected = dot(along, &exact);
            assert!(error > 0.0 && error < 0.05 * dot(&v, &exact), "{what}: {likelihood:?}: {error}");
            assert!((mean - expected).abs() <= 5.0 * error, "{what}: {likelihood:?}: {mean} for {expected}, error {error}");
        }
    }
}

/// The product of the Monte-Carlo Fisher matrix of some of the samples, in f64: the classes drawn are those that the
/// cumulative probabilities say, with uniform numbers of the generator's stream `stream`.
fn drawn_fisher(fixture: &Fixture, v: &[f32], samples: Range<usize>, stream: u32) -> Vec<f64> {
    let count = samples.len();
    let mut graph = Graph::new();
    let model = model(&mut graph, count, true, CATEGORICAL).unwrap();
    let Matrix::MonteCarloFisher { output, draws, seed, .. } = model.matrix else { panic!() };
    let wrt: Vec<Var> = graph.parameters().map(|(_, var)| var).collect();
    let mut values: HashMap<Var, Vec<f64>> =
        wrt.iter().zip(fixture.parameters.tensors()).map(|(&var, tensor)| (var, read(&fixture.gpu, tensor))).collect();
    values.insert(model.inputs[0], read(&fixture.gpu, &fixture.data[0])[5 * samples.start..5 * samples.end].to_vec());
    let mut tangents = Vec::new();
    let mut rest = v;
    for &var in &wrt {
        let shape = graph.shape(var).unwrap().to_vec();
        let tangent = graph.input(&format!("tangent {}", tangents.len()), &shape).unwrap();
        let (own, later) = rest.split_at(shape.iter().product());
        values.insert(tangent, own.iter().map(|&x| f64::from(x)).collect());
        tangents.push(tangent);
        rest = later;
    }
    // J v and Jᵀ u by the interpreter
    let tangent = graph.jvp(&[output], &wrt, &tangents).unwrap()[0];
    let p = graph.softmax(output, 1).unwrap();
    let cotangent = graph.input("cotangent", &[count, CLASSES]).unwrap();
    let pulled = graph.vjp(&[output], &[cotangent], &wrt).unwrap();
    let known = evaluate(&graph, &values, &[p, tangent]).unwrap();
    let uniform = gradus::reference::random::uniform(seed, stream, draws * count);
    let mut curved = vec![0.0; count * CLASSES];
    for draw in 0..draws {
        for n in 0..count {
            let row = |values: &[f64]| values[n * CLASSES..][..CLASSES].to_vec();
            let (p, jv) = (row(&known[0]), row(&known[1]));
            let u = f64::from(uniform[draw * count + n]);
            let mut cumulative = 0.0;
            let class = p.iter().position(|p| {
                cumulative += p;
                cumulative > u
            });
            let d: Vec<f64> = (0..CLASSES).map(|c| p[c] - f64::from(Some(c) == class)).collect();
            let along: f64 = d.iter().zip(&jv).map(|(d, jv)| d * jv).sum();
            for c in 0..CLASSES {
                curved[n * CLASSES + c] += d[c] * along / (draws * count) as f64;
            }
        }
    }
    values.insert(cotangent, curved);
    evaluate(&graph, &values, &pulled).unwrap().concat()
}

#[test]
fn classes_are_drawn_by_their_probabilities() {
    let fixture = fixture(Checks::Checked, 9, true, CATEGORICAL);
    let v = noise(17, DIM);
    let found = fixture.product(&fixture.operator(&ALL), &v);
    assert_close(&found, &drawn_fisher(&fixture, &v, 0..9, 0), 2e-5);
}

/// Each batch draws from a stream of its own, and the last, of two samples, counts for two.
#[test]
fn batches_draw_their_own_classes() {
    for checks in [Checks::Unchecked, Checks::Checked] {
        let fixture = fixture(checks, 10, true, CATEGORICAL);
        let operator = batches(&fixture, 4, true, CATEGORICAL);
        for seed in [18, 19] {
            let v = noise(seed, DIM);
            let mut expected = vec![0.0; DIM];
            for (stream, samples) in [0..4, 4..8, 8..10].into_iter().enumerate() {
                let weight = samples.len() as f64 / 10.0;
                let part = drawn_fisher(&fixture, &v, samples, stream as u32);
                expected.iter_mut().zip(part).for_each(|(sum, part)| *sum += weight * part);
            }
            assert_close(&fixture.product(&operator, &v), &expected, 2e-5);
        }
    }
}

#[test]
fn differences_are_near_the_hessian_and_restore_the_parameters() {
    for checks in [Checks::Unchecked, Checks::Checked] {
        let fixture = fixture(checks, 13, true, HESSIAN);
        let operator = fixture.operator(&ALL);
        let (loss, gradient) = (fixture.vector(&[0.0]), fixture.vector(&[0.0; DIM]));
        let mut recording = Recording::new();
        operator.record_gradient(&mut recording, &loss, &gradient).unwrap();
        let differences = FiniteDifferenceHessian::new(&fixture.gpu, fixture.parameters.flat(), &gradient, recording, 5e-3).unwrap();
        let before = bits(&fixture.gpu, fixture.parameters.flat());
        for scale in [1.0, 1e-6, 1e6, 1e-25, 1e25] {
            let v: Vec<f32> = noise(18, DIM).iter().map(|v| v * scale).collect();
            assert_close(&fixture.product(&differences, &v), &fixture.product(&operator, &v), 1e-3);
            assert_eq!(bits(&fixture.gpu, fixture.parameters.flat()), before);
        }
        assert_eq!(fixture.product(&differences, &[0.0; DIM]), [0.0; DIM]);
        let other = |step: f64, gradient: &Tensor| {
            FiniteDifferenceHessian::new(&fixture.gpu, fixture.parameters.flat(), gradient, Recording::new(), step)
        };
        assert!(matches!(other(0.0, &gradient), Err(Error::Option { .. })));
        assert!(matches!(other(f64::NAN, &gradient), Err(Error::Option { .. })));
        assert!(matches!(other(1.0, &loss), Err(Error::Length { .. })));
        assert!(matches!(other(1.0, fixture.parameters.flat()), Err(Error::Overlap { .. })));
        let p = fixture.parameters.flat();
        assert!(matches!(differences.record(&mut Recording::new(), p, &fixture.vector(&[0.0; DIM])), Err(Error::Overlap { .. })));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut fixture = fixture(Checks::Unchecked, 13, true, GAUSS_NEWTON);
    let (gpu, loss, matrix) = (fixture.gpu.clone(), fixture.model.loss, fixture.model.matrix);
    let wrt = fixture.vars(&ALL);
    let other = fixture.graph.input("other", &[13, CLASSES]).unwrap();
    let hidden = fixture.graph.vars().find(|&var| fixture.graph.shape(var).unwrap() == [13, 6]).unwrap();
    let bindings = fixture.bindings();
    let new = |loss, matrix, wrt: &[Var], bindings: &[(Var, &Tensor)]| {
        Curvature::new(&gpu, &fixture.graph, loss, matrix, wrt, bindings).map(|operator| operator.dim())
    };
    assert!(matches!(new(loss, matrix, &wrt, &bindings), Ok(DIM)));
    // all leaves but one
    for missing in 0..bindings.len() {
        let mut some = bindings.clone();
        some.remove(missing);
        assert!(matches!(new(loss, matrix, &wrt, &some), Err(Error::Unknown { .. })), "{missing}");
    }
    let wrong = fixture.vector(&[0.0; 3]);
    let mut some = bindings.clone();
    some[0].1 = &wrong;
    assert!(matches!(new(loss, matrix, &wrt, &some), Err(Error::Shape { .. })));
    assert!(matches!(new(loss, matrix, &[], &bindings), Err(Error::Length { .. })));
    assert!(matches!(new(loss, matrix, &[wrt[0], wrt[0]], &bindings), Err(Error::DuplicateName { .. })));
    assert!(matches!(new(hidden, Matrix::Hessian, &wrt, &bindings), Err(Error::Operation { .. })));
    for output in [other, loss] {
        let gauss_newton = new(loss, Matrix::GaussNewton { output }, &wrt, &bindings);
        assert_eq!(gauss_newton.is_ok(), output == loss, "{gauss_newton:?}");
        assert!(matches!(new(loss, Matrix::EmpiricalFisher { output }, &wrt, &bindings), Err(Error::Operation { .. })));
    }
    // the output layer's parameters do not go through the hidden one
    assert!(matches!(new(loss, Matrix::GaussNewton { output: hidden }, &wrt, &bindings), Err(Error::Operation { .. })));
    let Matrix::GaussNewton { output } = matrix else { panic!() };
    let none = Matrix::MonteCarloFisher { output, likelihood: Likelihood::Categorical, draws: 0, seed: 0 };
    assert!(matches!(new(loss, none, &wrt, &bindings), Err(Error::Option { .. })));
    assert!(matches!(new(loss, matrix, &[Graph::new().input("x", &[1]).unwrap()], &bindings), Err(Error::Unknown { .. })));

    let operator = fixture.operator(&ALL);
    let (x, y, short) = (fixture.vector(&[0.0; DIM]), fixture.vector(&[0.0; DIM]), fixture.vector(&[0.0; 3]));
    let mut recording = Recording::new();
    assert!(matches!(operator.record(&mut recording, &short, &y), Err(Error::Length { .. })));
    assert!(matches!(operator.record(&mut recording, &x, &short), Err(Error::Length { .. })));
    assert!(matches!(operator.record(&mut recording, &x, &x), Err(Error::Overlap { .. })));
    assert!(matches!(operator.record(&mut recording, fixture.parameters.flat(), fixture.parameters.flat()), Err(Error::Overlap { .. })));
    assert!(matches!(operator.record(&mut recording, &x, fixture.parameters.flat()), Err(Error::Overlap { .. })));
    assert!(matches!(operator.record_block(&mut recording, &x, &y), Err(Error::Shape { .. })));
    assert!(matches!(operator.record_gradient(&mut recording, &y, &y), Err(Error::Length { .. })));
    assert!(recording.is_empty());

    let build = |graph: &mut Graph, samples: usize| model(graph, samples, true, HESSIAN);
    let [data, target] = &fixture.data;
    let over = |names: &[&str], data: &[&Tensor], size| {
        Curvature::over_batches(&gpu, &fixture.parameters, names, data, size, build).map(|operator| operator.dim())
    };
    assert!(matches!(over(&ALL, &[data, target], 5), Ok(DIM)));
    assert!(matches!(over(&ALL, &[data, target], 0), Err(Error::Option { .. })));
    assert!(matches!(over(&ALL, &[], 5), Err(Error::Length { .. })));
    assert!(matches!(over(&ALL, &[data], 5), Err(Error::Length { .. })));
    assert!(matches!(over(&ALL, &[data, &short], 5), Err(Error::Length { .. })));
    assert!(matches!(over(&ALL, &[target, data], 5), Err(Error::DType { .. } | Error::Shape { .. })));
    assert!(matches!(over(&["nothing"], &[data, target], 5), Err(Error::Unknown { .. })));
}
