//! The same bits, however a run is cut: ten steps in one encoder, ten submissions, and five steps,
//! saved, loaded into another optimizer, and five more; learning rates, frozen parameters and missing
//! gradients included.

#![cfg(all(feature = "optim", feature = "weights"))]

mod common;

use common::{algorithms, fits, gpu, noise};
use gradus::gpu::Checks;
use gradus::optim::{AdamW, Algorithm, LossScale, Optimizer, Options, Param, Rounding, Sgd};
use gradus::{DType, Gpu, Recording, Tensor, vector};

const SHAPES: [&[usize]; 4] = [&[6, 27], &[5], &[33, 16], &[2050]];
const NAMES: [&str; 4] = ["conv.weight", "conv.bias", "linear.weight", "embedding"];

/// Parameters and gradients that begin with the same noise each time.
struct Model {
    params: Vec<Tensor>,
    grads: Vec<Tensor>,
}

impl Model {
    fn new(gpu: &Gpu, dtype: DType) -> Self {
        let tensors = |seed: u64| {
            let tensors = Tensor::arena(gpu, &SHAPES, dtype).unwrap();
            for (i, tensor) in tensors.iter().enumerate() {
                common::write(gpu, tensor, &noise(seed + i as u64, tensor.len()));
            }
            tensors
        };
        Self { params: tensors(1), grads: tensors(100) }
    }

    fn optimizer(&self, gpu: &Gpu, algorithm: &dyn Algorithm, options: &Options) -> Optimizer {
        let list: Vec<Param> = NAMES.iter().zip(self.params.iter().zip(&self.grads)).map(|(name, (p, g))| Param::new(name, p, g)).collect();
        Optimizer::with_options(gpu, algorithm, &list, options.clone()).unwrap()
    }

    fn read(&self, gpu: &Gpu) -> Vec<Vec<u64>> {
        self.params.iter().map(|param| common::read(gpu, param).into_iter().map(f64::to_bits).collect()).collect()
    }
}

fn submit(gpu: &Gpu, encode: impl FnOnce(&mut wgpu::CommandEncoder)) {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    encode(&mut encoder);
    gpu.queue().submit([encoder.finish()]);
}

fn variants() -> Vec<(DType, Options)> {
    vec![
        (DType::F32, Options::default()),
        (DType::F32, Options { max_norm: Some(0.5), loss_scale: LossScale::dynamic(), ..Default::default() }),
        (DType::F16, Options { rounding: Rounding::Stochastic { seed: 3 }, ..Default::default() }),
        (DType::Bf16, Options { master_weights: true, skip_non_finite: true, ..Default::default() }),
        (DType::F32, Options { state_dtype: DType::Bf16, rounding: Rounding::Stochastic { seed: 7 }, ..Default::default() }),
    ]
}

#[test]
fn ten_steps_are_the_same_however_they_are_submitted() {
    let gpu = gpu(Checks::Unchecked);
    for (name, pair) in algorithms() {
        for (dtype, options) in variants().into_iter().filter(|(_, options)| fits(name, options)) {
            let what = format!("{name} {dtype} {options:?}");
            let run = |steps: &dyn Fn(&mut Optimizer, &Model)| {
                let model = Model::new(&gpu, dtype);
                let mut optimizer = model.optimizer(&gpu, &*pair.kernel, &options);
                steps(&mut optimizer, &model);
                (model.read(&gpu), pollster::block_on(optimizer.steps()).unwrap())
            };
            let submissions = run(&|optimizer, _| (0..10).for_each(|_| submit(&gpu, |encoder| optimizer.step(encoder))));
            assert_eq!(submissions.1, [10; 4], "{what}");
            let encoder = run(&|optimizer, _| submit(&gpu, |encoder| (0..10).for_each(|_| optimizer.step(encoder))));
            assert_eq!(submissions, encoder, "{what}: one encoder");
            let pass = run(&|optimizer, _| {
                submit(&gpu, |encoder| {
                    optimizer.prepare(encoder);
                    let mut pass = encoder.begin_compute_pass(&Default::default());
                    (0..10).for_each(|_| optimizer.recording().encode_in_pass(&mut pass));
                });
            });
            assert_eq!(submissions, pass, "{what}: one pass");
            let resumed = run(&|optimizer, model| {
                (0..5).for_each(|_| submit(&gpu, |encoder| optimizer.step(encoder)));
                let saved = pollster::block_on(optimizer.state_dict()).unwrap();
                *optimizer = model.optimizer(&gpu, &*pair.kernel, &options);
                optimizer.load_state_dict(&saved).unwrap();
                (0..5).for_each(|_| submit(&gpu, |encoder| optimizer.step(encoder)));
            });
            assert_eq!(submissions, resumed, "{what}: saved and loaded");
        }
    }
}

