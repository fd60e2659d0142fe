//! Graphs at the edges of f32: tails, infinities, NaN, large means, masked classes. Values on the device, of checked and unchecked
//! shaders and both shapes of kernels, against mathematics in f64 that is written here.

#![cfg(feature = "graph")]

mod common;

use std::collections::HashMap;

use gradus::gpu::{Checks, GpuOptions, Target};
use gradus::graph::{Graph, Plan, Stage, Var, Window, layers, losses};
use gradus::reference::graph::evaluate;
use gradus::{Error, Gpu, Result, Tensor};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;
/// What may be flushed to 0.
const TINY: f64 = 1.2e-38;

/// One device, seen in four ways.
fn gpus() -> Vec<Gpu> {
    let base = common::gpu(Checks::Unchecked);
    let each = |checks, target| {
        Gpu::with_options(base.device(), base.queue(), GpuOptions { checks, target: Some(target), ..Default::default() }).unwrap()
    };
    [Checks::Checked, Checks::Unchecked]
        .into_iter()
        .flat_map(|checks| [Target::software(), Target::discrete()].map(|target| each(checks, target)))
        .collect()
}

/// The values of `outputs` on a device, given those of leaves; indices are whole numbers.
fn run(gpu: &Gpu, graph: &Graph, leaves: &[(Var, Vec<f64>)], outputs: &[Var]) -> Vec<Vec<f64>> {
    let tensor = |(var, values): &(Var, Vec<f64>)| {
        let shape = graph.shape(*var).unwrap();
        let tensor = match matches!(graph.op(*var).unwrap().0, gradus::graph::Op::Indices(_)) {
            true => Tensor::from_slice(gpu, shape, &values.iter().map(|&v| v as u32).collect::<Vec<_>>()),
            false => Tensor::from_slice(gpu, shape, &values.iter().map(|&v| v as f32).collect::<Vec<_>>()),
        };
        (*var, tensor.unwrap())
    };
    let tensors: Vec<(Var, Tensor)> = leaves.iter().map(tensor).collect();
    let bindings: Vec<(Var, &Tensor)> = tensors.iter().map(|(var, tensor)| (*var, tensor)).collect();
    let program = Plan::new(gpu, graph, &[Stage::new(outputs)]).unwrap().compile(gpu, &bindings).unwrap();
    gpu.submit([&program.recording(0).unwrap()]);
    outputs.iter().map(|&output| common::read(gpu, program.tensor(output).unwrap())).collect()
}

/// Within `relative` of `scale`, and what may be flushed; the same infinity, and NaN for NaN.
fn near(found: f64, expected: f64, relative: f64, scale: f64) -> bool {
    match expected.is_finite() {
        // beyond f32, or by rounding nearly so
        true if expected.abs() > 3.402e38 => found.abs() > 3.4e38 && found.signum() == expected.signum(),
        true => (found - expected).abs() <= relative * scale.abs() + TINY,
        false => found == expected || found.is_nan() && expected.is_nan(),
    }
}

#[track_caller]
fn expect(found: &[f64], expected: &[f64], relative: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (&a, &b)) in found.iter().zip(expected).enumerate() {
        assert!(near(a, b, relative, b), "{what} [{i}]: {a:e} for {b:e}");
    }
}

