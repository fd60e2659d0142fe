//! What the second-order optimizers share: the loss at trial points, and the way back.

use super::Curvature;
use crate::gpu::{DType, Gpu, Recording, Tensor, read_all};
use crate::krylov::LinearOperator;
use crate::vector::{self, Scalar};
use crate::{Error, Result};

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
    /// if there was no such direction.
    pub reduction_ratio: f64,
    /// The damping with which the direction was found.
    pub lambda: f64,
    /// The number of iterations of conjugate gradients.
    pub cg_iterations: u32,
    /// By what the direction was multiplied; 0 if the step was not accepted.
    pub step_size: f64,
    /// Whether the parameters changed. If not they are what they were, bit for bit.
    pub accepted: bool,
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

/// A loss to be reduced from point to point.
pub(super) struct Descent {
    gpu: Gpu,
    loss: Tensor,
    norm: Tensor,
    /// By how much of the direction a trial point is away.
    step_size: Tensor,
    /// From where trial points are.
    direction: Tensor,
    products: [Tensor; 2],
    /// The gradient, negated.
    pub descent: Tensor,
    /// What is solved for.
    pub solution: Tensor,
    evaluate: Recording,
    save: Recording,
    restore: Recording,
    advance: Recording,
    measure: Recording,
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
        let (loss, norm, step_size, products) = (scalar()?, scalar()?, scalar()?, [scalar()?, scalar()?]);

        let mut evaluate = Recording::new();
        curvature.record_gradient(&mut evaluate, &loss, &gradient)?;
        vector::norm(gpu, &mut evaluate, &gradient, &norm)?;
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
        Ok(Self {
            gpu: gpu.clone(),
            loss,
            norm,
            step_size,
            direction,
            products,
            descent,
            solution,
            evaluate,
            save,
            restore,
            advance,
            measure,
        })
    }

    /// Evaluates where the parameters are, which is where trial points begin from now on.
    pub async fn begin(&self) -> Result<Value> {
        self.gpu.submit([&self.evaluate, &self.save]);
        self.value().await
    }

    /// Chooses the direction of trial points, a vector as long as the parameters, and returns the slope of the loss
    /// along it and its norm.
    pub async fn choose(&self, direction: &Tensor) -> Result<[f64; 2]> {
        let mut copy = Recording::new();
        vector::copy(&self.gpu, &mut copy, direction, &self.direction)?;
        self.gpu.submit([&copy, &self.measure]);
        let [product, norm] = self.read(&self.products).await?;
        Ok([-product, norm])
    }

    /// Goes to the trial point `step_size` times the direction away from the beginning, and evaluates there.
    pub async fn evaluate(&self, step_size: f64) -> Result<Value> {
        self.go(step_size)?;
        self.gpu.submit([&self.evaluate]);
        self.value().await
    }

    /// Goes to a trial point.
    pub fn go(&self, step_size: f64) -> Result<()> {
        self.step_size.write(&self.gpu, &[step_size as f32])?;
        self.gpu.submit([&self.advance]);
        Ok(())
    }

    /// Goes back to the beginning.
    pub fn restore(&self) {
        self.gpu.submit([&self.restore]);
    }

    async fn value(&self) -> Result<Value> {
        let [loss, gradient_norm] = self.read(&[self.loss.clone(), self.norm.clone()]).await?;
        Ok(Value { loss, gradient_norm })
    }

    async fn read(&self, pair: &[Tensor; 2]) -> Result<[f64; 2]> {
        let bytes = read_all(&self.gpu, pair).await?.concat();
        match bytemuck::pod_collect_to_vec::<u8, f32>(&bytes)[..] {
            [a, b] => Ok([f64::from(a), f64::from(b)]),
            _ => Err(Error::DeviceLost { reason: "nothing was read".into() }),
        }
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
