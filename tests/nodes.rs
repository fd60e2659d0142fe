//! The nodes of graphs: what the interpreter makes of each primitive, what is folded, and what is refused.

#![cfg(feature = "graph")]

use std::collections::HashMap;

use gradus::graph::{ConvolutionOptions, Graph, Init, Op, Padding, Var, Window, layers, losses};
use gradus::reference::graph::evaluate;
use gradus::{Error, Result};

const NAN: f64 = f64::NAN;

fn value(graph: &Graph, values: &[(Var, &[f64])], var: Var) -> Vec<f64> {
    let values: HashMap<Var, Vec<f64>> = values.iter().map(|&(var, values)| (var, values.to_vec())).collect();
    evaluate(graph, &values, &[var]).unwrap().remove(0)
}

/// Equal, and NaN where NaN is expected.
#[track_caller]
fn expect(found: &[f64], expected: &[f64]) {
    let same = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan();
    assert!(found.len() == expected.len() && found.iter().zip(expected).all(same), "{found:?} for {expected:?}");
}

/// 0, 1, 2, ..
fn count(n: usize) -> Vec<f64> {
    (0..n).map(|i| i as f64).collect()
}

#[test]
fn values_of_primitives() {
    type Build = fn(&mut Graph, Var) -> Result<Var>;
    let one = |n: usize| Window::tiles(n, 1);
    assert_eq!(one(2), Window { size: vec![2], stride: vec![2], padding: vec![0] });
    type Case<'a> = (&'a str, &'a [usize], &'a [f64], Build, &'a [f64]);
    let cases: &[Case] = &[
        ("transpose", &[2, 3], &[0., 1., 2., 3., 4., 5.], |g, x| g.transpose(x, &[1, 0]), &[0., 3., 1., 4., 2., 5.]),
        ("broadcast", &[2, 1], &[1., 2.], |g, x| g.broadcast_to(x, &[2, 2, 2]), &[1., 1., 2., 2., 1., 1., 2., 2.]),
        ("sum of rows", &[2, 3], &[0., 1., 2., 3., 4., 5.], |g, x| g.sum(x, &[1]), &[3., 12.]),
        ("sum of columns", &[2, 3], &[0., 1., 2., 3., 4., 5.], |g, x| g.sum(x, &[0]), &[3., 5., 7.]),
        ("sum", &[2, 2], &[1., 2., 3., NAN], |g, x| g.sum(x, &[]), &[NAN]),
        ("mean", &[2, 2], &[1., 2., 3., 4.], |g, x| g.mean(x, &[]), &[2.5]),
        ("pad", &[1, 2], &[1., 2.], |g, x| g.pad(x, &[(1, 0), (0, 1)]), &[0., 0., 0., 1., 2., 0.]),
        ("slice", &[2, 3], &[0., 1., 2., 3., 4., 5.], |g, x| g.slice(x, &[1..2, 1..3]), &[4., 5.]),
        ("concat", &[2, 1], &[1., 2.], |g, x| g.concat(&[x, x], 1), &[1., 1., 2., 2.]),
        (
            "iota",
            &[2, 2],
            &[5.; 4],
            |g, x| {
                let i = g.iota(1, &[2, 2])?;
                g.add(x, i)
            },
            &[5., 6., 5., 6.],
        ),
        ("relu", &[5], &[-1., 0., 2., NAN, f64::INFINITY], |g, x| g.relu(x), &[0., 0., 2., NAN, f64::INFINITY]),
        (
            "maximum",
            &[2, 4],
            &[-1., 5., 2., NAN, 3., NAN, f64::NEG_INFINITY, 7.],
            |g, x| {
                let (a, b) = (g.slice(x, &[0..1, 0..4])?, g.slice(x, &[1..2, 0..4])?);
                g.maximum(a, b)
            },
            &[3., NAN, 2., NAN],
        ),
        ("step", &[4], &[-1., 0., 2., NAN], |g, x| g.step(x), &[0., 0., 1., 0.]),
        ("sign", &[4], &[-3., 0., 2., NAN], |g, x| g.sign(x), &[-1., 0., 1., 0.]),
        ("softplus", &[3], &[-800., 0., 800.], |g, x| g.softplus(x), &[0., std::f64::consts::LN_2, 800.]),
        ("sigmoid", &[3], &[-800., 0., 800.], |g, x| g.sigmoid(x), &[0., 0.5, 1.]),
        ("avg_pool", &[1, 1, 5], &[1., 2., 3., 4., 9.], |g, x| g.avg_pool(x, &Window::tiles(2, 1)), &[1.5, 3.5]),
        (
            "avg_pool counts what is outside",
            &[1, 1, 3],
            &[2., 4., 6.],
            |g, x| g.avg_pool(x, &Window { size: vec![2], stride: vec![1], padding: vec![1] }),
            &[1., 3., 5., 3.],
        ),
        (
            "max_pool does not",
            &[1, 1, 3],
            &[-2., -4., -6.],
            |g, x| g.max_pool(x, &Window { size: vec![2], stride: vec![1], padding: vec![1] }),
            &[-2., -2., -4., -6.],
        ),
        ("max_pool", &[1, 2, 2, 2], &[1., NAN, 3., 4., 5., 8., 7., 6.], |g, x| g.max_pool(x, &Window::tiles(2, 2)), &[NAN, 8.]),
        ("upsample", &[1, 1, 1, 2], &[1., 2.], |g, x| g.upsample_nearest(x, 2), &[1., 1., 2., 2., 1., 1., 2., 2.]),
        (
            "the first of equals has the derivative",
            &[1, 1, 4],
            &[3., 3., 1., 1.],
            |g, x| {
                let y = g.max_pool(x, &Window::tiles(2, 1))?;
                let sum = g.sum(y, &[])?;
                Ok(g.gradient(sum, &[x])?[0])
            },
            &[1., 0., 1., 0.],
        ),
        (
            "detach",
            &[2],
            &[3., 4.],
            |g, x| {
                let d = g.detach(x)?;
                let y = g.mul(d, x)?;
                let s = g.sum(y, &[])?;
                Ok(g.gradient(s, &[x])?[0])
            },
            &[3., 4.],
        ),
    ];
    for (name, shape, x, build, expected) in cases {
        let mut graph = Graph::new();
        let input = graph.input("x", shape).unwrap();
        let y = build(&mut graph, input).unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("{name}");
        expect(&value(&graph, &[(input, x)], y), expected);
    }
}

