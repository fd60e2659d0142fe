//! What the solvers of linear systems have in common: how a solution begins, is submitted, and ends.

use std::collections::VecDeque;

use super::blocks::{self, Blocks, total};
use super::operator::{LinearOperator, expect_vector};
use super::preconditioner::Preconditioner;
use crate::gpu::{Bind, Gpu, Reader, Recording, read_all};
use crate::shaders::layout::{BeginConstants, CgState, CheckConstants};
use crate::{DType, Error, Result, Tensor, shaders, vector};

/// How a solution ended.
///
/// In all cases but [`Status::NonFinite`] `x` holds the best iterate. Every step of conjugate gradients minimises
/// φ(x) = ½⟨x, A x⟩ - ⟨b, x⟩ along its direction, so that the last iterate is the best one by φ, which is the error in the norm
/// of A. (The norm of the residual need not fall in every iteration.) Of [`Richardson`](super::Richardson) it is the one with the
/// smallest residual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The iterations encoded so far have not come to an end. Not after `solve`.
    Running,
    /// The residual b - A x of the x that was stored is within the tolerance: ‖b - A x‖, computed anew, is at most the tolerance,
    /// and remains so with the error that f32 leave in it, for which [`Report::rounding`] is the measure. (Of n rows, the two
    /// are added as vectors at a right angle for large n, and as numbers for n <= 16.)
    Converged,
    /// x is as good as f32 allow, and that is not within the tolerance: ‖b - A x‖ is at most eight times
    /// [`Report::rounding`], what rounding x to f32 makes of it. How good that is depends on the system: the error of x may be
    /// ‖A⁻¹‖ times [`Report::residual`]. Also where x is a subnormal number of f32.
    PrecisionLimited,
    /// `max_iterations` were taken.
    IterationLimit,
    /// φ no longer makes progress: see [`CgOptions::truncation`](super::CgOptions::truncation).
    Truncated,
    /// The residual that iterations update reached the tolerance, but b - A x did not, or rounding has more
    /// effect on it than the iterations; and rounding x is not the reason. After `solve`, restarts have not helped
    /// either: the products are less exact than f32. After `encode`, a further solution that begins at x may get on.
    /// Of [`Richardson`](super::Richardson): the residual no longer falls.
    Stagnated,
    /// ⟨p, A p⟩ <= 0 for a direction p in the iteration after the last: the operator is not positive definite. Or ⟨p, A p⟩ is below
    /// 2⁻¹²⁶, and the device takes such numbers for 0: so it is with eigenvalues of less than about 1e-29. Not where the residual
    /// is that of rounding, for there ⟨p, A p⟩ is too.
    NegativeCurvature,
    /// Something is infinite or not a number: b, x, a product, or the solution, which f32 cannot hold. If it was in b or
    /// x, or is in the solution, `solve` leaves x as it was.
    NonFinite,
}

impl Status {
    /// As in `shared/cg_state.wgsl`.
    fn from_word(word: u32) -> Self {
        match word {
            0 => Status::Running,
            1 => Status::Converged,
            2 => Status::IterationLimit,
            3 => Status::Truncated,
            4 => Status::NegativeCurvature,
            7 => Status::Stagnated,
            _ => Status::NonFinite,
        }
    }
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
    /// ‖b - A x‖ of the x that was stored, computed anew; of the part of b in the range of a singular A.
    pub residual: f64,
    /// 2⁻²⁴ ‖A w‖ with w_i = ±x_i of random signs: about the norm of the residual that an exact solution would be left
    /// with by rounding it to f32. (That has errors of 2⁻²⁴ |x_i| at most, and of 0.4 times that in the mean square.)
    pub rounding: f64,
    /// The norm of the residual before the first iteration and after each.
    pub history: Vec<f64>,
    /// φ before the first iteration and after each.
    pub objectives: Vec<f64>,
    /// With [`CgOptions::snapshots`](super::CgOptions::snapshots), in the order of the iterations.
    pub snapshots: Vec<Snapshot>,
    /// The iterations in which the preconditioner was of no use. Of [`FlexibleCg`](super::FlexibleCg) those whose direction was of
    /// none: see there. Of [`Cg`](super::Cg) at most 1 for each start: M is not used from then on.
    pub lost: u32,
}

