//! A bounded run of what is fuzzed: files, graphs and grids made of random bytes are taken or refused, and nothing else.
//!
//! `PROPTEST_CASES` is the number of inputs of each; the figures are printed with `--nocapture`.

#![cfg(all(feature = "optim", feature = "graph", feature = "poisson", feature = "weights"))]

#[path = "common/fuzz.rs"]
mod fuzz;

use std::cell::Cell;
use std::time::Instant;

use fuzz::{Counting, Outcome};
use gradus::graph::{ConvolutionOptions, Graph, Init, Padding, Parameters, Plan, Stage, Var};
use gradus::optim::{Optimizer, Param, Sgd};
use gradus::poisson::dcdm::{Architecture, Weights};
use gradus::{DType, Error, Gpu, Tensor};
use pollster::block_on;
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

fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// What is short as text and large in memory.
#[test]
fn headers_of_many_parts() {
    let many = |part: &dyn Fn(usize) -> String| (0..5000).map(part).collect::<Vec<_>>().join(",");
    let zeros = many(&|_| "0".into());
    let entry = |value: &str| format!("{{\"dtype\":\"F32\",\"shape\":{value},\"data_offsets\":[0,0]}}");
    let metadata = |entries: &str| format!("{{\"__metadata__\":{{{entries}}}}}");
    let objects = many(&|i| format!("\\\"{i:x}\\\":0"));
    for header in [
        format!("{{\"a\":{}}}", entry(&format!("[{zeros}]"))),
        format!("{{\"a\":{}}}", entry("[0]").replace("\"dtype\"", &format!("\"other\":[{zeros}],\"dtype\""))),
        format!("{{{}}}", many(&|i| format!("\"{i:x}\":{}", entry("[0]")))),
        format!("{{{}}}", many(&|i| format!("\"{i:x}\":0"))),
        metadata(&many(&|i| format!("\"{i:x}\":\"\""))),
        metadata(&format!("\"config\":\"[{zeros}]\",\"groups\":\"[{}]\"", many(&|_| "[-1,-1]".into()))),
        metadata(&format!("\"format\":\"gradus.dcdm.1\",\"architecture\":\"[{zeros}]\"")),
        metadata(&format!("\"format\":\"gradus.dcdm.1\",\"architecture\":\"{{{objects}}}\"")),
        "[".repeat(10_000),
        "{\"a\":".repeat(10_000),
    ] {
        // the first byte says that the others are the file
        let bytes = [&[0], &file(&header, &[])[..]].concat();
        for of in [fuzz::weights, fuzz::parameters, fuzz::optimizer] {
            assert!(!of(&bytes).accepted, "{}", &header[..80]);
        }
    }
}

/// The network that the metadata name is not made before the tensors are found to be its own.
#[test]
fn a_network_that_a_file_does_not_hold() {
    let gpu = noop();
    for levels in [0, 16] {
        let architecture = Architecture { dim: 3, channels: 1024, levels, before: 256, coarse: 256, after: 256 };
        let training = "\"data\":\"\",\"steps\":\"0\",\"batch\":\"0\",\"optimizer\":\"\",\"seed\":\"0\",\"adapter\":\"\"";
        let text = serde_json::Value::from(architecture.to_json()).to_string();
        let header = format!("{{\"__metadata__\":{{\"format\":\"gradus.dcdm.1\",\"architecture\":{text},{training}}}}}");
        let bytes = file(&header, &[]);
        let outcome = fuzz::weights(&[&[0], &bytes[..]].concat());
        assert!(!outcome.accepted && outcome.peak < 16 * bytes.len(), "{outcome:?}");
        match Weights::from_safetensors(&gpu, &bytes) {
            Err(Error::StateMismatch { differences }) => {
                let convolutions = 2 + 2 * 256 + levels * 3 * 256;
                assert_eq!(differences[..2], ["`input.weight` is missing", "`input.bias` is missing"]);
                assert_eq!(differences[16..], [format!("{} more are missing", 2 * convolutions - 16)]);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Which of two tensors of one name is meant, or of two entries of the metadata, is not for the crate to say.
#[test]
fn a_name_that_is_given_twice() {
    let gpu = noop();
    let mut graph = Graph::new();
    graph.parameter("a", &[2], Init::Ones).unwrap();
    let parameters = Parameters::new(&gpu, &graph, 0).unwrap();
    let tensor = |value: f32| Tensor::from_slice(&gpu, &[2], &[value; 2]).unwrap();
    let (param, grad) = (tensor(1.0), tensor(2.0));
    let mut optimizer = Optimizer::new(&gpu, &Sgd::default(), &[Param::new("a", &param, &grad)]).unwrap();
    let architecture = Architecture { dim: 2, channels: 1, levels: 0, before: 0, coarse: 0, after: 0 };
    let files = [
        block_on(parameters.save(&gpu)).unwrap(),
        block_on(optimizer.state_dict()).unwrap(),
        block_on(Weights::initial(&gpu, &architecture, 0).unwrap().to_safetensors(&gpu)).unwrap(),
    ];
    for (i, whole) in files.iter().enumerate() {
        let length = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&whole[8..length]).unwrap();
        let mut load = |bytes: &[u8]| match i {
            0 => parameters.load(&gpu, bytes),
            1 => optimizer.load_state_dict(bytes),
            _ => Weights::from_safetensors(&gpu, bytes).map(drop),
        };
        load(whole).unwrap();
        for (name, value) in header.as_object().unwrap() {
            let twice = header.to_string().replacen('{', &format!("{{\"{name}\":{value},"), 1);
            assert!(matches!(load(&file(&twice, &whole[length..])), Err(Error::SafeTensors(_))), "{twice}");
        }
        if let Some(entries) = header.get("__metadata__").and_then(serde_json::Value::as_object) {
            let (key, value) = entries.iter().next().unwrap();
            let twice = header.to_string().replacen("\"__metadata__\":{", &format!("\"__metadata__\":{{\"{key}\":{value},"), 1);
            assert!(matches!(load(&file(&twice, &whole[length..])), Err(Error::SafeTensors(_))), "{twice}");
        }
    }
}

/// Coordinates are signed numbers of 32 bits on the device, also those of zeros around an input.
#[test]
fn padding_that_no_coordinate_reaches() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 1, 8]).unwrap();
    let weight = graph.input("weight", &[1, 1, 3]).unwrap();
    for padding in [(1 << 33, 0), (0, 1 << 31), (1 << 40, 1 << 40), ((1 << 31) - 8, 0), (usize::MAX, 1)] {
        let options = ConvolutionOptions { stride: vec![65_535], padding: Padding::Explicit(vec![padding]), ..Default::default() };
        assert!(matches!(graph.convolution(x, weight, &options), Err(Error::Operation { .. })), "{padding:?}");
    }
    let options = ConvolutionOptions { stride: vec![65_535], padding: Padding::Explicit(vec![((1 << 31) - 9, 0)]), ..Default::default() };
    let y = graph.convolution(x, weight, &options).unwrap();
    assert_eq!(graph.shape(y).unwrap(), [1, 1, ((1usize << 31) - 4) / 65_535 + 1]);
}