#[test]
fn indices() {
    let mut graph = Graph::new();
    let (table, numbers) = (graph.input("table", &[3, 2]).unwrap(), graph.indices("numbers", &[2, 2]).unwrap());
    let one_hot = graph.one_hot(numbers, 3).unwrap();
    let rows = graph.gather(table, numbers).unwrap();
    assert_eq!((graph.shape(one_hot).unwrap(), graph.shape(rows).unwrap()), (&[2, 2, 3][..], &[2, 2, 2][..]));
    let sum = graph.sum(rows, &[]).unwrap();
    let scattered = graph.gradient(sum, &[table]).unwrap()[0];
    let values: [(Var, &[f64]); 2] = [(table, &[1., 2., 3., 4., 5., 6.]), (numbers, &[2., 0., 3., 2.])];
    expect(&value(&graph, &values, one_hot), &[0., 0., 1., 1., 0., 0., NAN, NAN, NAN, 0., 0., 1.]);
    expect(&value(&graph, &values, rows), &[5., 6., 1., 2., NAN, NAN, 5., 6.]);
    // a number that is no row is left out
    expect(&value(&graph, &values, scattered), &[1., 1., 0., 0., 2., 2.]);
}

#[test]
fn products() {
    let mut graph = Graph::new();
    let (a, b) = (graph.input("a", &[2, 1, 2, 2]).unwrap(), graph.input("b", &[2, 2, 1]).unwrap());
    let c = graph.matmul(a, b).unwrap();
    assert_eq!(graph.shape(c).unwrap(), [2, 2, 2, 1]);
    expect(&value(&graph, &[(a, &count(8)), (b, &[1., 0., 0., 1.])], c), &[0., 2., 1., 3., 4., 6., 5., 7.]);
}

