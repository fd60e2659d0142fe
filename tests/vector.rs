//! Every vector operation against its definition: over lengths, element types, places in memory and
//! special values, with the shaders checked and unchecked.
//!
//! What lies around the tensors in their buffers is NaN in every type, so that a read outside a tensor
//! spoils the result, and it is compared byte by byte afterwards, so that a write outside shows: the
//! other half of the last word of an odd number of 16-bit elements included.
//!
//! Elementwise results are compared bit for bit with f32 arithmetic that rounds to nearest, as every
//! driver known does. Two liberties of WGSL are granted: `y + alpha x` may be fused, and an f32 (hence
//! a bf16) below 2^-126 may be taken as zero of its sign. Denormals of f16 are exact.

mod common;

use std::collections::HashMap;

use common::{f32s, gpu, gpu_for, noise};
use gradus::gpu::{BindingInfo, Checks, KERNELS, Target};
use gradus::reference::{random, rounding, vector as reference};
use gradus::{DType, Error, Gpu, Recording, Result, Tensor, vector};

const CHECKS: [Checks; 2] = [Checks::Unchecked, Checks::Checked];

/// No elements; around a word, a cell of four words and two; around a workgroup's share of 16-bit
/// words; more than a workgroup; several blocks of a reduction, whose blocks are 8,192 words.
const LENGTHS: [usize; 12] = [0, 1, 2, 3, 5, 8, 63, 64, 65, 1023, 4097, 8192 * 4 + 3];

/// Where `x` and `y` begin, in bytes, in a buffer each or in one, where `y` begins that many bytes
/// after the next multiple of 16. Whole cells, ragged ends, `x` and `y` in phase and out of it.
#[derive(Clone, Copy, Debug)]
struct At {
    x: u64,
    y: u64,
    together: bool,
}

impl At {
    fn groups(self) -> Vec<Vec<(usize, u64)>> {
        match self.together {
            true => vec![vec![(0, self.x), (1, self.y)]],
            false => vec![vec![(0, self.x)], vec![(1, self.y)]],
        }
    }
}

const PLACES: [At; 12] = [
    At { x: 0, y: 0, together: false },
    At { x: 4, y: 4, together: false },
    At { x: 8, y: 24, together: false },
    At { x: 12, y: 12, together: false },
    At { x: 20, y: 4, together: false },
    At { x: 0, y: 4, together: false },
    At { x: 12, y: 256, together: false },
    At { x: 20, y: 8, together: false },
    At { x: 0, y: 0, together: true },
    At { x: 4, y: 4, together: true },
    At { x: 8, y: 12, together: true },
    At { x: 264, y: 0, together: true },
];

/// Appends bytes up to a length. As floats of any type they are NaN; those about tensor 0 have their
/// signs set and those about tensor 1 have not, so that neither pass for the other, and they signal, so
/// that no arithmetic leaves them as they are.
fn surround(image: &mut Vec<u8>, tensor: usize, length: usize) {
    for i in image.len()..length {
        let low = 0x81 | (11 * i + 38 * tensor) as u8 & 0x3e;
        image.push(if i % 2 == 0 { low } else { [0xff, 0x7f][tensor % 2] });
    }
}

/// Tensors in buffers, and the buffers' bytes as they were written.
struct Layout {
    tensors: Vec<Tensor>,
    buffers: Vec<(Tensor, Vec<u8>)>,
}

impl Layout {
    /// Of tensors with these types and bytes. A group for each buffer names tensors by index, with the
    /// distance in bytes of each from the buffer's start, or from the next multiple of 16 after the
    /// tensor before.
    fn new(gpu: &Gpu, contents: &[(DType, &[u8])], groups: &[Vec<(usize, u64)>]) -> Self {
        let mut places = vec![None; contents.len()];
        let mut buffers = Vec::new();
        for group in groups {
            let mut image = Vec::new();
            for &(i, distance) in group {
                let (dtype, bytes) = contents[i];
                let offset = image.len().next_multiple_of(16) + distance as usize;
                surround(&mut image, i, offset);
                image.extend_from_slice(bytes);
                places[i] = Some((buffers.len(), offset as u64, dtype, bytes.len() / dtype.size() as usize));
            }
            let length = image.len().next_multiple_of(4) + 20;
            surround(&mut image, group.last().map_or(0, |&(i, _)| i), length);
            let words: Vec<u32> = bytemuck::pod_collect_to_vec(&image);
            buffers.push((Tensor::from_slice(gpu, &[words.len()], &words).unwrap(), image));
        }
        let tensor = |place: Option<(usize, u64, DType, usize)>| {
            let (buffer, offset, dtype, n) = place.expect("each tensor is in a group");
            Tensor::from_buffer(buffers[buffer].0.buffer(), offset, &[n], dtype).unwrap()
        };
        Self { tensors: places.into_iter().map(tensor).collect(), buffers }
    }

    /// The bytes of the tensor that was to be written. All others must be as they were.
    fn read(&self, gpu: &Gpu, written: usize, what: &str) -> Vec<u8> {
        let tensor = &self.tensors[written];
        let mut result = Vec::new();
        for (whole, image) in &self.buffers {
            let words: Vec<u32> = pollster::block_on(whole.read(gpu)).unwrap();
            let found: &[u8] = bytemuck::cast_slice(&words);
            let range = match tensor.shares_buffer(whole) {
                true => tensor.offset() as usize..(tensor.offset() + tensor.bytes()) as usize,
                false => 0..0,
            };
            let outside = |bytes: &[u8]| [&bytes[..range.start], &bytes[range.end..]].concat();
            if outside(found) != outside(image) {
                let changed = (0..image.len()).find(|i| !range.contains(i) && found[*i] != image[*i]);
                panic!("{what}: byte {changed:?} of a buffer changed, and {range:?} was to be written");
            }
            result.extend_from_slice(&found[range]);
        }
        result
    }
}

/// An operand `x` and a result `y`.
fn two(gpu: &Gpu, at: At, x: (DType, &[u8]), y: (DType, &[u8])) -> Layout {
    Layout::new(gpu, &[x, y], &at.groups())
}

fn run(gpu: &Gpu, record: impl FnOnce(&mut Recording) -> Result<()>) {
    let mut recording = Recording::new();
    record(&mut recording).unwrap();
    gpu.submit([&recording]);
}

