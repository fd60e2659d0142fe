//! What a program may do with an optimizer besides stepping: a step of its own, other hyperparameters, other gradients, states of 16
//! bits.

#![cfg(feature = "optim")]

mod common;

use common::{algorithms, bits, fits, gpu, gpu_for, noise, numbered, optimizer, read, step, write};
use gradus::gpu::{Checks, Target};
use gradus::optim::{Adam, AdamP, AdamW, Algorithm, Initial, Optimizer, Options, Param, Rounding, Sgd, Update};
use gradus::{DType, Error, Gpu, Result, Tensor};

const SHAPES: [&[usize]; 4] = [&[6, 27], &[5], &[33, 16], &[2050]];

/// AdamW as a program would write it, with the crate's formula.
struct Own(AdamW);

impl Algorithm for Own {
    fn update(&self) -> Result<Update> {
        let AdamW { lr, betas: [beta1, beta2], eps, weight_decay, .. } = self.0;
        const UPDATE: &str = "
            fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, m: ptr<function, vec4<f32>>, v: ptr<function, vec4<f32>>) {
                *m = k.beta1 * *m + k.rest1 * g;
                *v = k.beta2 * *v + k.rest2 * g * g;
                *p -= k.step_size * *m / (sqrt(*v) * k.root_scale + vec4(k.eps));
            }";
        const PREPARE: &str = "
            fn prepare(g: Group, k: ptr<function, Step>) {
                (*k).step_size = (*k).lr / correction(g.power1, (*k).step);
                (*k).root_scale = 1.0 / sqrt(correction(g.power2, (*k).step));
            }";
        Ok(Update::new("own", UPDATE, lr)
            .prepare(PREPARE)
            .state("m")
            .state("v")
            .constant("beta1", beta1)
            .constant("rest1", 1.0 - beta1)
            .constant("beta2", beta2)
            .constant("rest2", 1.0 - beta2)
            .constant("eps", eps)
            .exact("power1", beta1)
            .exact("power2", beta2)
            .prepared("step_size")
            .prepared("root_scale")
            .decoupled_decay(weight_decay))
    }
}

fn tensors(gpu: &Gpu, dtype: DType, seed: u64) -> Vec<Tensor> {
    let all = Tensor::arena(gpu, &SHAPES, dtype).unwrap();
    all.iter().zip(seed..).for_each(|(tensor, seed)| write(gpu, tensor, &noise(seed, tensor.len())));
    all
}

fn all_bits(gpu: &Gpu, tensors: &[Tensor]) -> Vec<Vec<u32>> {
    tensors.iter().map(|tensor| bits(gpu, tensor)).collect()
}

/// The parameters after `steps`, which are given the optimizer.
fn run(gpu: &Gpu, algorithm: &dyn Algorithm, dtype: DType, options: &Options, steps: impl Fn(&mut Optimizer)) -> Vec<Vec<u32>> {
    let (params, grads) = (tensors(gpu, dtype, 1), tensors(gpu, dtype, 100));
    let mut optimizer = optimizer(gpu, algorithm, &params, &grads, options).unwrap();
    steps(&mut optimizer);
    all_bits(gpu, &params)
}

#[test]
fn a_step_of_the_callers_reaches_the_bits_of_the_crates() {
    let adamw = AdamW { lr: 0.01, weight_decay: 0.1, ..Default::default() };
    for gpu in [gpu(Checks::Unchecked), gpu_for(Target::discrete())] {
        for (dtype, options) in [
            (DType::F32, Options { max_norm: Some(1.0), ..Default::default() }),
            (DType::F16, Options { master_weights: true, ..Default::default() }),
            (DType::Bf16, Options { rounding: Rounding::Stochastic { seed: 5 }, ..Default::default() }),
        ] {
            let steps = |optimizer: &mut Optimizer| (0..5).for_each(|_| step(&gpu, optimizer));
            let [own, built_in] = [&Own(adamw) as &dyn Algorithm, &adamw].map(|algorithm| run(&gpu, algorithm, dtype, &options, steps));
            assert_eq!(own, built_in, "{dtype} {options:?}");
        }
    }
}