impl Report {
    /// Whether the tolerance was met: [`Status::Converged`].
    #[must_use]
    pub fn converged(&self) -> bool {
        self.status == Status::Converged
    }

    /// Whether the residual of a system of `dim` rows is within the threshold, with what f32 does not tell of it.
    ///
    /// The product that it was computed with has rounding errors: a vector d in a random direction, whose norm is about half of
    /// [`Report::rounding`]. In few dimensions, d may be twice as long and may point along the residual. The cosine between
    /// the two is of the order of 1/√dim, and is taken to be at most four times that.
    fn meets(&self, threshold: f64, dim: usize) -> bool {
        let spread = (4.0 / (dim as f64).sqrt()).min(1.0);
        let (r, d) = (self.residual, 0.5 * (1.0 + spread) * self.rounding);
        r == 0.0 || (r * r + 2.0 * spread * r * d + d * d).sqrt() <= threshold
    }

    /// The residual is due to the rounding of x.
    fn is_rounding(&self) -> bool {
        self.rounding.is_finite() && self.residual <= ROUNDINGS * self.rounding
    }
}

/// How often the residual of a singular system is projected onto the range of the operator.
const PROJECT_EVERY: u32 = 8;

/// An x to which k steps were added has been rounded k times, each time by 0.4 of [`Report::rounding`] in the mean
/// square, most of them when it was about as long as in the end. The residual is found to be 0.35 to 0.4 times √k of it
/// (five and seven points, 9 to 40,000 cells, 9 to 500 iterations), and 1 to 3 after a restart, which takes half as many
/// iterations again. Where that does not reach the tolerance, 400 steps need none.
const ROUNDINGS: f64 = 8.0;

/// A tolerance of fewer roundings is not reached by restarts either.
const WITHIN_REACH: f64 = 1.0;

/// By how much iterations that update r go below the threshold: what b - A x and r differ by after some hundred iterations, where
/// the threshold is some hundred times [`Report::rounding`].
pub(super) const AIM: f32 = 0.98;

/// How often b is projected onto the range of the operator. Once leaves the rounding of its part outside, which may be more than
/// the part inside; each further time leaves 2⁻²⁰ of that or less.
const PROJECTIONS: usize = 3;

/// The largest number of f32 that goes into a uniform: infinity would not be safe where shaders are compiled with fast math.
fn finite(value: f64) -> f32 {
    value.min(f64::from(f32::MAX)) as f32
}

/// When a solution ends, and how often the host looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub relative_tolerance: f64,
    pub absolute_tolerance: f64,
    pub max_iterations: u32,
    pub check_every: u32,
}

impl Limits {
    fn validate(&self) -> Result<()> {
        let invalid =
            |option: &str, found: String, expected: &str| Err(Error::Option { option: option.into(), found, expected: expected.into() });
        for (name, value) in [("relative_tolerance", self.relative_tolerance), ("absolute_tolerance", self.absolute_tolerance)] {
            if !(value >= 0.0 && value.is_finite()) {
                return invalid(name, value.to_string(), "a number of at least 0");
            }
        }
        match self.check_every {
            0 => invalid("check_every", "0".into(), "at least 1"),
            _ => Ok(()),
        }
    }
}

/// The vectors and scalars of a solution, for recording its parts.
pub(super) struct System<'a> {
    pub operator: &'a dyn LinearOperator,
    preconditioner: Option<&'a dyn Preconditioner>,
    limits: Limits,
    /// The caller's vectors, flat.
    caller_b: Tensor,
    caller_x: Tensor,
    pub over: Blocks,
    /// Copies of both, in the range of the operator.
    pub b: Tensor,
    pub x: Tensor,
    pub r: Tensor,
    /// The preconditioned residual; the residual itself where there is no preconditioner.
    pub z: Tensor,
    /// For products between iterations.
    pub product: Tensor,
    pub state: Tensor,
    /// The norm of the residual and φ, of each iteration.
    pub history: Tensor,
    /// ⟨b, b⟩, ⟨b, x⟩, and ⟨x, A x⟩ or ⟨p, A p⟩.
    pub square: Tensor,
    pub linear: Tensor,
    pub quadratic: Tensor,
    /// The largest |b_i| before its last projection and after it, and the largest |x_i|.
    largest_whole: Tensor,
    largest_b: Tensor,
    largest_x: Tensor,
}

