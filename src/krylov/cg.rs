//! Preconditioned conjugate gradients.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::blocks::{self, Blocks};
use super::operator::{LinearOperator, expect_vector};
use super::preconditioner::Preconditioner;
use crate::gpu::{Bind, Gpu, Recording, read_all};
use crate::shaders::layout::{CgConstants, CgState};
use crate::{DType, Error, Result, Tensor, shaders, vector};

/// The ratio of the iterations of two snapshots.
const SNAPSHOT_RATIO: f64 = 1.3;

/// Options of [`Cg`].
#[derive(Clone, Debug, PartialEq)]
pub struct CgOptions {
    /// The norm of the residual that will do, as a multiple of ‖b‖. Default: 1e-5.
    pub relative_tolerance: f64,
    /// The norm of the residual that will do, whatever ‖b‖ is. The greater of the two counts. Default: 0.
    pub absolute_tolerance: f64,
    /// The most iterations. Default: 1000.
    pub max_iterations: u32,
    /// How many iterations [`Cg::solve`] submits at a time. It looks at the result of each batch while the next
    /// one runs, so that up to twice as many iterations come after the last one that matters; of these only the
    /// products cost anything. Default: 16.
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
        Self {
            relative_tolerance: 1e-5,
            absolute_tolerance: 0.0,
            max_iterations: 1000,
            check_every: 16,
            truncation: None,
            snapshots: false,
        }
    }
}

/// How a solution ended. In all cases `x` holds the last iterate with a meaning, which is the one that
/// minimises φ (see [`CgOptions::truncation`]) over the directions so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The iterations encoded so far have not come to an end. Not after [`Cg::solve`].
    Running,
    /// The residual is within the tolerance.
    Converged,
    /// `max_iterations` were taken.
    IterationLimit,
    /// φ no longer makes progress: see [`CgOptions::truncation`].
    Truncated,
    /// The updated residual reached the tolerance, but b - A x did not: it is as small as f32 allows.
    Stagnated,
    /// ⟨p, A p⟩ <= 0 for a direction p in the iteration after the last: the operator is not positive definite.
    NegativeCurvature,
    /// ⟨r, M r⟩ <= 0 after the last iteration: the preconditioner is not positive definite.
    IndefinitePreconditioner,
    /// Something is infinite or not a number: b, x, a product, or a preconditioned residual. If it was in b or
    /// x, there were no iterations, and x is as it was.
    NonFinite,
}

/// An iterate on the way.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The iteration after which it was taken.
    pub iteration: u32,
    /// φ of it.
    pub objective: f64,
    /// The iterate, `[dim]`. It is overwritten by the next solution.
    pub x: Tensor,
}

/// What became of a solution.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it ended.
    pub status: Status,
    /// The number of iterations, over restarts.
    pub iterations: u32,
    /// ‖b - A x‖: after [`Cg::solve`] of the x returned, computed anew; after [`Cg::encode`] as updated.
    pub residual: f64,
    /// The norm of the residual before the first iteration and after each.
    pub history: Vec<f64>,
    /// φ before the first iteration and after each.
    pub objectives: Vec<f64>,
    /// With [`CgOptions::snapshots`], in the order of the iterations.
    pub snapshots: Vec<Snapshot>,
}