#[test]
fn what_is_wrong_with_an_update_is_said() {
    let gpu = gpu(Checks::Unchecked);
    let (params, grads) = (tensors(&gpu, DType::F32, 1), tensors(&gpu, DType::F32, 2));
    struct Given(Update);
    impl Algorithm for Given {
        fn update(&self) -> Result<Update> {
            Ok(self.0.clone())
        }
    }
    let plain = "fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>) { *p -= k.lr * g; }";
    let error = |update: Update| optimizer(&gpu, &Given(update), &params, &grads, &Options::default()).unwrap_err();
    let message = |update: Update| error(update).to_string();
    assert!(matches!(error(Update::new("broken", "fn update( {", 1.0)), Error::Pipeline { kernel, .. } if kernel.contains("optim.broken")));
    assert!(message(Update::new("broken", "fn other() {}", 1.0)).contains("update"));
    // a state that the text does not know
    assert!(matches!(error(Update::new("broken", plain, 1.0).state("m")), Error::Pipeline { .. }));
    for name in ["", "1st", "a b", "é", "a__b"] {
        assert!(matches!(error(Update::new("named", plain, 1.0).constant(name, 1.0)), Error::Option { .. }), "{name}");
    }
    for name in ["lr", "step", "twice"] {
        let update = Update::new("named", plain, 1.0).constant("twice", 1.0).prepared(name);
        assert!(matches!(error(update), Error::DuplicateName { .. }), "{name}");
    }
    assert!(message(Update::new("ranges", plain, 1.0).constant("big", 1e39)).contains("big"));
    assert!(message(Update::new("ranges", plain, 1.0).exact("beta", 1.0)).contains("beta"));
    assert!(message(Update::new("ranges", plain, -1.0)).contains("lr"));
    assert!(message(Update::new("ranges", plain, 1.0).state_from("m", Initial::Value(f64::NAN))).contains("m"));
    let many = (0..7).fold(Update::new("many", plain, 1.0), |update, i| update.state(&format!("s{i}")));
    assert!(matches!(error(many), Error::Option { .. } | Error::LimitTooSmall { .. }));
}

#[test]
fn hyperparameters_change_with_the_step_encoded_after() {
    let gpu = gpu(Checks::Unchecked);
    let first = AdamW { lr: 0.01, betas: [0.8, 0.95], eps: 1e-6, weight_decay: 0.1, ..Default::default() };
    let later = AdamW { lr: 0.003, betas: [0.9, 0.99], eps: 1e-3, weight_decay: 0.0, ..Default::default() };
    let one_encoder = |encode: &dyn Fn(&mut Optimizer, &mut wgpu::CommandEncoder)| {
        run(&gpu, &first, DType::F32, &Options::default(), |optimizer| {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            encode(optimizer, &mut encoder);
            gpu.queue().submit([encoder.finish()]);
        })
    };
    let changed = one_encoder(&|optimizer, encoder| {
        optimizer.step(encoder);
        optimizer.step(encoder);
        optimizer.set_hyperparameters(0, &later).unwrap();
        optimizer.step(encoder);
    });
    // by the reference: two steps of one and one of the other, with the states of the former
    use gradus::reference::optim::Step;
    let twin = |a: AdamW| gradus::reference::optim::AdamW {
        lr: a.lr,
        betas: a.betas,
        eps: a.eps,
        weight_decay: a.weight_decay,
        amsgrad: a.amsgrad,
        maximize: a.maximize,
    };
    for (i, (found, shape)) in changed.iter().zip(SHAPES).enumerate() {
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<f64>>();
        let mut p = wide(noise(1 + i as u64, found.len()));
        let g = wide(noise(100 + i as u64, found.len()));
        let mut state = twin(first).initial_state(p.len());
        for (t, algorithm) in [(1, first), (2, first), (3, later)] {
            twin(algorithm).step(t, shape, &mut p, &g, &mut state);
        }
        for (found, expected) in found.iter().zip(p) {
            let found = f64::from(f32::from_bits(*found));
            assert!((found - expected).abs() <= 1e-6 * first.lr + 4e-7 * expected.abs(), "{found} for {expected}");
        }
    }
    let mut optimizer = optimizer(&gpu, &first, &tensors(&gpu, DType::F32, 1), &tensors(&gpu, DType::F32, 2), &Options::default()).unwrap();
    for other in [&Adam::default() as &dyn Algorithm, &AdamW { amsgrad: true, ..first }, &Sgd::default()] {
        assert!(matches!(optimizer.set_hyperparameters(0, other), Err(Error::Option { .. })));
    }
    assert!(matches!(optimizer.set_hyperparameters(1, &later), Err(Error::Unknown { .. })));
    assert!(optimizer.set_hyperparameters(0, &AdamW { eps: -1.0, ..first }).is_err());
}

#[test]
fn a_factor_of_the_learning_rate_is_a_learning_rate() {
    let gpu = gpu(Checks::Unchecked);
    for algorithm in [
        &AdamW { lr: 0.02, weight_decay: 0.1, ..Default::default() } as &dyn Algorithm,
        &AdamP { lr: 0.02, weight_decay: 0.1, ..Default::default() },
    ] {
        let plain = run(&gpu, algorithm, DType::F32, &Options::default(), |optimizer| {
            optimizer.set_lr(0, 0.01).unwrap();
            step(&gpu, optimizer);
        });
        // half of it is exact
        let factor = run(&gpu, algorithm, DType::F32, &Options::default(), |optimizer| {
            numbered(SHAPES.len()).iter().for_each(|name| optimizer.set_lr_factor(name, 0.5).unwrap());
            assert!(optimizer.set_lr_factor("other", 0.5).is_err() && optimizer.set_lr_factor(&numbered(1)[0], f64::NAN).is_err());
            step(&gpu, optimizer);
        });
        assert_eq!(plain, factor);
    }
}

