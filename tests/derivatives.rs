//! Derivatives of graphs, in f64: of every primitive and of random graphs, to the third order, against
//! differences and identities.

#![cfg(feature = "graph")]

#[path = "common/graphs.rs"]
mod graphs;

use std::collections::HashMap;

use gradus::Result;
use gradus::graph::{Binary, ConvolutionOptions, Graph, Init, Op, Padding, Unary, Var, Window, layers, losses};
use gradus::reference::graph::evaluate;
use gradus::reference::random::uniform;
use graphs::{Drawn, graphs};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// The step of differences of the fourth order, whose error is h⁴ f⁽⁵⁾/30 and rounding.
const H: f64 = 2e-4;

/// Where functions are evaluated for differences with steps H and 2H, in units of H.
const POINTS: [f64; 6] = [-4.0, -2.0, -1.0, 1.0, 2.0, 4.0];

/// Values of one kind after another: of leaves, of directions.
type Vectors = Vec<Vec<f64>>;

/// Everything that must hold of the derivatives of a graph at its values. `None` if the function has a kink nearby or
/// is too curved for differences.
fn check(drawn: &mut Drawn, what: &str) -> Option<()> {
    let Drawn { graph, leaves, values, outputs, loss } = drawn;
    let mut seeds = 1..;
    let mut vectors = |graph: &mut Graph, of: &[Var]| -> Vec<Var> {
        of.iter()
            .map(|&var| {
                let shape = graph.shape(var).unwrap().to_vec();
                let seed = seeds.next().unwrap();
                let vector = graph.input(&format!("vector {seed}"), &shape).unwrap();
                let numbers = uniform(seed, 0, shape.iter().product()).into_iter().map(|u| 2.0 * f64::from(u) - 1.0);
                values.insert(vector, numbers.collect());
                vector
            })
            .collect()
    };
    let (u, v, w) = (vectors(graph, leaves), vectors(graph, leaves), vectors(graph, outputs));
    let jacobian_u = graph.jvp(outputs, leaves, &u).unwrap();
    let transposed_w = graph.vjp(outputs, &w, leaves).unwrap();
    let gradient = graph.gradient(*loss, leaves).unwrap();
    let hessian_u = graph.jvp(&gradient, leaves, &u).unwrap();
    let hessian_v = graph.jvp(&gradient, leaves, &v).unwrap();
    let slope = graph.jvp(&[*loss], leaves, &u).unwrap();
    let reverse_forward = graph.gradient(slope[0], leaves).unwrap();
    let reverse_reverse = graph.vjp(&gradient, &u, leaves).unwrap();
    let third = graph.jvp(&hessian_u, leaves, &v).unwrap();

    let at = |vars: &[Var]| evaluate(graph, values, vars).unwrap();
    let sides =
        |values: &HashMap<Var, Vec<f64>>| evaluate(graph, values, &kinks(graph)).unwrap().iter().map(|x| signs(x)).collect::<Vec<_>>();
    // values of f at leaves + t·direction
    let moved = |direction: &[Var], t: f64| {
        let mut moved = values.clone();
        for (leaf, direction) in leaves.iter().zip(direction) {
            let step = &values[direction];
            moved.insert(*leaf, values[leaf].iter().zip(step).map(|(x, d)| x + t * d).collect());
        }
        moved
    };
    let here = sides(values);
    if [&u, &v].iter().any(|direction| POINTS.iter().any(|t| sides(&moved(direction, t * H)) != here)) {
        return None;
    }
    // with step H, and by how much that may be wrong: as it differs from step 2H, and by rounding
    let differences = |f: &[Var], direction: &[Var]| -> (Vectors, Vectors) {
        let at = POINTS.map(|t| evaluate(graph, &moved(direction, t * H), f).unwrap());
        let each = |i: usize, j: usize| {
            let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(|point| at[point][i][j]);
            let [fine, coarse] = [(b - 8.0 * c + 8.0 * d - e) / (12.0 * H), (a - 8.0 * b + 8.0 * e - f) / (24.0 * H)];
            (fine, (fine - coarse).abs() + 1e-12 * [a, b, c, d, e, f].iter().fold(0f64, |m, x| m.max(x.abs())) / H)
        };
        at[0].iter().enumerate().map(|(i, part)| (0..part.len()).map(|j| each(i, j)).unzip()).unzip()
    };

    let (u_at, v_at, w_at) = (at(&u), at(&v), at(&w));
    same(dot(&at(&jacobian_u), &w_at), dot(&u_at, &at(&transposed_w)), &format!("{what}: ⟨Ju, w⟩ = ⟨u, Jᵀw⟩"));
    same(dot(&at(&hessian_u), &v_at), dot(&u_at, &at(&hessian_v)), &format!("{what}: ⟨Hu, v⟩ = ⟨u, Hv⟩"));
    same(dot(&at(&gradient), &u_at), dot(&at(&slope), &[vec![1.0]]), &format!("{what}: ⟨g, u⟩"));
    for (other, order) in [(&reverse_forward, "gradient of jvp"), (&reverse_reverse, "vjp of gradient")] {
        close(&at(other), &at(&hessian_u), 1e-10, 0.0, &format!("{what}: {order}"));
    }
    for (found, f, direction, name) in
        [(&jacobian_u, &*outputs, &u, "jvp"), (&hessian_u, &gradient, &u, "Hessian"), (&third, &hessian_u, &v, "third")]
    {
        let (expected, open) = differences(f, direction);
        // too curved to tell
        if largest(&open) > 1e-4 * largest(&expected).max(1e-3) {
            return None;
        }
        close(&at(found), &expected, 1e-7, largest(&open), &format!("{what}: {name} against differences"));
    }
    Some(())
}

