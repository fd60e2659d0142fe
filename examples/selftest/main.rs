//! Every kernel on the adapter at hand against its CPU twin in `gradus::reference`, over sizes and
//! element types: for finding out whether a GPU and its driver compute what the crate means.
//!
//! ```text
//! cargo run --release --example selftest -- [--filter TEXT] [--checked] [--json]
//! ```
//!
//! The adapter is chosen by `WGPU_BACKEND` and `WGPU_ADAPTER_NAME`, else it is the one of highest
//! performance. `--filter` runs only the kernels whose name contains a text, `--checked` compiles the
//! shaders with wgpu's bounds checks, which tells a wild access from wrong arithmetic, and `--json`
//! prints an object a line instead of the table:
//!
//! ```text
//! {"bound":1.0,"dtype":"F16/F32","error":0.0213,"kernel":"optim/adamw","passed":true,"size":[6,27]}
//! ```
//!
//! An error that is not a number is `null`, and `message` says what went wrong if the kernel could not
//! be run. Of two element types the first is the parameter's and the second the gradient's; in casts
//! they are source and destination. Each size is run where whole cells of 16 bytes can be loaded, and
//! again at offsets where they cannot (some types and options of optimizers: only the former); the
//! greater error counts. Should a byte around a tensor have changed, its elements count as NaN.
//!
//! The exit status is 0 if all entries passed, 1 if one failed, and 2 if nothing could be run.
//!
//! # Errors and bounds
//!
//! | kernels | the error | the bound |
//! |---|---|---|
//! | `copy`, `fill`, `cast`, `random_*`, `max_magnitude` | elements that are not the twin's, bit for bit; f32 denormals may be zero, NaN is NaN | 0 |
//! | `scale`, `axpy` | in units in the last place of the type, at the largest of product, `y` and result | 1: half a unit each for the product and the sum |
//! | `dot` | relative to Σ\|x_i y_i\| | γ = D u/(1 - D u), u = 2^-24, of the D roundings that a term passes through (Higham 2002, section 3.1) |
//! | `norm`, `global_norm` | relative | γ/2, and 4 u for the root |
//! | optimizer steps | in tolerances of 2^-22 \|p\| + 4e-6 of the largest change of any element in that step: a few roundings of the parameter, and what division, roots and exponentials of GPUs lose. Parameters of 16 bits: by how many tolerances the twin would have to move for the result to be its rounding, of the same random bits if stochastic | 1 |
//! | `bias_correction` | relative error of the step that it leads to, after t-1 steps of zero gradients | 2e-6 |
//! | `graph/*` | of the norm of the result, and of its gradient by each operand, relative | 1e-5 |
//! | `global_norm skip` | values that a skipped step should not have changed, or should have | 0 |
//!
//! An optimizer takes five steps. The twin takes each from the parameters that the device has, so that
//! an error counts once, in the step that makes it; the states are the twin's own. Where there is a
//! master copy, which only the device sees, the twin's parameters are its own too, and step t has t
//! tolerances. The gradients of AdamP and SGDP are made orthogonal to the rows of the parameter in
//! some steps, to the whole in some, and to neither in others, so that each branch is taken.

mod graph;

use std::io::Write;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use clap::Parser;
use gradus::gpu::Checks;
use gradus::optim::{self, Algorithm, LossScale, Optimizer, Options, Param, Rounding};
use gradus::reference::optim::{self as twin, Step};
use gradus::reference::{random, rounding, vector as blas};
use gradus::{DType, Gpu, Recording, Result, Tensor, vector};
use serde_json::json;

#[derive(Parser)]
#[command(about = "Checks every kernel on this machine's GPU against plain f64 loops")]
struct Arguments {
    /// Run only the kernels whose name contains this.
    #[arg(long, default_value = "")]
    filter: String,
    /// Compile the shaders with bounds checks.
    #[arg(long)]
    checked: bool,
    /// A line of JSON for each entry instead of a table.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let checks = if arguments.checked { Checks::Checked } else { Checks::Unchecked };
    let gpu = match pollster::block_on(Gpu::headless_with_options(checks)) {
        Ok(gpu) => gpu,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let mut report = Report::new(gpu, arguments);
    elementwise(&mut report);
    casts(&mut report);
    reductions(&mut report);
    steps(&mut report);
    projection(&mut report);
    bias_correction(&mut report);
    global_norm(&mut report);
    skipped_steps(&mut report);
    graph::run(&mut report);
    report.finish()
}

// --------------------------------------------------------------------------------------- report

/// A kernel at one size.
struct Entry {
    size: Vec<usize>,
    dtype: String,
    error: f64,
    bound: f64,
    /// Why it could not be run.
    message: Option<String>,
}

impl Entry {
    fn new(size: &[usize], dtype: impl ToString, error: f64, bound: f64) -> Self {
        Self { size: size.to_vec(), dtype: dtype.to_string(), error, bound, message: None }
    }

    fn not_run(message: String) -> Self {
        Self { message: Some(message), ..Self::new(&[], "", f64::NAN, 0.0) }
    }

