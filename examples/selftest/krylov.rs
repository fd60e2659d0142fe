//! The kernels of the Krylov methods: operators, and some iterations of each method with the same start as its
//! twin's.

use gradus::krylov::{
    Cg, CgOptions, Csr, Diagonal, EigenOptions, FlexibleCg, FlexibleCgOptions, LanczosOptions, LinearOperator, PowerOptions,
    Preconditioner, Richardson, RichardsonOptions, Which, eigenpairs, lanczos, power_iteration,
};
use gradus::reference::accuracy;
use gradus::reference::random::rademacher;
use gradus::reference::{krylov as twin, vector as blas};
use gradus::{DType, Gpu, Recording, Result, Tensor};
use pollster::block_on;

use super::values::{gamma, in_units, noise, of_norm, wide, worse};
use super::{Entry, Report};

/// Roundings of the products and sums of a few iterations of a well-conditioned problem.
const BOUND: f64 = 1e-5;

/// Below and about a cell, above a workgroup, several blocks.
const LENGTHS: [usize; 4] = [1, 5, 1023, 40_003];

pub fn run(report: &mut Report) {
    report.case("krylov/csr", csr);
    report.case("krylov/diagonal", |gpu| diagonal(gpu, false));
    report.case("krylov/diagonal inverse", |gpu| diagonal(gpu, true));
    report.case("krylov/cg", |gpu| LENGTHS.into_iter().map(|n| cg(gpu, n, false)).collect());
    report.case("krylov/cg preconditioned", |gpu| LENGTHS.into_iter().map(|n| cg(gpu, n, true)).collect());
    report.case("krylov/cg zero", |gpu| LENGTHS.into_iter().map(|n| cg_of_zero(gpu, n)).collect());
    report.case("krylov/flexible_cg", |gpu| LENGTHS.into_iter().map(|n| flexible_cg(gpu, n)).collect());
    report.case("krylov/richardson", |gpu| LENGTHS.into_iter().map(|n| richardson(gpu, n)).collect());
    report.case("krylov/lanczos", |gpu| LENGTHS.into_iter().map(|n| lanczos_steps(gpu, n)).collect());
    report.case("krylov/lanczos orthogonality", orthogonality);
    report.case("krylov/lanczos blocks", blocks);
    report.case("krylov/power", |gpu| LENGTHS.into_iter().map(|n| power(gpu, n)).collect());
}

fn upload(gpu: &Gpu, values: &[f32]) -> Result<Tensor> {
    Tensor::from_slice(gpu, &[values.len()], values)
}

fn read(gpu: &Gpu, tensor: &Tensor) -> Result<Vec<f32>> {
    block_on(tensor.read(gpu))
}

