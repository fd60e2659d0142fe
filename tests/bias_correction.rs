//! What the device makes of the step count, from outside: the count is set by way of a state
//! dictionary, one step is taken, and the bias correction follows from how far the parameter moved.
//!
//! The numbers are chosen so that nothing else is in the way: constants are rounded to f32 in the
//! expectation as they are on the device, the parameter starts at 0, `eps` is 0. What is left are
//! the roundings of a handful of divisions, roots and products. At half an ulp each, which a software
//! driver keeps, they add up to 5e-7; at an ulp each, which is what GPUs do, to 1e-6. Bounds do not
//! allow for them on top: the whole is held to what the bias correction alone may be off.

#![cfg(all(feature = "optim", feature = "weights"))]

mod common;

use common::{gpu, read, step};
use gradus::gpu::Checks;
use gradus::optim::{Adagrad, Adam, Algorithm, DiffGrad, Optimizer, Param};
use gradus::reference::optim::bias_correction;
use gradus::{DType, Gpu, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

const STEPS: [u64; 6] = [1, 2, 10, 1_000, 10_000, 1_000_000];
const BETAS: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 0.9999];
const BOUND: f64 = 2e-6;

/// The state dictionary `bytes` with `edit(parameter, state)` in place of each tensor for which that is
/// something.
fn edited(bytes: &[u8], edit: impl Fn(&str, &str) -> Option<Vec<u8>>) -> Vec<u8> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let tensors: Vec<_> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let new = name.rsplit_once('.').and_then(|(parameter, state)| edit(parameter, state));
            (name, view.dtype(), view.shape().to_vec(), new.unwrap_or_else(|| view.data().to_vec()))
        })
        .collect();
    let views = tensors.iter().map(|(name, dtype, shape, data)| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    safetensors::serialize(views, header.metadata().clone()).unwrap()
}

/// Takes step number `t` for each of [`STEPS`], of a parameter 0 with gradient 1 whose states are zero
/// but for those that `state` names, and returns where the parameters get.
fn after_step(gpu: &Gpu, algorithm: &dyn Algorithm, state: impl Fn(&str) -> Option<f32>) -> Vec<f64> {
    // one parameter for each number: counts are kept by parameter
    let names: Vec<String> = STEPS.iter().map(u64::to_string).collect();
    let params: Vec<Tensor> = STEPS.iter().map(|_| Tensor::zeros(gpu, &[1], DType::F32).unwrap()).collect();
    let grad = Tensor::from_slice(gpu, &[1], &[1f32]).unwrap();
    let list: Vec<Param> = names.iter().zip(&params).map(|(name, param)| Param::new(name, param, &grad)).collect();
    let mut optimizer = Optimizer::new(gpu, algorithm, &list).unwrap();
    let bytes = pollster::block_on(optimizer.state_dict()).unwrap();
    let bytes = edited(&bytes, |parameter, name| match name {
        "step" => Some((parameter.parse::<i64>().unwrap() - 1).to_le_bytes().to_vec()),
        _ => state(name).map(|value| value.to_le_bytes().to_vec()),
    });
    optimizer.load_state_dict(&bytes).unwrap();
    let counts = || pollster::block_on(optimizer.steps()).unwrap().into_iter().map(u64::from).collect::<Vec<_>>();
    assert_eq!(counts(), STEPS.map(|t| t - 1));
    step(gpu, &optimizer);
    assert_eq!(counts(), STEPS);
    params.iter().map(|param| read(gpu, param)[0]).collect()
}

/// Compares what was found at each of [`STEPS`] with what is expected there.
fn compare(found: &[f64], expected: impl Fn(u64) -> f64, bound: f64, what: &str) {
    assert_eq!(found.len(), STEPS.len());
    for (found, t) in found.iter().zip(STEPS) {
        let expected = expected(t);
        let error = (found / expected - 1.0).abs();
        assert!(error <= bound, "{what}, t = {t}: {found:e} for {expected:e}, relative error {error:e}");
    }
}

/// f32, as the host rounds constants before the device sees them.
fn rounded(x: f64) -> f64 {
    f64::from(x as f32)
}

#[test]
fn first_moment() {
    // betas[1] = 0: v = g² = 1 and bc2 = 1, so that p = -lr/bc1 · (1-b)
    for (checks, beta) in cases() {
        let adam = Adam { lr: 1.0, betas: [beta, 0.0], eps: 0.0, ..Default::default() };
        let found = after_step(&gpu(checks), &adam, |_| None);
        let found: Vec<f64> = found.iter().map(|p| -rounded(1.0 - beta) / p).collect();
        compare(&found, |t| bias_correction(beta, t), BOUND, &format!("{checks:?}, bc1 of {beta}"));
    }
}

#[test]
fn second_moment() {
    // betas[0] = 0: m = g = 1 and bc1 = 1, so that p = -lr · √bc2/√v, v = 1-b
    for (checks, beta) in cases() {
        let adam = Adam { lr: 1.0, betas: [0.0, beta], eps: 0.0, ..Default::default() };
        let found = after_step(&gpu(checks), &adam, |_| None);
        let found: Vec<f64> = found.iter().map(|p| p * p * rounded(1.0 - beta)).collect();
        compare(&found, |t| bias_correction(beta, t), BOUND, &format!("{checks:?}, bc2 of {beta}"));
    }
}

#[test]
fn diffgrad() {
    // g_prev = g: xi = 1/2, and p = -lr·√bc2/bc1 · (1-b1)/2/√(1-b2)
    for checks in [Checks::Unchecked, Checks::Checked] {
        for betas in [[0.9, 0.999], [0.99, 0.9999], [0.5, 0.9]] {
            let diffgrad = DiffGrad { lr: 1.0, betas, eps: 0.0, ..Default::default() };
            let found = after_step(&gpu(checks), &diffgrad, |name| (name == "previous_grad").then_some(1.0));
            let found: Vec<f64> = found.iter().map(|p| -2.0 * p * rounded(1.0 - betas[1]).sqrt() / rounded(1.0 - betas[0])).collect();
            let step_size = |t| bias_correction(betas[1], t).sqrt() / bias_correction(betas[0], t);
            // the whole error of bc1, and half that of bc2
            compare(&found, step_size, 1.5 * BOUND, &format!("{checks:?}, diffGrad's step size with {betas:?}"));
        }
    }
}

#[test]
fn adagrad_decays_its_learning_rate() {
    // s = g² = 1: p = -lr/(1+(t-1)·lr_decay)
    for checks in [Checks::Unchecked, Checks::Checked] {
        for lr_decay in [0.0, 1e-6, 1e-3, 0.1, 3.0] {
            let adagrad = Adagrad { lr: 1.0, lr_decay, eps: 0.0, ..Default::default() };
            let found: Vec<f64> = after_step(&gpu(checks), &adagrad, |_| None).iter().map(|p| -p).collect();
            let step_size = |t: u64| 1.0 / (1.0 + (t - 1) as f64 * rounded(lr_decay));
            // four roundings of an ulp, 2^-23, each
            compare(&found, step_size, 4.8e-7, &format!("{checks:?}, lr_decay {lr_decay}"));
        }
    }
}

fn cases() -> impl Iterator<Item = (Checks, f64)> {
    [Checks::Unchecked, Checks::Checked].into_iter().flat_map(|checks| BETAS.map(|beta| (checks, beta)))
}