/// The bytes of values rounded to a type.
fn encode(dtype: DType, values: &[f32]) -> Vec<u8> {
    match dtype {
        DType::F16 => values.iter().flat_map(|&x| rounding::f32_to_f16_nearest(x).to_le_bytes()).collect(),
        DType::Bf16 => values.iter().flat_map(|&x| rounding::f32_to_bf16_nearest(x).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}

fn decode(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        DType::F16 => bytes.as_chunks().0.iter().map(|&b| rounding::f16_to_f32(u16::from_le_bytes(b))).collect(),
        DType::Bf16 => bytes.as_chunks().0.iter().map(|&b| rounding::bf16_to_f32(u16::from_le_bytes(b))).collect(),
        _ => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
    }
}

fn rounded(dtype: DType, x: f32) -> f32 {
    decode(dtype, &encode(dtype, &[x]))[0]
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// Zero of the same sign if `x` is an f32 denormal.
fn flushed(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0f32.copysign(x) } else { x }
}

/// Whether a value found is one of the candidates rounded to the type: NaN for NaN, the same bits
/// otherwise, but that an f32 denormal may be zero.
fn is_one_of(dtype: DType, found: f32, candidates: &[f32]) -> bool {
    candidates.iter().any(|&candidate| {
        let expected = rounded(dtype, candidate);
        let same = found.to_bits() == expected.to_bits() || found.to_bits() == flushed(expected).to_bits();
        same || (found.is_nan() && expected.is_nan())
    })
}

/// Values of every magnitude about the ends of each type's range, on both sides of zero.
fn special() -> Vec<f32> {
    let magnitudes = [
        0.0,
        1.0,
        f32::INFINITY,
        f32::NAN,
        f32::MAX,
        f32::MIN_POSITIVE,
        f32::from_bits(1),
        f32::from_bits(0x007f_ffff),
        // f16: greatest, first that rounds to infinity, least normal, least and greatest denormal
        65504.0,
        65520.0,
        2f32.powi(-14),
        2f32.powi(-24),
        1023.0 * 2f32.powi(-24),
        3.0 * 2f32.powi(-24),
        // half a unit of the least denormal, a tie, and a little more
        2f32.powi(-25),
        2f32.powi(-25).next_up(),
        // ties of f16 and bf16 at one, to below and to above
        1.0 + 2f32.powi(-11),
        1.0 + 3.0 * 2f32.powi(-11),
        1.0 + 2f32.powi(-8),
        1.0 + 3.0 * 2f32.powi(-8),
        // the greatest bf16 and the tie above it
        f32::from_bits(0x7f7f_0000),
        f32::from_bits(0x7f7f_8000),
    ];
    magnitudes.into_iter().flat_map(|x| [x, -x]).collect()
}

/// Noise in (-1, 1) with special values strewn in; all of these in any 1,000 elements.
fn data(dtype: DType, seed: u64, n: usize) -> Vec<u8> {
    let special = special();
    let mut values = noise(seed, n);
    for (i, value) in values.iter_mut().enumerate() {
        if i % 5 == seed as usize % 5 {
            *value = special[(i / 5 + seed as usize) % special.len()];
        }
    }
    encode(dtype, &values)
}

// ---------------------------------------------------------------------------------- elementwise

/// An operation, and the results that are right, in f32, of each element of `x` and of `y` before.
struct Elementwise {
    name: &'static str,
    record: fn(&Gpu, &mut Recording, &Tensor, &Tensor) -> Result<()>,
    candidates: fn(f32, f32) -> Vec<f32>,
}

const ALPHA: f32 = -0.6;

const ELEMENTWISE: [Elementwise; 4] = [
    Elementwise {
        name: "fill",
        record: |gpu, recording, _, y| vector::fill(gpu, recording, f64::from(ALPHA), y),
        candidates: |_, _| vec![ALPHA],
    },
    Elementwise { name: "copy", record: vector::copy, candidates: |x, _| vec![x] },
    Elementwise {
        name: "scale",
        record: |gpu, recording, _, y| vector::scale(gpu, recording, f64::from(ALPHA), y),
        candidates: |_, y| vec![ALPHA * y, ALPHA * flushed(y)],
    },
    Elementwise {
        name: "axpy",
        record: |gpu, recording, x, y| vector::axpy(gpu, recording, f64::from(ALPHA), x, y),
        candidates: |x, y| {
            let sums = |x: f32, y: f32| [y + ALPHA * x, y + flushed(ALPHA * x), ALPHA.mul_add(x, y)];
            [sums(x, y), sums(flushed(x), y), sums(x, flushed(y)), sums(flushed(x), flushed(y))].concat()
        },
    },
];

#[test]
fn elementwise_operations_wherever_tensors_lie() {
    for checks in CHECKS {
        let gpu = gpu(checks);
        for dtype in DType::FLOATS {
            for n in LENGTHS {
                let (x, y) = (data(dtype, 1, n), data(dtype, 2, n));
                let (before_x, before_y) = (decode(dtype, &x), decode(dtype, &y));
                for at in PLACES {
                    for operation in &ELEMENTWISE {
                        let what = format!("{} {dtype}[{n}] {at:?} {checks:?}", operation.name);
                        let two = two(&gpu, at, (dtype, &x), (dtype, &y));
                        run(&gpu, |recording| (operation.record)(&gpu, recording, &two.tensors[0], &two.tensors[1]));
                        let found = two.read(&gpu, 1, &what);
                        if operation.name == "copy" {
                            // as integers: payloads of NaN and denormals too
                            assert_eq!(found, x, "{what}");
                            continue;
                        }
                        for (i, found) in decode(dtype, &found).into_iter().enumerate() {
                            let candidates = (operation.candidates)(before_x[i], before_y[i]);
                            assert!(is_one_of(dtype, found, &candidates), "{what}: element {i} is {found:e}, not {candidates:?}");
                        }
                    }
                }
            }
        }
    }
}

/// What `elementwise_operations_wherever_tensors_lie` takes as right is what the reference says, in
/// f64: within the rounding of the product and that of the sum.
#[test]
fn candidates_are_the_reference_rounded() {
    let (x, y) = (noise(1, 1000), noise(2, 1000));
    let unit = f64::from(f32::EPSILON) / 2.0;
    for operation in &ELEMENTWISE {
        let mut expected = wide(&y);
        match operation.name {
            "fill" => reference::fill(ALPHA.into(), &mut expected),
            "copy" => reference::copy(&wide(&x), &mut expected),
            "scale" => reference::scale(ALPHA.into(), &mut expected),
            _ => reference::axpy(ALPHA.into(), &wide(&x), &mut expected),
        }
        for ((&x, &y), expected) in x.iter().zip(&y).zip(expected) {
            let bound = match operation.name {
                "fill" | "copy" => 0.0,
                "scale" => unit * expected.abs(),
                _ => unit * (expected.abs() + f64::from((ALPHA * x).abs())),
            };
            for candidate in (operation.candidates)(x, y) {
                assert!((f64::from(candidate) - expected).abs() <= bound, "{}({x}, {y})", operation.name);
            }
        }
    }
}

#[test]
fn copies_of_integers() {
    for checks in CHECKS {
        let gpu = gpu(checks);
        for dtype in [DType::U32, DType::U8] {
            for n in LENGTHS {
                let written = n * dtype.size() as usize;
                let bytes: Vec<u8> = (0..written).map(|i| (i * 7 % 251) as u8).collect();
                let zeros = vec![0; written];
                for at in PLACES {
                    let what = format!("copy {dtype}[{n}] {at:?} {checks:?}");
                    let two = two(&gpu, at, (dtype, &bytes), (dtype, &zeros));
                    let [x, y] = [0, 1].map(|i| {
                        let tensor = &two.tensors[i];
                        Tensor::from_buffer(tensor.buffer(), tensor.offset(), &[n], dtype).unwrap()
                    });
                    run(&gpu, |recording| vector::copy(&gpu, recording, &x, &y));
                    let found = two.read(&gpu, 1, &what);
                    let n = y.bytes() as usize;
                    assert_eq!(found[..n], bytes[..n], "{what}");
                }
            }
        }
    }
}

#[test]
fn casts_wherever_tensors_lie() {
    for checks in CHECKS {
        let gpu = gpu(checks);
        for (from, to) in pairs() {
            for n in LENGTHS {
                let x = data(from, 1, n);
                let expected = decode(from, &x);
                let y = vec![0x5a; n * to.size() as usize];
                for at in PLACES {
                    let what = format!("cast {from} to {to} [{n}] {at:?} {checks:?}");
                    let two = two(&gpu, at, (from, &x), (to, &y));
                    run(&gpu, |recording| vector::cast(&gpu, recording, &two.tensors[0], &two.tensors[1]));
                    for (i, found) in decode(to, &two.read(&gpu, 1, &what)).into_iter().enumerate() {
                        assert!(is_one_of(to, found, &expected[i..=i]), "{what}: element {i} is {found:e} for {:e}", expected[i]);
                    }
                }
            }
        }
    }
}

fn pairs() -> impl Iterator<Item = (DType, DType)> {
    DType::FLOATS.into_iter().flat_map(|from| DType::FLOATS.map(|to| (from, to)))
}

/// The result of a cast of patterns in buffers of their own.
fn cast(gpu: &Gpu, from: DType, to: DType, bytes: &[u8]) -> Vec<u8> {
    let n = bytes.len() / from.size() as usize;
    let y = vec![0; n * to.size() as usize];
    let two = two(gpu, PLACES[0], (from, bytes), (to, &y));
    run(gpu, |recording| vector::cast(gpu, recording, &two.tensors[0], &two.tensors[1]));
    two.read(gpu, 1, "cast")
}

#[test]
fn casts_of_every_pattern_of_16_bits() {
    let patterns: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for checks in CHECKS {
        let gpu = gpu(checks);
        for (from, to) in pairs().filter(|(from, _)| *from != DType::F32) {
            let found = decode(to, &cast(&gpu, from, to, &patterns));
            assert_eq!(found.len(), 1 << 16);
            for (pattern, (found, expected)) in found.into_iter().zip(decode(from, &patterns)).enumerate() {
                assert!(is_one_of(to, found, &[expected]), "{from} {pattern:#06x} to {to}: {found:e} for {expected:e}");
                // the type itself, and f16 as f32, leave no liberty
                if from == to || (from == DType::F16 && to == DType::F32) {
                    assert!(found.to_bits() == expected.to_bits() || expected.is_nan(), "{from} {pattern:#06x}: {found:e}");
                }
            }
        }
    }
}

/// Patterns of f32: every exponent with fractions about the ties of both types; every tie of both
/// types, its neighbours, and the values between which it lies; and 100,000 at random.
fn patterns() -> Vec<f32> {
    let fractions = [
        0x0, 0x1, 0xfff, 0x1000, 0x1001, 0x1fff, 0x2000, 0x2fff, 0x3000, 0x3001, 0x7fff, 0x8000, 0x8001, 0xffff, 0x1_0000, 0x1_7fff,
        0x1_8000, 0x1_8001, 0x3f_ffff, 0x40_0000, 0x55_5555, 0x7f_7fff, 0x7f_8000, 0x7f_efff, 0x7f_f000, 0x7f_ffff,
    ];
    let exponents = (0..=255u32).flat_map(|exponent| fractions.map(|fraction| exponent << 23 | fraction));
    let ties_of_f16 = (0..0x7c00).flat_map(|h| {
        // the value past the greatest would be 65536, where the tie to infinity is taken
        let next = if h == 0x7bff { 65536.0 } else { rounding::f16_to_f32(h + 1) };
        let tie = 0.5 * (rounding::f16_to_f32(h) + next);
        [rounding::f16_to_f32(h), tie.next_down(), tie, tie.next_up()].map(f32::to_bits)
    });
    let ties_of_bf16 = (0..0x7f80u32).flat_map(|h| [h << 16, h << 16 | 0x7fff, h << 16 | 0x8000, h << 16 | 0x8001]);
    let at_random = (0..25_000).flat_map(|i| random::philox4x32([i, 0, 0, 0], [3, 5]));
    let magnitudes = exponents.chain(ties_of_f16).chain(ties_of_bf16);
    magnitudes.flat_map(|bits| [bits, bits | 1 << 31]).chain(at_random).map(f32::from_bits).collect()
}

#[test]
fn casts_round_to_nearest_even() {
    let patterns = patterns();
    let bytes = encode(DType::F32, &patterns);
    for checks in CHECKS {
        let gpu = gpu(checks);
        for to in [DType::F16, DType::Bf16] {
            let found = cast(&gpu, DType::F32, to, &bytes);
            let expected = encode(to, &patterns);
            for (i, found) in decode(to, &found).into_iter().enumerate() {
                let x = patterns[i];
                assert!(is_one_of(to, found, &[x]), "{x:e} ({:#010x}) to {to}: {found:e}", x.to_bits());
            }
            // but for NaN and f32 denormals, where the above has its liberties, the bits are these
            let ordinary = |i: usize| !patterns[i].is_nan() && flushed(patterns[i]) == patterns[i];
            for (i, (found, expected)) in found.chunks_exact(2).zip(expected.chunks_exact(2)).enumerate() {
                assert!(found == expected || !ordinary(i), "{:e} to {to}: {found:x?} for {expected:x?}", patterns[i]);
            }
        }
    }
}

#[test]
fn scalars_on_the_device_wherever_they_lie() {
    const X: usize = 0;
    const Y: usize = 1;
    const ALPHA_AT: usize = 2;
    type Record = fn(&Gpu, &mut Recording, &Tensor, &Tensor, &Tensor) -> Result<()>;
    let operations: [(&str, Record); 3] = [
        ("fill", |gpu, recording, alpha, _, y| vector::fill(gpu, recording, alpha, y)),
        ("scale", |gpu, recording, alpha, _, y| vector::scale(gpu, recording, alpha, y)),
        ("axpy", |gpu, recording, alpha, x, y| vector::axpy(gpu, recording, alpha, x, y)),
    ];
    let layouts = [
        vec![vec![(X, 0)], vec![(Y, 4)], vec![(ALPHA_AT, 0)]],
        vec![vec![(X, 0)], vec![(Y, 4)], vec![(ALPHA_AT, 4)]],
        vec![vec![(X, 0)], vec![(Y, 4)], vec![(ALPHA_AT, 256)]],
        vec![vec![(ALPHA_AT, 0), (X, 0)], vec![(Y, 4)]],
        vec![vec![(X, 0)], vec![(ALPHA_AT, 0), (Y, 4)]],
        vec![vec![(X, 0)], vec![(Y, 0), (ALPHA_AT, 8)]],
        vec![vec![(X, 0), (Y, 0)], vec![(ALPHA_AT, 0)]],
        vec![vec![(Y, 12), (ALPHA_AT, 0), (X, 4)]],
    ];
    for checks in CHECKS {
        let gpu = gpu(checks);
        for dtype in DType::FLOATS {
            let (x, y) = (encode(dtype, &noise(1, 37)), encode(dtype, &noise(2, 37)));
            // only the first element counts
            let alpha = encode(DType::F32, &[ALPHA, 7.0]);
            for (name, record) in operations {
                let expected = two(&gpu, PLACES[0], (dtype, &x), (dtype, &y));
                let operation = ELEMENTWISE.iter().find(|operation| operation.name == name).unwrap();
                run(&gpu, |recording| (operation.record)(&gpu, recording, &expected.tensors[X], &expected.tensors[Y]));
                let expected = expected.read(&gpu, Y, name);
                for groups in &layouts {
                    let what = format!("{name} {dtype} {groups:?} {checks:?}");
                    let layout = Layout::new(&gpu, &[(dtype, &x), (dtype, &y), (DType::F32, &alpha)], groups);
                    let [x, y, alpha] = &layout.tensors[..] else { unreachable!("three were given") };
                    run(&gpu, |recording| record(&gpu, recording, alpha, x, y));
                    assert_eq!(layout.read(&gpu, Y, &what), expected, "{what}");
                }
            }
        }
    }
}

/// A scalar on the device is read when the recording runs, each time.
#[test]
fn scalars_on_the_device_may_change() {
    let gpu = gpu(Checks::Unchecked);
    let own = Tensor::zeros(&gpu, &[1], DType::F32).unwrap();
    let pair = Tensor::zeros(&gpu, &[2], DType::F32).unwrap();
    let second = Tensor::from_buffer(pair.buffer(), 4, &[1], DType::F32).unwrap();
    for alpha in [own, second] {
        let y = Tensor::from_slice(&gpu, &[5], &[1f32, 2.0, 3.0, -4.0, 0.5]).unwrap();
        let mut recording = Recording::new();
        vector::scale(&gpu, &mut recording, &alpha, &y).unwrap();
        for value in [2f32, -0.25, 3.0] {
            alpha.write(&gpu, &[value]).unwrap();
            gpu.submit([&recording]);
        }
        assert_eq!(pollster::block_on(y.read::<f32>(&gpu)).unwrap(), [-1.5, -3.0, -4.5, 6.0, -0.75]);
    }
}

// ----------------------------------------------------------------------------------- reductions

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reduction {
    Dot,
    Norm,
    Max,
}

const REDUCTIONS: [Reduction; 3] = [Reduction::Dot, Reduction::Norm, Reduction::Max];

impl Reduction {
    fn record(self, gpu: &Gpu, recording: &mut Recording, x: &Tensor, y: &Tensor, out: &Tensor) -> Result<()> {
        match self {
            Self::Dot => vector::dot(gpu, recording, x, y, out),
            Self::Norm => vector::norm(gpu, recording, x, out),
            Self::Max => vector::max_magnitude(gpu, recording, x, out),
        }
    }

    fn reference(self, x: &[f64], y: &[f64]) -> f64 {
        match self {
            Self::Dot => reference::dot(x, y),
            Self::Norm => reference::norm(x),
            Self::Max => reference::max_magnitude(x),
        }
    }

    /// How far f32 may be from the reference.
    ///
    /// A term passes through at most D roundings: 1 of the product, 1 where a word has two products, 8
    /// of an invocation's share of a block (2,048 cells by 256), 8 + 32 of the tree over 256
    /// invocations, 2 of the four lanes, then blocks / 256, 8 + 32 and 2 of the second dispatch. So
    /// the error of the sum is at most γ Σ|x_i y_i|, γ = D u / (1 - D u), u = 2^-24 (Higham, Accuracy
    /// and Stability of Numerical Algorithms, 2002, section 3.1). The root halves a relative error,
    /// and adds its own: 4 units, of which WGSL grants 3 and the comparison in f64 takes none.
    fn bound(self, dtype: DType, x: &[f64], y: &[f64]) -> f64 {
        let unit = f64::from(f32::EPSILON) / 2.0;
        let blocks = (x.len() as u64 * dtype.size()).div_ceil(4 * 8192);
        let roundings = (94 + blocks.div_ceil(256)) as f64 * unit;
        let gamma = roundings / (1.0 - roundings);
        match self {
            Self::Dot => gamma * x.iter().zip(y).map(|(x, y)| (x * y).abs()).sum::<f64>(),
            Self::Norm => (gamma / 2.0 + 4.0 * unit) * reference::norm(x),
            Self::Max => 0.0,
        }
    }
}

/// Where x, y and the result lie.
fn reduction_layouts() -> Vec<Vec<Vec<(usize, u64)>>> {
    const OUT: usize = 2;
    let mut layouts: Vec<_> = PLACES.iter().map(|at| at.groups()).collect();
    for (i, groups) in layouts.iter_mut().enumerate() {
        // in a buffer of its own, at the start, where a binding may begin, and elsewhere; with operands
        match i % 5 {
            0 => groups.push(vec![(OUT, 0)]),
            1 => groups.push(vec![(OUT, 256)]),
            2 => groups.push(vec![(OUT, 4)]),
            3 => groups[0].push((OUT, 0)),
            _ => groups[0].insert(0, (OUT, 0)),
        }
    }
    layouts
}

/// The bits of the results of all reductions, in f32, of x and y so placed.
fn reduce(gpu: &Gpu, dtype: DType, x: &[u8], y: &[u8], groups: &[Vec<(usize, u64)>], what: &str) -> [f32; 3] {
    REDUCTIONS.map(|reduction| {
        let what = format!("{reduction:?} {what}");
        let layout = Layout::new(gpu, &[(dtype, x), (dtype, y), (DType::F32, &[0x5a; 4])], groups);
        let [x, y, out] = &layout.tensors[..] else { unreachable!("three were given") };
        run(gpu, |recording| reduction.record(gpu, recording, x, y, out));
        decode(DType::F32, &layout.read(gpu, 2, &what))[0]
    })
}

#[test]
fn reductions_wherever_tensors_lie() {
    // of the first run, which all later ones of the same numbers must repeat
    let mut first: HashMap<(DType, usize, bool), [u32; 3]> = HashMap::new();
    for checks in CHECKS {
        let gpu = gpu(checks);
        for dtype in DType::FLOATS {
            for n in LENGTHS {
                for integers in [false, true] {
                    // sums of products of integers up to 8 are below 2^24: f32 has them exactly
                    let values = |seed| match integers {
                        true => noise(seed, n).into_iter().map(|x| (8.0 * x).round()).collect(),
                        false => noise(seed, n),
                    };
                    let (x, y) = (encode(dtype, &values(3)), encode(dtype, &values(4)));
                    let (wide_x, wide_y) = (wide(&decode(dtype, &x)), wide(&decode(dtype, &y)));
                    for groups in reduction_layouts() {
                        let what = format!("{dtype}[{n}] {groups:?} {checks:?}");
                        let found = reduce(&gpu, dtype, &x, &y, &groups, &what);
                        for (reduction, found) in REDUCTIONS.into_iter().zip(found) {
                            let expected = reduction.reference(&wide_x, &wide_y);
                            let bound = match reduction {
                                Reduction::Dot if integers => 0.0,
                                // but for the root
                                Reduction::Norm if integers => 2.0 * f64::from(f32::EPSILON) * expected,
                                _ => reduction.bound(dtype, &wide_x, &wide_y),
                            };
                            let error = (f64::from(found) - expected).abs();
                            assert!(error <= bound, "{reduction:?} {what}: {found} for {expected}, error {error:e}, bound {bound:e}");
                        }
                        let found = found.map(f32::to_bits);
                        assert_eq!(*first.entry((dtype, n, integers)).or_insert(found), found, "{what}: the same numbers elsewhere");
                    }
                }
            }
        }
    }
}

/// Every special value in each position of short tensors, where words and cells end.
#[test]
fn maxima_are_exact() {
    for checks in CHECKS {
        let gpu = gpu(checks);
        for dtype in DType::FLOATS {
            let mut contents = Vec::new();
            for n in [1, 2, 5, 8, 17] {
                for value in special() {
                    for position in 0..n {
                        // all others are less, or zero
                        let mut values: Vec<f32> = noise(5, n).into_iter().map(|x| x * 2f32.powi(-20)).collect();
                        if value.abs() < 2f32.powi(-20) {
                            values.fill(-0.0);
                        }
                        values[position] = value;
                        contents.push(encode(dtype, &values));
                    }
                }
            }
            let count = contents.len();
            let tensors: Vec<(DType, &[u8])> = contents.iter().map(|x| (dtype, x.as_slice())).collect();
            let layout = Layout::new(&gpu, &tensors, &[(0..count).map(|i| (i, 4)).collect()]);
            let results = Tensor::zeros(&gpu, &[64 * count], DType::F32).unwrap();
            run(&gpu, |recording| {
                for (i, x) in layout.tensors.iter().enumerate() {
                    let result = Tensor::from_buffer(results.buffer(), 256 * i as u64, &[1], DType::F32)?;
                    vector::max_magnitude(&gpu, recording, x, &result)?;
                }
                Ok(())
            });
            let found = pollster::block_on(results.read::<f32>(&gpu)).unwrap();
            for (found, x) in found.chunks_exact(64).zip(&contents) {
                let x = decode(dtype, x);
                let expected = reference::max_magnitude(&wide(&x)) as f32;
                assert!(is_one_of(DType::F32, found[0], &[expected]), "{dtype} {x:?} {checks:?}: {}", found[0]);
                // the values of f16 are ordinary numbers of f32
                assert!(dtype != DType::F16 || found[0] == expected || expected.is_nan(), "{x:?} {checks:?}: {}", found[0]);
            }
        }
    }
}

#[test]
fn sums_of_special_values() {
    let (infinity, nan) = (f32::INFINITY, f32::NAN);
    // x, y, ⟨x, y⟩ and ‖x‖
    let table: [(&[f32], &[f32], f32, f32); 8] = [
        (&[-0.0, 0.0, -0.0], &[1.0, -0.0, 2.0], 0.0, 0.0),
        (&[1.0, nan, 1.0, 1.0, 1.0], &[1.0; 5], nan, nan),
        (&[1.0; 5], &[1.0, 1.0, 1.0, 1.0, nan], nan, 5f32.sqrt()),
        (&[infinity, 1.0, 0.0], &[2.0, 1.0, 1.0], infinity, infinity),
        (&[-infinity, 1.0, 0.0], &[2.0, 1.0, 1.0], -infinity, infinity),
        (&[infinity, 1.0, 0.0], &[0.0, 1.0, 1.0], nan, infinity),
        (&[infinity, -infinity, 0.0], &[1.0; 3], nan, infinity),
        // least values of f16, whose squares are ordinary numbers of f32
        (&[5.960_464_5e-8; 4], &[5.960_464_5e-8; 4], 1.421_085_5e-14, 1.192_092_9e-7),
    ];
    for checks in CHECKS {
        let gpu = gpu(checks);
        for dtype in DType::FLOATS {
            for (x, y, dot, norm) in table {
                let found = reduce(&gpu, dtype, &encode(dtype, x), &encode(dtype, y), &reduction_layouts()[0], "special");
                for (found, expected) in found.into_iter().zip([dot, norm]) {
                    let near = (found - expected).abs() <= 4.0 * f32::EPSILON * expected.abs();
                    let same = found == expected || (found.is_nan() && expected.is_nan());
                    assert!(near || same, "{dtype} {x:?} {y:?} {checks:?}: {found} for {expected}");
                }
            }
        }
    }
    // norms whose squares are beyond the range of f32
    let gpu = gpu(Checks::Unchecked);
    let norm = |x: f32| reduce(&gpu, DType::F32, &encode(DType::F32, &[x]), &encode(DType::F32, &[x]), &reduction_layouts()[0], "norm")[1];
    for x in [1e-37f32, 1e-23, 1e-18, 1.8e19, 1.9e19, 3e38] {
        assert!((norm(x) / x - 1.0).abs() < 1e-6, "{x}: {}", norm(x));
    }
}

/// x and y may be one tensor, or overlap, as both are only read.
#[test]
fn operands_of_a_product_may_overlap() {
    let gpu = gpu(Checks::Unchecked);
    let values: Vec<f32> = (0..9).map(|i| i as f32).collect();
    let whole = Tensor::from_slice(&gpu, &[9], &values).unwrap();
    let [head, tail] = [0, 4].map(|offset| Tensor::from_buffer(whole.buffer(), offset, &[8], DType::F32).unwrap());
    let out = Tensor::zeros(&gpu, &[1], DType::F32).unwrap();
    for (x, y, expected) in [(&whole, &whole, 204.0), (&head, &tail, 168.0), (&tail, &head, 168.0)] {
        run(&gpu, |recording| vector::dot(&gpu, recording, x, y, &out));
        assert_eq!(common::read(&gpu, &out), [expected]);
    }
}

#[test]
fn results_of_reductions_may_have_any_shape_of_one_element() {
    let gpu = gpu(Checks::Unchecked);
    let x = Tensor::from_slice(&gpu, &[3], &[2f32, -3.0, 6.0]).unwrap();
    for (shape, expected) in [(&[] as &[usize], [7.0, 6.0]), (&[1], [7.0, 6.0]), (&[1, 1, 1], [7.0, 6.0])] {
        let out = Tensor::zeros(&gpu, shape, DType::F32).unwrap();
        run(&gpu, |recording| vector::norm(&gpu, recording, &x, &out));
        assert_eq!(common::read(&gpu, &out), expected[..1]);
        run(&gpu, |recording| vector::max_magnitude(&gpu, recording, &x, &out));
        assert_eq!(common::read(&gpu, &out), expected[1..]);
    }
}

// --------------------------------------------------------------------------------------- random

#[test]
fn random_numbers_are_those_of_the_reference() {
    type Record = fn(&Gpu, &mut Recording, u64, u32, &Tensor) -> Result<()>;
    type Reference = fn(u64, u32, usize) -> Vec<f32>;
    let table: [(&str, Record, Reference); 2] =
        [("uniform", vector::random_uniform, random::uniform), ("rademacher", vector::random_rademacher, random::rademacher)];
    for checks in CHECKS {
        let gpu = gpu(checks);
        for (name, record, reference) in table {
            for dtype in DType::FLOATS {
                for n in LENGTHS {
                    for (offset, seed, stream) in
                        [(0, 0, 0), (4, 1, 2), (8, u64::MAX, 3), (12, 0x0123_4567_89ab_cdef, u32::MAX), (20, 1 << 32, 0)]
                    {
                        let what = format!("{name} {dtype}[{n}] at {offset}, seed {seed}, stream {stream} {checks:?}");
                        let y = vec![0x5a; n * dtype.size() as usize];
                        let layout = Layout::new(&gpu, &[(dtype, &y)], &[vec![(0, offset)]]);
                        run(&gpu, |recording| record(&gpu, recording, seed, stream, &layout.tensors[0]));
                        let found = layout.read(&gpu, 0, &what);
                        assert!(found == encode(dtype, &reference(seed, stream, n)), "{what}");
                    }
                }
            }
        }
    }
}

/// Mean and variance within five standard deviations of theirs, over 100,000 elements.
#[test]
fn random_numbers_have_their_mean_and_variance() {
    let gpu = gpu(Checks::Unchecked);
    let n = 100_000;
    for dtype in DType::FLOATS {
        let y = Tensor::zeros(&gpu, &[n], dtype).unwrap();
        // mean, variance, fourth central moment; how far rounding to bf16 may move the first two
        let moments = [(0.5, 1.0 / 12.0, 1.0 / 80.0), (0.0, 1.0, 1.0)];
        for (uniform, (mean, variance, fourth)) in [true, false].into_iter().zip(moments) {
            let record = if uniform { vector::random_uniform } else { vector::random_rademacher };
            run(&gpu, |recording| record(&gpu, recording, 11, 0, &y));
            let found = common::read(&gpu, &y);
            assert!(found.iter().all(|x| if uniform { (0.0..=1.0).contains(x) } else { x.abs() == 1.0 }), "{dtype}");
            let found_mean = found.iter().sum::<f64>() / n as f64;
            let found_variance = found.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
            let deviations = [(variance / n as f64).sqrt(), ((fourth - variance * variance) / n as f64).sqrt()];
            assert!((found_mean - mean).abs() <= 5.0 * deviations[0], "{dtype} uniform {uniform}: mean {found_mean}");
            assert!((found_variance - variance).abs() <= 5.0 * deviations[1], "{dtype} uniform {uniform}: variance {found_variance}");
        }
    }
}

// ------------------------------------------------------------------------------------ long ones

/// On a device whose bindings are 64 KiB, longer tensors take several dispatches, and the results are
/// those of one.
#[test]
fn tensors_longer_than_a_binding() {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::defaults() };
    let (device, queue) = common::device(limits);
    let small = Gpu::new(&device, &queue).unwrap();
    let large = gpu(Checks::Unchecked);
    for dtype in [DType::F32, DType::F16] {
        // three bindings and a bit, the last word of 16-bit types half empty
        let n = (3 << 16) / dtype.size() as usize + 1027;
        let (x, y) = (encode(dtype, &noise(6, n)), encode(dtype, &noise(7, n)));
        for at in [PLACES[1], PLACES[5], PLACES[10]] {
            let mut dispatches = 0;
            let mut both = |name: &str, record: &dyn Fn(&Gpu, &mut Recording, &Tensor, &Tensor) -> Result<()>| {
                let results = [&small, &large].map(|gpu| {
                    let two = two(gpu, at, (dtype, &x), (dtype, &y));
                    let mut recording = Recording::new();
                    record(gpu, &mut recording, &two.tensors[0], &two.tensors[1]).unwrap();
                    dispatches = dispatches.max(recording.len());
                    gpu.submit([&recording]);
                    two.read(gpu, 1, name)
                });
                assert!(results[0] == results[1], "{name} {dtype}[{n}] {at:?}");
            };
            for operation in &ELEMENTWISE {
                both(operation.name, &|gpu, recording, x, y| (operation.record)(gpu, recording, x, y));
            }
            both("uniform", &|gpu, recording, _, y| vector::random_uniform(gpu, recording, 3, 1, y));
            both("cast", &|gpu, recording, x, y| vector::cast(gpu, recording, x, y));
            assert!(dispatches >= 4);
        }
        for groups in [&reduction_layouts()[0], &reduction_layouts()[5]] {
            let results = [&small, &large].map(|gpu| reduce(gpu, dtype, &x, &y, groups, "long").map(f32::to_bits));
            assert_eq!(results[0], results[1], "{dtype}[{n}] {groups:?}");
        }
        for to in [DType::F32, DType::Bf16] {
            assert!(cast(&small, dtype, to, &x) == cast(&large, dtype, to, &x), "cast {dtype}[{n}] to {to}");
        }
    }
}