/// A linear system `A x = b` with symmetric positive definite `A`, to be solved by conjugate gradients
/// (Hestenes and Stiefel 1952) with all scalars on the device.
///
/// An iteration is the product with ⟨p, A p⟩, the preconditioner and ⟨r, z⟩ if there is one, and three
/// dispatches, which move 36 bytes an element. It works on vectors of its own: of `b` it reads the elements when
/// a solution begins, to `x` it writes when one ends, and neither place nor alignment matters. It
/// begins at what `x` holds, but at 0 where `b` is 0.
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
    gpu: Gpu,
    options: CgOptions,
    /// From the caller's vectors, and what operator and preconditioner do before their first product.
    load: Recording,
    /// The residual of x, and the first direction.
    start: Recording,
    iterate: Recording,
    /// To the caller's x.
    store: Recording,
    state: Tensor,
    /// The norm of the residual and φ, of each iteration.
    history: Tensor,
    /// The iterations of snapshots, and their vectors.
    schedule: Vec<u32>,
    snapshots: Vec<Tensor>,
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
        options.validate()?;
        expect_system(b, x, dim)?;
        if let Some(found) = preconditioner.map(Preconditioner::dim).filter(|&found| found != dim) {
            return Err(Error::Length { tensor: "preconditioner".into(), unit: "rows", expected: dim, found });
        }
        let history = Tensor::zeros(gpu, &[options.max_iterations as usize + 1, 2], DType::F32)?;
        let state = Tensor::zeros(gpu, &[size_of::<CgState>() / 4], DType::F32)?;
        let schedule = if options.snapshots { schedule(options.max_iterations) } else { Vec::new() };
        let padded: Vec<u32> = schedule.iter().copied().chain([u32::MAX]).collect();
        let padded = Tensor::from_slice(gpu, &[padded.len()], &padded)?;
        let stride = dim.next_multiple_of(4);
        let rows = Tensor::zeros(gpu, &[schedule.len(), stride], DType::F32)?;
        let row = |i: usize| Tensor::from_buffer(rows.buffer(), 4 * (i * stride) as u64, &[dim], DType::F32);
        let snapshots = (0..schedule.len()).map(row).collect::<Result<Vec<_>>>()?;

        let flat = [dim];
        let (b, target) = (b.reshape(&flat)?, x.reshape(&flat)?);
        let over = Blocks::new(gpu, dim)?;
        let [x, r, p, q] = [(); 4].map(|()| blocks::vector(gpu, dim));
        let (x, r, p, q) = (x?, r?, p?, q?);
        // the preconditioned residual is the residual where there is no preconditioner
        let z = if preconditioner.is_some() { blocks::vector(gpu, dim)? } else { r.clone() };
        let [square, linear, quadratic, rho] = [(); 4].map(|()| blocks::scalar(gpu));
        let (square, linear, quadratic, rho) = (square?, linear?, quadratic?, rho?);
        let scalars = [
            ("state", &state),
            ("history", &history),
            ("schedule", &padded),
            ("square", &square),
            ("linear", &linear),
            ("quadratic", &quadratic),
            ("curvature", &quadratic),
            ("preconditioned", &rho),
        ];

        // after r: z, the scalars, and the next direction
        let finish = |recording: &mut Recording, start: bool| -> Result<()> {
            if let Some(preconditioner) = preconditioner {
                preconditioner.record(recording, &r, &z)?;
                vector::dot(gpu, recording, &r, &z, &rho)?;
            }
            let mut defines = Vec::new();
            defines.extend(start.then_some("START"));
            defines.extend(preconditioner.map(|_| "PRECONDITIONED"));
            let kernel = gpu.kernel(&shaders::krylov::CG_SCALARS, &defines, &[])?;
            let (partials, count) = over.partials();
            let constants = options.constants(count);
            let others = scalars.iter().map(|&(name, tensor)| Bind::whole(name, tensor.buffer()));
            recording.dispatch_with(gpu, &kernel, 1, &constants, others.chain([partials]).collect())?;
            let taking = options.snapshots && !start;
            let vectors: &[_] = if taking { &[("z", &z), ("p", &p), ("x", &x)] } else { &[("z", &z), ("p", &p)] };
            let others = [("state", state.buffer()), ("snapshots", rows.buffer())];
            let defines: &[&'static str] = if taking { &["SNAPSHOTS"] } else { &[] };
            over.record(recording, &shaders::krylov::CG_DIRECTION, defines, vectors, &others)
        };

        let mut load = Recording::new();
        operator.record_prepare(&mut load)?;
        if let Some(preconditioner) = preconditioner {
            preconditioner.record_prepare(&mut load)?;
        }
        vector::copy(gpu, &mut load, &target, &x)?;
        vector::dot(gpu, &mut load, &b, &b, &square)?;
        over.record(&mut load, &shaders::krylov::CG_START, &[], &[("x", &x)], &[("square", square.buffer())])?;
        // zero by its bits
        vector::fill(gpu, &mut load, 0.0, &state)?;

        let mut start = Recording::new();
        vector::copy(gpu, &mut start, &b, &r)?;
        vector::dot(gpu, &mut start, &r, &x, &linear)?;
        operator.record_dot(&mut start, &x, &q, &quadratic)?;
        over.record_sums(&mut start, &shaders::krylov::CG_UPDATE, &["START"], &[("q", &q), ("r", &r)], &[])?;
        finish(&mut start, true)?;

        let mut iterate = Recording::new();
        operator.record_dot(&mut iterate, &p, &q, &quadratic)?;
        let vectors = [("q", &q), ("r", &r), ("p", &p), ("x", &x)];
        let others = [("state", state.buffer()), ("curvature", quadratic.buffer())];
        over.record_sums(&mut iterate, &shaders::krylov::CG_UPDATE, &[], &vectors, &others)?;
        finish(&mut iterate, false)?;

        let mut store = Recording::new();
        vector::copy(gpu, &mut store, &x, &target)?;
        Ok(Self { gpu: gpu.clone(), options: options.clone(), load, start, iterate, store, state, history, schedule, snapshots })
    }

    /// Encodes a solution of at most `iterations` iterations, from what `x` then holds. Nothing is read back;
    /// what is encoded after the end of the solution leaves x as it is.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder, iterations: u32) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("gradus.cg"), timestamp_writes: None });
        self.load.encode_in_pass(&mut pass);
        self.start.encode_in_pass(&mut pass);
        (0..iterations).for_each(|_| self.iterate.encode_in_pass(&mut pass));
        self.store.encode_in_pass(&mut pass);
    }

    /// The recording of an iteration: for counting what it does.
    #[must_use]
    pub fn iteration(&self) -> &Recording {
        &self.iterate
    }

    /// Solves the system, from what `x` holds, and stores the solution to it. It submits batches of iterations,
    /// and waits for each while the next one runs.
    ///
    /// When the residual that the iterations update has reached the tolerance, b - A x is computed. If that has
    /// not, the iterations begin again from it, for as long as this halves it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::DeviceLost`].
    pub async fn solve(&mut self) -> Result<Report> {
        self.gpu.submit([&self.load, &self.start]);
        let mut best = f64::INFINITY;
        let (status, residual) = loop {
            let stopped = self.run().await?;
            let updated = status(stopped.status);
            // x is the same, and its residual new
            self.gpu.submit([&self.start]);
            let fresh = self.look().await?;
            let residual = f64::from(fresh.residual);
            // a residual that is not a number is not better than none
            let better = residual < best || best == f64::INFINITY;
            if better {
                self.gpu.submit([&self.store]);
            }
            let known = if better { residual } else { best };
            match status(fresh.status) {
                _ if updated != Status::Converged => break (updated, known),
                end @ (Status::Converged | Status::NonFinite) => break (end, known),
                _ if residual > 0.5 * best => break (Status::Stagnated, known),
                _ => best = residual,
            }
        };
        Ok(Report { status, residual, ..self.report().await? })
    }

    /// What became of the solution that was last submitted.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::DeviceLost`].
    pub async fn report(&self) -> Result<Report> {
        let read = read_all(&self.gpu, &[self.state.clone(), self.history.clone()]).await?;
        let [state, history] = &read[..] else { return Err(Error::DeviceLost { reason: "nothing was read".into() }) };
        let state: CgState = bytemuck::pod_read_unaligned(state);
        let pairs: Vec<[f32; 2]> = bytemuck::pod_collect_to_vec(history);
        let taken = pairs.iter().take(state.iteration as usize + 1);
        let (history, objectives): (Vec<f64>, Vec<f64>) = taken.map(|&[norm, phi]| (f64::from(norm), f64::from(phi))).unzip();
        let taken = self.schedule.iter().zip(&self.snapshots).take(state.snapshots as usize);
        let snapshot = |(&iteration, x): (&u32, &Tensor)| Snapshot {
            iteration,
            objective: objectives.get(iteration as usize).copied().unwrap_or(f64::NAN),
            x: x.clone(),
        };
        let snapshots = taken.map(snapshot).collect();
        let (status, residual) = (status(state.status), f64::from(state.residual));
        Ok(Report { status, iterations: state.iteration, residual, history, objectives, snapshots })
    }

    /// Submits batches until the device says that the solution has ended.
    async fn run(&self) -> Result<CgState> {
        let mut left = u64::from(self.options.max_iterations) + 1;
        let mut submit = || {
            let now = left.min(u64::from(self.options.check_every));
            left -= now;
            let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                (0..now).for_each(|_| self.iterate.encode_in_pass(&mut pass));
            }
            self.gpu.queue().submit([encoder.finish()]);
        };
        loop {
            let mut looking = pin!(self.look());
            // the copy is submitted at the first poll, and the next batch behind it
            let first = poll_fn(|context| Poll::Ready(looking.as_mut().poll(context))).await;
            submit();
            let state = match first {
                Poll::Ready(state) => state?,
                Poll::Pending => looking.await?,
            };
            if state.status != 0 {
                return Ok(state);
            }
        }
    }

    async fn look(&self) -> Result<CgState> {
        let read = read_all(&self.gpu, std::slice::from_ref(&self.state)).await?;
        Ok(bytemuck::pod_read_unaligned(&read.concat()))
    }
}

