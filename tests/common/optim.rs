//! The algorithms as the crate and as the reference spell them, and what tests do with optimizers.

use gradus::optim::{self, Algorithm};
use gradus::reference::optim::{self as reference, Step};
use gradus::{Gpu, Tensor};
use serde_json::Value;

use super::twins::Reader;
use super::*;

/// An algorithm in both spellings.
pub struct Pair {
    pub kernel: Box<dyn Algorithm>,
    pub reference: Box<dyn Step>,
}

macro_rules! pair {
    ($config:expr, $type:ident { $($field:ident),* } $(, $more:ident: $value:expr)?) => {{
        let read = Reader { config: $config };
        let ours = optim::$type { $($field: read.get(stringify!($field))),* };
        let theirs = reference::$type { $($field: ours.$field,)* $($more: $value)? };
        Pair { kernel: Box::new(ours), reference: Box::new(theirs) }
    }};
}

/// Builds both from a configuration with PyTorch's names, all of which must be there.
pub fn pair(optimizer: &str, config: &Value) -> Option<Pair> {
    let options = config.as_object()?;
    let given = options.len();
    let (pair, used) = match optimizer {
        "sgd" => (pair!(config, Sgd { lr, momentum, dampening, weight_decay, nesterov, maximize }), 6),
        "adagrad" => (pair!(config, Adagrad { lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize }), 6),
        "adadelta" => (pair!(config, Adadelta { lr, rho, eps, weight_decay, maximize }), 5),
        "rmsprop" => (pair!(config, RmsProp { lr, alpha, eps, weight_decay, momentum, centered, maximize }), 7),
        "adam" => (pair!(config, Adam { lr, betas, eps, weight_decay, amsgrad, maximize }, decoupled: false), 6),
        "adamw" => (pair!(config, AdamW { lr, betas, eps, weight_decay, amsgrad, maximize }), 6),
        "diffgrad" => (pair!(config, DiffGrad { lr, betas, eps, weight_decay }, maximize: false), 4),
        "adamp" => (pair!(config, AdamP { lr, betas, eps, weight_decay, delta, wd_ratio, nesterov }, maximize: false), 7),
        "sgdp" => (pair!(config, SgdP { lr, momentum, dampening, weight_decay, nesterov, eps, delta, wd_ratio }, maximize: false), 8),
        "lion" => (pair!(config, Lion { lr, betas, weight_decay, maximize }), 4),
        "radam" => (pair!(config, RAdam { lr, betas, eps, weight_decay, decoupled_weight_decay, maximize }), 6),
        "nadam" => (pair!(config, NAdam { lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize }), 7),
        "adamax" => (pair!(config, Adamax { lr, betas, eps, weight_decay, maximize }), 5),
        "rprop" => (pair!(config, Rprop { lr, etas, step_sizes, maximize }), 4),
        "asgd" => (pair!(config, Asgd { lr, lambd, alpha, t0, weight_decay, maximize }), 6),
        "adan" => (pair!(config, Adan { lr, betas, eps, weight_decay, no_prox, maximize }), 6),
        "schedule_free_adamw" => {
            (pair!(config, ScheduleFreeAdamW { lr, betas, eps, weight_decay, warmup_steps, r, weight_lr_power, maximize }), 8)
        }
        "schedule_free_sgd" => {
            (pair!(config, ScheduleFreeSgd { lr, momentum, weight_decay, warmup_steps, r, weight_lr_power, maximize }), 7)
        }
        "lamb" => (pair!(config, Lamb { lr, betas, eps, weight_decay, maximize }), 5),
        "exponentiated_gradient" => (pair!(config, ExponentiatedGradient { lr, maximize }), 2),
        _ => return None,
    };
    // a flag is false where a configuration does not name it; nothing may be left over
    let flags = ["maximize", "decoupled_weight_decay", "no_prox"];
    assert!(used - given <= flags.iter().filter(|&&flag| config.get(flag).is_none()).count(), "{optimizer}: {config}");
    Some(pair)
}