/// Plans and compiles `y`, the gradient of its squares by `x`, and its derivative.
fn differentiate(gpu: &Gpu, graph: &mut Graph, x: Var, y: Var) {
    let squares = graph.mul(y, y).unwrap();
    let loss = graph.sum(squares, &[]).unwrap();
    let gradient = graph.gradient(loss, &[x]).unwrap()[0];
    let tangent = graph.input("tangent", graph.shape(x).unwrap().to_vec().as_slice()).unwrap();
    let product = graph.jvp(&[gradient], &[x], &[tangent]).unwrap()[0];
    let plan = Plan::new(gpu, graph, &[Stage::new(&[y, gradient]), Stage::new(&[product]).after(&[tangent])]).unwrap();
    let tensors: Vec<Tensor> =
        [x, y, gradient, tangent, product].map(|var| Tensor::zeros(gpu, graph.shape(var).unwrap(), DType::F32).unwrap()).into();
    let bindings: Vec<(Var, &Tensor)> = [x, y, gradient, tangent, product].into_iter().zip(&tensors).collect();
    let program = plan.compile(gpu, &bindings).unwrap();
    (0..2).for_each(|stage| assert!(!program.recording(stage).unwrap().is_empty()));
}

/// Each value is used twice to make the next, so that there are 2^n paths to the first. And many operations in a row are not one
/// expression, which would be as deep.
#[test]
fn deep_graphs() {
    let gpu = noop();
    type Step = fn(&mut Graph, Var, usize) -> gradus::Result<Var>;
    let steps: [(usize, Step); 8] = [
        (60, |g, x, _| g.relu(x).and_then(|y| g.maximum(y, x))),
        (20, |g, x, _| g.sin(x).and_then(|y| g.mul(x, y))),
        (60, |g, x, _| {
            let y = g.pad(x, &[(1, 0)])?;
            let y = g.slice(y, std::slice::from_ref(&(0..8)))?;
            g.add(x, y)
        }),
        // places and zeros around differ from path to path
        (9, |g, x, i| {
            let y = g.pad(x, &[(1 << i, 0)])?;
            let y = g.slice(y, std::slice::from_ref(&(0..8)))?;
            g.add(x, y)
        }),
        (20, |g, x, _| {
            let y = g.reshape(x, &[2, 4])?;
            let y = g.transpose(y, &[1, 0])?;
            let y = g.reshape(y, &[8])?;
            g.maximum(x, y)
        }),
        (2000, |g, x, _| g.relu(x)),
        (20_000, |g, x, i| if i % 2 == 0 { g.detach(x) } else { g.reshape(x, [&[8][..], &[2, 4]][i / 2 % 2]) }),
        (500, |g, x, _| {
            let y = g.broadcast_to(x, &[2, 8])?;
            g.slice(y, &[0..1, 0..8]).and_then(|y| g.flatten(y, 0))
        }),
    ];
    for (times, step) in steps {
        let mut graph = Graph::new();
        let x = graph.input("x", &[8]).unwrap();
        let y = (0..times).try_fold(x, |y, i| step(&mut graph, y, i)).unwrap();
        let y = graph.flatten(y, 0).unwrap();
        let y = graph.scale(y, 2.0).unwrap();
        differentiate(&gpu, &mut graph, x, y);
    }
}