#[test]
fn a_state_dictionary_has_the_names_of_pytorch() {
    let gpu = gpu(Checks::Unchecked);
    for (name, pair) in algorithms() {
        let model = Model::new(&gpu, DType::F32);
        let optimizer = model.optimizer(&gpu, &*pair.kernel, &Options::default());
        submit(&gpu, |encoder| optimizer.step(encoder));
        let bytes = pollster::block_on(optimizer.state_dict()).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        for (i, param) in NAMES.iter().enumerate() {
            for state in pair.reference.state_names() {
                let view = file.tensor(&format!("{param}.{state}")).unwrap_or_else(|e| panic!("{name}: {param}.{state}: {e}"));
                assert_eq!(view.shape(), SHAPES[i], "{name}: {param}.{state}");
            }
            assert_eq!(file.tensor(&format!("{param}.step")).unwrap().data(), 1i64.to_le_bytes(), "{name}");
        }
        // numbers that are kept of a parameter
        let kept: &[&str] = match name {
            "nadam" => &["mu_product"],
            "schedule_free_adamw" | "schedule_free_sgd" => &["lr_max", "weight_sum"],
            _ => &[],
        };
        assert!(kept.iter().all(|kept| file.tensor(&format!("{}.{kept}", NAMES[0])).unwrap().shape().is_empty()), "{name}");
        // each state, a step count, and the loss scaler
        assert_eq!(file.len(), 4 * (pair.reference.state_names().len() + kept.len() + 1) + 1, "{name}");
    }
}

#[test]
fn a_state_matches_the_reference() {
    let gpu = gpu(Checks::Unchecked);
    for (name, pair) in algorithms() {
        let model = Model::new(&gpu, DType::F32);
        let optimizer = model.optimizer(&gpu, &*pair.kernel, &Options::default());
        let mut expected: Vec<_> = model.params.iter().map(|p| (common::read(&gpu, p), pair.reference.initial_state(p.len()))).collect();
        for t in 1..=4 {
            // gradients that differ from step to step: the variance of equal ones is all cancellation
            for (i, grad) in model.grads.iter().enumerate() {
                common::write(&gpu, grad, &noise(100 * t + i as u64, grad.len()));
            }
            submit(&gpu, |encoder| optimizer.step(encoder));
            for (i, (p, state)) in expected.iter_mut().enumerate() {
                pair.reference.step(t, SHAPES[i], p, &common::read(&gpu, &model.grads[i]), state);
            }
        }
        let bytes = pollster::block_on(optimizer.state_dict()).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        for (param, (_, states)) in NAMES.iter().zip(&expected) {
            for (state, expected) in pair.reference.state_names().iter().zip(states) {
                let data = file.tensor(&format!("{param}.{state}")).unwrap().data();
                for (found, expected) in data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).zip(expected) {
                    let error = (f64::from(found) - expected).abs();
                    assert!(error <= 2e-6 + 2e-6 * expected.abs(), "{name}: {param}.{state}: {found} for {expected}");
                }
            }
        }
    }
}

#[test]
fn the_learning_rate_belongs_to_the_steps_encoded_after_it() {
    let gpu = gpu(Checks::Unchecked);
    let schedule = [0.1, 0.02, 0.3, 0.004];
    let adamw = AdamW { weight_decay: 0.1, ..Default::default() };
    // one submission a step
    let one_by_one = Model::new(&gpu, DType::F32);
    let mut optimizer = one_by_one.optimizer(&gpu, &adamw, &Options::default());
    for lr in schedule {
        optimizer.set_lr(0, lr).unwrap();
        submit(&gpu, |encoder| optimizer.step(encoder));
    }
    // all in one encoder, and a change after the last step that must not reach back
    let together = Model::new(&gpu, DType::F32);
    let mut optimizer = together.optimizer(&gpu, &adamw, &Options::default());
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    for lr in schedule {
        optimizer.set_lr(0, lr).unwrap();
        optimizer.step(&mut encoder);
    }
    optimizer.set_lr(0, 9.0).unwrap();
    // an encoder that is dropped changes nothing either
    optimizer.step(&mut gpu.device().create_command_encoder(&Default::default()));
    gpu.queue().submit([encoder.finish()]);
    assert_eq!(one_by_one.read(&gpu), together.read(&gpu));
}

