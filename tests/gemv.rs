//! Products of a matrix and a vector, and normal random numbers, against their definitions in f64.

mod common;

use common::{device, gpu, gpu_for, noise, read};
use gradus::gpu::{Checks, Target};
use gradus::reference::{random, vector as reference};
use gradus::{DType, Error, Gpu, Recording, Result, Tensor, vector};

fn gpus() -> [Gpu; 3] {
    [gpu(Checks::Unchecked), gpu(Checks::Checked), gpu_for(Target::discrete())]
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

fn run(gpu: &Gpu, record: impl FnOnce(&mut Recording) -> Result<()>) {
    let mut recording = Recording::new();
    record(&mut recording).unwrap();
    gpu.submit([&recording]);
}

/// A tensor that begins `offset` elements into a buffer of NaN.
fn placed(gpu: &Gpu, shape: &[usize], values: &[f32], offset: usize) -> Tensor {
    let mut all = vec![f32::NAN; offset + values.len() + 3];
    all[offset..offset + values.len()].copy_from_slice(values);
    let whole = Tensor::from_slice(gpu, &[all.len()], &all).unwrap();
    Tensor::from_buffer(whole.buffer(), 4 * offset as u64, shape, DType::F32).unwrap()
}

/// Whether the elements are those expected within a bound.
fn check(found: &[f64], expected: &[f64], bound: f64, what: &str) {
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= bound, "{what}: element {i} is {found} and not {expected}");
    }
    assert_eq!(found.len(), expected.len(), "{what}");
}

/// What rounding may leave of a sum of products below one in magnitude, of random signs, so that partial sums
/// grow with the root of the number of terms: half a unit of those for each addition that a term goes through,
/// which err in random directions too.
fn rounding(terms: usize, additions: usize) -> f64 {
    6e-8 * (terms as f64).sqrt().max(1.0) * (4.0 + (additions as f64).sqrt())
}

fn products_are_right(gpu: &Gpu, shapes: &[(usize, usize)]) {
    for &(rows, columns) in shapes {
        let (a, short, long) = (noise(1, rows * columns), noise(2, columns), noise(3, rows));
        for (alpha, beta) in [(1.0, 0.0), (-0.5, 1.0), (2.0, -0.25)] {
            for offsets in [[0, 0, 0], [4, 8, 4], [0, 3, 0], [1, 1, 1], [2, 0, 1]] {
                let what = format!("[{rows}, {columns}] alpha {alpha} beta {beta} at {offsets:?} {gpu:?}");
                let place = |shape: &[usize], values: &[f32], i: usize| placed(gpu, shape, values, offsets[i]);
                let matrix = place(&[rows, columns], &a, 0);
                // what is not read may be anything
                let start = |values: &[f32]| if beta == 0.0 { vec![f32::NAN; values.len()] } else { values.to_vec() };

                let (x, y) = (place(&[columns], &short, 1), place(&[rows], &start(&long), 2));
                run(gpu, |recording| vector::gemv(gpu, recording, alpha, &matrix, &x, beta, &y));
                let mut expected = wide(&long);
                reference::gemv(alpha, &wide(&a), &wide(&short), beta, &mut expected);
                check(&read(gpu, &y), &expected, rounding(columns, 64 + columns / 4096), &what);

                let (x, y) = (place(&[rows], &long, 1), place(&[columns], &start(&short), 2));
                run(gpu, |recording| vector::gemv_transposed(gpu, recording, alpha, &matrix, &x, beta, &y));
                let mut expected = wide(&short);
                reference::gemv_transposed(alpha, &wide(&a), &wide(&long), beta, &mut expected);
                check(&read(gpu, &y), &expected, rounding(rows, rows / 4), &format!("transposed {what}"));
            }
        }
    }
}

#[test]
fn products_of_all_shapes() {
    for gpu in gpus() {
        products_are_right(
            &gpu,
            &[(1, 1), (1, 5), (5, 1), (3, 4), (4, 4), (7, 129), (33, 64), (130, 3), (2, 40_000), (6, 8193), (1030, 70), (2500, 27)],
        );
    }
}

/// Bindings of 64 KiB, 16,384 elements: matrices in several, of four rows and more, of one row, and of a
/// part of one.
#[test]
fn matrices_larger_than_a_binding() {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::defaults() };
    let (device, queue) = device(limits);
    for target in [Target::software(), Target::discrete()] {
        let gpu = Gpu::with_options(&device, &queue, gradus::gpu::GpuOptions { target: Some(target), ..Default::default() }).unwrap();
        products_are_right(&gpu, &[(40, 1000), (41, 4000), (11, 5000), (7, 8000), (5, 9001), (3, 40_001)]);
        // more rows than a binding holds eight sums of
        products_are_right(&gpu, &[(3001, 3)]);
    }
}

