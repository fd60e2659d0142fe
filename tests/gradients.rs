//! What the optimizers do with the gradients as a whole: a step with one that is not finite changes
//! nothing, the loss scale adapts, and clipping is that of the reference.

#![cfg(all(feature = "optim", feature = "weights"))]

mod common;

use common::*;
use gradus::gpu::Checks;
use gradus::optim::{Adam, LossScale, Optimizer, Options, Param, Rounding, Sgd};
use gradus::reference::optim::{clip_factor, global_norm};
use gradus::{DType, Gpu, Tensor};
use half::{bf16, f16};
use pollster::block_on;

/// NaNs, quiet and signalling, and infinities.
fn non_finite(dtype: DType) -> [Vec<u8>; 5] {
    match dtype {
        DType::F32 => [0x7fc0_0000u32, 0xffc0_0000, 0x7f80_0001, 0x7f80_0000, 0xff80_0000].map(|bits| bits.to_le_bytes().to_vec()),
        DType::F16 => [0x7e00u16, 0xfe00, 0x7c01, 0x7c00, 0xfc00].map(|bits| bits.to_le_bytes().to_vec()),
        _ => [0x7fc0u16, 0xffc0, 0x7f81, 0x7f80, 0xff80].map(|bits| bits.to_le_bytes().to_vec()),
    }
}

/// The bytes of an element.
fn element(dtype: DType, value: f32) -> Vec<u8> {
    match dtype {
        DType::F32 => value.to_le_bytes().to_vec(),
        DType::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
        _ => bf16::from_f32(value).to_le_bytes().to_vec(),
    }
}

/// Gradients of one type in a buffer that is full of NaN wherever they are not.
struct Gradients {
    buffer: wgpu::Buffer,
    image: Vec<u8>,
    tensors: Vec<Tensor>,
}

impl Gradients {
    fn new(gpu: &Gpu, sizes: &[usize], dtype: DType) -> Self {
        // each begins at another phase of 16 bytes, a word or more after the end of the one before
        let mut end = 4;
        let mut offset = |n: usize| {
            let start = end;
            end = (start + n as u64 * dtype.size()).next_multiple_of(4) + 8;
            start
        };
        let offsets: Vec<u64> = sizes.iter().map(|&n| offset(n)).collect();
        let buffer = buffer(gpu, end, ALL);
        let tensor = |(&n, &offset): (&usize, &u64)| Tensor::from_buffer(&buffer, offset, &[n], dtype).unwrap();
        let tensors = sizes.iter().zip(&offsets).map(tensor).collect();
        Self { buffer, image: vec![0xff; end as usize], tensors }
    }

