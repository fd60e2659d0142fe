//! The parameters of a graph: their places, initial values, and files.

#![cfg(all(feature = "graph", feature = "optim", feature = "weights"))]

mod common;

use std::collections::HashMap;

use common::{gpu, read, step};
use gradus::gpu::Checks;
use gradus::graph::{Graph, Init, Parameters, layers};
use gradus::optim::{AdamW, Optimizer, Param};
use gradus::reference::optim as reference;
use gradus::{DType, Error};
use half::{bf16, f16};
use pollster::block_on;
use safetensors::tensor::{Dtype, TensorView};

const SHAPES: [(&str, &[usize], Init); 7] = [
    ("scalar", &[], Init::Normal(0.1)),
    ("first.weight", &[5, 3], Init::Uniform(0.5)),
    ("first.bias", &[5], Init::Zeros),
    ("norm.weight", &[7], Init::Ones),
    ("kernel", &[2, 1, 3, 3], Init::Uniform(0.25)),
    ("table", &[101, 99], Init::Normal(2.0)),
    ("last", &[1], Init::Uniform(0.5)),
];

fn graph() -> Graph {
    let mut graph = Graph::new();
    for (name, shape, initial) in SHAPES {
        // leaves of other kinds between them do not count
        graph.input(&format!("{name} input"), &[3]).unwrap();
        graph.parameter(name, shape, initial).unwrap();
    }
    graph
}

#[test]
fn one_after_another() {
    let gpu = gpu(Checks::Unchecked);
    let parameters = Parameters::new(&gpu, &graph(), 3).unwrap();
    let like = parameters.like(&gpu).unwrap();
    let total: usize = SHAPES.iter().map(|(_, shape, _)| shape.iter().product::<usize>()).sum();
    for (of, zeroed) in [(&parameters, false), (&like, true)] {
        assert_eq!(of.flat().shape(), [total]);
        assert_eq!(of.names(), SHAPES.map(|(name, ..)| name));
        let all = read(&gpu, of.flat());
        let mut start = 0;
        for ((name, shape, _), tensor) in SHAPES.iter().zip(of.tensors()) {
            assert_eq!(tensor, of.get(name).unwrap());
            assert_eq!(tensor.shape(), *shape);
            assert!(tensor.shares_buffer(of.flat()));
            assert_eq!(of.range(name).unwrap(), start..start + tensor.len(), "{name}");
            assert_eq!(read(&gpu, tensor), all[start..start + tensor.len()], "{name}");
            start += tensor.len();
        }
        assert_eq!(start, total);
        assert_eq!(all.iter().all(|&x| x == 0.0), zeroed);
        let unknown = of.get("first").unwrap_err();
        assert!(matches!(&unknown, Error::Unknown { what: "parameter", name } if name == "first"), "{unknown}");
        assert!(of.range("").is_err());
    }
    assert!(!like.flat().shares_buffer(parameters.flat()));
}

#[test]
fn a_graph_without_parameters() {
    let gpu = gpu(Checks::Unchecked);
    let parameters = Parameters::new(&gpu, &Graph::new(), 0).unwrap();
    assert!(parameters.flat().is_empty() && parameters.tensors().is_empty() && parameters.names().is_empty());
    let bytes = block_on(parameters.save(&gpu)).unwrap();
    parameters.like(&gpu).unwrap().load(&gpu, &bytes).unwrap();
}

#[test]
fn initial_values() {
    let gpu = gpu(Checks::Unchecked);
    let values = |seed: u64| -> HashMap<&str, Vec<f64>> {
        let parameters = Parameters::new(&gpu, &graph(), seed).unwrap();
        SHAPES.iter().map(|&(name, ..)| (name, read(&gpu, parameters.get(name).unwrap()))).collect()
    };
    let [first, again, other] = [values(1), values(1), values(1 << 40)];
    assert_eq!(first, again);
    assert!(first["first.bias"].iter().all(|&x| x == 0.0));
    assert!(first["norm.weight"].iter().all(|&x| x == 1.0));
    for name in ["scalar", "first.weight", "kernel", "table", "last"] {
        assert_ne!(first[name], other[name], "{name}");
    }
    // another stream for each parameter, one number for each element
    assert_ne!(first["first.weight"][0], 2.0 * first["kernel"][0]);
    assert_ne!(first["first.weight"][0], first["last"][0]);
    let bounded =
        |name: &str, bound: f64| first[name].iter().all(|x| x.abs() <= bound) && first[name].iter().any(|x| x.abs() > bound / 2.0);
    assert!(bounded("first.weight", 0.5) && bounded("kernel", 0.25));
    // moments of 9,999 normal numbers, within four standard errors, and no correlation within or across pairs
    let table: Vec<f64> = first["table"].iter().map(|x| x / 2.0).collect();
    let n = table.len() as f64;
    let moment = |f: &dyn Fn(usize) -> f64| (0..table.len()).map(f).sum::<f64>() / n;
    for (what, found, expected, deviation) in [
        ("mean", moment(&|i| table[i]), 0.0, 1.0),
        ("variance", moment(&|i| table[i].powi(2)), 1.0, 2f64.sqrt()),
        ("third", moment(&|i| table[i].powi(3)), 0.0, 15f64.sqrt()),
        ("fourth", moment(&|i| table[i].powi(4)), 3.0, 96f64.sqrt()),
        ("neighbours", moment(&|i| table[i] * table[(i + 1) % table.len()]), 0.0, 1.0),
        ("below -1", moment(&|i| f64::from(u8::from(table[i] < -1.0))), 0.158_655, 0.365_4),
    ] {
        assert!((found - expected).abs() < 4.0 * deviation / n.sqrt(), "{what}: {found}");
    }
}

