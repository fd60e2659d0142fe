//! Layers and losses against loops over their definitions, in f64.

#![cfg(feature = "graph")]

use std::collections::HashMap;

use gradus::Result;
use gradus::graph::{ConvolutionOptions, Graph, Op, Padding, Var, layers, losses};
use gradus::reference::graph::evaluate;
use gradus::reference::random::uniform;

/// A graph of which every leaf gets values.
struct Model {
    graph: Graph,
    values: HashMap<Var, Vec<f64>>,
    output: Var,
}

/// Builds a graph of inputs of these shapes, and draws values from -1 to 1 for all its leaves; variances are
/// positive.
fn model(shapes: &[&[usize]], build: impl FnOnce(&mut Graph, &[Var]) -> Result<Var>) -> Model {
    let mut graph = Graph::new();
    let inputs: Vec<Var> = shapes.iter().enumerate().map(|(i, shape)| graph.input(&format!("x{i}"), shape).unwrap()).collect();
    let output = build(&mut graph, &inputs).unwrap();
    let mut values = HashMap::new();
    for (i, var) in graph.vars().enumerate() {
        let numbers = || uniform(i as u64, 0, graph.shape(var).unwrap().iter().product()).into_iter().map(f64::from);
        match graph.op(var).unwrap().0 {
            Op::Input(name) if name.ends_with("var") => values.insert(var, numbers().map(|u| u + 0.1).collect()),
            Op::Input(_) | Op::Parameter(_) => values.insert(var, numbers().map(|u| 2.0 * u - 1.0).collect()),
            _ => None,
        };
    }
    Model { graph, values, output }
}

impl Model {
    fn output(&self) -> Vec<f64> {
        evaluate(&self.graph, &self.values, &[self.output]).unwrap().remove(0)
    }

    /// The values of a leaf.
    fn leaf(&self, name: &str) -> &[f64] {
        let named = |var: &Var| match self.graph.op(*var).unwrap().0 {
            Op::Input(found) | Op::Parameter(found) => found == name,
            _ => false,
        };
        &self.values[&self.graph.vars().find(named).unwrap_or_else(|| panic!("{name} in {:?}", self.graph))]
    }
}

#[track_caller]
fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= 1e-12 * (1.0 + expected.abs()), "[{i}]: {found} for {expected}");
    }
}

/// `x Wᵀ + b` of rows.
fn dense(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let width = weight.len() / bias.len();
    let row = |x: &[f64]| -> Vec<f64> {
        bias.iter().zip(weight.chunks(width)).map(|(b, w)| b + w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>()).collect()
    };
    x.chunks(width).flat_map(row).collect()
}

/// Rows less their mean, over their deviation.
fn normalized(x: &[f64], width: usize, eps: f64) -> Vec<f64> {
    let row = |x: &[f64]| -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / width as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
        x.iter().map(|x| (x - mean) / (variance + eps).sqrt()).collect()
    };
    x.chunks(width).flat_map(row).collect()
}

fn softmax(x: &[f64]) -> Vec<f64> {
    let sum: f64 = x.iter().map(|x| x.exp()).sum();
    x.iter().map(|x| x.exp() / sum).collect()
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044_715 * x.powi(3))).tanh())
}

/// The attention of the model's parameters `name` of x `[batch, tokens, width]`, head by head and token by token.
fn attention(model: &Model, name: &str, x: &[f64], [batch, tokens, width]: [usize; 3], heads: usize, causal: bool) -> Vec<f64> {
    let all = dense(x, model.leaf(&format!("{name}.in_proj_weight")), model.leaf(&format!("{name}.in_proj_bias")));
    let features = width / heads;
    // query, key or value `kind` of a token for a head
    let part =
        |kind: usize, n: usize, t: usize, head: usize| &all[(n * tokens + t) * 3 * width + kind * width + head * features..][..features];
    let mut seen = vec![0.0; x.len()];
    for n in 0..batch {
        for head in 0..heads {
            for t in 0..tokens {
                let visible = if causal { t + 1 } else { tokens };
                let score = |s: usize| part(0, n, t, head).iter().zip(part(1, n, s, head)).map(|(q, k)| q * k).sum::<f64>();
                let weights = softmax(&(0..visible).map(|s| score(s) / (features as f64).sqrt()).collect::<Vec<_>>());
                for (s, weight) in weights.iter().enumerate() {
                    for (i, value) in part(2, n, s, head).iter().enumerate() {
                        seen[(n * tokens + t) * width + head * features + i] += weight * value;
                    }
                }
            }
        }
    }
    dense(&seen, model.leaf(&format!("{name}.out_proj.weight")), model.leaf(&format!("{name}.out_proj.bias")))
}