/// The definition, with what is outside as 0, in signed arithmetic; the axes are always three.
#[test]
fn convolutions() {
    let explicit = |padding: &[(usize, usize)]| Padding::Explicit(padding.to_vec());
    // input, weight, stride, dilation, padding; zeros before each axis, output
    type Case = (Vec<usize>, Vec<usize>, Vec<usize>, Vec<usize>, Padding, [i64; 3], Vec<usize>);
    let cases: [Case; 8] = [
        (vec![2, 3, 7], vec![4, 3, 3], vec![], vec![], Padding::Valid, [0; 3], vec![2, 4, 5]),
        (vec![1, 2, 7], vec![3, 2, 4], vec![], vec![], Padding::Same, [0, 0, 1], vec![1, 3, 7]),
        (vec![1, 2, 8], vec![3, 2, 3], vec![3], vec![2], Padding::Same, [0, 0, 1], vec![1, 3, 3]),
        (vec![1, 1, 2], vec![1, 1, 2], vec![2], vec![3], explicit(&[(4, 1)]), [0, 0, 4], vec![1, 1, 2]),
        (vec![2, 2, 5, 4], vec![3, 2, 3, 2], vec![2, 1], vec![1, 2], explicit(&[(1, 0), (2, 3)]), [0, 1, 2], vec![2, 3, 2, 7]),
        (vec![2, 1, 6, 6], vec![2, 1, 3, 3], vec![2, 2], vec![], Padding::Same, [0, 0, 0], vec![2, 2, 3, 3]),
        (vec![1, 2, 3, 4, 5], vec![2, 2, 3, 3, 3], vec![], vec![], Padding::Same, [1; 3], vec![1, 2, 3, 4, 5]),
        (vec![1, 1, 1, 1, 1], vec![1, 1, 1, 1, 1], vec![], vec![], Padding::Valid, [0; 3], vec![1; 5]),
    ];
    for (sx, sw, stride, dilation, padding, before, sy) in cases {
        let mut graph = Graph::new();
        let (x, w) = (graph.input("x", &sx).unwrap(), graph.input("w", &sw).unwrap());
        let options = ConvolutionOptions { stride: stride.clone(), dilation: dilation.clone(), padding };
        let y = graph.convolution(x, w, &options).unwrap();
        assert_eq!(graph.shape(y).unwrap(), sy, "{sx:?} {sw:?}");
        let number = |i: usize| ((i * 37 + 11) % 17) as f64 - 8.0;
        let (xs, ws): (Vec<f64>, Vec<f64>) =
            ((0..sx.iter().product()).map(number).collect(), (0..sw.iter().product()).map(|i| number(i + 5)).collect());
        let three = |v: &[usize]| -> [i64; 3] {
            let mut all = vec![1; 3 - v.len()];
            all.extend(v.iter().map(|&n| n as i64));
            all.try_into().unwrap()
        };
        let (s, d) = (three(&stride), three(&dilation));
        let (ix, kx, ox) = (three(&sx[2..]), three(&sw[2..]), three(&sy[2..]));
        let coordinates = |of: [i64; 3]| (0..of[0]).flat_map(move |a| (0..of[1]).flat_map(move |b| (0..of[2]).map(move |c| [a, b, c])));
        let place = |n: usize, c: usize, channels: usize, of: [i64; 3], at: [i64; 3]| {
            ((((n * channels + c) as i64 * of[0] + at[0]) * of[1] + at[1]) * of[2] + at[2]) as usize
        };
        let mut expected = Vec::new();
        for n in 0..sy[0] {
            for co in 0..sy[1] {
                for o in coordinates(ox) {
                    let mut sum = 0.0;
                    for ci in 0..sx[1] {
                        for k in coordinates(kx) {
                            let at = [0, 1, 2].map(|axis| o[axis] * s[axis] + k[axis] * d[axis] - before[axis]);
                            if (0..3).all(|axis| (0..ix[axis]).contains(&at[axis])) {
                                sum += xs[place(n, ci, sx[1], ix, at)] * ws[place(co, ci, sx[1], kx, k)];
                            }
                        }
                    }
                    expected.push(sum);
                }
            }
        }
        expect(&value(&graph, &[(x, &xs), (w, &ws)], y), &expected);
    }
}

