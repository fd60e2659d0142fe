//! Reductions to one number, on a tree whose shape depends on the number of elements alone.

use wgpu::BufferUsages;

use super::map::{float, matching};
use crate::gpu::work::{SUM_RUNS, looped, summed};
use crate::gpu::{Bind, DType, Gpu, KernelSource, Recording, Tensor, Work, binding_alignment};
use crate::shaders::layout::ReduceConstants;
use crate::{Result, shaders};

/// The cells of a block, of four words each: `BLOCK` of `shared/reduce.wgsl`.
const BLOCK: u64 = 2048;

/// `out = ⟨x, y⟩`, `out` being one f32. Products and sums are in f32; the result is the same, bit for
/// bit, on every run and wherever the tensors lie.
///
/// 0 for no elements. Products and sums beyond 3.4e38 are infinite, or NaN where infinities of both signs
/// meet; products below 1.2e-38 may count as 0. NaN if an element is, or for 0·∞.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType) if `x` does not match
/// `y`, they are not of floats, or `out` is not one f32; [`Error::Overlap`](crate::Error::Overlap) if
/// `out` overlaps an operand.
pub fn dot(gpu: &Gpu, recording: &mut Recording, x: &Tensor, y: &Tensor, out: &Tensor) -> Result<()> {
    y.expect_dtype("y", &DType::FLOATS)?;
    match x == y {
        true => {}
        false if x.overlaps(y) => {
            x.expect_dtype("x", &[y.dtype()])?;
            x.expect_shape("x", y.shape())?;
        }
        false => matching(gpu, x, y)?,
    }
    reduce(gpu, recording, &shaders::vector::DOT, &[], x, Some(y), out)
}

/// `out = ‖x‖`, the Euclidean norm, `out` being one f32. Squares are scaled, so that any norm that is an ordinary number of
/// f32 is right to rounding.
///
/// 0 for no elements; infinite if it is beyond 3.4e38 or an element is infinite; NaN if an element is. Subnormal elements,
/// below 1.2e-38, and norms that are, may count as 0.
///
/// # Errors
/// As [`dot`].
pub fn norm(gpu: &Gpu, recording: &mut Recording, x: &Tensor, out: &Tensor) -> Result<()> {
    reduce(gpu, recording, &shaders::vector::NORM, &[], x, None, out)
}

/// `out = max |xᵢ|`, `out` being one f32: exact, infinite if an element is, NaN if any is, 0 if there is none. Subnormal
/// elements keep their value.
///
/// # Errors
/// As [`dot`].
pub fn max_magnitude(gpu: &Gpu, recording: &mut Recording, x: &Tensor, out: &Tensor) -> Result<()> {
    reduce(gpu, recording, &shaders::vector::MAX_MAGNITUDE, &[], x, None, out)
}

fn reduce(
    gpu: &Gpu,
    recording: &mut Recording,
    source: &'static KernelSource,
    defines: &[&'static str],
    x: &Tensor,
    y: Option<&Tensor>,
    out: &Tensor,
) -> Result<()> {
    let all = [("x", Some(x)), ("y", y), ("out", Some(out))];
    all.into_iter().try_for_each(|(name, tensor)| tensor.map_or(Ok(()), |tensor| tensor.expect_on(name, gpu)))?;
    x.expect_dtype("x", &DType::FLOATS)?;
    out.expect_dtype("out", &[DType::F32])?;
    if out.len() != 1 {
        out.expect_shape("out", &[1])?;
    }
    x.expect_apart("x", out, "out")?;
    if let Some(y) = y {
        y.expect_apart("y", out, "out")?;
    }
    // the kernel writes to the start of a binding, of a buffer that it does not read as well
    let apart = [Some(x), y].into_iter().flatten().all(|operand| !operand.shares_buffer(out));
    let direct = apart && out.offset().is_multiple_of(binding_alignment(gpu));
    let result = if direct { out.clone() } else { Tensor::zeros(gpu, &[1], DType::F32)? };

    let mut defines = defines.to_vec();
    defines.push(["DTYPE_F32", "DTYPE_F16", "DTYPE_BF16"][float(x.dtype())]);
    let words = x.bytes().div_ceil(4);
    // a last word with but one half belongs to the words that are left over
    let whole = x.bytes() / 4;
    let cells = whole / 4;
    let blocks = cells.div_ceil(BLOCK);
    // of a norm a vector of four, of the others a word
    let partials = gpu.buffer("gradus.vector.partials", blocks.max(1) * 16, BufferUsages::STORAGE)?;
    let operands = |range: std::ops::Range<u64>| {
        let bytes = |tensor: &Tensor| tensor.offset() + range.start * 4..tensor.offset() + (range.end * 4).min(tensor.bytes());
        let (bind_x, before_x) = Bind::range(gpu, "x", x, bytes(x));
        let mut bindings = vec![bind_x];
        let mut before_y = 0;
        if let Some(y) = y {
            let (bind_y, before) = Bind::range(gpu, "y", y, bytes(y));
            bindings.push(bind_y);
            before_y = before;
        }
        (bindings, before_x / 4, before_y / 4)
    };

    let longest = (gpu.binding_limit() - binding_alignment(gpu)) / 16 / BLOCK * BLOCK;
    let scalar = [Some(x), y].into_iter().flatten().any(|operand| !operand.offset().is_multiple_of(16));
    for start in (0..cells).step_by(longest.max(BLOCK) as usize) {
        let end = (start + longest.max(BLOCK)).min(cells);
        let mut defines = defines.clone();
        defines.push("PARTIAL");
        defines.extend(scalar.then_some("SCALAR"));
        let kernel = gpu.kernel(source, &defines, &[("LOADS", gpu.target().loads())])?;
        let (mut bindings, at_x, at_y) = operands(4 * start..4 * end);
        bindings.push(Bind::whole("partials", &partials));
        let unit = if scalar { 1 } else { 4 };
        let constants = ReduceConstants {
            x: (at_x / unit) as u32,
            y: (at_y / unit) as u32,
            count: (end - start) as u32,
            partials: (start / BLOCK) as u32,
            half: 0,
        };
        let work = Work::strided((end - start).div_ceil(BLOCK), looped(BLOCK / 256, 0) + SUM_RUNS);
        recording.dispatch_with(gpu, &kernel, work, &constants, bindings)?;
    }

    defines.push("FINISH");
    let kernel = gpu.kernel(source, &defines, &[])?;
    // an empty range cannot be bound: then any word does, and is not read
    let zero = gpu.buffer("gradus.vector.nothing", 4, BufferUsages::STORAGE)?;
    let (mut bindings, at_x, at_y) = match words > 4 * cells {
        true => operands(4 * cells..words),
        false => (vec![Bind::whole("x", &zero), Bind::whole("y", &zero)], 0, 0),
    };
    bindings.push(Bind::whole("partials", &partials));
    bindings.push(Bind::tensor(gpu, "result", &result).0);
    let constants = ReduceConstants {
        x: at_x as u32,
        y: at_y as u32,
        count: (words - 4 * cells) as u32,
        partials: blocks as u32,
        half: u32::from(words > whole),
    };
    recording.dispatch_with(gpu, &kernel, Work::alone(summed(blocks.div_ceil(256)) + SUM_RUNS), &constants, bindings)?;
    match direct {
        true => Ok(()),
        false => super::copy(gpu, recording, &result.reshape(out.shape())?, out),
    }
}