#[test]
fn functions() {
    let x = [-3.0, -0.5, 0.0, 0.25, 1.0, 4.0];
    type Build = fn(&mut Graph, Var) -> Result<Var>;
    let each = |f: fn(f64) -> f64| x.iter().map(|&x| f(x)).collect::<Vec<_>>();
    let rows = |f: fn(&[f64]) -> Vec<f64>| x.chunks(3).flat_map(f).collect::<Vec<_>>();
    let cases: [(Build, Vec<f64>); 4] = [
        (|g, x| g.gelu(x), each(gelu)),
        (|g, x| g.silu(x), each(|x| x / (1.0 + (-x).exp()))),
        (|g, x| g.softmax(x, 1), rows(softmax)),
        (|g, x| g.log_softmax(x, 1), rows(|x| softmax(x).iter().map(|p| p.ln()).collect())),
    ];
    for (build, expected) in cases {
        let mut model = model(&[&[2, 3]], |g, v| build(g, v[0]));
        let input = model.graph.vars().next().unwrap();
        model.values.insert(input, x.to_vec());
        close(&model.output(), &expected);
    }
}

#[test]
fn softmax_is_exact_for_large_numbers() {
    for axis in 0..2 {
        let shape = if axis == 0 { [3, 1] } else { [1, 3] };
        let run = |logarithm: bool, x: [f64; 3]| {
            let mut model = model(&[&shape], |g, v| if logarithm { g.log_softmax(v[0], axis) } else { g.softmax(v[0], axis) });
            let input = model.graph.vars().next().unwrap();
            model.values.insert(input, x.to_vec());
            model.output()
        };
        close(&run(false, [1e4, 1e4, -1e4]), &[0.5, 0.5, 0.0]);
        close(&run(true, [1e4, -1e4, 0.0]), &[0.0, -2e4, -1e4]);
        close(
            &run(true, [-1e4, -1e4 + 1.0, -3e4]),
            &[-(1.0 + 1f64.exp()).ln(), 1.0 - (1.0 + 1f64.exp()).ln(), -2e4 - (1.0 + 1f64.exp()).ln()],
        );
    }
}

#[test]
fn dense_layers() {
    for shape in [&[4][..], &[5, 4], &[2, 3, 4], &[1, 1]] {
        let model = model(&[shape], |g, x| layers::dense(g, "l", x[0], 3));
        let out = model.graph.shape(model.output).unwrap();
        assert_eq!(out, [&shape[..shape.len() - 1], &[3]].concat());
        close(&model.output(), &dense(model.leaf("x0"), model.leaf("l.weight"), model.leaf("l.bias")));
    }
}

#[test]
fn convolutions_with_bias() {
    let same = ConvolutionOptions { padding: Padding::Same, ..Default::default() };
    let model = model(&[&[2, 3, 4]], |g, x| layers::convolution(g, "l", x[0], 2, &[3], &same));
    let (x, w, b) = (model.leaf("x0"), model.leaf("l.weight"), model.leaf("l.bias"));
    let mut expected = Vec::new();
    for n in 0..2 {
        for co in 0..2 {
            for o in 0..4 {
                let taps = (0..3).flat_map(|ci| (0..3).map(move |k| (ci, k))).filter(|(_, k)| (1..5).contains(&(o + k)));
                expected.push(b[co] + taps.map(|(ci, k)| x[(n * 3 + ci) * 4 + o + k - 1] * w[(co * 3 + ci) * 3 + k]).sum::<f64>());
            }
        }
    }
    close(&model.output(), &expected);
    for (shape, kernel) in [(&[1, 2, 4, 5][..], &[3, 2][..]), (&[2, 1, 3, 4, 5], &[1, 3, 2])] {
        let with = self::model(&[shape], |g, x| layers::convolution(g, "l", x[0], 3, kernel, &same));
        assert_eq!(with.graph.shape(with.output).unwrap()[2..], shape[2..]);
        // the bias is one number a channel
        let mut without = self::model(&[shape], |g, x| layers::convolution(g, "l", x[0], 3, kernel, &same));
        let bias = with.leaf("l.bias").to_vec();
        let zero = without.graph.parameters().find(|(name, _)| *name == "l.bias").unwrap().1;
        without.values.insert(zero, vec![0.0; 3]);
        let plane: usize = shape[2..].iter().product();
        let expected: Vec<f64> = without.output().iter().enumerate().map(|(i, y)| y + bias[i / plane % 3]).collect();
        close(&with.output(), &expected);
    }
}

