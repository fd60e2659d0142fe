//! Every optimizer against the f64 reference: over shapes, placements in memory, element types and
//! options; and what its recording says of dispatches and bytes.

#![cfg(feature = "optim")]

mod common;

use common::{Pair, algorithms, gpu, gpu_for, noise, read, step, write};
use gradus::gpu::{Checks, GpuOptions, Target};
use gradus::optim::{
    Adadelta, Adagrad, Adam, AdamP, AdamW, Algorithm, DiffGrad, Group, Optimizer, Options, Param, RmsProp, Rounding, Sgd, SgdP,
};
use gradus::reference::optim::Step;
use gradus::{DType, Gpu, Recording, Tensor};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

/// Shapes around every boundary of the kernels: no elements, no axes, below and above a cell, rows
/// that are a whole number of cells and not, rows of 8, 64 and 256 invocations, segments of a row,
/// many rows of one element, more rows than 1,024.
const SHAPES: [&[usize]; 19] = [
    &[],
    &[0],
    &[1],
    &[3],
    &[5, 1],
    &[1, 5],
    &[3, 0, 2],
    &[6, 27],
    &[7, 3],
    &[16, 16],
    &[63],
    &[65],
    &[9, 2, 3, 3],
    &[4099],
    &[5, 513],
    &[2, 1030],
    &[3, 8195],
    &[2, 16389],
    &[1100, 2],
];

/// Where parameters and gradients are put.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Placement {
    /// In two arenas, at multiples of 16 bytes.
    Arena,
    /// Packed without gaps, as far as a tensor must begin at a whole word.
    Packed,
    /// Packed, with the gradients a word further on than the parameters.
    OutOfPhase,
    /// Parameters and gradients in one buffer.
    OneBuffer,
    /// A buffer each.
    Separate,
}

const PLACEMENTS: [Placement; 5] = [Placement::Arena, Placement::Packed, Placement::OutOfPhase, Placement::OneBuffer, Placement::Separate];

/// Parameters and gradients of `shapes`, and the buffers that they lie in with every byte set, so that
/// what is not theirs can be seen to stay.
struct Placed {
    params: Vec<Tensor>,
    grads: Vec<Tensor>,
}

fn place(gpu: &Gpu, placement: Placement, shapes: &[&[usize]], param: DType, grad: DType) -> Placed {
    let separate = |dtype: DType| shapes.iter().map(|shape| Tensor::zeros(gpu, shape, dtype).unwrap()).collect();
    // tensors one after another from a word on; the buffer has room for three more words
    let packed = |dtypes: &[DType], first: u64| -> Vec<Vec<Tensor>> {
        let mut offset = 4 * first;
        let mut offsets = Vec::new();
        for &dtype in dtypes {
            for shape in shapes {
                offsets.push((offset, *shape, dtype));
                offset += (shape.iter().product::<usize>() as u64 * dtype.size()).next_multiple_of(4);
            }
        }
        let words = offset as usize / 4 + 3;
        let whole = Tensor::from_slice(gpu, &[words], &vec![0xa5a5_a5a5_u32; words]).unwrap();
        let tensors: Vec<Tensor> =
            offsets.iter().map(|&(offset, shape, dtype)| Tensor::from_buffer(whole.buffer(), offset, shape, dtype).unwrap()).collect();
        tensors.chunks(shapes.len()).map(<[Tensor]>::to_vec).collect()
    };
    let (params, grads) = match placement {
        Placement::Arena => (Tensor::arena(gpu, shapes, param).unwrap(), Tensor::arena(gpu, shapes, grad).unwrap()),
        Placement::Packed => (packed(&[param], 1).remove(0), packed(&[grad], 1).remove(0)),
        Placement::OutOfPhase => (packed(&[param], 2).remove(0), packed(&[grad], 1).remove(0)),
        Placement::OneBuffer => {
            let mut both = packed(&[param, grad], 3);
            let grads = both.pop().unwrap();
            (both.pop().unwrap(), grads)
        }
        Placement::Separate => (separate(param), separate(grad)),
    };
    Placed { params, grads }
}