#[test]
fn frozen_parameters_and_missing_gradients_stay_behind() {
    let gpu = gpu(Checks::Unchecked);
    for (name, pair) in algorithms() {
        let all = Model::new(&gpu, DType::F32);
        let mut optimizer = all.optimizer(&gpu, &*pair.kernel, &Options::default());
        let before = all.read(&gpu);
        optimizer.set_frozen("conv.bias", true).unwrap();
        submit(&gpu, |encoder| optimizer.step(encoder));
        submit(&gpu, |encoder| optimizer.step_without(encoder, &["embedding"]).unwrap());
        let between = all.read(&gpu);
        assert_eq!(between[1], before[1], "{name}: frozen");
        assert_eq!(pollster::block_on(optimizer.steps()).unwrap(), [2, 0, 2, 1], "{name}");
        optimizer.set_frozen("conv.bias", false).unwrap();
        submit(&gpu, |encoder| optimizer.step(encoder));
        assert_eq!(pollster::block_on(optimizer.steps()).unwrap(), [3, 1, 3, 2], "{name}");

        // the parameters do not know of each other: each is as if it had taken just its steps
        for (i, steps) in [3, 1, 3, 2].into_iter().enumerate() {
            let alone = Model::new(&gpu, DType::F32);
            let optimizer = alone.optimizer(&gpu, &*pair.kernel, &Options::default());
            (0..steps).for_each(|_| submit(&gpu, |encoder| optimizer.step(encoder)));
            assert_eq!(all.read(&gpu)[i], alone.read(&gpu)[i], "{name}: {}", NAMES[i]);
        }
    }
}

#[test]
fn a_loaded_state_brings_its_groups() {
    let gpu = gpu(Checks::Unchecked);
    let model = Model::new(&gpu, DType::F32);
    let mut saved = model.optimizer(&gpu, &Sgd { lr: 0.5, ..Default::default() }, &Options::default());
    saved.set_lr(0, 0.25).unwrap();
    let bytes = pollster::block_on(saved.state_dict()).unwrap();
    let mut loaded = model.optimizer(&gpu, &Sgd { lr: 0.1, ..Default::default() }, &Options::default());
    loaded.load_state_dict(&bytes).unwrap();
    assert_eq!(loaded.groups(), saved.groups());
}

/// Of more dispatches with constants of their own than a buffer of uniform blocks holds: clones that go on by themselves, one that
/// was encoded before, and one that came from elsewhere.
#[test]
fn recordings_keep_their_constants() {
    for checks in [Checks::Unchecked, Checks::Checked] {
        let gpu = common::gpu(checks);
        let [x, y] = [1, 2].map(|_| Tensor::arena(&gpu, &[&[1][..]; 300], DType::F32).unwrap());
        let fill = |recording: &mut Recording, tensors: &[Tensor], value: &dyn Fn(usize) -> f64| {
            for (i, tensor) in tensors.iter().enumerate() {
                vector::fill(&gpu, recording, value(i), tensor).unwrap();
            }
        };
        let mut first = Recording::new();
        fill(&mut first, &x, &|i| i as f64);
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        first.encode(&mut encoder);
        let mut second = first.clone();
        fill(&mut first, &x[..150], &|i| -(i as f64));
        fill(&mut second, &y, &|i| 0.5 * i as f64);
        first.encode(&mut encoder);
        let mut both = Recording::new();
        vector::fill(&gpu, &mut both, 7.0, &y[299]).unwrap();
        both.extend(second.clone());
        drop((first, second));
        gpu.queue().submit([encoder.finish()]);
        let read = |tensors: &[Tensor]| tensors.iter().map(|tensor| common::read(&gpu, tensor)[0]).collect::<Vec<_>>();
        let expected = |value: &dyn Fn(usize) -> f64| (0..300).map(value).collect::<Vec<_>>();
        assert_eq!(read(&x), expected(&|i| if i < 150 { -(i as f64) } else { i as f64 }));
        assert_eq!(read(&y), expected(&|_| 0.0));
        gpu.submit([&both]);
        assert_eq!(read(&x), expected(&|i| i as f64));
        assert_eq!(read(&y), expected(&|i| 0.5 * i as f64));
    }
}
