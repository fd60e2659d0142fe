//! What goes wrong, and what is left afterwards: the variant of each error and its fields, that a
//! failed call changes nothing, and that a lost device is an error and neither a panic nor a wait
//! without end.
//!
//! Where no value is computed the device is wgpu's `noop`, which validates everything, and copies,
//! without a driver.

#![cfg(all(feature = "optim", feature = "weights"))]

mod common;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::*;
use gradus::gpu::{Checks, Element, GpuOptions, required_limits};
use gradus::optim::{
    Adadelta, Adagrad, Adam, AdamP, AdamW, Algorithm, DiffGrad, Group, LossScale, Optimizer, Options, Param, RmsProp, Rounding, Sgd, SgdP,
};
use gradus::{DType, Error, Gpu, Recording, Result, Tensor};
use half::{bf16, f16};
use pollster::block_on;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use wgpu::{BufferUsages, Features, Limits};

fn noop_device(required_limits: Limits, required_features: Features) -> (wgpu::Device, wgpu::Queue) {
    wgpu::Device::noop(&wgpu::DeviceDescriptor { required_limits, required_features, ..Default::default() })
}

fn noop() -> Gpu {
    let (device, queue) = noop_device(Limits::defaults(), Features::empty());
    Gpu::new(&device, &queue).unwrap()
}

/// The result is this very error. `Debug` shows the variant and every field.
#[track_caller]
fn expect<T>(result: Result<T>, expected: Error) {
    match result {
        Ok(_) => panic!("accepted; expected: {expected}"),
        Err(found) => assert_eq!(format!("{found:?}"), format!("{expected:?}")),
    }
}

fn option(option: &str, found: impl ToString, expected: &str) -> Error {
    Error::Option { option: option.into(), found: found.to_string(), expected: expected.into() }
}

const NOT_NEGATIVE: &str = "a finite number, zero or above";
const FRACTION: &str = "at least 0 and below 1";
const POSITIVE: &str = "a finite number above zero";

// ---- messages

#[test]
fn messages_name_what_is_wrong() {
    let cases = [
        (Error::NoAdapter { reason: "none".into() }, "no GPU adapter was found: none"),
        (
            Error::LimitTooSmall { limit: "max_storage_buffers_per_shader_stage", what: String::new(), needed: 8, found: 4 },
            "the device's limit `max_storage_buffers_per_shader_stage` is 4, and 8 is needed; see gradus::gpu::recommended_limits",
        ),
        (
            Error::LimitTooSmall { limit: "max_buffer_size", what: "states".into(), needed: 9, found: 8 },
            "the device's limit `max_buffer_size` is 8, and 9 is needed for states; see gradus::gpu::recommended_limits",
        ),
        (
            Error::Shape { tensor: "w.grad".into(), expected: vec![2, 3], found: vec![6] },
            "tensor `w.grad` has shape [6], and [2, 3] was expected",
        ),
        (
            Error::DType { tensor: "w".into(), expected: vec![DType::F32, DType::Bf16], found: DType::U8 },
            "tensor `w` is U8, and one of [F32, Bf16] was expected",
        ),
        (Error::Misaligned { tensor: "w".into(), offset: 6, alignment: 4 }, "tensor `w` begins at byte 6, which is not a multiple of 4"),
        (Error::OutOfBounds { tensor: "w".into(), needed: 20, found: 16 }, "tensor `w` ends at byte 20 of a buffer of 16 bytes"),
        (
            Error::BufferUsage { tensor: "w".into(), missing: BufferUsages::STORAGE },
            "the buffer of tensor `w` lacks the usages BufferUsages(STORAGE)",
        ),
        (Error::Overlap { first: "a".into(), second: "b.grad".into() }, "tensors `a` and `b.grad` overlap in memory"),
        (Error::Length { tensor: "w".into(), unit: "elements", expected: 6, found: 5 }, "tensor `w` takes 6 elements, and 5 were given"),
        (option("betas[0]", 1.5, FRACTION), "betas[0] = 1.5 is not valid: at least 0 and below 1"),
        (Error::Unknown { what: "group", name: "7".into() }, "there is no group `7`"),
        (Error::DuplicateName { what: "parameter", name: "w".into() }, "the name `w` is given to more than one parameter"),
        (
            Error::StateMismatch { differences: vec!["one thing".into(), "another".into()] },
            "the state dictionary does not fit: one thing; another",
        ),
        (Error::OutOfMemory { what: "states".into(), bytes: 8 }, "out of memory: states needs 8 bytes"),
        (Error::InvalidBuffer { reason: "destroyed".into() }, "a buffer cannot be used: destroyed"),
        (Error::DeviceLost { reason: "gone".into() }, "the device is lost: gone"),
        (Error::Pipeline { kernel: "k".into(), reason: "no".into() }, "kernel `k` could not be made: no"),
    ];
    for (error, message) in cases {
        assert_eq!(error.to_string(), message);
    }
    // how a set of flags is printed is wgpu's
    assert!(Error::MissingFeatures { missing: Features::PIPELINE_CACHE }.to_string().contains("PIPELINE_CACHE"));
}

// ---- devices

#[test]
fn devices_that_do_not_suffice() {
    let defaults = Limits::defaults();
    let cases = [
        (Limits { max_storage_buffers_per_shader_stage: 4, ..defaults.clone() }, "max_storage_buffers_per_shader_stage", 8, 4),
        (Limits { max_compute_invocations_per_workgroup: 128, ..defaults.clone() }, "max_compute_invocations_per_workgroup", 256, 128),
        (Limits { max_compute_workgroup_storage_size: 8192, ..defaults.clone() }, "max_compute_workgroup_storage_size", 16384, 8192),
        (Limits { max_storage_buffer_binding_size: 32768, ..defaults.clone() }, "max_storage_buffer_binding_size", 65536, 32768),
        // an alignment is too large, not too small
        (Limits { min_storage_buffer_offset_alignment: 512, ..defaults.clone() }, "min_storage_buffer_offset_alignment", 256, 512),
    ];
    for (limits, limit, needed, found) in cases {
        let (device, queue) = noop_device(limits, Features::empty());
        expect(Gpu::new(&device, &queue), Error::LimitTooSmall { limit, what: String::new(), needed, found });
    }
    let (device, queue) = noop_device(required_limits(), Features::empty());
    Gpu::new(&device, &queue).unwrap();

    // a pipeline cache of a device that has the feature, for one that has not
    let (cached, queue) = noop_device(defaults, Features::PIPELINE_CACHE);
    let descriptor = wgpu::PipelineCacheDescriptor { label: None, data: None, fallback: true };
    // SAFETY: there is no data that could be wrong
    let cache = unsafe { cached.create_pipeline_cache(&descriptor) };
    let options = GpuOptions { pipeline_cache: Some(cache), ..Default::default() };
    Gpu::with_options(&cached, &queue, options.clone()).unwrap();
    expect(Gpu::with_options(&device, &queue, options), Error::MissingFeatures { missing: Features::PIPELINE_CACHE });
}