fn sigmoid(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// x times the sigmoid of a multiple of `x + 0.044715 x³`: the value and the parts of the derivative.
fn gelu(x: f64) -> [f64; 3] {
    let c = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
    let u = c * (x + 0.044_715 * x.powi(3));
    let s = sigmoid(u);
    let tail = s * sigmoid(-u);
    [if x == -INF { 0.0 } else { x * s }, s, if tail == 0.0 { 0.0 } else { x * tail * c * (1.0 + 3.0 * 0.044_715 * x * x) }]
}

/// Finite arguments of both signs, of all sizes; then ±∞ and NaN of both signs; as f32.
fn arguments() -> Vec<f64> {
    let sizes = [
        0.0,
        1e-30,
        1e-10,
        1e-4,
        0.01,
        0.1,
        0.3,
        0.5,
        0.624,
        0.626,
        0.7,
        std::f64::consts::FRAC_PI_4,
        0.99,
        0.999_999,
        1.0,
        1.000_001,
        1.5,
        std::f64::consts::FRAC_PI_2,
        2.0,
        std::f64::consts::PI,
        4.5,
        5.0,
        6.3,
        8.0,
        9.0,
        10.0,
        11.9,
        12.0,
        14.0,
        17.0,
        20.0,
        31.0,
        44.0,
        50.0,
        60.0,
        80.0,
        86.0,
        87.2,
        88.6,
        90.0,
        100.0,
        103.0,
        104.5,
        127.0,
        129.0,
        355.0,
        1000.0,
        9_999.9,
        1e4,
        103_993.0,
        123_456.7,
        1e7,
        1e10,
        2e19,
        1e20,
        1e30,
        3.402e38,
    ];
    let special = [INF, -INF, NAN, -NAN];
    sizes.iter().flat_map(|&x| [x, -x]).chain(special).map(|x| f64::from(x as f32)).collect()
}

type Build = fn(&mut Graph, Var) -> Result<Var>;
/// The value, and the size that the bound is relative to.
type Expected = fn(f64) -> (f64, f64);

/// Functions of one number with their derivatives, all of them in one program.
#[test]
fn functions_of_all_numbers() {
    fn slope(graph: &mut Graph, x: Var, build: Build) -> Result<Var> {
        let y = build(graph, x)?;
        let sum = graph.sum(y, &[])?;
        Ok(graph.gradient(sum, &[x])?[0])
    }
    fn own(y: f64) -> (f64, f64) {
        (y, y)
    }
    // x times a sigmoid, which may be 0 where it is subnormal
    fn with_tail(y: f64, size: f64, x: f64, relative: f64) -> (f64, f64) {
        (y, size.abs() + x.abs().min(1e3) * TINY / relative)
    }
    let cases: &[(&str, f64, Build, Expected)] = &[
        ("exp", 2e-7, |g, x| g.exp(x), |x| own(x.exp())),
        ("expm1", 4e-7, |g, x| g.expm1(x), |x| own(x.exp_m1())),
        ("log", 2e-7, |g, x| g.log(x), |x| own(if x == 0.0 { -INF } else { x.ln() })),
        ("log1p", 4e-7, |g, x| g.log1p(x), |x| own(x.ln_1p())),
        ("tanh", 4e-7, |g, x| g.tanh(x), |x| own(x.tanh())),
        ("erf", 3e-7, |g, x| g.erf(x), |x| own(libm::erf(x))),
        ("sigmoid", 4e-7, |g, x| g.sigmoid(x), |x| own(sigmoid(x))),
        ("softplus", 4e-7, |g, x| g.softplus(x), |x| own(softplus(x))),
        ("sin", 6e-7, |g, x| g.sin(x), |x| (x.sin(), 1.0)),
        ("cos", 6e-7, |g, x| g.cos(x), |x| (x.cos(), 1.0)),
        (
            "silu",
            2e-6,
            |g, x| g.silu(x),
            |x| {
                let y = if x == -INF { 0.0 } else { x * sigmoid(x) };
                with_tail(y, y, x, 2e-6)
            },
        ),
        ("gelu", 3e-5, |g, x| g.gelu(x), |x| with_tail(gelu(x)[0], gelu(x)[0], x, 3e-5)),
        ("relu", 0.0, |g, x| g.relu(x), |x| own(if x > 0.0 || x.is_nan() { x } else { 0.0 })),
        ("step", 0.0, |g, x| g.step(x), |x| own(f64::from(x > 0.0))),
        ("sign", 0.0, |g, x| g.sign(x), |x| own(if x.is_nan() || x == 0.0 { 0.0 } else { x.signum() })),
        ("expm1'", 2e-7, |g, x| slope(g, x, |g, x| g.expm1(x)), |x| own(x.exp())),
        ("log1p'", 6e-7, |g, x| slope(g, x, |g, x| g.log1p(x)), |x| own(1.0 / (1.0 + x))),
        ("erf'", 3e-5, |g, x| slope(g, x, |g, x| g.erf(x)), |x| own(std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp())),
        (
            "tanh'",
            3e-6,
            |g, x| slope(g, x, |g, x| g.tanh(x)),
            |x| {
                let y = 4.0 * sigmoid(2.0 * x) * sigmoid(-2.0 * x);
                with_tail(y, y, 4.0, 3e-6)
            },
        ),
        ("sigmoid'", 3e-6, |g, x| slope(g, x, |g, x| g.sigmoid(x)), |x| own(sigmoid(x) * sigmoid(-x))),
        ("softplus'", 3e-6, |g, x| slope(g, x, |g, x| g.softplus(x)), |x| own(sigmoid(x))),
        ("softplus''", 3e-6, |g, x| slope(g, x, |g, x| slope(g, x, |g, x| g.softplus(x))), |x| own(sigmoid(x) * sigmoid(-x))),
        (
            "softplus'''",
            6e-6,
            |g, x| slope(g, x, |g, x| slope(g, x, |g, x| slope(g, x, |g, x| g.softplus(x)))),
            |x| {
                let product = sigmoid(x) * sigmoid(-x);
                (product * (sigmoid(-x) - sigmoid(x)), product)
            },
        ),
        (
            "gelu'",
            1e-4,
            |g, x| slope(g, x, |g, x| g.gelu(x)),
            |x| {
                let [_, value, rest] = gelu(x);
                // 0 · ∞
                with_tail(if x == INF { NAN } else { value + rest }, value.abs() + rest.abs(), x * x, 1e-4)
            },
        ),
        (
            "silu'",
            4e-6,
            |g, x| slope(g, x, |g, x| g.silu(x)),
            |x| {
                // 0 · ∞ on one side alone
                let tail = sigmoid(x) * sigmoid(-x);
                let rest = if x == -INF { 0.0 } else { x * tail };
                with_tail(sigmoid(x) + rest, sigmoid(x).abs() + rest.abs(), x, 4e-6)
            },
        ),
    ];
    let x = arguments();
    for (way, gpu) in gpus().iter().enumerate() {
        // in whole cells and one by one
        for n in [x.len() / 4 * 4, x.len() / 4 * 4 - 1] {
            if n % 4 != 0 && way % 3 != 0 {
                continue;
            }
            let values = x[x.len() - n..].to_vec();
            let mut graph = Graph::new();
            let leaf = graph.input("x", &[n]).unwrap();
            let outputs: Vec<Var> = cases.iter().map(|case| case.2(&mut graph, leaf).unwrap()).collect();
            let found = run(gpu, &graph, &[(leaf, values.clone())], &outputs);
            for ((name, bound, _, function), found) in cases.iter().zip(&found) {
                for (&x, &y) in values.iter().zip(found) {
                    let (expected, scale) = function(x);
                    assert!(near(y, expected, *bound, scale), "{name} of {x:e}: {y:e} for {expected:e}");
                }
            }
        }
    }
}

/// What was computed elsewhere, to the digits given.
#[test]
fn known_values() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[8]).unwrap();
    let outputs = [graph.softplus(x), graph.gelu(x), graph.tanh(x)].map(Result::unwrap);
    let arguments = vec![-12.0, -17.0, -20.0, 44.0, 50.0, 1000.0, 1e30, -1000.0];
    let found = run(&gpus()[0], &graph, &[(x, arguments)], &outputs);
    expect(&found[0], &[6.144194e-6, 4.139938e-8, 2.061154e-9, 44.0, 50.0, 1000.0, 1e30, 0.0], 1e-6, "softplus");
    expect(&found[1][3..], &[44.0, 50.0, 1000.0, 1e30, 0.0], 1e-6, "gelu");
    expect(&found[2], &[-1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0, -1.0], 1e-6, "tanh");
}