fn values(shapes: &[&[usize]], seed: u64) -> Vec<Vec<f32>> {
    shapes.iter().enumerate().map(|(i, shape)| noise(seed * 1000 + i as u64, shape.iter().product())).collect()
}

fn names(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("parameter.{i}")).collect()
}

fn optimizer(gpu: &Gpu, algorithm: &dyn Algorithm, placed: &Placed, options: Options) -> Optimizer {
    let names = names(placed.params.len());
    let list: Vec<Param> = names.iter().zip(placed.params.iter().zip(&placed.grads)).map(|(name, (p, g))| Param::new(name, p, g)).collect();
    Optimizer::with_options(gpu, algorithm, &list, options).unwrap()
}

/// Takes `steps` with random gradients, on the device and by the reference, and compares as PyTorch's
/// own f32 step would fare.
fn against_reference(
    gpu: &Gpu,
    kernel: &dyn Algorithm,
    reference: &dyn Step,
    placement: Placement,
    shapes: &[&[usize]],
    steps: u64,
    what: &str,
) {
    let placed = place(gpu, placement, shapes, DType::F32, DType::F32);
    let start = values(shapes, 1);
    for (param, start) in placed.params.iter().zip(&start) {
        write(gpu, param, start);
    }
    let optimizer = optimizer(gpu, kernel, &placed, Options::default());
    let mut expected: Vec<Vec<f64>> = start.iter().map(|p| p.iter().copied().map(f64::from).collect()).collect();
    let mut states: Vec<_> = expected.iter().map(|p| reference.initial_state(p.len())).collect();
    for t in 1..=steps {
        let gradients = values(shapes, 10 + t);
        for (i, gradient) in gradients.iter().enumerate() {
            write(gpu, &placed.grads[i], gradient);
            let gradient: Vec<f64> = gradient.iter().copied().map(f64::from).collect();
            reference.step(t, shapes[i], &mut expected[i], &gradient, &mut states[i]);
        }
        step(gpu, &optimizer);
    }
    for ((param, expected), shape) in placed.params.iter().zip(&expected).zip(shapes) {
        for (i, (found, expected)) in read(gpu, param).iter().zip(expected).enumerate() {
            let error = (found - expected).abs();
            assert!(error <= 1e-5 + 1.3e-6 * expected.abs(), "{what} {placement:?} {shape:?}[{i}]: {found} for {expected}");
        }
    }
    if matches!(placement, Placement::Packed | Placement::OutOfPhase) {
        for tensors in [&placed.params, &placed.grads] {
            around_is_untouched(gpu, tensors, what);
        }
    }
}

/// The words before the first and after the last of tensors that are packed into a buffer.
fn around_is_untouched(gpu: &Gpu, tensors: &[Tensor], what: &str) {
    let buffer = tensors[0].buffer();
    let words = buffer.size() as usize / 4;
    let whole = Tensor::from_buffer(buffer, 0, &[words], DType::U32).unwrap();
    let found = pollster::block_on(whole.read::<u32>(gpu)).unwrap();
    let first = tensors[0].offset() as usize / 4;
    let outside = found[..first].iter().chain(&found[words - 3..]);
    assert!(outside.copied().all(|word| word == 0xa5a5_a5a5), "{what}: wrote outside its tensors");
}

#[test]
fn matches_the_reference_wherever_tensors_lie() {
    // checked shaders are the same but for their bounds: two placements suffice
    let devices =
        [("for a GPU", gpu_for(Target::discrete())), ("for a CPU", gpu_for(Target::software())), ("checked", gpu(Checks::Checked))];
    for (name, pair) in algorithms() {
        for placement in PLACEMENTS {
            for (which, gpu) in &devices {
                if *which == "checked" && !matches!(placement, Placement::Packed | Placement::OneBuffer) {
                    continue;
                }
                against_reference(gpu, &*pair.kernel, &*pair.reference, placement, &SHAPES, 2, &format!("{name} {which}"));
            }
        }
    }
}

