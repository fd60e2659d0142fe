//! Elementwise operations.

use std::ops::Range;

use crate::gpu::work::looped;
use crate::gpu::{Bind, DType, Gpu, KernelSource, Recording, Tensor, Work, binding_alignment};
use crate::shaders::layout::{CastConstants, VectorConstants};
use crate::{Error, Result, shaders};

/// A factor: a number of the host's, or the first element of a tensor of f32 on the device, read when
/// the recording runs.
#[derive(Clone, Copy, Debug)]
pub enum Scalar<'a> {
    /// Rounded to f32.
    Value(f64),
    /// Of one element or more.
    Device(&'a Tensor),
}

impl From<f64> for Scalar<'_> {
    fn from(value: f64) -> Self {
        Self::Value(value)
    }
}

impl<'a> From<&'a Tensor> for Scalar<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self::Device(tensor)
    }
}

impl Scalar<'_> {
    /// A tensor that holds it, at the start of a buffer.
    fn tensor(self, gpu: &Gpu, recording: &mut Recording, written: &Tensor) -> Result<Tensor> {
        match self {
            Self::Value(value) => Tensor::from_slice(gpu, &[1], &[value as f32]),
            Self::Device(alpha) => {
                alpha.expect_on("alpha", gpu)?;
                alpha.expect_dtype("alpha", &[DType::F32])?;
                if alpha.is_empty() {
                    return Err(Error::Length { tensor: "alpha".into(), unit: "elements at least", expected: 1, found: 0 });
                }
                let first = alpha.within(alpha.offset(), &[1], DType::F32)?;
                first.expect_apart("alpha", written, "y")?;
                if first.offset() == 0 && !first.shares_buffer(written) {
                    return Ok(first);
                }
                // kernels read it at the start of a binding of its own
                let copied = Tensor::zeros(gpu, &[1], DType::F32)?;
                copy(gpu, recording, &first, &copied)?;
                Ok(copied)
            }
        }
    }
}

/// `y = alpha`.
///
/// # Errors
/// [`Error::DType`](crate::Error::DType) if `y` is not of floats or `alpha` not of f32,
/// [`Error::Length`](crate::Error::Length) if `alpha` is empty,
/// [`Error::Overlap`](crate::Error::Overlap) if it lies in `y`.
pub fn fill<'a>(gpu: &Gpu, recording: &mut Recording, alpha: impl Into<Scalar<'a>>, y: &Tensor) -> Result<()> {
    y.expect_on("y", gpu)?;
    y.expect_dtype("y", &DType::FLOATS)?;
    let alpha = alpha.into().tensor(gpu, recording, y)?;
    map(gpu, recording, &shaders::vector::FILL, &["WRITE_ONLY"], None, y, Some(&alpha), &VectorConstants::default())
}

/// `y = x`, bit for bit, of any one element type.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType) or
/// [`Error::Overlap`](crate::Error::Overlap) if `x` does not match `y` or overlaps it.
pub fn copy(gpu: &Gpu, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
    matching(gpu, x, y)?;
    map(gpu, recording, &shaders::vector::COPY, &["SOURCE", "WRITE_ONLY"], Some(x), y, None, &VectorConstants::default())
}

/// `y = x` of another float type, to nearest even.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType) or
/// [`Error::Overlap`](crate::Error::Overlap) if the shapes differ, a type is not a float, or they
/// overlap.
pub fn cast(gpu: &Gpu, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
    x.expect_on("x", gpu)?;
    y.expect_on("y", gpu)?;
    x.expect_dtype("x", &DType::FLOATS)?;
    y.expect_dtype("y", &DType::FLOATS)?;
    x.expect_shape("x", y.shape())?;
    x.expect_apart("x", y, "y")?;
    if x.dtype() == y.dtype() {
        return copy(gpu, recording, x, y);
    }
    if x.shares_buffer(y) {
        let aside = Tensor::zeros(gpu, y.shape(), y.dtype())?;
        cast(gpu, recording, x, &aside)?;
        return copy(gpu, recording, &aside, y);
    }
    let types = [["FROM_F32", "FROM_F16", "FROM_BF16"][float(x.dtype())], ["TO_F32", "TO_F16", "TO_BF16"][float(y.dtype())]];
    let len = x.len() as u64;
    let cells = if (x.offset() | y.offset()).is_multiple_of(16) { len / 8 * 8 } else { 0 };
    let limit = (gpu.binding_limit() - binding_alignment(gpu)) / 4 / 256 * 256;
    let parts = |range: Range<u64>| {
        let end = range.end;
        range.step_by(limit as usize).map(move |start| start..(start + limit).min(end))
    };
    for part in parts(0..cells).chain(parts(cells..len)) {
        let vector = part.start < cells;
        let mut defines = types.to_vec();
        if !vector {
            let odd = y.dtype() != DType::F32 && !part.end.is_multiple_of(2);
            defines.extend(["SCALAR"].into_iter().chain(odd.then_some("ODD")));
        }
        let kernel = gpu.kernel(&shaders::vector::CAST, &defines, &[])?;
        let bytes = |tensor: &Tensor| {
            let size = tensor.dtype().size();
            tensor.offset() + part.start * size..tensor.offset() + part.end * size
        };
        let (bind_x, before_x) = Bind::range(gpu, "x", x, bytes(x));
        let (bind_y, before_y) = Bind::range(gpu, "y", y, bytes(y));
        let (unit, together) = if vector { (16, 8) } else { (4, 2) };
        let count = part.end - part.start;
        let constants = CastConstants { x: (before_x / unit) as u32, y: (before_y / unit) as u32, count: count as u32 };
        let work = Work::shared(count.div_ceil(256 * together), 1024, 0);
        recording.dispatch_with(gpu, &kernel, work, &constants, vec![bind_x, bind_y])?;
    }
    Ok(())
}