/// The arguments of functions with kinks, and the places of maxima.
fn kinks(graph: &Graph) -> Vec<Var> {
    let kink = |var: Var| match graph.op(var).unwrap() {
        (Op::Unary(Unary::Relu | Unary::Step | Unary::Abs | Unary::Sign), inputs) => inputs,
        (Op::MaxPoolIndices(_) | Op::Binary(Binary::Greater), _) => vec![var],
        _ => vec![],
    };
    graph.vars().flat_map(kink).collect()
}

fn signs(x: &[f64]) -> Vec<i64> {
    x.iter().map(|&x| if x.fract() == 0.0 { x as i64 } else { x.signum() as i64 }).collect()
}

fn largest(x: &[Vec<f64>]) -> f64 {
    x.iter().flatten().fold(0.0, |m, x| m.max(x.abs()))
}

/// A sum of products, and the sum of their magnitudes.
fn dot(a: &[Vec<f64>], b: &[Vec<f64>]) -> (f64, f64) {
    let products = a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| a * b);
    products.fold((0.0, 0.0), |(sum, size), product| (sum + product, size + product.abs()))
}

#[track_caller]
fn same(a: (f64, f64), b: (f64, f64), what: &str) {
    assert!((a.0 - b.0).abs() <= 1e-10 * a.1.max(b.1).max(1e-300), "{what}: {} and {}, of sizes {} and {}", a.0, b.0, a.1, b.1);
}

/// Within `relative` of the largest element.
#[track_caller]
fn close(found: &[Vec<f64>], expected: &[Vec<f64>], relative: f64, absolute: f64, what: &str) {
    let bound = absolute + relative * largest(expected).max(1e-3);
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (j, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!((found - expected).abs() <= bound, "{what}[{i}][{j}]: {found} for {expected}, bound {bound:e}");
        }
    }
}

/// A graph of one operation, with values from ±0.2 to ±1.2, no two close to each other; all positive if `positive`.
fn single(shapes: &[&[usize]], positive: bool, build: &Build) -> Drawn {
    let mut graph = Graph::new();
    let mut values = HashMap::new();
    let mut leaves = Vec::new();
    for (i, shape) in shapes.iter().enumerate() {
        let leaf = graph.parameter(&format!("x{i}"), shape, Init::Zeros).unwrap();
        // multiples of the golden ratio are evenly spread
        let number = |j: usize| {
            let u = (0.618_033_988_749_895 * (j + 1) as f64 + 0.37 * i as f64).fract() * 2.0 - 1.0;
            if positive { 0.7 + u / 2.0 } else { u + u.signum() * 0.2 }
        };
        values.insert(leaf, (0..shape.iter().product()).map(number).collect());
        leaves.push(leaf);
    }
    let output = build(&mut graph, &leaves, &mut values).unwrap();
    let curved = graph.sin(output).unwrap();
    let loss = graph.sum(curved, &[]).unwrap();
    Drawn { graph, leaves, values, outputs: vec![output], loss }
}