/// Few long rows: as many to a dispatch as a binding holds.
#[test]
fn dispatches_of_long_rows() {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::defaults() };
    let (device, queue) = device(limits);
    for target in [Target::software(), Target::discrete()] {
        let gpu = Gpu::with_options(&device, &queue, gradus::gpu::GpuOptions { target: Some(target), ..Default::default() }).unwrap();
        for (rows, columns, tiles) in [(30, 5000, 10), (30, 8000, 15), (30, 10_000, 30), (30, 16_384, 30), (30, 4096, 8), (5, 32_768, 10)] {
            let zeros = |shape: &[usize]| Tensor::zeros(&gpu, shape, DType::F32).unwrap();
            let (a, x, y) = (zeros(&[rows, columns]), zeros(&[columns]), zeros(&[rows]));
            let mut recording = Recording::new();
            vector::gemv(&gpu, &mut recording, 1.0, &a, &x, 0.0, &y).unwrap();
            assert_eq!(recording.len(), tiles + 1, "[{rows}, {columns}]");
            let mut recording = Recording::new();
            vector::gemv_transposed(&gpu, &mut recording, 1.0, &a, &y, 0.0, &x).unwrap();
            // of four rows and more a dispatch leaves sums, which another adds up
            assert_eq!(recording.len(), if columns == 4096 { 8 + 2 + 1 } else { tiles }, "transposed [{rows}, {columns}]");
        }
    }
}

/// Far more rows than one invocation may loop over.
#[test]
fn tall_matrices() {
    for gpu in gpus() {
        products_are_right(&gpu, &[(70_001, 2)]);
    }
}

#[test]
fn operands_in_one_buffer() {
    for gpu in gpus() {
        let tensors = Tensor::arena(&gpu, &[&[9, 12], &[12], &[9]], DType::F32).unwrap();
        let values: Vec<Vec<f32>> = (0..3).map(|i| noise(i, tensors[i as usize].len())).collect();
        tensors.iter().zip(&values).for_each(|(tensor, values)| tensor.write(&gpu, values).unwrap());
        let [a, x, y] = &tensors[..] else { unreachable!() };
        run(&gpu, |recording| vector::gemv(&gpu, recording, 1.0, a, x, 1.0, y));
        let mut rows = wide(&values[2]);
        reference::gemv(1.0, &wide(&values[0]), &wide(&values[1]), 1.0, &mut rows);
        check(&read(&gpu, y), &rows, rounding(12, 12), "gemv");
        run(&gpu, |recording| vector::gemv_transposed(&gpu, recording, 1.0, a, y, 1.0, x));
        let mut columns = wide(&values[1]);
        reference::gemv_transposed(1.0, &wide(&values[0]), &rows, 1.0, &mut columns);
        check(&read(&gpu, x), &columns, rounding(40, 40), "gemv_transposed");
    }
}

#[test]
fn products_are_the_same_on_every_run() {
    for gpu in gpus() {
        let (a, x) = (noise(1, 50 * 3001), noise(2, 3001));
        let twice: Vec<[Vec<u32>; 2]> = (0..2)
            .map(|_| {
                let a = Tensor::from_slice(&gpu, &[50, 3001], &a).unwrap();
                let x = Tensor::from_slice(&gpu, &[3001], &x).unwrap();
                let [y, z] = [50, 3001].map(|n| Tensor::zeros(&gpu, &[n], DType::F32).unwrap());
                run(&gpu, |recording| vector::gemv(&gpu, recording, 1.0, &a, &x, 0.0, &y));
                run(&gpu, |recording| vector::gemv_transposed(&gpu, recording, 1.0, &a, &y, 0.0, &z));
                [common::bits(&gpu, &y), common::bits(&gpu, &z)]
            })
            .collect();
        assert_eq!(twice[0], twice[1]);
    }
}

#[test]
fn operands_that_do_not_fit() {
    let gpu = gpu(Checks::Unchecked);
    let f32s = |shape: &[usize]| Tensor::zeros(&gpu, shape, DType::F32).unwrap();
    let (a, x, y) = (f32s(&[3, 4]), f32s(&[4]), f32s(&[3]));
    let mut recording = Recording::new();
    let mut product = |a: &Tensor, x: &Tensor, y: &Tensor| vector::gemv(&gpu, &mut recording, 1.0, a, x, 0.0, y).unwrap_err();
    assert!(matches!(product(&x, &x, &y), Error::Shape { tensor, .. } if tensor == "a"));
    assert!(matches!(product(&a, &y, &y), Error::Shape { tensor, .. } if tensor == "x"));
    assert!(matches!(product(&a, &x, &x), Error::Shape { tensor, .. } if tensor == "y"));
    let inside = Tensor::from_buffer(a.buffer(), 0, &[3], DType::F32).unwrap();
    assert!(matches!(product(&a, &x, &inside), Error::Overlap { .. }));
    let halves = Tensor::zeros(&gpu, &[4], DType::F16).unwrap();
    assert!(matches!(product(&a, &halves, &y), Error::DType { tensor, .. } if tensor == "x"));
    let transposed = vector::gemv_transposed(&gpu, &mut recording, 1.0, &a, &x, 0.0, &y).unwrap_err();
    assert!(matches!(transposed, Error::Shape { tensor, .. } if tensor == "x"));
    assert!(recording.is_empty());
}