#[test]
fn normalizations() {
    let layer = model(&[&[2, 3, 5]], |g, x| layers::layer_norm(g, "l", x[0], 1e-3));
    let (w, b) = (layer.leaf("l.weight"), layer.leaf("l.bias"));
    let y = normalized(layer.leaf("x0"), 5, 1e-3);
    close(&layer.output(), &y.iter().enumerate().map(|(i, y)| y * w[i % 5] + b[i % 5]).collect::<Vec<_>>());

    for (shape, groups) in [(&[2, 6, 2, 2][..], 3), (&[2, 6, 2, 2], 1), (&[2, 4], 2), (&[3, 4, 5], 4)] {
        let group = model(&[shape], |g, x| layers::group_norm(g, "l", x[0], groups, 1e-2));
        let (w, b) = (group.leaf("l.weight"), group.leaf("l.bias"));
        let y = normalized(group.leaf("x0"), shape[1..].iter().product::<usize>() / groups, 1e-2);
        let plane: usize = shape[2..].iter().product();
        let channel = |i: usize| i / plane % shape[1];
        close(&group.output(), &y.iter().enumerate().map(|(i, y)| y * w[channel(i)] + b[channel(i)]).collect::<Vec<_>>());
    }

    let batch = model(&[&[2, 3, 2, 2]], |g, x| layers::batch_norm(g, "l", x[0], 1e-5));
    let [w, b, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map(|name| batch.leaf(&format!("l.{name}")));
    let each = |(i, x): (usize, &f64)| {
        let c = i / 4 % 3;
        (x - mean[c]) / (variance[c] + 1e-5).sqrt() * w[c] + b[c]
    };
    close(&batch.output(), &batch.leaf("x0").iter().enumerate().map(each).collect::<Vec<_>>());
    assert_eq!(batch.graph.parameters().count(), 2);
}

#[test]
fn embeddings_and_residuals() {
    let mut numbers = None;
    let mut model = model(&[], |g, _| {
        let n = g.indices("n", &[2, 2])?;
        numbers = Some(n);
        let x = layers::embedding(g, "l", n, 5, 3)?;
        layers::residual(g, x, |g, x| g.tanh(x))
    });
    let rows = [4, 0, 4, 2];
    model.values.insert(numbers.unwrap(), rows.iter().map(|&n| n as f64).collect());
    let table = model.leaf("l.weight");
    close(&model.output(), &rows.iter().flat_map(|&n| &table[n * 3..][..3]).map(|x| x + x.tanh()).collect::<Vec<_>>());
}

#[test]
fn attention_sees_what_it_should() {
    for (shape, heads) in [([2, 5, 6], 3), ([1, 1, 4], 1), ([3, 4, 4], 4)] {
        for causal in [false, true] {
            let model = model(&[&shape], |g, x| layers::self_attention(g, "a", x[0], heads, causal));
            assert_eq!(model.graph.shape(model.output).unwrap(), shape);
            close(&model.output(), &attention(&model, "a", model.leaf("x0"), shape, heads, causal));
        }
    }
}

#[test]
fn transformer_blocks() {
    let shape = [2, 3, 8];
    for causal in [false, true] {
        let model = model(&[&shape], |g, x| layers::transformer_block(g, "b", x[0], 2, 12, causal));
        let norm = |name: &str, x: &[f64]| -> Vec<f64> {
            let (w, b) = (model.leaf(&format!("b.{name}.weight")), model.leaf(&format!("b.{name}.bias")));
            normalized(x, 8, 1e-5).iter().enumerate().map(|(i, y)| y * w[i % 8] + b[i % 8]).collect()
        };
        let linear = |name: &str, x: &[f64]| dense(x, model.leaf(&format!("b.{name}.weight")), model.leaf(&format!("b.{name}.bias")));
        let plus = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a + b).collect() };
        let x = model.leaf("x0");
        let x = plus(x, &attention(&model, "b.self_attn", &norm("norm1", x), shape, 2, causal));
        let hidden: Vec<f64> = linear("linear1", &norm("norm2", &x)).into_iter().map(gelu).collect();
        close(&model.output(), &plus(&x, &linear("linear2", &hidden)));
    }
}

/// A loss of logits and classes, and its gradient.
fn cross_entropy(shape: &[usize], logits: &[f64], classes: &[f64]) -> (f64, Vec<f64>) {
    let mut graph = Graph::new();
    let x = graph.input("x", shape).unwrap();
    let n = graph.indices("n", &[&shape[..1], &shape[2..]].concat()).unwrap();
    let loss = losses::cross_entropy(&mut graph, x, n).unwrap();
    assert!(graph.shape(loss).unwrap().is_empty());
    let gradient = graph.gradient(loss, &[x]).unwrap()[0];
    let values = HashMap::from([(x, logits.to_vec()), (n, classes.to_vec())]);
    let mut found = evaluate(&graph, &values, &[loss, gradient]).unwrap();
    (found[0][0], found.remove(1))
}

