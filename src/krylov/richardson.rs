//! Stationary iterations.

use super::blocks;
use super::operator::LinearOperator;
use super::preconditioner::Preconditioner;
use super::solution::{Cycle, Limits, Report, Solver, System, Taken};
use crate::gpu::Recording;
use crate::shaders::layout::RichardsonConstants;
use crate::{Result, Tensor, shaders};

/// The iterations without a smaller residual after which there is an end.
const PATIENCE: u32 = 10;

/// Options of [`Richardson`].
#[derive(Clone, Debug, PartialEq)]
pub struct RichardsonOptions {
    /// Stop when ‖b - A x‖ ≤ `relative_tolerance`·‖b‖. For a singular operator, b is first projected onto its range. The residual
    /// that iterations update must fall to 0.98 times that. Default: 1e-5.
    pub relative_tolerance: f64,
    /// Stop when ‖b - A x‖ ≤ `absolute_tolerance`, in the units of b. The greater of the two bounds counts. Default: 0.
    pub absolute_tolerance: f64,
    /// The most iterations. Default: 1000.
    pub max_iterations: u32,
    /// How many iterations [`Richardson::solve`] submits at a time. It looks at the result of each batch while the next
    /// one runs, so that up to twice as many iterations come after the last one that matters; of these the products and
    /// the preconditioner cost something. Default: 4.
    pub check_every: u32,
}

impl Default for RichardsonOptions {
    fn default() -> Self {
        Self { relative_tolerance: 1e-5, absolute_tolerance: 0.0, max_iterations: 1000, check_every: 4 }
    }
}

/// A linear system `A x = b`, to be solved by a preconditioner alone: `x += M (b - A x)`, the stationary iteration of
/// Richardson (Phil. Trans. R. Soc. A 210, 1910). The error is multiplied by I - M A each time, so that it converges where
/// the spectral radius of that is below 1: for a multigrid cycle it is the convergence factor.
///
/// The residual is b - A x in each iteration, not one that is updated. Of all iterates `x` gets the one with the smallest.
/// The solution ends as [`Stagnated`](super::Status::Stagnated) where ten iterations have not found a smaller one, for M is
/// no good or rounding is all that is left, in which case it is [`PrecisionLimited`](super::Status::PrecisionLimited);
/// as [`NonFinite`](super::Status::NonFinite) where it explodes before. It knows no other breakdown: M and A may be what
/// they like.
///
/// An iteration is the preconditioner, one product and three dispatches, which move 32 bytes an element. As
/// [`Cg`](super::Cg) it has vectors of its own, begins at what `x` holds, and may be given a singular A.
///
/// ```
/// use gradus::krylov::{Diagonal, Richardson, RichardsonOptions, Status};
/// use gradus::{DType, Gpu, Tensor};
///
/// # async fn solve() -> gradus::Result<()> {
/// let gpu = Gpu::headless().await?;
/// let diagonal = Tensor::from_slice(&gpu, &[4], &[1.0f32, 2.0, 4.0, 8.0])?;
/// let about = Tensor::from_slice(&gpu, &[4], &[1.25f32, 2.5, 4.5, 9.0])?;
/// let b = Tensor::from_slice(&gpu, &[4], &[1.0f32; 4])?;
/// let x = Tensor::zeros(&gpu, &[4], DType::F32)?;
/// let (operator, preconditioner) = (Diagonal::new(&gpu, &diagonal)?, Diagonal::inverse(&gpu, &about)?);
/// let mut solver = Richardson::new(&operator, &preconditioner, &b, &x, &RichardsonOptions::default())?;
/// assert_eq!(solver.solve().await?.status, Status::Converged);
/// # Ok(())
/// # }
/// # if let Err(error) = pollster::block_on(solve()) {
/// #     assert!(matches!(error, gradus::Error::NoAdapter { .. }), "{error}");
/// # }
/// ```
#[derive(Debug)]
pub struct Richardson {
    solver: Solver,
}

impl Richardson {
    /// For `b` and `x` of f32, of `dim` elements in any shape. Whatever operator and preconditioner depend on
    /// may change between solutions.
    ///
    /// # Errors
    /// As [`Cg::new`](super::Cg::new).
    pub fn new(
        operator: &dyn LinearOperator,
        preconditioner: &dyn Preconditioner,
        b: &Tensor,
        x: &Tensor,
        options: &RichardsonOptions,
    ) -> Result<Self> {
        let system = System::new(operator, Some(preconditioner), b, x, options.limits())?;
        let best = blocks::vector(system.gpu(), operator.dim())?;
        let others = [("state", system.state.buffer())];
        let scalars = |recording: &mut Recording, defines: &[&'static str]| {
            let constants = options.constants(system.partials());
            system.scalars(recording, &shaders::krylov::RICHARDSON_SCALARS, defines, &constants, &[])
        };

        let mut start = Recording::new();
        system.begin(&mut start, 0.98)?;
        scalars(&mut start, &["START"])?;

        let mut iterate = Recording::gated_by(system.state.buffer());
        system.precondition(&mut iterate, None)?;
        let vectors = [("x", &system.x), ("best", &best), ("z", &system.z)];
        system.over.record(&mut iterate, &shaders::krylov::RICHARDSON_STEP, &["STEP"], &vectors, &others)?;
        operator.record(&mut iterate, &system.x, &system.product)?;
        let vectors = [("q", &system.product), ("b", &system.b), ("r", &system.r), ("x", &system.x)];
        system.over.record_sums(&mut iterate, &shaders::krylov::CG_RESIDUAL, &["OBJECTIVE"], &vectors, &[])?;
        scalars(&mut iterate, &[])?;

        let mut finish = Recording::new();
        let vectors = [("x", &system.x), ("best", &best)];
        system.over.record(&mut finish, &shaders::krylov::RICHARDSON_STEP, &["RESTORE"], &vectors, &others)?;

        let cycle = Cycle { iterations: vec![iterate], refreshes: Vec::new() };
        let mut solver = system.solver(start, cycle, Taken::default())?;
        finish.extend(std::mem::take(&mut solver.finish));
        solver.finish = finish;
        Ok(Self { solver })
    }

    /// Encodes a solution of at most `iterations` iterations, from what `x` then holds. Nothing is submitted or
    /// read back; what is encoded after the end of the solution leaves x as it is.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder, iterations: u32) {
        self.solver.encode(encoder, iterations);
    }

    /// The recording of an iteration: for counting what it does.
    #[must_use]
    pub fn iteration(&self) -> &Recording {
        &self.solver.cycle.iterations[0]
    }

    /// Solves the system, from what `x` holds, and stores the solution to it. It submits batches of iterations,
    /// and looks at the result of each while the next one runs; nothing blocks.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) or [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub async fn solve(&mut self) -> Result<Report> {
        self.solver.solve().await
    }

    /// What became of the solution that was last submitted with [`Richardson::encode`]. Submits two products, for
    /// the residual and what rounding does to it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) or [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub async fn report(&self) -> Result<Report> {
        self.solver.report().await
    }
}

impl RichardsonOptions {
    fn limits(&self) -> Limits {
        Limits {
            relative_tolerance: self.relative_tolerance,
            absolute_tolerance: self.absolute_tolerance,
            max_iterations: self.max_iterations,
            check_every: self.check_every,
        }
    }

    fn constants(&self, partials: u32) -> RichardsonConstants {
        RichardsonConstants { partials, max_iterations: self.max_iterations, patience: PATIENCE }
    }
}
