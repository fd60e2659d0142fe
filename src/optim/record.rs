//! The dispatches of a step.

use wgpu::BufferUsages;

use super::algorithm::Lowered;
use super::options::{LossScale, Options, Rounding};
use super::plan::{Batch, CellRows, Class, Coefficients, Part, Projections, Rows};
use crate::gpu::work::{SUM_RUNS, looped, summed};
use crate::gpu::{Bind, DType, Gpu, Recording, Tensor, Uniform, Work};
use crate::shaders::layout::{
    BiasCorrectionConstants, GlobalNormConstants, GlobalNormFinishConstants, ProjectionConstants, ProjectionPartial, ProjectionTask,
    RowTask,
};
use crate::{Result, shaders, vector};

/// Tensors of up to this many sums by row are projected by a small workgroup.
const FEW_SUMS: u32 = 1024;

/// The buffers of an optimizer that do not hold elements.
pub(super) struct Tables {
    /// `Control` of each tensor, as the host last set it.
    pub control: wgpu::Buffer,
    /// `Scalars` of each tensor.
    pub scalars: wgpu::Buffer,
    /// The step count of each tensor.
    pub steps: wgpu::Buffer,
    /// `GradientStatus`.
    pub status: wgpu::Buffer,
}

/// What a batch's elements are kept in, besides the caller's buffers.
pub(super) struct Store {
    pub states: Vec<wgpu::Buffer>,
    pub master: Option<wgpu::Buffer>,
}

pub(super) struct Recorder<'a> {
    pub gpu: &'a Gpu,
    pub lowered: &'a Lowered,
    pub options: &'a Options,
    pub tables: &'a Tables,
    pub recording: Recording,
}