/// Every algorithm in its variants, with options that differ from the defaults.
pub fn algorithms() -> Vec<(&'static str, Pair)> {
    use serde_json::json;
    let cases = [
        ("sgd", json!({"lr": 0.1, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": false, "maximize": false})),
        ("sgd", json!({"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.02, "nesterov": false, "maximize": true})),
        ("sgd", json!({"lr": 0.05, "momentum": 0.9, "dampening": 0.0, "weight_decay": 0.0, "nesterov": true, "maximize": false})),
        (
            "adagrad",
            json!({"lr": 0.02, "lr_decay": 0.1, "weight_decay": 0.03, "initial_accumulator_value": 0.2, "eps": 1e-10, "maximize": true}),
        ),
        ("adadelta", json!({"lr": 0.7, "rho": 0.9, "eps": 1e-6, "weight_decay": 0.02, "maximize": false})),
        (
            "rmsprop",
            json!({"lr": 0.01, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "momentum": 0.0, "centered": false, "maximize": false}),
        ),
        (
            "rmsprop",
            json!({"lr": 0.01, "alpha": 0.95, "eps": 1e-6, "weight_decay": 0.01, "momentum": 0.9, "centered": false, "maximize": true}),
        ),
        (
            "rmsprop",
            json!({"lr": 0.01, "alpha": 0.9, "eps": 1e-4, "weight_decay": 0.0, "momentum": 0.0, "centered": true, "maximize": false}),
        ),
        (
            "rmsprop",
            json!({"lr": 0.003, "alpha": 0.9, "eps": 1e-4, "weight_decay": 0.01, "momentum": 0.8, "centered": true, "maximize": false}),
        ),
        ("adam", json!({"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.1, "amsgrad": false, "maximize": false})),
        ("adam", json!({"lr": 0.01, "betas": [0.8, 0.99], "eps": 1e-6, "weight_decay": 0.0, "amsgrad": true, "maximize": true})),
        ("adamw", json!({"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.3, "amsgrad": false, "maximize": true})),
        ("adamw", json!({"lr": 0.01, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "amsgrad": true, "maximize": false})),
        ("diffgrad", json!({"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.1})),
        (
            "adamp",
            json!({"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.2, "delta": 0.1, "wd_ratio": 0.1, "nesterov": false}),
        ),
        (
            "adamp",
            json!({"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.2, "delta": 2.0, "wd_ratio": 0.3, "nesterov": true}),
        ),
        (
            "sgdp",
            json!({"lr": 0.05, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.02, "nesterov": false, "eps": 1e-8, "delta": 0.1, "wd_ratio": 0.1}),
        ),
        (
            "sgdp",
            json!({"lr": 0.05, "momentum": 0.9, "dampening": 0.0, "weight_decay": 0.02, "nesterov": true, "eps": 1e-8, "delta": 2.0, "wd_ratio": 0.2}),
        ),
        ("lion", json!({"lr": 0.01, "betas": [0.9, 0.99], "weight_decay": 0.1, "maximize": true})),
        ("radam", json!({"lr": 0.01, "betas": [0.9, 0.99], "eps": 1e-8, "weight_decay": 0.1})),
        (
            "nadam",
            json!({"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.1, "momentum_decay": 0.004, "decoupled_weight_decay": true}),
        ),
        ("adamax", json!({"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.1})),
        ("rprop", json!({"lr": 0.01, "etas": [0.5, 1.2], "step_sizes": [1e-6, 50.0]})),
        ("asgd", json!({"lr": 0.02, "lambd": 0.01, "alpha": 0.75, "t0": 2.0, "weight_decay": 0.02, "maximize": true})),
        ("adan", json!({"lr": 0.01, "betas": [0.98, 0.92, 0.99], "eps": 1e-8, "weight_decay": 0.1})),
        ("adan", json!({"lr": 0.01, "betas": [0.9, 0.8, 0.99], "eps": 1e-8, "weight_decay": 0.1, "no_prox": true})),
        (
            "schedule_free_adamw",
            json!({"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.1, "warmup_steps": 4, "r": 1.0, "weight_lr_power": 2.0}),
        ),
        (
            "schedule_free_sgd",
            json!({"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "warmup_steps": 0, "r": 0.0, "weight_lr_power": 2.0, "maximize": true}),
        ),
        ("exponentiated_gradient", json!({"lr": 0.02})),
        ("lamb", json!({"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-6, "weight_decay": 0.1})),
    ];
    cases.into_iter().map(|(name, config)| (name, pair(name, &config).expect(name))).collect()
}

/// Whether there is such an optimizer of 16-bit parameters with WebGPU's default limits: Adan's four states and a master copy are one
/// buffer too many, and the projected ones have f32 states alone.
pub fn fits(name: &str, options: &optim::Options) -> bool {
    let projected = matches!(name, "adamp" | "sgdp" | "lamb");
    let refused = (name == "adan" && options.master_weights) || (projected && options.state_dtype != gradus::DType::F32);
    !refused
}

/// Encodes a step and submits it.
pub fn step(gpu: &Gpu, optimizer: &optim::Optimizer) {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    optimizer.step(&mut encoder);
    gpu.queue().submit([encoder.finish()]);
}

/// The parameters and states of an optimizer, bit for bit. What it remembers of its gradients is left
/// out: the number of skipped steps is meant to differ.
#[cfg(feature = "weights")]
pub fn snapshot(gpu: &Gpu, optimizer: &optim::Optimizer, params: &[Tensor]) -> std::collections::BTreeMap<String, Vec<u8>> {
    let file = pollster::block_on(optimizer.state_dict()).unwrap();
    let mut all: std::collections::BTreeMap<String, Vec<u8>> = safetensors::SafeTensors::deserialize(&file)
        .unwrap()
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, view.data().to_vec()))
        .collect();
    assert!(all.remove("loss_scaler").is_some());
    for (i, param) in params.iter().enumerate() {
        all.insert(format!("parameter {i}"), bits(gpu, param).into_iter().flat_map(u32::to_le_bytes).collect());
    }
    all
}

/// An optimizer over numbered parameters.
pub fn optimizer(
    gpu: &Gpu,
    algorithm: &dyn Algorithm,
    params: &[Tensor],
    grads: &[Tensor],
    options: &optim::Options,
) -> gradus::Result<optim::Optimizer> {
    let names = numbered(params.len());
    let list: Vec<optim::Param> = names.iter().zip(params.iter().zip(grads)).map(|(name, (p, g))| optim::Param::new(name, p, g)).collect();
    optim::Optimizer::with_options(gpu, algorithm, &list, options.clone())
}