#[test]
fn tables_that_exceed_a_limit() {
    // some words a parameter, in buffers of at most 64 KiB
    let (device, queue) = noop_device(required_limits(), Features::empty());
    let gpu = Gpu::new(&device, &queue).unwrap();
    let tensors = vec![f32s(&gpu, &[0]); 10_000];
    match optimizer(&gpu, &Sgd::default(), &tensors, &tensors, &Options::default()) {
        Err(Error::LimitTooSmall { limit: "max_buffer_size", what, needed, found: 65_536 }) => assert!(needed > 65_536 && !what.is_empty()),
        other => panic!("{other:?}"),
    }
}

// ---- tensors

#[test]
fn ranges_of_buffers() {
    let gpu = noop();
    let good = buffer(&gpu, 16, ALL);
    let misaligned = |offset| Error::Misaligned { tensor: "F32[1]".into(), offset, alignment: 4 };
    let outside = |tensor: &str, needed| Error::OutOfBounds { tensor: tensor.into(), needed, found: 16 };
    let cases: [(u64, &[usize], DType, Error); 12] = [
        (2, &[1], DType::F32, misaligned(2)),
        (6, &[1], DType::F32, misaligned(6)),
        (1, &[1], DType::F32, misaligned(1)),
        (0, &[5], DType::F32, outside("F32[5]", 20)),
        (8, &[3], DType::F32, outside("F32[3]", 20)),
        (16, &[], DType::F32, outside("F32[]", 20)),
        (20, &[0], DType::F32, outside("F32[0]", 20)),
        (0, &[3, 3], DType::F16, outside("F16[3, 3]", 20)),
        (16, &[1], DType::U8, outside("U8[1]", 20)),
        (u64::MAX - 3, &[1], DType::F32, outside("F32[1]", u64::MAX)),
        (0, &[usize::MAX, 2], DType::F32, outside(&format!("F32[{}, 2]", usize::MAX), u64::MAX)),
        (0, &[usize::MAX], DType::U8, outside(&format!("U8[{}]", usize::MAX), u64::MAX)),
    ];
    for (offset, shape, dtype, expected) in cases {
        expect(Tensor::from_buffer(&good, offset, shape, dtype), expected);
    }
    // up to the last byte, and nothing at the very end
    for (offset, shape, dtype) in
        [(0, vec![4], DType::F32), (4, vec![3, 2], DType::F16), (12, vec![], DType::U32), (16, vec![0], DType::F32)]
    {
        let tensor = Tensor::from_buffer(&good, offset, &shape, dtype).unwrap();
        assert_eq!((tensor.offset(), tensor.shape(), tensor.dtype()), (offset, shape.as_slice(), dtype));
    }
    let unbindable = buffer(&gpu, 16, BufferUsages::COPY_SRC | BufferUsages::COPY_DST);
    expect(
        Tensor::from_buffer(&unbindable, 0, &[4], DType::F32),
        Error::BufferUsage { tensor: "F32[4]".into(), missing: BufferUsages::STORAGE },
    );
}

#[test]
fn sizes_beyond_any_device() {
    let gpu = noop();
    let limit = gpu.limits().max_buffer_size;
    let elements = limit as usize / 4 + 1;
    let too_small = |what: String| Error::LimitTooSmall { limit: "max_buffer_size", what, needed: limit + 4, found: limit };
    expect(Tensor::zeros(&gpu, &[elements], DType::F32), too_small(format!("gradus.tensor[{elements}]")));
    expect(Tensor::arena(&gpu, &[&[64], &[elements - 64]], DType::F32), too_small("gradus.arena".into()));
    for (shape, dtype) in [
        (vec![usize::MAX, 2], DType::F32),
        (vec![usize::MAX / 2], DType::F32),
        // these take fewer bytes than 2^64, but not after rounding up to a multiple of four
        (vec![usize::MAX / 2], DType::Bf16),
        (vec![usize::MAX], DType::U8),
    ] {
        let large = |result: Result<()>| {
            let error = result.expect_err("that is more than any memory");
            assert!(matches!(error, Error::OutOfMemory { .. } | Error::LimitTooSmall { limit: "max_buffer_size", .. }), "{error:?}");
        };
        large(Tensor::zeros(&gpu, &shape, dtype).map(drop));
        large(Tensor::arena(&gpu, &[&[1], &shape], dtype).map(drop));
        large(Tensor::arena(&gpu, &[&shape, &shape], dtype).map(drop));
    }
    // no elements, whatever the other axes are
    for shape in [[0, usize::MAX, 2], [usize::MAX, 0, 2], [usize::MAX, 2, 0]] {
        let tensor = f32s(&gpu, &shape);
        assert_eq!((tensor.len(), tensor.bytes(), tensor.is_empty()), (0, 0, true));
        let tensors = [tensor];
        optimizer(&gpu, &AdamP::default(), &tensors, &tensors, &Options::default()).unwrap();
    }
}

#[test]
fn data_that_does_not_fit() {
    let gpu = noop();
    let values = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let tensor = Tensor::from_slice(&gpu, &[2, 3], &values).unwrap();
    let length = |found| Error::Length { tensor: "F32[2, 3]".into(), unit: "elements", expected: 6, found };
    expect(Tensor::from_slice(&gpu, &[2, 3], &values[..5]), length(5));
    expect(Tensor::from_slice::<f32>(&gpu, &[2, 3], &[]), length(0));
    expect(tensor.write(&gpu, &values[1..]), length(5));
    expect(tensor.write(&gpu, &[0f32; 7]), length(7));
    fn other<T: Element + Default>(gpu: &Gpu, tensor: &Tensor) -> [Result<()>; 2] {
        [tensor.write(gpu, &vec![T::default(); tensor.len()]), block_on(tensor.read::<T>(gpu)).map(drop)]
    }
    for (results, expected) in [
        (other::<f16>(&gpu, &tensor), DType::F16),
        (other::<bf16>(&gpu, &tensor), DType::Bf16),
        (other::<u32>(&gpu, &tensor), DType::U32),
        (other::<u8>(&gpu, &tensor), DType::U8),
    ] {
        for result in results {
            assert!(matches!(&result, Err(Error::DType { expected: e, found: DType::F32, .. }) if *e == [expected]), "{result:?}");
        }
    }
    for (usage, missing) in [(BufferUsages::COPY_SRC, BufferUsages::COPY_DST), (BufferUsages::COPY_DST, BufferUsages::COPY_SRC)] {
        let half = Tensor::from_buffer(&buffer(&gpu, 24, BufferUsages::STORAGE | usage), 0, &[6], DType::F32).unwrap();
        let result = match missing == BufferUsages::COPY_DST {
            true => half.write(&gpu, &values),
            false => block_on(half.read::<f32>(&gpu)).map(drop),
        };
        assert!(matches!(result, Err(Error::BufferUsage { missing: m, .. }) if m == missing), "{result:?}");
    }
    // nothing of it was written
    assert_eq!(block_on(tensor.read::<f32>(&gpu)).unwrap(), values);

    let shape = |found: &[usize]| Error::Shape { tensor: "F32[2, 3]".into(), expected: vec![2, 3], found: found.to_vec() };
    for wrong in [&[5][..], &[], &[2, 3, 2], &[0], &[usize::MAX, 7], &[3, usize::MAX]] {
        expect(tensor.reshape(wrong), shape(wrong));
    }
    for right in [&[6][..], &[3, 2], &[1, 6, 1]] {
        let reshaped = tensor.reshape(right).unwrap();
        assert_eq!(reshaped.shape(), right);
        assert!(reshaped.shares_buffer(&tensor) && reshaped.offset() == tensor.offset());
    }
    f32s(&gpu, &[0, 5]).reshape(&[7, 0]).unwrap();
    f32s(&gpu, &[1, 1]).reshape(&[]).unwrap();
}