/// `y = alpha·y`.
///
/// # Errors
/// As [`fill`].
pub fn scale<'a>(gpu: &Gpu, recording: &mut Recording, alpha: impl Into<Scalar<'a>>, y: &Tensor) -> Result<()> {
    y.expect_on("y", gpu)?;
    y.expect_dtype("y", &DType::FLOATS)?;
    let alpha = alpha.into().tensor(gpu, recording, y)?;
    map(gpu, recording, &shaders::vector::SCALE, &[], None, y, Some(&alpha), &VectorConstants::default())
}

/// `y = y + alpha·x`.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType) or
/// [`Error::Overlap`](crate::Error::Overlap) if `x` does not match `y` or overlaps it.
pub fn axpy<'a>(gpu: &Gpu, recording: &mut Recording, alpha: impl Into<Scalar<'a>>, x: &Tensor, y: &Tensor) -> Result<()> {
    y.expect_dtype("y", &DType::FLOATS)?;
    matching(gpu, x, y)?;
    let alpha = alpha.into().tensor(gpu, recording, y)?;
    map(gpu, recording, &shaders::vector::AXPY, &["SOURCE"], Some(x), y, Some(&alpha), &VectorConstants::default())
}

/// Fills `y` with uniform numbers in [0, 1), multiples of 2^-24 (then rounded to `y`'s type): element
/// i depends on `seed`, `stream` and i alone, by Philox4x32-10, and is the same on every device
/// ([`reference::random::uniform`](crate::reference::random::uniform)).
///
/// # Errors
/// [`Error::DType`](crate::Error::DType) if `y` is not of floats.
pub fn random_uniform(gpu: &Gpu, recording: &mut Recording, seed: u64, stream: u32, y: &Tensor) -> Result<()> {
    random(gpu, recording, "UNIFORM", seed, stream, y)
}

/// Fills `y` with 1 and -1, each with probability one half; keyed as [`random_uniform`]
/// ([`reference::random::rademacher`](crate::reference::random::rademacher)).
///
/// # Errors
/// [`Error::DType`](crate::Error::DType) if `y` is not of floats.
pub fn random_rademacher(gpu: &Gpu, recording: &mut Recording, seed: u64, stream: u32, y: &Tensor) -> Result<()> {
    random(gpu, recording, "RADEMACHER", seed, stream, y)
}

/// Fills `y` with standard normal numbers, by Box and Muller's transform of the words of [`random_uniform`]
/// ([`reference::random::normal`](crate::reference::random::normal)). None exceeds 5.77 in magnitude. They
/// are the same on every run, and on other devices to a few units in the last place.
///
/// # Errors
/// [`Error::DType`](crate::Error::DType) if `y` is not of floats.
pub fn random_normal(gpu: &Gpu, recording: &mut Recording, seed: u64, stream: u32, y: &Tensor) -> Result<()> {
    random(gpu, recording, "NORMAL", seed, stream, y)
}

fn random(gpu: &Gpu, recording: &mut Recording, distribution: &'static str, seed: u64, stream: u32, y: &Tensor) -> Result<()> {
    y.expect_on("y", gpu)?;
    y.expect_dtype("y", &DType::FLOATS)?;
    // kernels count elements in 32 bits
    if y.len() > u32::MAX as usize {
        return Err(Error::Length { tensor: "y".into(), unit: "elements at most", expected: u32::MAX as usize, found: y.len() });
    }
    let constants = VectorConstants { seed_low: seed as u32, seed_high: (seed >> 32) as u32, stream, ..Default::default() };
    map(gpu, recording, &shaders::vector::RANDOM, &["WRITE_ONLY", distribution], None, y, None, &constants)
}

pub(super) fn matching(gpu: &Gpu, x: &Tensor, y: &Tensor) -> Result<()> {
    x.expect_on("x", gpu)?;
    y.expect_on("y", gpu)?;
    x.expect_dtype("x", &[y.dtype()])?;
    x.expect_shape("x", y.shape())?;
    x.expect_apart("x", y, "y")
}

