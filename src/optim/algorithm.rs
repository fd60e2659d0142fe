//! What an optimizer is: an update, the streams that it goes over, and its constants.

use super::options::{Group, Options};
use crate::gpu::{DType, conditionals};
use crate::{Error, Result};

/// The configuration of an optimizer: [`Sgd`](super::Sgd), [`Adam`](super::Adam) and the others of this module, or a program's
/// own.
///
/// Whatever implements this gets groups, clipping, loss scaling, master weights, 16-bit types, state dictionaries and replay: see
/// [`Update`].
pub trait Algorithm {
    /// The step of this configuration.
    ///
    /// # Errors
    /// [`Error::Option`] for an option out of its range.
    fn update(&self) -> Result<Update>;
}

/// A step: a WGSL function over four elements at a time, the streams that it goes over, and its constants.
///
/// The function is called `update`. Its parameters are a `Step` (what the tensor's elements need of this step), pointers to the
/// parameter, the gradient's value, and a pointer to each state in the order in which they were added (the value of an
/// [`input`](Update::input)):
///
/// ```wgsl
/// fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, exp_avg: ptr<function, vec4<f32>>) { .. }
/// ```
///
/// `Step` has the members `lr: f32`, `step: u32` (from 1), and an `f32` for each [`constant`](Update::constant),
/// [`prepared`](Update::prepared) value and [`kept`](Update::kept) value. The gradient comes unscaled, clipped, negated to maximize,
/// and with the coupled decay added; decoupled decay has been applied to the parameter.
///
/// ```
/// use gradus::optim::{Algorithm, Optimizer, Param, Update};
/// use gradus::{DType, Gpu, Result, Tensor};
///
/// /// The sign of a momentum.
/// struct Signum {
///     lr: f64,
///     momentum: f64,
/// }
///
/// impl Algorithm for Signum {
///     fn update(&self) -> Result<Update> {
///         const UPDATE: &str = "
///             fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, momentum_buffer: ptr<function, vec4<f32>>) {
///                 *momentum_buffer = k.momentum * *momentum_buffer + k.one_minus_momentum * g;
///                 *p -= k.lr * sign(*momentum_buffer);
///             }";
///         Ok(Update::new("signum", UPDATE, self.lr)
///             .state("momentum_buffer")
///             .constant("momentum", self.momentum)
///             .constant("one_minus_momentum", 1.0 - self.momentum))
///     }
/// }
///
/// # async fn train() -> Result<()> {
/// let gpu = Gpu::headless().await?;
/// let weight = Tensor::from_slice(&gpu, &[3], &[1.0f32, 2.0, 3.0])?;
/// let gradient = Tensor::from_slice(&gpu, &[3], &[0.5f32, -4.0, 0.0])?;
/// let signum = Signum { lr: 0.5, momentum: 0.9 };
/// let optimizer = Optimizer::new(&gpu, &signum, &[Param::new("weight", &weight, &gradient)])?;
/// let mut encoder = gpu.device().create_command_encoder(&Default::default());
/// optimizer.step(&mut encoder);
/// gpu.queue().submit([encoder.finish()]);
/// assert_eq!(weight.read::<f32>(&gpu).await?, [0.5, 2.5, 3.0]);
/// # Ok(())
/// # }
/// # if let Err(error) = pollster::block_on(train()) {
/// #     assert!(matches!(error, gradus::Error::NoAdapter { .. }), "{error}");
/// # }
/// ```
///
/// The text is compiled with bounds checks, whatever [`Checks`](crate::gpu::Checks) the device has for the crate's own kernels. Text
/// that is not WGSL is an [`Error::Pipeline`] of the constructor, with the compiler's message. A loop of more than 65,535 rounds
/// is cut short by some software drivers.
#[derive(Clone, Debug)]
pub struct Update {
    pub(super) name: String,
    pub(super) wgsl: String,
    pub(super) prepare: Option<String>,
    /// Whether the text is the crate's own.
    pub(super) own: bool,
    pub(super) states: Vec<State>,
    pub(super) constants: Vec<(String, f64)>,
    /// In units of 2^-64 on the device.
    pub(super) exact: Vec<(String, f64)>,
    pub(super) prepared: Vec<String>,
    pub(super) kept: Vec<(String, f64)>,
    pub(super) maximize: bool,
    pub(super) lr: f64,
    pub(super) weight_decay: f64,
    pub(super) decay: Decay,
    pub(super) projection: Option<Projection>,
    /// The configuration but for learning rate and decay, as JSON; `None` is the constants.
    pub(super) config: Option<String>,
    /// Elements of the gradient are clipped to the constant `clip_value`.
    pub(super) clips: bool,
    /// The last state is the average of the parameter, by the constant `one_minus_ema_decay`, and is not the algorithm's.
    pub(super) averages: bool,
}

