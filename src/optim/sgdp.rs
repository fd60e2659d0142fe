use super::algorithm::{self, Algorithm, Decay, Projection, Update, fraction, json, not_negative};
use crate::{Result, shaders};

/// SGDP (Heo et al. 2021, arXiv:2006.08217), as the authors' code computes it; 32 bytes a parameter
/// of f32.
///
/// `b = momentum·b + (1-dampening)·g`, from zero; the direction, `b` or with Nesterov `g + momentum·b`,
/// is projected as in [`AdamP`](super::AdamP), without Nesterov in place. Weight decay is decoupled:
/// `p *= 1 - lr·weight_decay·ratio/(1-momentum)`. State: `momentum`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdP {
    /// Learning rate. Default: 1e-3.
    pub lr: f64,
    /// Default: 0.
    pub momentum: f64,
    /// Default: 0.
    pub dampening: f64,
    /// Default: 0.
    pub weight_decay: f64,
    /// Default: false.
    pub nesterov: bool,
    /// Default: 1e-8.
    pub eps: f64,
    /// The threshold of the cosine. Default: 0.1.
    pub delta: f64,
    /// The share of the decay that projected parameters take. Default: 0.1.
    pub wd_ratio: f64,
}

impl Default for SgdP {
    fn default() -> Self {
        Self { lr: 1e-3, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false, eps: 1e-8, delta: 0.1, wd_ratio: 0.1 }
    }
}

impl Algorithm for SgdP {
    fn update(&self) -> Result<Update> {
        let Self { lr, momentum, dampening, weight_decay, nesterov, eps, delta, wd_ratio } = *self;
        fraction("momentum", momentum)?;
        algorithm::check("dampening", dampening, (dampening as f32).is_finite(), "a finite number")?;
        not_negative("eps", eps)?;
        not_negative("delta", delta)?;
        not_negative("wd_ratio", wd_ratio)?;
        let config = json(&[
            ("momentum", &momentum),
            ("dampening", &dampening),
            ("nesterov", &nesterov),
            ("eps", &eps),
            ("delta", &delta),
            ("wd_ratio", &wd_ratio),
        ]);
        let defines: &[&str] = if nesterov { &["NESTEROV"] } else { &[] };
        let update = Update::built_in("sgdp", shaders::optim::SGDP, defines, lr, config)?
            .state("momentum")
            .constant("momentum", momentum)
            .constant("one_minus_dampening", 1.0 - dampening);
        Ok(Update {
            weight_decay,
            decay: Decay::Decoupled { scale: 1.0 / (1.0 - momentum), wd_ratio },
            projection: Some(Projection { delta, eps, nesterov, writes_states: !nesterov, ratio: false }),
            ..update
        })
    }
}