// ---- lists of parameters

#[test]
fn lists_of_parameters() {
    let gpu = noop();
    let [a, b, grad] = [(); 3].map(|()| f32s(&gpu, &[2, 3]));
    let [short, flat, turned] = [f32s(&gpu, &[2, 2]), f32s(&gpu, &[6]), f32s(&gpu, &[3, 2])];
    let [words, bytes] = [DType::U32, DType::U8].map(|dtype| Tensor::zeros(&gpu, &[2, 3], dtype).unwrap());
    let shape = |found: &[usize]| Error::Shape { tensor: "a.grad".into(), expected: vec![2, 3], found: found.to_vec() };
    let dtype = |tensor: &str, found| Error::DType { tensor: tensor.into(), expected: DType::FLOATS.to_vec(), found };
    let unknown = |group: &str| Error::Unknown { what: "group", name: group.into() };
    let duplicate = |name: &str| Error::DuplicateName { what: "parameter", name: name.into() };
    let group = Group { lr: 0.1, weight_decay: 0.0 };
    let two = Options { groups: vec![group, group], ..Default::default() };
    let cases: Vec<(Vec<Param>, Options, Error)> = vec![
        (vec![Param::new("a", &a, &short)], Options::default(), shape(&[2, 2])),
        (vec![Param::new("a", &a, &flat)], Options::default(), shape(&[6])),
        (vec![Param::new("a", &a, &turned)], Options::default(), shape(&[3, 2])),
        (vec![Param::new("b", &b, &grad), Param::new("a", &a, &flat)], Options::default(), shape(&[6])),
        (vec![Param::new("a", &words, &grad)], Options::default(), dtype("a", DType::U32)),
        (vec![Param::new("a", &bytes, &grad)], Options::default(), dtype("a", DType::U8)),
        (vec![Param::new("a", &a, &bytes)], Options::default(), dtype("a.grad", DType::U8)),
        (vec![Param::new("a", &a, &words)], Options::default(), dtype("a.grad", DType::U32)),
        (vec![Param::new("a", &a, &grad), Param::new("a", &b, &grad)], Options::default(), duplicate("a")),
        (vec![Param::new("", &a, &grad), Param::new("", &b, &grad)], Options::default(), duplicate("")),
        (vec![Param::new("a", &a, &grad).group(1)], Options::default(), unknown("1")),
        (vec![Param::new("a", &a, &grad).group(1), Param::new("b", &b, &grad).group(2)], two.clone(), unknown("2")),
        (vec![Param::new("a", &a, &grad), Param::new("b", &a, &grad)], Options::default(), overlap("a", "b")),
        (vec![Param::new("a", &a, &a)], Options::default(), overlap("a", "a.grad")),
    ];
    for (list, options, expected) in cases {
        expect(Optimizer::with_options(&gpu, &Adam::default(), &list, options), expected);
    }
    // each of these is in order once the fault is gone
    let list = [Param::new("a", &a, &grad).group(1), Param::new("b", &b, &grad)];
    Optimizer::with_options(&gpu, &Adam::default(), &list, two).unwrap();
}

fn overlap(first: &str, second: &str) -> Error {
    Error::Overlap { first: first.into(), second: second.into() }
}

#[test]
fn no_byte_of_a_parameter_is_another_tensors() {
    // two parameters and two gradients of up to two words each, wherever they fit in six: a parameter may
    // touch any other, but not share a byte with it; gradients may lie as they like
    let gpu = noop();
    let memory = buffer(&gpu, 24, ALL);
    let names = ["p0", "p0.grad", "p1", "p1.grad"];
    let mut accepted = 0;
    // 3 elements of 16 bits end in the middle of a word
    for (dtypes, n) in [([DType::F32; 4], 2), ([DType::F16; 4], 3), ([DType::F32, DType::Bf16, DType::F16, DType::F32], 2)] {
        for place in 0..5u64.pow(4) {
            let offset = |i: usize| place / 5u64.pow(i as u32) % 5 * 4;
            let tensors = [0, 1, 2, 3].map(|i| Tensor::from_buffer(&memory, offset(i), &[n], dtypes[i]).unwrap());
            let shares_a_byte = |a: usize, b: usize| {
                let bytes = |i: usize| tensors[i].offset()..tensors[i].offset() + tensors[i].bytes();
                bytes(a).any(|byte| bytes(b).contains(&byte))
            };
            let faults: Vec<[&str; 2]> = (0..4)
                .flat_map(|a| (a + 1..4).map(move |b| (a, b)))
                .filter(|&(a, b)| (a, b) != (1, 3) && shares_a_byte(a, b))
                .map(|(a, b)| [names[a], names[b]])
                .collect();
            for a in 0..4 {
                for b in 0..4 {
                    assert_eq!(tensors[a].overlaps(&tensors[b]), shares_a_byte(a, b), "{tensors:?}");
                }
            }
            let list = [Param::new("p0", &tensors[0], &tensors[1]), Param::new("p1", &tensors[2], &tensors[3])];
            match Optimizer::new(&gpu, &Sgd::default(), &list) {
                Ok(_) => assert!(faults.is_empty(), "{faults:?} in {tensors:?}"),
                Err(Error::Overlap { first, second }) => {
                    let named = |[a, b]: &[&str; 2]| (*a == first && *b == second) || (*a == second && *b == first);
                    assert!(faults.iter().any(named), "{first} and {second} do not overlap in {tensors:?}");
                }
                Err(error) => panic!("{error}"),
            }
            accepted += usize::from(faults.is_empty());
        }
    }
    assert!(accepted > 0);

    // what is empty is nowhere, even where another tensor is
    let p = Tensor::from_buffer(&memory, 0, &[4], DType::F32).unwrap();
    let empty = Tensor::from_buffer(&memory, 8, &[0], DType::F32).unwrap();
    let grad = f32s(&gpu, &[4]);
    let list = [Param::new("p", &p, &grad), Param::new("empty", &empty, &empty)];
    Optimizer::new(&gpu, &Sgd::default(), &list).unwrap();
    // the same offsets in different buffers
    let elsewhere = Tensor::from_buffer(&buffer(&gpu, 24, ALL), 0, &[4], DType::F32).unwrap();
    Optimizer::new(&gpu, &Sgd::default(), &[Param::new("p", &p, &elsewhere)]).unwrap();
}

