//! Hessian-free optimization.

use super::descent::{Descent, Progress, Trial, expect_positive, expect_within};
use super::{Curvature, DiagonalOptions, Matrix, StepReport, StepStatus, diagonal};
use crate::gpu::{DType, Gpu, Recording, Tensor};
use crate::graph::{Graph, Parameters, Plan, Stage, Var};
use crate::krylov::{self, Cg, CgOptions, LinearOperator, Preconditioner, Shifted, Status};
use crate::{Error, Result, vector};

/// The reduction of the loss that a step must bring, as a part of what the slope promises.
const SUFFICIENT: f64 = 1e-2;
/// What a step that brings less is multiplied by, and how often: down to 1.5e-6.
const BACKTRACK: f64 = 0.8;
const BACKTRACKS: u32 = 60;
/// Where the damping stays: f32 knows the squares of both.
const DAMPING: [f64; 2] = [1e-12, 1e12];

/// Options of [`HessianFree`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HessianFreeOptions {
    /// The damping λ of the first step. Default: 1.
    pub lambda: f64,
    /// What the last solution is multiplied by, where conjugate gradients begin: 0 to 1. Default: 0.95.
    pub decay: f64,
    /// The most iterations of conjugate gradients a step. Default: 250.
    pub cg_iterations: u32,
    /// They stop when the quadratic has fallen by less than `k·truncation` of itself in `k = max(10, i/10)`
    /// iterations. Default: 5e-4.
    pub truncation: f64,
    /// How many products a step go into the estimate of the diagonal for the preconditioner: 0 for none, or 2 at
    /// least. Default: 0.
    pub preconditioner_samples: usize,
    /// Of the random vectors of that estimate. Default: 0.
    pub seed: u64,
}

impl Default for HessianFreeOptions {
    fn default() -> Self {
        Self { lambda: 1.0, decay: 0.95, cg_iterations: 250, truncation: 5e-4, preconditioner_samples: 0, seed: 0 }
    }
}

/// Hessian-free optimization (Martens, "Deep learning via Hessian-free optimization", ICML 2010; Martens and Sutskever,
/// "Training deep and recurrent networks with Hessian-free optimization", 2012).
///
/// A step minimises the quadratic `⟨g, d⟩ + ½⟨d, (G + λI) d⟩`, with G the Gauss-Newton matrix and g the gradient, by
/// conjugate gradients that begin at the decayed solution of the step before and end when they make little
/// progress. Of the iterates kept on the way it goes back from the last one as long as the loss falls, and then
/// along the direction by factors of 0.8 until the loss is lower by 1% of what the slope promises (Armijo). The
/// damping follows Levenberg and Marquardt: with ρ the ratio of the loss's reduction to the undamped quadratic's,
/// λ becomes 2/3 λ if ρ > 3/4 and 3/2 λ if ρ < 1/4. The preconditioner is `(diag G + λ)^-¾`, the diagonal being
/// estimated from random signs ([`diagonal`]), and negative estimates taken as 0.
///
/// Where a loss differs from the one before by less than 1e-5 of itself, which rounding may hide, its reduction is taken
/// from the slopes at both ends, `½⟨g + g', x - x'⟩`: a loss may have a large constant part.
///
/// A step that does not lower the loss, or meets what is not finite ([`StepStatus::NonFinite`]), leaves the parameters as
/// they were, bit for bit, and raises the damping. A gradient of zeros ends it with [`StepStatus::Stationary`]; where f32
/// allow nothing better it ends with [`StepStatus::NoProgress`]. The data may change between steps: each begins with an
/// evaluation.
///
/// ```
/// # use gradus::curvature::{HessianFree, HessianFreeOptions};
/// # use gradus::graph::{Graph, Parameters, layers, losses};
/// # use gradus::{Gpu, Tensor};
/// # async fn example(gpu: &Gpu, images: &Tensor, labels: &Tensor) -> gradus::Result<()> {
/// let mut graph = Graph::new();
/// let (x, classes) = (graph.input("x", &[256, 64])?, graph.indices("classes", &[256])?);
/// let hidden = layers::dense(&mut graph, "hidden", x, 32)?;
/// let hidden = graph.tanh(hidden)?;
/// let logits = layers::dense(&mut graph, "logits", hidden, 10)?;
/// let loss = losses::cross_entropy(&mut graph, logits, classes)?;
///
/// let parameters = Parameters::new(gpu, &graph, 0)?;
/// let data = [(x, images), (classes, labels)];
/// let mut optimizer = HessianFree::new(gpu, &graph, logits, loss, &parameters, &data, &HessianFreeOptions::default())?;
/// for _ in 0..20 {
///     println!("{}", optimizer.step().await?.loss);
/// }
/// # Ok(())
/// # }
/// ```
pub struct HessianFree {
    options: HessianFreeOptions,
    curvature: Curvature,
    descent: Descent,
    cg: Cg,
    lambda: f64,
    damping: Tensor,
    jacobi: Option<Jacobi>,
    steps: u64,
    progress: Progress,
}

