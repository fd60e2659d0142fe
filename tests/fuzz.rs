//! A bounded run of what is fuzzed: files, graphs and grids made of random bytes are taken or refused, and nothing else.
//!
//! `PROPTEST_CASES` is the number of inputs of each; the figures are printed with `--nocapture`.

#![cfg(all(feature = "optim", feature = "graph", feature = "poisson", feature = "weights"))]

#[path = "common/fuzz.rs"]
mod fuzz;

use std::cell::Cell;
use std::time::Instant;

use fuzz::{Counting, Outcome};
use gradus::{DType, Gpu, Tensor};
use gradus::graph::{Graph, Plan, Stage, Var};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls `of` with as many inputs as the environment says, or `cases`.
fn fuzz(name: &str, cases: u32, longest: usize, of: fn(&[u8]) -> Outcome) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Default::default() });
    let (start, accepted, most) = (Instant::now(), Cell::new(0u32), Cell::new(0.0f64));
    let result = runner.run(&prop::collection::vec(any::<u8>(), 0..longest), |bytes| {
        let found = of(&bytes);
        accepted.set(accepted.get() + u32::from(found.accepted));
        // what is shorter is less than what there is anyway
        if found.bytes >= 512 {
            most.set(most.get().max(found.peak as f64 / found.bytes as f64));
        }
        Ok(())
    });
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{name}: {cases} inputs in {seconds:.1} s, {} refused; of 512 bytes and more at most {:.1} times as many were allocated",
        cases - accepted.get(),
        most.get()
    );
    if let Err(error) = result {
        panic!("{name}: {error}");
    }
    // neither all nor none, so that something is tested
    assert!((1..cases).contains(&accepted.get()), "{name}: {} of {cases} are accepted", accepted.get());
}

#[test]
fn weights() {
    fuzz("weights", 4000, 64, fuzz::weights);
}

#[test]
fn coefficients() {
    fuzz("coefficients", 4000, 64, fuzz::coefficients);
}

#[test]
fn parameters() {
    fuzz("parameters", 4000, 64, fuzz::parameters);
}

#[test]
fn optimizer() {
    fuzz("optimizer", 4000, 64, fuzz::optimizer);
}

#[test]
fn graph() {
    fuzz("graph", 4000, 256, fuzz::graph);
}

#[test]
fn grid() {
    fuzz("grid", 200, 64, fuzz::grid);
}

// ---- what random bytes hardly find

fn noop() -> Gpu {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    Gpu::new(&device, &queue).unwrap()
}

/// Plans and compiles `y`, the gradient of its squares by `x`, and its derivative.
fn differentiate(gpu: &Gpu, graph: &mut Graph, x: Var, y: Var) {
    let squares = graph.mul(y, y).unwrap();
    let loss = graph.sum(squares, &[]).unwrap();
    let gradient = graph.gradient(loss, &[x]).unwrap()[0];
    let tangent = graph.input("tangent", &graph.shape(x).unwrap().to_vec()).unwrap();
    let product = graph.jvp(&[gradient], &[x], &[tangent]).unwrap()[0];
    let plan = Plan::new(gpu, graph, &[Stage::new(&[y, gradient]), Stage::new(&[product]).after(&[tangent])]).unwrap();
    let tensors: Vec<Tensor> = [x, y, gradient, tangent, product].map(|var| Tensor::zeros(gpu, graph.shape(var).unwrap(), DType::F32).unwrap()).into();
    let bindings: Vec<(Var, &Tensor)> = [x, y, gradient, tangent, product].into_iter().zip(&tensors).collect();
    let program = plan.compile(gpu, &bindings).unwrap();
    println!("{} {}", program.recording(0).unwrap().len(), program.recording(1).unwrap().len());
}

/// Each value is used twice to make the next, so that there are 2^n paths to the first. And many operations in a row are not one
/// expression, which would be as deep. In threads of little memory.
#[test]
fn deep_graphs() {
    let gpu = noop();
    type Step = fn(&mut Graph, Var, usize) -> gradus::Result<Var>;
    let steps: [(&str, usize, Step); 12] = [
        ("maximum", 60, |g, x, _| g.relu(x).and_then(|y| g.maximum(y, x))),
        ("mask", 60, |g, x, _| g.step(x).and_then(|y| g.mask(x, y))),
        ("pad", 60, |g, x, _| {
            let y = g.pad(x, &[(1, 0)])?;
            let y = g.slice(y, &[0..8])?;
            g.add(x, y)
        }),
        ("scan", 12, |g, x, i| {
            let y = g.pad(x, &[(1 << i, 0)])?;
            let y = g.slice(y, &[0..8])?;
            g.add(x, y)
        }),
        ("transpose", 40, |g, x, _| {
            let y = g.reshape(x, &[2, 4])?;
            let y = g.transpose(y, &[1, 0])?;
            let y = g.reshape(y, &[8])?;
            g.maximum(x, y)
        }),
        ("mul", 40, |g, x, _| g.sin(x).and_then(|y| g.mul(x, y))),
        ("relu", 3000, |g, x, _| g.relu(x)),
        ("add", 3000, |g, x, i| g.add_scalar(x, 1.0 + i as f64)),
        ("tanh", 200, |g, x, _| g.tanh(x)),
        ("detach", 20_000, |g, x, i| if i % 2 == 0 { g.detach(x) } else { g.reshape(x, [&[8][..], &[2, 4]][i / 2 % 2]) }),
        ("slice", 500, |g, x, _| {
            let y = g.pad(x, &[(1, 1)])?;
            g.slice(y, &[0..8])
        }),
        ("broadcast", 2000, |g, x, _| {
            let y = g.broadcast_to(x, &[2, 8])?;
            g.slice(y, &[0..1, 0..8]).and_then(|y| g.flatten(y, 0))
        }),
    ];
    for (name, times, step) in steps {
        let mut graph = Graph::new();
        let x = graph.input("x", &[8]).unwrap();
        let start = Instant::now();
        print!("{name} ");
        let mut y = x;
        for i in 0..times {
            y = step(&mut graph, y, i).unwrap();
        }
        y = graph.flatten(y, 0).unwrap();
        y = graph.scale(y, 2.0).unwrap();
        differentiate(&gpu, &mut graph, x, y);
        println!("{name}: {} nodes {:?}", graph.len(), start.elapsed());
    }
}