/// Gradients in new buffers each step, where others lay and elsewhere.
#[test]
fn gradients_may_move() {
    let gpu = gpu(Checks::Unchecked);
    let options = Options { max_norm: Some(3.0), ..Default::default() };
    for algorithm in [&AdamW::default() as &dyn Algorithm, &AdamP { weight_decay: 0.1, ..Default::default() }] {
        let gradient = |t: u64, i: usize, len: usize| noise(1000 * t + i as u64, len);
        let fixed = {
            let (params, grads) = (tensors(&gpu, DType::F32, 1), tensors(&gpu, DType::F32, 2));
            let optimizer = optimizer(&gpu, algorithm, &params, &grads, &options).unwrap();
            for t in 0..6 {
                grads.iter().enumerate().for_each(|(i, grad)| write(&gpu, grad, &gradient(t, i, grad.len())));
                step(&gpu, &optimizer);
            }
            all_bits(&gpu, &params)
        };
        let (params, grads) = (tensors(&gpu, DType::F32, 1), tensors(&gpu, DType::F32, 2));
        let mut optimizer = optimizer(&gpu, algorithm, &params, &grads, &options).unwrap();
        for t in 0..6 {
            let moved: Vec<Tensor> = match t % 3 {
                0 => Tensor::arena(&gpu, &SHAPES, DType::F32).unwrap(),
                1 => SHAPES.iter().map(|shape| Tensor::zeros(&gpu, shape, DType::F32).unwrap()).collect(),
                // out of phase with the parameters
                _ => SHAPES
                    .iter()
                    .map(|shape| {
                        let len = shape.iter().product::<usize>();
                        let buffer = Tensor::zeros(&gpu, &[len + 3], DType::F32).unwrap();
                        Tensor::from_buffer(buffer.buffer(), 12, shape, DType::F32).unwrap()
                    })
                    .collect(),
            };
            moved.iter().enumerate().for_each(|(i, grad)| write(&gpu, grad, &gradient(t, i, grad.len())));
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            optimizer.step_with(&mut encoder, &moved.iter().collect::<Vec<_>>()).unwrap();
            gpu.queue().submit([encoder.finish()]);
            // what is refused changes nothing
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let mut wrong: Vec<&Tensor> = moved.iter().collect();
            assert!(matches!(optimizer.step_with(&mut encoder, &wrong[1..]), Err(Error::Length { .. })));
            wrong.swap(0, 1);
            assert!(matches!(optimizer.step_with(&mut encoder, &wrong), Err(Error::Shape { .. })));
            wrong.swap(0, 1);
            wrong[3] = &params[3];
            assert!(matches!(optimizer.step_with(&mut encoder, &wrong), Err(Error::Overlap { .. })));
        }
        let found = all_bits(&gpu, &params);
        // sums by row and the norm depend on where gradients lie
        for (found, fixed) in found.iter().flatten().zip(fixed.iter().flatten()) {
            let [found, fixed] = [found, fixed].map(|bits| f64::from(f32::from_bits(*bits)));
            assert!((found - fixed).abs() <= 1e-9 + 5e-7 * fixed.abs(), "{found} for {fixed}");
        }
    }
}

