use super::algorithm::{self, Lower, Lowered, constants, json, not_negative};
use crate::shaders::layout::SgdConstants;
use crate::{Result, shaders};

/// Stochastic gradient descent (`torch.optim.SGD`); 12 bytes a parameter of f32, with momentum 20.
///
/// `b = momentum·b + (1-dampening)·g`, on the first step `b = g`; `p -= lr·b`, or with Nesterov
/// (Sutskever et al. 2013) `p -= lr·(g + momentum·b)`. Weight decay is coupled: `g += weight_decay·p`.
/// State: `momentum_buffer`, if `momentum` is not zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate. Default: 1e-3.
    pub lr: f64,
    /// Default: 0.
    pub momentum: f64,
    /// Default: 0.
    pub dampening: f64,
    /// Default: 0.
    pub weight_decay: f64,
    /// Needs `momentum` above 0 and `dampening` 0. Default: false.
    pub nesterov: bool,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { lr: 1e-3, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false, maximize: false }
    }
}

impl Lower for Sgd {
    fn lower(&self, seed: [u32; 2]) -> Result<Lowered> {
        let Self { lr, momentum, dampening, weight_decay, nesterov, maximize } = *self;
        let config = json(&[("momentum", &momentum), ("dampening", &dampening), ("nesterov", &nesterov), ("maximize", &maximize)]);
        let mut lowered = Lowered::new("sgd", &shaders::optim::SGD, lr, weight_decay, config)?;
        not_negative("momentum", momentum)?;
        algorithm::check("dampening", dampening, (dampening as f32).is_finite(), "a finite number")?;
        algorithm::nesterov(nesterov, momentum, dampening)?;
        lowered.maximize = maximize;
        lowered.constants = constants(&SgdConstants { momentum: momentum as f32, seed, ..Default::default() });
        lowered.blend = [1.0, 1.0 - dampening];
        if momentum != 0.0 {
            lowered.states = vec!["momentum_buffer"];
        }
        if nesterov {
            lowered.defines.push("NESTEROV");
        }
        Ok(lowered)
    }
}