/// A matrix in compressed rows.
struct Sparse {
    offsets: Vec<u32>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl Sparse {
    /// Of `lengths` entries in each row, which may repeat a column.
    fn noise(lengths: &[u32]) -> Self {
        let offsets: Vec<u32> = (0..=lengths.len()).map(|row| lengths[..row].iter().sum()).collect();
        let entries = offsets[lengths.len()] as usize;
        let columns = (0..entries).map(|i| (i * 7 % lengths.len()) as u32).collect();
        Self { offsets, columns, values: noise(1, entries) }
    }

    /// -1, 3 to 5, -1 about the diagonal: symmetric and positive definite, with eigenvalues between 1 and 7.
    fn line(n: usize) -> Self {
        let mut line = Self { offsets: vec![0], columns: Vec::new(), values: Vec::new() };
        for row in 0..n {
            for column in row.saturating_sub(1)..(row + 2).min(n) {
                line.columns.push(column as u32);
                line.values.push(if column == row { 3.0 + (row % 3) as f32 } else { -1.0 });
            }
            line.offsets.push(line.columns.len() as u32);
        }
        line
    }

    fn operator(&self, gpu: &Gpu) -> Result<Csr> {
        Csr::new(gpu, &self.offsets, &self.columns, &self.values)
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        twin::csr_product(&self.offsets, &self.columns, &wide(&self.values), x)
    }

    fn diagonal(&self) -> Vec<f32> {
        (0..self.offsets.len() - 1).map(|row| 3.0 + (row % 3) as f32).collect()
    }
}

/// `y = A x` with x and y in buffers of their own, and in one, out of phase.
fn products(gpu: &Gpu, operator: &dyn LinearOperator, x: &[f32]) -> Result<[Vec<f32>; 2]> {
    let n = x.len();
    let apart = [upload(gpu, x)?, Tensor::zeros(gpu, &[n], DType::F32)?];
    let whole = upload(gpu, &[&[f32::NAN], x, &vec![f32::NAN; n + 1]].concat())?;
    let part = |at: usize| Tensor::from_buffer(whole.buffer(), 4 * at as u64, &[n], DType::F32);
    let together = [part(1)?, part(n + 1)?];
    let mut recording = Recording::new();
    for [x, y] in [&apart, &together] {
        operator.record(&mut recording, x, y)?;
    }
    gpu.submit([&recording]);
    Ok([read(gpu, &apart[1])?, read(gpu, &together[1])?])
}

fn csr(gpu: &Gpu) -> Result<Vec<Entry>> {
    // rows of one segment of 256 entries or less, and of none and of several
    let short: Vec<u32> = vec![2; 5000];
    let mixed = [0, 3, 900, 1, 0, 257, 256, 2, 0];
    let entry = |lengths: &[u32]| {
        let matrix = Sparse::noise(lengths);
        let x = noise(2, lengths.len());
        let expected = matrix.apply(&wide(&x));
        let magnitudes: Vec<f64> = x.iter().map(|x| f64::from(x.abs())).collect();
        let values: Vec<f64> = matrix.values.iter().map(|a| f64::from(a.abs())).collect();
        let scale = twin::csr_product(&matrix.offsets, &matrix.columns, &values, &magnitudes);
        let mut error = 0.0;
        for found in products(gpu, &matrix.operator(gpu)?, &x)? {
            for ((&found, expected), scale) in found.iter().zip(&expected).zip(&scale) {
                // an empty row is 0, exactly
                error = worse(error, (f64::from(found) - expected).abs() / scale.max(f64::MIN_POSITIVE));
            }
        }
        let longest = lengths.iter().copied().max().unwrap_or(0);
        Ok(Entry::new(&[lengths.len(), matrix.values.len()], DType::F32, error, gamma((longest.min(256) + longest / 256 + 2) as usize)))
    };
    [&short[..], &mixed].into_iter().map(entry).collect()
}

fn diagonal(gpu: &Gpu, inverse: bool) -> Result<Vec<Entry>> {
    let entry = |n: usize| {
        let (d, x): (Vec<f32>, Vec<f32>) = (noise(1, n).iter().map(|d| 1.5 + d).collect(), noise(2, n));
        let tensor = upload(gpu, &d)?;
        let operator = if inverse { Diagonal::inverse(gpu, &tensor)? } else { Diagonal::new(gpu, &tensor)? };
        let product = |(&d, &x): (&f32, &f32)| if inverse { f64::from(x) / f64::from(d) } else { f64::from(x) * f64::from(d) };
        let expected: Vec<f64> = d.iter().zip(&x).map(product).collect();
        let errors = products(gpu, &operator, &x)?.map(|found| in_units(DType::F32, &found, &expected, &expected));
        Ok(Entry::new(&[n], DType::F32, worse(errors[0], errors[1]), if inverse { accuracy::DIVISION + 0.5 } else { 1.0 }))
    };
    LENGTHS.into_iter().map(entry).collect()
}

/// To a residual of a thousandth: the solution, what was recorded of each iteration, and each snapshot.
fn cg(gpu: &Gpu, n: usize, preconditioned: bool) -> Result<Entry> {
    const TOLERANCE: f64 = 1e-3;
    const ITERATIONS: u32 = 40;
    let matrix = Sparse::line(n);
    let (b, start) = (noise(1, n), noise(2, n));
    let d = matrix.diagonal();
    let (right, x) = (upload(gpu, &b)?, upload(gpu, &start)?);
    let jacobi = Diagonal::inverse(gpu, &upload(gpu, &d)?)?;
    let preconditioner = preconditioned.then_some(&jacobi as &dyn Preconditioner);
    let options = CgOptions { relative_tolerance: TOLERANCE, max_iterations: ITERATIONS, snapshots: true, ..Default::default() };
    let solver = Cg::new(&matrix.operator(gpu)?, preconditioner, &right, &x, &options)?;
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    solver.encode(&mut encoder, ITERATIONS);
    gpu.queue().submit([encoder.finish()]);
    let report = block_on(solver.report())?;

    let precondition = |r: &[f64]| match preconditioned {
        true => r.iter().zip(&d).map(|(r, &d)| r / f64::from(d)).collect(),
        false => r.to_vec(),
    };
    let tolerance = TOLERANCE * blas::norm(&wide(&b));
    let solve = |iterations: usize| twin::cg(|x| matrix.apply(x), precondition, &wide(&b), &wide(&start), tolerance, 0.0, iterations);
    let expected = solve(ITERATIONS as usize);
    let found = read(gpu, &x)?;
    let mut error = of_norm(&found, &expected.x);
    let signed: Vec<f64> = rademacher(0, 0, n).iter().zip(&found).map(|(sign, x)| f64::from(sign * x)).collect();
    let rounding = blas::norm(&matrix.apply(&signed)) * 2f64.powi(-24);
    error = worse(error, (report.rounding - rounding).abs() / rounding);
    for (found, expected) in [(&report.history, &expected.history), (&report.objectives, &expected.objectives)] {
        if found.len() != expected.len() {
            error = f64::INFINITY;
        }
        let scale = blas::max_magnitude(expected);
        error = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs() / scale).fold(error, worse);
    }
    for snapshot in &report.snapshots {
        error = worse(error, of_norm(&read(gpu, &snapshot.x)?, &solve(snapshot.iteration as usize).x));
    }
    Ok(Entry::new(&[n], DType::F32, error, BOUND))
}