/// Softmax and cross entropy of rows that the f32 do not make easy, their derivatives and their Hessian products.
#[test]
fn classes_without_a_chance() {
    let [p, q, rest] = [0.268_941_421_369_995_1, 0.731_058_578_630_004_9, 0.313_261_687_518_222_8];
    let m = f64::from(-3e38f32);
    // logits, the class, and the softmax
    let rows = [
        ([0.0, -INF, 1.0], 2, [p, 0.0, q]),
        ([0.0, m, 1.0], 2, [p, 0.0, q]),
        ([-INF, 1.0, 0.0], 1, [0.0, q, p]),
        ([m, m, m], 0, [1.0 / 3.0; 3]),
        ([m, -INF, m], 0, [0.5, 0.0, 0.5]),
        ([-INF, 5.0, -INF], 1, [0.0, 1.0, 0.0]),
        ([-m, m, 0.0], 0, [1.0, 0.0, 0.0]),
        ([1e30, 1e30, -1e30], 1, [0.5, 0.5, 0.0]),
        ([-104.0, 0.0, -50.0], 1, [0.0, 1.0, 0.0]),
    ];
    let n = rows.len();
    let tangent: Vec<f64> = (0..3 * n).map(|i| [0.5, -1.0, 2.0, 0.25][i % 4]).collect();
    let mut graph = Graph::new();
    let (x, t) = (graph.input("x", &[n, 3]).unwrap(), graph.input("t", &[n, 3]).unwrap());
    let classes = graph.indices("classes", &[n]).unwrap();
    let softmax = graph.softmax(x, 1).unwrap();
    let log_softmax = graph.log_softmax(x, 1).unwrap();
    let loss = losses::cross_entropy(&mut graph, x, classes).unwrap();
    let gradient = graph.gradient(loss, &[x]).unwrap()[0];
    let hessian = graph.jvp(&[gradient], &[x], &[t]).unwrap()[0];
    let forward = graph.jvp(&[softmax, log_softmax], &[x], &[t]).unwrap();
    let backward = [softmax, log_softmax].map(|y| graph.vjp(&[y], &[t], &[x]).unwrap()[0]);
    let outputs = [softmax, log_softmax, loss, gradient, hessian, forward[0], forward[1], backward[0], backward[1]];
    let leaves = [
        (x, rows.iter().flat_map(|row| row.0).collect::<Vec<f64>>()),
        (t, tangent.clone()),
        (classes, rows.iter().map(|row| f64::from(row.1)).collect()),
    ];
    // by row: pᵢ(tᵢ - Σpt) is the product with the symmetric Jacobian of softmax, and with the Hessian of the loss
    let mut expected = vec![Vec::new(); outputs.len()];
    for ((logits, class, softmax), t) in rows.iter().zip(tangent.chunks(3)) {
        let greatest = logits.iter().fold(-INF, |a: f64, &b| a.max(b));
        let sum: f64 = logits.iter().map(|x| (x - greatest).exp()).sum();
        let (along, total): (f64, f64) = (softmax.iter().zip(t).map(|(p, t)| p * t).sum(), t.iter().sum());
        for i in 0..3 {
            let curved = softmax[i] * (t[i] - along);
            let each = [
                softmax[i],
                logits[i] - greatest - sum.ln(),
                NAN,
                (softmax[i] - f64::from(u8::from(*class as usize == i))) / n as f64,
                curved / n as f64,
                curved,
                t[i] - along,
                curved,
                t[i] - softmax[i] * total,
            ];
            for (all, value) in expected.iter_mut().zip(each) {
                all.push(value);
            }
        }
    }
    let ln2 = std::f64::consts::LN_2;
    expected[2] = vec![(3.0 * rest + 3f64.ln() + 2.0 * ln2) / n as f64];
    for gpu in gpus() {
        let found = run(&gpu, &graph, &leaves, &outputs);
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            for (j, (&a, &b)) in found.iter().zip(expected).enumerate() {
                assert!(near(a, b, 1e-6, b.abs().max(1.0)), "output {i} [{j}]: {a:e} for {b:e}");
            }
        }
        assert!((found[3][0] * n as f64 - p).abs() < 1e-6 && found[3][1] == 0.0);
    }
    // a class that is excluded, and rows of which nothing can be said
    let cases = [([0.0, -INF, 1.0], 1, INF), ([0.0, NAN, 1.0], 2, NAN), ([INF, 0.0, 1.0], 2, NAN), ([-INF; 3], 0, NAN), ([0.0; 3], 3, NAN)];
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 3]).unwrap();
    let class = graph.indices("class", &[1]).unwrap();
    let loss = losses::cross_entropy(&mut graph, x, class).unwrap();
    for (logits, number, expected) in cases {
        let found = run(&gpus()[3], &graph, &[(x, logits.to_vec()), (class, vec![f64::from(number)])], &[loss]);
        expect(&found[0], &[expected], 0.0, &format!("{logits:?}"));
    }
}