#[test]
fn matches_the_reference_at_random_shapes() {
    let devices = [gpu_for(Target::discrete()), gpu_for(Target::software())];
    let algorithms = algorithms();
    let shape = prop_oneof![
        prop::collection::vec(1usize..200, 1),
        prop::collection::vec(1usize..40, 2),
        (1usize..80, 1usize..600).prop_map(|(r, c)| vec![r, c]),
        prop::collection::vec(1usize..9, 4),
    ];
    let case = (0..devices.len(), 0..algorithms.len(), 0..PLACEMENTS.len(), prop::collection::vec(shape, 1..6));
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let result = runner.run(&case, |(device, algorithm, placement, shapes)| {
        let (name, pair) = &algorithms[algorithm];
        let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        against_reference(&devices[device], &*pair.kernel, &*pair.reference, PLACEMENTS[placement], &shapes, 2, name);
        Ok(())
    });
    result.unwrap();
}

/// Gradients by which a tensor is projected row by row, as a whole, or not at all.
#[derive(Clone, Copy, Debug)]
enum View {
    Channels,
    Layer,
    None,
}

fn gradients_of(view: View, p: &[f32], columns: usize) -> Vec<f32> {
    let square = |row: &[f32]| row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
    let across =
        |row: &[f32]| row.chunks(2).flat_map(|pair| if let [a, b] = *pair { vec![-b, a] } else { vec![0.0] }).collect::<Vec<f32>>();
    let rows: Vec<&[f32]> = p.chunks_exact(columns).collect();
    let of_rows = |rows: &&[&[f32]]| match (view, *rows) {
        (View::None, rows) => rows.concat(),
        // along the first and against the second, as much
        (View::Layer, [a, b]) => {
            let factor = -square(a) / square(b);
            a.iter().copied().chain(b.iter().map(|&x| (f64::from(x) * factor) as f32)).collect()
        }
        (_, rows) => rows.iter().flat_map(|row| across(row)).collect(),
    };
    rows.chunks(2).flat_map(|rows| of_rows(&rows)).collect()
}