// ---- options

/// Rows of (algorithm, option, value, expectation) from `Type { field: values => expectation; ... }`.
macro_rules! rejected {
    ($($type:ident { $($field:ident: $values:expr => $expected:expr;)* })*) => {{
        let mut rows: Vec<(Box<dyn Algorithm>, Error)> = Vec::new();
        $($(for value in $values {
            let algorithm = $type { $field: value, ..Default::default() };
            rows.push((Box::new(algorithm), option(stringify!($field), value, $expected)));
        })*)*
        rows
    }};
}

// What is out of each range.
const NOT_FINITE: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
const BELOW_ZERO: [f64; 5] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e-9, -1.0];
const NO_FRACTION: [f64; 6] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e-9, 1.0, 1.5];
const NOT_POSITIVE: [f64; 5] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0];

/// Both betas in turn, the other as it is by default.
fn bad_betas<A: Algorithm + 'static>(make: impl Fn([f64; 2]) -> A) -> Vec<(Box<dyn Algorithm>, Error)> {
    let row = |i: usize, bad: f64| {
        let mut betas = [0.9, 0.999];
        betas[i] = bad;
        (Box::new(make(betas)) as Box<dyn Algorithm>, option(&format!("betas[{i}]"), bad, FRACTION))
    };
    (0..2).flat_map(|i| NO_FRACTION.map(|bad| row(i, bad))).collect()
}

#[test]
fn options_out_of_range() {
    let gpu = noop();
    let (param, grad) = (f32s(&gpu, &[2]), f32s(&gpu, &[2]));
    let list = [Param::new("w", &param, &grad)];
    let rho = "from 0 to 1";
    let mut rows = rejected! {
        Sgd {
            lr: BELOW_ZERO => NOT_NEGATIVE;
            momentum: BELOW_ZERO => NOT_NEGATIVE;
            dampening: NOT_FINITE => "a finite number";
            weight_decay: BELOW_ZERO => NOT_NEGATIVE;
        }
        Adagrad {
            lr: BELOW_ZERO => NOT_NEGATIVE;
            lr_decay: BELOW_ZERO => NOT_NEGATIVE;
            weight_decay: BELOW_ZERO => NOT_NEGATIVE;
            initial_accumulator_value: BELOW_ZERO => NOT_NEGATIVE;
            eps: BELOW_ZERO => NOT_NEGATIVE;
        }
        Adadelta {
            lr: BELOW_ZERO => NOT_NEGATIVE;
            rho: [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e-9, 1.0 + 1e-9] => rho;
            eps: BELOW_ZERO => NOT_NEGATIVE;
            weight_decay: BELOW_ZERO => NOT_NEGATIVE;
        }
        RmsProp {
            lr: BELOW_ZERO => NOT_NEGATIVE;
            alpha: BELOW_ZERO => NOT_NEGATIVE;
            eps: BELOW_ZERO => NOT_NEGATIVE;
            weight_decay: BELOW_ZERO => NOT_NEGATIVE;
            momentum: BELOW_ZERO => NOT_NEGATIVE;
        }
        Adam { lr: BELOW_ZERO => NOT_NEGATIVE; eps: BELOW_ZERO => NOT_NEGATIVE; weight_decay: BELOW_ZERO => NOT_NEGATIVE; }
        AdamW { lr: BELOW_ZERO => NOT_NEGATIVE; eps: BELOW_ZERO => NOT_NEGATIVE; weight_decay: BELOW_ZERO => NOT_NEGATIVE; }
        DiffGrad { lr: BELOW_ZERO => NOT_NEGATIVE; eps: BELOW_ZERO => NOT_NEGATIVE; weight_decay: BELOW_ZERO => NOT_NEGATIVE; }
        AdamP {
            lr: BELOW_ZERO => NOT_NEGATIVE;
            eps: BELOW_ZERO => NOT_NEGATIVE;
            weight_decay: BELOW_ZERO => NOT_NEGATIVE;
            delta: BELOW_ZERO => NOT_NEGATIVE;
            wd_ratio: BELOW_ZERO => NOT_NEGATIVE;
        }
        SgdP {
            lr: BELOW_ZERO => NOT_NEGATIVE;
            // decay is divided by 1 - momentum
            momentum: NO_FRACTION => FRACTION;
            dampening: NOT_FINITE => "a finite number";
            weight_decay: BELOW_ZERO => NOT_NEGATIVE;
            eps: BELOW_ZERO => NOT_NEGATIVE;
            delta: BELOW_ZERO => NOT_NEGATIVE;
            wd_ratio: BELOW_ZERO => NOT_NEGATIVE;
        }
    };
    rows.extend(bad_betas(|betas| Adam { betas, ..Default::default() }));
    rows.extend(bad_betas(|betas| AdamW { betas, ..Default::default() }));
    rows.extend(bad_betas(|betas| DiffGrad { betas, ..Default::default() }));
    rows.extend(bad_betas(|betas| AdamP { betas, ..Default::default() }));
    let nesterov = || option("nesterov", true, "nesterov needs momentum and zero dampening");
    rows.push((Box::new(Sgd { nesterov: true, ..Default::default() }), nesterov()));
    rows.push((Box::new(Sgd { nesterov: true, momentum: 0.9, dampening: 0.1, ..Default::default() }), nesterov()));
    for (algorithm, expected) in rows {
        expect(Optimizer::new(&gpu, &*algorithm, &list), expected);
    }

    let dynamic = |initial, growth_factor, backoff_factor, growth_interval| Options {
        loss_scale: LossScale::Dynamic { initial, growth_factor, backoff_factor, growth_interval },
        ..Default::default()
    };
    let mut rows: Vec<(Options, Error)> = Vec::new();
    for bad in NOT_POSITIVE {
        rows.push((Options { max_norm: Some(bad), ..Default::default() }, option("max_norm", bad, POSITIVE)));
        rows.push((Options { loss_scale: LossScale::Fixed(bad), ..Default::default() }, option("loss_scale", bad, POSITIVE)));
        rows.push((dynamic(bad, 2.0, 0.5, 1), option("loss_scale", bad, POSITIVE)));
        rows.push((dynamic(1.0, 2.0, bad, 1), option("backoff_factor", bad, POSITIVE)));
    }
    rows.push((dynamic(1.0, 2.0, 1.5, 1), option("backoff_factor", 1.5, FRACTION)));
    for bad in [f64::NAN, f64::INFINITY, -2.0, 0.0, 0.5] {
        rows.push((dynamic(1.0, bad, 0.5, 1), option("growth_factor", bad, "a finite number, one or above")));
    }
    rows.push((dynamic(1.0, 2.0, 0.5, 0), option("growth_interval", 0, "one or above")));
    let fine = Group { lr: 0.1, weight_decay: 0.1 };
    for bad in BELOW_ZERO {
        let groups = vec![fine, Group { lr: bad, ..fine }];
        rows.push((Options { groups, ..Default::default() }, option("groups[1].lr", bad, NOT_NEGATIVE)));
        let groups = vec![Group { weight_decay: bad, ..fine }, fine];
        rows.push((Options { groups, ..Default::default() }, option("groups[0].weight_decay", bad, NOT_NEGATIVE)));
    }
    for (options, expected) in rows {
        expect(Optimizer::with_options(&gpu, &Sgd::default(), &list, options), expected);
    }

    // the ends of the ranges are in them
    let ends: [Box<dyn Algorithm>; 6] = [
        Box::new(Sgd { lr: 0.0, momentum: 1.0, dampening: -1.0, ..Default::default() }),
        Box::new(Adadelta { rho: 1.0, eps: 0.0, ..Default::default() }),
        Box::new(Adadelta { rho: 0.0, ..Default::default() }),
        Box::new(Adam { betas: [0.0, 0.0], eps: 0.0, ..Default::default() }),
        Box::new(SgdP { momentum: 0.0, delta: 0.0, wd_ratio: 0.0, nesterov: true, ..Default::default() }),
        Box::new(RmsProp { alpha: 1.0, ..Default::default() }),
    ];
    for algorithm in ends {
        let groups = vec![Group { lr: 0.0, weight_decay: 0.0 }];
        let options = Options { groups, ..dynamic(1.0, 1.0, 1.0, 1) };
        Optimizer::with_options(&gpu, &*algorithm, &list, options).unwrap();
    }
}