#[test]
fn binary_cross_entropies() {
    // logits and targets
    let cases = [
        (20.0, 1.0),
        (-20.0, 0.0),
        (12.0, 1.0),
        (17.0, 1.0),
        (20.0, 0.0),
        (-20.0, 1.0),
        (0.5, 0.25),
        (80.0, 1.0),
        (0.0, 0.5),
        (-100.0, 0.75),
        (1e30, 1.0),
        (1e30, 0.0),
        (INF, 1.0),
        (-INF, 0.0),
        (INF, 0.0),
        (-INF, 1.0),
        (INF, 0.5),
        (NAN, 1.0),
        (1.0, NAN),
    ];
    let n = cases.len();
    let mut graph = Graph::new();
    let (x, t) = (graph.input("x", &[n, 1]).unwrap(), graph.input("t", &[n, 1]).unwrap());
    // one loss for each, so that none hides another
    let mut each = Vec::new();
    for i in 0..n {
        let (a, b) = (graph.slice(x, &[i..i + 1, 0..1]).unwrap(), graph.slice(t, &[i..i + 1, 0..1]).unwrap());
        each.push(losses::binary_cross_entropy_with_logits(&mut graph, a, b).unwrap());
    }
    let parts: Vec<Var> = each.iter().map(|&loss| graph.reshape(loss, &[1]).unwrap()).collect();
    // the sum of all has the gradient of each
    let mut sum = parts[0];
    for &part in &parts[1..] {
        sum = graph.add(sum, part).unwrap();
    }
    let all = losses::binary_cross_entropy_with_logits(&mut graph, x, t).unwrap();
    let gradient = graph.gradient(all, &[x]).unwrap()[0];
    let ones = graph.constant(1.0, &[n, 1]).unwrap();
    let curvature = graph.jvp(&[gradient], &[x], &[ones]).unwrap()[0];
    let leaves = [(x, cases.iter().map(|case| case.0).collect::<Vec<f64>>()), (t, cases.iter().map(|case| case.1).collect())];
    let part = |share: f64, x: f64| if share == 0.0 && !x.is_nan() { 0.0 } else { share * softplus(x) };
    let values: Vec<f64> =
        cases.iter().map(|&(x, t)| if x.is_nan() || t.is_nan() { NAN } else { part(t, -x) + part(1.0 - t, x) }).collect();
    for (value, known) in values.iter().zip([2.061154e-9, 2.061154e-9, 6.144194e-6, 4.139938e-8]) {
        assert!((value - known).abs() < 1e-6 * known);
    }
    let gpus = gpus();
    let found = run(&gpus[0], &graph, &leaves, &[gradient, curvature]);
    for (i, &(x, t)) in cases.iter().enumerate() {
        // NaN of a target that is
        let [slope, curved] = [(1.0 - t) * sigmoid(x) - t * sigmoid(-x), sigmoid(x) * sigmoid(-x) + 0.0 * t];
        for (found, expected) in [(found[0][i], slope), (found[1][i], curved)] {
            // one over the number of samples
            assert!(near(found * n as f64, expected, 4e-6, expected), "{x} {t}: {} for {expected:e}", found * n as f64);
        }
    }
    for gpu in &gpus[1..3] {
        let found = run(gpu, &graph, &leaves, &each[..]);
        for ((found, &value), case) in found.iter().zip(&values).zip(cases) {
            assert!(near(found[0], value, 4e-6, value), "{case:?}: {:e} for {value:e}", found[0]);
        }
    }
}