/// Steps of SGD whose gradients are clipped to other norms, or unscaled by other scales, each from the step encoded after the change.
#[test]
fn clipping_and_loss_scale_change() {
    let gpu = gpu(Checks::Unchecked);
    let sgd = Sgd { lr: 1.0, ..Default::default() };
    let param = Tensor::zeros(&gpu, &[2], DType::F32).unwrap();
    let grad = Tensor::from_slice(&gpu, &[2], &[3f32, 4.0]).unwrap();
    let make = |options| Optimizer::with_options(&gpu, &sgd, &[Param::new("p", &param, &grad)], options).unwrap();
    let mut optimizer = make(Options::default());
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    optimizer.step(&mut encoder);
    for norm in [Some(1.0), Some(0.5), Some(50.0), None] {
        optimizer.set_max_norm(norm).unwrap();
        optimizer.step(&mut encoder);
        // refused ones change nothing
        assert!(optimizer.set_max_norm(Some(-1.0)).is_err());
    }
    gpu.queue().submit([encoder.finish()]);
    let length = 5.0 + 1.0 + 0.5 + 5.0 + 5.0;
    let found = read(&gpu, &param);
    assert!((found[0] + 0.6 * length).abs() < 1e-5 && (found[1] + 0.8 * length).abs() < 1e-5, "{found:?}");

    write(&gpu, &param, &[0.0, 0.0]);
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    assert!(matches!(make(Options::default()).set_loss_scale(&mut encoder, 2.0), Err(Error::Option { .. })));
    let optimizer = make(Options { loss_scale: gradus::optim::LossScale::Fixed(2.0), ..Default::default() });
    optimizer.step(&mut encoder);
    optimizer.set_loss_scale(&mut encoder, 8.0).unwrap();
    optimizer.step(&mut encoder);
    assert!(optimizer.set_loss_scale(&mut encoder, 0.0).is_err());
    gpu.queue().submit([encoder.finish()]);
    assert_eq!(read(&gpu, &param), [-3.0 / 2.0 - 3.0 / 8.0, -4.0 / 2.0 - 4.0 / 8.0]);
    assert_eq!(pollster::block_on(optimizer.status()).unwrap().loss_scale, 8.0);
}

/// A framework that gives parameters and gradients other memory at every step.
#[test]
fn parameters_may_move() {
    let gpu = gpu(Checks::Unchecked);
    for algorithm in
        [&AdamW { weight_decay: 0.1, ..Default::default() } as &dyn Algorithm, &AdamP { weight_decay: 0.1, ..Default::default() }]
    {
        for dtype in [DType::F32, DType::Bf16] {
            let options = Options { master_weights: true, ..Default::default() };
            let stay = run(&gpu, algorithm, dtype, &options, |optimizer| (0..4).for_each(|_| step(&gpu, optimizer)));
            let (mut params, grads) = (tensors(&gpu, dtype, 1), tensors(&gpu, dtype, 100));
            let mut optimizer = optimizer(&gpu, algorithm, &params, &grads, &options).unwrap();
            for t in 0..4 {
                step(&gpu, &optimizer);
                let moved: Vec<Tensor> = match t % 2 {
                    0 => SHAPES.iter().map(|shape| Tensor::zeros(&gpu, shape, dtype).unwrap()).collect(),
                    _ => Tensor::arena(&gpu, &SHAPES, dtype).unwrap(),
                };
                let mut recording = gradus::Recording::new();
                for (from, to) in params.iter().zip(&moved) {
                    gradus::vector::copy(&gpu, &mut recording, from, to).unwrap();
                }
                gpu.submit([&recording]);
                let gradients: Vec<&Tensor> = grads.iter().collect();
                // what is refused changes nothing
                let shifted = Tensor::zeros(&gpu, &[3000], dtype).unwrap();
                let shifted = Tensor::from_buffer(shifted.buffer(), 4, SHAPES[3], dtype).unwrap();
                let mut wrong: Vec<&Tensor> = moved.iter().collect();
                wrong[3] = &shifted;
                assert!(matches!(optimizer.rebind(&wrong, &gradients), Err(Error::Option { .. })));
                wrong[3] = &grads[3];
                let error = optimizer.rebind(&wrong, &gradients);
                assert!(matches!(error, Err(Error::Overlap { .. })), "{error:?}");
                wrong[3] = &moved[2];
                assert!(matches!(optimizer.rebind(&wrong, &gradients), Err(Error::Shape { .. })));
                assert!(matches!(optimizer.rebind(&wrong[1..], &gradients), Err(Error::Length { .. })));
                optimizer.rebind(&moved.iter().collect::<Vec<_>>(), &gradients).unwrap();
                params = moved;
            }
            assert_eq!(all_bits(&gpu, &params), stay, "{dtype}");
        }
    }
}

