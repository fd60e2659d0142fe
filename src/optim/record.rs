//! The dispatches of a step.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use wgpu::BufferUsages;

use super::algorithm::Update;
use super::options::{LossScale, Options, Rounding};
use super::plan::{Batch, CellRows, Class, Coefficients, Part, Projections, Rows};
use super::streams::{self, Cells, Pass, STATES, Types};
use crate::gpu::work::{SUM_RUNS, looped, summed};
use crate::gpu::{Bind, DType, Gpu, Kernel, Key, Recording, Tensor, Work};
use crate::shaders::layout::{
    Control, GlobalNormConstants, GlobalNormFinishConstants, ProjectionConstants, ProjectionPartial, ProjectionTask, RowTask,
};
use crate::{Result, shaders, vector};

/// Tensors of up to this many sums by row are projected by a small workgroup.
const FEW_SUMS: u32 = 1024;

/// The buffers of an optimizer that do not hold elements.
pub(super) struct Tables {
    /// The hyperparameters of the groups, and `Control` of each tensor, as the host last set them.
    pub control: wgpu::Buffer,
    /// Where the tensors begin there.
    pub tensors: u64,
    /// `Step` of each tensor.
    pub steps: wgpu::Buffer,
    /// The step count of each tensor.
    pub counts: wgpu::Buffer,
    /// `GradientStatus`.
    pub status: wgpu::Buffer,
}

impl Tables {
    fn groups(&self) -> Bind<'_> {
        Bind { size: self.tensors, visited: self.tensors, ..Bind::whole("groups", &self.control) }
    }

    fn control(&self, tensors: usize) -> Bind<'_> {
        let size = (tensors * size_of::<Control>()) as u64;
        Bind { offset: self.tensors, size, visited: size, ..Bind::whole("control", &self.control) }
    }
}

/// What the elements of a store are kept in, besides the caller's buffers.
#[derive(Clone, Default)]
pub(super) struct Store {
    pub states: Vec<wgpu::Buffer>,
    pub master: Option<wgpu::Buffer>,
}

/// A pass with its types, or `prepare`; defines; and lanes.
type KernelKey = (Option<(Pass, Types)>, Vec<&'static str>, u32);

/// Buffers and kernels that recordings of one optimizer share, so that new gradients cost bind groups only.
#[derive(Default)]
pub(super) struct Cache {
    /// By what they hold, and the number of the recording that used them last.
    tables: HashMap<Vec<u8>, (wgpu::Buffer, u64)>,
    scratch: HashMap<(&'static str, u64, usize), (wgpu::Buffer, u64)>,
    recordings: u64,
    kernels: HashMap<KernelKey, Kernel>,
}

impl Cache {
    /// Begins a recording, and lets go of what neither of the last two has used.
    fn begin(&mut self) {
        let last = self.recordings;
        self.tables.retain(|_, (_, used)| *used + 1 >= last);
        self.scratch.retain(|_, (_, used)| *used + 1 >= last);
        self.recordings += 1;
    }
}

pub(super) struct Recorder<'a> {
    pub gpu: &'a Gpu,
    pub update: &'a Update,
    pub options: &'a Options,
    pub tables: &'a Tables,
    pub stores: &'a [Store],
    pub cache: &'a mut Cache,
    pub tensors: &'a [(&'a str, &'a Tensor, &'a Tensor)],
    pub recording: Recording,
}

impl<'a> Recorder<'a> {
    /// Everything: the gradients' norm if asked for, the scalars, the elements.
    pub fn step(&mut self, batches: &[Batch]) -> Result<()> {
        if self.tensors.is_empty() {
            return Ok(());
        }
        self.cache.begin();
        for batch in batches {
            if let Some(copy) = &batch.grad_copy {
                let window = &batch.grad_window;
                let words = [((window.end - window.start) / 4) as usize];
                let from = Tensor::from_buffer(&batch.grad, window.start, &words, DType::U32)?;
                vector::copy(self.gpu, &mut self.recording, &from, &Tensor::from_buffer(copy, 0, &words, DType::U32)?)?;
            }
        }
        if self.options.reads_gradients_first() {
            self.global_norm(batches)?;
        }
        self.prepare()?;
        match self.update.projection {
            Some(_) => self.projected(batches),
            None => batches.iter().try_for_each(|batch| self.elements(batch, Pass::Elements, None)),
        }
    }