/// Rows far from 0, constant or nearly so: the normalised values are those of the deviations alone.
#[test]
fn normalizations_of_large_means() {
    // deviations that f32 near these means can have
    let wave = |i: usize, step: f64| ((i * 7 % 11) as f64 - 5.0) * step;
    for (width, means) in [(768, [10000.3, -3.0e7, 0.1]), (1024, [1234.567, 1e30, -65504.7]), (1031, [1e-3, 777.77, -1e20])] {
        let mut rows: Vec<f64> = Vec::new();
        for mean in means {
            rows.extend(vec![f64::from(mean as f32); width]);
        }
        // 2¹³ and so many of its last place; a first element that is far from all others; an outlier elsewhere
        rows.extend((0..width).map(|i| 8192.0 + wave(i, 2f64.powi(-10))));
        rows.extend((0..width).map(|i| if i == 0 { 4096.0 } else { 1.0 + wave(i, 0.0625) }));
        rows.extend((0..width).map(|i| if i == 300 { -4096.0 } else { 100.0 + wave(i, 0.0625) }));
        // deviations whose squares f32 do not hold
        rows.extend((0..width).map(|i| f64::from(wave(i, 3e23) as f32)));
        let count = rows.len() / width;
        let mut graph = Graph::new();
        let x = graph.input("x", &[count, width]).unwrap();
        let layer = layers::layer_norm(&mut graph, "layer", x, layers::EPS).unwrap();
        let stacked = graph.reshape(x, &[1, count, width]).unwrap();
        let group = layers::group_norm(&mut graph, "group", stacked, count, layers::EPS).unwrap();
        let gradient = {
            // Σ y² is near its greatest value whatever x is, Σ w y is not
            let weights = graph.iota(1, &[count, width]).unwrap();
            let weighted = graph.mul(layer, weights).unwrap();
            let sum = graph.sum(weighted, &[]).unwrap();
            graph.gradient(sum, &[x]).unwrap()[0]
        };
        let mut leaves = vec![(x, rows.clone())];
        let parameters: Vec<(String, Var)> = graph.parameters().map(|(name, var)| (name.to_owned(), var)).collect();
        for (name, var) in parameters {
            let size = graph.shape(var).unwrap().iter().product();
            leaves.push((var, vec![if name.ends_with("weight") { 1.5 } else { 0.25 }; size]));
        }
        let mut expected = Vec::new();
        let mut slopes = Vec::new();
        for row in rows.chunks(width) {
            // in f64, of what is left of the first element
            let shifted: Vec<f64> = row.iter().map(|x| x - row[0]).collect();
            let mean = shifted.iter().sum::<f64>() / width as f64;
            let variance = shifted.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            let inverse = 1.0 / (variance + layers::EPS).sqrt();
            let y: Vec<f64> = shifted.iter().map(|x| (x - mean) * inverse).collect();
            expected.extend(y.iter().map(|y| 1.5 * y + 0.25));
            // (w - mean w - y mean(w y)) / deviation, w = 1.5 i
            let mean_w = 1.5 * (width - 1) as f64 / 2.0;
            let along = y.iter().enumerate().map(|(i, y)| 1.5 * i as f64 * y).sum::<f64>() / width as f64;
            slopes.extend(y.iter().enumerate().map(|(i, y)| (1.5 * i as f64 - mean_w - y * along) * inverse));
        }
        for gpu in [&gpus()[0], &gpus()[3]] {
            let found = run(gpu, &graph, &leaves, &[layer, group, gradient]);
            for found in &found[..2] {
                // constant rows exactly
                assert!(found[..3 * width].iter().all(|&y| y == 0.25), "{:?}", &found[..4]);
                for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
                    assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()), "width {width}, row {}: {a} for {b}", i / width);
                }
            }
            for (row, (found, expected)) in found[2].chunks(width).zip(slopes.chunks(width)).enumerate() {
                let size = expected.iter().fold(0f64, |m, x| m.max(x.abs()));
                for (a, b) in found.iter().zip(expected) {
                    assert!((a - b).abs() < 2e-5 * size + TINY, "width {width}, slope of row {row}: {a} for {b}");
                }
            }
        }
    }
}