/// A state of every element.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    pub name: String,
    pub initial: Initial,
    /// Whether the program fills it, and `update` is given its value.
    pub input: bool,
}

/// What a state begins with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// The same number for every element.
    Value(f64),
    /// The parameter as it is when the optimizer is made. Such a state is f32, whatever the others are.
    Parameter,
    /// The learning rate of the parameter's group.
    LearningRate,
}

/// How weight decay enters a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Decay {
    /// `g += weight_decay p`
    Coupled,
    /// `p *= 1 - scale lr weight_decay`, where a projected tensor's decay is `wd_ratio` times that.
    Decoupled { scale: f64, wd_ratio: f64 },
    /// As the update says, of `weight_decay` and of `decay`, which is lr times that.
    Own,
}

impl Decay {
    /// Whether the rates of a step, and of one that is projected, are finite in f32.
    pub fn check(self, group: &Group) -> Result<()> {
        let (scale, wd_ratio) = match self {
            Self::Coupled => return Ok(()),
            Self::Decoupled { scale, wd_ratio } => (scale, wd_ratio),
            Self::Own => (1.0, 1.0),
        };
        let rate = group.lr * group.weight_decay * scale;
        check("lr · weight_decay", rate, (rate as f32).is_finite() && ((rate * wd_ratio) as f32).is_finite(), "a finite number")
    }
}

/// The options of `optim/projection.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Projection {
    pub delta: f64,
    pub eps: f64,
    pub nesterov: bool,
    /// Whether the second pass writes the states.
    pub writes_states: bool,
    /// Coefficients are LAMB's ratio of norms.
    pub ratio: bool,
}

/// The members of a `Step` that every algorithm has, with their types, as in `shaders/shared/step.wgsl`.
pub(super) const STEP: [(&str, &str); 10] = [
    ("enabled", "u32"),
    ("step", "u32"),
    ("seed_low", "u32"),
    ("seed_high", "u32"),
    ("grad_scale", "f32"),
    ("lr", "f32"),
    ("weight_decay", "f32"),
    ("decay", "f32"),
    ("projected_decay", "f32"),
    ("dither", "f32"),
];

impl Update {
    /// A step by the WGSL function `update` in the text `wgsl`, which may have other functions and constants as well, with the
    /// learning rate `lr`, no states, no constants and no decay. `name` is what state dictionaries and traces call the algorithm.
    #[must_use]
    pub fn new(name: &str, wgsl: &str, lr: f64) -> Self {
        Self {
            name: name.to_owned(),
            wgsl: wgsl.to_owned(),
            prepare: None,
            own: false,
            states: Vec::new(),
            constants: Vec::new(),
            exact: Vec::new(),
            prepared: Vec::new(),
            kept: Vec::new(),
            maximize: false,
            lr,
            weight_decay: 0.0,
            decay: Decay::Coupled,
            projection: None,
            config: None,
            clips: false,
            averages: false,
        }
    }