#[test]
fn options_that_f32_turns_into_zero_or_infinity() {
    // kernels compute in f32: a learning rate of 1e39 would make parameters infinite, a loss scale of
    // 1e-46 would divide by zero, a max_norm of 1e-46 would erase every gradient
    let gpu = noop();
    let (param, grad) = (f32s(&gpu, &[2]), f32s(&gpu, &[2]));
    let list = [Param::new("w", &param, &grad)];
    let rejects = |what: &str, result: Result<Optimizer>, name: &str| match result {
        Err(Error::Option { option, .. }) if option == name => {}
        other => panic!("{what}: {other:?}"),
    };
    let [huge, tiny] = [1e39, 1e-46];
    rejects("lr", Optimizer::new(&gpu, &Sgd { lr: huge, ..Default::default() }, &list), "lr");
    rejects("weight_decay", Optimizer::new(&gpu, &Sgd { weight_decay: huge, ..Default::default() }, &list), "weight_decay");
    let with = |options| Optimizer::with_options(&gpu, &Sgd::default(), &list, options);
    rejects("max_norm", with(Options { max_norm: Some(tiny), ..Default::default() }), "max_norm");
    for scale in [huge, tiny] {
        rejects("loss_scale", with(Options { loss_scale: LossScale::Fixed(scale), ..Default::default() }), "loss_scale");
    }
    let mut optimizer = with(Options::default()).unwrap();
    assert!(matches!(optimizer.set_lr(0, huge), Err(Error::Option { option, .. }) if option == "lr"));
}

// ---- names

#[test]
fn names_and_values_that_are_not_there() {
    let gpu = noop();
    let (param, grad) = (f32s(&gpu, &[2]), f32s(&gpu, &[2]));
    let mut optimizer = Optimizer::new(&gpu, &Adam::default(), &[Param::new("w", &param, &grad)]).unwrap();
    let group = Group { lr: 0.5, weight_decay: 0.25 };
    optimizer.set_group(0, group).unwrap();
    let unknown = |what, name: &str| Error::Unknown { what, name: name.into() };
    expect(optimizer.set_lr(1, 0.1), unknown("group", "1"));
    expect(optimizer.set_lr(usize::MAX, f64::NAN), unknown("group", &usize::MAX.to_string()));
    expect(optimizer.set_group(1, group), unknown("group", "1"));
    expect(optimizer.set_frozen("v", true), unknown("parameter", "v"));
    expect(optimizer.set_frozen("", false), unknown("parameter", ""));
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    expect(optimizer.step_without(&mut encoder, &["w", "v"]), unknown("parameter", "v"));
    gpu.queue().submit([encoder.finish()]);
    for bad in BELOW_ZERO {
        expect(optimizer.set_lr(0, bad), option("lr", bad, NOT_NEGATIVE));
        expect(optimizer.set_group(0, Group { lr: bad, ..group }), option("lr", bad, NOT_NEGATIVE));
        expect(optimizer.set_group(0, Group { weight_decay: bad, ..group }), option("weight_decay", bad, NOT_NEGATIVE));
    }
    assert_eq!(optimizer.groups(), [group]);
}

// ---- state dictionaries

/// `bytes` with other metadata and tensors.
fn rewritten(
    bytes: &[u8],
    edit: impl FnOnce(&mut BTreeMap<String, String>, &mut BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>),
) -> Vec<u8> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let mut metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    let tensors = file.tensors().into_iter().map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec())));
    let mut tensors = tensors.collect();
    edit(&mut metadata, &mut tensors);
    let views = tensors.iter().map(|(name, (dtype, shape, data))| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    safetensors::serialize(views, Some(metadata.into_iter().collect())).unwrap()
}