    fn global_norm(&mut self, batches: &[Batch]) -> Result<()> {
        let source = &shaders::optim::GLOBAL_NORM;
        // the chunks of each class of each batch, and how many results precede theirs
        let mut parts = Vec::new();
        let mut end = 0;
        for batch in batches {
            for (class, chunks) in batch.gradient_chunks(self.gpu) {
                let longest = chunks.iter().map(|chunk| chunk.length).max().unwrap_or_default();
                let work = work(chunks.len(), class, summed(cells(longest, class)));
                parts.push((batch, class, chunks, Work { rounds: work.rounds + SUM_RUNS, ..work }, end));
                end += work.workgroups;
            }
        }
        let partials = self.scratch("gradus.optim.partials", u64::from(end.max(1)) * 16, 0)?;
        for (batch, class, chunks, work, partial) in parts {
            let mut defines = vec!["PARTIAL", grad_define(batch.grad_dtype)];
            defines.extend((class.cells == Cells::Scattered).then_some("SCALAR"));
            let kernel = self.gpu.kernel(source, &defines, &[("LANES", class.lanes)])?;
            let elements = chunks.iter().map(|chunk| u64::from(chunk.length)).sum::<u64>();
            let chunks = self.table(&chunks)?;
            let bindings = vec![
                Bind::whole("chunks", &chunks),
                self.tables.control(self.tensors.len()),
                grad(batch, elements),
                Bind::whole("partials", &partials),
            ];
            self.recording.dispatch_with(self.gpu, &kernel, work, &GlobalNormConstants { partial }, bindings)?;
        }
        let (dynamic, growth_factor, backoff_factor, growth_interval) = match self.options.loss_scale {
            LossScale::Fixed(_) => (0, 1.0, 1.0, 1),
            LossScale::Dynamic { growth_factor, backoff_factor, growth_interval, .. } => {
                (1, growth_factor, backoff_factor, growth_interval)
            }
        };
        let constants = GlobalNormFinishConstants {
            clips: u32::from(self.options.max_norm.is_some()),
            max_norm: self.options.max_norm.unwrap_or(1.0) as f32,
            dynamic,
            growth_factor: growth_factor as f32,
            backoff_factor: backoff_factor as f32,
            growth_interval,
            min_scale: self.options.loss_scale.least() as f32,
        };
        let kernel = self.gpu.kernel(source, &["FINISH"], &[])?;
        let bindings = vec![Bind::whole("status", &self.tables.status), Bind::whole("partials", &partials)];
        let work = Work::alone(summed(u64::from(end).div_ceil(256)) + SUM_RUNS);
        self.recording.dispatch_with(self.gpu, &kernel, work, &constants, bindings)
    }

    /// Step counts, hyperparameters and bias corrections.
    fn prepare(&mut self) -> Result<()> {
        let kernel = self.kernel(None, &[], 0)?;
        let bindings = [
            self.tables.control(self.tensors.len()),
            Bind::whole("counts", &self.tables.counts),
            Bind::whole("status", &self.tables.status),
            self.tables.groups(),
            Bind::whole("steps", &self.tables.steps),
        ];
        // powers of 32 bits, with a margin
        let rounds = (2 * self.update.exact.len() as u64 + 4) * looped(32, 0);
        let work = Work::strided(self.tensors.len().div_ceil(64) as u64, rounds);
        self.recording.dispatch(self.gpu, &kernel, work, &bindings)
    }