impl HessianFree {
    /// For the `parameters` of `graph`. `bindings` are the tensors of the other leaves; the loss depends on the
    /// parameters by way of `output`, and should be convex in it.
    ///
    /// # Errors
    /// Those of [`Curvature::new`]; [`Error::StateMismatch`] if the parameters are not those of the graph;
    /// [`Error::Option`].
    pub fn new(
        gpu: &Gpu,
        graph: &Graph,
        output: Var,
        loss: Var,
        parameters: &Parameters,
        bindings: &[(Var, &Tensor)],
        options: &HessianFreeOptions,
    ) -> Result<Self> {
        let curvature = whole(gpu, graph, loss, Matrix::GaussNewton { output }, parameters, bindings)?;
        Self::over(curvature, parameters.flat(), options)
    }

    /// With any positive semidefinite curvature, over batches or of another matrix, over `parameters`, its
    /// vector of f32: [`Parameters::flat`] if it is over all of them in their order.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::DType`] if `parameters` is not as long as the matrix; [`Error::Option`];
    /// [`Error::OutOfMemory`], [`Error::LimitTooSmall`].
    pub fn over(curvature: Curvature, parameters: &Tensor, options: &HessianFreeOptions) -> Result<Self> {
        expect_positive("lambda", options.lambda)?;
        expect_positive("truncation", options.truncation)?;
        expect_within("decay", options.decay, "0 to 1", (0.0..=1.0).contains(&options.decay))?;
        let samples = options.preconditioner_samples;
        expect_within("preconditioner_samples", samples as f64, "0, or 2 to 2^24", samples == 0 || (2..=1 << 24).contains(&samples))?;
        let gpu = LinearOperator::gpu(&curvature);
        let descent = Descent::new(&curvature, parameters)?;
        let damping = Tensor::zeros(gpu, &[1], DType::F32)?;
        let jacobi = match samples {
            0 => None,
            _ => Some(Jacobi::new(gpu, LinearOperator::dim(&curvature), &damping)?),
        };
        let cg_options = CgOptions {
            max_iterations: options.cg_iterations,
            truncation: Some(options.truncation),
            snapshots: true,
            ..CgOptions::default()
        };
        let damped = Shifted::new(&curvature, &damping);
        let inverse = jacobi.as_ref().map(|jacobi| krylov::Diagonal::new(gpu, &jacobi.inverse)).transpose()?;
        let preconditioner = inverse.as_ref().map(|inverse| inverse as &dyn Preconditioner);
        let cg = Cg::new(&damped, preconditioner, &descent.descent, &descent.solution, &cg_options)?;
        Ok(Self { options: *options, descent, cg, lambda: options.lambda, damping, jacobi, steps: 0, progress: Progress::new(), curvature })
    }

    /// The damping of the next step.
    #[must_use]
    pub fn lambda(&self) -> f64 {
        self.lambda
    }