/// A maximum over an axis sees a NaN wherever it is, in whole cells and one by one, in one part and in many.
#[test]
fn maxima_of_nan() {
    for (rows, width) in [(6, 8), (6, 7), (2, 4096), (3, 1030)] {
        let mut graph = Graph::new();
        let x = graph.input("x", &[rows, width]).unwrap();
        let y = graph.softmax(x, 1).unwrap();
        let z = graph.input("z", &[1, 1, rows, width]).unwrap();
        let pooled = graph.max_pool(z, &Window { size: vec![1, width], stride: vec![1, width], padding: vec![0, 0] }).unwrap();
        // NaN at the start, at the end or within a row, also where it is beside infinities; one row without
        let mut values: Vec<f64> = (0..rows * width).map(|i| (i % 5) as f64).collect();
        for row in 0..rows - 1 {
            values[row * width + [0, width - 1, width / 2, 1, 3][row]] = if row % 2 == 0 { NAN } else { -NAN };
        }
        let finite = f64::from((width - 1) as u32 % 5).min(4.0);
        assert!(finite <= 4.0);
        for gpu in [&gpus()[0], &gpus()[3]] {
            let found = run(gpu, &graph, &[(x, values.clone()), (z, values.clone())], &[y, pooled]);
            for row in 0..rows {
                let (softmax, own) = (&found[0][row * width..][..width], &values[row * width..][..width]);
                match row < rows - 1 {
                    true => assert!(softmax.iter().all(|y| y.is_nan()) && found[1][row].is_nan(), "row {row} of {width}"),
                    false => {
                        let sum: f64 = own.iter().map(|x| x.exp()).sum();
                        expect(softmax, &own.iter().map(|x| x.exp() / sum).collect::<Vec<_>>(), 2e-5, "without a NaN");
                        assert_eq!(found[1][row], 4.0);
                    }
                }
            }
        }
    }
}

/// Infinite and NaN values, where a mask leaves them out and where it does not, and its derivatives.
#[test]
fn masks() {
    let x = [INF, NAN, 2.0, -INF, 3.0, NAN, 4.0, 5.0];
    let mask = [0.0, 0.0, 1.0, 1.0, -0.5, 2.0, NAN, 0.0];
    let values = [0.0, 0.0, 2.0, -INF, 3.0, NAN, NAN, 0.0];
    let slopes = [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, NAN, 0.0];
    let mut graph = Graph::new();
    let (a, b) = (graph.input("x", &[8]).unwrap(), graph.input("mask", &[8]).unwrap());
    let y = graph.mask(a, b).unwrap();
    let sum = graph.sum(y, &[]).unwrap();
    let gradient = graph.gradient(sum, &[a, b]).unwrap();
    let tangent = graph.constant(3.0, &[8]).unwrap();
    let forward = graph.jvp(&[y], &[a], &[tangent]).unwrap()[0];
    let leaves = [(a, x.to_vec()), (b, mask.to_vec())];
    let interpreted = evaluate(&graph, &HashMap::from(leaves.clone()), &[y, gradient[0], gradient[1], forward]).unwrap();
    let device = run(&gpus()[2], &graph, &leaves, &[y, gradient[0], forward]);
    for found in [&interpreted[0], &device[0]] {
        expect(found, &values, 0.0, "mask");
    }
    for found in [&interpreted[1], &device[1]] {
        expect(found, &slopes, 0.0, "gradient");
    }
    for found in [&interpreted[3], &device[2]] {
        expect(found, &slopes.map(|s| 3.0 * s), 0.0, "tangent");
    }
    expect(&interpreted[2], &[0.0; 8], 0.0, "by the mask");
}

/// A causal token sees none after it, were its score larger than any number that a mask adds.
#[test]
fn attention_of_large_scores() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 2, 1]).unwrap();
    let y = layers::self_attention(&mut graph, "a", x, 1, true).unwrap();
    let mut leaves = vec![(x, vec![1.0, 2e5])];
    for (name, var) in graph.parameters() {
        let values: &[f64] = match name {
            "a.in_proj_weight" => &[1e5, 1e5, 1.0],
            "a.in_proj_bias" => &[0.0; 3],
            "a.out_proj.weight" => &[1.0],
            _ => &[0.0],
        };
        leaves.push((var, values.to_vec()));
    }
    // the scores of the first token are 1e10 and 2e15; the second sees both and prefers itself
    let found = run(&gpus()[0], &graph, &leaves, &[y]);
    expect(&found[0], &[1.0, 2e5], 1e-6, "attention");
}