/// More than one element for each invocation of the most workgroups that a dispatch may have.
#[test]
fn more_elements_than_invocations() {
    let gpu = gpu(Checks::Unchecked);
    // below 2^24, so that f32 counts them exactly
    let n = 65_535 * 256 + 131;
    let x = Tensor::zeros(&gpu, &[n], DType::F32).unwrap();
    let last = Tensor::from_buffer(x.buffer(), x.bytes() - 4, &[1], DType::F32).unwrap();
    let [dot, max] = [0, 1].map(|_| Tensor::zeros(&gpu, &[1], DType::F32).unwrap());
    run(&gpu, |recording| {
        vector::fill(&gpu, recording, 1.0, &x)?;
        vector::dot(&gpu, recording, &x, &x, &dot)?;
        vector::max_magnitude(&gpu, recording, &x, &max)
    });
    assert_eq!([common::read(&gpu, &dot), common::read(&gpu, &max)].concat(), [n as f64, 1.0]);
    run(&gpu, |recording| {
        vector::scale(&gpu, recording, -3.0, &last)?;
        vector::dot(&gpu, recording, &x, &x, &dot)?;
        vector::max_magnitude(&gpu, recording, &x, &max)
    });
    assert_eq!([common::read(&gpu, &dot), common::read(&gpu, &max)].concat(), [n as f64 + 8.0, 3.0]);
}

