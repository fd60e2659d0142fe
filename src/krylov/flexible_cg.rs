//! Flexible conjugate gradients.

use super::blocks;
use super::operator::LinearOperator;
use super::preconditioner::Preconditioner;
use super::solution::{AIM, Cycle, Limits, Report, Solver, System, Taken};
use crate::gpu::Recording;
use crate::shaders::layout::FcgConstants;
use crate::{DType, Error, Result, Tensor, shaders};

/// The directions of a dispatch.
const TOGETHER: usize = 4;

/// The most directions kept: each adds a recording of an iteration.
const MOST_DIRECTIONS: u32 = 64;

/// Options of [`FlexibleCg`].
#[derive(Clone, Debug, PartialEq)]
pub struct FlexibleCgOptions {
    /// Stop when ‖b - A x‖ ≤ `relative_tolerance`·‖b‖. For a singular operator, b is first projected onto its range. The residual
    /// that iterations update must fall to 0.98 times that. Default: 1e-5.
    pub relative_tolerance: f64,
    /// Stop when ‖b - A x‖ ≤ `absolute_tolerance`, in the units of b. The greater of the two bounds counts. Default: 0.
    pub absolute_tolerance: f64,
    /// The most iterations. Default: 1000.
    pub max_iterations: u32,
    /// How many iterations [`FlexibleCg::solve`] submits at a time. It looks at the result of each batch while
    /// the next one runs, so that up to twice as many iterations come after the last one that matters; of these
    /// the products and the preconditioner cost something. Default: 4.
    pub check_every: u32,
    /// How many earlier directions the next one is made A-orthogonal to, each of which takes two vectors of
    /// memory: 64 at most. 0 is steepest descent along what the preconditioner says. Default: 2.
    pub truncation: u32,
    /// After how many iterations r = b - A x is computed anew, for another product. At 1 it is after each; at 0
    /// only when the residual that iterations update has reached the tolerance. Default: 0.
    pub recompute_every: u32,
}

impl Default for FlexibleCgOptions {
    fn default() -> Self {
        Self { relative_tolerance: 1e-5, absolute_tolerance: 0.0, max_iterations: 1000, check_every: 4, truncation: 2, recompute_every: 0 }
    }
}

/// A linear system `A x = b` with symmetric positive definite `A`, to be solved by truncated flexible conjugate
/// gradients (Notay, "Flexible conjugate gradients", SIAM J. Sci. Comput. 22, 2000, FCG(m)), whose preconditioner
/// may be anything that maps a residual to a direction: not symmetric, not linear, another in each iteration, a
/// network. With a [truncation](FlexibleCgOptions::truncation) of 2, a network, and a residual
/// [recomputed](FlexibleCgOptions::recompute_every) in every iteration it is the deep conjugate direction method
/// (Kaneda et al., ICML 2023).
///
/// With directions d_i of the m iterations before:
///
/// q = M(r);  q -= Σ (⟨q, A d_i⟩ / ⟨d_i, A d_i⟩) d_i;  α = ⟨q, r⟩ / ⟨q, A q⟩;  x += α q;  r -= α A q
///
/// so that φ(x) = ½⟨x, A x⟩ - ⟨b, x⟩ falls in every iteration, whatever the preconditioner says, and whatever the
/// sign of ⟨q, r⟩. Should q be of no use, then the iteration is *lost*, and in the next one r itself takes the place of M(r), so
/// that with a truncation of 2 or more a preconditioner that is never of use leaves conjugate gradients, in every other
/// iteration. Of no use is a q with ⟨q, A q⟩ or ⟨q, r⟩ of 0 or not finite, for which x stays as it is; and where the residual is
/// recomputed, one that has less effect on it than rounding. Should a direction made of r be of no use either, the solution
/// ends: with [`Stagnated`](super::Status::Stagnated) if it has less effect than rounding, else with
/// [`NegativeCurvature`](super::Status::NegativeCurvature) or [`NonFinite`](super::Status::NonFinite). It also ends where
/// ⟨q, A q⟩ is negative, whatever q is made of.
///
/// An iteration is the preconditioner, one product with ⟨q, A q⟩, and six dispatches, which move
/// 4·(2m + 10) bytes an element for m up to 4, which are 56 for 2; with truncation 0 four dispatches and 36 bytes,
/// and three more for every four further directions. All scalars stay on the device. As [`Cg`](super::Cg) it has vectors of its own,
/// begins at what `x` holds, scales small and large b, and may be given a singular A.
///
/// ```
/// use gradus::krylov::{FlexibleCg, FlexibleCgOptions, Diagonal, FromFn, Status};
/// use gradus::{DType, Gpu, Tensor, vector};
///
/// # async fn solve() -> gradus::Result<()> {
/// let gpu = Gpu::headless().await?;
/// let diagonal = Tensor::from_slice(&gpu, &[4], &[1.0f32, 2.0, 4.0, 8.0])?;
/// let b = Tensor::from_slice(&gpu, &[4], &[1.0f32; 4])?;
/// let x = Tensor::zeros(&gpu, &[4], DType::F32)?;
/// let operator = Diagonal::new(&gpu, &diagonal)?;
/// let preconditioner = FromFn::new(&gpu, 4, |recording, r, z| vector::copy(&gpu, recording, r, z))?;
/// let mut solver = FlexibleCg::new(&operator, Some(&preconditioner), &b, &x, &FlexibleCgOptions::default())?;
/// assert_eq!(solver.solve().await?.status, Status::Converged);
/// # Ok(())
/// # }
/// # if let Err(error) = pollster::block_on(solve()) {
/// #     assert!(matches!(error, gradus::Error::NoAdapter { .. }), "{error}");
/// # }
/// ```
#[derive(Debug)]
pub struct FlexibleCg {
    solver: Solver,
}

