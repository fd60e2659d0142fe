//! What an optimizer's configuration says to the machinery that all of them share.

use super::options::Group;
use crate::gpu::KernelSource;
use crate::shaders::layout::MomentsConstants;
use crate::{Error, Result};

/// The configuration of an optimizer: [`Sgd`](super::Sgd), [`Adam`](super::Adam) and the others of
/// this module.
pub trait Algorithm: Lower {}

impl<T: Lower> Algorithm for T {}

/// Kept private: the set of algorithms is the crate's.
pub trait Lower {
    #[doc(hidden)]
    fn lower(&self, seed: [u32; 2]) -> Result<Lowered>;
}

/// An algorithm in the terms of the kernels.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// As in state dictionaries.
    pub(crate) name: &'static str,
    pub(crate) kernel: Source,
    pub(crate) defines: Vec<&'static str>,
    /// The states' names in PyTorch, in the order of the kernel's bindings.
    pub(crate) states: Vec<&'static str>,
    /// What state 0 begins with.
    pub(crate) initial: f64,
    /// The kernel's uniform block, the seed of stochastic rounding included.
    pub(crate) constants: Vec<u8>,
    pub(crate) rule: Rule,
    pub(crate) betas: [f64; 2],
    pub(crate) lr_decay: f64,
    /// The gradient's share in SGD's momentum buffer: on the first step, and later.
    pub(crate) blend: [f64; 2],
    pub(crate) maximize: bool,
    pub(crate) lr: f64,
    pub(crate) weight_decay: f64,
    pub(crate) decay: Decay,
    pub(crate) projection: Option<Projection>,
    /// The configuration but for learning rate and decay, as JSON.
    pub(crate) config: String,
}

/// A kernel, shown by its name.
#[derive(Clone, Copy)]
pub(crate) struct Source(pub(crate) &'static KernelSource);

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
    }
}

/// How `step_size` follows from the learning rate: the constants of `optim/bias_correction.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    Constant = 0,
    Adagrad = 1,
    Adam = 2,
    DiffGrad = 3,
}

/// How weight decay enters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Decay {
    /// `g += weight_decay p`
    Coupled,
    /// `p *= 1 - scale lr weight_decay`, where a projected tensor's decay is `wd_ratio` times that.
    Decoupled { scale: f64, wd_ratio: f64 },
}

impl Decay {
    /// Whether the rates of a step, and of one that is projected, are finite in f32.
    pub fn check(self, group: &Group) -> Result<()> {
        let Self::Decoupled { scale, wd_ratio } = self else { return Ok(()) };
        let rate = group.lr * group.weight_decay * scale;
        check("lr · weight_decay", rate, (rate as f32).is_finite() && ((rate * wd_ratio) as f32).is_finite(), "a finite number")
    }
}

/// The options of `optim/projection.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Projection {
    pub delta: f64,
    pub eps: f64,
    pub nesterov: bool,
    /// Whether the second pass writes the states.
    pub writes_states: bool,
}

impl Lowered {
    /// A plain step with constant learning rate and coupled decay, no state and no constants.
    pub(crate) fn new(name: &'static str, kernel: &'static KernelSource, lr: f64, weight_decay: f64, config: String) -> Result<Self> {
        not_negative("lr", lr)?;
        not_negative("weight_decay", weight_decay)?;
        Ok(Self {
            name,
            kernel: Source(kernel),
            defines: Vec::new(),
            states: Vec::new(),
            initial: 0.0,
            constants: Vec::new(),
            rule: Rule::Constant,
            betas: [0.0; 2],
            lr_decay: 0.0,
            blend: [1.0; 2],
            maximize: false,
            lr,
            weight_decay,
            decay: Decay::Coupled,
            projection: None,
            config,
        })
    }

    /// The decay rates of two moments, bias-corrected by powers of the same.
    pub(crate) fn moments(&mut self, betas: [f64; 2], eps: f64, seed: [u32; 2]) -> Result<()> {
        fraction("betas[0]", betas[0])?;
        fraction("betas[1]", betas[1])?;
        not_negative("eps", eps)?;
        self.betas = betas;
        self.constants = constants(&MomentsConstants {
            beta1: betas[0] as f32,
            one_minus_beta1: (1.0 - betas[0]) as f32,
            beta2: betas[1] as f32,
            one_minus_beta2: (1.0 - betas[1]) as f32,
            eps: eps as f32,
            seed,
            ..Default::default()
        });
        Ok(())
    }
}

/// An object of JSON, keys in order, whose values are numbers, lists of numbers and flags: they are written there as here.
pub(crate) fn json(fields: &[(&str, &dyn std::fmt::Debug)]) -> String {
    let mut fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value:?}").replace(' ', "")).collect();
    fields.sort_unstable();
    format!("{{{}}}", fields.join(","))
}

/// The bytes of a uniform block.
pub(crate) fn constants<T: bytemuck::Pod>(block: &T) -> Vec<u8> {
    bytemuck::bytes_of(block).to_vec()
}

pub(crate) fn not_negative(option: &str, value: f64) -> Result<()> {
    check(option, value, (value as f32).is_finite() && value >= 0.0, "a finite number, zero or above")
}

pub(crate) fn fraction(option: &str, value: f64) -> Result<()> {
    check(option, value, (0.0..1.0).contains(&value), "at least 0 and below 1")
}

pub(crate) fn check(option: &str, value: impl ToString, valid: bool, expected: &str) -> Result<()> {
    match valid {
        true => Ok(()),
        false => Err(Error::Option { option: option.to_owned(), found: value.to_string(), expected: expected.to_owned() }),
    }
}

/// `nesterov` needs momentum without dampening, as in PyTorch.
pub(crate) fn nesterov(nesterov: bool, momentum: f64, dampening: f64) -> Result<()> {
    check("nesterov", nesterov, !nesterov || (momentum > 0.0 && dampening == 0.0), "nesterov needs momentum and zero dampening")
}
