//! Preconditioned conjugate gradients.

use super::blocks;
use super::operator::LinearOperator;
use super::preconditioner::Preconditioner;
use super::solution::{AIM, Cycle, Limits, Report, Solver, System, Taken};
use crate::gpu::Recording;
use crate::shaders::layout::CgConstants;
use crate::{DType, Error, Result, Tensor, shaders};

/// The ratio of the iterations of two snapshots.
const SNAPSHOT_RATIO: f64 = 1.3;

/// Options of [`Cg`].
#[derive(Clone, Debug, PartialEq)]
pub struct CgOptions {
    /// Stop when ‖b - A x‖ ≤ `relative_tolerance`·‖b‖. For a singular operator, b is first projected onto its range. The residual
    /// that iterations update must fall to 0.98 times that. Default: 1e-5.
    pub relative_tolerance: f64,
    /// Stop when ‖b - A x‖ ≤ `absolute_tolerance`, in the units of b. The greater of the two bounds counts. Default: 0.
    pub absolute_tolerance: f64,
    /// The most iterations. Default: 1000.
    pub max_iterations: u32,
    /// How many iterations [`Cg::solve`] submits at a time. It looks at the result of each batch while the next
    /// one runs, so that up to twice as many iterations come after the last one that matters; of these only the
    /// products cost anything. Default: 8.
    pub check_every: u32,
    /// Stop when the quadratic φ(x) = ½⟨x, A x⟩ - ⟨b, x⟩ has made little progress: at iteration i > k with
    /// φᵢ < 0 and (φᵢ - φᵢ₋ₖ) / φᵢ < k·truncation, where k = max(10, i/10) (Martens, "Deep learning via
    /// Hessian-free optimization", ICML 2010, section 4.4, where it is 0.0005). Default: `None`.
    pub truncation: Option<f64>,
    /// Keep the iterates after iterations ⌈1.3ʲ⌉ (Martens 2010, section 4.6), each a vector more. Default: no.
    pub snapshots: bool,
}

impl Default for CgOptions {
    fn default() -> Self {
        Self { relative_tolerance: 1e-5, absolute_tolerance: 0.0, max_iterations: 1000, check_every: 8, truncation: None, snapshots: false }
    }
}

/// A linear system `A x = b` with symmetric positive definite `A`, to be solved by conjugate gradients
/// (Hestenes and Stiefel 1952) with all scalars on the device.
///
/// An iteration is the product with ⟨p, A p⟩, the preconditioner and ⟨r, z⟩ if there is one, and three
/// dispatches, which move 36 bytes an element. It works on vectors of its own: of `b` it reads the elements when
/// a solution begins, to `x` it writes when one ends, and neither place nor alignment matters. It
/// begins at what `x` holds, but at 0 where `b` is 0, or where ‖b - A x‖ is more than 2²⁰ ‖b‖.
///
/// Where the largest |bᵢ| is below 2⁻¹⁶ or from 2¹⁷ on, b and x are multiplied by a power of two for the iterations, which
/// makes it at least 1 and less than 2: a preconditioner sees such residuals.
///
/// A preconditioner that is found not to be positive definite, ⟨r, M r⟩ ≤ 0, or not finite, or of which a direction p with
/// ⟨p, A p⟩ ≤ 0 is made, is not used from then on: [`Report::lost`] is 1, and the iterations begin again from where they are
/// without it.
///
/// A may be singular if the operator says how vectors are projected onto its range
/// ([`LinearOperator::record_project`]): then the part of `b` in the range is what the system is solved for, and
/// `x` is the solution in the range. b is projected three times. Where the last one leaves less than 2⁻²⁰ of it, b has no part in
/// the range. The projection is applied to r before the preconditioner in each iteration, and
/// without one after every eighth.
///
/// ```
/// use gradus::krylov::{Cg, CgOptions, Diagonal, Status};
/// use gradus::{DType, Gpu, Tensor};
///
/// # async fn solve() -> gradus::Result<()> {
/// let gpu = Gpu::headless().await?;
/// let diagonal = Tensor::from_slice(&gpu, &[4], &[1.0f32, 2.0, 4.0, 8.0])?;
/// let b = Tensor::from_slice(&gpu, &[4], &[1.0f32; 4])?;
/// let x = Tensor::zeros(&gpu, &[4], DType::F32)?;
/// let operator = Diagonal::new(&gpu, &diagonal)?;
/// let mut cg = Cg::new(&operator, None, &b, &x, &CgOptions::default())?;
/// let report = cg.solve().await?;
/// assert_eq!(report.status, Status::Converged);
/// # Ok(())
/// # }
/// # if let Err(error) = pollster::block_on(solve()) {
/// #     assert!(matches!(error, gradus::Error::NoAdapter { .. }), "{error}");
/// # }
/// ```
#[derive(Debug)]
pub struct Cg {
    solver: Solver,
}

