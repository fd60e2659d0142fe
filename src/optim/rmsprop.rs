use super::algorithm::{Lower, Lowered, constants, json, not_negative};
use crate::shaders::layout::RmsPropConstants;
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

impl Lower for RmsProp {
    fn lower(&self, seed: [u32; 2]) -> Result<Lowered> {
        let Self { lr, alpha, eps, weight_decay, momentum, centered, maximize } = *self;
        let config = json(&[("alpha", &alpha), ("eps", &eps), ("momentum", &momentum), ("centered", &centered), ("maximize", &maximize)]);
        let mut lowered = Lowered::new("rmsprop", &shaders::optim::RMSPROP, lr, weight_decay, config)?;
        not_negative("alpha", alpha)?;
        not_negative("eps", eps)?;
        not_negative("momentum", momentum)?;
        lowered.maximize = maximize;
        lowered.constants = constants(&RmsPropConstants {
            alpha: alpha as f32,
            one_minus_alpha: (1.0 - alpha) as f32,
            eps: eps as f32,
            momentum: momentum as f32,
            seed,
        });
        lowered.states = vec!["square_avg"];
        if momentum > 0.0 {
            lowered.defines.push("MOMENTUM");
            lowered.states.push("momentum_buffer");
        }
        if centered {
            lowered.defines.push("CENTERED");
            lowered.states.push("grad_avg");
        }
        Ok(lowered)
    }
}