/// The state dictionaries that do not fit an [`Adam`] with parameters `p0` of shape (2, 3) and `p1` of
/// shape (5), and every difference that is to be named.
fn misfits(gpu: &Gpu, good: &[u8]) -> Vec<(Vec<u8>, Vec<String>)> {
    let saved = |algorithm: &dyn Algorithm, shapes: &[&[usize]], options: Options| {
        let tensors = |dtype| shapes.iter().map(|shape| Tensor::zeros(gpu, shape, dtype).unwrap()).collect::<Vec<_>>();
        let dtype = if options.master_weights { DType::F16 } else { DType::F32 };
        let saved = optimizer(gpu, algorithm, &tensors(dtype), &tensors(DType::F32), &options).unwrap();
        block_on(saved.state_dict()).unwrap()
    };
    let fits: [&[usize]; 2] = [&[2, 3], &[5]];
    let adam = |betas| Adam { betas, ..Default::default() };
    let config = |betas: [f64; 2], more: &str| {
        format!("{{\"amsgrad\":{more},\"betas\":[{:?},{:?}],\"eps\":1e-8,\"maximize\":false}}", betas[0], betas[1])
    };
    let ours = config([0.9, 0.999], "false");
    let group = Group { lr: 0.1, weight_decay: 0.0 };
    let step = |value: i64| (Dtype::I64, vec![], value.to_le_bytes().to_vec());
    let strings = |differences: &[&str]| differences.iter().map(|&d| d.to_owned()).collect::<Vec<_>>();
    vec![
        (
            saved(&adam([0.9, 0.999]), &[&[2, 3]], Options::default()),
            strings(&["`p1.step` is missing", "`p1.exp_avg` is missing", "`p1.exp_avg_sq` is missing"]),
        ),
        (
            saved(&adam([0.9, 0.999]), &[&[2, 3], &[5], &[1]], Options::default()),
            strings(&["`p2.exp_avg` is not expected", "`p2.exp_avg_sq` is not expected", "`p2.step` is not expected"]),
        ),
        (
            saved(&adam([0.9, 0.999]), &[&[3, 2], &[4]], Options::default()),
            strings(&[
                "`p0.exp_avg` has shape [3, 2], expected [2, 3]",
                "`p0.exp_avg_sq` has shape [3, 2], expected [2, 3]",
                "`p1.exp_avg` has shape [4], expected [5]",
                "`p1.exp_avg_sq` has shape [4], expected [5]",
            ]),
        ),
        (
            saved(&adam([0.9, 0.99]), &fits, Options::default()),
            vec![format!("config is {}, expected {ours}", config([0.9, 0.99], "false"))],
        ),
        (
            saved(&Adam { amsgrad: true, ..Default::default() }, &fits, Options::default()),
            vec![
                format!("config is {}, expected {ours}", config([0.9, 0.999], "true")),
                "`p0.max_exp_avg_sq` is not expected".into(),
                "`p1.max_exp_avg_sq` is not expected".into(),
            ],
        ),
        (saved(&AdamW::default(), &fits, Options::default()), strings(&["optimizer is adamw, expected adam"])),
        (
            saved(&Adadelta::default(), &[&[2, 3]], Options::default()),
            vec![
                format!("config is {{\"eps\":1e-6,\"maximize\":false,\"rho\":0.9}}, expected {ours}"),
                "optimizer is adadelta, expected adam".into(),
                "`p0.exp_avg` is missing".into(),
                "`p0.exp_avg_sq` is missing".into(),
                "`p1.step` is missing".into(),
                "`p1.exp_avg` is missing".into(),
                "`p1.exp_avg_sq` is missing".into(),
                "`p0.acc_delta` is not expected".into(),
                "`p0.square_avg` is not expected".into(),
            ],
        ),
        (saved(&adam([0.9, 0.999]), &fits, Options { groups: vec![group; 3], ..Default::default() }), strings(&["3 groups, expected 1"])),
        (
            saved(&adam([0.9, 0.999]), &fits, Options { rounding: Rounding::Stochastic { seed: 7 }, ..Default::default() }),
            strings(&["rounding is stochastic, seed 7, expected nearest"]),
        ),
        (
            saved(&adam([0.9, 0.999]), &fits, Options { master_weights: true, ..Default::default() }),
            strings(&["`p0.master` is not expected", "`p1.master` is not expected"]),
        ),
        (
            rewritten(good, |metadata, _| *metadata = BTreeMap::new()),
            vec![
                format!("config is missing, expected {ours}"),
                "format is missing, expected gradus.optim.1".into(),
                "optimizer is missing, expected adam".into(),
                "rounding is missing, expected nearest".into(),
                "0 groups, expected 1".into(),
            ],
        ),
        (
            rewritten(good, |metadata, _| metadata.extend([("format".into(), "gradus.optim.2".into())])),
            strings(&["format is gradus.optim.2, expected gradus.optim.1"]),
        ),
        (
            rewritten(good, |_, tensors| {
                tensors.insert("p0.step".into(), step(-1));
                tensors.insert("p1.step".into(), step(1 << 32));
            }),
            strings(&["`p0.step` is not a number of steps", "`p1.step` is not a number of steps"]),
        ),
        (
            rewritten(good, |_, tensors| {
                tensors.insert("p0.step".into(), (Dtype::F32, vec![], vec![0; 4]));
                tensors.insert("p1.exp_avg".into(), (Dtype::F16, vec![5], vec![0; 10]));
                tensors.remove("loss_scaler");
                tensors.insert("p1.step".into(), (Dtype::I64, vec![1], vec![0; 8]));
            }),
            strings(&[
                "`p0.step` is F32, expected I64",
                "`p1.exp_avg` is F16, expected F32",
                "`loss_scaler` is missing",
                "`p1.step` has shape [1], expected []",
            ]),
        ),
    ]
}

#[test]
fn state_dicts_of_something_else() {
    let gpu = noop();
    let tensors = || vec![f32s(&gpu, &[2, 3]), f32s(&gpu, &[5])];
    let params = tensors();
    let mut optimizer = optimizer(&gpu, &Adam::default(), &params, &tensors(), &Options::default()).unwrap();
    let good = block_on(optimizer.state_dict()).unwrap();
    for (bytes, mut expected) in misfits(&gpu, &good) {
        let message = expected.join("; ");
        match optimizer.load_state_dict(&bytes) {
            Err(Error::StateMismatch { mut differences }) => {
                // in whatever order
                differences.sort();
                expected.sort();
                assert_eq!(differences, expected);
            }
            other => panic!("{other:?} for {message}"),
        }
    }
    // what cannot be continued with
    for groups in ["[[-1.0,0.0]]", "[[0.1,-1.0]]", "[[1e39,0.0]]", "[[null,0.0]]", "[[0.1]]", "groups", ""] {
        let bytes = rewritten(&good, |metadata, _| metadata.extend([("groups".into(), groups.into())]));
        assert!(matches!(optimizer.load_state_dict(&bytes), Err(Error::StateMismatch { .. } | Error::Option { .. })), "{groups}");
    }
    // not safetensors: nothing, text, and every beginning of a whole file
    let texts = [&b""[..], b"state", b"{}", &[0xff; 64]];
    for bytes in texts.into_iter().chain((0..good.len()).map(|n| &good[..n])) {
        assert!(matches!(optimizer.load_state_dict(bytes), Err(Error::SafeTensors(_))), "{} bytes", bytes.len());
    }
    // a byte of the header that is another
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    for i in 0..header {
        let mut bytes = good.clone();
        bytes[i] ^= 1;
        // digits of a number that is not compared may change it into another; anything else is noticed
        if optimizer.load_state_dict(&bytes).is_ok() {
            assert!(bytes[i].is_ascii_digit(), "{}", String::from_utf8_lossy(&bytes[8..header]));
        }
    }
    let before = snapshot(&gpu, &optimizer, &[]);
    optimizer.load_state_dict(&good).unwrap();
    assert_eq!(snapshot(&gpu, &optimizer, &[]), before);
}

// ---- no trace of what failed