    /// The step that a text of `shaders/optim/` has under `defines`.
    pub(super) fn built_in(name: &str, text: &str, defines: &[&str], lr: f64, config: String) -> Result<Self> {
        let under = |defines: &[&str]| {
            let lines = conditionals(text, defines).map_err(|reason| Error::Pipeline { kernel: format!("gradus.optim.{name}"), reason })?;
            Ok::<_, Error>(lines.join("\n") + "\n")
        };
        let prepare = under(&[defines, &["PREPARE"]].concat())?;
        let prepare = prepare.contains("fn prepare(").then_some(prepare);
        let update = Self { own: true, prepare, config: Some(config), ..Self::new(name, &under(defines)?, lr) };
        Ok(update)
    }

    /// A state of every element, which begins with 0.
    #[must_use]
    pub fn state(self, name: &str) -> Self {
        self.state_from(name, Initial::Value(0.0))
    }

    /// A state of every element.
    #[must_use]
    pub fn state_from(mut self, name: &str, initial: Initial) -> Self {
        self.states.push(State { name: name.to_owned(), initial, input: false });
        self
    }

    /// A tensor of each parameter's shape that the program fills, by [`Optimizer::blend`](super::Optimizer::blend) or through
    /// [`Optimizer::state`](super::Optimizer::state), and `update` only reads: it is given the value. f32, 0 at first, part of state
    /// dictionaries.
    #[must_use]
    pub fn input(mut self, name: &str) -> Self {
        self.states.push(State { name: name.to_owned(), initial: Initial::Value(0.0), input: true });
        self
    }

    /// A number that `update` finds in its `Step`, rounded to f32. It may change between steps, by group:
    /// [`Optimizer::set_hyperparameters`](super::Optimizer::set_hyperparameters).
    #[must_use]
    pub fn constant(mut self, name: &str, value: f64) -> Self {
        self.constants.push((name.to_owned(), value));
        self
    }

    /// A number of at least 0 and below 1 that [`prepare`](Update::prepare) finds in its `Group`, as the `vec2<u32>` of a fixed-point
    /// number of 64 bits. `correction(g.name, k.step)` is 1 - nameᵗ, exact to f32 for every t.
    #[must_use]
    pub fn exact(mut self, name: &str, value: f64) -> Self {
        self.exact.push((name.to_owned(), value));
        self
    }

    /// The WGSL function that works out, once a step and tensor, what the members `prepared` of its `Step` are:
    ///
    /// ```wgsl
    /// fn prepare(g: Group, k: ptr<function, Step>) { (*k).step_size = (*k).lr / correction(g.beta1, (*k).step); }
    /// ```
    #[must_use]
    pub fn prepare(mut self, wgsl: &str) -> Self {
        self.prepare = Some(wgsl.to_owned());
        self
    }

    /// A member of `Step` that [`prepare`](Update::prepare) assigns: 0 before.
    #[must_use]
    pub fn prepared(mut self, name: &str) -> Self {
        self.prepared.push(name.to_owned());
        self
    }

    /// A member of `Step` that stays from step to step, a number a tensor that [`prepare`](Update::prepare) reads and assigns. It is
    /// part of state dictionaries.
    #[must_use]
    pub fn kept(mut self, name: &str, initial: f64) -> Self {
        self.kept.push((name.to_owned(), initial));
        self
    }

    /// Climb instead of descend: the gradient's sign is changed.
    #[must_use]
    pub fn maximize(self, maximize: bool) -> Self {
        Self { maximize, ..self }
    }

    /// Weight decay that is added to the gradient, `g += weight_decay·p`.
    #[must_use]
    pub fn coupled_decay(self, weight_decay: f64) -> Self {
        Self { weight_decay, decay: Decay::Coupled, ..self }
    }

    /// Weight decay before the update, `p *= 1 - lr·weight_decay`, right however small the product is.
    #[must_use]
    pub fn decoupled_decay(self, weight_decay: f64) -> Self {
        Self { weight_decay, decay: Decay::Decoupled { scale: 1.0, wd_ratio: 1.0 }, ..self }
    }

