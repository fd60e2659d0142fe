use super::algorithm::{Algorithm, Update, check, json};
use crate::{Result, shaders};

/// AdaHessian (Yao et al. 2021, arXiv:2006.00719), as the authors' code computes it; 32 bytes a parameter of f32.
///
/// `m = β1·m+(1-β1)g`; `h = β2·h+(1-β2)d²`; `p *= 1-lr·weight_decay`; `p -= (lr/bc1)·m/((√h/√bc2)^hessian_power+eps)`. States: `exp_avg` (m),
/// `exp_hessian_diag_sq` (h), and `hessian_diag` (d), an estimate of the Hessian's diagonal that the program makes for each step
/// ([`Optimizer::blend`](super::Optimizer::blend) with `keep` 0): [`curvature`](crate::curvature) has estimators. For the kernels of
/// convolutions the authors take its mean magnitude over the spatial axes; that is the program's to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaHessian {
    /// Learning rate. Default: 0.15.
    pub lr: f64,
    /// Default: 0.9, 0.999.
    pub betas: [f64; 2],
    /// Default: 1e-4.
    pub eps: f64,
    /// Default: 0.
    pub weight_decay: f64,
    /// From 0, gradient descent with momentum, to 1. Default: 1.
    pub hessian_power: f64,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for AdaHessian {
    fn default() -> Self {
        Self { lr: 0.15, betas: [0.9, 0.999], eps: 1e-4, weight_decay: 0.0, hessian_power: 1.0, maximize: false }
    }
}

impl Algorithm for AdaHessian {
    fn update(&self) -> Result<Update> {
        let Self { lr, betas, eps, weight_decay, hessian_power, maximize } = *self;
        check("hessian_power", hessian_power, (0.0..=1.0).contains(&hessian_power), "from 0 to 1")?;
        let config = json(&[("betas", &betas), ("eps", &eps), ("hessian_power", &hessian_power), ("maximize", &maximize)]);
        let defines: &[&str] = if hessian_power == 1.0 { &[] } else { &["POWER"] };
        let update = Update::built_in("adahessian", shaders::optim::ADAHESSIAN, defines, lr, config)?.moments(betas, eps)?;
        let update = update.decoupled_decay(weight_decay).maximize(maximize).state("exp_avg").state("exp_hessian_diag_sq");
        Ok(update.input("hessian_diag").constant("hessian_power", hessian_power).prepared("step_size").prepared("root_scale"))
    }
}