impl<'a> System<'a> {
    pub fn new(
        operator: &'a dyn LinearOperator,
        preconditioner: Option<&'a dyn Preconditioner>,
        b: &Tensor,
        x: &Tensor,
        limits: Limits,
    ) -> Result<Self> {
        let (gpu, dim) = (operator.gpu(), operator.dim());
        limits.validate()?;
        expect_vector("b", b, dim)?;
        expect_vector("x", x, dim)?;
        b.expect_apart("b", x, "x")?;
        if let Some(found) = preconditioner.map(Preconditioner::dim).filter(|&found| found != dim) {
            return Err(Error::Length { tensor: "preconditioner".into(), unit: "rows", expected: dim, found });
        }
        let (caller_b, caller_x) = (b.reshape(&[dim])?, x.reshape(&[dim])?);
        let [b, x, r, product] = [(); 4].map(|()| blocks::vector(gpu, dim));
        let r = r?;
        let z = if preconditioner.is_some() { blocks::vector(gpu, dim)? } else { r.clone() };
        let [square, linear, quadratic, largest_whole, largest_b, largest_x] = [(); 6].map(|()| blocks::scalar(gpu));
        Ok(Self {
            operator,
            preconditioner,
            limits,
            caller_b,
            caller_x,
            over: Blocks::new(gpu, dim)?,
            b: b?,
            x: x?,
            r,
            z,
            product: product?,
            state: Tensor::zeros(gpu, &[size_of::<CgState>() / 4], DType::F32)?,
            history: Tensor::zeros(gpu, &[limits.max_iterations as usize + 1, 2], DType::F32)?,
            square: square?,
            linear: linear?,
            quadratic: quadratic?,
            largest_whole: largest_whole?,
            largest_b: largest_b?,
            largest_x: largest_x?,
        })
    }

