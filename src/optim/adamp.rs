use super::algorithm::{Algorithm, Decay, Projection, Update, json, not_negative};
use crate::{Result, shaders};

/// AdamP (Heo et al. 2021, arXiv:2006.08217), as the authors' code computes it; 40 bytes a parameter
/// of f32, with Nesterov 44.
///
/// `u` is [`Adam`](super::Adam)'s direction. A parameter of two or more dimensions whose gradient is
/// almost orthogonal to it (`cos < delta/√n`), row by row (the first axis) or else as a whole, loses
/// the radial part of `u` and takes `wd_ratio` of the decay. Weight decay is decoupled. States:
/// `exp_avg`, `exp_avg_sq`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamP {
    /// Learning rate. Default: 1e-3.
    pub lr: f64,
    /// Default: 0.9, 0.999.
    pub betas: [f64; 2],
    /// Default: 1e-8.
    pub eps: f64,
    /// Default: 0.
    pub weight_decay: f64,
    /// The threshold of the cosine. Default: 0.1.
    pub delta: f64,
    /// The share of the decay that projected parameters take. Default: 0.1.
    pub wd_ratio: f64,
    /// Default: false.
    pub nesterov: bool,
}

impl Default for AdamP {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0, delta: 0.1, wd_ratio: 0.1, nesterov: false }
    }
}

impl Algorithm for AdamP {
    fn update(&self) -> Result<Update> {
        let Self { lr, betas, eps, weight_decay, delta, wd_ratio, nesterov } = *self;
        not_negative("delta", delta)?;
        not_negative("wd_ratio", wd_ratio)?;
        let config = json(&[("betas", &betas), ("eps", &eps), ("delta", &delta), ("wd_ratio", &wd_ratio), ("nesterov", &nesterov)]);
        let defines: &[&str] = if nesterov { &["NESTEROV"] } else { &[] };
        let update = Update::built_in("adamp", shaders::optim::ADAMP, defines, lr, config)?.adam(betas, eps)?;
        Ok(Update {
            weight_decay,
            decay: Decay::Decoupled { scale: 1.0, wd_ratio },
            projection: Some(Projection { delta, eps, nesterov, writes_states: false, ratio: false }),
            ..update
        })
    }
}