impl CgOptions {
    fn validate(&self) -> Result<()> {
        let invalid =
            |option: &str, found: String, expected: &str| Err(Error::Option { option: option.into(), found, expected: expected.into() });
        for (name, value) in [("relative_tolerance", self.relative_tolerance), ("absolute_tolerance", self.absolute_tolerance)] {
            if !(value >= 0.0 && value.is_finite()) {
                return invalid(name, value.to_string(), "a number of at least 0");
            }
        }
        if let Some(truncation) = self.truncation.filter(|&truncation| !(truncation > 0.0 && truncation.is_finite())) {
            return invalid("truncation", truncation.to_string(), "a positive number");
        }
        match self.check_every {
            0 => invalid("check_every", "0".into(), "at least 1"),
            _ => Ok(()),
        }
    }

    fn constants(&self, partials: u32) -> CgConstants {
        CgConstants {
            partials,
            max_iterations: self.max_iterations,
            relative_tolerance: self.relative_tolerance as f32,
            absolute_tolerance: self.absolute_tolerance as f32,
            truncation: self.truncation.unwrap_or(0.0) as f32,
        }
    }
}

fn expect_system(b: &Tensor, x: &Tensor, dim: usize) -> Result<()> {
    expect_vector("b", b, dim)?;
    expect_vector("x", x, dim)?;
    b.expect_apart("b", x, "x")
}

/// 1, 2, 3, 4, 5, 7, ..., ⌈1.3ʲ⌉, up to the limit.
fn schedule(limit: u32) -> Vec<u32> {
    let mut iterations: Vec<u32> =
        (0..).map(|j| SNAPSHOT_RATIO.powi(j).ceil()).take_while(|&i| i <= f64::from(limit)).map(|i| i as u32).collect();
    iterations.dedup();
    iterations
}

/// As in `shared/cg_state.wgsl`.
fn status(word: u32) -> Status {
    match word {
        0 => Status::Running,
        1 => Status::Converged,
        2 => Status::IterationLimit,
        3 => Status::Truncated,
        4 => Status::NegativeCurvature,
        5 => Status::IndefinitePreconditioner,
        _ => Status::NonFinite,
    }
}