impl FlexibleCg {
    /// For `b` and `x` of f32, of `dim` elements in any shape. Whatever operator and preconditioner depend on
    /// may change between solutions.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::DType`] if `b` or `x` is not `dim` elements of f32, or the preconditioner
    /// differs in size; [`Error::Overlap`]; [`Error::Option`] if a tolerance is not a number of at least 0,
    /// `check_every` is 0 or the truncation more than 64; [`Error::LimitTooSmall`] or [`Error::OutOfMemory`] for a
    /// vector of its own; what recording a product may fail with.
    pub fn new(
        operator: &dyn LinearOperator,
        preconditioner: Option<&dyn Preconditioner>,
        b: &Tensor,
        x: &Tensor,
        options: &FlexibleCgOptions,
    ) -> Result<Self> {
        if options.truncation > MOST_DIRECTIONS {
            let expected = format!("at most {MOST_DIRECTIONS}");
            return Err(Error::Option { option: "truncation".into(), found: options.truncation.to_string(), expected });
        }
        let system = System::new(operator, preconditioner, b, x, options.limits())?;
        let (gpu, dim) = (system.gpu(), operator.dim());
        let m = options.truncation as usize;
        // with none kept, the direction needs a place all the same
        let vectors = || (0..m.max(1)).map(|_| blocks::vector(gpu, dim)).collect::<Result<Vec<_>>>();
        let (directions, images) = (vectors()?, vectors()?);
        let curvatures = Tensor::zeros(gpu, &[m.max(1)], DType::F32)?;
        let scalars = |recording: &mut Recording, define: &'static str, oldest: usize, first: usize| {
            let constants =
                FcgConstants { preconditioned: system.is_preconditioned().into(), ..options.constants(system.partials(), oldest, first) };
            let more = [("curvatures", &curvatures)];
            system.scalars(recording, &shaders::krylov::FCG_SCALARS, &[define], &constants, &more)
        };

        let mut start = Recording::new();
        system.begin(&mut start, AIM)?;
        scalars(&mut start, "START", 0, 0)?;