// ---------------------------------------------------------------------------- bytes and errors

#[test]
fn recordings_count_the_bytes_they_move() {
    type Record = fn(&Gpu, &mut Recording, &Tensor, &Tensor, &Tensor) -> Result<()>;
    struct Row {
        name: &'static str,
        /// How often each element is moved.
        times: u64,
        record: Record,
    }
    let row = |name, times, record| Row { name, times, record };
    let table = [
        row("fill", 1, |gpu, recording, _, y, _| vector::fill(gpu, recording, 1.0, y)),
        row("copy", 2, |gpu, recording, x, y, _| vector::copy(gpu, recording, x, y)),
        row("scale", 2, |gpu, recording, _, y, _| vector::scale(gpu, recording, 2.0, y)),
        row("axpy", 3, |gpu, recording, x, y, _| vector::axpy(gpu, recording, 2.0, x, y)),
        row("cast", 2, |gpu, recording, x, y, _| vector::cast(gpu, recording, x, y)),
        row("random_uniform", 1, |gpu, recording, _, y, _| vector::random_uniform(gpu, recording, 1, 2, y)),
        row("random_rademacher", 1, |gpu, recording, _, y, _| vector::random_rademacher(gpu, recording, 1, 2, y)),
        row("dot", 2, vector::dot),
        row("norm", 1, |gpu, recording, x, _, out| vector::norm(gpu, recording, x, out)),
        row("max_magnitude", 1, |gpu, recording, x, _, out| vector::max_magnitude(gpu, recording, x, out)),
    ];
    let gpu = gpu(Checks::Unchecked);
    for dtype in DType::FLOATS {
        // whole cells, and ragged ends
        for (n, offset) in [(16384, 0), (16382, 4)] {
            let zeros = vec![0; n * dtype.size() as usize];
            let groups = [vec![(0, offset)], vec![(1, offset)], vec![(2, 0)]];
            let layout = Layout::new(&gpu, &[(dtype, &zeros), (dtype, &zeros), (DType::F32, &[0; 4])], &groups);
            let [x, y, out] = &layout.tensors[..] else { unreachable!("three were given") };
            for Row { name, times, record } in &table {
                let mut recording = Recording::new();
                record(&gpu, &mut recording, x, y, out).unwrap();
                let bindings = || recording.dispatches().flat_map(|dispatch| dispatch.bindings);
                let found: u64 = bindings().filter(|binding| ["x", "y"].contains(&binding.name)).map(BindingInfo::moved).sum();
                let expected = times * n as u64 * dtype.size();
                // a reduction with no words left over binds another one in the place of each operand
                assert!((expected..=expected + 8).contains(&found), "{name} {dtype}[{n}]: {found} for {expected}");
                // constants, the scalar, and a partial result for each 32 KiB, twice or three times
                let all = recording.bytes();
                assert!(all <= found + 256, "{name} {dtype}[{n}]: {all} in all for {found}");
            }
        }
    }
}