impl Cg {
    /// For `b` and `x` of f32, of `dim` elements in any shape. Whatever operator and preconditioner depend on
    /// may change between solutions.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::DType`] if `b` or `x` is not `dim` elements of f32, or the preconditioner
    /// differs in size; [`Error::Overlap`]; [`Error::Option`] if a tolerance is not a number of at least 0, the
    /// truncation is not a positive number, or `check_every` is 0; [`Error::LimitTooSmall`] or
    /// [`Error::OutOfMemory`] for a vector of its own; what recording a product may fail with.
    pub fn new(
        operator: &dyn LinearOperator,
        preconditioner: Option<&dyn Preconditioner>,
        b: &Tensor,
        x: &Tensor,
        options: &CgOptions,
    ) -> Result<Self> {
        let (gpu, dim) = (operator.gpu(), operator.dim());
        if let Some(truncation) = options.truncation.filter(|&truncation| !(truncation > 0.0 && truncation.is_finite())) {
            return Err(Error::Option { option: "truncation".into(), found: truncation.to_string(), expected: "a positive number".into() });
        }
        let system = System::new(operator, preconditioner, b, x, options.limits())?;
        let schedule = if options.snapshots { schedule(options.max_iterations) } else { Vec::new() };
        let padded: Vec<u32> = schedule.iter().copied().chain([u32::MAX]).collect();
        let padded = Tensor::from_slice(gpu, &[padded.len()], &padded)?;
        let stride = dim.next_multiple_of(4);
        // with none taken, kernels are given a place all the same
        let rows = Tensor::zeros(gpu, &[schedule.len().max(1), stride], DType::F32)?;
        let row = |i: usize| rows.within(4 * (i * stride) as u64, &[dim], DType::F32);
        let snapshots = (0..schedule.len()).map(row).collect::<Result<Vec<_>>>()?;
        let (p, q) = (blocks::vector(gpu, dim)?, &system.product);
        let rho = blocks::scalar(gpu)?;

        // after r: z, the scalars, and the next direction
        let finish = |recording: &mut Recording, start: bool| -> Result<()> {
            system.precondition(recording, Some(&rho))?;
            let mut defines = Vec::new();
            defines.extend(start.then_some("START"));
            defines.extend(system.is_preconditioned().then_some("PRECONDITIONED"));
            let constants = options.constants(system.partials());
            let more = [("schedule", &padded), ("preconditioned", &rho)];
            system.scalars(recording, &shaders::krylov::CG_SCALARS, &defines, &constants, &more)?;
            let taking = options.snapshots && !start;
            let vectors: &[_] = &[("z", &system.z), ("p", &p), ("x", &system.x), ("r", &system.r)];
            let others = [("state", system.state.buffer()), ("snapshots", rows.buffer())];
            let mut defines: Vec<&'static str> = if taking { vec!["SNAPSHOTS"] } else { Vec::new() };
            defines.extend(system.is_preconditioned().then_some("PRECONDITIONED"));
            system.over.record(recording, &shaders::krylov::CG_DIRECTION, &defines, vectors, &others)
        };

        let mut start = Recording::new();
        system.begin(&mut start, AIM)?;
        finish(&mut start, true)?;

        let mut iterate = Recording::gated_by(system.state.buffer());
        operator.record_dot(&mut iterate, &p, q, &system.quadratic)?;
        let vectors = [("q", q), ("r", &system.r), ("p", &p), ("x", &system.x)];
        let others = [("state", system.state.buffer()), ("curvature", system.quadratic.buffer())];
        system.over.record_sums(&mut iterate, &shaders::krylov::CG_UPDATE, &[], &vectors, &others)?;
        finish(&mut iterate, false)?;

        let cycle = Cycle { iterations: vec![iterate], refreshes: system.refreshes()? };
        Ok(Self { solver: system.solver(start, cycle, Taken { schedule, vectors: snapshots })? })
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
    /// When the residual that the iterations update has reached the tolerance, b - A x is computed from the x that is stored. If it is
    /// above the tolerance, the iterations begin again from it, for as long as this halves it, unless the
    /// [rounding](super::Report::rounding) of x alone is above the tolerance.
    ///
    /// The solution is stored unless it is not finite.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::DeviceLost`].
    pub async fn solve(&mut self) -> Result<Report> {
        self.solver.solve().await
    }

    /// What became of the solution that was last submitted with [`Cg::encode`]. Submits two products, for
    /// the residual and what rounding does to it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::DeviceLost`].
    pub async fn report(&self) -> Result<Report> {
        self.solver.report().await
    }
}

impl CgOptions {
    fn limits(&self) -> Limits {
        Limits {
            relative_tolerance: self.relative_tolerance,
            absolute_tolerance: self.absolute_tolerance,
            max_iterations: self.max_iterations,
            check_every: self.check_every,
        }
    }

    fn constants(&self, partials: u32) -> CgConstants {
        CgConstants { partials, max_iterations: self.max_iterations, truncation: self.truncation.unwrap_or(0.0).min(1e30) as f32 }
    }
}

/// 1, 2, 3, 4, 5, 7, ..., ⌈1.3ʲ⌉, up to the limit.
fn schedule(limit: u32) -> Vec<u32> {
    let mut iterations: Vec<u32> =
        (0..).map(|j| SNAPSHOT_RATIO.powi(j).ceil()).take_while(|&i| i <= f64::from(limit)).map(|i| i as u32).collect();
    iterations.dedup();
    iterations
}