#[test]
fn evaluation_asks_for_what_it_needs() {
    let mut graph = Graph::new();
    let (x, n) = (graph.input("x", &[2]).unwrap(), graph.indices("n", &[3]).unwrap());
    let p = graph.parameter("p", &[2], Init::Ones).unwrap();
    let y = graph.exp(x).unwrap();
    let z = graph.mul(y, p).unwrap();
    let one_hot = graph.one_hot(n, 2).unwrap();
    let run = |values: &[(Var, &[f64])], var: Var| {
        let values = values.iter().map(|&(var, values)| (var, values.to_vec())).collect();
        evaluate(&graph, &values, &[var])
    };
    // neither the parameter nor the indices
    assert_eq!(run(&[(x, &[0., 0.])], y).unwrap(), [[1., 1.]]);
    // what is bound is not computed
    assert_eq!(run(&[(y, &[2., 3.]), (p, &[1., 2.])], z).unwrap(), [[2., 6.]]);
    for (var, missing) in [(y, "x"), (z, "x"), (one_hot, "n"), (p, "p")] {
        let error = run(&[], var).unwrap_err();
        assert!(matches!(&error, Error::Unknown { name, .. } if name == missing), "{error}");
    }
    let error = run(&[(x, &[1.])], y).unwrap_err();
    assert!(matches!(&error, Error::Length { tensor, expected: 2, found: 1, .. } if tensor == "x"), "{error}");
    let foreign = Graph::new().input("x", &[2]).unwrap();
    assert!(matches!(run(&[], foreign), Err(Error::Unknown { .. })));
    assert!(matches!(run(&[(foreign, &[1., 2.])], p), Err(Error::Unknown { .. })));
    assert!(evaluate(&graph, &HashMap::new(), &[]).unwrap().is_empty());
}

#[test]
fn equal_nodes_are_one() {
    let mut graph = Graph::new();
    let (x, y) = (graph.input("x", &[2, 3]).unwrap(), graph.input("y", &[2, 3]).unwrap());
    let mut twice = |build: &dyn Fn(&mut Graph) -> Var| {
        let first = build(&mut graph);
        let nodes = graph.len();
        assert_eq!(build(&mut graph), first);
        assert_eq!(graph.len(), nodes);
    };
    twice(&|g| g.exp(x).unwrap());
    twice(&|g| g.softmax(x, 1).unwrap());
    twice(&|g| g.transpose(x, &[1, 0]).unwrap());
    twice(&|g| g.add_scalar(x, 0.5).unwrap());
    twice(&|g| {
        let loss = losses::mean_squared_error(g, x, y).unwrap();
        g.gradient(loss, &[x]).unwrap()[0]
    });
    assert_eq!(graph.add(x, y).unwrap(), graph.add(y, x).unwrap());
    assert_eq!(graph.mul(x, y).unwrap(), graph.mul(y, x).unwrap());
    assert_ne!(graph.sub(x, y).unwrap(), graph.sub(y, x).unwrap());
}