impl Recorder<'_> {
    /// Everything: the gradients' norm if asked for, the scalars, the elements.
    pub fn step(&mut self, tensors: &[(&str, &Tensor, &Tensor)], batches: &[Batch], stores: &[Store]) -> Result<()> {
        if tensors.is_empty() {
            return Ok(());
        }
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
        self.bias_correction(tensors.len())?;
        let [constants] = self.gpu.uniforms([&self.lowered.constants])?;
        match self.lowered.projection {
            Some(_) => self.projected(tensors, batches, stores, &constants),
            None => batches.iter().zip(stores).try_for_each(|(batch, store)| self.elements(batch, store, &constants, &[], None)),
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
        let partials = self.gpu.buffer("gradus.optim.partials", u64::from(end.max(1)) * 16, BufferUsages::STORAGE)?;
        for (batch, class, chunks, work, partial) in parts {
            let mut defines = vec!["PARTIAL", grad_define(batch.grad_dtype)];
            defines.extend(class.scalar.then_some("SCALAR"));
            let kernel = self.gpu.kernel(source, &defines, &[("LANES", class.lanes)])?;
            let elements = chunks.iter().map(|chunk| u64::from(chunk.length)).sum::<u64>();
            let chunks = self.table(&chunks)?;
            let bindings = vec![
                Bind::whole("chunks", &chunks),
                Bind::whole("control", &self.tables.control),
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

    fn bias_correction(&mut self, tensors: usize) -> Result<()> {
        let Lowered { rule, betas, lr_decay, blend, maximize, .. } = *self.lowered;
        let kernel = self.gpu.kernel(&shaders::optim::BIAS_CORRECTION, &[], &[("RULE", rule as u32)])?;
        let constants = BiasCorrectionConstants {
            beta1: fixed_point(betas[0]),
            beta2: fixed_point(betas[1]),
            lr_decay: lr_decay as f32,
            first_blend: blend[0] as f32,
            blend: blend[1] as f32,
            sign: if maximize { -1.0 } else { 1.0 },
        };
        let bindings = vec![
            Bind::whole("control", &self.tables.control),
            Bind::whole("scalars", &self.tables.scalars),
            Bind::whole("steps", &self.tables.steps),
            Bind::whole("status", &self.tables.status),
        ];
        // two powers of 32 bits a tensor, with a margin
        let work = Work::strided(tensors.div_ceil(64) as u64, 8 * looped(32, 0));
        self.recording.dispatch_with(self.gpu, &kernel, work, &constants, bindings)
    }

    /// The two passes of AdamP and SGDP, with the projection between them.
    fn projected(&mut self, tensors: &[(&str, &Tensor, &Tensor)], batches: &[Batch], stores: &[Store], constants: &Uniform) -> Result<()> {
        let Some(projection) = self.lowered.projection else { return Ok(()) };
        let gpu = self.gpu;
        let rows: Vec<Rows> = tensors.iter().map(|(_, param, _)| Rows::of(gpu, param)).collect();
        let groups = super::plan::groups(gpu, &rows, batches);
        let projections = Projections::new(gpu, tensors, &rows, &groups);
        let buffer = |label: &str, bytes: u64| gpu.buffer(label, bytes, BufferUsages::STORAGE);
        // a group's sums have been used when those of the next are made
        let sums = buffer("gradus.optim.sums", 16 * groups.iter().map(|group| group.sums).max().unwrap_or_default())?;
        let partials = buffer("gradus.optim.partials", size_of::<ProjectionPartial>() as u64 * projections.partials)?;
        let coefficients: Vec<wgpu::Buffer> =
            groups.iter().map(|group| buffer("gradus.optim.coefficients", 4 * group.coefficients)).collect::<Result<_>>()?;
        let nesterov = projection.nesterov.then_some("NESTEROV");
        let block = ProjectionConstants { delta: projection.delta as f32, eps: projection.eps as f32 };
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
                Bind::whole("scalars", &recorder.tables.scalars),
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
                self.sums(&batches[b], &stores[b], constants, &sums, nesterov, &place)?;
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

        let mut defines = vec!["APPLY", "PROJECTION"];
        defines.extend(nesterov);
        defines.extend((!projection.nesterov).then_some("NO_GRAD"));
        defines.extend((!projection.writes_states).then_some("READ_STATES"));
        for (group, coefficients) in groups.iter().zip(&coefficients) {
            let coefficient = |tensor: usize| {
                let part = group.part(tensor);
                (part.coefficients.wrapping_sub(part.first) as u32, rows[tensor].columns)
            };
            for b in group.batches.clone() {
                self.elements(&batches[b], &stores[b], constants, &defines, Some((coefficients, &coefficient)))?;
            }
        }
        Ok(())
    }

    /// The first pass: states and sums by row.
    fn sums(
        &mut self,
        batch: &Batch,
        store: &Store,
        constants: &Uniform,
        sums: &wgpu::Buffer,
        nesterov: Option<&'static str>,
        rows: &dyn Fn(usize) -> (Rows, Part),
    ) -> Result<()> {
        for (class, tasks) in batch.row_tasks(rows) {
            let mut defines = self.defines(batch, store, class);
            defines.push("SUMS");
            defines.extend(class.straddle.then_some("STRADDLE"));
            defines.extend(nesterov);
            // each invocation leaves a sum where barriers are dear
            defines.extend(self.gpu.target().is_software().then_some("PARTIAL_SUMS"));
            let kernel = self.gpu.kernel(self.lowered.kernel.0, &defines, &[("LANES", class.lanes)])?;
            let elements = tasks.iter().map(|task| u64::from(task.rows) * u64::from(task.columns)).sum();
            let visited = tasks.iter().map(|task| u64::from(task.rows) * 16).sum();
            let row = |task: &RowTask| looped(task.rows.into(), summed(cells(task.columns, class) + 1) + SUM_RUNS);
            let work = work(tasks.len(), class, tasks.iter().map(row).max().unwrap_or_default());
            let tasks = self.table(&tasks)?;
            let mut bindings = Self::bindings(self.tables, batch, store, constants, elements, true);
            bindings.extend([Bind::whole("tasks", &tasks), Bind { visited, ..Bind::whole("sums", sums) }]);
            self.recording.dispatch(self.gpu, &kernel, work, &bindings)?;
        }
        Ok(())
    }

    /// One elementwise pass.
    fn elements(
        &mut self,
        batch: &Batch,
        store: &Store,
        constants: &Uniform,
        more: &[&'static str],
        projection: Option<(&wgpu::Buffer, &Coefficients)>,
    ) -> Result<()> {
        for (class, chunks) in batch.chunks(self.gpu, projection.map(|(_, coefficient)| coefficient)) {
            let mut defines = self.defines(batch, store, class);
            defines.extend(more);
            if projection.is_some() {
                defines.extend(match class.rows {
                    CellRows::One => Some("WHOLE_ROWS"),
                    CellRows::Two => None,
                    CellRows::Four => Some("SHORT_ROWS"),
                });
            }
            let kernel = self.gpu.kernel(self.lowered.kernel.0, &defines, &[("LANES", class.lanes)])?;
            let elements = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
            // of stochastic rounding, ten rounds for each of two words of random bits
            let longest = chunks.iter().map(|chunk| chunk.length).max().unwrap_or_default();
            let work = work(chunks.len(), class, looped(cells(longest, class), 2 * looped(10, 0)));
            let chunks = self.table(&chunks)?;
            let mut bindings = Self::bindings(self.tables, batch, store, constants, elements, false);
            bindings.push(Bind::whole("chunks", &chunks));
            bindings.extend(projection.map(|(coefficients, _)| Bind::whole("coefficients", coefficients)));
            self.recording.dispatch(self.gpu, &kernel, work, &bindings)?;
        }
        Ok(())
    }

    fn defines(&self, batch: &Batch, store: &Store, class: Class) -> Vec<&'static str> {
        let mut defines = self.lowered.defines.clone();
        defines.push(match batch.param_dtype {
            DType::F16 => "PARAM_F16",
            DType::Bf16 => "PARAM_BF16",
            _ => "PARAM_F32",
        });
        defines.push(grad_define(batch.grad_dtype));
        defines.extend(["STATE_0", "STATE_1", "STATE_2"].iter().take(store.states.len()));
        defines.extend(store.master.is_some().then_some("MASTER"));
        let stochastic = matches!(self.options.rounding, Rounding::Stochastic { .. }) && batch.param_dtype != DType::F32;
        defines.extend(stochastic.then_some("STOCHASTIC"));
        defines.extend(class.scalar.then_some("SCALAR"));
        defines.extend(batch.shared().then_some("SHARED"));
        defines
    }

    /// What both traversals bind, of a dispatch that visits `elements` elements.
    fn bindings<'b>(
        tables: &'b Tables,
        batch: &'b Batch,
        store: &'b Store,
        constants: &'b Uniform,
        elements: u64,
        sums: bool,
    ) -> Vec<Bind<'b>> {
        let window = &batch.param_window;
        // what is written is counted twice
        let with_grad = match batch.shared() {
            true if sums => elements * batch.grad_dtype.size(),
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
        let mut bindings = vec![Bind::uniform("constants", constants), Bind::whole("scalars", &tables.scalars), param, grad];
        for (name, state) in ["state_0", "state_1", "state_2"].into_iter().zip(&store.states) {
            bindings.push(Bind { visited: elements * 4, ..Bind::whole(name, state) });
        }
        bindings.extend(store.master.iter().map(|master| Bind { visited: elements * 4, ..Bind::whole("master", master) }));
        bindings
    }

    fn table<T: bytemuck::Pod>(&self, rows: &[T]) -> Result<wgpu::Buffer> {
        self.gpu.buffer_with("gradus.optim.ranges", bytemuck::cast_slice(rows), BufferUsages::STORAGE)
    }
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

/// A number below 1 in units of 2^-64, as (low word, high word).
fn fixed_point(x: f64) -> [u32; 2] {
    let units = (x * 2f64.powi(64)) as u64;
    [units as u32, (units >> 32) as u32]
}
