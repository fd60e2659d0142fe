//! Values of each type, how far they are from what is expected, and tensors among bytes that must not change.

use std::ops::Range;

use gradus::reference::{random, rounding, vector as blas};
use gradus::{DType, Gpu, Result, Tensor};

/// f32 values in [-1, 1), the same every time.
pub fn noise(seed: u64, n: usize) -> Vec<f32> {
    random::uniform(seed, 0, n).into_iter().map(|u| 2.0 * u - 1.0).collect()
}

/// The bytes of values rounded to a type.
pub fn encode(dtype: DType, values: &[f32]) -> Vec<u8> {
    match dtype {
        DType::F16 => values.iter().flat_map(|&x| rounding::f32_to_f16_nearest(x).to_le_bytes()).collect(),
        DType::Bf16 => values.iter().flat_map(|&x| rounding::f32_to_bf16_nearest(x).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}

pub fn decode(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        DType::F16 => bytes.as_chunks().0.iter().map(|&b| rounding::f16_to_f32(u16::from_le_bytes(b))).collect(),
        DType::Bf16 => bytes.as_chunks().0.iter().map(|&b| rounding::bf16_to_f32(u16::from_le_bytes(b))).collect(),
        _ => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
    }
}

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// The distance of neighbouring values of a type about `x`.
pub fn unit(dtype: DType, x: f64) -> f64 {
    let (fraction, least) = match dtype {
        DType::F16 => (10, -24),
        DType::Bf16 => (7, -133),
        _ => (23, -149),
    };
    let exponent = if x == 0.0 { least } else { x.abs().log2().floor() as i32 - fraction };
    2f64.powi(exponent.max(least))
}

/// The greater of two errors; NaN is the greatest.
pub fn worse(a: f64, b: f64) -> f64 {
    if a > b || a.is_nan() { a } else { b }
}

/// γ of a number of roundings to nearest.
pub fn gamma(roundings: usize) -> f64 {
    let sum = roundings as f64 * f64::from(f32::EPSILON) / 2.0;
    sum / (1.0 - sum)
}

/// The relative error of a root of a sum with this γ.
pub fn root_of(gamma: f64) -> f64 {
    gamma / 2.0 + 4.0 * f64::from(f32::EPSILON) / 2.0
}

/// How many elements are not the expected values rounded to the type.
pub fn differing(dtype: DType, found: &[f32], expected: &[f32]) -> f64 {
    let expected = decode(dtype, &encode(dtype, expected));
    let same = |found: f32, expected: f32| {
        let zero = 0f32.copysign(expected);
        let flushed = expected.abs() < f32::MIN_POSITIVE && found.to_bits() == zero.to_bits();
        found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()) || flushed
    };
    found.iter().zip(expected).filter(|&(&found, expected)| !same(found, expected)).count() as f64
}

/// The largest error in units in the last place of the type, at `scale`.
pub fn in_units(dtype: DType, found: &[f32], expected: &[f64], scale: &[f64]) -> f64 {
    let errors =
        found.iter().zip(expected).zip(scale).map(|((&found, expected), scale)| (f64::from(found) - expected).abs() / unit(dtype, *scale));
    errors.fold(0.0, worse)
}

/// The norm of the difference from what is expected, relative to the norm of that.
pub fn of_norm(found: &[f32], expected: &[f64]) -> f64 {
    let difference: Vec<f64> = found.iter().zip(expected).map(|(&found, expected)| f64::from(found) - expected).collect();
    blas::norm(&difference) / blas::norm(expected).max(1e-9)
}

/// Tensors in one buffer.
pub struct Memory {
    pub whole: Tensor,
    pub tensors: Vec<Tensor>,
    pub gap: u32,
}

/// What lies between tensors that are read, and between those that are written: NaN in every type, and
/// not what arithmetic makes of the other or of itself.
pub const GAPS: [u32; 2] = [0xff81_ff81, 0x7f81_7f81];

impl Memory {
    /// The first tensor begins at byte `start`, each at a multiple of `alignment` after that.
    pub fn new(gpu: &Gpu, shapes: &[&[usize]], dtype: DType, start: u64, alignment: u64, gap: u32) -> Result<Self> {
        let mut end = start;
        let mut offsets = Vec::new();
        for shape in shapes {
            let offset = start + (end - start).next_multiple_of(alignment);
            offsets.push(offset);
            end = offset + shape.iter().product::<usize>() as u64 * dtype.size();
        }
        let words = end.div_ceil(4) as usize + 1;
        let whole = Tensor::zeros(gpu, &[words], DType::U32)?;
        let tensor = |(shape, offset): (&&[usize], u64)| Tensor::from_buffer(whole.buffer(), offset, shape, dtype);
        let tensors = shapes.iter().zip(offsets).map(tensor).collect::<Result<_>>()?;
        Ok(Self { whole, tensors, gap })
    }

    /// Writes every tensor, and what lies between.
    pub fn write(&self, gpu: &Gpu, values: &[Vec<f32>]) -> Result<()> {
        let mut bytes = self.gap.to_le_bytes().repeat(self.whole.len());
        for (tensor, values) in self.tensors.iter().zip(values) {
            bytes[tensor.offset() as usize..][..tensor.bytes() as usize].copy_from_slice(&encode(tensor.dtype(), values));
        }
        let words: Vec<u32> = bytes.as_chunks().0.iter().map(|&b| u32::from_le_bytes(b)).collect();
        self.whole.write(gpu, &words)
    }

    /// The values of every tensor; NaN if something between them has changed.
    pub fn read(&self, gpu: &Gpu) -> Result<Vec<Vec<f32>>> {
        let words: Vec<u32> = pollster::block_on(self.whole.read(gpu))?;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let gap = self.gap.to_le_bytes();
        let untouched = |range: Range<usize>| range.into_iter().all(|i| bytes[i] == gap[i % 4]);
        let (mut intact, mut end) = (true, 0);
        let mut values = Vec::new();
        for tensor in &self.tensors {
            let start = tensor.offset() as usize;
            intact &= untouched(end..start);
            end = start + tensor.bytes() as usize;
            values.push(decode(tensor.dtype(), &bytes[start..end]));
        }
        intact &= untouched(end..bytes.len());
        if !intact {
            values.iter_mut().for_each(|values| values.fill(f32::NAN));
        }
        Ok(values)
    }
}