type Build<'a> = dyn Fn(&mut Graph, &[Var], &mut HashMap<Var, Vec<f64>>) -> Result<Var> + 'a;

fn numbers(graph: &mut Graph, values: &mut HashMap<Var, Vec<f64>>, shape: &[usize], numbers: &[u32]) -> Result<Var> {
    let var = graph.indices("numbers", shape)?;
    values.insert(var, numbers.iter().map(|&n| n.into()).collect());
    Ok(var)
}

type Case<'a> = (&'static str, Vec<&'static [usize]>, Box<Build<'a>>);

fn case<'a, const N: usize>(
    name: &'static str,
    shapes: [&'static [usize]; N],
    build: impl Fn(&mut Graph, &[Var], &mut HashMap<Var, Vec<f64>>) -> Result<Var> + 'a,
) -> Case<'a> {
    (name, shapes.to_vec(), Box::new(build))
}

#[test]
fn every_operation() {
    let options = |stride: &[usize], dilation: &[usize], padding: Padding| ConvolutionOptions {
        stride: stride.to_vec(),
        dilation: dilation.to_vec(),
        padding,
    };
    let overlapping = Window { size: vec![3, 2], stride: vec![2, 1], padding: vec![1, 0] };
    let [pool, max, gaps] = [0, 1, 2].map(|i| Window { stride: vec![2 + i / 2, 1 + i], ..overlapping.clone() });
    let strided = options(&[2], &[2], Padding::Explicit(vec![(1, 2)]));
    let plane = options(&[2, 1], &[1, 2], Padding::Same);
    let volume = options(&[], &[], Padding::Same);
    let cases = [
        case("exp", [&[3]], |g, x, _| g.exp(x[0])),
        case("expm1", [&[3]], |g, x, _| g.expm1(x[0])),
        case("log", [&[3]], |g, x, _| g.log(x[0])),
        case("log1p", [&[3]], |g, x, _| g.log1p(x[0])),
        case("erf", [&[4]], |g, x, _| g.erf(x[0])),
        case("sqrt", [&[3]], |g, x, _| g.sqrt(x[0])),
        case("reciprocal", [&[4]], |g, x, _| g.reciprocal(x[0])),
        case("tanh", [&[4]], |g, x, _| g.tanh(x[0])),
        case("sigmoid", [&[4]], |g, x, _| g.sigmoid(x[0])),
        case("relu", [&[4]], |g, x, _| g.relu(x[0])),
        case("step", [&[4]], |g, x, _| g.step(x[0])),
        case("softplus", [&[4]], |g, x, _| g.softplus(x[0])),
        case("abs", [&[4]], |g, x, _| g.abs(x[0])),
        case("sign", [&[4]], |g, x, _| g.sign(x[0])),
        case("sin", [&[4]], |g, x, _| g.sin(x[0])),
        case("cos", [&[4]], |g, x, _| g.cos(x[0])),
        case("gelu", [&[4]], |g, x, _| g.gelu(x[0])),
        case("silu", [&[4]], |g, x, _| g.silu(x[0])),
        case("add", [&[2, 3], &[3]], |g, x, _| g.add(x[0], x[1])),
        case("sub", [&[2, 1], &[3]], |g, x, _| g.sub(x[0], x[1])),
        case("mul", [&[2, 3], &[2, 1]], |g, x, _| g.mul(x[0], x[1])),
        case("square", [&[3]], |g, x, _| g.mul(x[0], x[0])),
        case("div", [&[2, 3], &[1, 3]], |g, x, _| g.div(x[0], x[1])),
        case("ratio", [&[3]], |g, x, _| {
            let y = g.exp(x[0])?;
            g.div(x[0], y)
        }),
        case("maximum", [&[5], &[5]], |g, x, _| g.maximum(x[0], x[1])),
        case("greater", [&[5], &[5]], |g, x, _| {
            let m = g.greater(x[0], x[1])?;
            g.mul(m, x[0])
        }),
        case("reshape", [&[2, 6]], |g, x, _| g.reshape(x[0], &[3, 4])),
        case("flatten", [&[2, 3, 2]], |g, x, _| g.flatten(x[0], 1)),
        case("transpose", [&[2, 3, 4]], |g, x, _| g.transpose(x[0], &[2, 0, 1])),
        case("broadcast", [&[2, 1]], |g, x, _| g.broadcast_to(x[0], &[3, 2, 4])),
        case("sum", [&[2, 3, 4]], |g, x, _| g.sum(x[0], &[0, 2])),
        case("mean", [&[2, 3, 4]], |g, x, _| g.mean(x[0], &[1])),
        case("pad", [&[2, 3]], |g, x, _| g.pad(x[0], &[(1, 0), (2, 1)])),
        case("slice", [&[4, 5]], |g, x, _| g.slice(x[0], &[1..3, 0..4])),
        case("concat", [&[2, 3], &[2, 1]], |g, x, _| g.concat(&[x[0], x[1], x[0]], 1)),
        case("scale", [&[3]], |g, x, _| g.scale(x[0], -2.5)),
        case("add_scalar", [&[3]], |g, x, _| g.add_scalar(x[0], 0.5)),
        case("avg_pool", [&[2, 2, 5, 4]], |g, x, _| g.avg_pool(x[0], &pool)),
        case("avg_pool 1d", [&[2, 2, 5]], |g, x, _| g.avg_pool(x[0], &Window::tiles(2, 1))),
        case("max_pool", [&[2, 2, 5, 4]], |g, x, _| g.max_pool(x[0], &max)),
        case("max_pool with gaps", [&[1, 2, 5, 8]], |g, x, _| g.max_pool(x[0], &gaps)),
        case("max_pool 3d", [&[1, 1, 4, 4, 2]], |g, x, _| g.max_pool(x[0], &Window::tiles(2, 3))),
        case("upsample", [&[1, 2, 2, 3]], |g, x, _| g.upsample_nearest(x[0], 2)),
        case("gather", [&[4, 3]], |g, x, values| {
            let n = numbers(g, values, &[2, 3], &[3, 0, 3, 1, 3, 0])?;
            g.gather(x[0], n)
        }),
        case("one_hot", [&[3, 4]], |g, x, values| {
            let n = numbers(g, values, &[3], &[3, 0, 2])?;
            let o = g.one_hot(n, 4)?;
            g.mul(o, x[0])
        }),
        case("iota", [&[3, 4]], |g, x, _| {
            let i = g.iota(1, &[3, 4])?;
            g.mul(i, x[0])
        }),
        case("matmul", [&[2, 3], &[3, 4]], |g, x, _| g.matmul(x[0], x[1])),
        case("matmul with itself", [&[3, 3]], |g, x, _| g.matmul(x[0], x[0])),
        case("matmul of batches", [&[2, 1, 2, 3], &[4, 3, 2]], |g, x, _| g.matmul(x[0], x[1])),
        case("convolution 1d", [&[2, 2, 9], &[3, 2, 3]], |g, x, _| g.convolution(x[0], x[1], &strided)),
        case("convolution 2d", [&[2, 2, 5, 6], &[2, 2, 3, 2]], |g, x, _| g.convolution(x[0], x[1], &plane)),
        case("convolution 3d", [&[1, 2, 3, 4, 3], &[2, 2, 3, 1, 3]], |g, x, _| g.convolution(x[0], x[1], &volume)),
        case("softmax", [&[2, 3, 2]], |g, x, _| g.softmax(x[0], 1)),
        case("log_softmax", [&[2, 5]], |g, x, _| g.log_softmax(x[0], 1)),
        case("dense", [&[2, 3, 4]], |g, x, values| layer(g, values, |g| layers::dense(g, "l", x[0], 5))),
        case("layer_norm", [&[2, 4]], |g, x, values| layer(g, values, |g| layers::layer_norm(g, "l", x[0], 1e-2))),
        case("group_norm", [&[2, 4, 3]], |g, x, values| layer(g, values, |g| layers::group_norm(g, "l", x[0], 2, 1e-2))),
        case("batch_norm", [&[2, 4, 3]], |g, x, values| layer(g, values, |g| layers::batch_norm(g, "l", x[0], 1e-2))),
        case("attention", [&[2, 3, 4]], |g, x, values| layer(g, values, |g| layers::self_attention(g, "l", x[0], 2, true))),
        case("transformer", [&[1, 3, 4]], |g, x, values| layer(g, values, |g| layers::transformer_block(g, "l", x[0], 2, 6, false))),
        case("mean_squared_error", [&[2, 3], &[2, 3]], |g, x, _| losses::mean_squared_error(g, x[0], x[1])),
        case("binary_cross_entropy", [&[2, 3], &[2, 3]], |g, x, _| losses::binary_cross_entropy_with_logits(g, x[0], x[1])),
        case("cross_entropy", [&[3, 4, 2]], |g, x, values| {
            let n = numbers(g, values, &[3, 2], &[3, 0, 2, 1, 1, 0])?;
            losses::cross_entropy(g, x[0], n)
        }),
    ];
    for (name, shapes, build) in cases {
        let mut drawn = single(&shapes, ["log", "sqrt"].contains(&name), &*build);
        check(&mut drawn, name).unwrap_or_else(|| panic!("{name}: no differences"));
    }
}