#[test]
fn identities_make_no_nodes() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[2, 3]).unwrap();
    let zero = graph.constant(0.0, &[3]).unwrap();
    let one = graph.constant(1.0, &[]).unwrap();
    let same: Vec<(&str, Result<Var>)> = vec![
        ("x + 0", graph.add(x, zero)),
        ("0 + x", graph.add(zero, x)),
        ("x - 0", graph.sub(x, zero)),
        ("1 x", graph.mul(one, x)),
        ("x / 1", graph.div(x, one)),
        ("x + 0 of a scalar", graph.add_scalar(x, 0.0)),
        ("scale by 1", graph.scale(x, 1.0)),
        ("reshape", graph.reshape(x, &[2, 3])),
        ("transpose", graph.transpose(x, &[0, 1])),
        ("broadcast", graph.broadcast_to(x, &[2, 3])),
        ("pad", graph.pad(x, &[(0, 0), (0, 0)])),
        ("slice", graph.slice(x, &[0..2, 0..3])),
        ("concat", graph.concat(&[x], 0)),
    ];
    for (name, found) in same {
        assert_eq!(found.unwrap(), x, "{name}");
    }
    let back = graph.transpose(x, &[1, 0]).and_then(|y| graph.transpose(y, &[1, 0])).unwrap();
    let halves = graph.scale(x, 2.0).and_then(|y| graph.scale(y, 0.5)).unwrap();
    let flat = graph.flatten(x, 0).and_then(|y| graph.reshape(y, &[2, 3])).unwrap();
    let inner = graph.pad(x, &[(1, 1), (2, 0)]).and_then(|y| graph.slice(y, &[1..3, 2..5])).unwrap();
    assert_eq!([back, halves, flat, inner], [x; 4]);
}

#[test]
fn constants_are_folded() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[2, 2]).unwrap();
    let two = graph.constant(2.0, &[2, 2]).unwrap();
    let cases: Vec<(&str, Result<Var>, f64)> = vec![
        ("2 + 2", graph.add(two, two), 4.0),
        ("x - x", graph.sub(x, x), 0.0),
        ("0 x", graph.scale(x, 0.0), 0.0),
        ("exp", graph.exp(two), 2f64.exp()),
        ("2 > 2", graph.greater(two, two), 0.0),
        ("sum", graph.sum(two, &[]), 8.0),
        ("transposed", graph.transpose(two, &[1, 0]), 2.0),
        ("slice", graph.slice(two, &[0..1, 0..2]), 2.0),
        ("0 matmul", graph.scale(x, 0.0).and_then(|zero| graph.matmul(zero, x)), 0.0),
        ("gradient of x", graph.sum(x, &[]).and_then(|sum| Ok(graph.gradient(sum, &[x])?[0])), 1.0),
        (
            "second derivative of what is linear",
            graph.sum(x, &[]).and_then(|sum| {
                let gradient = graph.gradient(sum, &[x])?;
                Ok(graph.jvp(&gradient, &[x], &[x])?[0])
            }),
            0.0,
        ),
    ];
    for (name, found, expected) in cases {
        match graph.op(found.unwrap()).unwrap().0 {
            Op::Constant(value) => assert_eq!(value.get(), expected, "{name}"),
            op => panic!("{name}: {op:?}"),
        }
    }
    // no constant that f32 does not have
    let zero = graph.constant(0.0, &[]).unwrap();
    let infinite = graph.reciprocal(zero).unwrap();
    assert!(!matches!(graph.op(infinite).unwrap().0, Op::Constant(_)));
    expect(&value(&graph, &[], infinite), &[f64::INFINITY]);
    // sums of what is repeated multiply
    let wide = graph.reshape(x, &[2, 1, 2]).and_then(|y| graph.broadcast_to(y, &[2, 5, 2])).unwrap();
    let sums = |graph: &Graph| graph.vars().filter(|&var| matches!(graph.op(var).unwrap().0, Op::Sum(_))).count();
    let before = sums(&graph);
    let sum = graph.sum(wide, &[1]).unwrap();
    assert_eq!(sums(&graph), before, "{graph:?}");
    expect(&value(&graph, &[(x, &[1., 2., 3., 4.])], sum), &[5., 10., 15., 20.]);
}