        // the newest direction takes the place of the oldest
        let iteration = |oldest: usize| -> Result<Recording> {
            let mut recording = Recording::gated_by(system.state.buffer());
            let (q, image) = (&directions[oldest], &images[oldest]);
            system.precondition(&mut recording, None)?;
            if system.is_preconditioned() {
                // which may say anything
                operator.record_project(&mut recording, &system.z)?;
            }
            let from_oldest: Vec<usize> = (0..m).map(|i| (oldest + i) % m).collect();
            let batches: Vec<&[usize]> = if m == 0 { vec![&[]] } else { from_oldest.chunks(TOGETHER).collect() };
            for (batch, kept) in batches.into_iter().enumerate() {
                if m > 0 {
                    let mut vectors = vec![("z", &system.z), ("r", &system.r)];
                    vectors.extend(["s0", "s1", "s2", "s3"].into_iter().zip(kept.iter().map(|&i| &images[i])));
                    let mut defines = ["ONE", "TWO", "THREE"][..kept.len() - 1].to_vec();
                    defines.extend(system.is_preconditioned().then_some("PRECONDITIONED"));
                    let others = [("state", system.state.buffer())];
                    system.over.record_sums(&mut recording, &shaders::krylov::FCG_DOTS, &defines, &vectors, &others)?;
                    scalars(&mut recording, "GAMMA", oldest, batch * TOGETHER)?;
                }
                let mut vectors = vec![("r", &system.r), ("q", q), ("z", &system.z)];
                vectors.extend(["d0", "d1", "d2", "d3"].into_iter().zip(kept.iter().map(|&i| &directions[i])));
                let mut defines: Vec<&'static str> = ["ZERO", "ONE", "TWO", "THREE"][..kept.len()].to_vec();
                if batch == 0 {
                    // q holds the oldest direction
                    defines.iter_mut().take(1).for_each(|define| *define = "OLDEST");
                    defines.push("FIRST");
                }
                let others = [("state", system.state.buffer())];
                system.over.record_sums(&mut recording, &shaders::krylov::FCG_DIRECTION, &defines, &vectors, &others)?;
            }
            scalars(&mut recording, "NUMERATOR", oldest, 0)?;
            operator.record_dot(&mut recording, q, image, &system.quadratic)?;
            let vectors = [("q", image), ("r", &system.r), ("p", q), ("x", &system.x)];
            let others = [("state", system.state.buffer()), ("curvature", system.quadratic.buffer())];
            system.over.record_sums(&mut recording, &shaders::krylov::CG_UPDATE, &["FLEXIBLE"], &vectors, &others)?;
            scalars(&mut recording, "STEP", oldest, 0)?;
            Ok(recording)
        };
        let iterations = (0..m.max(1)).map(iteration).collect::<Result<Vec<_>>>()?;
        let mut refreshes = system.refreshes()?;
        if options.recompute_every > 0 {
            let mut refresh = Recording::new();
            system.refresh(&mut refresh)?;
            scalars(&mut refresh, "REFRESH", 0, 0)?;
            refreshes.push((options.recompute_every, refresh));
        }
        let solver = system.solver(start, Cycle { iterations, refreshes }, Taken::default())?;
        Ok(Self { solver })
    }

    /// Encodes a solution of at most `iterations` iterations, from what `x` then holds. Nothing is submitted or
    /// read back; what is encoded after the end of the solution leaves x as it is.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder, iterations: u32) {
        self.solver.encode(encoder, iterations);
    }

    /// The recording of an iteration, without a residual computed anew: for counting what it does.
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

    /// What became of the solution that was last submitted with [`FlexibleCg::encode`]. Submits two products, for
    /// the residual and what rounding does to it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::DeviceLost`].
    pub async fn report(&self) -> Result<Report> {
        self.solver.report().await
    }
}

impl FlexibleCgOptions {
    fn limits(&self) -> Limits {
        Limits {
            relative_tolerance: self.relative_tolerance,
            absolute_tolerance: self.absolute_tolerance,
            max_iterations: self.max_iterations,
            check_every: self.check_every,
        }
    }

    fn constants(&self, partials: u32, oldest: usize, first: usize) -> FcgConstants {
        FcgConstants {
            partials,
            max_iterations: self.max_iterations,
            directions: self.truncation,
            oldest: oldest as u32,
            first: first as u32,
            ..Default::default()
        }
    }
}
