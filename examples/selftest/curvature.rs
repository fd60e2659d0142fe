//! The kernels of the estimators, by the estimates that they lead to: the twin has the same random vectors.

use gradus::curvature::{
    DiagonalOptions, HutchPlusPlusOptions, TraceOptions, block_traces, diagonal as estimate_diagonal, hutch_plus_plus, trace,
};
use gradus::krylov::{Csr, FromFn};
use gradus::reference::curvature as twin;
use gradus::reference::{krylov::csr_product, random, vector as blas};
use gradus::{DType, Gpu, Result, Tensor, vector};
use pollster::block_on;

use super::values::{differing, noise, wide, worse};
use super::{Entry, Report, SEED};

const BOUND: f64 = 1e-5;
const SAMPLES: usize = 5;

/// Below and about a cell, above a workgroup, several blocks.
const LENGTHS: [usize; 4] = [1, 5, 1023, 40_003];

pub fn run(report: &mut Report) {
    report.case("curvature/probe", |gpu| LENGTHS.into_iter().map(|n| probe(gpu, n)).collect());
    report.case("curvature/advance", |gpu| LENGTHS.into_iter().map(|n| advance(gpu, n)).collect());
    report.case("curvature/diagonal", |gpu| LENGTHS.into_iter().map(|n| diagonal(gpu, n)).collect());
    report.case("curvature/normalization", |gpu| LENGTHS.into_iter().map(|n| normalization(gpu, n)).collect());
}

/// A symmetric matrix of three diagonals.
struct Banded {
    offsets: Vec<u32>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl Banded {
    fn new(n: usize) -> Self {
        let beside = noise(1, n);
        let mut banded = Self { offsets: vec![0], columns: Vec::new(), values: Vec::new() };
        for row in 0..n {
            for column in row.saturating_sub(1)..(row + 2).min(n) {
                banded.columns.push(column as u32);
                banded.values.push(if column == row { 1.0 + (row % 3) as f32 } else { beside[row.min(column)] });
            }
            banded.offsets.push(banded.columns.len() as u32);
        }
        banded
    }

    fn operator(&self, gpu: &Gpu) -> Result<Csr> {
        Csr::new(gpu, &self.offsets, &self.columns, &self.values)
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        csr_product(&self.offsets, &self.columns, &wide(&self.values), x)
    }

    /// The Frobenius norm times √n, the size of `⟨x, A x⟩`.
    fn size(&self) -> f64 {
        blas::norm(&wide(&self.values)) * (self.offsets.len() as f64).sqrt()
    }
}

fn signs(streams: std::ops::Range<usize>, n: usize) -> Vec<Vec<f64>> {
    streams.map(|k| wide(&random::rademacher(SEED, k as u32, n))).collect()
}

/// The last of the random vectors, which the operator keeps.
fn probe(gpu: &Gpu, n: usize) -> Result<Entry> {
    let seen = Tensor::zeros(gpu, &[n], DType::F32)?;
    let operator = FromFn::new(gpu, n, |recording, x, y| {
        vector::copy(gpu, recording, x, &seen)?;
        vector::copy(gpu, recording, x, y)
    })?;
    block_on(trace(&operator, &TraceOptions { samples: SAMPLES, seed: SEED }))?;
    let found: Vec<f32> = block_on(seen.read(gpu))?;
    Ok(Entry::new(&[n], DType::F32, differing(DType::F32, &found, &random::rademacher(SEED, SAMPLES as u32 - 1, n)), 0.0))
}

/// The samples of two numbers each that it gathers: the traces of the halves of a matrix.
fn advance(gpu: &Gpu, n: usize) -> Result<Entry> {
    let matrix = Banded::new(n);
    let halves = [0..n / 2, n / 2..n];
    let found = block_on(block_traces(&matrix.operator(gpu)?, &halves, &TraceOptions { samples: SAMPLES, seed: SEED }))?;
    let probes = signs(0..SAMPLES, n);
    let mut error = 0.0;
    for (half, found) in halves.into_iter().zip(&found) {
        let samples: Vec<f64> = probes.iter().map(|x| blas::dot(&x[half.clone()], &matrix.apply(x)[half.clone()])).collect();
        let [value, standard_error] = twin::mean(&samples);
        error = worse(error, (found.value - value).abs() / matrix.size());
        error = worse(error, (found.standard_error - standard_error).abs() / matrix.size());
    }
    Ok(Entry::new(&[n], DType::F32, error, BOUND))
}

fn diagonal(gpu: &Gpu, n: usize) -> Result<Entry> {
    let matrix = Banded::new(n);
    let found = estimate_diagonal(&matrix.operator(gpu)?, &DiagonalOptions { samples: SAMPLES, seed: SEED })?;
    let (value, standard_error): (Vec<f32>, Vec<f32>) = (block_on(found.value.read(gpu))?, block_on(found.standard_error.read(gpu))?);
    // elements are of the order of 1
    let expected = twin::diagonal(|x| matrix.apply(x), &signs(0..SAMPLES, n));
    let mut error = 0.0;
    for ((value, standard_error), expected) in value.into_iter().zip(standard_error).zip(expected) {
        error = worse(error, (f64::from(value) - expected[0]).abs());
        error = worse(error, (f64::from(standard_error) - expected[1]).abs());
    }
    Ok(Entry::new(&[n], DType::F32, error, BOUND))
}

/// The basis of Hutch++, of which each vector is normalised: of a matrix of many dimensions, and of one of rank one, of
/// whose second product nothing is left.
fn normalization(gpu: &Gpu, n: usize) -> Result<Entry> {
    const RANK: usize = 4;
    let matrix = Banded::new(n);
    let options = HutchPlusPlusOptions { rank: RANK, samples: SAMPLES, seed: SEED };
    let found = block_on(hutch_plus_plus(&matrix.operator(gpu)?, &options))?;
    let rank = RANK.min(n);
    let expected = twin::hutch_plus_plus(|x| matrix.apply(x), &signs(0..rank, n), &signs(rank..rank + SAMPLES, n));
    let mut error = (found.value - expected[0]).abs().max((found.standard_error - expected[1]).abs()) / matrix.size();
    // 3 e eᵀ for the first unit vector e: the trace is 3, with no error
    let one = Csr::new(gpu, &(0..=n as u32).map(|row| row.min(1)).collect::<Vec<_>>(), &[0], &[3.0])?;
    let found = block_on(hutch_plus_plus(&one, &options))?;
    error = worse(worse(error, (found.value - 3.0).abs() / 3.0), found.standard_error / 3.0);
    Ok(Entry::new(&[n], DType::F32, error, BOUND))
}