#[test]
fn cross_entropies() {
    let logits: Vec<f64> = uniform(1, 0, 24).into_iter().map(|u| 6.0 * f64::from(u) - 3.0).collect();
    // [batch, classes], and with an axis after the classes
    for (shape, classes) in
        [(&[6, 4][..], vec![0., 3., 2., 1., 1., 0.]), (&[3, 4, 2], vec![0., 3., 2., 1., 1., 0.]), (&[24, 1], vec![0.; 24])]
    {
        let inner: usize = shape[2..].iter().product();
        let (c, samples) = (shape[1], classes.len());
        let (mut loss, mut gradient) = (0.0, vec![0.0; 24]);
        for (i, class) in classes.iter().enumerate() {
            let place = |k: usize| (i / inner * c + k) * inner + i % inner;
            let p = softmax(&(0..c).map(|k| logits[place(k)]).collect::<Vec<_>>());
            loss -= p[*class as usize].ln() / samples as f64;
            for (k, p) in p.iter().enumerate() {
                gradient[place(k)] = (p - f64::from(u8::from(k as f64 == *class))) / samples as f64;
            }
        }
        let found = cross_entropy(shape, &logits, &classes);
        close(&[found.0], &[loss]);
        close(&found.1, &gradient);
    }
    // large logits
    let (loss, gradient) = cross_entropy(&[2, 3], &[1e4, -1e4, 0.0, 1e4, -1e4, 0.0], &[0.0, 1.0]);
    close(&[loss], &[1e4]);
    close(&gradient, &[0.0, 0.0, 0.0, 0.5, -0.5, 0.0]);
    // a number that is no class
    let (loss, gradient) = cross_entropy(&[2, 3], &[0.0; 6], &[0.0, 3.0]);
    assert!(loss.is_nan() && gradient[3..].iter().all(|x| x.is_nan()));
}

#[test]
fn other_losses() {
    let squared = model(&[&[2, 3], &[2, 3]], |g, x| losses::mean_squared_error(g, x[0], x[1]));
    let pairs = |m: &Model| m.leaf("x0").iter().copied().zip(m.leaf("x1").iter().copied()).collect::<Vec<_>>();
    close(&squared.output(), &[pairs(&squared).iter().map(|(a, b)| (a - b).powi(2)).sum::<f64>() / 6.0]);

    let mut binary = model(&[&[2, 2], &[2, 2]], |g, x| losses::binary_cross_entropy_with_logits(g, x[0], x[1]));
    let inputs: Vec<Var> = binary.graph.vars().take(2).collect();
    binary.values.insert(inputs[1], vec![0.0, 1.0, 0.25, 0.9]);
    let each = |&(x, t): &(f64, f64)| {
        let p = 1.0 / (1.0 + (-x).exp());
        -(t * p.ln() + (1.0 - t) * (1.0 - p).ln())
    };
    close(&binary.output(), &[pairs(&binary).iter().map(each).sum::<f64>() / 4.0]);
    for (x, target, expected) in [(1e4, 1.0, 0.0), (1e4, 0.0, 1e4), (-1e4, 1.0, 1e4), (-1e4, 0.0, 0.0)] {
        binary.values.insert(inputs[0], vec![x; 4]);
        binary.values.insert(inputs[1], vec![target; 4]);
        close(&binary.output(), &[expected]);
    }
}

/// The kernels that losses cost: reductions, of values and of gradients by the logits.
#[test]
fn losses_reduce_seldom() {
    let mut graph = Graph::new();
    let (x, n) = (graph.input("x", &[8, 5]).unwrap(), graph.indices("n", &[8]).unwrap());
    let loss = losses::cross_entropy(&mut graph, x, n).unwrap();
    assert_eq!(reductions(&graph, &[loss]), 4);
    let gradient = graph.gradient(loss, &[x]).unwrap();
    // the maximum and the sum of exponentials
    assert_eq!(reductions(&graph, &gradient), 2);
    let v = graph.input("v", &[8, 5]).unwrap();
    let hessian = graph.jvp(&gradient, &[x], &[v]).unwrap();
    assert_eq!(reductions(&graph, &hessian), 3);
}

fn reductions(graph: &Graph, outputs: &[Var]) -> usize {
    let mut needed = std::collections::HashSet::new();
    let mut open = outputs.to_vec();
    while let Some(var) = open.pop() {
        if needed.insert(var) {
            open.extend(graph.op(var).unwrap().1);
        }
    }
    needed.iter().filter(|&&var| matches!(graph.op(var).unwrap().0, Op::Sum(_) | Op::Max(_))).count()
}