/// With three directions, and a residual computed anew after every other iteration.
fn flexible_cg(gpu: &Gpu, n: usize) -> Result<Entry> {
    const TOLERANCE: f64 = 1e-3;
    let matrix = Sparse::line(n);
    let (b, d) = (noise(1, n), matrix.diagonal());
    let (right, x) = (upload(gpu, &b)?, Tensor::zeros(gpu, &[n], DType::F32)?);
    let jacobi = Diagonal::inverse(gpu, &upload(gpu, &d)?)?;
    let options = FlexibleCgOptions { relative_tolerance: TOLERANCE, truncation: 3, recompute_every: 2, ..Default::default() };
    let solver = FlexibleCg::new(&matrix.operator(gpu)?, Some(&jacobi), &right, &x, &options)?;
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    solver.encode(&mut encoder, 40);
    gpu.queue().submit([encoder.finish()]);
    let report = block_on(solver.report())?;
    let precondition = |r: &[f64]| r.iter().zip(&d).map(|(r, &d)| r / f64::from(d)).collect();
    let expected = twin::flexible_cg(|x| matrix.apply(x), precondition, &wide(&b), 3, 2, TOLERANCE * blas::norm(&wide(&b)), 40);
    let mut error = of_norm(&read(gpu, &x)?, &expected.x);
    for (found, expected) in [(&report.history, &expected.history), (&report.objectives, &expected.objectives)] {
        if found.len() != expected.len() {
            error = f64::INFINITY;
        }
        let scale = blas::max_magnitude(expected);
        error = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs() / scale).fold(error, worse);
    }
    Ok(Entry::new(&[n], DType::F32, error, BOUND))
}

/// Of x and what was recorded of each iteration, with the eigenvalues of `I - M A` between -3/4 and 3/4.
fn richardson(gpu: &Gpu, n: usize) -> Result<Entry> {
    const ITERATIONS: u32 = 9;
    let matrix = Sparse::line(n);
    let (b, start) = (noise(1, n), noise(2, n));
    let (right, x) = (upload(gpu, &b)?, upload(gpu, &start)?);
    let damped = Diagonal::new(gpu, &upload(gpu, &vec![0.25; n])?)?;
    let options = RichardsonOptions { relative_tolerance: 0.0, max_iterations: ITERATIONS, ..Default::default() };
    let report = block_on(Richardson::new(&matrix.operator(gpu)?, &damped, &right, &x, &options)?.solve())?;
    let precondition = |r: &[f64]| r.iter().map(|r| 0.25 * r).collect();
    let (expected, history) = twin::richardson(|x| matrix.apply(x), precondition, &wide(&b), &wide(&start), 0.0, ITERATIONS as usize);
    let error: f64 = if report.history.len() == history.len() { of_norm(&read(gpu, &x)?, &expected) } else { f64::INFINITY };
    let scale = blas::max_magnitude(&history);
    let error = report.history.iter().zip(&history).map(|(found, expected)| (found - expected).abs() / scale).fold(error, worse);
    Ok(Entry::new(&[n], DType::F32, error, BOUND))
}

/// Of a right-hand side of zero, the solution is zero, whatever it was before: the elements that are not.
fn cg_of_zero(gpu: &Gpu, n: usize) -> Result<Entry> {
    let (right, x) = (Tensor::zeros(gpu, &[n], DType::F32)?, upload(gpu, &noise(2, n))?);
    let solver = Cg::new(&Sparse::line(n).operator(gpu)?, None, &right, &x, &CgOptions::default())?;
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    solver.encode(&mut encoder, 2);
    gpu.queue().submit([encoder.finish()]);
    let others = read(gpu, &x)?.iter().filter(|x| x.to_bits() != 0).count();
    Ok(Entry::new(&[n], DType::F32, others as f64, 0.0))
}