#[test]
fn layers_begin_as_in_pytorch() {
    let gpu = gpu(Checks::Unchecked);
    let mut graph = Graph::new();
    let x = graph.input("x", &[2, 6, 16]).unwrap();
    layers::transformer_block(&mut graph, "block", x, 4, 64, true).unwrap();
    layers::convolution(&mut graph, "conv", x, 8, &[5], &Default::default()).unwrap();
    let numbers = graph.indices("numbers", &[3]).unwrap();
    layers::embedding(&mut graph, "embedding", numbers, 50, 4).unwrap();
    let parameters = Parameters::new(&gpu, &graph, 0).unwrap();
    // name, shape, the bound of uniform values, or the value of all
    let expected: [(&str, &[usize], Result<f64, f64>); 14] = [
        ("block.norm1.weight", &[16], Err(1.0)),
        ("block.norm1.bias", &[16], Err(0.0)),
        ("block.self_attn.in_proj_weight", &[48, 16], Ok((6.0f64 / 64.0).sqrt())),
        ("block.self_attn.in_proj_bias", &[48], Err(0.0)),
        ("block.self_attn.out_proj.weight", &[16, 16], Ok(0.25)),
        ("block.self_attn.out_proj.bias", &[16], Err(0.0)),
        ("block.norm2.weight", &[16], Err(1.0)),
        ("block.norm2.bias", &[16], Err(0.0)),
        ("block.linear1.weight", &[64, 16], Ok(0.25)),
        ("block.linear1.bias", &[64], Ok(0.25)),
        ("block.linear2.weight", &[16, 64], Ok(0.125)),
        ("block.linear2.bias", &[16], Ok(0.125)),
        ("conv.weight", &[8, 6, 5], Ok(30f64.sqrt().recip())),
        ("conv.bias", &[8], Ok(30f64.sqrt().recip())),
    ];
    let embedding = "embedding.weight";
    assert_eq!(parameters.names(), [&expected.map(|(name, ..)| name)[..], &[embedding]].concat());
    for (name, shape, values) in expected {
        let tensor = parameters.get(name).unwrap();
        let found = read(&gpu, tensor);
        assert_eq!(tensor.shape(), shape, "{name}");
        match values {
            Err(value) => assert!(found.iter().all(|&x| x == value), "{name}"),
            // the greatest of n uniform numbers is above 1 - 12/n of the bound but with probability e^-12
            Ok(bound) => {
                let greatest = found.iter().fold(0f64, |m, x| m.max(x.abs())) / bound;
                assert!(greatest <= 1.0 + 1e-7 && greatest > 1.0 - 12.0 / found.len().max(24) as f64, "{name}: {greatest}");
            }
        }
    }
    let table = read(&gpu, parameters.get(embedding).unwrap());
    let variance = table.iter().map(|x| x * x).sum::<f64>() / table.len() as f64;
    assert!((variance - 1.0).abs() < 4.0 * (2.0 / table.len() as f64).sqrt(), "{variance}");
}

#[test]
fn round_trip() {
    let gpu = gpu(Checks::Unchecked);
    let parameters = Parameters::new(&gpu, &graph(), 5).unwrap();
    let bytes = block_on(parameters.save(&gpu)).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), SHAPES.len());
    for (name, shape, _) in SHAPES {
        let view = file.tensor(name).unwrap();
        assert_eq!((view.dtype(), view.shape()), (Dtype::F32, shape), "{name}");
    }
    let loaded = parameters.like(&gpu).unwrap();
    loaded.load(&gpu, &bytes).unwrap();
    assert_eq!(read(&gpu, loaded.flat()), read(&gpu, parameters.flat()));
    assert_eq!(block_on(loaded.save(&gpu)).unwrap(), bytes);
}