    /// Takes a step: submits and waits some dozen times. If the future is dropped half-way, the parameters may be
    /// left at a trial point.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::DeviceLost`].
    pub async fn step(&mut self) -> Result<StepReport> {
        let gpu = LinearOperator::gpu(&self.curvature).clone();
        let before = self.descent.begin().await?;
        let mut report = StepReport::of(&before, self.lambda);
        self.steps += 1;
        if before.gradient_norm == 0.0 {
            return Ok(StepReport { status: StepStatus::Stationary, ..report });
        }
        if !before.is_finite() {
            return self.reject(report, StepStatus::NonFinite);
        }
        self.damping.write(&gpu, &[self.lambda as f32])?;
        if let Some(jacobi) = &self.jacobi {
            // a stream of random numbers for each step
            let seed = self.options.seed.wrapping_add(self.steps.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let options = DiagonalOptions { samples: self.options.preconditioner_samples, seed };
            jacobi.update(&gpu, &diagonal(&self.curvature, &options)?.value)?;
        }
        let mut decay = Recording::new();
        vector::scale(&gpu, &mut decay, self.options.decay, &self.descent.solution)?;
        gpu.execute([&decay])?;
        let solution = self.cg.solve().await?;
        report.cg_iterations = solution.iterations;
        if solution.status == Status::NonFinite {
            return self.reject(report, StepStatus::NonFinite);
        }

        // from the last iterate back, as long as the loss falls
        let last = solution.objectives.last().copied().unwrap_or(f64::NAN);
        let earlier = solution.snapshots.iter().filter(|snapshot| snapshot.iteration < solution.iterations);
        let iterates = earlier.map(|snapshot| (&snapshot.x, snapshot.objective)).chain([(&self.descent.solution, last)]);
        let mut best: Option<(&Tensor, f64, Trial)> = None;
        for (iterate, objective) in iterates.rev() {
            self.descent.choose(iterate).await?;
            let trial = self.descent.evaluate(1.0).await?;
            if best.as_ref().is_some_and(|(.., best)| trial.reduction(&before) <= best.reduction(&before)) {
                break;
            }
            best = Some((iterate, objective, trial));
        }
        let Some((iterate, objective, mut trial)) = best else { return self.reject(report, StepStatus::Rejected) };

        let [slope, length] = self.descent.choose(iterate).await?;
        let model = objective - 0.5 * self.lambda * length * length;
        let descends = slope < 0.0 && model < 0.0;
        if descends {
            report.reduction_ratio = -trial.reduction(&before) / model;
        }
        let mut step_size = 1.0;
        let mut accepted = false;
        for _ in 0..BACKTRACKS {
            let reduction = trial.reduction(&before);
            accepted = descends && reduction > 0.0 && reduction >= -SUFFICIENT * step_size * slope;
            if accepted || !descends || trial.moved == 0.0 {
                break;
            }
            step_size *= BACKTRACK;
            trial = self.descent.evaluate(step_size).await?;
        }
        if self.progress.ended(&before, &trial) {
            return self.reject(report, StepStatus::NoProgress);
        }
        if !accepted {
            let status = if trial.value.is_finite() { StepStatus::Rejected } else { StepStatus::NonFinite };
            return self.reject(report, status);
        }
        self.descent.go(step_size)?;
        let factor = match report.reduction_ratio {
            ratio if ratio > 0.75 => 2.0 / 3.0,
            ratio if ratio < 0.25 => 1.5,
            _ => 1.0,
        };
        self.damp(factor);
        Ok(StepReport { loss: trial.value.loss, step_size, status: StepStatus::Accepted, ..report })
    }

    /// Goes back to where the step began, and forgets the solution.
    fn reject(&mut self, report: StepReport, status: StepStatus) -> Result<StepReport> {
        let gpu = LinearOperator::gpu(&self.curvature);
        self.descent.restore()?;
        let mut forget = Recording::new();
        vector::fill(gpu, &mut forget, 0.0, &self.descent.solution)?;
        gpu.execute([&forget])?;
        self.damp(1.5);
        Ok(StepReport { status, ..report })
    }

    fn damp(&mut self, factor: f64) {
        self.lambda = (self.lambda * factor).clamp(DAMPING[0], DAMPING[1]);
    }
}

/// The curvature over all parameters of a graph.
pub(super) fn whole(
    gpu: &Gpu,
    graph: &Graph,
    loss: Var,
    matrix: Matrix,
    parameters: &Parameters,
    bindings: &[(Var, &Tensor)],
) -> Result<Curvature> {
    let (names, wrt): (Vec<String>, Vec<Var>) = graph.parameters().map(|(name, var)| (name.to_owned(), var)).unzip();
    if names != parameters.names() {
        let differences = vec![format!("the parameters are {:?}, and {names:?} were expected", parameters.names())];
        return Err(Error::StateMismatch { differences });
    }
    let bindings: Vec<(Var, &Tensor)> = bindings.iter().copied().chain(wrt.iter().copied().zip(parameters.tensors())).collect();
    Curvature::new(gpu, graph, loss, matrix, &wrt, &bindings)
}

/// The preconditioner `(max(diagonal, 0) + λ)^-¾`.
struct Jacobi {
    diagonal: Tensor,
    inverse: Tensor,
    recording: Recording,
}

impl Jacobi {
    fn new(gpu: &Gpu, dim: usize, damping: &Tensor) -> Result<Self> {
        let mut graph = Graph::new();
        let (x, lambda) = (graph.input("diagonal", &[dim])?, graph.input("lambda", &[1])?);
        let zero = graph.constant(0.0, &[dim])?;
        let positive = graph.maximum(x, zero)?;
        let shift = graph.broadcast_to(lambda, &[dim])?;
        let sum = graph.add(positive, shift)?;
        let log = graph.log(sum)?;
        let scaled = graph.scale(log, -0.75)?;
        let out = graph.exp(scaled)?;
        let [diagonal, inverse] = [Tensor::zeros(gpu, &[dim], DType::F32)?, Tensor::zeros(gpu, &[dim], DType::F32)?];
        let program = Plan::new(gpu, &graph, &[Stage::new(&[out])])?.compile(gpu, &[(x, &diagonal), (lambda, damping), (out, &inverse)])?;
        Ok(Self { diagonal, inverse, recording: program.recording(0)? })
    }

    fn update(&self, gpu: &Gpu, diagonal: &Tensor) -> Result<()> {
        let mut copy = Recording::new();
        vector::copy(gpu, &mut copy, diagonal, &self.diagonal)?;
        gpu.execute([&copy, &self.recording])?;
        Ok(())
    }
}