    pub fn gpu(&self) -> &'a Gpu {
        self.operator.gpu()
    }

    pub fn is_preconditioned(&self) -> bool {
        self.preconditioner.is_some()
    }

    /// Appends `z = M r`, with r in the range of the operator: M may magnify what rounding has left outside, and r is
    /// not rid of it by further steps. What z has outside only moves x along the null space, as long as it is no longer
    /// than the rest. With `dot`, also ⟨r, z⟩.
    pub fn precondition(&self, recording: &mut Recording, dot: Option<&Tensor>) -> Result<()> {
        let Some(preconditioner) = self.preconditioner else { return Ok(()) };
        self.operator.record_project(recording, &self.r)?;
        match dot {
            None => preconditioner.record(recording, &self.r, &self.z),
            Some(dot) => preconditioner.record_dot(recording, &self.r, &self.z, dot),
        }
    }

    /// What keeps r in the range of a singular operator where no preconditioner asks for it in every iteration. Without
    /// it, iterations would go astray once r is as small as what rounding has left outside.
    pub fn refreshes(&self) -> Result<Vec<(u32, Recording)>> {
        let mut projection = Recording::new();
        if !self.is_preconditioned() {
            self.operator.record_project(&mut projection, &self.r)?;
        }
        Ok(if projection.is_empty() { Vec::new() } else { vec![(PROJECT_EVERY, projection)] })
    }

    /// Appends `r = b - A x` for a solution that begins, which is to end where ‖r‖ is `aim` times the threshold, and what the state says of it; x = 0 and r = b where x is no place to
    /// begin at.
    pub fn begin(&self, recording: &mut Recording, aim: f32) -> Result<()> {
        vector::dot(self.gpu(), recording, &self.b, &self.x, &self.linear)?;
        self.operator.record_dot(recording, &self.x, &self.product, &self.quadratic)?;
        self.residual(recording, &[])?;
        let constants = BeginConstants {
            partials: self.partials(),
            relative_tolerance: finite(self.limits.relative_tolerance),
            absolute_tolerance: finite(self.limits.absolute_tolerance),
            aim,
        };
        self.scalars(
            recording,
            &shaders::krylov::CG_BEGIN,
            &[],
            &constants,
            &[("largest_b", &self.largest_b), ("largest_x", &self.largest_x)],
        )?;
        let vectors = [("b", &self.b), ("r", &self.r), ("x", &self.x)];
        self.over.record(recording, &shaders::krylov::CG_RESET, &[], &vectors, &[("state", self.state.buffer())])
    }

    /// Appends `r = b - A x`, in the same way, for a solution that goes on.
    pub fn refresh(&self, recording: &mut Recording) -> Result<()> {
        self.operator.record(recording, &self.x, &self.product)?;
        self.residual(recording, &["REFRESH"])
    }

    /// The sums are taken before the projection, which changes the norm by a part in `dim` of the rounding.
    fn residual(&self, recording: &mut Recording, defines: &[&'static str]) -> Result<()> {
        let vectors = [("q", &self.product), ("b", &self.b), ("r", &self.r)];
        self.over.record_sums(recording, &shaders::krylov::CG_RESIDUAL, defines, &vectors, &[("state", self.state.buffer())])?;
        self.operator.record_project(recording, &self.r)
    }

    /// Appends a kernel of one workgroup that sees the sums.
    pub fn scalars<T: bytemuck::Pod>(
        &self,
        recording: &mut Recording,
        source: &'static crate::gpu::KernelSource,
        defines: &[&'static str],
        constants: &T,
        more: &[(&'static str, &Tensor)],
    ) -> Result<()> {
        let gpu = self.gpu();
        let kernel = gpu.kernel(source, defines, &[])?;
        let own = [
            ("state", &self.state),
            ("history", &self.history),
            ("square", &self.square),
            ("linear", &self.linear),
            ("quadratic", &self.quadratic),
            ("curvature", &self.quadratic),
        ];
        let all = own.iter().chain(more).map(|&(name, tensor)| Bind::whole(name, tensor.buffer()));
        recording.dispatch_with(gpu, &kernel, total(self.partials()), constants, all.chain([self.over.partials().0]).collect())
    }

    /// The number of the sums.
    pub fn partials(&self) -> u32 {
        self.over.partials().1
    }

    /// From the caller's vectors, and what operator and preconditioner do before their first product.
    fn load(&self) -> Result<Recording> {
        let gpu = self.gpu();
        let mut load = Recording::new();
        self.operator.record_prepare(&mut load)?;
        if let Some(preconditioner) = self.preconditioner {
            preconditioner.record_prepare(&mut load)?;
        }
        // zero by its bits
        vector::fill(gpu, &mut load, 0.0, &self.state)?;
        vector::copy(gpu, &mut load, &self.caller_x, &self.x)?;
        vector::copy(gpu, &mut load, &self.caller_b, &self.b)?;
        self.operator.record_project(&mut load, &self.x)?;
        let mut projection = Recording::new();
        self.operator.record_project(&mut projection, &self.b)?;
        if !projection.is_empty() {
            (1..PROJECTIONS).for_each(|_| load.append(&projection));
        }
        vector::max_magnitude(gpu, &mut load, &self.b, &self.largest_whole)?;
        load.append(&projection);
        vector::max_magnitude(gpu, &mut load, &self.b, &self.largest_b)?;
        vector::max_magnitude(gpu, &mut load, &self.x, &self.largest_x)?;
        let largest = [("largest_whole", self.largest_whole.buffer()), ("largest_b", self.largest_b.buffer())];
        self.over.record(&mut load, &shaders::krylov::CG_START, &[], &[("x", &self.x), ("b", &self.b)], &largest)?;
        vector::dot(gpu, &mut load, &self.b, &self.b, &self.square)?;
        Ok(load)
    }

    /// The solver with what a method records for itself.
    pub fn solver(self, start: Recording, cycle: Cycle, taken: Taken) -> Result<Solver> {
        let gpu = self.gpu();
        let load = self.load()?;
        let state = [("state", self.state.buffer())];
        let mut finish = Recording::new();
        self.operator.record_project(&mut finish, &self.x)?;
        self.over.record(&mut finish, &shaders::krylov::CG_STORE, &["ROUND"], &[("x", &self.x)], &state)?;
        let mut check = Recording::new();
        // neither r nor the sum is looked at again before a start makes them anew
        let (signed, sum) = (&self.r, &self.linear);
        self.over.record(&mut check, &shaders::krylov::CG_SIGNS, &[], &[("x", &self.x), ("w", signed)], &state)?;
        self.operator.record(&mut check, signed, &self.product)?;
        vector::dot(gpu, &mut check, &self.product, &self.product, sum)?;
        self.operator.record(&mut check, &self.x, &self.product)?;
        let vectors = [("q", &self.product), ("b", &self.b)];
        self.over.record_sums(&mut check, &shaders::krylov::CG_RESIDUAL, &["MEASURE"], &vectors, &[])?;
        let constants = CheckConstants { partials: self.partials() };
        self.scalars(&mut check, &shaders::krylov::CG_CHECK, &[], &constants, &[("signed", sum)])?;
        let mut store = Recording::new();
        self.over.record(&mut store, &shaders::krylov::CG_STORE, &["STORE"], &[("x", &self.x), ("y", &self.product)], &state)?;
        vector::copy(gpu, &mut store, &self.product, &self.caller_x)?;
        let reader = Reader::new(gpu, &self.state);
        let (limits, state, history) = (self.limits, self.state, self.history);
        let dim = self.operator.dim();
        Ok(Solver { gpu: gpu.clone(), dim, limits, load, start, cycle, finish, check, store, state, history, reader, taken })
    }
}

/// The recordings of iterations. Their targets change from one to the next, and return after as many.
#[derive(Debug)]
pub(super) struct Cycle {
    pub iterations: Vec<Recording>,
    /// What comes after every n-th iteration.
    pub refreshes: Vec<(u32, Recording)>,
}

impl Cycle {
    /// Iteration number `i`, from 0.
    fn encode_in_pass(&self, i: u32, pass: &mut wgpu::ComputePass) {
        self.iterations[i as usize % self.iterations.len()].encode_in_pass(pass);
        let due = self.refreshes.iter().filter(|(every, _)| (i + 1).is_multiple_of(*every));
        due.for_each(|(_, refresh)| refresh.encode_in_pass(pass));
    }
}

/// The iterations after which snapshots are taken, and the snapshots.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub schedule: Vec<u32>,
    pub vectors: Vec<Tensor>,
}

/// Recordings that make up a solution.
#[derive(Debug)]
pub(super) struct Solver {
    gpu: Gpu,
    /// The rows of the operator.
    dim: usize,
    limits: Limits,
    load: Recording,
    /// The residual of x, and what follows from it.
    start: Recording,
    pub cycle: Cycle,
    /// After the last iteration.
    pub finish: Recording,
    /// ‖b - A x‖ anew, and what rounding x does to it, to nothing but a report.
    check: Recording,
    /// To the caller's x.
    store: Recording,
    state: Tensor,
    history: Tensor,
    reader: Reader,
    taken: Taken,
}

impl Solver {
    /// A solution of at most `iterations` iterations, without a look.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder, iterations: u32) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("gradus.krylov"), timestamp_writes: None });
        self.load.encode_in_pass(&mut pass);
        self.start.encode_in_pass(&mut pass);
        (0..iterations).for_each(|i| self.cycle.encode_in_pass(i, &mut pass));
        self.finish.encode_in_pass(&mut pass);
        self.store.encode_in_pass(&mut pass);
    }

    /// A solution with looks, and restarts while the residual that is updated runs ahead of the true one.
    pub async fn solve(&self) -> Result<Report> {
        self.gpu.execute([&self.load])?;
        let mut best = f64::INFINITY;
        loop {
            self.run().await?;
            self.gpu.execute([&self.finish, &self.check])?;
            let (report, threshold) = self.read().await?;
            let better = report.residual < best;
            let no_better = report.residual > 0.5 * best;
            if better {
                self.gpu.execute([&self.store])?;
            }
            let residual = if better { report.residual } else { best };
            let out_of_reach = report.is_rounding() && threshold < WITHIN_REACH * report.rounding;
            if report.status == Status::Converged && better && !no_better && !report.meets(threshold, self.dim) && !out_of_reach {
                best = residual;
                continue;
            }
            return Ok(Report { status: judged(&report, threshold, self.dim), residual, ..report });
        }
    }

    /// Of the solution that was last encoded.
    pub async fn report(&self) -> Result<Report> {
        self.gpu.execute([&self.check])?;
        let (report, threshold) = self.read().await?;
        Ok(Report { status: judged(&report, threshold, self.dim), ..report })
    }

    /// The state after a check, with the threshold.
    async fn read(&self) -> Result<(Report, f64)> {
        let read = read_all(&self.gpu, &[self.state.clone(), self.history.clone()]).await?;
        let [state, history] = &read[..] else { return Err(Error::DeviceLost { reason: "nothing was read".into() }) };
        let state: CgState = bytemuck::pod_read_unaligned(state);
        let scale = 2f64.powi(state.exponent);
        let norm = |scaled: f32| scale * f64::from(scaled);
        let pairs: Vec<[f32; 2]> = bytemuck::pod_collect_to_vec(history);
        let taken = pairs.iter().take(state.iteration as usize + 1);
        let (history, objectives): (Vec<f64>, Vec<f64>) =
            taken.map(|&[residual, phi]| (norm(residual), scale * scale * f64::from(phi))).unzip();
        let taken = self.taken.schedule.iter().zip(&self.taken.vectors).take(state.snapshots as usize);
        let snapshot = |(&iteration, x): (&u32, &Tensor)| Snapshot {
            iteration,
            objective: objectives.get(iteration as usize).copied().unwrap_or(f64::NAN),
            x: x.clone(),
        };
        let snapshots = taken.map(snapshot).collect();
        let (residual, rounding) = (norm(state.true_residual), norm(state.rounding));
        let (status, iterations, lost) = (Status::from_word(state.status), state.iteration, state.lost);
        Ok((Report { status, iterations, residual, rounding, history, objectives, snapshots, lost }, norm(state.threshold)))
    }

    /// Begins at what x is, and submits batches of iterations until the device says that there is an end. The
    /// state comes with each batch; while the host waits for the older of two, the device has the other.
    async fn run(&self) -> Result<()> {
        let encoder = || self.gpu.device().create_command_encoder(&Default::default());
        let mut begin = encoder();
        self.start.encode(&mut begin);
        let mut looks = VecDeque::from([self.reader.submit(begin)?]);
        let mut next = 0u32;
        loop {
            // lost iterations count, so that the device ends within this many
            let end = self.limits.max_iterations.saturating_add(1).min(next.saturating_add(self.limits.check_every));
            let mut batch = encoder();
            {
                let mut pass = batch.begin_compute_pass(&Default::default());
                (next..end).for_each(|i| self.cycle.encode_in_pass(i, &mut pass));
            }
            looks.push_back(self.reader.submit(batch)?);
            let exhausted = next == end;
            next = end;
            if let Some(look) = looks.pop_front() {
                let state: CgState = bytemuck::pod_read_unaligned(&look.await?);
                if state.status != 0 || exhausted {
                    return Ok(());
                }
            }
        }
    }
}

/// The status by what was computed anew.
fn judged(report: &Report, threshold: f64, dim: usize) -> Status {
    match report.status {
        // what iterations update is finite, and x is not one of f32
        _ if !report.residual.is_finite() => Status::NonFinite,
        Status::Running | Status::IterationLimit | Status::Truncated => report.status,
        _ if report.meets(threshold, dim) => Status::Converged,
        // where r is that small, a curvature may also be 0, negative or infinite by rounding
        _ if report.is_rounding() => Status::PrecisionLimited,
        Status::Converged => Status::Stagnated,
        status => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::COUNTS;
    use crate::krylov::{Cg, CgOptions, Diagonal, FlexibleCg, FlexibleCgOptions};

    /// Of the thread that polls a solution; others may.
    #[test]
    fn nothing_waits_for_the_device() {
        let gpu = pollster::block_on(Gpu::headless()).expect("an adapter; see with-vulkan");
        let diagonal: Vec<f32> = (1..=1000).map(|d| d as f32).collect();
        let diagonal = Tensor::from_slice(&gpu, &[1000], &diagonal).unwrap();
        let operator = Diagonal::new(&gpu, &diagonal).unwrap();
        let [first, second] = [(); 2].map(|()| Tensor::zeros(&gpu, &[1000], DType::F32).unwrap());
        let options = CgOptions { check_every: 3, ..Default::default() };
        let mut cg = Cg::new(&operator, None, &diagonal, &first, &options).unwrap();
        let mut flexible = FlexibleCg::new(&operator, None, &diagonal, &second, &FlexibleCgOptions::default()).unwrap();
        let reports = [pollster::block_on(cg.solve()).unwrap(), pollster::block_on(flexible.solve()).unwrap()];
        assert!(reports.iter().all(|report| report.status == Status::Converged && report.iterations > 10), "{reports:?}");
        assert_eq!(COUNTS.get().waits, 0);
    }
}