#[test]
fn empty_tensors_take_no_dispatch_but_reductions_of_them_are_zero() {
    let gpu = gpu(Checks::Unchecked);
    for dtype in DType::FLOATS {
        let [x, y] = [0, 1].map(|_| Tensor::zeros(&gpu, &[4, 0], dtype).unwrap());
        let mut recording = Recording::new();
        for operation in &ELEMENTWISE {
            (operation.record)(&gpu, &mut recording, &x, &y).unwrap();
        }
        vector::cast(&gpu, &mut recording, &x, &y).unwrap();
        vector::random_uniform(&gpu, &mut recording, 1, 2, &y).unwrap();
        assert!(recording.is_empty(), "{recording:?}");
        let found = reduce(&gpu, dtype, &[], &[], &reduction_layouts()[0], "empty");
        assert_eq!(found.map(f32::to_bits), [0; 3], "{dtype}");
    }
}

#[test]
fn errors_name_what_is_wrong_and_record_nothing() {
    let gpu = gpu(Checks::Unchecked);
    let tensor = |shape: &[usize], dtype| Tensor::zeros(&gpu, shape, dtype).unwrap();
    let whole = tensor(&[16], DType::F32);
    let part = |first: u64, n: usize| Tensor::from_buffer(whole.buffer(), 4 * first, &[n], DType::F32).unwrap();
    let (x, y, square) = (tensor(&[4], DType::F32), tensor(&[4], DType::F32), tensor(&[2, 2], DType::F32));
    let (short, half, brain) = (tensor(&[3], DType::F32), tensor(&[4], DType::F16), tensor(&[4], DType::Bf16));
    let (integers, bytes) = (tensor(&[4], DType::U32), tensor(&[4], DType::U8));
    let (out, out_half) = (tensor(&[1], DType::F32), tensor(&[1], DType::F16));
    let (first, second) = (part(0, 4), part(3, 4));
    let half_of_first = Tensor::from_buffer(whole.buffer(), 8, &[4], DType::F16).unwrap();

    // the operation, the error that it gives, and the tensors that this names
    let gpu = &gpu;
    type Record<'a> = Box<dyn Fn(&mut Recording) -> Result<()> + 'a>;
    let table: Vec<(&str, Record)> = vec![
        ("shape x", Box::new(|r| vector::copy(gpu, r, &short, &y))),
        ("shape x", Box::new(|r| vector::copy(gpu, r, &x, &square))),
        ("type x", Box::new(|r| vector::copy(gpu, r, &half, &brain))),
        ("type x", Box::new(|r| vector::copy(gpu, r, &x, &integers))),
        ("overlap x y", Box::new(|r| vector::copy(gpu, r, &first, &second))),
        ("overlap x y", Box::new(|r| vector::copy(gpu, r, &x, &x))),
        ("overlap x y", Box::new(|r| vector::copy(gpu, r, &bytes, &bytes))),
        ("shape x", Box::new(|r| vector::axpy(gpu, r, 1.0, &short, &y))),
        ("shape x", Box::new(|r| vector::axpy(gpu, r, 1.0, &square, &y))),
        ("type x", Box::new(|r| vector::axpy(gpu, r, 1.0, &half, &y))),
        ("type y", Box::new(|r| vector::axpy(gpu, r, 1.0, &integers, &integers))),
        ("overlap x y", Box::new(|r| vector::axpy(gpu, r, 1.0, &second, &first))),
        ("overlap x y", Box::new(|r| vector::axpy(gpu, r, 1.0, &y, &y))),
        ("type alpha", Box::new(|r| vector::axpy(gpu, r, &half, &x, &y))),
        ("overlap alpha y", Box::new(|r| vector::axpy(gpu, r, &y, &x, &y))),
        ("overlap alpha y", Box::new(|r| vector::axpy(gpu, r, &part(3, 1), &x, &first))),
        ("type y", Box::new(|r| vector::fill(gpu, r, 1.0, &integers))),
        ("type alpha", Box::new(|r| vector::fill(gpu, r, &integers, &y))),
        ("overlap alpha y", Box::new(|r| vector::fill(gpu, r, &y, &y))),
        ("type y", Box::new(|r| vector::scale(gpu, r, 1.0, &bytes))),
        ("type alpha", Box::new(|r| vector::scale(gpu, r, &brain, &y))),
        ("overlap alpha y", Box::new(|r| vector::scale(gpu, r, &y, &y))),
        ("shape x", Box::new(|r| vector::cast(gpu, r, &short, &half))),
        ("type x", Box::new(|r| vector::cast(gpu, r, &integers, &y))),
        ("type y", Box::new(|r| vector::cast(gpu, r, &x, &bytes))),
        ("overlap x y", Box::new(|r| vector::cast(gpu, r, &half_of_first, &first))),
        ("type y", Box::new(|r| vector::random_uniform(gpu, r, 1, 2, &integers))),
        ("type y", Box::new(|r| vector::random_rademacher(gpu, r, 1, 2, &bytes))),
        ("shape x", Box::new(|r| vector::dot(gpu, r, &short, &y, &out))),
        ("shape x", Box::new(|r| vector::dot(gpu, r, &x, &square, &out))),
        ("shape x", Box::new(|r| vector::dot(gpu, r, &part(0, 5), &second, &out))),
        ("type x", Box::new(|r| vector::dot(gpu, r, &half, &y, &out))),
        ("type x", Box::new(|r| vector::dot(gpu, r, &half_of_first, &first, &out))),
        ("type y", Box::new(|r| vector::dot(gpu, r, &x, &integers, &out))),
        ("type out", Box::new(|r| vector::dot(gpu, r, &x, &y, &out_half))),
        ("shape out", Box::new(|r| vector::dot(gpu, r, &x, &y, &short))),
        ("overlap x out", Box::new(|r| vector::dot(gpu, r, &first, &y, &part(3, 1)))),
        ("overlap y out", Box::new(|r| vector::dot(gpu, r, &x, &first, &part(0, 1)))),
        ("type x", Box::new(|r| vector::norm(gpu, r, &integers, &out))),
        ("shape out", Box::new(|r| vector::norm(gpu, r, &x, &part(0, 0)))),
        ("overlap x out", Box::new(|r| vector::norm(gpu, r, &first, &part(1, 1)))),
        ("type x", Box::new(|r| vector::max_magnitude(gpu, r, &bytes, &out))),
        ("type out", Box::new(|r| vector::max_magnitude(gpu, r, &x, &out_half))),
        ("overlap x out", Box::new(|r| vector::max_magnitude(gpu, r, &first, &part(2, 1)))),
    ];
    for (row, (expected, record)) in table.iter().enumerate() {
        let mut recording = Recording::new();
        let found = match record(&mut recording) {
            Ok(()) => "none".to_owned(),
            Err(Error::Shape { tensor, .. }) => format!("shape {tensor}"),
            Err(Error::DType { tensor, .. }) => format!("type {tensor}"),
            Err(Error::Overlap { first, second }) => format!("overlap {first} {second}"),
            Err(other) => other.to_string(),
        };
        assert_eq!(found, *expected, "row {row}");
        assert!(recording.is_empty(), "row {row}: {recording:?}");
    }
}