fn lanczos_steps(gpu: &Gpu, n: usize) -> Result<Entry> {
    const STEPS: usize = 6;
    let matrix = Sparse::line(n);
    let start = noise(1, n);
    let found = block_on(lanczos(&matrix.operator(gpu)?, Some(&upload(gpu, &start)?), &LanczosOptions { steps: STEPS, seed: 0 }))?;
    let expected = twin::lanczos(|x| matrix.apply(x), &wide(&start), STEPS.min(n));
    let scale = blas::max_magnitude(&expected.alpha);
    let mut error: f64 = if found.steps() == expected.alpha.len() { 0.0 } else { f64::INFINITY };
    for (found, expected) in [(&found.alpha, &expected.alpha), (&found.beta, &expected.beta)] {
        error = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs() / scale).fold(error, worse);
    }
    for (j, expected) in expected.basis.iter().enumerate() {
        let own = found.basis(j).map(|q| read(gpu, &q)).transpose()?.unwrap_or_default();
        error = worse(error, if own.len() == n { of_norm(&own, expected) } else { f64::INFINITY });
    }
    Ok(Entry::new(&[n], DType::F32, error, BOUND))
}

/// After steps enough for a plain three-term recurrence to lose it.
fn orthogonality(gpu: &Gpu) -> Result<Vec<Entry>> {
    let n = 1023;
    let d: Vec<f32> = (0..n).map(|i| 0.97f32.powi(i as i32)).collect();
    let found = block_on(lanczos(&Diagonal::new(gpu, &upload(gpu, &d)?)?, None, &LanczosOptions { steps: 60, seed: 5 }))?;
    let basis = (0..found.steps()).filter_map(|j| found.basis(j)).map(|q| Ok(wide(&read(gpu, &q)?))).collect::<Result<Vec<_>>>()?;
    let mut error: f64 = if basis.len() == 60 { 0.0 } else { f64::INFINITY };
    for (i, a) in basis.iter().enumerate() {
        for (j, b) in basis.iter().enumerate() {
            error = worse(error, (blas::dot(a, b) - if i == j { 1.0 } else { 0.0 }).abs());
        }
    }
    Ok(vec![Entry::new(&[n, 60], DType::F32, error, 2e-6)])
}

/// Eigenvalues of which there are three each, which takes a block for each copy.
fn blocks(gpu: &Gpu) -> Result<Vec<Entry>> {
    let n = 15;
    let d: Vec<f32> = (0..n).map(|i| (5 - i / 3) as f32).collect();
    let found = block_on(eigenpairs(&Diagonal::new(gpu, &upload(gpu, &d)?)?, 7, Which::Largest, &EigenOptions::default()))?;
    let errors = found.values.iter().zip(&d).map(|(found, &d)| (found - f64::from(d)).abs() / 5.0);
    Ok(vec![Entry::new(&[n, 7], DType::F32, errors.fold(0.0, worse), BOUND)])
}

/// The Rayleigh quotient after some products, and again once it has converged.
fn power(gpu: &Gpu, n: usize) -> Result<Entry> {
    const PRODUCTS: usize = 12;
    // one eigenvalue of 2 among others of half that at most
    let d: Vec<f32> = noise(1, n).into_iter().enumerate().map(|(i, d)| if i == n / 2 { 2.0 } else { d }).collect();
    let start: Vec<f32> = noise(2, n).into_iter().map(|x| x + 1.5).collect();
    let operator = Diagonal::new(gpu, &upload(gpu, &d)?)?;
    let options = PowerOptions { tolerance: 0.0, max_iterations: PRODUCTS as u32, check_every: 5, ..Default::default() };
    let found = block_on(power_iteration(&operator, Some(&upload(gpu, &start)?), &options))?;
    let apply = |x: &[f64]| x.iter().zip(&d).map(|(x, &d)| x * f64::from(d)).collect::<Vec<f64>>();
    let expected = twin::power_iteration(apply, &wide(&start), PRODUCTS);
    // of one row the first product leaves no residual, and ends it
    let expected = expected[found.iterations as usize - 1];
    let error = (found.value - expected).abs() / expected.abs();
    let converged = block_on(power_iteration(&operator, None, &PowerOptions { tolerance: 1e-3, ..Default::default() }))?;
    let missed = if converged.converged { (converged.value - 2.0).abs() / 2.0 } else { f64::INFINITY };
    Ok(Entry::new(&[n], DType::F32, worse(error, missed), BOUND))
}