#[test]
fn no_rows_and_no_columns() {
    for gpu in gpus() {
        let tensor = |shape: &[usize]| Tensor::from_slice(&gpu, shape, &vec![1.0f32; shape.iter().product()]).unwrap();
        let (y, z) = (tensor(&[3]), tensor(&[3]));
        run(&gpu, |recording| vector::gemv(&gpu, recording, 1.0, &tensor(&[3, 0]), &tensor(&[0]), 0.5, &y));
        run(&gpu, |recording| vector::gemv_transposed(&gpu, recording, 1.0, &tensor(&[0, 3]), &tensor(&[0]), 0.5, &z));
        assert_eq!(read(&gpu, &y), [0.5; 3]);
        assert_eq!(read(&gpu, &z), [0.5; 3]);
    }
}

#[test]
fn normal_numbers_are_those_of_the_reference() {
    for gpu in gpus() {
        for (n, offset) in [(1, 0), (2, 1), (7, 2), (4096, 0), (100_003, 3)] {
            let y = placed(&gpu, &[n], &vec![0.0; n], offset);
            run(&gpu, |recording| vector::random_normal(&gpu, recording, 0x1234_5678_9abc, 5, &y));
            for (i, (found, expected)) in read(&gpu, &y).iter().zip(random::normal(0x1234_5678_9abc, 5, n)).enumerate() {
                // an angle of 2π is good to a unit of 2.4e-7 times the eighth of a turn that is left of it
                let bound = 3e-7 * expected.abs() + 3e-7;
                assert!((found - expected).abs() <= bound, "element {i} of {n}: {found} and not {expected}");
            }
        }
        for dtype in [DType::F16, DType::Bf16] {
            let y = Tensor::zeros(&gpu, &[1001], dtype).unwrap();
            run(&gpu, |recording| vector::random_normal(&gpu, recording, 7, 0, &y));
            let close = |(found, expected): (&f64, f64)| (found - expected).abs() <= 0.004 * expected.abs() + 1e-6;
            assert!(read(&gpu, &y).iter().zip(random::normal(7, 0, 1001)).all(close), "{dtype}");
        }
    }
}

/// The moments of the normal distribution, and its tail, of 10⁵ numbers: within five standard deviations.
#[test]
fn normal_numbers_are_normal() {
    let numbers = random::normal(3, 1, 100_000);
    let n = numbers.len() as f64;
    let mean = |f: fn(f64) -> f64| numbers.iter().map(|&x| f(x)).sum::<f64>() / n;
    assert!(mean(|x| x).abs() < 5.0 / n.sqrt());
    assert!((mean(|x| x * x) - 1.0).abs() < 5.0 * (2.0 / n).sqrt());
    assert!(mean(|x| x.powi(3)).abs() < 5.0 * (15.0 / n).sqrt());
    assert!((mean(|x| x.powi(4)) - 3.0).abs() < 5.0 * (96.0 / n).sqrt());
    let tail = mean(|x| if x.abs() > 1.959_963_985 { 1.0 } else { 0.0 });
    assert!((tail - 0.05).abs() < 5.0 * (0.0475 / n).sqrt());
}

/// Rows that are loaded again, since there are not four, do not count, whatever they hold.
#[test]
fn the_last_row_may_be_infinite() {
    for gpu in gpus() {
        for rows in [1, 2, 3, 5, 18] {
            let mut values = vec![1.0f32; 3 * rows];
            (values[3 * rows - 2], values[3 * rows - 1]) = (f32::INFINITY, f32::NEG_INFINITY);
            let matrix = Tensor::from_slice(&gpu, &[rows, 3], &values).unwrap();
            let (x, y) = (Tensor::from_slice(&gpu, &[rows], &vec![1.0f32; rows]).unwrap(), Tensor::zeros(&gpu, &[3], DType::F32).unwrap());
            run(&gpu, |recording| vector::gemv_transposed(&gpu, recording, 1.0, &matrix, &x, 0.0, &y));
            assert_eq!(read(&gpu, &y), [rows as f64, f64::INFINITY, f64::NEG_INFINITY], "{rows} rows");
        }
    }
}
