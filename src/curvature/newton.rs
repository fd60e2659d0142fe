//! Newton's method with a regularisation by the norm of the gradient.

use super::descent::{Descent, Progress, expect_positive, expect_within};
use super::hessian_free::whole;
use super::{Curvature, Matrix, StepReport, StepStatus};
use crate::gpu::{DType, Gpu, Recording, Tensor};
use crate::graph::{Graph, Parameters, Var};
use crate::krylov::{Cg, CgOptions, LinearOperator, Shifted, Status};
use crate::{Result, vector};

/// Where γ stays.
const GAMMA: [f64; 2] = [1e-12, 1e12];

/// Options of [`GradientNormalizedNewton`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NewtonOptions {
    /// The γ of the first step, an upper bound of its length where the matrix is positive semidefinite. Default: 1.
    pub gamma: f64,
    /// The most iterations of conjugate gradients a step. Default: 250.
    pub cg_iterations: u32,
    /// The norm of the residual at which they stop, as a multiple of the gradient's: below 1. Default: 0.01.
    pub tolerance: f64,
}

impl Default for NewtonOptions {
    fn default() -> Self {
        Self { gamma: 1.0, cg_iterations: 250, tolerance: 0.01 }
    }
}

/// Newton's method with gradient regularisation (after Mishchenko, "Regularized Newton method with global O(1/k²)
/// convergence", 2023, and Doikov, Mishchenko and Nesterov, "Super-universal regularized Newton method", 2024, with the
/// exponent 1).
///
/// A step solves `(H + λI) d = -g` with `λ = ‖g‖/γ` and the Hessian H by conjugate gradients. It is accepted if the loss
/// falls by `‖g'‖²/(8λ)` at least, g' being the gradient after it: then γ doubles. Otherwise the parameters stay as
/// they were, bit for bit, and γ becomes half. Where the two losses differ by less than 1e-5 of themselves, which rounding
/// may hide, the reduction is `½⟨g + g', x - x'⟩` instead; of a step that descends it is as much as demanded whenever
/// the condition of the latter paper holds, `⟨g', x - x'⟩ ≥ ‖g'‖²/(4λ)`. Where conjugate gradients meet negative
/// curvature they stop, and the step uses what they have; if that is nothing, `d = -g/λ`, of length γ.
///
/// The data may change between steps: each begins with an evaluation. Parameters or data with NaN or infinity end a step
/// with [`StepStatus::NonFinite`], a gradient of zeros with [`StepStatus::Stationary`]; where f32 allow nothing better a
/// step ends with [`StepStatus::NoProgress`].
///
/// ```
/// # use gradus::curvature::{GradientNormalizedNewton, NewtonOptions, StepStatus};
/// # use gradus::graph::{Graph, Init, Parameters};
/// # async fn example(gpu: &gradus::Gpu) -> gradus::Result<()> {
/// let mut graph = Graph::new();
/// let p = graph.parameter("p", &[2], Init::Ones)?;
/// let cosine = graph.cos(p)?;
/// let loss = graph.sum(cosine, &[0])?;
/// let parameters = Parameters::new(gpu, &graph, 0)?;
/// let options = NewtonOptions::default();
/// let mut optimizer = GradientNormalizedNewton::new(gpu, &graph, loss, &parameters, &[], &options)?;
/// loop {
///     let report = optimizer.step().await?;
///     if report.gradient_norm <= 1e-3 || report.status == StepStatus::NoProgress {
///         break;
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct GradientNormalizedNewton {
    curvature: Curvature,
    descent: Descent,
    cg: Cg,
    gamma: f64,
    damping: Tensor,
    progress: Progress,
}

impl GradientNormalizedNewton {
    /// For the `parameters` of `graph`, with the exact Hessian. `bindings` are the tensors of the other leaves.
    ///
    /// # Errors
    /// Those of [`Curvature::new`]; [`Error::StateMismatch`](crate::Error::StateMismatch) if the parameters are not those
    /// of the graph; [`Error::Option`](crate::Error::Option).
    pub fn new(
        gpu: &Gpu,
        graph: &Graph,
        loss: Var,
        parameters: &Parameters,
        bindings: &[(Var, &Tensor)],
        options: &NewtonOptions,
    ) -> Result<Self> {
        Self::over(whole(gpu, graph, loss, Matrix::Hessian, parameters, bindings)?, parameters.flat(), options)
    }