    /// False for NaN.
    fn passed(&self) -> bool {
        self.error <= self.bound && self.message.is_none()
    }
}

struct Report {
    gpu: Gpu,
    arguments: Arguments,
    start: Instant,
    entries: usize,
    failures: Vec<String>,
    /// What wgpu reports by no other way; its own handler would end the program.
    uncaptured: Arc<Mutex<Vec<String>>>,
}

impl Report {
    fn new(gpu: Gpu, arguments: Arguments) -> Self {
        let uncaptured = Arc::new(Mutex::new(Vec::new()));
        let handler = uncaptured.clone();
        gpu.device().on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            handler.lock().unwrap_or_else(PoisonError::into_inner).push(error.to_string());
        }));
        let report = Self { gpu, arguments, start: Instant::now(), entries: 0, failures: Vec::new(), uncaptured };
        if !report.arguments.json {
            print(&format!("{:36} {:>12} {:>10} {:>10} {:>10}", "kernel", "size", "dtype", "error", "bound"));
        }
        report
    }

    /// Runs `case` if the kernel is asked for. What goes wrong is an entry that failed.
    fn case(&mut self, kernel: &str, case: impl FnOnce(&Gpu) -> Result<Vec<Entry>>) {
        if !kernel.contains(&self.arguments.filter) {
            return;
        }
        let mut entries = case(&self.gpu).unwrap_or_else(|error| vec![Entry::not_run(error.to_string())]);
        let messages = std::mem::take(&mut *self.uncaptured.lock().unwrap_or_else(PoisonError::into_inner));
        entries.extend(messages.into_iter().map(Entry::not_run));
        for entry in entries {
            self.add(kernel, &entry);
        }
    }

    fn add(&mut self, kernel: &str, entry: &Entry) {
        let Entry { size, dtype, error, bound, message } = entry;
        let verdict = if entry.passed() { "" } else { "  FAILED" };
        let size_text = format!("{size:?}").replace(' ', "");
        let mut line = format!("{kernel:36} {size_text:>12} {dtype:>10} {error:10.2e} {bound:10.2e}{verdict}");
        if let Some(message) = message {
            line.push_str(&format!(": {message}"));
        }
        if self.arguments.json {
            let passed = entry.passed();
            let mut object = json!({"kernel": kernel, "size": size, "dtype": dtype, "error": error, "bound": bound, "passed": passed});
            if let Some(message) = message {
                object["message"] = json!(message);
            }
            print(&object.to_string());
        } else {
            print(&line);
        }
        self.entries += 1;
        if !entry.passed() {
            self.failures.push(line);
        }
    }

    fn finish(self) -> ExitCode {
        let info = self.gpu.device().adapter_info();
        let driver = [info.driver.as_str(), info.driver_info.as_str()].join(" ");
        let (entries, failed) = (self.entries, self.failures.len());
        let seconds = self.start.elapsed().as_secs_f64();
        let summary = format!("{} ({:?}, {}): {entries} entries, {failed} failed, {seconds:.1} s", info.name, info.backend, driver.trim());
        // objects alone on the standard output
        let show = if self.arguments.json { |line: &str| eprintln!("{line}") } else { print };
        if failed > 0 {
            show("\nfailed:");
            self.failures.iter().for_each(|line| show(line));
        }
        show(&format!("{}{summary}", if self.arguments.json { "" } else { "\n" }));
        match (entries, failed) {
            (0, _) => {
                eprintln!("error: no kernel's name contains `{}`", self.arguments.filter);
                ExitCode::from(2)
            }
            (_, 0) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

/// A line on the standard output. That nobody reads it is no reason to stop.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

// --------------------------------------------------------------------------- values and memory

/// f32 values in [-1, 1), the same every time.
fn noise(seed: u64, n: usize) -> Vec<f32> {
    random::uniform(seed, 0, n).into_iter().map(|u| 2.0 * u - 1.0).collect()
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

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// The distance of neighbouring values of a type about `x`.
fn unit(dtype: DType, x: f64) -> f64 {
    let (fraction, least) = match dtype {
        DType::F16 => (10, -24),
        DType::Bf16 => (7, -133),
        _ => (23, -149),
    };
    let exponent = if x == 0.0 { least } else { x.abs().log2().floor() as i32 - fraction };
    2f64.powi(exponent.max(least))
}

/// The greater of two errors; NaN is the greatest.
fn worse(a: f64, b: f64) -> f64 {
    if a > b || a.is_nan() { a } else { b }
}

/// Tensors in one buffer.
struct Memory {
    whole: Tensor,
    tensors: Vec<Tensor>,
    gap: u32,
}

/// What lies between tensors that are read, and between those that are written: NaN in every type, and
/// not what arithmetic makes of the other or of itself.
const GAPS: [u32; 2] = [0xff81_ff81, 0x7f81_7f81];

impl Memory {
    /// The first tensor begins at byte `start`, each at a multiple of `alignment` after that.
    fn new(gpu: &Gpu, shapes: &[&[usize]], dtype: DType, start: u64, alignment: u64, gap: u32) -> Result<Self> {
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
    fn write(&self, gpu: &Gpu, values: &[Vec<f32>]) -> Result<()> {
        let mut bytes = self.gap.to_le_bytes().repeat(self.whole.len());
        for (tensor, values) in self.tensors.iter().zip(values) {
            bytes[tensor.offset() as usize..][..tensor.bytes() as usize].copy_from_slice(&encode(tensor.dtype(), values));
        }
        let words: Vec<u32> = bytes.as_chunks().0.iter().map(|&b| u32::from_le_bytes(b)).collect();
        self.whole.write(gpu, &words)
    }

    /// The values of every tensor; NaN if something between them has changed.
    fn read(&self, gpu: &Gpu) -> Result<Vec<Vec<f32>>> {
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

// --------------------------------------------------------------------------------------- vector

/// Below and about a cell; above a workgroup; several blocks of a reduction.
const LENGTHS: [usize; 4] = [1, 5, 1023, 4 * 8192 + 3];

/// Where x and y begin, in bytes: at whole cells, and out of phase.
const STARTS: [(u64, u64); 2] = [(0, 0), (4, 8)];

const ALPHA: f32 = -0.6;
const SEED: u64 = 0x0123_4567_89ab_cdef;
const STREAM: u32 = 5;

/// What a vector operation was given and what it left behind.
struct Outcome {
    x: Vec<f32>,
    before: Vec<f32>,
    y: Vec<f32>,
    out: f32,
}

type Record = fn(&Gpu, &mut Recording, &Tensor, &Tensor, &Tensor) -> Result<()>;

/// Runs an operation on values of x and y of these types, at each of `STARTS`.
fn run_vector(gpu: &Gpu, dtypes: [DType; 2], x: &[f32], y: &[f32], record: Record) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for (start_x, start_y) in STARTS {
        let of_x = Memory::new(gpu, &[&[x.len()]], dtypes[0], start_x, 4, GAPS[0])?;
        let of_y = Memory::new(gpu, &[&[y.len()]], dtypes[1], start_y, 4, GAPS[1])?;
        of_x.write(gpu, &[x.to_vec()])?;
        of_y.write(gpu, &[y.to_vec()])?;
        let out = Tensor::zeros(gpu, &[1], DType::F32)?;
        let mut recording = Recording::new();
        record(gpu, &mut recording, &of_x.tensors[0], &of_y.tensors[0], &out)?;
        gpu.submit([&recording]);
        let rounded = |dtype: DType, values: &[f32]| decode(dtype, &encode(dtype, values));
        outcomes.push(Outcome {
            x: rounded(dtypes[0], x),
            before: rounded(dtypes[1], y),
            y: of_y.read(gpu)?.remove(0),
            out: pollster::block_on(out.read::<f32>(gpu))?[0],
        });
    }
    Ok(outcomes)
}

/// How many elements are not the expected values rounded to the type.
fn differing(dtype: DType, found: &[f32], expected: &[f32]) -> f64 {
    let expected = decode(dtype, &encode(dtype, expected));
    let same = |found: f32, expected: f32| {
        let zero = 0f32.copysign(expected);
        let flushed = expected.abs() < f32::MIN_POSITIVE && found.to_bits() == zero.to_bits();
        found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()) || flushed
    };
    found.iter().zip(expected).filter(|&(&found, expected)| !same(found, expected)).count() as f64
}

fn elementwise(report: &mut Report) {
    /// The name, the operation, the error of an outcome, and its bound.
    type Row = (&'static str, Record, fn(DType, &Outcome) -> f64, f64);
    let table: [Row; 6] = [
        (
            "vector/fill",
            |gpu, recording, _, y, _| vector::fill(gpu, recording, f64::from(ALPHA), y),
            |dtype, outcome| differing(dtype, &outcome.y, &vec![ALPHA; outcome.y.len()]),
            0.0,
        ),
        (
            "vector/copy",
            |gpu, recording, x, y, _| vector::copy(gpu, recording, x, y),
            |dtype, outcome| differing(dtype, &outcome.y, &outcome.x),
            0.0,
        ),
        (
            "vector/scale",
            |gpu, recording, _, y, _| vector::scale(gpu, recording, f64::from(ALPHA), y),
            |dtype, outcome| {
                let mut expected = wide(&outcome.before);
                blas::scale(ALPHA.into(), &mut expected);
                in_units(dtype, &outcome.y, &expected, &expected)
            },
            1.0,
        ),
        (
            "vector/axpy",
            |gpu, recording, x, y, _| vector::axpy(gpu, recording, f64::from(ALPHA), x, y),
            |dtype, outcome| {
                let mut expected = wide(&outcome.before);
                blas::axpy(ALPHA.into(), &wide(&outcome.x), &mut expected);
                let terms = outcome.x.iter().zip(&outcome.before);
                let largest = terms.zip(&expected).map(|((x, y), sum)| f64::from((ALPHA * x).abs().max(y.abs())).max(sum.abs()));
                in_units(dtype, &outcome.y, &expected, &largest.collect::<Vec<_>>())
            },
            1.0,
        ),
        (
            "vector/random_uniform",
            |gpu, recording, _, y, _| vector::random_uniform(gpu, recording, SEED, STREAM, y),
            |dtype, outcome| differing(dtype, &outcome.y, &random::uniform(SEED, STREAM, outcome.y.len())),
            0.0,
        ),
        (
            "vector/random_rademacher",
            |gpu, recording, _, y, _| vector::random_rademacher(gpu, recording, SEED, STREAM, y),
            |dtype, outcome| differing(dtype, &outcome.y, &random::rademacher(SEED, STREAM, outcome.y.len())),
            0.0,
        ),
    ];
    for (kernel, record, error, bound) in table {
        for dtype in DType::FLOATS {
            report.case(kernel, |gpu| {
                let entry = |n: usize| {
                    let outcomes = run_vector(gpu, [dtype; 2], &noise(1, n), &noise(2, n), record)?;
                    let error = outcomes.iter().map(|outcome| error(dtype, outcome)).fold(0.0, worse);
                    Ok(Entry::new(&[n], dtype, error, bound))
                };
                LENGTHS.into_iter().map(entry).collect()
            });
        }
    }
}

/// The largest error in units in the last place of the type, at `scale`.
fn in_units(dtype: DType, found: &[f32], expected: &[f64], scale: &[f64]) -> f64 {
    let errors =
        found.iter().zip(expected).zip(scale).map(|((&found, expected), scale)| (f64::from(found) - expected).abs() / unit(dtype, *scale));
    errors.fold(0.0, worse)
}

/// Every pattern of a type of 16 bits, or patterns of f32 about every value to which they round and
/// every tie, and others at random.
fn patterns(dtype: DType) -> Vec<f32> {
    let halves = || 0..=u16::MAX;
    match dtype {
        DType::F16 => halves().map(rounding::f16_to_f32).collect(),
        DType::Bf16 => halves().map(rounding::bf16_to_f32).collect(),
        _ => {
            // a tie of f16 lies half a unit of f16 above a value, of bf16 half a unit of bf16
            let f16 = (0..0x7c00).flat_map(|h| {
                let value = f64::from(rounding::f16_to_f32(h));
                let tie = (value + 0.5 * unit(DType::F16, value)) as f32;
                [value as f32, tie.next_down(), tie, tie.next_up()]
            });
            let bf16 = (0..0x7f80).flat_map(|h: u32| [0, 0x7fff, 0x8000, 0x8001].map(|low| f32::from_bits(h << 16 | low)));
            let random = (0..25_000).flat_map(|i| random::philox4x32([i, 0, 0, 0], [1, 2])).map(f32::from_bits);
            f16.chain(bf16).flat_map(|x| [x, -x]).chain([f32::INFINITY, f32::NAN]).chain(random).collect()
        }
    }
}

fn casts(report: &mut Report) {
    for from in DType::FLOATS {
        for to in DType::FLOATS {
            report.case("vector/cast", |gpu| {
                let entry = |x: Vec<f32>| {
                    let outcomes =
                        run_vector(gpu, [from, to], &x, &vec![0.0; x.len()], |gpu, recording, x, y, _| vector::cast(gpu, recording, x, y))?;
                    let error = outcomes.iter().map(|outcome| differing(to, &outcome.y, &outcome.x)).fold(0.0, worse);
                    Ok(Entry::new(&[x.len()], format!("{from}/{to}"), error, 0.0))
                };
                [noise(1, 1), noise(1, 5), noise(1, 1023), patterns(from)].into_iter().map(entry).collect()
            });
        }
    }
}

/// γ of a number of roundings to nearest.
fn gamma(roundings: usize) -> f64 {
    let sum = roundings as f64 * f64::from(f32::EPSILON) / 2.0;
    sum / (1.0 - sum)
}

/// The relative error of a root of a sum with this γ.
fn root_of(gamma: f64) -> f64 {
    gamma / 2.0 + 4.0 * f64::from(f32::EPSILON) / 2.0
}

fn reductions(report: &mut Report) {
    /// The error and the bound of an outcome.
    type Judge = fn(usize, &Outcome) -> (f64, f64);
    let table: [(&str, Record, Judge); 3] = [
        ("vector/dot", vector::dot, |roundings, outcome| {
            let (x, y) = (wide(&outcome.x), wide(&outcome.before));
            let magnitude: f64 = x.iter().zip(&y).map(|(x, y)| (x * y).abs()).sum();
            ((f64::from(outcome.out) - blas::dot(&x, &y)).abs() / magnitude, gamma(roundings))
        }),
        (
            "vector/norm",
            |gpu, recording, x, _, out| vector::norm(gpu, recording, x, out),
            |roundings, outcome| {
                let norm = blas::norm(&wide(&outcome.x));
                ((f64::from(outcome.out) / norm - 1.0).abs(), root_of(gamma(roundings)))
            },
        ),
        (
            "vector/max_magnitude",
            |gpu, recording, x, _, out| vector::max_magnitude(gpu, recording, x, out),
            |_, outcome| (differing(DType::F32, &[outcome.out], &[blas::max_magnitude(&wide(&outcome.x)) as f32]), 0.0),
        ),
    ];
    for (kernel, record, judge) in table {
        for dtype in DType::FLOATS {
            report.case(kernel, |gpu| {
                let entry = |n: usize| {
                    // 2 of the products in a word, 8 of an invocation's share of a block of 32 KiB, 40 of the tree
                    // over 256 invocations, 2 of four lanes; then a partial result for each block, and tree and lanes
                    let blocks = (n * dtype.size() as usize).div_ceil(32 << 10);
                    let roundings = 2 + 8 + 40 + 2 + blocks.div_ceil(256) + 40 + 2;
                    let (mut error, mut bound) = (0.0, 0.0);
                    let ordinary = noise(3, n);
                    // a NaN must be found, even in the last half of a word
                    let mut with_nan = ordinary.clone();
                    with_nan[n - 1] = f32::NAN;
                    for outcome in run_vector(gpu, [dtype; 2], &ordinary, &noise(4, n), record)? {
                        let judged = judge(roundings, &outcome);
                        (error, bound) = (worse(error, judged.0), judged.1);
                    }
                    for outcome in run_vector(gpu, [dtype; 2], &with_nan, &noise(4, n), record)? {
                        error = if outcome.out.is_nan() { error } else { f64::INFINITY };
                    }
                    Ok(Entry::new(&[n], dtype, error, bound))
                };
                LENGTHS.into_iter().map(entry).collect()
            });
        }
    }
}

// ---------------------------------------------------------------------------------------- steps

/// An algorithm as the crate and as the reference spell it.
struct Pair {
    name: &'static str,
    kernel: Box<dyn Algorithm>,
    twin: Box<dyn Step>,
}

macro_rules! pair {
    ($name:literal, $type:ident { $($field:ident: $value:expr),* }) => {
        Pair {
            name: $name,
            kernel: Box::new(optim::$type { $($field: $value,)* ..Default::default() }),
            twin: Box::new(twin::$type { $($field: $value,)* ..Default::default() }),
        }
    };
}

fn algorithms() -> Vec<Pair> {
    vec![
        pair!("optim/sgd", Sgd { lr: 0.1 }),
        pair!("optim/sgd momentum", Sgd { lr: 0.05, momentum: 0.9, dampening: 0.3, weight_decay: 0.02, maximize: true }),
        pair!("optim/sgd nesterov", Sgd { lr: 0.05, momentum: 0.9, weight_decay: 0.02, nesterov: true }),
        pair!("optim/adagrad", Adagrad { lr: 0.02, lr_decay: 0.1, weight_decay: 0.03, initial_accumulator_value: 0.2 }),
        pair!("optim/adadelta", Adadelta { lr: 0.7, weight_decay: 0.02 }),
        pair!("optim/rmsprop", RmsProp { lr: 0.01, weight_decay: 0.02 }),
        pair!(
            "optim/rmsprop centered momentum",
            RmsProp { lr: 0.003, alpha: 0.9, eps: 1e-4, weight_decay: 0.01, momentum: 0.8, centered: true }
        ),
        pair!("optim/adam", Adam { lr: 0.01, weight_decay: 0.1 }),
        pair!("optim/adam amsgrad", Adam { lr: 0.01, betas: [0.8, 0.99], amsgrad: true, maximize: true }),
        pair!("optim/adamw", AdamW { lr: 0.01, weight_decay: 0.3 }),
        pair!("optim/diffgrad", DiffGrad { lr: 0.01, weight_decay: 0.1 }),
        pair!("optim/adamp", AdamP { lr: 0.01, weight_decay: 0.2 }),
        pair!("optim/adamp nesterov", AdamP { lr: 0.01, weight_decay: 0.2, nesterov: true }),
        pair!("optim/sgdp", SgdP { lr: 0.05, momentum: 0.9, dampening: 0.2, weight_decay: 0.02 }),
        pair!("optim/sgdp nesterov", SgdP { lr: 0.05, momentum: 0.9, weight_decay: 0.02, nesterov: true }),
    ]
}

/// Less than a cell, ragged ends, rows of whole cells and not; each takes 8 invocations.
const SHAPES: [&[usize]; 5] = [&[1], &[5], &[300], &[6, 27], &[64, 64]];

/// Rows of 64 invocations, and of 256 in two segments each, as well.
const MORE_SHAPES: [&[usize]; 7] = [&[1], &[5], &[300], &[6, 27], &[64, 64], &[3, 1030], &[2, 16389]];

/// Where parameters and gradients begin, and the alignment of those that follow, in bytes.
struct Place {
    param: u64,
    grad: u64,
    alignment: u64,
}

/// At whole cells, and out of phase.
const PLACES: &[Place] = &[Place { param: 0, grad: 0, alignment: 16 }, Place { param: 4, grad: 8, alignment: 4 }];
const WHOLE_CELLS: &[Place] = PLACES.split_at(1).0;

/// Types of parameter and gradient, the shapes and the places. A software driver takes a second to
/// compile what a row needs for AdamP; hence not all with all.
type Row = ([DType; 2], &'static [&'static [usize]], &'static [Place]);
const TABLE: [Row; 5] = [
    ([DType::F32, DType::F32], &MORE_SHAPES, PLACES),
    ([DType::F16, DType::F32], &SHAPES, WHOLE_CELLS),
    ([DType::F16, DType::F16], &SHAPES, PLACES),
    ([DType::Bf16, DType::Bf16], &SHAPES, WHOLE_CELLS),
    ([DType::Bf16, DType::F32], &SHAPES, WHOLE_CELLS),
];

/// Steps of each optimizer.
const STEPS: u64 = 5;

fn steps(report: &mut Report) {
    let rounding = Rounding::Stochastic { seed: SEED };
    let master = Options { master_weights: true, ..Default::default() };
    for (index, pair) in algorithms().iter().enumerate() {
        for row in TABLE {
            report.case(pair.name, |gpu| run_steps(gpu, pair, row, &Options::default()));
        }
        let mut options = vec![(" master", master.clone()), (" stochastic", Options { rounding, ..Default::default() })];
        // that both together work does not depend on the step
        if pair.name == "optim/adamw" || pair.name == "optim/adamp" {
            options.push((" master stochastic", Options { rounding, ..master.clone() }));
        }
        for (i, (suffix, options)) in options.iter().enumerate() {
            // a row of 16-bit parameters each, by turns
            let (types, shapes, _) = TABLE[1 + (index + i) % 4];
            report.case(&format!("{}{suffix}", pair.name), |gpu| run_steps(gpu, pair, (types, shapes, WHOLE_CELLS), options));
        }
    }
}

/// What a gradient is orthogonal to, in the view of AdamP and SGDP.
#[derive(Clone, Copy)]
enum Orthogonal {
    /// Each row of the parameter.
    Rows,
    /// The parameter as a whole.
    Whole,
    Neither,
}

impl Orthogonal {
    const ALL: [Self; 3] = [Self::Rows, Self::Whole, Self::Neither];

    /// Takes from `g` what is along `p`.
    fn apply(self, shape: &[usize], p: &[f64], g: &mut [f32]) {
        let row = match self {
            Self::Rows => g.len() / shape[0],
            Self::Whole => g.len(),
            Self::Neither => return,
        };
        for (p, g) in p.chunks_exact(row).zip(g.chunks_exact_mut(row)) {
            let along = blas::dot(p, &wide(g)) / blas::dot(p, p);
            g.iter_mut().zip(p).for_each(|(g, p)| *g = (f64::from(*g) - along * p) as f32);
        }
    }
}

/// Parameters, gradients and an optimizer over them: all shapes in the first place, then in the next.
struct Model {
    shapes: Vec<&'static [usize]>,
    params: Vec<Memory>,
    grads: Vec<Memory>,
    optimizer: Optimizer,
}

impl Model {
    fn new(gpu: &Gpu, algorithm: &dyn Algorithm, (types, shapes, places): Row, options: &Options) -> Result<Self> {
        let memory = |dtype, start, place: &Place, gap| Memory::new(gpu, shapes, dtype, start, place.alignment, gap);
        let params: Vec<Memory> = places.iter().map(|place| memory(types[0], place.param, place, GAPS[1])).collect::<Result<_>>()?;
        let grads: Vec<Memory> = places.iter().map(|place| memory(types[1], place.grad, place, GAPS[0])).collect::<Result<_>>()?;
        for (memory, seed) in params.iter().zip(100..) {
            let values: Vec<_> = shapes.iter().zip(1..).map(|(shape, i)| noise(seed * i, shape.iter().product())).collect();
            memory.write(gpu, &values)?;
        }
        let tensors = params.iter().flat_map(|memory| &memory.tensors).zip(grads.iter().flat_map(|memory| &memory.tensors));
        let names: Vec<String> = (0..places.len() * shapes.len()).map(|i| format!("parameter.{i}")).collect();
        let list: Vec<Param> = names.iter().zip(tensors).map(|(name, (param, grad))| Param::new(name, param, grad)).collect();
        let optimizer = Optimizer::with_options(gpu, algorithm, &list, options.clone())?;
        Ok(Self { shapes: shapes.repeat(places.len()), params, grads, optimizer })
    }

    fn read(&self, gpu: &Gpu) -> Result<Vec<Vec<f32>>> {
        let all = self.params.iter().map(|memory| memory.read(gpu)).collect::<Result<Vec<_>>>()?;
        Ok(all.concat())
    }

    /// Takes a step with these gradients, and returns them as their type has them.
    fn step(&self, gpu: &Gpu, gradients: &[Vec<f32>]) -> Result<Vec<Vec<f64>>> {
        for (memory, gradients) in self.grads.iter().zip(gradients.chunks(gradients.len() / self.grads.len())) {
            memory.write(gpu, gradients)?;
        }
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        self.optimizer.step(&mut encoder);
        gpu.queue().submit([encoder.finish()]);
        let dtype = self.grads[0].tensors[0].dtype();
        Ok(gradients.iter().map(|g| wide(&decode(dtype, &encode(dtype, g)))).collect())
    }

    /// An entry a shape, of the errors of its tensor in each place.
    fn entries(&self, errors: &[f64], bound: f64) -> Vec<Entry> {
        let count = errors.len() / self.params.len();
        let dtype = format!("{}/{}", self.params[0].tensors[0].dtype(), self.grads[0].tensors[0].dtype());
        let entry = |i: usize| Entry::new(self.shapes[i], &dtype, errors.iter().skip(i).step_by(count).copied().fold(0.0, worse), bound);
        (0..count).map(entry).collect()
    }
}

fn run_steps(gpu: &Gpu, pair: &Pair, row: Row, options: &Options) -> Result<Vec<Entry>> {
    let projects = pair.name.contains("adamp") || pair.name.contains("sgdp");
    let model = Model::new(gpu, &*pair.kernel, row, options)?;
    let mut p: Vec<Vec<f64>> = model.read(gpu)?.iter().map(|p| wide(p)).collect();
    let mut states: Vec<_> = p.iter().map(|p| pair.twin.initial_state(p.len())).collect();
    let mut errors = vec![0.0; p.len()];
    for t in 1..=STEPS {
        let orthogonal = if projects { Orthogonal::ALL[t as usize % 3] } else { Orthogonal::Neither };
        let gradients: Vec<Vec<f32>> = (0..p.len())
            .map(|i| {
                let mut g = noise(1000 * t + i as u64, p[i].len());
                orthogonal.apply(model.shapes[i], &p[i], &mut g);
                g
            })
            .collect();
        let gradients = model.step(gpu, &gradients)?;
        let mut expected = p.clone();
        for (i, expected) in expected.iter_mut().enumerate() {
            pair.twin.step(t, model.shapes[i], expected, &gradients[i], &mut states[i]);
        }
        let found = model.read(gpu)?;
        let steps = if options.master_weights { t as f64 } else { 1.0 };
        judge_step(row.0[0], options.rounding, t, steps, &p, &expected, &found, &mut errors);
        p = if options.master_weights { expected } else { found.iter().map(|p| wide(p)).collect() };
    }
    Ok(model.entries(&errors, 1.0))
}

/// Raises the error of each tensor to that of step `t`, which took the twin from `before` to
/// `expected`.
#[expect(clippy::too_many_arguments, reason = "a step is all of these")]
fn judge_step(
    dtype: DType,
    mode: Rounding,
    t: u64,
    steps: f64,
    before: &[Vec<f64>],
    expected: &[Vec<f64>],
    found: &[Vec<f32>],
    errors: &mut [f64],
) {
    let changes = before.iter().flatten().zip(expected.iter().flatten()).map(|(a, b)| (a - b).abs());
    let largest = changes.fold(0.0, f64::max);
    for (tensor, error) in errors.iter_mut().enumerate() {
        for (element, (&found, &expected)) in found[tensor].iter().zip(&expected[tensor]).enumerate() {
            let tolerance = steps * (2f64.powi(-22) * expected.abs() + 4e-6 * largest);
            let found_error = match (dtype, mode) {
                (DType::F32, _) => (f64::from(found) - expected).abs() / tolerance,
                (_, Rounding::Nearest) => moved(found, expected, tolerance, |x| decode(dtype, &encode(dtype, &[x]))[0]),
                (_, Rounding::Stochastic { seed }) => {
                    // as `random_cell` of shaders/shared/access.wgsl
                    let counter = [(element / 4) as u32, tensor as u32, t as u32, 0];
                    let word = random::philox4x32(counter, [seed as u32, (seed >> 32) as u32])[element % 4];
                    moved(found, expected, tolerance, |x| match dtype {
                        DType::F16 => rounding::f16_to_f32(rounding::f32_to_f16_stochastic(x, word)),
                        _ => rounding::bf16_to_f32(rounding::f32_to_bf16_stochastic(x, word)),
                    })
                }
            };
            *error = worse(*error, found_error);
        }
    }
}

/// By how many tolerances `expected` would have to move for `found` to be its rounding, `round` being
/// monotonic.
fn moved(found: f32, expected: f64, tolerance: f64, round: impl Fn(f32) -> f32) -> f64 {
    let nearest = round(expected as f32);
    if nearest == found {
        return 0.0;
    }
    let direction = if found > nearest { 1.0 } else { -1.0 };
    let reaches = |distance: f64| {
        let rounded = round((expected + direction * distance * tolerance) as f32);
        if direction > 0.0 { rounded >= found } else { rounded <= found }
    };
    let (mut low, mut high) = (0.0, 1.0);
    // never for NaN
    while !reaches(high) {
        (low, high) = (high, 2.0 * high);
        if high > 1e12 {
            return f64::INFINITY;
        }
    }
    for _ in 0..20 {
        let middle = 0.5 * (low + high);
        if reaches(middle) { high = middle } else { low = middle }
    }
    high
}

/// One step of each branch on its own: the direction is the gradient, the decay differs by branch.
fn projection(report: &mut Report) {
    let pair = pair!("optim/projection", SgdP { lr: 0.5, weight_decay: 0.4 });
    for (name, orthogonal) in ["optim/projection rows", "optim/projection whole", "optim/projection none"].into_iter().zip(Orthogonal::ALL)
    {
        report.case(name, |gpu| {
            let model = Model::new(gpu, &*pair.kernel, (TABLE[0].0, &MORE_SHAPES[3..], PLACES), &Options::default())?;
            let p: Vec<Vec<f64>> = model.read(gpu)?.iter().map(|p| wide(p)).collect();
            let mut expected = p.clone();
            let mut gradients: Vec<Vec<f32>> = p.iter().zip(1..).map(|(p, seed)| noise(seed, p.len())).collect();
            for (i, g) in gradients.iter_mut().enumerate() {
                orthogonal.apply(model.shapes[i], &p[i], g);
                if let Orthogonal::Neither = orthogonal {
                    // along the parameter as well, well beyond the threshold
                    g.iter_mut().zip(&p[i]).for_each(|(g, p)| *g += *p as f32);
                }
            }
            let gradients = model.step(gpu, &gradients)?;
            for (i, expected) in expected.iter_mut().enumerate() {
                pair.twin.step(1, model.shapes[i], expected, &gradients[i], &mut pair.twin.initial_state(p[i].len()));
            }
            let mut errors = vec![0.0; p.len()];
            judge_step(DType::F32, Rounding::Nearest, 1, 1.0, &p, &expected, &model.read(gpu)?, &mut errors);
            Ok(model.entries(&errors, 1.0))
        });
    }
}

/// The step that gradient 1 leads to at step t, after gradients of zero, which leave all but the step
/// count as it was.
fn bias_correction(report: &mut Report) {
    const TIMES: [u32; 6] = [1, 2, 3, 30, 300, 3000];
    let algorithms = [
        pair!("optim/bias_correction adam", Adam { lr: 1.0 }),
        pair!("optim/bias_correction slow adam", Adam { lr: 1.0, betas: [0.99, 0.9999] }),
        pair!("optim/bias_correction diffgrad", DiffGrad { lr: 1.0 }),
        pair!("optim/bias_correction adagrad", Adagrad { lr: 1.0, lr_decay: 0.1, initial_accumulator_value: 0.5 }),
    ];
    for pair in algorithms {
        let names = TIMES.map(|t| format!("{} t={t}", pair.name));
        if !names.iter().any(|name| name.contains(&report.arguments.filter)) {
            continue;
        }
        let found = steps_at(&report.gpu, &pair, TIMES);
        for (i, name) in names.iter().enumerate() {
            report.case(name, |_| {
                let found = found.as_ref().map_err(Clone::clone);
                let mut expected = [0.0];
                pair.twin.step(TIMES[i].into(), &[1], &mut expected, &[1.0], &mut pair.twin.initial_state(1));
                Ok(vec![match found {
                    Ok(found) => Entry::new(&[1], "F32/F32", (f64::from(found[i]) / expected[0] - 1.0).abs(), 2e-6),
                    Err(message) => Entry::not_run(message),
                }])
            });
        }
    }
}

/// The parameters after step t, for each of `times`, from zero. Each takes its own number of steps: it
/// is frozen when but one is left, and all thaw for that.
fn steps_at<const N: usize>(gpu: &Gpu, pair: &Pair, times: [u32; N]) -> Result<[f32; N], String> {
    let run = || -> Result<[f32; N]> {
        let param = Tensor::zeros(gpu, &[N], DType::F32)?;
        let grad = Tensor::zeros(gpu, &[1], DType::F32)?;
        let names: Vec<String> = times.iter().map(u32::to_string).collect();
        let tensors = (0..N).map(|i| Tensor::from_buffer(param.buffer(), 4 * i as u64, &[1], DType::F32)).collect::<Result<Vec<_>>>()?;
        let list: Vec<Param> = names.iter().zip(&tensors).map(|(name, param)| Param::new(name, param, &grad)).collect();
        let mut optimizer = Optimizer::new(gpu, &*pair.kernel, &list)?;
        let mut taken = 0;
        for (name, t) in names.iter().zip(times) {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            (taken + 1..t).for_each(|_| optimizer.step(&mut encoder));
            gpu.queue().submit([encoder.finish()]);
            taken = t - 1;
            optimizer.set_frozen(name, true)?;
        }
        for name in &names {
            optimizer.set_frozen(name, false)?;
        }
        grad.write(gpu, &[1f32])?;
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        optimizer.step(&mut encoder);
        gpu.queue().submit([encoder.finish()]);
        let found = pollster::block_on(param.read::<f32>(gpu))?;
        Ok(std::array::from_fn(|i| found[i]))
    };
    run().map_err(|error| error.to_string())
}

/// Unscaling, norm and clip factor, by what is reported and by the step.
fn global_norm(report: &mut Report) {
    // the learning rate, the largest gradient, the scale of it (f16 ends at 65504), and the greatest norm.
    // Small gradients are where the 1e-6 in the clip factor counts.
    let table = [
        ("optim/global_norm", 0.5, 1.0, LossScale::Fixed(1.0), None),
        ("optim/global_norm clip", 0.5, 1.0, LossScale::Fixed(1.0), Some(3.0)),
        ("optim/global_norm clip small", 3e5, 2f32.powi(-16), LossScale::Fixed(1.0), Some(1e-4)),
        ("optim/global_norm loss scale clip", 0.5, 0.99, LossScale::dynamic(), Some(3.0)),
    ];
    for (name, lr, largest, loss_scale, max_norm) in table {
        let pair = pair!("optim/global_norm", Sgd { lr: lr });
        for grad in DType::FLOATS {
            report.case(name, |gpu| {
                let options = Options { max_norm, loss_scale, skip_non_finite: true, ..Default::default() };
                let model = Model::new(gpu, &*pair.kernel, ([DType::F32, grad], &SHAPES, PLACES), &options)?;
                let p: Vec<Vec<f64>> = model.read(gpu)?.iter().map(|p| wide(p)).collect();
                let scale = match loss_scale {
                    LossScale::Fixed(scale) => scale,
                    LossScale::Dynamic { initial, .. } => initial,
                };
                let gradients: Vec<Vec<f32>> =
                    p.iter().zip(1..).map(|(p, seed)| noise(seed, p.len()).iter().map(|x| largest * x * scale as f32).collect()).collect();
                let mut gradients = model.step(gpu, &gradients)?;
                gradients.iter_mut().for_each(|g| blas::scale(1.0 / scale, g));
                let norm = twin::global_norm(&gradients.iter().map(Vec::as_slice).collect::<Vec<_>>());
                let factor = max_norm.map_or(1.0, |max| twin::clip_factor(norm, max));
                let mut expected = p.clone();
                for ((shape, expected), g) in model.shapes.iter().zip(&mut expected).zip(&mut gradients) {
                    blas::scale(factor, g);
                    pair.twin.step(1, shape, expected, g, &mut pair.twin.initial_state(g.len()));
                }
                let mut errors = vec![0.0; p.len()];
                judge_step(DType::F32, Rounding::Nearest, 1, 1.0, &p, &expected, &model.read(gpu)?, &mut errors);
                let mut entries = model.entries(&errors, 1.0);
                // 2 of the product, 16 of an invocation's share, and two trees
                let status = pollster::block_on(model.optimizer.status())?;
                let error = (f64::from(status.grad_norm) / norm - 1.0).abs();
                let elements = p.iter().map(Vec::len).sum();
                entries.push(Entry::new(&[elements], grad, error, root_of(gamma(2 + 16 + 40 + 2 + 40))));
                Ok(entries)
            });
        }
    }
}

/// A step with a gradient that is not finite changes nothing but the loss scale and the count of
/// skipped steps, wherever that gradient is; the next one is a step again.
fn skipped_steps(report: &mut Report) {
    for (name, value) in [("optim/global_norm skip infinity", f32::NEG_INFINITY), ("optim/global_norm skip NaN", f32::NAN)] {
        for grad in DType::FLOATS {
            report.case(name, |gpu| {
                let options = Options { loss_scale: LossScale::dynamic(), ..Default::default() };
                let model = Model::new(gpu, &optim::AdamW::default(), ([DType::F32, grad], &SHAPES, PLACES), &options)?;
                let zeros: Vec<Vec<f32>> = model.shapes.iter().map(|shape| vec![0.0; shape.iter().product()]).collect();
                let before = model.read(gpu)?;
                let mut errors = vec![0.0; zeros.len()];
                for (tensor, error) in errors.iter_mut().enumerate() {
                    let mut gradients = zeros.clone();
                    let last = gradients[tensor].len() - 1;
                    gradients[tensor][last] = value;
                    model.step(gpu, &gradients)?;
                    let status = pollster::block_on(model.optimizer.status())?;
                    let skipped = tensor as u32 + 1;
                    let changed =
                        before.iter().flatten().zip(model.read(gpu)?.iter().flatten()).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
                    let counted = pollster::block_on(model.optimizer.steps())?.iter().filter(|&&steps| steps != 0).count();
                    let wrong = [!status.skipped, status.skipped_steps != skipped, status.loss_scale != 65536.0 / (1u64 << skipped) as f32];
                    *error = (changed + counted + wrong.into_iter().filter(|&wrong| wrong).count()) as f64;
                }
                let mut entries = model.entries(&errors, 0.0);
                model.step(gpu, &zeros)?;
                let status = pollster::block_on(model.optimizer.status())?;
                let idle = pollster::block_on(model.optimizer.steps())?.iter().filter(|&&steps| steps != 1).count();
                entries.push(Entry::new(&[errors.len()], grad, (idle + usize::from(status.skipped)) as f64, 0.0));
                Ok(entries)
            });
        }
    }
}
