//! Matrices of the caller's as primitives of a graph: values, gradients and Hessian products against the
//! interpreter, and derivatives against explicit matrices.

#![cfg(all(feature = "graph", feature = "krylov"))]

mod common;

use std::collections::HashMap;

use common::{gpu, gpu_for, noise, read};
use gradus::gpu::{Checks, Target};
use gradus::graph::{ConvolutionOptions, Graph, LinearMap, Op, Padding, Plan, Product, Stage, Var};
use gradus::krylov::{Csr, LinearOperator};
use gradus::reference::graph::evaluate;
use gradus::reference::{krylov, vector as blas};
use gradus::{DType, Error, Gpu, Result, Tensor, vector};

const ROWS: usize = 7;
const COLUMNS: usize = 5;

fn gpus() -> [Gpu; 3] {
    [gpu(Checks::Unchecked), gpu(Checks::Checked), gpu_for(Target::discrete())]
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

fn norm(values: &[f64]) -> f64 {
    blas::dot(values, values).sqrt()
}

/// A dense matrix that is not symmetric, and its elements.
fn dense(gpu: &Gpu) -> (LinearMap, Vec<f64>) {
    let values = noise(1, ROWS * COLUMNS);
    let a = wide(&values);
    let matrix = Tensor::from_slice(gpu, &[ROWS, COLUMNS], &values).unwrap();
    let (device, of_device, of_reference, elements) = ((gpu.clone(), matrix.clone()), (gpu.clone(), matrix), a.clone(), a.clone());
    let forward = Product::new(
        move |recording, x, y| vector::gemv(&device.0, recording, 1.0, &device.1, x, 0.0, y),
        move |x| {
            let mut y = vec![0.0; ROWS];
            blas::gemv(1.0, &of_reference, x, 0.0, &mut y);
            y
        },
    );
    let transposed = Product::new(
        move |recording, x, y| vector::gemv_transposed(&of_device.0, recording, 1.0, &of_device.1, x, 0.0, y),
        move |x| {
            let mut y = vec![0.0; COLUMNS];
            blas::gemv_transposed(1.0, &elements, x, 0.0, &mut y);
            y
        },
    );
    (LinearMap::new("dense", ROWS, COLUMNS, forward, transposed).unwrap(), a)
}

/// The five-point Laplacian of a square, with its entries in compressed rows.
fn laplacian(gpu: &Gpu, size: usize) -> LinearMap {
    let (mut offsets, mut columns, mut values) = (vec![0u32], Vec::new(), Vec::new());
    for (i, j) in (0..size).flat_map(|i| (0..size).map(move |j| (i, j))) {
        let neighbours = [(i.wrapping_sub(1), j), (i, j.wrapping_sub(1)), (i, j), (i, j + 1), (i + 1, j)];
        for (k, l) in neighbours.into_iter().filter(|&(k, l)| k < size && l < size) {
            columns.push((k * size + l) as u32);
            values.push(if (k, l) == (i, j) { 4.0f32 } else { -1.0 });
        }
        offsets.push(columns.len() as u32);
    }
    let csr = Csr::new(gpu, &offsets, &columns, &values).unwrap();
    let product = Product::new(
        move |recording, x, y| csr.record(recording, x, y),
        move |x| krylov::csr_product(&offsets, &columns, &wide(&values), x),
    );
    LinearMap::symmetric("laplacian", size * size, product).unwrap()
}

/// The loss, its gradient by `leaves` and a Hessian product, on the device and by the interpreter.
fn compare(gpu: &Gpu, mut graph: Graph, loss: Var, leaves: &[Var], bound: f64) {
    let gradient = graph.gradient(loss, leaves).unwrap();
    let shape = |graph: &Graph, var: Var| graph.shape(var).unwrap().to_vec();
    let mut tangents = Vec::new();
    for &leaf in leaves {
        let shape = shape(&graph, leaf);
        tangents.push(graph.input(&format!("tangent {}", tangents.len()), &shape).unwrap());
    }
    let product = graph.jvp(&gradient, leaves, &tangents).unwrap();
    let inputs: Vec<Var> = graph.vars().filter(|&var| matches!(graph.op(var).unwrap().0, Op::Input(_))).collect();
    let values: HashMap<Var, Vec<f32>> = inputs
        .iter()
        .map(|&var| (var, noise(10 + inputs.iter().position(|&v| v == var).unwrap() as u64, shape(&graph, var).iter().product())))
        .collect();
    let tensors: Vec<(Var, Tensor)> =
        inputs.iter().map(|&var| (var, Tensor::from_slice(gpu, &shape(&graph, var), &values[&var]).unwrap())).collect();
    let bindings: Vec<(Var, &Tensor)> = tensors.iter().map(|(var, tensor)| (*var, tensor)).collect();
    let stages = [Stage::new(&[&[loss], &gradient[..]].concat()), Stage::new(&product)];
    let program = Plan::new(gpu, &graph, &stages).unwrap().compile(gpu, &bindings).unwrap();
    gpu.submit([&program.recording(0).unwrap(), &program.recording(1).unwrap()]);
    let outputs: Vec<Var> = [loss].into_iter().chain(gradient).chain(product).collect();
    let expected = evaluate(&graph, &values.iter().map(|(&var, values)| (var, wide(values))).collect(), &outputs).unwrap();
    for (i, (&output, expected)) in outputs.iter().zip(&expected).enumerate() {
        let found = read(gpu, program.tensor(output).unwrap());
        let difference: Vec<f64> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
        assert!(norm(expected) > 0.0, "output {i} is zero");
        assert!(norm(&difference) <= bound * norm(expected), "output {i}: {found:?} for {expected:?}");
    }
}

/// `Σ w tanh(A sin x)` for a batch of vectors, which come from a kernel in another order and go to one.
#[test]
fn products_within_a_function() {
    for gpu in gpus() {
        let (map, _) = dense(&gpu);
        let mut graph = Graph::new();
        let x = graph.input("x", &[3, 2, COLUMNS]).unwrap();
        let w = graph.input("w", &[2, 3, ROWS]).unwrap();
        let sine = graph.sin(x).unwrap();
        let transposed = graph.transpose(sine, &[1, 0, 2]).unwrap();
        let y = graph.apply(&map, transposed).unwrap();
        assert_eq!(graph.shape(y).unwrap(), [2, 3, ROWS]);
        let y = graph.tanh(y).unwrap();
        let y = graph.mul(y, w).unwrap();
        let loss = graph.sum(y, &[]).unwrap();
        compare(&gpu, graph, loss, &[x, w], 1e-5);
    }
}

/// The loss of a solver's search directions, `‖b - A q ⟨q, b⟩/⟨q, A q⟩‖²` (Kaneda et al. 2023), q being what a small
/// network makes of b.
#[test]
fn a_network_trained_against_an_operator() {
    const SIZE: usize = 6;
    for gpu in gpus() {
        let map = laplacian(&gpu, SIZE);
        let (batch, n) = (3, SIZE * SIZE);
        let mut graph = Graph::new();
        let b = graph.input("b", &[batch, 1, SIZE, SIZE]).unwrap();
        let first = graph.input("first", &[4, 1, 3, 3]).unwrap();
        let second = graph.input("second", &[1, 4, 3, 3]).unwrap();
        let same = ConvolutionOptions { padding: Padding::Same, ..Default::default() };
        let hidden = graph.convolution(b, first, &same).unwrap();
        let hidden = graph.tanh(hidden).unwrap();
        let q = graph.convolution(hidden, second, &same).unwrap();
        let (q, b) = (graph.reshape(q, &[batch, n]).unwrap(), graph.reshape(b, &[batch, n]).unwrap());
        let aq = graph.apply(&map, q).unwrap();
        let dot = |graph: &mut Graph, a: Var, b: Var| {
            let products = graph.mul(a, b)?;
            let sum = graph.sum(products, &[1])?;
            graph.reshape(sum, &[batch, 1])
        };
        let (qb, qaq) = (dot(&mut graph, q, b).unwrap(), dot(&mut graph, q, aq).unwrap());
        let alpha = graph.div(qb, qaq).unwrap();
        let step = graph.mul(aq, alpha).unwrap();
        let residual = graph.sub(b, step).unwrap();
        let squares = graph.mul(residual, residual).unwrap();
        let loss = graph.sum(squares, &[]).unwrap();
        compare(&gpu, graph, loss, &[first, second], 1e-4);
    }
}

/// The leaves are bound as they are, and so are the outputs, in one buffer.
#[test]
fn products_between_leaves_and_outputs() {
    for gpu in gpus() {
        let (map, a) = dense(&gpu);
        let mut graph = Graph::new();
        let (x, ct) = (graph.input("x", &[2, COLUMNS]).unwrap(), graph.input("ct", &[2, ROWS]).unwrap());
        let y = graph.apply(&map, x).unwrap();
        let pulled = graph.vjp(&[y], &[ct], &[x]).unwrap()[0];
        let pushed = graph.jvp(&[y], &[x], &[x]).unwrap()[0];
        // linear: its tangent along x is its value
        assert_eq!(pushed, y);
        let (of_x, of_ct) = (noise(2, 2 * COLUMNS), noise(3, 2 * ROWS));
        let whole = Tensor::from_slice(&gpu, &[48], &[&of_x[..], &of_ct, &[f32::NAN; 24]].concat()).unwrap();
        let part = |at: usize, shape: &[usize]| Tensor::from_buffer(whole.buffer(), 4 * at as u64, shape, DType::F32).unwrap();
        let tensors = [part(0, &[2, COLUMNS]), part(10, &[2, ROWS]), part(24, &[2, ROWS]), part(38, &[2, COLUMNS])];
        let bindings: Vec<(Var, &Tensor)> = [x, ct, y, pulled].into_iter().zip(&tensors).collect();
        let program = Plan::new(&gpu, &graph, &[Stage::new(&[y, pulled])]).unwrap().compile(&gpu, &bindings).unwrap();
        gpu.submit([&program.recording(0).unwrap()]);
        for row in 0..2 {
            let (mut product, mut transposed) = ([0.0; ROWS], [0.0; COLUMNS]);
            blas::gemv(1.0, &a, &wide(&of_x)[row * COLUMNS..][..COLUMNS], 0.0, &mut product);
            blas::gemv_transposed(1.0, &a, &wide(&of_ct)[row * ROWS..][..ROWS], 0.0, &mut transposed);
            let close = |found: &[f64], expected: &[f64]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(close(&read(&gpu, &tensors[2])[row * ROWS..][..ROWS], &product), "row {row} of the product");
            assert!(close(&read(&gpu, &tensors[3])[row * COLUMNS..][..COLUMNS], &transposed), "row {row} of the adjoint");
        }
    }
}

#[test]
fn maps_are_told_apart_and_transposed() {
    let gpu = gpu(Checks::Unchecked);
    let ((map, _), (other, _), symmetric) = (dense(&gpu), dense(&gpu), laplacian(&gpu, 2));
    assert_eq!((map.rows(), map.columns()), (ROWS, COLUMNS));
    assert_eq!((map.transpose().rows(), map.transpose().columns()), (COLUMNS, ROWS));
    assert!(map == map.clone() && map == map.transpose().transpose() && map != map.transpose() && map != other);
    assert_eq!(symmetric, symmetric.transpose());
    let mut graph = Graph::new();
    let x = graph.input("x", &[COLUMNS]).unwrap();
    let y = graph.apply(&map, x).unwrap();
    assert_eq!(graph.apply(&map.clone(), x).unwrap(), y);
    assert_ne!(graph.apply(&other, x).unwrap(), y);
    assert!(format!("{graph:?}").contains("linear \"dense\" %0  [7]"), "{graph:?}");
    let zero = graph.constant(0.0, &[COLUMNS]).unwrap();
    let none = graph.apply(&map, zero).unwrap();
    assert!(matches!(graph.op(none).unwrap().0, Op::Constant(value) if value.get() == 0.0));
}

#[test]
fn what_does_not_fit_is_refused() {
    let gpu = gpu(Checks::Unchecked);
    let (map, _) = dense(&gpu);
    let mut graph = Graph::new();
    let scalar = graph.input("scalar", &[]).unwrap();
    let rows = graph.input("rows", &[3, ROWS]).unwrap();
    let indices = graph.indices("indices", &[COLUMNS]).unwrap();
    for x in [scalar, rows, indices] {
        assert!(matches!(graph.apply(&map, x), Err(Error::Operation { operation: "apply", .. })));
    }
    assert!(matches!(graph.apply(&map, Graph::new().input("x", &[COLUMNS]).unwrap()), Err(Error::Unknown { .. })));
    let nothing = || Product::new(|_, _, _| Ok(()), |_| Vec::new());
    assert!(matches!(LinearMap::symmetric("empty", 0, nothing()), Err(Error::Option { option, .. }) if option == "rows"));
    assert!(matches!(LinearMap::new("empty", 1, 0, nothing(), nothing()), Err(Error::Option { option, .. }) if option == "columns"));

    // a reference of another length, and a recording that fails
    let refused = |_: &mut gradus::Recording, _: &Tensor, _: &Tensor| -> Result<()> { Err(Error::NonFinite { what: "this".into() }) };
    let wrong = LinearMap::symmetric("wrong", COLUMNS, Product::new(refused, |_| vec![0.0; 2])).unwrap();
    let x = graph.input("x", &[COLUMNS]).unwrap();
    let y = graph.apply(&wrong, x).unwrap();
    let values = HashMap::from([(x, vec![1.0; COLUMNS])]);
    assert!(matches!(evaluate(&graph, &values, &[y]), Err(Error::Length { expected: COLUMNS, found: 2, .. })));
    let tensor = Tensor::zeros(&gpu, &[COLUMNS], DType::F32).unwrap();
    let program = Plan::new(&gpu, &graph, &[Stage::new(&[y])]).unwrap().compile(&gpu, &[(x, &tensor)]).unwrap();
    assert!(matches!(program.recording(0).err(), Some(Error::NonFinite { .. })));
}