    /// With any curvature, over batches for instance, over `parameters`, its vector of f32: [`Parameters::flat`] if
    /// it is over all of them in their order.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length) or [`Error::DType`](crate::Error::DType) if `parameters` is not as long as
    /// the matrix; [`Error::Option`](crate::Error::Option); [`Error::OutOfMemory`](crate::Error::OutOfMemory),
    /// [`Error::LimitTooSmall`](crate::Error::LimitTooSmall).
    pub fn over(curvature: Curvature, parameters: &Tensor, options: &NewtonOptions) -> Result<Self> {
        expect_positive("gamma", options.gamma)?;
        expect_within("tolerance", options.tolerance, "above 0 and below 1", options.tolerance > 0.0 && options.tolerance < 1.0)?;
        let descent = Descent::new(&curvature, parameters)?;
        let damping = Tensor::zeros(curvature.gpu(), &[1], DType::F32)?;
        let cg_options = CgOptions { relative_tolerance: options.tolerance, max_iterations: options.cg_iterations, ..CgOptions::default() };
        let cg = Cg::new(&Shifted::new(&curvature, &damping), None, &descent.descent, &descent.solution, &cg_options)?;
        Ok(Self { curvature, descent, cg, gamma: options.gamma, damping, progress: Progress::new() })
    }

    /// The γ of the next step.
    #[must_use]
    pub fn gamma(&self) -> f64 {
        self.gamma
    }

    /// Takes a step, or finds that none is good: submits and waits some times. If the future is dropped half-way,
    /// the parameters may be left at a trial point.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) or [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub async fn step(&mut self) -> Result<StepReport> {
        let gpu = self.curvature.gpu();
        let before = self.descent.begin().await?;
        let lambda = before.gradient_norm / self.gamma;
        let mut report = StepReport::of(&before, lambda);
        if before.gradient_norm == 0.0 {
            return Ok(StepReport { status: StepStatus::Stationary, ..report });
        }
        if !before.is_finite() {
            return self.reject(report, StepStatus::NonFinite);
        }
        self.damping.write(gpu, &[lambda as f32])?;
        let mut zero = Recording::new();
        vector::fill(gpu, &mut zero, 0.0, &self.descent.solution)?;
        gpu.execute([&zero])?;
        let solution = self.cg.solve().await?;
        report.cg_iterations = solution.iterations;
        if solution.status == Status::NonFinite {
            return self.reject(report, StepStatus::NonFinite);
        }
        let mut objective = solution.objectives.last().copied().unwrap_or(f64::NAN);
        if solution.iterations == 0 {
            let mut along = Recording::new();
            vector::copy(gpu, &mut along, &self.descent.descent, &self.descent.solution)?;
            vector::scale(gpu, &mut along, 1.0 / lambda, &self.descent.solution)?;
            gpu.execute([&along])?;
            // of the slope and the damping alone
            objective = -0.5 * before.gradient_norm * self.gamma;
        }
        let [_, length] = self.descent.choose(&self.descent.solution).await?;
        let trial = self.descent.evaluate(1.0).await?;
        let after = trial.value;
        let reduction = trial.reduction(&before);
        report.reduction_ratio = -reduction / (objective - 0.5 * lambda * length * length);
        if self.progress.ended(&before, &trial) {
            return self.reject(report, StepStatus::NoProgress);
        }
        if !after.is_finite() {
            return self.reject(report, StepStatus::NonFinite);
        }
        let sufficient = after.gradient_norm * after.gradient_norm / (8.0 * lambda);
        if !(reduction > 0.0 && reduction >= sufficient) {
            return self.reject(report, StepStatus::Rejected);
        }
        self.gamma = (2.0 * self.gamma).min(GAMMA[1]);
        Ok(StepReport { loss: after.loss, step_size: 1.0, status: StepStatus::Accepted, ..report })
    }

    /// Goes back to where the step began.
    fn reject(&mut self, report: StepReport, status: StepStatus) -> Result<StepReport> {
        self.descent.restore()?;
        self.gamma = (0.5 * self.gamma).max(GAMMA[0]);
        Ok(StepReport { status, ..report })
    }
}
