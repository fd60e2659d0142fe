//! What a step can do besides the step itself.

use super::algorithm::{check, fraction, not_negative};
use crate::gpu::DType;
use crate::shaders::layout::GradientStatus;
use crate::{Error, Result};

/// Learning rate and weight decay of some parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Learning rate.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
}

/// How a step is rounded to parameters of 16 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// To nearest, ties to even.
    #[default]
    Nearest,
    /// Up or down with probabilities that make the mean exact. The random bits are Philox4x32-10 of
    /// the seed, the parameter's index, its step and the element: the same on every device.
    Stochastic {
        /// The generator's key.
        seed: u64,
    },
}

/// The factor by which the caller multiplies the loss, and the optimizer divides the gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LossScale {
    /// Always the same; 1 is none.
    Fixed(f64),
    /// Adapted on the device, with the rule and the defaults of `torch.amp.GradScaler`. The caller's
    /// shaders read it from [`Optimizer::loss_scale`](super::Optimizer::loss_scale).
    ///
    /// Unlike there, it has a floor: it is not backed off below 2^-14, or `initial` if that is less, however many
    /// gradients in a row are not finite. A growth that would make it infinite is left out.
    Dynamic {
        /// What it begins with. PyTorch: 65536.
        initial: f64,
        /// Its factor after `growth_interval` finite steps in a row. PyTorch: 2.
        growth_factor: f64,
        /// Its factor after a step that is not finite. PyTorch: 0.5.
        backoff_factor: f64,
        /// PyTorch: 2000.
        growth_interval: u32,
    },
}

impl LossScale {
    /// [`LossScale::Dynamic`] with PyTorch's defaults.
    #[must_use]
    pub fn dynamic() -> Self {
        Self::Dynamic { initial: 65536.0, growth_factor: 2.0, backoff_factor: 0.5, growth_interval: 2000 }
    }

    /// The scale that is not backed off further.
    pub(super) fn least(self) -> f64 {
        self.initial().min(2f64.powi(-14))
    }

    /// The scale of the first step.
    pub(super) fn initial(self) -> f64 {
        match self {
            Self::Fixed(scale) => scale,
            Self::Dynamic { initial, .. } => initial,
        }
    }
}

/// What [`Optimizer::with_options`](super::Optimizer::with_options) can do besides the step itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The parameter groups. Default: none, which is one with the algorithm's own learning rate and
    /// decay.
    pub groups: Vec<Group>,
    /// Keep an f32 copy of parameters of 16 bits, which the step reads and writes; the parameters are
    /// its rounded image. The copy is made when the optimizer is. Without it a change, decay included, of less than half a
    /// unit in the last place of a 16-bit parameter is lost, step after step, unless rounding is
    /// [stochastic](Rounding::Stochastic). Default: false.
    pub master_weights: bool,
    /// Default: to nearest.
    pub rounding: Rounding,
    /// The type in which states are kept: f32, or bf16, which are rounded stochastically, with the seed of `rounding`. bf16 have eight
    /// binary digits: the mean of what is added up is right, and its spread is that of the rounding. AdamP, SGDP and LAMB have states
    /// of f32 alone. Default: f32.
    pub state_dtype: DType,
    /// Scale the gradients so that the norm of all together is at most this, as
    /// `torch.nn.utils.clip_grad_norm_` does: 1.2e-38 or above, finite. The norm neither overflows nor underflows where its
    /// square would. Default: none.
    pub max_norm: Option<f64>,
    /// Bring each element of the gradient, unscaled and clipped by the norm, to at most this magnitude, as
    /// `torch.nn.utils.clip_grad_value_` does: above zero, finite. A NaN stays. Default: none.
    pub clip_value: Option<f64>,
    /// Keep an exponential moving average of each parameter, in f32: after every step, `ema += (1-ema_decay)(p-ema)`, from the parameter
    /// when the optimizer is made. At least 0 and below 1. It is the state `ema` of [`Optimizer::state`](super::Optimizer::state) and of
    /// state dictionaries; 8 more bytes a parameter. Default: none.
    pub ema_decay: Option<f64>,
    /// Default: 1, fixed.
    pub loss_scale: LossScale,
    /// Skip a step in which any gradient is NaN or infinite, or the norm of all is 1.7e38 (2^127) or above, or clipping
    /// would take a factor below 1.2e-38: nothing changes on the device, step counts included. Implied by `max_norm` and by a loss scale other
    /// than `Fixed(1.0)`. Default: false.
    pub skip_non_finite: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            master_weights: false,
            rounding: Rounding::Nearest,
            state_dtype: DType::F32,
            max_norm: None,
            clip_value: None,
            ema_decay: None,
            loss_scale: LossScale::Fixed(1.0),
            skip_non_finite: false,
        }
    }
}

impl Options {
    /// Whether the gradients are read once before the step.
    pub(super) fn reads_gradients_first(&self) -> bool {
        self.skip_non_finite || self.max_norm.is_some() || self.loss_scale != LossScale::Fixed(1.0)
    }

    /// What the device knows of the gradients before the first step.
    pub(super) fn status(&self) -> GradientStatus {
        let scale = self.loss_scale.initial();
        GradientStatus { factor: (1.0 / scale) as f32, loss_scale: scale as f32, ..Default::default() }
    }

    /// Whether every option is in its range.
    pub(super) fn check(&self) -> Result<()> {
        let positive =
            |option: &str, value: f64| check(option, value, (value as f32).is_finite() && value as f32 > 0.0, "a finite number above zero");
        // whose reciprocal is finite
        let normal = |option: &str, value: f64| check(option, value, value as f32 >= f32::MIN_POSITIVE, "1.2e-38 (2^-126) or above");
        for (i, group) in self.groups.iter().enumerate() {
            not_negative(&format!("groups[{i}].lr"), group.lr)?;
            not_negative(&format!("groups[{i}].weight_decay"), group.weight_decay)?;
        }
        if let Some(norm) = self.max_norm {
            positive("max_norm", norm)?;
            normal("max_norm", norm)?;
        }
        if let Some(value) = self.clip_value {
            positive("clip_value", value)?;
        }
        if let Some(decay) = self.ema_decay {
            fraction("ema_decay", decay)?;
        }
        if !matches!(self.state_dtype, DType::F32 | DType::Bf16) {
            let (option, found) = ("state_dtype".into(), self.state_dtype.to_string());
            return Err(Error::Option { option, found, expected: "f32 or bf16".into() });
        }
        positive("loss_scale", self.loss_scale.initial())?;
        normal("loss_scale", self.loss_scale.initial())?;
        if let LossScale::Dynamic { growth_factor, backoff_factor, growth_interval, .. } = self.loss_scale {
            check(
                "growth_factor",
                growth_factor,
                (growth_factor as f32).is_finite() && growth_factor >= 1.0,
                "a finite number, one or above",
            )?;
            check("growth_interval", growth_interval, growth_interval > 0, "one or above")?;
            positive("backoff_factor", backoff_factor)?;
            if backoff_factor != 1.0 {
                fraction("backoff_factor", backoff_factor)?;
            }
        }
        Ok(())
    }
}