/// The index of a float type among [`DType::FLOATS`].
pub(super) fn float(dtype: DType) -> usize {
    match dtype {
        DType::F16 => 1,
        DType::Bf16 => 2,
        _ => 0,
    }
}

#[expect(clippy::too_many_arguments, reason = "the one place where all elementwise operations meet")]
fn map(
    gpu: &Gpu,
    recording: &mut Recording,
    source: &'static KernelSource,
    defines: &[&'static str],
    x: Option<&Tensor>,
    y: &Tensor,
    alpha: Option<&Tensor>,
    constants: &VectorConstants,
) -> Result<()> {
    let room = gpu.binding_limit() - binding_alignment(gpu);
    // of one buffer there is one binding, which reaches from one to the other
    let shared = x.filter(|x| x.shares_buffer(y));
    let distance = shared.map_or(0, |x| x.offset().abs_diff(y.offset()));
    if let Some(x) = shared
        && distance > room / 2
    {
        let aside = Tensor::zeros(gpu, x.shape(), x.dtype())?;
        copy(gpu, recording, x, &aside)?;
        return map(gpu, recording, source, defines, Some(&aside), y, alpha, constants);
    }
    let reads_y = !defines.contains(&"WRITE_ONLY");
    let mut defines = defines.to_vec();
    defines.push(["DTYPE_F32", "DTYPE_F16", "DTYPE_BF16"][float(y.dtype())]);
    defines.extend(shared.map(|_| "SHARED"));
    for (unit, range) in ranges(x, y, (room - distance) / 16 * 4) {
        let mut defines = defines.clone();
        defines.extend_from_slice(match unit {
            Unit::Cells => &[],
            Unit::Words => &["SCALAR"],
            Unit::Part => &["SCALAR", "PARTIAL"],
        });
        let kernel = gpu.kernel(source, &defines, &[])?;
        let unit = if unit == Unit::Cells { 4 } else { 1 };
        let bytes = |tensor: &Tensor| tensor.offset() + range.start * 4..tensor.offset() + range.end * 4;
        let mut bindings = Vec::new();
        let (mut before_x, before_y);
        match shared {
            Some(x) => {
                let (of_x, of_y) = (bytes(x), bytes(y));
                let start = of_x.start.min(of_y.start);
                let (bind, before) = Bind::range(gpu, "y", y, start..of_x.end.max(of_y.end));
                (before_x, before_y) = (before + of_x.start - start, before + of_y.start - start);
                // what is read of both counts once, what is written again
                let visited = of_y.end - of_y.start;
                bindings.push(Bind { visited: if reads_y { visited + visited / 2 } else { visited }, ..bind });
            }
            None => {
                let (bind_y, before) = Bind::range(gpu, "y", y, bytes(y));
                bindings.push(bind_y);
                (before_x, before_y) = (0, before);
                if let Some(x) = x {
                    let (bind_x, before) = Bind::range(gpu, "x", x, bytes(x));
                    bindings.push(bind_x);
                    before_x = before;
                }
            }
        }
        if let Some(alpha) = alpha {
            bindings.push(Bind::tensor(gpu, "alpha", alpha).0);
        }
        let count = (range.end - range.start) / unit;
        let block = gpu.target().block(count);
        let constants = VectorConstants {
            x: (before_x / 4 / unit) as u32,
            y: (before_y / 4 / unit) as u32,
            count: count as u32,
            block: block as u32,
            mask: (1 << (y.bytes() % 4 * 8)) - 1,
            first: range.start as u32,
            ..*constants
        };
        // random numbers take ten rounds a block, up to three blocks a cell
        let work = Work::strided(count.div_ceil(block), looped(block.div_ceil(256), 3 * looped(10, 0)));
        recording.dispatch_with(gpu, &kernel, work, &constants, bindings)?;
    }
    Ok(())
}

/// How the words of a range are loaded.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Cells,
    Words,
    /// One word, of which only a part is the tensor's.
    Part,
}

/// Cuts the words of `y` into ranges of whole cells and the ragged ends, or into words where `x` and
/// `y` are out of phase; none longer than `longest` words.
fn ranges(x: Option<&Tensor>, y: &Tensor, longest: u64) -> Vec<(Unit, Range<u64>)> {
    let cut = |unit: Unit, range: Range<u64>| {
        let end = range.end;
        range.step_by(longest as usize).map(move |start| (unit, start..(start + longest).min(end)))
    };
    let (whole, all) = (y.bytes() / 4, y.bytes().div_ceil(4));
    let part = cut(Unit::Part, whole..all);
    let phase = y.offset() / 4 % 4;
    if x.is_some_and(|x| x.offset() / 4 % 4 != phase) {
        return cut(Unit::Words, 0..whole).chain(part).collect();
    }
    let head = ((4 - phase) % 4).min(whole);
    let tail = head + (whole - head) / 4 * 4;
    cut(Unit::Words, 0..head).chain(cut(Unit::Cells, head..tail)).chain(cut(Unit::Words, tail..whole)).chain(part).collect()
}