    /// With what the options add to any algorithm.
    pub(super) fn with_options(mut self, options: &Options) -> Self {
        if self.config.is_none() {
            self.config = Some(self.config());
        }
        if let Some(value) = options.clip_value {
            self = Self { clips: true, ..self }.constant("clip_value", value);
        }
        if let Some(decay) = options.ema_decay {
            self = Self { averages: true, ..self }.constant("one_minus_ema_decay", 1.0 - decay).state_from("ema", Initial::Parameter);
        }
        self
    }

    /// How many states the algorithm has.
    pub(super) fn own_states(&self) -> usize {
        self.states.len() - usize::from(self.averages)
    }

    /// The constants of two moments, `beta1`, `one_minus_beta1`, `beta2`, `one_minus_beta2` and `eps`, and for bias corrections
    /// `exact_beta1` and `exact_beta2`.
    pub(super) fn moments(self, betas: [f64; 2], eps: f64) -> Result<Self> {
        let update = self.beta("beta1", "betas[0]", betas[0])?.beta("beta2", "betas[1]", betas[1])?;
        not_negative("eps", eps)?;
        Ok(update.constant("eps", eps))
    }

    /// The constants `name` and `one_minus_name`, and exactly `exact_name`, of a rate of decay.
    pub(super) fn beta(self, name: &str, option: &str, value: f64) -> Result<Self> {
        fraction(option, value)?;
        Ok(self.constant(name, value).constant(&format!("one_minus_{name}"), 1.0 - value).exact(&format!("exact_{name}"), value))
    }

    /// Adam's constants, states and bias corrections.
    pub(super) fn adam(self, betas: [f64; 2], eps: f64) -> Result<Self> {
        Ok(self.moments(betas, eps)?.state("exp_avg").state("exp_avg_sq").prepared("step_size").prepared("root_scale"))
    }

    /// The configuration as JSON, for state dictionaries.
    pub(super) fn config(&self) -> String {
        let constants = || {
            let maximize = ("maximize", &self.maximize as &dyn std::fmt::Debug);
            let all = self.constants.iter().chain(&self.exact).map(|(name, value)| (name.as_str(), value as &dyn std::fmt::Debug));
            json(&all.chain([maximize]).collect::<Vec<_>>())
        };
        self.config.clone().unwrap_or_else(constants)
    }

    /// Whether names are WGSL's and differ, and numbers are f32's.
    pub(super) fn validate(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        not_negative("weight_decay", self.weight_decay)?;
        let members = self.members();
        let of_group = GROUP.iter().map(|(name, _)| *name).chain(self.exact.iter().map(|(name, _)| name.as_str()));
        let states = self.states.iter().map(|state| state.name.as_str());
        for names in [members.iter().map(|(name, _)| *name).collect::<Vec<_>>(), of_group.collect(), states.collect()] {
            for (i, name) in names.iter().enumerate() {
                let first = |c: char| c.is_ascii_alphabetic();
                let valid = name.starts_with(first) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.contains("__");
                check("name", name, valid, "a letter, then letters, digits and underscores")?;
                if names[..i].contains(name) {
                    return Err(Error::DuplicateName { what: "member of an update", name: (*name).to_owned() });
                }
            }
        }
        for (name, value) in self.constants.iter().chain(&self.kept) {
            check(name, value, (*value as f32).is_finite(), "a finite number")?;
        }
        self.exact.iter().try_for_each(|(name, value)| fraction(name, *value))?;
        for state in &self.states {
            let Initial::Value(value) = state.initial else { continue };
            check(&state.name, value, (value as f32).is_finite(), "a finite number to begin with")?;
        }
        self.decay.check(&Group { lr: self.lr, weight_decay: self.weight_decay })
    }

    /// The members of `Step`, with their types.
    pub(super) fn members(&self) -> Vec<(&str, &str)> {
        let own = self.constants.iter().map(|(name, _)| name).chain(&self.prepared).chain(self.kept.iter().map(|(name, _)| name));
        STEP.into_iter().chain(own.map(|name| (name.as_str(), "f32"))).collect()
    }