type Entry = (&'static str, Dtype, Vec<usize>, Vec<u8>);

fn file(entries: &[Entry]) -> Vec<u8> {
    let views = entries.iter().map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn types_are_rounded_to_f32() {
    let gpu = gpu(Checks::Unchecked);
    let mut graph = Graph::new();
    for name in ["a", "b", "c", "d"] {
        graph.parameter(name, &[3], Init::Zeros).unwrap();
    }
    let parameters = Parameters::new(&gpu, &graph, 0).unwrap();
    let exact = [1.0f32, -0.375, 1.0 / 1024.0];
    let entries = [
        ("a", Dtype::F32, vec![3], exact.iter().flat_map(|x| x.to_le_bytes()).collect()),
        ("b", Dtype::F64, vec![3], [0.1f64, 1.0 + 2f64.powi(-24), 1e-300].iter().flat_map(|x| x.to_le_bytes()).collect()),
        ("c", Dtype::F16, vec![3], exact.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()),
        ("d", Dtype::BF16, vec![3], exact.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect()),
    ];
    parameters.load(&gpu, &file(&entries)).unwrap();
    let wide = exact.map(f64::from);
    for (name, expected) in [("a", wide), ("b", [f64::from(0.1f32), 1.0, 0.0]), ("c", wide), ("d", wide)] {
        assert_eq!(read(&gpu, parameters.get(name).unwrap()), expected, "{name}");
    }
}

#[test]
fn every_difference_is_listed_and_nothing_written() {
    let gpu = gpu(Checks::Unchecked);
    let mut graph = Graph::new();
    for name in ["a", "b", "c", "d"] {
        graph.parameter(name, &[2, 2], Init::Ones).unwrap();
    }
    let parameters = Parameters::new(&gpu, &graph, 0).unwrap();
    let zeros = |n: usize| vec![0u8; 4 * n];
    let bytes = file(&[
        ("a", Dtype::F32, vec![2, 2], zeros(4)),
        ("b", Dtype::F32, vec![4], zeros(4)),
        ("d", Dtype::I32, vec![2, 2], zeros(4)),
        ("z", Dtype::F32, vec![1], zeros(1)),
        ("e", Dtype::F32, vec![1], zeros(1)),
    ]);
    match parameters.load(&gpu, &bytes).unwrap_err() {
        Error::StateMismatch { differences } => assert_eq!(
            differences,
            [
                "`b` has shape [4], expected [2, 2]",
                "`c` is missing",
                "`d` is I32, expected F32, F64, F16 or BF16",
                "`e` is not expected",
                "`z` is not expected",
            ]
        ),
        other => panic!("{other}"),
    }
    assert!(matches!(parameters.load(&gpu, b"not a file"), Err(Error::SafeTensors(_))));
    assert_eq!(read(&gpu, parameters.flat()), [1.0; 16]);
}

/// A fused step over parameters and gradients of one layout, which begin at any multiple of four bytes, has no
/// dispatch for each of them.
#[test]
fn one_fused_step() {
    let gpu = gpu(Checks::Unchecked);
    let parameters = Parameters::new(&gpu, &graph(), 7).unwrap();
    let gradients = parameters.like(&gpu).unwrap();
    gradients.flat().write(&gpu, &common::noise(1, gradients.flat().len())).unwrap();
    let (start, gradient) = (read(&gpu, parameters.flat()), read(&gpu, gradients.flat()));
    let list: Vec<Param> = parameters
        .names()
        .iter()
        .zip(parameters.tensors().iter().zip(gradients.tensors()))
        .map(|(name, (parameter, gradient))| Param::new(name, parameter, gradient))
        .collect();
    let adamw = AdamW { lr: 0.01, ..Default::default() };
    let optimizer = Optimizer::new(&gpu, &adamw, &list).unwrap();
    // whole cells of all tensors, and the ragged ends of all
    let dispatches = optimizer.recording().dispatches().filter(|dispatch| dispatch.kernel == "gradus.optim.adamw").count();
    assert_eq!(dispatches, 2, "{:?}", optimizer.recording());
    step(&gpu, &optimizer);
    let twin = reference::Adam {
        lr: 0.01,
        betas: adamw.betas,
        eps: adamw.eps,
        weight_decay: adamw.weight_decay,
        amsgrad: false,
        maximize: false,
        decoupled: true,
    };
    let mut expected = start;
    let mut state = reference::Step::initial_state(&twin, expected.len());
    reference::Step::step(&twin, 1, &[gradient.len()], &mut expected, &gradient, &mut state);
    for (found, expected) in read(&gpu, parameters.flat()).iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-6 + 1e-6 * expected.abs(), "{found} for {expected}");
    }
    assert_eq!(parameters.flat().dtype(), DType::F32);
}
