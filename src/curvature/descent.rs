//! What the second-order optimizers share: the loss at trial points, and the way back.

use super::Curvature;
use crate::gpu::{DType, Gpu, Recording, Tensor, read_all};
use crate::krylov::LinearOperator;
use crate::krylov::scaling::Scaling;
use crate::vector::{self, Scalar};
use crate::{Error, Result};

/// Losses that differ by less, relative to the larger, are taken to differ by rounding.
const ROUNDING: f64 = 1e-5;
/// After so many steps without a lower loss or a smaller gradient there is no progress.
const PATIENCE: u32 = 20;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepStatus {
    /// The loss fell, and the parameters changed.
    Accepted,
    /// The loss did not fall enough. The next step is more damped.
    Rejected,
    /// The gradient is zero.
    Stationary,
    /// The loss, the gradient or a product is infinite or NaN. The next step is more damped.
    NonFinite,
    /// f32 allow no further progress: the trial point is where the step began, or for 20 steps the loss did not change
    /// beyond rounding and the norm of the gradient found no new minimum. More steps are of use only with other data.
    NoProgress,
}

/// What became of a step of [`HessianFree`](super::HessianFree) or
/// [`GradientNormalizedNewton`](super::GradientNormalizedNewton).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The loss before the step.
    pub loss_before: f64,
    /// The loss after it: `loss_before` if the step was not accepted.
    pub loss: f64,
    /// The Euclidean norm of the gradient before the step.
    pub gradient_norm: f64,
    /// How much the loss fell by the direction found, over how much the quadratic model, without damping, says. NaN
    /// if there was no such direction. Where the two losses are the same but for rounding, the reduction is that by
    /// the slopes at both ends.
    pub reduction_ratio: f64,
    /// The damping with which the direction was found.
    pub lambda: f64,
    /// The number of iterations of conjugate gradients.
    pub cg_iterations: u32,
    /// By what the direction was multiplied; 0 if the step was not accepted.
    pub step_size: f64,
    /// How the step ended. The parameters changed if it is [`StepStatus::Accepted`]; else they are what they were, bit for bit.
    pub status: StepStatus,
}

impl StepReport {
    pub(super) fn of(before: &Value, lambda: f64) -> Self {
        Self {
            loss_before: before.loss,
            loss: before.loss,
            gradient_norm: before.gradient_norm,
            reduction_ratio: f64::NAN,
            lambda,
            cg_iterations: 0,
            step_size: 0.0,
            status: StepStatus::Rejected,
        }
    }
}

/// The loss and its gradient at a point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub loss: f64,
    pub gradient_norm: f64,
}

impl Value {
    pub fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.gradient_norm.is_finite()
    }
}

/// A trial point, δ away from the beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    pub value: Value,
    /// `⟨g, δ⟩` with the gradient at the beginning, and with that at the trial point.
    pub slopes: [f64; 2],
    /// The largest magnitude of an element of δ.
    pub moved: f64,
}

impl Trial {
    /// Whether the losses differ by no more than rounding.
    fn unresolved(&self, before: &Value) -> bool {
        let scale = before.loss.abs().max(self.value.loss.abs());
        (before.loss - self.value.loss).abs() <= ROUNDING * scale
    }

    /// How much the loss fell. Where rounding hides it, by the slopes at both ends, `-½⟨g + g', δ⟩`, which is exact for a
    /// quadratic function (Hager and Zhang, "A new conjugate gradient method with guaranteed descent and an efficient line
    /// search", 2005, replace losses likewise). Minus infinity if the point is not finite.
    pub fn reduction(&self, before: &Value) -> f64 {
        match self {
            _ if !self.value.is_finite() => f64::NEG_INFINITY,
            _ if self.moved == 0.0 => 0.0,
            _ if self.unresolved(before) => -0.5 * (self.slopes[0] + self.slopes[1]),
            _ => before.loss - self.value.loss,
        }
    }
}

/// Whether steps still get on.
#[derive(Debug)]
pub(super) struct Progress {
    least_gradient: f64,
    idle: u32,
}

impl Progress {
    pub fn new() -> Self {
        Self { least_gradient: f64::INFINITY, idle: 0 }
    }

    /// Whether there is none, by the last trial point of a step.
    pub fn ended(&mut self, before: &Value, trial: &Trial) -> bool {
        if before.gradient_norm < self.least_gradient || !trial.unresolved(before) {
            self.least_gradient = self.least_gradient.min(before.gradient_norm);
            self.idle = 0;
        } else {
            self.idle += 1;
        }
        let ended = trial.moved == 0.0 || self.idle >= PATIENCE;
        if ended {
            *self = Self::new();
        }
        ended
    }
}

/// A loss to be reduced from point to point.
pub(super) struct Descent {
    gpu: Gpu,
    loss: Tensor,
    /// Of the gradient, and the unit in which it is.
    norm: [Tensor; 2],
    /// By how much of the direction a trial point is away.
    step_size: Tensor,
    /// From where trial points are.
    direction: Tensor,
    products: [Tensor; 2],
    moved: Tensor,
    /// The gradient, negated.
    pub descent: Tensor,
    /// What is solved for.
    pub solution: Tensor,
    evaluate: Recording,
    save: Recording,
    restore: Recording,
    advance: Recording,
    measure: Recording,
    compare: Recording,
}