#[test]
fn failed_calls_leave_no_trace() {
    let gpu = gpu(Checks::Unchecked);
    let run = |disturbed: bool| {
        let shapes: [&[usize]; 2] = [&[2, 3], &[5]];
        let make = |seed| {
            let tensors = Tensor::arena(&gpu, &shapes, DType::F32).unwrap();
            (0u64..).zip(&tensors).for_each(|(i, tensor)| tensor.write(&gpu, &noise(seed + i, tensor.len())).unwrap());
            tensors
        };
        let (params, grads) = (make(1), make(2));
        let mut adam = optimizer(&gpu, &Adam::default(), &params, &grads, &Options::default()).unwrap();
        adam.set_lr(0, 0.125).unwrap();
        for _ in 0..4 {
            step(&gpu, &adam);
            if !disturbed {
                continue;
            }
            let good = block_on(adam.state_dict()).unwrap();
            let longer = rewritten(&good, |metadata, tensors| {
                metadata.extend([("optimizer".into(), "adamw".into()), ("groups".into(), "[[7.0,7.0]]".into())]);
                tensors.values_mut().for_each(|(.., data)| data.fill(1));
            });
            let files = misfits(&gpu, &good).into_iter().map(|(bytes, _)| bytes).chain([longer, good[..good.len() - 1].to_vec()]);
            files.for_each(|bytes| assert!(adam.load_state_dict(&bytes).is_err()));
            assert!(adam.set_lr(0, f64::NAN).is_err());
            assert!(adam.set_group(0, Group { lr: 1.0, weight_decay: -1.0 }).is_err());
            assert!(adam.set_group(1, Group { lr: 1.0, weight_decay: 0.0 }).is_err());
            assert!(adam.set_frozen("p2", true).is_err());
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            assert!(adam.step_without(&mut encoder, &["p0", "p2"]).is_err());
            gpu.queue().submit([encoder.finish()]);
            assert!(params[0].write(&gpu, &[1f32; 5]).is_err());
            // Adagrad would fill its sums, and the steps below would differ if it wrote anything
            let adagrad = Adagrad { initial_accumulator_value: 1.0, ..Default::default() };
            assert!(optimizer(&gpu, &adagrad, &params, &params, &Options::default()).is_err());
        }
        snapshot(&gpu, &adam, &params)
    };
    assert_eq!(run(false), run(true));
}

// ---- parameters without elements

#[test]
fn parameters_without_elements() {
    // steps are validated when they are submitted
    let gpu = noop();
    let some = Options { max_norm: Some(1.0), loss_scale: LossScale::dynamic(), master_weights: true, ..Default::default() };
    let shapes: [&[&[usize]]; 4] = [&[], &[&[0]], &[&[3, 0], &[0, 3], &[0]], &[&[0, 4], &[2, 3], &[0], &[7]]];
    for (name, pair) in algorithms() {
        for options in [Options::default(), Options { skip_non_finite: true, ..Default::default() }, some.clone()] {
            for shapes in shapes {
                for dtype in [DType::F32, DType::F16] {
                    if dtype == DType::F16 && !shapes.is_empty() && !fits(name, &options) {
                        continue;
                    }
                    let tensors = || shapes.iter().map(|shape| Tensor::zeros(&gpu, shape, dtype).unwrap()).collect::<Vec<_>>();
                    let mut optimizer = optimizer(&gpu, &*pair.kernel, &tensors(), &tensors(), &options)
                        .unwrap_or_else(|error| panic!("{name} {shapes:?}: {error}"));
                    (0..2).for_each(|_| step(&gpu, &optimizer));
                    assert_eq!(block_on(optimizer.steps()).unwrap().len(), shapes.len());
                    block_on(optimizer.status()).unwrap();
                    let before = snapshot(&gpu, &optimizer, &[]);
                    let saved = block_on(optimizer.state_dict()).unwrap();
                    optimizer.load_state_dict(&saved).unwrap();
                    assert_eq!(snapshot(&gpu, &optimizer, &[]), before);
                }
            }
        }
    }
}

/// Four states and a master copy are more buffers than WebGPU's default limits allow.
#[test]
fn more_states_than_buffers() {
    let gpu = noop();
    let options = Options { master_weights: true, ..Default::default() };
    let tensors = |dtype| [Tensor::zeros(&gpu, &[5], dtype).unwrap()];
    let make = |dtype| optimizer(&gpu, &gradus::optim::Adan::default(), &tensors(dtype), &tensors(dtype), &options).map(|_| ());
    assert!(make(DType::F32).is_ok());
    let error = make(DType::F16).unwrap_err();
    let expected = "max_storage_buffers_per_shader_stage";
    assert!(matches!(error, Error::LimitTooSmall { limit, needed: 9, found: 8, .. } if limit == expected), "{error}");
}

#[test]
fn parameters_without_elements_change_nothing() {
    let gpu = gpu(Checks::Checked);
    let options = Options { max_norm: Some(0.5), ..Default::default() };
    for algorithm in [&Adam::default() as &dyn Algorithm, &AdamP::default()] {
        let run = |shapes: &[&[usize]]| {
            let tensors = |seed| {
                let tensors: Vec<Tensor> = shapes.iter().map(|shape| f32s(&gpu, shape)).collect();
                tensors.iter().for_each(|tensor| tensor.write(&gpu, &noise(seed, tensor.len())).unwrap());
                tensors
            };
            let (params, grads) = (tensors(1), tensors(2));
            let optimizer = optimizer(&gpu, algorithm, &params, &grads, &options).unwrap();
            (0..3).for_each(|_| step(&gpu, &optimizer));
            let status = block_on(optimizer.status()).unwrap();
            let full = params.iter().filter(|param| !param.is_empty());
            (full.map(|param| bits(&gpu, param)).collect::<Vec<_>>(), status)
        };
        assert_eq!(run(&[&[3, 5]]), run(&[&[0], &[3, 5], &[4, 0]]));
        // the norm of nothing is zero, and finite
        let (_, status) = run(&[&[0], &[2, 0]]);
        assert_eq!((status.grad_norm, status.skipped, status.skipped_steps), (0.0, false, 0));
    }
}

// ---- memory, buffers and devices that are gone

/// In a process with an address space of 1 GB. The device goes on.
#[cfg(target_os = "linux")]
#[test]
fn no_memory_left_is_an_error() {
    const LIMITED: &str = "GRADUS_LIMITED_MEMORY";
    if std::env::var_os(LIMITED).is_none() {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "ulimit -v 1000000 && exec \"$0\" --exact no_memory_left_is_an_error --test-threads=1"]);
        let output = command.arg(std::env::current_exe().unwrap()).env(LIMITED, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let (device, queue) = noop_device(Limits { max_buffer_size: 0x7fff_fff0, ..Limits::defaults() }, Features::empty());
    let gpu = Gpu::new(&device, &queue).unwrap();
    expect(Tensor::zeros(&gpu, &[1 << 28], DType::F32), Error::OutOfMemory { what: "gradus.tensor[268435456]".into(), bytes: 1 << 30 });
    expect(Tensor::arena(&gpu, &[&[1 << 28]], DType::F32), Error::OutOfMemory { what: "gradus.arena".into(), bytes: 1 << 30 });
    assert_eq!(block_on(Tensor::from_slice(&gpu, &[2], &[1f32, 2.0]).unwrap().read::<f32>(&gpu)).unwrap(), [1.0, 2.0]);
}

