use super::algorithm::{Algorithm, Decay, Initial, Update, fraction, json, not_negative};
use crate::{Result, shaders};

/// Schedule-free SGD (Defazio et al. 2024, arXiv:2405.15682), as the authors' code computes it; 20 bytes a parameter of f32.
///
/// `rate = lr·min(1, t/warmup_steps)`; `c` is the share of `t^r·rate^weight_lr_power` in the sum of all so far.
/// `y += c(z-y) + rate·(momentum·(1-c)-1)·g`; `z -= rate·g`. The parameter is `y`, where gradients are taken; the model to evaluate is
/// `x = y + (1-1/momentum)(z-y)`. Weight decay is coupled. States: `z`, and of a parameter `lr_max`, `weight_sum`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScheduleFreeSgd {
    /// Learning rate. Default: 1.
    pub lr: f64,
    /// The share of the average in the point where gradients are taken. Default: 0.9.
    pub momentum: f64,
    /// Default: 0.
    pub weight_decay: f64,
    /// The learning rate grows linearly over so many steps. Default: 0.
    pub warmup_steps: u64,
    /// The power of `t` in the weights of the average. Default: 0.
    pub r: f64,
    /// The power of the learning rate in the weights of the average. Default: 2.
    pub weight_lr_power: f64,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for ScheduleFreeSgd {
    fn default() -> Self {
        Self { lr: 1.0, momentum: 0.9, weight_decay: 0.0, warmup_steps: 0, r: 0.0, weight_lr_power: 2.0, maximize: false }
    }
}

impl Algorithm for ScheduleFreeSgd {
    fn update(&self) -> Result<Update> {
        let Self { lr, momentum, weight_decay, warmup_steps, r, weight_lr_power, maximize } = *self;
        fraction("momentum", momentum)?;
        let config = json(&[
            ("momentum", &momentum),
            ("warmup_steps", &warmup_steps),
            ("r", &r),
            ("weight_lr_power", &weight_lr_power),
            ("maximize", &maximize),
        ]);
        let update = Update::built_in("schedule_free_sgd", shaders::optim::SCHEDULE_FREE_SGD, &[], lr, config)?
            .coupled_decay(weight_decay)
            .maximize(maximize)
            .state_from("z", Initial::Parameter)
            .constant("momentum", momentum);
        averaged(update, warmup_steps, r, weight_lr_power)
    }
}

/// Schedule-free AdamW (Defazio et al. 2024, arXiv:2405.15682), as the authors' code computes it; 28 bytes a parameter of f32.
///
/// `rate = lr·min(1, t/warmup_steps)`; `c` is the share of `t^r·rate^weight_lr_power` in the sum of all so far.
/// `v = β2·v+(1-β2)g²`; `u = g/(√v/√bc2+eps) + weight_decay·y`; `y += c(z-y) + rate·(β1·(1-c)-1)·u`; `z -= rate·u`. The parameter is `y`, where
/// gradients are taken; the model to evaluate is `x = y + (1-1/β1)(z-y)`. States: `z`, `exp_avg_sq` (v), and of a parameter `lr_max`,
/// `weight_sum`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScheduleFreeAdamW {
    /// Learning rate. Default: 2.5e-3.
    pub lr: f64,
    /// The share of the average in the point where gradients are taken, and the decay of `v`. Default: 0.9, 0.999.
    pub betas: [f64; 2],
    /// Default: 1e-8.
    pub eps: f64,
    /// Default: 0.
    pub weight_decay: f64,
    /// The learning rate grows linearly over so many steps. Default: 0.
    pub warmup_steps: u64,
    /// The power of `t` in the weights of the average. Default: 0.
    pub r: f64,
    /// The power of the learning rate in the weights of the average. Default: 2.
    pub weight_lr_power: f64,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for ScheduleFreeAdamW {
    fn default() -> Self {
        Self {
            lr: 2.5e-3,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
            warmup_steps: 0,
            r: 0.0,
            weight_lr_power: 2.0,
            maximize: false,
        }
    }
}

impl Algorithm for ScheduleFreeAdamW {
    fn update(&self) -> Result<Update> {
        let Self { lr, betas, eps, weight_decay, warmup_steps, r, weight_lr_power, maximize } = *self;
        let config = json(&[
            ("betas", &betas),
            ("eps", &eps),
            ("warmup_steps", &warmup_steps),
            ("r", &r),
            ("weight_lr_power", &weight_lr_power),
            ("maximize", &maximize),
        ]);
        let update = Update::built_in("schedule_free_adamw", shaders::optim::SCHEDULE_FREE_ADAMW, &[], lr, config)?
            .moments(betas, eps)?
            .maximize(maximize)
            .state_from("z", Initial::Parameter)
            .state("exp_avg_sq")
            .prepared("root_scale");
        averaged(Update { weight_decay, decay: Decay::Own, ..update }, warmup_steps, r, weight_lr_power)
    }
}

/// What both keep of the average.
fn averaged(update: Update, warmup_steps: u64, r: f64, weight_lr_power: f64) -> Result<Update> {
    not_negative("r", r)?;
    not_negative("weight_lr_power", weight_lr_power)?;
    Ok(update
        .constant("warmup_steps", warmup_steps as f64)
        .constant("r", r)
        .constant("weight_lr_power", weight_lr_power)
        .kept("lr_max", 0.0)
        .kept("weight_sum", 0.0)
        .prepared("rate")
        .prepared("share")
        .prepared("step_of_y"))
}