/// Constants that f32 do not have: products are those of mathematics where f32 can hold them.
#[test]
fn constants_beyond_f32() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[4]).unwrap();
    let arguments = vec![1.0, -2.5, 1e30, 1e-30];
    let scaled = |graph: &mut Graph, factors: &[f64]| factors.iter().fold(x, |y, &factor| graph.scale(y, factor).unwrap());
    let constant = |graph: &mut Graph, value: f64| graph.constant(value, &[4]).unwrap();
    let (small, large) = (constant(&mut graph, 1e-30), constant(&mut graph, 1e30));
    let (smaller, larger) = (graph.mul(small, small).unwrap(), graph.mul(large, large).unwrap());
    let zeros = [0.0; 4];
    let id = [1.0, -2.5, 1e30, 1e-30];
    let up = [INF, -INF, INF, 1e30];
    let down = [0.0, -0.0, 1e-30, 0.0];
    let cases: Vec<(&str, Var, [f64; 4])> = vec![
        ("x 1e-30 1e-30 1e30 1e30", scaled(&mut graph, &[1e-30, 1e-30, 1e30, 1e30]), id),
        ("x 1e30 1e30 1e-30 1e-30", scaled(&mut graph, &[1e30, 1e30, 1e-30, 1e-30]), id),
        ("x 1e-30 1e-30", scaled(&mut graph, &[1e-30, 1e-30]), down),
        ("x 1e30 1e30", scaled(&mut graph, &[1e30, 1e30]), up),
        (
            "1e-30 1e-30 x 1e30 1e30",
            {
                let y = graph.mul(smaller, x).unwrap();
                let y = graph.mul(y, large).unwrap();
                graph.mul(y, large).unwrap()
            },
            id,
        ),
        ("x / 1e60", graph.div(x, larger).unwrap(), down),
        ("x / 1e-60", graph.div(x, smaller).unwrap(), up),
        ("1e60 / x", graph.div(larger, x).unwrap(), [INF, -INF, 1e30, INF]),
        ("1e-60 / x", graph.div(smaller, x).unwrap(), [0.0, -0.0, 0.0, 1e-30]),
        ("x + 1e-60", graph.add(x, smaller).unwrap(), id),
        ("1e60", larger, [INF; 4]),
        ("1e-60", smaller, zeros),
        ("max(x, 1e60)", graph.maximum(x, larger).unwrap(), [INF; 4]),
        ("log 1e60", graph.log(larger).unwrap(), [60.0 * std::f64::consts::LN_10; 4]),
        ("x 1e-45", scaled(&mut graph, &[1e-45]), [0.0, -0.0, 1e-15, 0.0]),
        (
            "1 / 0",
            {
                let zero = constant(&mut graph, 0.0);
                graph.reciprocal(zero).unwrap()
            },
            [INF; 4],
        ),
        (
            "x / 0",
            {
                let zero = constant(&mut graph, 0.0);
                graph.div(x, zero).unwrap()
            },
            [INF, -INF, INF, INF],
        ),
    ];
    let outputs: Vec<Var> = cases.iter().map(|case| case.1).collect();
    for gpu in [&gpus()[0], &gpus()[3]] {
        let found = run(gpu, &graph, &[(x, arguments.clone())], &outputs);
        for ((name, _, expected), found) in cases.iter().zip(&found) {
            expect(found, expected, 1e-6, name);
        }
    }
}

/// Of what is zero, and below: values and derivatives.
#[test]
fn zeros_and_negatives() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[4]).unwrap();
    let one = graph.constant(1.0, &[]).unwrap();
    let y = [graph.sqrt(x), graph.log(x), graph.reciprocal(x), graph.div(one, x), graph.div(x, x)].map(Result::unwrap);
    let sums = y.map(|y| graph.sum(y, &[]).unwrap());
    let slopes = sums.map(|sum| graph.gradient(sum, &[x]).unwrap()[0]);
    let found = run(&gpus()[1], &graph, &[(x, vec![0.0, -1.0, 4.0, INF])], &[&y[..], &slopes[..]].concat());
    let expected = [
        [0.0, NAN, 2.0, INF],
        [-INF, NAN, 4f64.ln(), INF],
        [INF, -1.0, 0.25, 0.0],
        [INF, -1.0, 0.25, 0.0],
        [NAN, 1.0, 1.0, NAN],
        [INF, NAN, 0.25, 0.0],
        [INF, -1.0, 0.25, 0.0],
        [-INF, -1.0, -0.0625, 0.0],
        [-INF, -1.0, -0.0625, 0.0],
        [NAN, 0.0, 0.0, NAN],
    ];
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        expect(found, &expected, 1e-6, &format!("output {i}"));
    }
}