    fn set(&mut self, tensor: usize, element: usize, bytes: &[u8]) {
        let at = self.tensors[tensor].offset() as usize + element * bytes.len();
        self.image[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn fill(&mut self, seed: u64) {
        for i in 0..self.tensors.len() {
            let dtype = self.tensors[i].dtype();
            for (j, value) in noise(seed + i as u64, self.tensors[i].len()).into_iter().enumerate() {
                self.set(i, j, &element(dtype, value));
            }
        }
    }

    fn upload(&self, gpu: &Gpu) {
        gpu.queue().write_buffer(&self.buffer, 0, &self.image);
    }
}

#[test]
fn every_element_that_is_not_finite_is_found() {
    let sizes = [1, 2, 3, 5, 64, 67, 4099];
    for checks in [Checks::Unchecked, Checks::Checked] {
        let gpu = gpu(checks);
        for dtype in DType::FLOATS {
            let mut grads = Gradients::new(&gpu, &sizes, dtype);
            let run = |grads: &mut Gradients, disturbed: bool| {
                let params: Vec<Tensor> = sizes.iter().map(|&n| Tensor::from_slice(&gpu, &[n], &noise(n as u64, n)).unwrap()).collect();
                let options = Options { skip_non_finite: true, ..Default::default() };
                let adam = optimizer(&gpu, &Adam::default(), &params, &grads.tensors, &options).unwrap();
                let good = |grads: &mut Gradients, seed| {
                    grads.fill(seed);
                    grads.upload(&gpu);
                    step(&gpu, &adam);
                    // what surrounds the gradients, NaN, is not theirs
                    assert!(!block_on(adam.status()).unwrap().skipped, "{checks:?} {dtype}");
                };
                good(grads, 10);
                if disturbed {
                    let before = snapshot(&gpu, &adam, &params);
                    let mut skipped = 0;
                    for (tensor, n) in sizes.into_iter().enumerate() {
                        for (at, value) in [0, n / 2, n - 1].into_iter().flat_map(|at| non_finite(dtype).map(|value| (at, value))) {
                            grads.fill(20);
                            grads.set(tensor, at, &value);
                            grads.upload(&gpu);
                            step(&gpu, &adam);
                            skipped += 1;
                            let status = block_on(adam.status()).unwrap();
                            assert!(status.skipped, "{checks:?} {dtype}: {value:02x?} at {at} of {n}");
                            assert_eq!(status.skipped_steps, skipped);
                        }
                    }
                    assert_eq!(before, snapshot(&gpu, &adam, &params), "{checks:?} {dtype}");
                    assert_eq!(block_on(adam.steps()).unwrap(), [1; 7]);
                }
                (30..33).for_each(|seed| good(grads, seed));
                assert_eq!(block_on(adam.steps()).unwrap(), [4; 7]);
                snapshot(&gpu, &adam, &params)
            };
            assert_eq!(run(&mut grads, false), run(&mut grads, true), "{checks:?} {dtype}");
        }
    }
}

#[test]
fn skipped_steps_leave_no_trace_in_any_optimizer() {
    let gpu = gpu(Checks::Unchecked);
    let shapes: [&[usize]; 3] = [&[6, 7], &[9], &[66, 4]];
    for (name, pair) in algorithms() {
        for (dtype, options) in [
            (DType::F32, Options { skip_non_finite: true, ..Default::default() }),
            (DType::F16, Options { max_norm: Some(1.0), rounding: Rounding::Stochastic { seed: 1 }, ..Default::default() }),
            (DType::Bf16, Options { master_weights: true, loss_scale: LossScale::Fixed(8.0), ..Default::default() }),
        ] {
            if !common::fits(name, &options) {
                continue;
            }
            let run = |bad: &[f32]| {
                let params = Tensor::arena(&gpu, &shapes, dtype).unwrap();
                let grads = Tensor::arena(&gpu, &shapes, DType::F32).unwrap();
                params.iter().for_each(|param| common::write(&gpu, param, &noise(1, param.len())));
                let optimizer = optimizer(&gpu, &*pair.kernel, &params, &grads, &options).unwrap();
                for (seed, bad) in [None, Some(bad), None, Some(bad), None].into_iter().enumerate() {
                    for (i, grad) in grads.iter().enumerate() {
                        grad.write(&gpu, &noise(10 * seed as u64 + i as u64, grad.len())).unwrap();
                    }
                    for &bad in bad.unwrap_or_default() {
                        let mut values = noise(5, grads[1].len());
                        values[4] = bad;
                        grads[1].write(&gpu, &values).unwrap();
                        step(&gpu, &optimizer);
                        assert!(block_on(optimizer.status()).unwrap().skipped, "{name} {dtype}");
                    }
                    if bad.is_none() {
                        step(&gpu, &optimizer);
                    }
                }
                snapshot(&gpu, &optimizer, &params)
            };
            assert_eq!(run(&[]), run(&[f32::NAN, f32::INFINITY]), "{name} {dtype}");
        }
    }
}

#[test]
fn without_the_option_nothing_is_skipped() {
    let gpu = gpu(Checks::Unchecked);
    let (param, grad) = (f32s(&gpu, &[2]), f32s(&gpu, &[2]));
    grad.write(&gpu, &[f32::NAN, 1.0]).unwrap();
    let sgd = Optimizer::new(&gpu, &Sgd { lr: 1.0, ..Default::default() }, &[Param::new("w", &param, &grad)]).unwrap();
    step(&gpu, &sgd);
    let found = read(&gpu, &param);
    assert!(found[0].is_nan() && found[1] == -1.0, "{found:?}");
    assert_eq!(block_on(sgd.steps()).unwrap(), [1]);
    let status = block_on(sgd.status()).unwrap();
    assert_eq!((status.skipped, status.skipped_steps, status.loss_scale), (false, 0, 1.0));
}

#[test]
fn gradients_that_take_no_part_are_not_looked_at() {
    let gpu = gpu(Checks::Unchecked);
    let [a, b] = [(); 2].map(|()| f32s(&gpu, &[3]));
    let bad = Tensor::from_slice(&gpu, &[3], &[f32::INFINITY, f32::NAN, 1.0]).unwrap();
    let good = Tensor::from_slice(&gpu, &[3], &[2f32, 3.0, 6.0]).unwrap();
    let options = Options { skip_non_finite: true, ..Default::default() };
    let list = [Param::new("a", &a, &bad), Param::new("b", &b, &good)];
    let mut sgd = Optimizer::with_options(&gpu, &Sgd { lr: 1.0, ..Default::default() }, &list, options).unwrap();
    let now = |sgd: &Optimizer| {
        let status = block_on(sgd.status()).unwrap();
        let steps = block_on(sgd.steps()).unwrap();
        (read(&gpu, &a), read(&gpu, &b), steps, status.skipped, status.skipped_steps)
    };
    let at = |times: f64| vec![-2.0 * times, -3.0 * times, -6.0 * times];
    let zero = vec![0.0; 3];

    step(&gpu, &sgd);
    assert_eq!(now(&sgd), (zero.clone(), at(0.0), vec![0, 0], true, 1));
    sgd.set_frozen("a", true).unwrap();
    step(&gpu, &sgd);
    assert_eq!(now(&sgd), (zero.clone(), at(1.0), vec![0, 1], false, 1));
    assert_eq!(block_on(sgd.status()).unwrap().grad_norm, 7.0);
    sgd.set_frozen("a", false).unwrap();
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    sgd.step_without(&mut encoder, &["a"]).unwrap();
    gpu.queue().submit([encoder.finish()]);
    assert_eq!(now(&sgd), (zero.clone(), at(2.0), vec![0, 2], false, 1));
    step(&gpu, &sgd);
    assert_eq!(now(&sgd), (zero, at(2.0), vec![0, 2], true, 2));
}

// ---- loss scale and clipping

#[test]
fn the_loss_scale_backs_off_and_grows() {
    let gpu = gpu(Checks::Unchecked);
    let (initial, growth_factor, backoff_factor, growth_interval) = (16.0, 4.0, 0.25, 3);
    let options =
        Options { loss_scale: LossScale::Dynamic { initial, growth_factor, backoff_factor, growth_interval }, ..Default::default() };
    let (param, grad) = (f32s(&gpu, &[2]), f32s(&gpu, &[2]));
    let list = [Param::new("w", &param, &grad)];
    let sgd = Optimizer::with_options(&gpu, &Sgd { lr: 1.0, ..Default::default() }, &list, options).unwrap();
    let scale = || (block_on(sgd.status()).unwrap().loss_scale, block_on(sgd.loss_scale().unwrap().read::<f32>(&gpu)).unwrap());
    assert_eq!(scale(), (16.0, vec![16.0]));
    // whether the gradients are finite, and the scale afterwards
    let rounds = [
        (true, 16.0),
        (true, 16.0),
        (true, 64.0),
        (true, 64.0),
        (true, 64.0),
        // two finite steps in a row are forgotten
        (false, 16.0),
        (true, 16.0),
        (true, 16.0),
        (true, 64.0),
        (false, 16.0),
        (false, 4.0),
        (true, 4.0),
        (true, 4.0),
        (true, 16.0),
    ];
    let (mut now, mut finite_steps) = (16f32, 0);
    for (i, (finite, after)) in rounds.into_iter().enumerate() {
        // the caller's loss is scaled; all are powers of two, so that nothing is rounded
        grad.write(&gpu, &[now, if finite { 2.0 * now } else { f32::INFINITY }]).unwrap();
        step(&gpu, &sgd);
        finite_steps += i32::from(finite);
        assert_eq!(read(&gpu, &param), [-f64::from(finite_steps), -2.0 * f64::from(finite_steps)], "step {i}");
        assert_eq!(scale(), (after, vec![after]), "step {i}");
        now = after;
    }
    let status = block_on(sgd.status()).unwrap();
    assert_eq!((status.skipped, status.skipped_steps), (false, 3));
}

#[test]
fn the_loss_scale_settles_below_the_largest_f16() {
    // 65,536 is too much for f16, where the scale begins; the first that fits stays
    let gpu = gpu(Checks::Unchecked);
    let (param, grad) = (f32s(&gpu, &[1]), Tensor::zeros(&gpu, &[1], DType::F16).unwrap());
    let options = Options {
        loss_scale: LossScale::Dynamic { initial: 262_144.0, growth_factor: 2.0, backoff_factor: 0.5, growth_interval: 2000 },
        ..Default::default()
    };
    let sgd = Optimizer::with_options(&gpu, &Sgd { lr: 0.5, ..Default::default() }, &[Param::new("w", &param, &grad)], options).unwrap();
    let mut seen = Vec::new();
    for _ in 0..5 {
        let scale = block_on(sgd.status()).unwrap().loss_scale;
        seen.push(scale);
        grad.write(&gpu, &[f16::from_f32(scale)]).unwrap();
        step(&gpu, &sgd);
    }
    assert_eq!(seen, [262_144.0, 131_072.0, 65_536.0, 32_768.0, 32_768.0]);
    assert_eq!(read(&gpu, &param), [-1.0]);
    assert_eq!(block_on(sgd.steps()).unwrap(), [2]);
}

#[test]
fn the_loss_scale_stays_finite() {
    // torch.amp.GradScaler does not grow it past f32
    let gpu = gpu(Checks::Unchecked);
    let initial = 2f64.powi(126);
    let options = Options {
        loss_scale: LossScale::Dynamic { initial, growth_factor: 2.0, backoff_factor: 0.5, growth_interval: 1 },
        ..Default::default()
    };
    let (param, grad) = (f32s(&gpu, &[1]), f32s(&gpu, &[1]));
    let sgd = Optimizer::with_options(&gpu, &Sgd::default(), &[Param::new("w", &param, &grad)], options).unwrap();
    for expected in [127, 127, 127] {
        step(&gpu, &sgd);
        assert_eq!(block_on(sgd.status()).unwrap().loss_scale, 2f32.powi(expected));
    }
}

#[test]
fn clipping_is_that_of_the_reference() {
    let shapes: [&[usize]; 4] = [&[33, 7], &[5], &[1000], &[64]];
    let frozen = "p2";
    for checks in [Checks::Unchecked, Checks::Checked] {
        let gpu = gpu(checks);
        for dtype in DType::FLOATS {
            // how large max_norm is beside the norm, the loss scale
            for (ratio, loss_scale) in [(0.5, 1.0), (2.0, 1.0), (1e-4, 1024.0), (3.0, 0.25), (0.99, 3.0)] {
                let params = Tensor::arena(&gpu, &shapes, DType::F32).unwrap();
                let grads = Tensor::arena(&gpu, &shapes, dtype).unwrap();
                (0u64..).zip(&grads).for_each(|(i, grad)| common::write(&gpu, grad, &noise(i, grad.len())));
                let gradients: Vec<Vec<f64>> = grads.iter().map(|g| read(&gpu, g).iter().map(|g| g / loss_scale).collect()).collect();
                let taking_part: Vec<&[f64]> = [0, 1, 3].map(|i| gradients[i].as_slice()).to_vec();
                let norm = global_norm(&taking_part);
                let max_norm = ratio * norm;
                let options = Options { max_norm: Some(max_norm), loss_scale: LossScale::Fixed(loss_scale), ..Default::default() };
                let sgd = Sgd { lr: 1.0, ..Default::default() };
                let mut optimizer = optimizer(&gpu, &sgd, &params, &grads, &options).unwrap();
                optimizer.set_frozen(frozen, true).unwrap();
                step(&gpu, &optimizer);
                let what = format!("{checks:?} {dtype}, max_norm {ratio} of the norm, loss scale {loss_scale}");
                // a sum of some hundred squares, in f32
                let status = block_on(optimizer.status()).unwrap();
                assert!((f64::from(status.grad_norm) / norm - 1.0).abs() < 5e-7, "{what}: norm {} for {norm}", status.grad_norm);
                let factor = clip_factor(norm, max_norm);
                for (i, (param, gradient)) in params.iter().zip(&gradients).enumerate() {
                    let factor = if i == 2 { 0.0 } else { factor };
                    for (found, gradient) in read(&gpu, param).into_iter().zip(gradient) {
                        let expected = -factor * gradient;
                        // that of the norm, and of a division and two products
                        assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{what}: {found} for {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_norm_beyond_f32_is_not_finite() {
    let gpu = gpu(Checks::Unchecked);
    // four of the largest have twice as large a norm; 2^64, whose square is too large, is divided by the
    // loss scale first
    for (dtype, value, n, loss_scale, skipped) in [
        (DType::F32, f32::MAX, 4, 1.0, true),
        (DType::Bf16, f32::from_bits(0x7f7f_0000), 4, 1.0, true),
        (DType::F32, 2f32.powi(64), 4, 2f64.powi(60), false),
        (DType::F16, 65504.0, 4, 1.0, false),
        (DType::F32, 1e18, 4, 1.0, false),
    ] {
        let (param, grad) = (f32s(&gpu, &[n]), Tensor::zeros(&gpu, &[n], dtype).unwrap());
        common::write(&gpu, &grad, &vec![value; n]);
        for options in [
            Options { skip_non_finite: true, loss_scale: LossScale::Fixed(loss_scale), ..Default::default() },
            Options { max_norm: Some(1.0), loss_scale: LossScale::Fixed(loss_scale), ..Default::default() },
        ] {
            let list = [Param::new("w", &param, &grad)];
            let sgd = Optimizer::with_options(&gpu, &Sgd { lr: 1e-30, ..Default::default() }, &list, options).unwrap();
            step(&gpu, &sgd);
            let status = block_on(sgd.status()).unwrap();
            assert_eq!(status.skipped, skipped, "{dtype} {value}");
            assert_eq!(block_on(sgd.steps()).unwrap(), [u32::from(!skipped)]);
            let norm = f64::from(value) / loss_scale * (n as f64).sqrt();
            assert!(skipped || (f64::from(status.grad_norm) / norm - 1.0).abs() < 5e-7, "{dtype}: {status:?}");
        }
        assert_eq!(read(&gpu, &param).iter().all(|&p| p == 0.0), skipped, "{dtype} {value}");
    }
}

#[test]
fn a_loaded_state_neither_skips_nor_rescales() {
    let gpu = gpu(Checks::Unchecked);
    let param = f32s(&gpu, &[3]);
    let grad = f32s(&gpu, &[3]);
    let sgd = Sgd { lr: 1.0, ..Default::default() };
    let make = |options: &Options| optimizer(&gpu, &sgd, std::slice::from_ref(&param), std::slice::from_ref(&grad), options).unwrap();
    // saved just after a step that was skipped, with a loss scale of its own
    let saved = make(&Options { max_norm: Some(1.0), loss_scale: LossScale::Fixed(1024.0), ..Default::default() });
    grad.write(&gpu, &[f32::NAN; 3]).unwrap();
    step(&gpu, &saved);
    let bytes = block_on(saved.state_dict()).unwrap();
    grad.write(&gpu, &[1.0f32; 3]).unwrap();
    for (options, moved) in [
        (Options::default(), 1.0),
        (Options { loss_scale: LossScale::Fixed(4.0), ..Default::default() }, 0.25),
        (Options { loss_scale: LossScale::dynamic(), ..Default::default() }, 1.0 / 1024.0),
    ] {
        param.write(&gpu, &[0.0f32; 3]).unwrap();
        let mut loaded = make(&options);
        loaded.load_state_dict(&bytes).unwrap();
        step(&gpu, &loaded);
        assert_eq!(read(&gpu, &param), [-moved; 3], "{options:?}");
        assert_eq!(block_on(loaded.status()).unwrap().skipped_steps, 1);
    }
}