    /// The kernel of a pass, or `prepare`, whose text is written once.
    fn kernel(&mut self, pass: Option<(Pass, Types)>, defines: &[&'static str], lanes: u32) -> Result<Kernel> {
        let key = (pass, defines.to_vec(), lanes);
        if let Some(kernel) = self.cache.kernels.get(&key) {
            return Ok(kernel.clone());
        }
        let (source, generated) = match pass {
            None => (&shaders::optim::PREPARE, streams::prepare(self.update)),
            Some((pass, types)) => {
                let source = if pass == Pass::Advance { &shaders::optim::ROWS } else { &shaders::optim::ELEMENTS };
                (source, streams::pass(self.update, &types, pass))
            }
        };
        let constants: &[_] = if pass.is_some() { &[("LANES", lanes)] } else { &[] };
        let completed = Key::new(source, defines, constants).completed_by(&generated);
        let kernel = self.gpu.pipeline(completed, Some(&generated))?;
        self.cache.kernels.insert(key, kernel.clone());
        Ok(kernel)
    }

    /// The two passes of AdamP and SGDP, with the projection between them.
    fn projected(&mut self, batches: &[Batch]) -> Result<()> {
        let Some(projection) = self.update.projection else { return Ok(()) };
        let tensors = self.tensors;
        let gpu = self.gpu;
        let rows: Vec<Rows> = tensors.iter().map(|(_, param, _)| Rows::of(gpu, param)).collect();
        let groups = super::plan::groups(gpu, &rows, batches);
        let projections = Projections::new(gpu, tensors, &rows, &groups);
        // a group's sums have been used when those of the next are made
        let sums = self.scratch("gradus.optim.sums", 16 * groups.iter().map(|group| group.sums).max().unwrap_or_default(), 0)?;
        let partials = self.scratch("gradus.optim.partials", size_of::<ProjectionPartial>() as u64 * projections.partials, 1)?;
        let mut coefficients = Vec::with_capacity(groups.len());
        for (g, group) in groups.iter().enumerate() {
            coefficients.push(self.scratch("gradus.optim.coefficients", 4 * group.coefficients, g)?);
        }
        let [decay, projected_decay] = streams::decays();
        let block = ProjectionConstants {
            delta: projection.delta as f32,
            eps: projection.eps as f32,
            step_words: self.update.members().len() as u32,
            decay,
            projected_decay,
            ratio: projection.ratio.into(),
        };
        let project = |recorder: &mut Self, defines: &[&'static str], lanes: u64, tasks: &[ProjectionTask], group: Option<usize>| {
            if tasks.is_empty() {
                return Ok(());
            }
            let kernel = gpu.kernel(&shaders::optim::PROJECTION, defines, &[])?;
            let rounds = tasks.iter().map(|task| projected(task, lanes)).max().unwrap_or_default();
            let work = Work::strided(tasks.len() as u64, rounds);
            let tasks = recorder.table(tasks)?;
            let mut bindings = vec![
                Bind::whole("tasks", &tasks),
                Bind::whole("steps", &recorder.tables.steps),
                Bind::whole("sums", &sums),
                Bind::whole("partials", &partials),
            ];
            bindings.extend(group.map(|group| Bind::whole("coefficients", &coefficients[group])));
            recorder.recording.dispatch_with(gpu, &kernel, work, &block, bindings)
        };

        let small_lanes = gpu.target().lanes_of_few_sums();
        let small = if small_lanes == 8 { "LANES_8" } else { "LANES_64" };
        for (g, group) in groups.iter().enumerate() {
            let place = |tensor: usize| (rows[tensor], group.part(tensor));
            for b in group.batches.clone() {
                self.sums(&batches[b], &sums, &place)?;
            }
            let (few, many): (Vec<_>, Vec<_>) = projections.alone[g].iter().partition(|task| task.rows * task.segments <= FEW_SUMS);
            project(self, &[small], small_lanes.into(), &few, Some(g))?;
            project(self, &["LANES_256"], 256, &many, Some(g))?;
            project(self, &["LANES_256", "PARTIAL"], 256, &projections.blocks[g], Some(g))?;
        }
        project(self, &["LANES_256", "FINISH"], 256, &projections.finish, None)?;
        for (g, blocks) in projections.blocks.iter().enumerate() {
            project(self, &["LANES_256", "FILL"], 256, blocks, Some(g))?;
        }

        let pass = Pass::Apply { reads_gradient: projection.nesterov, writes_states: projection.writes_states };
        for (group, coefficients) in groups.iter().zip(&coefficients) {
            let coefficient = |tensor: usize| {
                let part = group.part(tensor);
                (part.coefficients.wrapping_sub(part.first) as u32, rows[tensor].columns)
            };
            for b in group.batches.clone() {
                self.elements(&batches[b], pass, Some((coefficients, &coefficient)))?;
            }
        }
        Ok(())
    }

    /// The first pass: states and sums by row.
    fn sums(&mut self, batch: &Batch, sums: &wgpu::Buffer, rows: &dyn Fn(usize) -> (Rows, Part)) -> Result<()> {
        for (class, tasks) in batch.row_tasks(rows) {
            let mut defines = Vec::new();
            defines.extend(class.straddle.then_some("STRADDLE"));
            defines.extend((class.cells == Cells::Scattered).then_some("SCATTERED"));
            // each invocation leaves a sum where barriers are dear
            defines.extend(self.gpu.target().is_software().then_some("PARTIAL_SUMS"));
            let kernel = self.kernel(Some((Pass::Advance, self.types(batch, class))), &defines, class.lanes)?;
            let elements = tasks.iter().map(|task| u64::from(task.rows) * u64::from(task.columns)).sum();
            let visited = tasks.iter().map(|task| u64::from(task.rows) * 16).sum();
            let row = |task: &RowTask| looped(task.rows.into(), summed(cells(task.columns, class) + 1) + SUM_RUNS);
            let work = work(tasks.len(), class, tasks.iter().map(row).max().unwrap_or_default());
            let tasks = self.table(&tasks)?;
            let mut bindings = self.bindings(batch, elements, Pass::Advance);
            bindings.extend([Bind::whole("tasks", &tasks), Bind { visited, ..Bind::whole("sums", sums) }]);
            self.recording.dispatch(self.gpu, &kernel, work, &bindings)?;
        }
        Ok(())
    }

    /// One elementwise pass.
    fn elements(&mut self, batch: &Batch, pass: Pass, projection: Option<(&wgpu::Buffer, &Coefficients)>) -> Result<()> {
        for (class, chunks) in batch.chunks(self.gpu, projection.map(|(_, coefficient)| coefficient)) {
            let mut defines = Vec::new();
            if projection.is_some() {
                defines.push("PROJECTION");
                defines.extend(match class.rows {
                    CellRows::One => Some("WHOLE_ROWS"),
                    CellRows::Two => None,
                    CellRows::Four => Some("SHORT_ROWS"),
                });
            }
            let kernel = self.kernel(Some((pass, self.types(batch, class))), &defines, class.lanes)?;
            let elements = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
            // of stochastic rounding, ten rounds for each of two words of random bits
            let longest = chunks.iter().map(|chunk| chunk.length).max().unwrap_or_default();
            let rounded = 1 + if self.options.state_dtype == DType::F32 { 0 } else { self.update.states.len() as u64 };
            let work = work(chunks.len(), class, looped(cells(longest, class), rounded * 2 * looped(10, 0)));
            let chunks = self.table(&chunks)?;
            let mut bindings = self.bindings(batch, elements, pass);
            bindings.push(Bind::whole("chunks", &chunks));
            bindings.extend(projection.map(|(coefficients, _)| Bind::whole("coefficients", coefficients)));
            self.recording.dispatch(self.gpu, &kernel, work, &bindings)?;
        }
        Ok(())
    }

    fn types(&self, batch: &Batch, class: Class) -> Types {
        Types {
            param: batch.param_dtype,
            grad: batch.grad_dtype,
            state: self.options.state_dtype,
            master: self.stores[batch.store].master.is_some(),
            stochastic: matches!(self.options.rounding, Rounding::Stochastic { .. }) && batch.param_dtype != DType::F32,
            cells: class.cells,
            shared: batch.shared(),
        }
    }

    /// What all passes bind, of a dispatch that visits `elements` elements.
    fn bindings<'b>(&self, batch: &'b Batch, elements: u64, pass: Pass) -> Vec<Bind<'b>>
    where
        'a: 'b,
    {
        let (tables, stores): (&'a Tables, &'a [Store]) = (self.tables, self.stores);
        let (window, store) = (&batch.param_window, &stores[batch.store]);
        // what is read and written is counted twice
        let with_grad = match batch.shared() && pass.reads_gradient() {
            true if pass == Pass::Advance => elements * batch.grad_dtype.size(),
            true => elements * batch.grad_dtype.size() / 2,
            false => 0,
        };
        let param = Bind {
            name: "param",
            buffer: &batch.param,
            offset: window.start,
            size: window.end - window.start,
            visited: elements * batch.param_dtype.size() + with_grad,
            foreign: false,
        };
        let grad = match &batch.grad_copy {
            Some(copy) => Bind { visited: elements * batch.grad_dtype.size(), ..Bind::whole("grad", copy) },
            None => grad(batch, elements),
        };
        let mut bindings = vec![Bind::whole("steps", &tables.steps), param, grad];
        for (i, (name, state)) in STATES.into_iter().zip(&store.states).enumerate() {
            let size = self.update.state_dtype(i, self.options.state_dtype).size();
            bindings.push(Bind { visited: elements * size, ..Bind::whole(name, state) });
        }
        bindings.extend(store.master.iter().map(|master| Bind { visited: elements * 4, ..Bind::whole("master", master) }));
        bindings
    }