impl Descent {
    /// # Errors
    /// [`Error::Length`] or [`Error::DType`] if `flat` is not what the curvature is over.
    pub fn new(curvature: &Curvature, flat: &Tensor) -> Result<Self> {
        let gpu = curvature.gpu();
        let dim = curvature.dim();
        super::operator::expect_elements("parameters", flat, dim)?;
        let flat = flat.reshape(&[dim])?;
        let vector = || Tensor::zeros(gpu, &[dim], DType::F32);
        let scalar = || Tensor::zeros(gpu, &[1], DType::F32);
        let (saved, gradient, descent, solution, direction) = (vector()?, vector()?, vector()?, vector()?, vector()?);
        let aside = vector()?;
        let (loss, norm, step_size, products, moved) = (scalar()?, scalar()?, scalar()?, [scalar()?, scalar()?], scalar()?);

        let mut evaluate = Recording::new();
        curvature.record_gradient(&mut evaluate, &loss, &gradient)?;
        vector::copy(gpu, &mut evaluate, &gradient, &aside)?;
        let scaling = Scaling::new(gpu)?;
        scaling.record_norm(gpu, &mut evaluate, &aside, &norm)?;
        let mut save = Recording::new();
        vector::copy(gpu, &mut save, &flat, &saved)?;
        vector::copy(gpu, &mut save, &gradient, &descent)?;
        vector::scale(gpu, &mut save, -1.0, &descent)?;
        let mut restore = Recording::new();
        vector::copy(gpu, &mut restore, &saved, &flat)?;
        let mut advance = restore.clone();
        vector::axpy(gpu, &mut advance, Scalar::Device(&step_size), &direction, &flat)?;
        let mut measure = Recording::new();
        vector::dot(gpu, &mut measure, &descent, &direction, &products[0])?;
        vector::norm(gpu, &mut measure, &direction, &products[1])?;
        // the difference of what is stored: rounding has its part in it
        let mut compare = Recording::new();
        vector::copy(gpu, &mut compare, &flat, &aside)?;
        vector::axpy(gpu, &mut compare, -1.0, &saved, &aside)?;
        vector::dot(gpu, &mut compare, &descent, &aside, &products[0])?;
        vector::dot(gpu, &mut compare, &gradient, &aside, &products[1])?;
        vector::max_magnitude(gpu, &mut compare, &aside, &moved)?;
        Ok(Self {
            gpu: gpu.clone(),
            loss,
            norm: [norm, scaling.unit],
            step_size,
            direction,
            products,
            moved,
            descent,
            solution,
            evaluate,
            save,
            restore,
            advance,
            measure,
            compare,
        })
    }

    /// Evaluates where the parameters are, which is where trial points begin from now on.
    pub async fn begin(&self) -> Result<Value> {
        self.gpu.execute([&self.evaluate, &self.save])?;
        let [loss, norm, unit] = self.read([&self.loss, &self.norm[0], &self.norm[1]]).await?;
        Ok(Value { loss, gradient_norm: norm * unit })
    }

    /// Chooses the direction of trial points, a vector as long as the parameters, and returns the slope of the loss
    /// along it and its norm.
    pub async fn choose(&self, direction: &Tensor) -> Result<[f64; 2]> {
        let mut copy = Recording::new();
        vector::copy(&self.gpu, &mut copy, direction, &self.direction)?;
        self.gpu.execute([&copy, &self.measure])?;
        let [product, norm] = self.read([&self.products[0], &self.products[1]]).await?;
        Ok([-product, norm])
    }

    /// Goes to the trial point `step_size` times the direction away from the beginning, and evaluates there.
    pub async fn evaluate(&self, step_size: f64) -> Result<Trial> {
        self.go(step_size)?;
        self.gpu.execute([&self.evaluate, &self.compare])?;
        let tensors = [&self.loss, &self.norm[0], &self.norm[1], &self.products[0], &self.products[1], &self.moved];
        let [loss, norm, unit, along, slope, moved] = self.read(tensors).await?;
        Ok(Trial { value: Value { loss, gradient_norm: norm * unit }, slopes: [-along, slope], moved })
    }

    /// Goes to a trial point.
    pub fn go(&self, step_size: f64) -> Result<()> {
        self.step_size.write(&self.gpu, &[step_size as f32])?;
        self.gpu.execute([&self.advance])
    }

    /// Goes back to the beginning.
    pub fn restore(&self) -> Result<()> {
        self.gpu.execute([&self.restore])
    }

    async fn read<const N: usize>(&self, scalars: [&Tensor; N]) -> Result<[f64; N]> {
        let bytes = read_all(&self.gpu, &scalars.map(Clone::clone)).await?.concat();
        let values: Vec<f64> = bytemuck::pod_collect_to_vec::<u8, f32>(&bytes).into_iter().map(f64::from).collect();
        values.try_into().map_err(|_| Error::DeviceLost { reason: "nothing was read".into() })
    }
}

/// Checks that an option is a number above zero.
pub(super) fn expect_positive(option: &str, found: f64) -> Result<()> {
    expect_within(option, found, "a positive number", found > 0.0 && found.is_finite())
}

/// Checks an option against what is expected.
pub(super) fn expect_within(option: &str, found: f64, expected: &str, valid: bool) -> Result<()> {
    match valid {
        true => Ok(()),
        false => Err(Error::Option { option: option.into(), found: found.to_string(), expected: expected.into() }),
    }
}
