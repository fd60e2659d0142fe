//! Steps at the edges of f32: long runs of gradients that are not finite, decay below a unit in the last place, norms whose
//! squares are out of range, NaN in states, counts near their end. Right values are worked out here, in f64.

#![cfg(all(feature = "optim", feature = "weights"))]

mod common;

use std::collections::BTreeMap;

use common::{f32s, gpu, gpu_for, read, step};
use gradus::gpu::{Checks, Target};
use gradus::optim::{AdamP, AdamW, Algorithm, Group, LossScale, Optimizer, Options, Param, RmsProp, Rounding, Sgd, SgdP};
use gradus::{DType, Error, Gpu, Tensor};
use pollster::block_on;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

fn gpus() -> [Gpu; 3] {
    [gpu_for(Target::discrete()), gpu_for(Target::software()), gpu(Checks::Checked)]
}

fn dynamic(initial: f64, growth_interval: u32) -> Options {
    let loss_scale = LossScale::Dynamic { initial, growth_factor: 2.0, backoff_factor: 0.5, growth_interval };
    Options { loss_scale, ..Default::default() }
}

/// Encodes `n` steps into few encoders.
fn steps(gpu: &Gpu, optimizer: &Optimizer, n: usize) {
    for start in (0..n).step_by(1000) {
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        optimizer.prepare(&mut encoder);
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for _ in start..(start + 1000).min(n) {
                optimizer.recording().encode_in_pass(&mut pass);
            }
        }
        gpu.queue().submit([encoder.finish()]);
        let _ = gpu.device().poll(wgpu::PollType::wait_indefinitely());
    }
}

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn tensors(bytes: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(bytes).unwrap();
    file.tensors().into_iter().map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()))).collect()
}

