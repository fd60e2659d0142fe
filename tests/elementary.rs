//! The elementary functions of graphs over all f32: a 65,521st of them, both signs, subnormal and special ones, against f64, by
//! the bounds that hold on every device that keeps what WGSL promises.

#![cfg(feature = "graph")]

mod common;

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

use gradus::gpu::Checks;
use gradus::graph::{Graph, Plan, Stage, Unary, Var};
use gradus::reference::accuracy::{self, Accuracy};
use gradus::{Result, Tensor};

type Build = fn(&mut Graph, Var) -> Result<Var>;

const FUNCTIONS: [(Unary, Build); 12] = [
    (Unary::Exp, |g, x| g.exp(x)),
    (Unary::Expm1, |g, x| g.expm1(x)),
    (Unary::Log, |g, x| g.log(x)),
    (Unary::Log1p, |g, x| g.log1p(x)),
    (Unary::Sqrt, |g, x| g.sqrt(x)),
    (Unary::Reciprocal, |g, x| g.reciprocal(x)),
    (Unary::Tanh, |g, x| g.tanh(x)),
    (Unary::Erf, |g, x| g.erf(x)),
    (Unary::Sigmoid, |g, x| g.sigmoid(x)),
    (Unary::Softplus, |g, x| g.softplus(x)),
    (Unary::Sin, |g, x| g.sin(x)),
    (Unary::Cos, |g, x| g.cos(x)),
];

/// A stride through all bit patterns, the ordinary sizes densely, and where functions change their form.
fn arguments() -> Vec<f32> {
    let mut bits: Vec<u32> = (0..=u32::MAX).step_by(65_521).collect();
    for x in [0.0f32, 1e-10, 0.29289, 0.41421, 0.34657, 0.625, FRAC_1_SQRT_2, 0.91, 1.0, SQRT_2, 4.0, 10.0, 20.0, 87.33, 88.72, 103.97] {
        let near = x.to_bits().saturating_sub(3)..x.to_bits() + 3;
        bits.extend(near.flat_map(|b| [b, b | 0x8000_0000]));
    }
    for special in [f32::INFINITY, f32::NAN, f32::MAX, f32::MIN_POSITIVE, 1e-45] {
        bits.extend([special.to_bits(), special.to_bits() | 0x8000_0000]);
    }
    let mut x: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
    x.extend((-20_000..20_000).map(|i| i as f32 * 1e-3 + 3e-5));
    x
}

fn exact(function: Unary, x: f32) -> f64 {
    let x = f64::from(x);
    match function {
        // the reference's loses the tail
        Unary::Sigmoid if x < 0.0 => x.exp() / (1.0 + x.exp()),
        Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        _ => function.apply(x),
    }
}

#[test]
fn functions_keep_their_bounds_on_all_of_f32() {
    let x = arguments();
    let mut failures = Vec::new();
    for (checks, n) in [(Checks::Unchecked, x.len() / 4 * 4), (Checks::Checked, 8_191)] {
        let gpu = common::gpu(checks);
        // four at a time, and one at a time
        let x = &x[x.len() - n..];
        let tensor = Tensor::from_slice(&gpu, &[n], x).unwrap();
        for half in FUNCTIONS.chunks(6) {
            let mut graph = Graph::new();
            let leaf = graph.input("x", &[n]).unwrap();
            let outputs: Vec<Var> = half.iter().map(|(_, build)| build(&mut graph, leaf).unwrap()).collect();
            let program = Plan::new(&gpu, &graph, &[Stage::new(&outputs)]).unwrap().compile(&gpu, &[(leaf, &tensor)]).unwrap();
            gpu.submit([&program.recording(0).unwrap()]);
            for (&(function, _), &output) in half.iter().zip(&outputs) {
                let found = common::read(&gpu, program.tensor(output).unwrap());
                let bound = accuracy::unary(function);
                let mut worst = (0.0, 0.0, 0.0, 0.0);
                for (&x, &y) in x.iter().zip(&found) {
                    let y_exact = exact(function, x);
                    // a subnormal operand may count as 0, and a divisor beyond 2^126 is out of the promise
                    let may_be_zero = x.is_subnormal() && bound.share(y, exact(function, 0.0f32.copysign(x))) <= 1.0;
                    let is_promised = function != Unary::Reciprocal || (2.0f32.powi(-126)..=2.0f32.powi(126)).contains(&x.abs());
                    let share = bound.share(y, y_exact);
                    if share > worst.0 && !may_be_zero && (is_promised || !x.is_finite()) {
                        worst = (share, x.into(), y, y_exact);
                    }
                }
                let (share, x, y, y_exact) = worst;
                println!("{function:?}: {share:.3} of {bound:?} at {x:e}");
                if share > 1.0 {
                    failures.push(format!("{function:?} of {x:e}: {y:e} for {y_exact:e}, {share:.2} times {bound:?}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// The measure itself.
#[test]
fn accuracy_is_in_units_of_the_last_place() {
    assert_eq!(accuracy::ulp(1.0), 2f64.powi(-23));
    assert_eq!(accuracy::ulp(-1.999), 2f64.powi(-23));
    assert_eq!(accuracy::ulp(2.0), 2f64.powi(-22));
    assert_eq!(accuracy::ulp(1e-40), 2f64.powi(-149));
    let bound = Accuracy::Ulps(2.0);
    assert_eq!(bound.share(1.0 + 3.0 * 2f64.powi(-23), 1.0), 1.5);
    assert_eq!(bound.share(f64::NAN, 1.0), f64::INFINITY);
    assert_eq!(bound.share(1.0, f64::NAN), f64::INFINITY);
    assert_eq!(bound.share(f64::NAN, f64::NAN), 0.0);
    assert_eq!(bound.share(f64::INFINITY, f64::INFINITY), 0.0);
    assert_eq!(bound.share(0.0, 1e-39), 0.0);
    assert_eq!(Accuracy::Absolute(0.5).share(2.0, 1.0), 2.0);
}