#[test]
fn debug_prints_a_line_a_node() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[2, 3]).unwrap();
    let w = graph.parameter("w", &[3, 4], Init::Zeros).unwrap();
    let y = graph.matmul(x, w).unwrap();
    let y = graph.tanh(y).unwrap();
    graph.sum(y, &[0]).unwrap();
    let expected = "Graph: 6 nodes\n  %0 = input \"x\"  [2, 3]\n  %1 = parameter \"w\"  [3, 4]\n  %2 = matmul %0 %1  [2, 4]\n  \
                    %3 = tanh %2  [2, 4]\n  %4 = sum [0] %3  [1, 4]\n  %5 = reshape %4  [4]\n";
    assert_eq!(format!("{graph:?}"), expected);
}

/// Each mistake names the operation and the shapes.
#[test]
fn what_does_not_fit_is_refused() {
    let mut graph = Graph::new();
    let mut input = |name: &str, shape: &[usize]| graph.input(name, shape).unwrap();
    let (s, a, b, c) = (input("s", &[]), input("a", &[2, 3]), input("b", &[3, 2]), input("c", &[2, 4, 3, 3]));
    let (line, w, odd) = (input("line", &[1, 2, 5]), input("w", &[5, 4, 3, 3]), input("odd", &[5, 3, 3, 3]));
    let rank6 = input("rank6", &[1; 6]);
    let n = graph.indices("n", &[2]).unwrap();
    let (sa, sb, sc, sw, so) = (&[2, 3][..], &[3, 2][..], &[2, 4, 3, 3][..], &[5, 4, 3, 3][..], &[5, 3, 3, 3][..]);
    let g = &mut graph;
    let default = ConvolutionOptions::default();
    let stride = |stride: &[usize]| ConvolutionOptions { stride: stride.to_vec(), ..Default::default() };
    let padded = |padding: &[(usize, usize)]| ConvolutionOptions { padding: Padding::Explicit(padding.to_vec()), ..Default::default() };
    let window =
        |size: usize, stride: usize, padding: usize| Window { size: vec![size; 2], stride: vec![stride; 2], padding: vec![padding; 2] };
    let before = (g.len(), g.parameters().count());
    type Case<'a> = (&'a str, Result<Var>, Vec<&'a [usize]>);
    let cases: Vec<Case> = vec![
        ("add", g.add(a, b), vec![sa, sb]),
        ("maximum", g.maximum(a, b), vec![sa, sb]),
        ("exp", g.exp(n), vec![&[2]]),
        ("add", g.add(a, n), vec![&[2]]),
        ("input", g.input("zero", &[2, 0]), vec![&[2, 0]]),
        ("parameter", g.parameter("large", &[1 << 16, 1 << 16], Init::Zeros), vec![&[1 << 16, 1 << 16]]),
        ("constant", g.constant(1.0, &[usize::MAX, 3]), vec![&[usize::MAX, 3]]),
        ("iota", g.iota(2, &[2, 3]), vec![sa]),
        ("one_hot", g.one_hot(a, 3), vec![sa]),
        ("one_hot", g.one_hot(n, 0), vec![&[2, 0]]),
        ("reshape", g.reshape(a, &[7]), vec![sa]),
        ("flatten", g.flatten(a, 2), vec![sa]),
        ("transpose", g.transpose(a, &[0, 0]), vec![sa]),
        ("transpose", g.transpose(a, &[0]), vec![sa]),
        ("broadcast_to", g.broadcast_to(a, &[2, 4]), vec![sa]),
        ("broadcast_to", g.broadcast_to(a, &[3]), vec![sa]),
        ("sum", g.sum(a, &[2]), vec![sa]),
        ("sum", g.mean(a, &[1, 1]), vec![sa]),
        ("pad", g.pad(a, &[(1, 1)]), vec![sa]),
        ("pad", g.pad(a, &[(usize::MAX, 1), (0, 0)]), vec![&[usize::MAX]]),
        ("slice", g.slice(a, &[0..2, 1..4]), vec![sa]),
        ("slice", g.slice(a, &[0..2, 1..1]), vec![sa]),
        ("slice", g.slice(a, &[0..2, 0..3, 0..1]), vec![sa]),
        ("concat", g.concat(&[a, b], 0), vec![sa, sb]),
        ("concat", g.concat(&[a], 2), vec![sa]),
        ("concat", g.concat(&[], 0), vec![]),
        ("avg_pool", g.avg_pool(c, &window(4, 1, 0)), vec![sc]),
        ("avg_pool", g.avg_pool(c, &window(2, 0, 0)), vec![sc]),
        ("max_pool", g.max_pool(c, &window(2, 1, 2)), vec![sc]),
        ("max_pool", g.max_pool(a, &window(1, 1, 0)), vec![sa]),
        ("max_pool", g.max_pool(c, &Window::tiles(2, 3)), vec![sc]),
        ("upsample_nearest", g.upsample_nearest(c, 0), vec![sc]),
        ("upsample_nearest", g.upsample_nearest(a, 2), vec![sa]),
        ("upsample_nearest", g.upsample_nearest(c, usize::MAX), vec![&[2, 4, usize::MAX, usize::MAX]]),
        ("gather", g.gather(c, n), vec![sc, &[2]]),
        ("gather", g.gather(a, b), vec![sb]),
        ("matmul", g.matmul(a, a), vec![sa, sa]),
        ("matmul", g.matmul(s, a), vec![&[], sa]),
        ("matmul", g.matmul(c, odd), vec![sc, so]),
        ("convolution", g.convolution(c, odd, &default), vec![sc, so]),
        ("convolution", g.convolution(line, w, &default), vec![&[1, 2, 5], sw]),
        ("convolution", g.convolution(a, b, &default), vec![sa, sb]),
        ("convolution", g.convolution(rank6, rank6, &default), vec![&[1; 6], &[1; 6]]),
        ("convolution", g.convolution(c, w, &stride(&[1])), vec![sc, sw]),
        ("convolution", g.convolution(c, w, &stride(&[1, 0])), vec![sc, sw]),
        ("convolution", g.convolution(c, w, &stride(&[1, usize::MAX])), vec![sc, sw]),
        ("convolution", g.convolution(c, w, &padded(&[(0, 0)])), vec![sc, sw]),
        ("convolution", g.convolution(c, w, &padded(&[(usize::MAX, 1), (0, 0)])), vec![sc, sw]),
        ("convolution", g.convolution(c, w, &ConvolutionOptions { dilation: vec![2, 1], ..Default::default() }), vec![sc, sw]),
        ("softmax", g.softmax(a, 2), vec![sa]),
        ("log_softmax", g.log_softmax(s, 0), vec![&[]]),
        ("gradient", g.gradient(a, &[a]).map(|g| g[0]), vec![sa]),
        ("vjp", g.vjp(&[a], &[b], &[a]).map(|g| g[0]), vec![sa, sb]),
        ("vjp", g.vjp(&[a], &[], &[a]).map(|g| g[0]), vec![sa]),
        ("jvp", g.jvp(&[a], &[a], &[b]).map(|g| g[0]), vec![sa, sb]),
        ("jvp", g.jvp(&[n], &[a], &[a]).map(|g| g[0]), vec![&[2]]),
        ("mean_squared_error", losses::mean_squared_error(g, a, b), vec![sa, sb]),
        ("binary_cross_entropy_with_logits", losses::binary_cross_entropy_with_logits(g, a, s), vec![sa, &[]]),
        ("cross_entropy", losses::cross_entropy(g, b, n), vec![sb, &[2]]),
        ("cross_entropy", losses::cross_entropy(g, s, n), vec![&[], &[2]]),
        ("cross_entropy", losses::cross_entropy(g, a, b), vec![sb]),
        ("dense", layers::dense(g, "l", s, 3), vec![&[]]),
        ("parameter", layers::dense(g, "l", a, 0), vec![&[0, 3]]),
        ("convolution", layers::convolution(g, "l", c, 2, &[4, 4], &default), vec![sc, &[2, 4, 4, 4]]),
        ("convolution", layers::convolution(g, "l", s, 2, &[4], &default), vec![&[]]),
        ("layer_norm", layers::layer_norm(g, "l", s, 1e-5), vec![&[]]),
        ("group_norm", layers::group_norm(g, "l", c, 3, 1e-5), vec![sc]),
        ("group_norm", layers::group_norm(g, "l", c, 0, 1e-5), vec![sc]),
        ("batch_norm", layers::batch_norm(g, "l", s, 1e-5), vec![&[]]),
        ("gather", layers::embedding(g, "l", a, 3, 2), vec![sa]),
        ("self_attention", layers::self_attention(g, "l", a, 1, false), vec![sa]),
        ("self_attention", layers::self_attention(g, "l", line, 2, false), vec![&[1, 2, 5]]),
        ("self_attention", layers::self_attention(g, "l", line, 0, false), vec![&[1, 2, 5]]),
        ("self_attention", layers::transformer_block(g, "l", a, 1, 4, false), vec![sa]),
    ];
    for (operation, result, shapes) in cases {
        match result {
            Err(Error::Operation { operation: found, shapes: given, reason }) => {
                assert_eq!((found, given), (operation, shapes.iter().map(|s| s.to_vec()).collect()), "{reason}");
                assert!(!reason.is_empty());
            }
            other => panic!("{operation} {shapes:?}: {other:?}"),
        }
    }
    // layers that failed left no parameters
    assert_eq!(graph.parameters().count(), before.1, "{graph:?}");
}