    fn table<T: bytemuck::Pod>(&mut self, rows: &[T]) -> Result<wgpu::Buffer> {
        let bytes: &[u8] = bytemuck::cast_slice(rows);
        let Cache { tables, recordings, .. } = &mut *self.cache;
        let make = || self.gpu.buffer_with("gradus.optim.ranges", bytes, BufferUsages::STORAGE);
        found_or_made(tables, bytes, *recordings, make)
    }

    /// A buffer for what a step's dispatches leave to each other, number `index` of its kind.
    fn scratch(&mut self, label: &'static str, bytes: u64, index: usize) -> Result<wgpu::Buffer> {
        let Cache { scratch, recordings, .. } = &mut *self.cache;
        found_or_made(scratch, &(label, bytes, index), *recordings, || self.gpu.buffer(label, bytes, BufferUsages::STORAGE))
    }
}

/// The buffer under a key, now used by recording number `recording`.
fn found_or_made<K, Q>(
    buffers: &mut HashMap<K, (wgpu::Buffer, u64)>,
    key: &Q,
    recording: u64,
    make: impl FnOnce() -> Result<wgpu::Buffer>,
) -> Result<wgpu::Buffer>
where
    K: Eq + Hash + Borrow<Q>,
    Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
{
    if let Some((buffer, used)) = buffers.get_mut(key) {
        *used = recording;
        return Ok(buffer.clone());
    }
    let buffer = make()?;
    buffers.insert(key.to_owned(), (buffer.clone(), recording));
    Ok(buffer)
}