/// A value belongs to the graphs that hold its node, and to no other.
#[test]
fn values_of_clones() {
    let mut first = Graph::new();
    let x = first.input("x", &[2]).unwrap();
    let y = first.exp(x).unwrap();
    let mut second = first.clone();
    let (in_first, in_second) = (first.sin(y).unwrap(), second.cos(y).unwrap());
    // what was there before is in both, and equal nodes are found
    for graph in [&mut first, &mut second] {
        assert_eq!(graph.shape(y).unwrap(), [2]);
        assert_eq!(graph.exp(x).unwrap(), y);
        graph.add(x, y).unwrap();
    }
    let refused = |result: Result<Var>| matches!(result, Err(Error::Unknown { .. }));
    // the same place, also of a node that is equal
    let (same_first, same_second) = (first.tanh(y).unwrap(), second.tanh(y).unwrap());
    for (graph, own, foreign) in
        [(&mut first, [in_first, same_first], [in_second, same_second]), (&mut second, [in_second, same_second], [in_first, same_first])]
    {
        for (own, foreign) in own.into_iter().zip(foreign) {
            assert!(own != foreign && graph.shape(own).is_ok());
            assert!(graph.shape(foreign).is_err() && graph.op(foreign).is_err());
            assert!(refused(graph.exp(foreign)) && refused(graph.add(x, foreign)) && refused(graph.detach(foreign)));
            assert!(graph.jvp(&[own], &[foreign], &[x]).is_err() && graph.vjp(&[foreign], &[x], &[x]).is_err());
            assert!(evaluate(graph, &HashMap::from([(x, vec![0.0; 2])]), &[foreign]).is_err());
            let gpu = common::gpu(Checks::Unchecked);
            assert!(matches!(Plan::new(&gpu, graph, &[Stage::new(&[foreign])]), Err(Error::Unknown { .. })));
            assert!(Plan::new(&gpu, graph, &[Stage::new(&[own])]).is_ok());
        }
    }
    // a graph that lost nodes gives their places to others
    let mut graph = Graph::new();
    let x = graph.input("x", &[2, 3]).unwrap();
    graph.input("l.bias", &[4]).unwrap();
    let clone = graph.clone();
    assert!(layers::dense(&mut graph, "l", x, 4).is_err());
    let y = graph.exp(x).unwrap();
    assert!(clone.shape(y).is_err() && clone.shape(x).is_ok() && graph.shape(y).is_ok());
}

/// A chain of n operations has a tangent of a multiple of n nodes, however many of them have tangents of their own; and
/// what does not depend on tangents is computed once.
#[test]
fn tangents_of_long_chains() {
    type Link = fn(&mut Graph, Var, Var) -> Result<Var>;
    let links: [(&str, Link); 4] = [
        ("one tangent", |g, y, _| g.tanh(y)),
        ("sums", |g, y, w| {
            let y = g.add(y, w)?;
            g.tanh(y)
        }),
        ("products", |g, y, w| g.mul(y, w)),
        ("quotients", |g, y, w| {
            let e = g.exp(w)?;
            let y = g.div(y, e)?;
            g.maximum(y, w)
        }),
    ];
    for (name, link) in links {
        // (nodes of the tangent, of the gradient's tangent)
        let added = |n: usize| {
            let mut graph = Graph::new();
            let leaves: Vec<Var> = (0..=n).map(|i| graph.input(&format!("x{i}"), &[4]).unwrap()).collect();
            let tangents: Vec<Var> = (0..=n).map(|i| graph.input(&format!("t{i}"), &[4]).unwrap()).collect();
            let y = leaves[1..].iter().fold(leaves[0], |y, &w| link(&mut graph, y, w).unwrap());
            let before = graph.len();
            graph.jvp(&[y], &leaves, &tangents).unwrap();
            let first = graph.len() - before;
            let sum = graph.sum(y, &[]).unwrap();
            let gradient = graph.gradient(sum, &leaves).unwrap();
            let before = graph.len();
            graph.jvp(&gradient, &leaves, &tangents).unwrap();
            [first, graph.len() - before]
        };
        let (short, long) = (added(40), added(160));
        for (short, long) in short.into_iter().zip(long) {
            assert!(long < 5 * short, "{name}: {short} nodes for 40 links, {long} for 160");
        }
    }
    // of a chain with one tangent a single product depends on it
    let mut graph = Graph::new();
    let (x, t) = (graph.input("x", &[4]).unwrap(), graph.input("t", &[4]).unwrap());
    let y = (0..20).fold(x, |y, _| graph.sin(y).unwrap());
    let before = graph.len();
    graph.jvp(&[y], &[x], &[t]).unwrap();
    let mut moving = vec![t];
    for var in graph.vars().skip(before) {
        if graph.op(var).unwrap().1.iter().any(|input| moving.contains(input)) {
            moving.push(var);
        }
    }
    assert_eq!(moving.len(), 2, "{graph:?}");
}