#[test]
fn names_options_and_graphs() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[2, 3]).unwrap();
    graph.parameter("taken.bias", &[4], Init::Zeros).unwrap();
    graph.input("norm.running_var", &[3]).unwrap();
    let nodes = format!("{graph:?}");
    for (result, name) in [
        (graph.input("x", &[2]), "x"),
        (graph.indices("x", &[2]), "x"),
        (graph.parameter("x", &[2, 3], Init::Zeros), "x"),
        (layers::dense(&mut graph, "taken", x, 4), "taken.bias"),
        (layers::batch_norm(&mut graph, "norm", x, 1e-5), "norm.running_var"),
    ] {
        assert!(matches!(&result, Err(Error::DuplicateName { name: found, .. }) if found == name), "{result:?}");
    }
    for value in [f64::NAN, f64::INFINITY, 1e39] {
        for result in [
            graph.constant(value, &[2]),
            graph.scale(x, value),
            graph.add_scalar(x, value),
            layers::layer_norm(&mut graph, "norm", x, value),
        ] {
            assert!(matches!(result, Err(Error::Option { .. })), "{value}: {result:?}");
        }
    }
    assert_eq!(format!("{graph:?}"), nodes);
    let foreign = Graph::new().input("x", &[2, 3]).unwrap();
    for result in [
        graph.exp(foreign),
        graph.add(x, foreign),
        layers::dense(&mut graph, "l", foreign, 2),
        graph.jvp(&[x], &[x], &[foreign]).map(|v| v[0]),
    ] {
        assert!(matches!(result, Err(Error::Unknown { .. })), "{result:?}");
    }
    assert_eq!(format!("{graph:?}"), nodes);
    // and the names are free again
    layers::layer_norm(&mut graph, "l", x, layers::EPS).unwrap();
}
