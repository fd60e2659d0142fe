use super::algorithm::{Algorithm, Update, json, not_negative};
use crate::{Result, shaders};

/// RMSProp (Hinton 2012, centered: Graves 2013; `torch.optim.RMSprop`); 20 bytes a parameter of f32,
/// 8 more each with momentum and if centered.
///
/// `s = alpha·s+(1-alpha)g²`; centered: `a += (1-alpha)(g-a)`, `v = max(s-a², 0)`, else `v = s`;
/// `d = g/(√v+eps)`; with momentum `b = momentum·b+d` takes the place of `d`; `p -= lr·d`. Weight decay
/// is coupled. States: `square_avg` (s), `momentum_buffer` (b), `grad_avg` (a).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    /// Learning rate. Default: 1e-2.
    pub lr: f64,
    /// Default: 0.99.
    pub alpha: f64,
    /// Default: 1e-8.
    pub eps: f64,
    /// Default: 0.
    pub weight_decay: f64,
    /// Default: 0.
    pub momentum: f64,
    /// Default: false.
    pub centered: bool,
    /// Climb instead of descend. Default: false.
    pub maximize: bool,
}

impl Default for RmsProp {
    fn default() -> Self {
        Self { lr: 1e-2, alpha: 0.99, eps: 1e-8, weight_decay: 0.0, momentum: 0.0, centered: false, maximize: false }
    }
}

impl Algorithm for RmsProp {
    fn update(&self) -> Result<Update> {
        let Self { lr, alpha, eps, weight_decay, momentum, centered, maximize } = *self;
        not_negative("alpha", alpha)?;
        not_negative("eps", eps)?;
        not_negative("momentum", momentum)?;
        let config = json(&[("alpha", &alpha), ("eps", &eps), ("momentum", &momentum), ("centered", &centered), ("maximize", &maximize)]);
        let mut defines = Vec::new();
        defines.extend((momentum > 0.0).then_some("MOMENTUM"));
        defines.extend(centered.then_some("CENTERED"));
        let mut update = Update::built_in("rmsprop", shaders::optim::RMSPROP, &defines, lr, config)?
            .coupled_decay(weight_decay)
            .maximize(maximize)
            .constant("alpha", alpha)
            .constant("one_minus_alpha", 1.0 - alpha)
            .constant("eps", eps)
            .state("square_avg");
        if momentum > 0.0 {
            update = update.constant("momentum", momentum).state("momentum_buffer");
        }
        Ok(if centered { update.state("grad_avg") } else { update })
    }
}