/// A device of its own, so that no other test has made its pipelines.
#[test]
fn kernels_are_known_by_their_files() {
    let gpu = gpu_for(Target::discrete());
    assert!(gpu.kernels().is_empty());
    let (x, out) = (f32s(&gpu, &[5]), f32s(&gpu, &[1]));
    let mut recording = Recording::new();
    vector::fill(&gpu, &mut recording, 1.0, &x).unwrap();
    vector::dot(&gpu, &mut recording, &x, &x, &out).unwrap();
    vector::fill(&gpu, &mut recording, 2.0, &x).unwrap();
    assert_eq!(gpu.kernels(), ["vector/dot", "vector/fill"]);
    let file = |name: &&str| std::fs::exists(format!("{}/shaders/{name}.wgsl", env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert!(KERNELS.iter().all(file) && KERNELS.is_sorted(), "{KERNELS:?}");
    // of the features that are on, and no others
    let features = [
        ("curvature", cfg!(feature = "curvature")),
        ("graph", cfg!(feature = "graph")),
        ("krylov", cfg!(feature = "krylov")),
        ("optim", cfg!(feature = "optim")),
        ("poisson", cfg!(feature = "poisson")),
        ("vector", true),
    ];
    for (module, on) in features {
        assert_eq!(KERNELS.iter().any(|name| name.split('/').next() == Some(module)), on, "{module}");
    }
}
