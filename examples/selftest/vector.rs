//! The kernels of vectors: elementwise ones, casts, reductions, and products with a matrix.

use gradus::reference::{random, rounding, vector as blas};
use gradus::{DType, Gpu, Recording, Result, Tensor, vector};

use super::values::{GAPS, Memory, decode, differing, encode, gamma, in_units, noise, root_of, unit, wide, worse};
use super::{Entry, Report, SEED};

pub fn run(report: &mut Report) {
    elementwise(report);
    casts(report);
    reductions(report);
    products(report);
}

/// Below and about a cell; above a workgroup; several blocks of a reduction.
const LENGTHS: [usize; 4] = [1, 5, 1023, 4 * 8192 + 3];

/// Where x and y begin, in bytes: at whole cells, and out of phase.
const STARTS: [(u64, u64); 2] = [(0, 0), (4, 8)];

const ALPHA: f32 = -0.6;
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

/// Rows and columns: within a cell and not, rows that need several blocks, and many rows.
const SIZES: [[usize; 2]; 5] = [[1, 1], [5, 7], [64, 256], [3, 40_001], [2051, 20]];

fn products(report: &mut Report) {
    for (kernel, transposed) in [("vector/gemv", false), ("vector/gemv_transposed", true)] {
        report.case(kernel, |gpu| {
            let mut entries = Vec::new();
            for [rows, columns] in SIZES {
                let (x_len, y_len) = if transposed { (rows, columns) } else { (columns, rows) };
                let (a, x, before) = (noise(1, rows * columns), noise(2, x_len), noise(3, y_len));
                let mut error = 0.0;
                // what is not read may be anything
                for (alpha, beta) in [(1.0, 0.0), (-0.5, 1.25)] {
                    for (start_a, start_y) in STARTS {
                        let of_a = Memory::new(gpu, &[&[rows, columns], &[x_len]], DType::F32, start_a, 4, GAPS[0])?;
                        let of_y = Memory::new(gpu, &[&[y_len]], DType::F32, start_y, 4, GAPS[1])?;
                        of_a.write(gpu, &[a.clone(), x.clone()])?;
                        of_y.write(gpu, &[if beta == 0.0 { vec![f32::NAN; y_len] } else { before.clone() }])?;
                        let (matrix, vector_x, y) = (&of_a.tensors[0], &of_a.tensors[1], &of_y.tensors[0]);
                        let mut recording = Recording::new();
                        let product = if transposed { vector::gemv_transposed } else { vector::gemv };
                        product(gpu, &mut recording, alpha, matrix, vector_x, beta, y)?;
                        gpu.submit([&recording]);
                        let twin = if transposed { blas::gemv_transposed } else { blas::gemv };
                        let mut expected = wide(&before);
                        twin(alpha, &wide(&a), &wide(&x), beta, &mut expected);
                        // the same sum of magnitudes
                        let magnitudes = |values: &[f32]| values.iter().map(|v| f64::from(v.abs())).collect::<Vec<f64>>();
                        let mut scale = magnitudes(&before);
                        twin(alpha.abs(), &magnitudes(&a), &magnitudes(&x), beta, &mut scale);
                        for ((&found, expected), scale) in of_y.read(gpu)?[0].iter().zip(&expected).zip(&scale) {
                            error = worse(error, (f64::from(found) - expected).abs() / scale);
                        }
                    }
                }
                // of the transposed product rows are added in order; else no term goes through more than 16 additions of
                // an invocation, and those of two trees over 256
                let additions = if transposed { rows } else { 16 + 2 * 40 + 4 };
                entries.push(Entry::new(&[rows, columns], DType::F32, error, gamma(additions.min(x_len) + 4)));
            }
            Ok(entries)
        });
    }
}