fn grad(batch: &Batch, elements: u64) -> Bind<'_> {
    let window = &batch.grad_window;
    Bind {
        name: "grad",
        buffer: &batch.grad,
        offset: window.start,
        size: window.end - window.start,
        visited: elements * batch.grad_dtype.size(),
        foreign: false,
    }
}

fn grad_define(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "GRAD_F16",
        DType::Bf16 => "GRAD_BF16",
        _ => "GRAD_F32",
    }
}

fn work(ranges: usize, class: Class, rounds: u64) -> Work {
    Work::strided(ranges.div_ceil(256 / class.lanes as usize) as u64, rounds)
}

/// The cells of an invocation in a range of so many elements.
fn cells(length: u32, class: Class) -> u64 {
    u64::from(length.div_ceil(4).div_ceil(class.lanes))
}

/// A bound on the rounds that `projection.wgsl` takes for a task with so many invocations, in each of its forms.
fn projected(task: &ProjectionTask, lanes: u64) -> u64 {
    if task.partials > 0 {
        return looped(u64::from(task.partials).div_ceil(lanes), 0) + SUM_RUNS;
    }
    let (rows, segments) = (u64::from(task.rows), u64::from(task.segments));
    let sums = match rows >= lanes || segments <= 4 {
        true => looped(rows.div_ceil(lanes), summed(segments)),
        false => looped(rows, summed(segments.div_ceil(lanes)) + SUM_RUNS),
    };
    sums + SUM_RUNS + looped(rows.div_ceil(lanes), 0)
}