/// A step with each view, among other tensors.
fn projected_right(gpu: &Gpu, shapes: &[&[usize]], what: &str) {
    let adamp =
        json!({"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.2, "delta": 0.1, "wd_ratio": 0.1, "nesterov": false});
    let sgdp = json!({"lr": 0.05, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.02, "nesterov": false, "eps": 1e-8, "delta": 0.1, "wd_ratio": 0.1});
    for (name, config, views) in
        [("adamp", adamp, &[View::Channels, View::Layer, View::None][..]), ("sgdp", sgdp, &[View::Channels, View::Layer])]
    {
        let Pair { kernel, reference } = common::pair(name, &config).unwrap();
        for &view in views {
            let placed = place(gpu, Placement::Separate, shapes, DType::F32, DType::F32);
            let start = values(shapes, 1);
            let optimizer = optimizer(gpu, &*kernel, &placed, Options::default());
            let mut expected: Vec<Vec<f64>> = Vec::new();
            for (i, (shape, p)) in shapes.iter().zip(&start).enumerate() {
                let columns = if shape.len() > 1 { shape[1..].iter().product() } else { p.len() };
                let g = gradients_of(view, p, columns);
                write(gpu, &placed.params[i], p);
                write(gpu, &placed.grads[i], &g);
                let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<f64>>();
                let mut right = wide(p);
                reference.step(1, shape, &mut right, &wide(&g), &mut reference.initial_state(p.len()));
                expected.push(right);
            }
            step(gpu, &optimizer);
            for ((param, expected), shape) in placed.params.iter().zip(&expected).zip(shapes) {
                for (i, (found, expected)) in read(gpu, param).iter().zip(expected).enumerate() {
                    let error = (found - expected).abs();
                    assert!(error <= 1e-5 + 1.3e-6 * expected.abs(), "{what} {name} {view:?} {shape:?}[{i}]: {found} for {expected}");
                }
            }
        }
    }
}

/// More rows than one workgroup projects, and more than a binding of 64 KiB holds the sums of.
#[test]
fn tensors_of_many_rows_are_projected() {
    for gpu in [gpu_for(Target::discrete()), gpu(Checks::Checked)] {
        projected_right(&gpu, &[&[70_001, 2], &[5, 7], &[4097, 3]], "many rows");
    }
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::defaults() };
    let (device, queue) = common::device(limits);
    for target in [Target::discrete(), Target::software()] {
        let gpu = Gpu::with_options(&device, &queue, GpuOptions { target: Some(target), ..Default::default() }).unwrap();
        projected_right(&gpu, &[&[5, 7], &[9001, 3], &[2, 9000], &[11]], "64 KiB");
    }
}

/// Rounds to a type as the kernels must.
#[cfg(feature = "weights")]
fn rounded(dtype: DType, x: f32) -> f32 {
    use gradus::reference::rounding;
    match dtype {
        DType::F16 => rounding::f16_to_f32(rounding::f32_to_f16_nearest(x)),
        DType::Bf16 => rounding::bf16_to_f32(rounding::f32_to_bf16_nearest(x)),
        _ => x,
    }
}

/// The distance between neighbouring values of a type about `x`.
fn spacing(dtype: DType, x: f64) -> f64 {
    let (digits, smallest) = match dtype {
        DType::F16 => (10, -24),
        _ => (7, -133),
    };
    let exponent = if x == 0.0 { smallest } else { x.abs().log2().floor() as i32 - digits };
    2f64.powi(exponent.max(smallest))
}

/// The element types of parameter and gradient that are not both f32.
const MIXED: [[DType; 2]; 8] = [
    [DType::F32, DType::F16],
    [DType::F32, DType::Bf16],
    [DType::F16, DType::F32],
    [DType::F16, DType::F16],
    [DType::F16, DType::Bf16],
    [DType::Bf16, DType::F32],
    [DType::Bf16, DType::F16],
    [DType::Bf16, DType::Bf16],
];

const MIXED_SHAPES: [&[usize]; 6] = [&[1], &[3], &[6, 27], &[4, 8], &[7, 65], &[1029]];

#[test]
fn mixed_precision_rounds_the_reference_step_once() {
    let gpu = gpu(Checks::Unchecked);
    for (name, pair) in algorithms() {
        for (case, [param, grad]) in MIXED.into_iter().enumerate() {
            // every placement meets every pair of types with some algorithm
            let placement = PLACEMENTS[(case + name.len()) % PLACEMENTS.len()];
            let placed = place(&gpu, placement, &MIXED_SHAPES, param, grad);
            for (tensor, start) in placed.params.iter().zip(values(&MIXED_SHAPES, 1)) {
                write(&gpu, tensor, &start);
            }
            let optimizer = optimizer(&gpu, &*pair.kernel, &placed, Options::default());
            let mut states: Vec<_> = placed.params.iter().map(|p| pair.reference.initial_state(p.len())).collect();
            for t in 1..=3 {
                let before: Vec<Vec<f64>> = placed.params.iter().map(|p| read(&gpu, p)).collect();
                for (tensor, gradient) in placed.grads.iter().zip(values(&MIXED_SHAPES, 10 + t)) {
                    write(&gpu, tensor, &gradient);
                }
                step(&gpu, &optimizer);
                for (i, mut expected) in before.into_iter().enumerate() {
                    let gradient = read(&gpu, &placed.grads[i]);
                    pair.reference.step(t, MIXED_SHAPES[i], &mut expected, &gradient, &mut states[i]);
                    for (j, (found, expected)) in read(&gpu, &placed.params[i]).iter().zip(&expected).enumerate() {
                        let bound = match param {
                            DType::F32 => 1e-5 + 1.3e-6 * expected.abs(),
                            // half a unit of rounding, and what f32 may be off
                            _ => 0.5 * spacing(param, *expected) + 1e-5 + 1.3e-6 * expected.abs(),
                        };
                        let error = (found - expected).abs();
                        assert!(
                            error <= bound,
                            "{name} {param}/{grad} {placement:?} {:?}[{j}] at {t}: {found} for {expected}",
                            MIXED_SHAPES[i]
                        );
                    }
                }
            }
        }
    }
}

#[cfg(feature = "weights")]
#[test]
fn master_weights_do_not_lose_small_steps() {
    let gpu = gpu(Checks::Unchecked);
    let options = Options { master_weights: true, ..Default::default() };
    for (name, pair) in algorithms().into_iter().filter(|(name, _)| common::fits(name, &options)) {
        for [param, grad] in [[DType::F16, DType::F16], [DType::Bf16, DType::F32]] {
            let placed = place(&gpu, Placement::Packed, &MIXED_SHAPES, param, grad);
            for (tensor, start) in placed.params.iter().zip(values(&MIXED_SHAPES, 1)) {
                write(&gpu, tensor, &start);
            }
            let mut expected: Vec<Vec<f64>> = placed.params.iter().map(|p| read(&gpu, p)).collect();
            let optimizer = optimizer(&gpu, &*pair.kernel, &placed, options.clone());
            let mut states: Vec<_> = placed.params.iter().map(|p| pair.reference.initial_state(p.len())).collect();
            for t in 1..=4 {
                for (i, gradient) in values(&MIXED_SHAPES, 10 + t).iter().enumerate() {
                    write(&gpu, &placed.grads[i], gradient);
                    pair.reference.step(t, MIXED_SHAPES[i], &mut expected[i], &read(&gpu, &placed.grads[i]), &mut states[i]);
                }
                step(&gpu, &optimizer);
            }
            let file = pollster::block_on(optimizer.state_dict()).unwrap();
            let file = safetensors::SafeTensors::deserialize(&file).unwrap();
            for (i, expected) in expected.iter().enumerate() {
                let master = file.tensor(&format!("parameter.{i}.master")).unwrap();
                let master: Vec<f32> = master.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
                let image = read(&gpu, &placed.params[i]);
                for ((found, expected), image) in master.iter().zip(expected).zip(image) {
                    let error = (f64::from(*found) - expected).abs();
                    assert!(error <= 1e-5 + 1.3e-6 * expected.abs(), "{name} {param}/{grad}: master {found} for {expected}");
                    assert_eq!(image, f64::from(rounded(param, *found)), "{name} {param}: the parameter is the master's image");
                }
            }
        }
    }
}

#[test]
fn stochastic_rounding_is_unbiased_and_repeats() {
    let gpu = gpu(Checks::Unchecked);
    for dtype in [DType::F16, DType::Bf16] {
        let run = |seed: u64, placement: Placement| {
            let placed = place(&gpu, placement, &[&[3], &[8001]], dtype, DType::F32);
            for (param, grad) in placed.params.iter().zip(&placed.grads) {
                write(&gpu, param, &vec![1.0; param.len()]);
                write(&gpu, grad, &vec![1.0; grad.len()]);
            }
            // 40 steps of a tenth of the spacing below 1: rounding to nearest would never move
            let lr = spacing(dtype, 0.9) / 10.0;
            let options = Options { rounding: Rounding::Stochastic { seed }, ..Default::default() };
            let optimizer = optimizer(&gpu, &Sgd { lr, ..Default::default() }, &placed, options);
            (0..40).for_each(|_| step(&gpu, &optimizer));
            (read(&gpu, &placed.params[1]), lr)
        };
        let (found, lr) = run(7, Placement::Arena);
        // each step moves a spacing with probability 1/10: a binomial mean of 40/10 and variance of
        // 40·0.09, over 8,001 elements; five standard deviations of the mean
        let moved = found.iter().map(|x| (1.0 - x) / (10.0 * lr)).sum::<f64>() / found.len() as f64;
        assert!((moved - 4.0).abs() < 5.0 * (3.6f64 / 8001.0).sqrt(), "{dtype}: {moved}");
        assert_eq!(found, run(7, Placement::OutOfPhase).0, "{dtype}: the same seed, elsewhere in memory");
        assert_ne!(found, run(8, Placement::Arena).0, "{dtype}: another seed");
    }
}

/// The bytes that the dispatches move of parameters, gradients and states, an element.
fn bytes_per_element(recording: &Recording, elements: usize) -> f64 {
    let tensors = ["param", "grad", "state_0", "state_1", "state_2", "master"];
    let bindings = recording.dispatches().flat_map(|dispatch| dispatch.bindings);
    let bytes: u64 = bindings.filter(|binding| tensors.contains(&binding.name)).map(|binding| binding.moved()).sum();
    bytes as f64 / elements as f64
}

#[test]
fn bytes_per_parameter_are_those_of_the_table() {
    [Target::discrete(), Target::software()].into_iter().for_each(bytes_are_those_of_the_table);
}

fn bytes_are_those_of_the_table(target: Target) {
    let gpu = gpu_for(target);
    let momentum = 0.9;
    let table: Vec<(f64, Box<dyn Algorithm>)> = vec![
        (12.0, Box::new(Sgd::default())),
        (20.0, Box::new(Sgd { momentum, ..Default::default() })),
        (20.0, Box::new(Sgd { momentum, nesterov: true, ..Default::default() })),
        (20.0, Box::new(Adagrad::default())),
        (28.0, Box::new(Adadelta::default())),
        (20.0, Box::new(RmsProp::default())),
        (28.0, Box::new(RmsProp { momentum, ..Default::default() })),
        (28.0, Box::new(RmsProp { centered: true, ..Default::default() })),
        (36.0, Box::new(RmsProp { momentum, centered: true, ..Default::default() })),
        (28.0, Box::new(Adam::default())),
        (28.0, Box::new(AdamW::default())),
        (36.0, Box::new(Adam { amsgrad: true, ..Default::default() })),
        (36.0, Box::new(AdamW { amsgrad: true, ..Default::default() })),
        (36.0, Box::new(DiffGrad::default())),
        (40.0, Box::new(AdamP::default())),
        (44.0, Box::new(AdamP { nesterov: true, ..Default::default() })),
        (32.0, Box::new(SgdP { momentum, ..Default::default() })),
        (32.0, Box::new(SgdP { momentum, nesterov: true, ..Default::default() })),
    ];
    // with ragged ends, and with rows of whole cells
    for shape in [&[37usize, 91], &[64, 256]] {
        for (expected, algorithm) in &table {
            let placed = place(&gpu, Placement::Packed, &[shape], DType::F32, DType::F32);
            let optimizer = optimizer(&gpu, &**algorithm, &placed, Options::default());
            assert_eq!(bytes_per_element(optimizer.recording(), shape.iter().product()), *expected, "{optimizer:?}");
            // what is not of tensors is a small table: rows of 91 have 16 bytes of sums
            let all = optimizer.recording().bytes() as f64 / shape.iter().product::<usize>() as f64;
            assert!(all < expected + 3.0, "{all} for {expected}: {optimizer:?}");
        }
    }
    // 16-bit types halve their share: parameter read and written, gradient read
    let placed = place(&gpu, Placement::Arena, &[&[64, 256]], DType::Bf16, DType::F16);
    let adam = optimizer(&gpu, &Adam::default(), &placed, Options::default());
    assert_eq!(bytes_per_element(adam.recording(), 64 * 256), 22.0);
    let master = optimizer(&gpu, &Adam::default(), &placed, Options { master_weights: true, ..Default::default() });
    // the parameter is only written then
    assert_eq!(bytes_per_element(master.recording(), 64 * 256), 28.0);
}

#[test]
fn a_thousand_tensors_are_a_constant_number_of_dispatches() {
    let gpu = gpu_for(Target::discrete());
    let shape = |i: usize| [2 + i % 7, 1 + (i * 37) % 90];
    for (name, pair) in algorithms() {
        let mut counts = Vec::new();
        for n in [60, 1000] {
            let shapes: Vec<[usize; 2]> = (0..n).map(shape).collect();
            let shapes: Vec<&[usize]> = shapes.iter().map(|shape| shape.as_slice()).collect();
            let placed = place(&gpu, Placement::Arena, &shapes, DType::F32, DType::F32);
            let dispatches = |options| optimizer(&gpu, &*pair.kernel, &placed, options).recording().len();
            counts.push([Options::default(), Options { max_norm: Some(1.0), ..Default::default() }].map(dispatches));
        }
        assert_eq!(counts[0], counts[1], "{name}");
        let most = if matches!(name, "adamp" | "sgdp" | "lamb") { [9, 11] } else { [3, 5] };
        assert!(counts[0][0] <= most[0] && counts[0][1] <= most[1], "{name}: {:?} dispatches", counts[0]);
    }
}

#[test]
fn groups_have_their_own_learning_rate_and_decay() {
    let gpu = gpu(Checks::Unchecked);
    type Make = fn(f64, f64) -> Box<dyn Algorithm>;
    let table: [(&str, Make); 4] = [
        ("sgd", |lr, weight_decay| Box::new(Sgd { lr, weight_decay, momentum: 0.5, ..Default::default() })),
        ("adam", |lr, weight_decay| Box::new(Adam { lr, weight_decay, ..Default::default() })),
        ("adamw", |lr, weight_decay| Box::new(AdamW { lr, weight_decay, ..Default::default() })),
        ("sgdp", |lr, weight_decay| Box::new(SgdP { lr, weight_decay, momentum: 0.5, ..Default::default() })),
    ];
    for (name, config) in table {
        let n = 70;
        let groups = vec![Group { lr: 0.1, weight_decay: 0.0 }, Group { lr: 0.02, weight_decay: 0.3 }];
        let (start, gradient) = (noise(1, n), noise(2, n));
        let [a, b] = [0, 1].map(|_| Tensor::from_slice(&gpu, &[7, 10], &start).unwrap());
        let g = Tensor::from_slice(&gpu, &[7, 10], &gradient).unwrap();
        let list = [Param::new("a", &a, &g).group(1), Param::new("b", &b, &g).group(0)];
        let options = Options { groups: groups.clone(), ..Default::default() };
        let mut optimizer = Optimizer::with_options(&gpu, &*config(9.0, 0.9), &list, options).unwrap();
        // each alone, with the group's values as its own
        let alone = |group: Group, later: Group| {
            let p = Tensor::from_slice(&gpu, &[7, 10], &start).unwrap();
            let mut optimizer = Optimizer::new(&gpu, &*config(group.lr, group.weight_decay), &[Param::new("p", &p, &g)]).unwrap();
            step(&gpu, &optimizer);
            optimizer.set_group(0, later).unwrap();
            step(&gpu, &optimizer);
            read(&gpu, &p)
        };
        step(&gpu, &optimizer);
        optimizer.set_lr(1, 0.5).unwrap();
        step(&gpu, &optimizer);
        assert_eq!(read(&gpu, &a), alone(groups[1], Group { lr: 0.5, ..groups[1] }), "{name}");
        assert_eq!(read(&gpu, &b), alone(groups[0], groups[0]), "{name}");
    }
}