fn floats(file: &Tensors, name: &str) -> Vec<f32> {
    file[name].2.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

/// Saves the state, changes its tensors, and loads it.
fn edited(optimizer: &mut Optimizer, edit: impl FnOnce(&mut Tensors)) {
    let bytes = block_on(optimizer.state_dict()).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut all = tensors(&bytes);
    edit(&mut all);
    let views = all.iter().map(|(name, (dtype, shape, data))| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    optimizer.load_state_dict(&safetensors::serialize(views, header.metadata().clone()).unwrap()).unwrap();
}

#[test]
fn steps_go_on_after_any_number_of_non_finite_gradients() {
    for gpu in gpus() {
        for (bad, initial, least) in
            [(f32::NAN, 65536.0, 2f32.powi(-14)), (f32::INFINITY, 1.0, 2f32.powi(-14)), (f32::NAN, 2f64.powi(-40), 2f32.powi(-40))]
        {
            let param = Tensor::from_slice(&gpu, &[3], &[1f32; 3]).unwrap();
            let grad = Tensor::from_slice(&gpu, &[3], &[1.0, bad, 1.0]).unwrap();
            let list = [Param::new("w", &param, &grad)];
            let mut sgd = Optimizer::with_options(&gpu, &Sgd { lr: 0.5, ..Default::default() }, &list, dynamic(initial, 2000)).unwrap();
            (0..200).for_each(|_| step(&gpu, &sgd));
            let status = block_on(sgd.status()).unwrap();
            assert_eq!((status.skipped_steps, status.loss_scale), (200, least), "{bad} {initial}");
            // what it saves it can load
            let bytes = block_on(sgd.state_dict()).unwrap();
            sgd.load_state_dict(&bytes).unwrap();
            grad.write(&gpu, &[status.loss_scale; 3]).unwrap();
            (0..20).for_each(|_| step(&gpu, &sgd));
            assert_eq!(block_on(sgd.steps()).unwrap(), [20]);
            assert_eq!(read(&gpu, &param), [-9.0; 3], "{bad} {initial}");
        }
    }
}

#[test]
fn the_loss_scale_does_not_grow_to_infinity() {
    for gpu in gpus() {
        let (param, grad) = (f32s(&gpu, &[1]), f32s(&gpu, &[1]));
        let list = [Param::new("w", &param, &grad)];
        let mut sgd = Optimizer::with_options(&gpu, &Sgd::default(), &list, dynamic(65536.0, 1)).unwrap();
        steps(&gpu, &sgd, 1000);
        assert_eq!(block_on(sgd.status()).unwrap().loss_scale, 2f32.powi(127));
        let bytes = block_on(sgd.state_dict()).unwrap();
        sgd.load_state_dict(&bytes).unwrap();
        grad.write(&gpu, &[f32::INFINITY]).unwrap();
        step(&gpu, &sgd);
        assert_eq!(block_on(sgd.status()).unwrap().loss_scale, 2f32.powi(126));
    }
}

#[test]
fn options_that_f32_cannot_use_are_named() {
    let gpu = gpu(Checks::Unchecked);
    let (param, grad) = (f32s(&gpu, &[1]), f32s(&gpu, &[1]));
    let list = [Param::new("w", &param, &grad)];
    let make = |algorithm: &dyn Algorithm, options: Options| Optimizer::with_options(&gpu, algorithm, &list, options);
    let growing = |growth_factor| {
        let loss_scale = LossScale::Dynamic { initial: 1.0, growth_factor, backoff_factor: 0.5, growth_interval: 1 };
        Options { loss_scale, ..Default::default() }
    };
    let rows = [
        ("loss_scale", make(&Sgd::default(), dynamic(1e-40, 1))),
        ("loss_scale", make(&Sgd::default(), dynamic(f64::NAN, 1))),
        ("loss_scale", make(&Sgd::default(), Options { loss_scale: LossScale::Fixed(1e-40), ..Default::default() })),
        ("growth_factor", make(&Sgd::default(), growing(1e300))),
        ("max_norm", make(&Sgd::default(), Options { max_norm: Some(1e-40), ..Default::default() })),
        ("max_norm", make(&Sgd::default(), Options { max_norm: Some(f64::INFINITY), ..Default::default() })),
        ("dampening", make(&Sgd { momentum: 0.9, dampening: 1e39, ..Default::default() }, Options::default())),
        ("dampening", make(&SgdP { momentum: 0.9, dampening: -1e39, ..Default::default() }, Options::default())),
        ("lr · weight_decay", make(&AdamW { lr: 1e30, weight_decay: 1e30, ..Default::default() }, Options::default())),
    ];
    for (name, result) in rows {
        assert!(matches!(&result, Err(Error::Option { option, .. }) if option == name), "{name}: {:?}", result.err());
    }
    let mut adamw = make(&AdamW::default(), Options::default()).unwrap();
    let huge = adamw.set_group(0, Group { lr: 1e30, weight_decay: 1e30 });
    assert!(matches!(&huge, Err(Error::Option { option, .. }) if option == "lr · weight_decay"), "{huge:?}");
}

/// Values of parameters at ends and in the middle of binades, of both signs.
const VALUES: [f32; 11] = [1.0, 0.999_999_94, 0.7, -1.0, -3.3, 1e-3, 1.999_999_9, 1e10, -1e30, 1e-25, 0.0];

#[test]
fn decoupled_decay_is_right_however_small() {
    let n = 1_000;
    let algorithms: [(&str, Box<dyn Algorithm>, f64); 4] = [
        ("adamw", Box::new(AdamW::default()), 1.0),
        // no gradient: the projection takes its share of the decay
        ("adamp", Box::new(AdamP::default()), 0.1),
        ("sgdp", Box::new(SgdP { momentum: 0.5, ..Default::default() }), 0.2),
        ("sgdp nesterov", Box::new(SgdP { momentum: 0.5, nesterov: true, wd_ratio: 1.0, ..Default::default() }), 2.0),
    ];
    for gpu in gpus() {
        for (name, algorithm, factor) in &algorithms {
            let rates = [2.9e-8, 3e-10, 6.1e-8, 1e-6, 1e-5];
            let groups: Vec<Group> = rates.iter().map(|rate| Group { lr: rate / 0.01 / factor, weight_decay: 0.01 }).collect();
            let params: Vec<Tensor> = rates.iter().map(|_| Tensor::from_slice(&gpu, &[1, VALUES.len()], &VALUES).unwrap()).collect();
            let grad = f32s(&gpu, &[1, VALUES.len()]);
            let names = common::numbered(rates.len());
            let list: Vec<Param> = params.iter().enumerate().map(|(i, param)| Param::new(&names[i], param, &grad).group(i)).collect();
            let options = Options { groups: groups.clone(), ..Default::default() };
            let mut optimizer = Optimizer::with_options(&gpu, &**algorithm, &list, options).unwrap();
            steps(&gpu, &optimizer, n);
            // a schedule of the learning rate
            for (i, group) in groups.iter().enumerate() {
                optimizer.set_lr(i, 1.7 * group.lr).unwrap();
            }
            steps(&gpu, &optimizer, n);
            for (param, rate) in params.iter().zip(rates) {
                let log = n as f64 * ((-rate).ln_1p() + (-1.7 * rate).ln_1p());
                for (found, start) in read(&gpu, param).iter().zip(VALUES) {
                    let expected = f64::from(start) * log.exp();
                    // four units in the last place, and 1e-5 of the decay
                    let bound = (4.0 * 1.2e-7 + 1e-5 * log.abs()) * expected.abs();
                    assert!((found - expected).abs() <= bound, "{name} {rate}: {found} for {expected}");
                }
            }
        }
    }
}

#[test]
fn many_steps_of_decay_in_a_master_copy() {
    let gpu = gpu(Checks::Unchecked);
    let grad = f32s(&gpu, &[1]);
    // a 16-bit parameter with an f32 master copy
    let half = Tensor::from_slice(&gpu, &[1], &[half::bf16::ONE]).unwrap();
    let list = [Param::new("w", &half, &grad)];
    let adamw = AdamW { lr: 2.9e-6, weight_decay: 1e-2, ..Default::default() };
    let optimizer = Optimizer::with_options(&gpu, &adamw, &list, Options { master_weights: true, ..Default::default() }).unwrap();
    let n = 30_000;
    steps(&gpu, &optimizer, n);
    let expected = (n as f64 * (-2.9e-8f64).ln_1p()).exp();
    let file = tensors(&block_on(optimizer.state_dict()).unwrap());
    let found = f64::from(floats(&file, "w.master")[0]);
    assert!((found - expected).abs() < 5e-7, "{found} for {expected}");
    assert_eq!(read(&gpu, &half), [f64::from(half::bf16::from_f64(expected))]);
}

#[test]
fn decay_leaves_what_is_not_finite() {
    for gpu in gpus() {
        let start = [f32::INFINITY, -f32::INFINITY, f32::NAN, f32::MAX, -0.0];
        let (param, grad) = (Tensor::from_slice(&gpu, &[5], &start).unwrap(), f32s(&gpu, &[5]));
        let adamw = AdamW { lr: 0.5, weight_decay: 0.5, ..Default::default() };
        let optimizer = Optimizer::new(&gpu, &adamw, &[Param::new("w", &param, &grad)]).unwrap();
        step(&gpu, &optimizer);
        let found = read(&gpu, &param);
        assert_eq!(found[..2], [f64::INFINITY, f64::NEG_INFINITY]);
        assert!(found[2].is_nan());
        assert!((found[3] / (0.75 * f64::from(f32::MAX)) - 1.0).abs() < 2e-7 && found[4] == 0.0, "{found:?}");
    }
}

#[test]
fn stochastic_rounding_makes_decay_right_in_16_bits() {
    let gpu = gpu(Checks::Unchecked);
    let n = 8000;
    let param = Tensor::from_slice(&gpu, &[n], &vec![half::bf16::ONE; n]).unwrap();
    let grad = f32s(&gpu, &[n]);
    let options = Options { rounding: Rounding::Stochastic { seed: 3 }, ..Default::default() };
    let adamw = AdamW { lr: 1e-3, weight_decay: 1e-2, ..Default::default() };
    let optimizer = Optimizer::with_options(&gpu, &adamw, &[Param::new("w", &param, &grad)], options).unwrap();
    steps(&gpu, &optimizer, 1000);
    let mean = read(&gpu, &param).iter().sum::<f64>() / n as f64;
    let expected = (1000.0 * (-1e-5f64).ln_1p()).exp();
    // each step moves by 2^-8 with probability p = 1e-5·2^8: a variance of 1000·p·2^-16, over n elements; five deviations
    let deviation = (1000.0 * 1e-5 * 2f64.powi(-8) / n as f64).sqrt();
    assert!((mean - expected).abs() < 5.0 * deviation, "{mean} for {expected}");
}

#[test]
fn not_a_number_stays_in_the_states() {
    for gpu in gpus() {
        let amsgrad = AdamW { amsgrad: true, ..Default::default() };
        let centered = RmsProp { centered: true, ..Default::default() };
        let both = RmsProp { centered: true, momentum: 0.5, ..Default::default() };
        let cases: [(&dyn Algorithm, &str); 3] = [(&amsgrad, "max_exp_avg_sq"), (&centered, "square_avg"), (&both, "square_avg")];
        for (algorithm, state) in cases {
            // a NaN has either sign
            for nan in [f32::NAN, -f32::NAN] {
                let (param, grad) = (f32s(&gpu, &[6]), Tensor::from_slice(&gpu, &[6], &[1.0, nan, 1.0, 1.0, nan, 1.0]).unwrap());
                let mut optimizer = Optimizer::new(&gpu, algorithm, &[Param::new("w", &param, &grad)]).unwrap();
                step(&gpu, &optimizer);
                let file = tensors(&block_on(optimizer.state_dict()).unwrap());
                let found: Vec<bool> = floats(&file, &format!("w.{state}")).iter().map(|x| x.is_nan()).collect();
                assert_eq!(found, [false, true, false, false, true, false], "{state}");
                // a step with the state and finite gradients and momenta
                param.write(&gpu, &[0f32; 6]).unwrap();
                grad.write(&gpu, &[1f32; 6]).unwrap();
                edited(&mut optimizer, |all| {
                    for (name, (dtype, _, data)) in all.iter_mut() {
                        if *dtype == Dtype::F32 && !name.ends_with(state) {
                            data.fill(0);
                        }
                    }
                });
                step(&gpu, &optimizer);
                let found: Vec<bool> = read(&gpu, &param).iter().map(|x| x.is_nan()).collect();
                assert_eq!(found, [false, true, false, false, true, false], "{state}");
            }
        }
    }
}

#[test]
fn amsgrad_keeps_the_greatest() {
    for gpu in gpus() {
        let (param, grad) = (f32s(&gpu, &[1]), f32s(&gpu, &[1]));
        let adam = AdamW { amsgrad: true, betas: [0.9, 0.5], ..Default::default() };
        let optimizer = Optimizer::new(&gpu, &adam, &[Param::new("w", &param, &grad)]).unwrap();
        // v = 2, 1, 2.5, 1.25, 1e-30 and so on
        for (g, expected) in [(2.0f32, 2.0f32), (0.0, 2.0), (2.0, 2.5), (0.0, 2.5), (f32::INFINITY, f32::INFINITY), (0.0, f32::INFINITY)] {
            grad.write(&gpu, &[g]).unwrap();
            step(&gpu, &optimizer);
            let file = tensors(&block_on(optimizer.state_dict()).unwrap());
            assert_eq!(floats(&file, "w.max_exp_avg_sq"), [expected]);
        }
    }
}

#[test]
fn counts_saturate() {
    for gpu in gpus() {
        let (param, grad) = (f32s(&gpu, &[1]), Tensor::from_slice(&gpu, &[1], &[1f32]).unwrap());
        let adamw = AdamW { lr: 1.0, ..Default::default() };
        let mut optimizer = Optimizer::with_options(&gpu, &adamw, &[Param::new("w", &param, &grad)], dynamic(1.0, 5)).unwrap();
        let last = u32::MAX;
        edited(&mut optimizer, |all| {
            all.get_mut("w.step").unwrap().2 = i64::from(last - 1).to_le_bytes().to_vec();
            let words = &mut all.get_mut("loss_scaler").unwrap().2;
            // skipped steps, and finite ones since the scale changed
            words[16..20].copy_from_slice(&(last - 1).to_le_bytes());
            words[20..24].copy_from_slice(&last.to_le_bytes());
        });
        step(&gpu, &optimizer);
        assert_eq!(block_on(optimizer.status()).unwrap().loss_scale, 2.0, "a tracker beyond its interval");
        (0..3).for_each(|_| step(&gpu, &optimizer));
        assert_eq!(block_on(optimizer.steps()).unwrap(), [last]);
        grad.write(&gpu, &[f32::NAN]).unwrap();
        (0..3).for_each(|_| step(&gpu, &optimizer));
        assert_eq!(block_on(optimizer.status()).unwrap().skipped_steps, last);
        // it can be saved and loaded, and steps go on
        edited(&mut optimizer, |_| ());
        let before = read(&gpu, &param)[0];
        grad.write(&gpu, &[1f32]).unwrap();
        step(&gpu, &optimizer);
        let after = read(&gpu, &param)[0];
        assert!(after.is_finite() && after < before, "{after} from {before}");
    }
}

#[test]
fn gradients_of_any_magnitude_are_clipped() {
    for gpu in gpus() {
        for dtype in [DType::F32, DType::Bf16] {
            for magnitude in [1e-37f32, 1e-25, 1e-15, 1.0, 1e15, 3e19, 1e25, 1e36] {
                for loss_scale in [1.0, 1024.0] {
                    let n = 1500;
                    // devices may take subnormal ones for 0
                    let normal = |x: f32| if x.is_normal() { x } else { 0.0 };
                    let values: Vec<f32> = common::noise(5, n).iter().map(|x| normal(x * magnitude)).collect();
                    let (param, grad) = (f32s(&gpu, &[n]), Tensor::zeros(&gpu, &[n], dtype).unwrap());
                    common::write(&gpu, &grad, &values);
                    let gradient: Vec<f64> = read(&gpu, &grad).iter().map(|g| g / loss_scale).collect();
                    let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
                    if norm < 1e-36 {
                        continue;
                    }
                    // PyTorch adds 1e-6 to the norm: smaller ones are not clipped, and the learning rate makes up for it
                    let max_norm = if norm < 1e-3 { 1.0 } else { 0.5 };
                    let factor = (max_norm / (norm + 1e-6)).min(1.0);
                    let lr = 0.25 / (factor * norm);
                    let options = Options { max_norm: Some(max_norm), loss_scale: LossScale::Fixed(loss_scale), ..Default::default() };
                    let list = [Param::new("w", &param, &grad)];
                    let sgd = Optimizer::with_options(&gpu, &Sgd { lr, ..Default::default() }, &list, options).unwrap();
                    step(&gpu, &sgd);
                    let status = block_on(sgd.status()).unwrap();
                    let what = format!("{dtype} {magnitude} {loss_scale}");
                    assert!((f64::from(status.grad_norm) / norm - 1.0).abs() < 2e-6, "{what}: {status:?} for {norm}");
                    for (found, g) in read(&gpu, &param).iter().zip(&gradient) {
                        let expected = -lr * factor * g;
                        // elements near the end of f32 may lose bits
                        let bound = 3e-6 * expected.abs() + lr * factor * 1.2e-38;
                        assert!((found - expected).abs() <= bound, "{what}: {found} for {expected}");
                    }
                }
            }
        }
    }
}
