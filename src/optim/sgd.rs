use super::algorithm::{self, Algorithm, Update, json, not_negative};
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

impl Algorithm for Sgd {
    fn update(&self) -> Result<Update> {
        let Self { lr, momentum, dampening, weight_decay, nesterov, maximize } = *self;
        not_negative("momentum", momentum)?;
        algorithm::check("dampening", dampening, (dampening as f32).is_finite(), "a finite number")?;
        algorithm::nesterov(nesterov, momentum, dampening)?;
        let mut defines = Vec::new();
        defines.extend((momentum != 0.0).then_some("MOMENTUM"));
        defines.extend(nesterov.then_some("NESTEROV"));
        let config = json(&[("momentum", &momentum), ("dampening", &dampening), ("nesterov", &nesterov), ("maximize", &maximize)]);
        let update = Update::built_in("sgd", shaders::optim::SGD, &defines, lr, config)?.coupled_decay(weight_decay).maximize(maximize);
        Ok(match momentum != 0.0 {
            false => update,
            true => update
                .state("momentum_buffer")
                .constant("momentum", momentum)
                .constant("one_minus_dampening", 1.0 - dampening)
                .prepared("blend"),
        })
    }
}