/// Derivatives by values that are not leaves, by one twice, and of what does not depend on anything.
#[test]
fn by_any_value() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[2]).unwrap();
    let y = graph.exp(x).unwrap();
    let z = graph.mul(y, y).unwrap();
    let u = graph.input("u", &[2]).unwrap();
    let values = HashMap::from([(x, vec![0.5, -1.0]), (u, vec![2.0, 3.0])]);
    let mut by = |outputs: &[Var], inputs: &[Var], tangents: &[Var]| {
        let found = graph.jvp(outputs, inputs, tangents).unwrap();
        evaluate(&graph, &values, &found).unwrap()
    };
    let e: Vec<f64> = values[&x].iter().map(|x| x.exp()).collect();
    close(&by(&[z], &[y], &[u]), &[vec![4.0 * e[0], 6.0 * e[1]]], 1e-15, 0.0, "by a value on the way");
    // y does not move with x when it is an input itself
    close(&by(&[z, y], &[x, y], &[u, u]), &[vec![4.0 * e[0], 6.0 * e[1]], vec![2.0, 3.0]], 1e-15, 0.0, "by both");
    close(&by(&[y], &[x, x], &[u, u]), &[vec![4.0 * e[0], 6.0 * e[1]]], 1e-15, 0.0, "by one twice");
    close(&by(&[x, y], &[z], &[u]), &[vec![0.0; 2], vec![0.0; 2]], 0.0, 0.0, "of what comes before");
    let gradients = graph.vjp(&[z, z], &[u, u], &[y, x, z, u, y]).unwrap();
    let expected = [vec![8.0 * e[0], 12.0 * e[1]], vec![8.0 * e[0] * e[0], 12.0 * e[1] * e[1]], vec![4.0, 6.0], vec![0.0; 2]];
    let expected: Vec<Vec<f64>> = (0..5).map(|i| expected[i % 4].clone()).collect();
    close(&evaluate(&graph, &values, &gradients).unwrap(), &expected, 1e-15, 0.0, "vjp");
}

/// Values for the leaves that a layer makes.
fn layer(graph: &mut Graph, values: &mut HashMap<Var, Vec<f64>>, make: impl FnOnce(&mut Graph) -> Result<Var>) -> Result<Var> {
    let y = make(graph)?;
    for (i, var) in graph.vars().enumerate() {
        let leaf = matches!(graph.op(var)?.0, Op::Input(_) | Op::Parameter(_));
        if leaf && !values.contains_key(&var) {
            let n = graph.shape(var)?.iter().product();
            values.insert(var, uniform(i as u64, 1, n).into_iter().map(|u| f64::from(u) + 0.3).collect());
        }
    }
    Ok(y)
}

#[test]
fn random_graphs() {
    let mut runner = TestRunner::new(Config { cases: 500, failure_persistence: None, max_global_rejects: 5000, ..Config::default() });
    let result = runner.run(&graphs(8), |mut drawn| check(&mut drawn, "random").ok_or_else(|| TestCaseError::reject("no differences")));
    result.unwrap_or_else(|error| panic!("{error}"));
}