/// The same parameters and states by both targets; near the step with f32 states, and without a bias.
#[test]
fn states_of_16_bits() {
    let gpus = [gpu(Checks::Unchecked), gpu(Checks::Checked), gpu_for(Target::discrete())];
    let options = Options { state_dtype: DType::Bf16, rounding: Rounding::Stochastic { seed: 9 }, ..Default::default() };
    for (name, pair) in algorithms() {
        if !fits(name, &options) {
            let error = optimizer(&gpus[0], &*pair.kernel, &tensors(&gpus[0], DType::F32, 1), &tensors(&gpus[0], DType::F32, 2), &options);
            assert!(matches!(error, Err(Error::Option { .. })), "{name}");
            continue;
        }
        let steps = |gpu: &Gpu, optimizer: &mut Optimizer| (0..4).for_each(|_| step(gpu, optimizer));
        let all: Vec<_> = gpus.iter().map(|gpu| run(gpu, &*pair.kernel, DType::F32, &options, |optimizer| steps(gpu, optimizer))).collect();
        assert!(all.iter().all(|found| *found == all[0]), "{name}");
    }
    // the mean of a constant gradient's average is that gradient's
    let gpu = &gpus[0];
    let [params, grads] = [(); 2].map(|()| [Tensor::zeros(gpu, &[4097], DType::F32).unwrap()]);
    write(gpu, &grads[0], &[0.001; 4097]);
    let adam = Adam { lr: 0.001, betas: [0.99, 0.9999], eps: 0.0, ..Default::default() };
    let optimizer = optimizer(gpu, &adam, &params, &grads, &options).unwrap();
    (0..50).for_each(|_| step(gpu, &optimizer));
    let found = read(gpu, &params[0]);
    let mean = found.iter().sum::<f64>() / found.len() as f64;
    // 50 steps of lr; a state is off by 2^-9 in the mean square at each step, and 4,097 of them by a 64th
    assert!((mean + 0.05).abs() < 0.05 * 2e-3, "{mean}");
    assert!(found.iter().all(|p| (p + 0.05).abs() < 0.05 * 0.05), "{found:?}");
    let error = optimizer_error(gpu, &Options { state_dtype: DType::F16, ..Default::default() });
    assert!(error.contains("state_dtype"), "{error}");
}

fn optimizer_error(gpu: &Gpu, options: &Options) -> String {
    let (params, grads) = (tensors(gpu, DType::F32, 1), tensors(gpu, DType::F32, 2));
    let list: Vec<Param> = params.iter().zip(&grads).take(1).map(|(param, grad)| Param::new("p", param, grad)).collect();
    Optimizer::with_options(gpu, &Adam::default(), &list, options.clone()).unwrap_err().to_string()
}

/// Parameters that come later begin anew; those that were there go on as if nothing had happened.
#[test]
fn parameters_come_and_go() {
    let gpu = gpu(Checks::Unchecked);
    let options = Options { master_weights: true, rounding: Rounding::Stochastic { seed: 3 }, ..Default::default() };
    for (name, pair) in algorithms().into_iter().filter(|(name, _)| fits(name, &options)) {
        for dtype in [DType::F32, DType::Bf16] {
            let names = numbered(SHAPES.len());
            let of = |range: std::ops::Range<usize>, first: usize| {
                let (params, grads) = (tensors(&gpu, dtype, 1), tensors(&gpu, dtype, 100));
                let list: Vec<Param> = range.clone().map(|i| Param::new(&names[i], &params[i], &grads[i])).collect();
                let optimizer = Optimizer::with_options(&gpu, &*pair.kernel, &list, options.clone()).unwrap();
                (0..first).for_each(|_| step(&gpu, &optimizer));
                (params, grads, optimizer)
            };
            // rounding depends on the parameter's number, which stays that of 0 and 1
            let (expected, ..) = of(0..2, 6);
            let (params, grads, mut optimizer) = of(0..2, 3);
            let more: Vec<Param> = (2..4).map(|i| Param::new(&names[i], &params[i], &grads[i])).collect();
            optimizer.add(&more).unwrap();
            assert!(matches!(optimizer.add(&more), Err(Error::DuplicateName { .. })));
            assert!(matches!(optimizer.add(&[Param::new("new", &params[1], &grads[0])]), Err(Error::Shape { .. })));
            (0..3).for_each(|_| step(&gpu, &optimizer));
            assert_eq!(pollster::block_on(optimizer.steps()).unwrap(), [6, 6, 3, 3]);
            assert_eq!(all_bits(&gpu, &params[..2]), all_bits(&gpu, &expected[..2]), "{name} {dtype}");
            let (all, ..) = of(0..4, 3);
            assert_eq!(all_bits(&gpu, &params[2..]), all_bits(&gpu, &all[2..]), "{name} {dtype}");

            let before = all_bits(&gpu, &params);
            assert!(matches!(optimizer.remove(&[&names[1], "other"]), Err(Error::Unknown { .. })));
            optimizer.remove(&[&names[1], &names[3]]).unwrap();
            step(&gpu, &optimizer);
            assert_eq!(pollster::block_on(optimizer.steps()).unwrap(), [7, 4]);
            let after = all_bits(&gpu, &params);
            assert!(after[1] == before[1] && after[3] == before[3] && after[0] != before[0] && after[2] != before[2], "{name} {dtype}");
            let (expected, ..) = of(0..2, 7);
            assert_eq!(all_bits(&gpu, &params[..1]), all_bits(&gpu, &expected[..1]), "{name} {dtype}");
        }
    }
}