    /// The type of a state, where states are kept in `dtype`.
    pub(super) fn state_dtype(&self, state: usize, dtype: DType) -> DType {
        let exact = self.states.get(state).is_some_and(|state| state.input || state.initial == Initial::Parameter);
        if exact { DType::F32 } else { dtype }
    }

    /// Where a number that is kept is in a `Step`, in words.
    pub(super) fn kept_at(&self, index: usize) -> usize {
        STEP.len() + self.constants.len() + self.prepared.len() + index
    }

    /// The hyperparameters of a group, as the device has them: `Group` in the text that the generator writes.
    pub(super) fn group(&self, group: &Group, seed: u64) -> Vec<u32> {
        let (coupled, decay, projected_decay) = match self.decay {
            Decay::Coupled => (group.weight_decay, 0.0, 0.0),
            Decay::Own => (group.weight_decay, group.lr * group.weight_decay, 0.0),
            Decay::Decoupled { scale, wd_ratio } => {
                let decay = group.lr * group.weight_decay * scale;
                (0.0, decay, decay * wd_ratio)
            }
        };
        let sign = if self.maximize { -1.0 } else { 1.0 };
        let mut words = vec![seed as u32, (seed >> 32) as u32];
        words.extend([group.lr, coupled, decay, projected_decay, sign, 0.0].map(|x| (x as f32).to_bits()));
        for (_, value) in &self.exact {
            let units = (value * 2f64.powi(64)) as u64;
            words.extend([units as u32, (units >> 32) as u32]);
        }
        words.extend(self.constants.iter().map(|(_, value)| (*value as f32).to_bits()));
        words.resize(words.len().next_multiple_of(2), 0);
        words
    }

    /// Whether another configuration may take the place of this one between steps: it differs in numbers alone.
    pub(super) fn same_kernels(&self, other: &Self) -> bool {
        let names = |list: &[(String, f64)]| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        self.name == other.name
            && self.wgsl == other.wgsl
            && self.prepare == other.prepare
            && self.states.len() == other.states.len()
            && self.states.iter().zip(&other.states).all(|(a, b)| a.name == b.name)
            && names(&self.constants) == names(&other.constants)
            && names(&self.exact) == names(&other.exact)
            && self.prepared == other.prepared
            && names(&self.kept) == names(&other.kept)
            && std::mem::discriminant(&self.decay) == std::mem::discriminant(&other.decay)
            && self.projection == other.projection
    }
}

/// The members of `Group` that every algorithm has, with their types, an even number of words.
pub(super) const GROUP: [(&str, &str); 8] = [
    ("seed_low", "u32"),
    ("seed_high", "u32"),
    ("lr", "f32"),
    ("weight_decay", "f32"),
    ("decay", "f32"),
    ("projected_decay", "f32"),
    ("sign", "f32"),
    ("unused", "f32"),
];

/// An object of JSON, keys in order, whose values are numbers, lists of numbers and flags: they are written there as here.
pub(super) fn json(fields: &[(&str, &dyn std::fmt::Debug)]) -> String {
    let mut fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value:?}").replace(' ', "")).collect();
    fields.sort_unstable();
    format!("{{{}}}", fields.join(","))
}

pub(super) fn not_negative(option: &str, value: f64) -> Result<()> {
    check(option, value, (value as f32).is_finite() && value >= 0.0, "a finite number, zero or above")
}

pub(super) fn fraction(option: &str, value: f64) -> Result<()> {
    check(option, value, (0.0..1.0).contains(&value), "at least 0 and below 1")
}

pub(super) fn check(option: &str, value: impl ToString, valid: bool, expected: &str) -> Result<()> {
    match valid {
        true => Ok(()),
        false => Err(Error::Option { option: option.to_owned(), found: value.to_string(), expected: expected.to_owned() }),
    }
}

/// `nesterov` needs momentum without dampening, as in PyTorch.
pub(super) fn nesterov(nesterov: bool, momentum: f64, dampening: f64) -> Result<()> {
    check("nesterov", nesterov, !nesterov || (momentum > 0.0 && dampening == 0.0), "nesterov needs momentum and zero dampening")
}