#[test]
fn a_destroyed_buffer_is_an_error() {
    let gpu = noop();
    let tensor = f32s(&gpu, &[3]);
    tensor.buffer().destroy();
    assert!(matches!(tensor.write(&gpu, &[1f32; 3]), Err(Error::InvalidBuffer { .. })));
    assert!(matches!(block_on(tensor.read::<f32>(&gpu)), Err(Error::InvalidBuffer { .. })));
}

/// What `work` returns, from a thread of its own: a panic and a wait without end fail the test, not
/// the process.
#[track_caller]
fn in_time<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // nobody receives what comes too late
        let _ = sender.send(work());
    });
    receiver.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|error| match error {
        mpsc::RecvTimeoutError::Timeout => panic!("{what} waits for the lost device"),
        mpsc::RecvTimeoutError::Disconnected => panic!("{what} panicked"),
    })
}

struct Lost {
    gpu: Gpu,
    param: Tensor,
    grad: Tensor,
    optimizer: Optimizer,
    saved: Vec<u8>,
}

/// A device with an optimizer that took a step, all of it destroyed.
fn lost() -> Lost {
    let (device, queue) = device(Limits::defaults());
    let gpu = Gpu::new(&device, &queue).unwrap();
    let [param, grad] = [(); 2].map(|()| Tensor::from_slice(&gpu, &[3], &[1f32, 2.0, 3.0]).unwrap());
    let optimizer = Optimizer::new(&gpu, &Adam::default(), &[Param::new("w", &param, &grad)]).unwrap();
    step(&gpu, &optimizer);
    let saved = block_on(optimizer.state_dict()).unwrap();
    device.destroy();
    Lost { gpu, param, grad, optimizer, saved }
}

#[test]
fn a_lost_device_is_an_error() {
    // what has to hear from the device says that it is lost
    type Work = fn(Lost) -> Result<()>;
    let heard: [(&str, Work); 7] = [
        ("read", |l| block_on(l.param.read::<f32>(&l.gpu)).map(drop)),
        ("status", |l| block_on(l.optimizer.status()).map(drop)),
        ("steps", |l| block_on(l.optimizer.steps()).map(drop)),
        ("state_dict", |l| block_on(l.optimizer.state_dict()).map(drop)),
        ("a step and a read", |l| {
            step(&l.gpu, &l.optimizer);
            block_on(l.param.read::<f32>(&l.gpu)).map(drop)
        }),
        ("two reads", |l| {
            assert!(block_on(l.param.read::<f32>(&l.gpu)).is_err());
            block_on(l.grad.read::<f32>(&l.gpu)).map(drop)
        }),
        ("measure", |l| block_on(gradus::gpu::measure(&l.gpu, l.optimizer.recording())).map(drop)),
    ];
    for (what, work) in heard {
        let found = in_time(what, move || work(lost()));
        assert!(matches!(found, Err(Error::DeviceLost { .. })), "{what}: {found:?}");
    }
    // the rest returns, one way or the other
    let returns: [(&str, Work); 9] = [
        ("write", |l| l.param.write(&l.gpu, &[0f32; 3])),
        ("zeros", |l| Tensor::zeros(&l.gpu, &[3], DType::F32).map(drop)),
        ("from_slice", |l| Tensor::from_slice(&l.gpu, &[3], &[0f32; 3]).map(drop)),
        ("new", |l| Optimizer::new(&l.gpu, &Adam::default(), &[Param::new("w", &l.param, &l.grad)]).map(drop)),
        ("new, with a state to fill", |l| {
            let adagrad = Adagrad { initial_accumulator_value: 1.0, ..Default::default() };
            Optimizer::new(&l.gpu, &adagrad, &[Param::new("w", &l.param, &l.grad)]).map(drop)
        }),
        ("set_lr", |mut l| l.optimizer.set_lr(0, 0.1)),
        ("step_without", |l| {
            let mut encoder = l.gpu.device().create_command_encoder(&Default::default());
            l.optimizer.step_without(&mut encoder, &["w"])
        }),
        ("load_state_dict", |mut l| l.optimizer.load_state_dict(&l.saved)),
        ("fill", |l| {
            let mut recording = Recording::new();
            gradus::vector::fill(&l.gpu, &mut recording, 1.0, &l.param)?;
            l.gpu.submit([&recording]);
            Ok(())
        }),
    ];
    for (what, work) in returns {
        let found = in_time(what, move || work(lost()));
        assert!(matches!(found, Ok(()) | Err(Error::DeviceLost { .. } | Error::Pipeline { .. })), "{what}: {found:?}");
    }
}

#[test]
fn a_device_lost_during_a_read() {
    let (device, queue) = device(Limits::defaults());
    let gpu = Gpu::new(&device, &queue).unwrap();
    let tensor = Tensor::from_slice(&gpu, &[3], &[1f32, 2.0, 3.0]).unwrap();
    let found = in_time("read", move || {
        let mut read = Box::pin(tensor.read::<f32>(&gpu));
        // this much submits the copy, which may be done at once
        let first = read.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        device.destroy();
        match first {
            Poll::Ready(values) => values,
            Poll::Pending => block_on(read),
        }
    });
    // it may have been there already
    assert!(found.as_ref().is_ok_and(|values| values == &[1.0, 2.0, 3.0]) || matches!(found, Err(Error::DeviceLost { .. })), "{found:?}");
}

// ---- threads

#[test]
fn threads_share_a_gpu() {
    let (device, queue) = {
        let gpu = gpu(Checks::Unchecked);
        (gpu.device().clone(), gpu.queue().clone())
    };
    let train = |gpu: &Gpu| -> Vec<BTreeMap<String, Vec<u8>>> {
        let one = |(_, pair): (_, common::Pair)| {
            let shapes: [&[usize]; 2] = [&[6, 10], &[7]];
            let params = Tensor::arena(gpu, &shapes, DType::F32).unwrap();
            let grads = Tensor::arena(gpu, &shapes, DType::F32).unwrap();
            (0u64..).zip(params.iter().chain(&grads)).for_each(|(i, tensor)| tensor.write(gpu, &noise(i, tensor.len())).unwrap());
            let options = Options { max_norm: Some(1.0), ..Default::default() };
            let optimizer = optimizer(gpu, &*pair.kernel, &params, &grads, &options).unwrap();
            (0..3).for_each(|_| step(gpu, &optimizer));
            snapshot(gpu, &optimizer, &params)
        };
        algorithms().into_iter().map(one).collect()
    };
    let alone = train(&Gpu::new(&device, &queue).unwrap());
    // one that has no pipeline yet, so that all threads make the same ones at once
    let gpu = Gpu::new(&device, &queue).unwrap();
    let start = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        let work = || {
            start.wait();
            train(&gpu)
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), alone));
    });
}