/// By a second parameter that is moved by what is expected: the average in f64, and gradients that were clipped by the host.
#[test]
fn averages_and_clipped_values() {
    let gpu = gpu(Checks::Unchecked);
    for algorithm in [&AdamW { lr: 0.05, ..Default::default() } as &dyn Algorithm, &AdamP { lr: 0.05, ..Default::default() }] {
        let options = Options { clip_value: Some(0.25), ema_decay: Some(0.75), ..Default::default() };
        let (params, grads) = (tensors(&gpu, DType::F32, 1), tensors(&gpu, DType::F32, 100));
        let averaged = optimizer(&gpu, algorithm, &params, &grads, &options).unwrap();
        let (plain_params, plain_grads) = (tensors(&gpu, DType::F32, 1), tensors(&gpu, DType::F32, 100));
        for (plain, grad) in plain_grads.iter().zip(&grads) {
            let clipped: Vec<f32> = read(&gpu, grad).iter().map(|g| g.clamp(-0.25, 0.25) as f32).collect();
            assert!(clipped.contains(&0.25) && clipped.iter().any(|g| g.abs() < 0.25) || clipped.len() < 100);
            write(&gpu, plain, &clipped);
        }
        let plain = optimizer(&gpu, algorithm, &plain_params, &plain_grads, &Options::default()).unwrap();
        let mut expected: Vec<Vec<f64>> = params.iter().map(|param| read(&gpu, param)).collect();
        for _ in 0..5 {
            step(&gpu, &averaged);
            step(&gpu, &plain);
            for (expected, param) in expected.iter_mut().zip(&params) {
                expected.iter_mut().zip(read(&gpu, param)).for_each(|(average, p)| *average += 0.25 * (p - *average));
            }
        }
        assert_eq!(all_bits(&gpu, &params), all_bits(&gpu, &plain_params));
        for (name, expected) in numbered(SHAPES.len()).iter().zip(&expected) {
            let pieces = averaged.state(name, "ema").unwrap();
            let found: Vec<f64> = pieces.iter().flat_map(|piece| read(&gpu, piece)).collect();
            assert_eq!(found.len(), expected.len());
            assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() <= 3e-7), "{name}");
            assert!(matches!(averaged.state(name, "other"), Err(Error::Unknown { .. })));
            assert!(matches!(plain.state(name, "ema"), Err(Error::Unknown { .. })));
        }
    }
    // what is not a number stays, infinity does not
    let param = Tensor::from_slice(&gpu, &[4], &[0f32; 4]).unwrap();
    let grad = Tensor::from_slice(&gpu, &[4], &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.125]).unwrap();
    let options = Options { clip_value: Some(0.5), ..Default::default() };
    let sgd = Optimizer::with_options(&gpu, &Sgd { lr: 1.0, ..Default::default() }, &[Param::new("p", &param, &grad)], options).unwrap();
    step(&gpu, &sgd);
    let found = read(&gpu, &param);
    assert!(found[0].is_nan() && found[1..] == [-0.5, 0.5, 0.125], "{found:?}");
    for (clip_value, ema_decay) in [(Some(0.0), None), (Some(f64::INFINITY), None), (None, Some(1.0)), (None, Some(-0.1))] {
        let error = optimizer_error(&gpu, &Options { clip_value, ema_decay, ..Default::default() });
        assert!(error.contains("clip_value") || error.contains("ema_decay"), "{error}");
    }
}

/// The last cell of a gradient is read whole; what lies behind the gradient is nobody's.
#[test]
fn what_lies_behind_a_gradient_does_not_count() {
    for gpu in [gpu(Checks::Checked), gpu_for(Target::discrete())] {
        for dtype in [DType::F32, DType::F16] {
            let whole = Tensor::zeros(&gpu, &[72], dtype).unwrap();
            write(&gpu, &whole, &[f32::NAN; 72]);
            let grad = Tensor::from_buffer(whole.buffer(), 0, &[69], dtype).unwrap();
            write(&gpu, &grad, &[2.0; 69]);
            write(&gpu, &Tensor::from_buffer(whole.buffer(), 70 * dtype.size(), &[2], dtype).unwrap(), &[f32::NAN; 2]);
            let param = Tensor::zeros(&gpu, &[69], DType::F32).unwrap();
            let options = Options { max_norm: Some(1e9), ..Default::default() };
            let sgd = Sgd { lr: 0.5, ..Default::default() };
            let optimizer = Optimizer::with_options(&gpu, &sgd, &[Param::new("p", &param, &grad)], options).unwrap();
            step(&gpu, &optimizer);
            let status = pollster::block_on(optimizer.status()).unwrap();
            assert!(!status.skipped && (f64::from(status.grad_norm) - 276f64.sqrt()).abs() < 1e-5, "{dtype}: {status:?}");
            assert_eq!(read(&gpu, &param), [-1.0; 69], "{dtype}");
        }
    }
}

/// AdaHessian and Sophia by their references, with a diagonal of the program's.
#[test]
fn the_diagonal_of_the_hessian_is_the_programs() {
    use gradus::optim::{AdaHessian, Sophia};
    use gradus::reference::optim as twin;
    let gpu = gpu(Checks::Unchecked);
    let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<f64>>();
    // the mean magnitude of a kernel of a convolution is the program's as well: these have none
    let shapes: [&[usize]; 3] = [&[6, 27], &[5], &[2050]];
    let adahessian = AdaHessian { lr: 0.05, weight_decay: 0.1, ..Default::default() };
    let algorithms: [(&dyn Algorithm, &str); 4] = [
        (&adahessian, "hessian_diag"),
        (&AdaHessian { hessian_power: 0.5, maximize: true, ..adahessian }, "hessian_diag"),
        (&AdaHessian { hessian_power: 0.0, ..adahessian }, "hessian_diag"),
        (&Sophia { lr: 0.02, rho: 0.5, ..Default::default() }, "hessian"),
    ];
    for (number, (algorithm, state)) in algorithms.into_iter().enumerate() {
        let make = |seed: u64| -> Vec<Tensor> {
            let all = Tensor::arena(&gpu, &shapes, DType::F32).unwrap();
            all.iter().zip(seed..).for_each(|(tensor, seed)| write(&gpu, tensor, &noise(seed, tensor.len())));
            all
        };
        let (params, grads, diagonals) = (make(1), make(10), make(20));
        let optimizer = optimizer(&gpu, algorithm, &params, &grads, &Options::default()).unwrap();
        let names = numbered(shapes.len());
        let mut expected: Vec<_> = params.iter().map(|param| (read(&gpu, param), vec![vec![0.0; param.len()]; 2])).collect();
        for t in 1..=4u64 {
            let fresh = number < 3 || t % 2 == 1;
            let mut recording = gradus::Recording::new();
            for (i, (name, diagonal)) in names.iter().zip(&diagonals).enumerate() {
                let values: Vec<f32> = noise(100 * t + i as u64, diagonal.len()).iter().map(|x| x + 0.5).collect();
                write(&gpu, diagonal, &values);
                if fresh {
                    optimizer.blend(&mut recording, name, state, if number < 3 { 0.0 } else { 0.99 }, diagonal).unwrap();
                }
                let (p, states) = &mut expected[i];
                let (g, d) = (read(&gpu, &grads[i]), wide(&values));
                match number {
                    0..3 => {
                        let hessian_power = [1.0, 0.5, 0.0][number];
                        let twin =
                            twin::AdaHessian { lr: 0.05, weight_decay: 0.1, hessian_power, maximize: number == 1, ..Default::default() };
                        twin.step(t, shapes[i], p, &g, &d, states);
                    }
                    _ => {
                        let twin = twin::Sophia { lr: 0.02, rho: 0.5, ..Default::default() };
                        twin.step(shapes[i], p, &g, fresh.then_some(&d[..]), states);
                    }
                }
            }
            gpu.submit([&recording]);
            step(&gpu, &optimizer);
            for (param, (expected, _)) in params.iter().zip(&expected) {
                for (found, expected) in read(&gpu, param).iter().zip(expected) {
                    // a quotient by a small average is as large as it is inexact
                    let bound = 1e-6 * 0.05 * t as f64 + 2e-6 * expected.abs();
                    assert!((found - expected).abs() <= bound, "{number} {t}: {found} for {expected}");
                }
            }
        }
        let mut recording = gradus::Recording::new();
        let mut blend = |name: &str, state: &str, keep, x: &Tensor| optimizer.blend(&mut recording, name, state, keep, x).unwrap_err();
        assert!(matches!(blend("other", state, 0.0, &diagonals[0]), Error::Unknown { .. }));
        assert!(matches!(blend(&names[0], "other", 0.0, &diagonals[0]), Error::Unknown { .. }));
        assert!(matches!(blend(&names[0], state, 1.5, &diagonals[0]), Error::Option { .. }));
        assert!(matches!(blend(&names[0], state, 0.0, &diagonals[1]), Error::Shape { .. }));
        assert!(recording.is_empty());
    }
}

/// What a file has is loaded, and what it has not is named.
#[test]
#[cfg(feature = "weights")]
fn state_dictionaries_are_streamed_and_loaded_in_part() {
    use safetensors::SafeTensors;
    use safetensors::tensor::{Dtype, TensorView};
    let gpu = gpu(Checks::Unchecked);
    let options = Options { state_dtype: DType::Bf16, loss_scale: gradus::optim::LossScale::dynamic(), ..Default::default() };
    for (name, pair) in algorithms() {
        let options = if fits(name, &options) { options.clone() } else { Options::default() };
        let make = || {
            let (params, grads) = (tensors(&gpu, DType::F32, 1), tensors(&gpu, DType::F32, 100));
            let optimizer = optimizer(&gpu, &*pair.kernel, &params, &grads, &options).unwrap();
            (params, optimizer)
        };
        let (_, stepped) = make();
        (0..3).for_each(|_| step(&gpu, &stepped));
        let whole = pollster::block_on(stepped.state_dict()).unwrap();
        let mut streamed = Vec::new();
        pollster::block_on(stepped.write_state_dict(&mut streamed)).unwrap();
        let [a, b] = [&whole, &streamed].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
        assert_eq!(a.len(), b.len());
        for (tensor, view) in a.tensors() {
            assert!(b.tensor(&tensor).unwrap() == view, "{name}: {tensor}");
        }
        let (_, mut strict) = make();
        strict.load_state_dict(&streamed).unwrap();
        assert_eq!(common::snapshot(&gpu, &strict, &[]), common::snapshot(&gpu, &stepped, &[]), "{name}");

        // one parameter is missing, another tensor is there
        let gone = format!("{}.", numbered(2)[1]);
        let other = TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
        let tensors = a.tensors();
        let rest = tensors.iter().filter(|(tensor, _)| !tensor.starts_with(&gone)).map(|(tensor, view)| (tensor.clone(), view.clone()));
        let part = safetensors::serialize(rest.chain([("other".to_owned(), other)]), None).unwrap();
        let (_, mut lenient) = make();
        let before = common::snapshot(&gpu, &lenient, &[]);
        assert!(lenient.load_state_dict(&part).is_err());
        let mut missing = lenient.load_state_dict_lenient(&part).unwrap();
        let mut expected: Vec<String> =
            tensors.iter().map(|(tensor, _)| tensor.clone()).filter(|tensor| tensor.starts_with(&gone)).collect();
        expected.push("groups".into());
        missing.sort();
        expected.sort();
        assert_eq!(missing, expected, "{name}");
        for (tensor, bytes) in common::snapshot(&gpu, &lenient, &[]) {
            let expected = if tensor.starts_with(&gone) { before[&tensor].clone() } else { a.tensor(&tensor).unwrap().data().to_vec() };
            assert!(bytes == expected, "{name}: {tensor}");
        }
    }

    // as PyTorch has them: numbers of parameters, steps as f32
    let adam = Adam { lr: 0.1, ..Default::default() };
    let (params, grads) = (tensors(&gpu, DType::F32, 1), tensors(&gpu, DType::F32, 100));
    let mut optimizer = optimizer(&gpu, &adam, &params, &grads, &Options::default()).unwrap();
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let data: Vec<Vec<u8>> = SHAPES.iter().map(|shape| bytes(&noise(5, shape.iter().product()))).collect();
    let steps = bytes(&[7.0]);
    let saved = |step: &[u8], shape: Vec<usize>| {
        let view =
            |i: usize, state: &str| (format!("state.{i}.{state}"), TensorView::new(Dtype::F32, SHAPES[i].to_vec(), &data[i]).unwrap());
        let mut views: Vec<_> = [0, 2, 3].into_iter().flat_map(|i| [view(i, "exp_avg"), view(i, "exp_avg_sq")]).collect();
        views.push(("state.0.step".into(), TensorView::new(Dtype::F32, vec![], step).unwrap()));
        if !shape.is_empty() {
            views.push(("state.1.exp_avg".into(), TensorView::new(Dtype::F32, shape, &data[1]).unwrap()));
        }
        safetensors::serialize(views, None).unwrap()
    };
    let missing = optimizer.load_pytorch_state_dict(&saved(&steps, vec![])).unwrap();
    assert_eq!(missing, ["state.1.exp_avg", "state.1.exp_avg_sq", "state.1.step", "state.2.step", "state.3.step"]);
    assert_eq!(pollster::block_on(optimizer.steps()).unwrap(), [7, 0, 0, 0]);
    let found = optimizer.state(&numbered(1)[0], "exp_avg_sq").unwrap();
    assert_eq!(bits(&gpu, &found[0]), data[0].as_chunks().0.iter().map(|&b| u32::from_le_bytes(b)).collect::<Vec<_>>());
    let before = common::snapshot(&gpu, &optimizer, &[]);
    for bad in [saved(&bytes(&[1.5]), vec![]), saved(&bytes(&[-1.0]), vec![]), saved(&steps, vec![5, 1])] {
        assert!(matches!(optimizer.load_pytorch_state_dict(&bad), Err(Error::StateMismatch { .. })));
    }
    assert_eq!(common::snapshot(&gpu, &optimizer, &[]), before);
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("full"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    assert!(matches!(pollster::block_on(optimizer.write_state_dict(&mut Full)), Err(Error::Write(_))));
}
