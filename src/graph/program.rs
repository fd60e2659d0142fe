//! A plan on a device: buffers, and the dispatches of each stage.

use std::collections::{HashMap, HashSet};

use wgpu::BufferUsages;

use super::build::{Graph, Id, Var};
use super::emit::{Buffer, Emitter, Loads, NotVector};
use super::gathering;
use super::kernels::{self, Cut, Place as OperandPlace, Reduction};
use super::op::Op;
use super::plan::{Kernel, Kind, MAX_BUFFERS, Output, Place, Plan, Stage};
use super::product::{Operand, Product, TILES};
use crate::gpu::work::{looped, run_of_block, summed};
use crate::gpu::{Bind, DType, Generated, Gpu, KernelSource, Recording, Target, Tensor, Work};
use crate::shaders::layout::{PointwiseConstants, ReduceAxesConstants};
use crate::{Error, Result, shaders, vector};

/// A [`Plan`] on a device: it owns the buffers of values between leaves and outputs, and records the stages.
pub struct Program {
    gpu: Gpu,
    plan: Plan,
    slots: Vec<Tensor>,
    bound: Bindings,
}

/// The tensors of leaves and of outputs.
#[derive(Clone, Default)]
struct Bindings {
    leaves: HashMap<Id, Tensor>,
    outputs: Vec<Option<Tensor>>,
}

impl Plan {
    /// Plans the recordings of `stages`, to be made in this order; each may use what those before have computed.
    /// No memory of the device is taken yet.
    ///
    /// # Errors
    /// [`Error::Unknown`] for values of another graph, [`Error::Operation`] if an output is of indices or a stage
    /// needs what changes only later.
    pub fn new(gpu: &Gpu, graph: &Graph, stages: &[Stage]) -> Result<Self> {
        graph.plan(stages, gpu.target(), false)
    }

    /// [`Plan::new`] with values between convolutions stored as 16-bit floats, where kernels can. Arithmetic is in f32.
    pub(crate) fn with_halves(gpu: &Gpu, graph: &Graph, stages: &[Stage]) -> Result<Self> {
        graph.plan(stages, gpu.target(), true)
    }

    /// Whether a value is stored as 16-bit floats.
    fn in_halves(&self, id: Id) -> bool {
        self.stored.get(&id).is_some_and(|&storage| self.storages[storage].halves)
    }

    fn holds_halves(&self, buffer: Buffer) -> bool {
        match buffer {
            Buffer::Value(id) => self.in_halves(id),
            Buffer::Storage(storage) => self.storages[storage].halves,
            Buffer::Partials => false,
        }
    }

    /// Whether the result of a kernel is of 16-bit floats.
    pub(super) fn stores_pairs(&self, kernel: &Kernel) -> bool {
        kernel.stores.iter().any(|&(id, _)| self.in_halves(id))
    }

    /// What a kernel multiplies, if it is a product for a GPU.
    pub(super) fn product(&self, kernel: &Kernel, target: &Target, pairs: bool) -> Option<Product> {
        if target.is_software() { None } else { Product::new(&self.graph, &kernel.terms, &kernel.operands, pairs) }
    }

    /// How many partial results the main root of a kernel has.
    pub(crate) fn parts(&self, kernel: &Kernel, target: &Target) -> Result<u32> {
        let main = kernel.roots[0];
        match kernel.kind {
            Kind::Pointwise | Kind::Recorded => Ok(1),
            Kind::Reduce => Ok(kernels::cut(target, &kernels::reduction(&self.graph, main)).parts),
            Kind::Template => {
                if let Some(product) = self.product(kernel, target, false) {
                    return Ok(product.shape.cut().parts);
                }
                let places: Vec<OperandPlace> =
                    kernel.operands.iter().map(|_| OperandPlace { offset: 0, vec4: true, halves: false }).collect();
                Ok(self.graph.template(target, &kernel.terms, &kernel.operands, &places, false)?.parts)
            }
        }
    }

    /// Takes the memory for values between leaves and outputs, and for outputs that are not bound. `bindings`
    /// are tensors for leaves and outputs, of f32 (indices: u32) and the shape of the value; outputs must not overlap any
    /// other. Leaves that change before a stage, and its outputs, may be bound when the stage is recorded.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::DType`], [`Error::ForeignDevice`], [`Error::Overlap`]; [`Error::Unknown`] for a value that is no leaf and no
    /// output; [`Error::OutOfMemory`], [`Error::LimitTooSmall`].
    pub fn compile(&self, gpu: &Gpu, bindings: &[(Var, &Tensor)]) -> Result<Program> {
        self.compile_beside(gpu, bindings, None)
    }

    /// [`Plan::compile`] with the memory of another program, as far as it is large enough: neither may need what it has
    /// left there after the other has run.
    pub(crate) fn compile_beside(&self, gpu: &Gpu, bindings: &[(Var, &Tensor)], other: Option<&Program>) -> Result<Program> {
        let empty = Bindings { leaves: HashMap::new(), outputs: vec![None; self.outputs.len()] };
        let mut bound = self.bind(gpu, &empty, bindings, None)?;
        for (output, tensor) in self.outputs.iter().zip(&mut bound.outputs) {
            if tensor.is_none() && !output.late {
                *tensor = Some(Tensor::zeros(gpu, self.graph.dims(output.id), DType::F32)?);
            }
        }
        let limit = gpu.binding_limit();
        let slots = self.slots.iter().enumerate().map(|(i, &bytes)| match other.and_then(|other| other.slots.get(i)) {
            _ if bytes > limit => {
                let what = "a value of the graph".to_owned();
                Err(Error::LimitTooSmall { limit: "max_storage_buffer_binding_size", what, needed: bytes, found: limit })
            }
            Some(slot) if slot.bytes() >= bytes => Ok(slot.clone()),
            _ => Tensor::zeros(gpu, &[(bytes / 4) as usize], DType::F32),
        });
        Ok(Program { gpu: gpu.clone(), plan: self.clone(), slots: slots.collect::<Result<_>>()?, bound })
    }

    /// Adds bindings to those known, of outputs of one stage or of all. A value that is an output several times, a
    /// constant say, is bound as often: the first binding is that of the first. That of a leaf comes before all, unless
    /// the leaf is bound already and does not change: then its bindings are those of outputs.
    fn bind(&self, gpu: &Gpu, known: &Bindings, bindings: &[(Var, &Tensor)], stage: Option<usize>) -> Result<Bindings> {
        let mut bound = known.clone();
        let mut taken = vec![false; self.outputs.len()];
        let mut leaves = HashSet::new();
        let fixed = |id: Id| known.leaves.contains_key(&id) && !self.changing.contains(&id);
        for &(var, tensor) in bindings {
            let id = self.graph.check(var)?;
            let name = self.name(id);
            let dtype = if self.graph.is_integer(id) { DType::U32 } else { DType::F32 };
            tensor.expect_on(&name, gpu)?;
            tensor.expect_dtype(&name, &[dtype])?;
            tensor.expect_shape(&name, self.graph.dims(id))?;
            let of_stage = |output: &Output| output.id == id && stage.is_none_or(|stage| output.stage == stage);
            let output = self.outputs.iter().enumerate().position(|(i, output)| of_stage(output) && !taken[i]);
            match output {
                _ if self.graph.node(id).op.is_leaf() && !(output.is_some() && fixed(id)) && leaves.insert(id) => {
                    bound.leaves.insert(id, tensor.clone());
                }
                Some(output) => {
                    taken[output] = true;
                    bound.outputs[output] = Some(tensor.clone());
                }
                None => return Err(Error::Unknown { what: "leaf or output of the plan", name }),
            }
        }
        for (i, output) in bound.outputs.iter().enumerate() {
            let Some(output) = output else { continue };
            let name = self.name(self.outputs[i].id);
            for (&leaf, tensor) in &bound.leaves {
                output.expect_apart(&name, tensor, &self.name(leaf))?;
            }
            for (j, other) in bound.outputs.iter().enumerate().take(i) {
                if let Some(other) = other {
                    output.expect_apart(&name, other, &self.name(self.outputs[j].id))?;
                }
            }
        }
        Ok(bound)
    }

    fn name(&self, id: Id) -> String {
        match &self.graph.node(id).op {
            Op::Input(name) | Op::Indices(name) | Op::Parameter(name) => name.clone(),
            _ => format!("%{id}"),
        }
    }
}

impl Program {
    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The tensor of an output, or of a leaf.
    ///
    /// # Errors
    /// [`Error::Unknown`] if it is neither, or not bound.
    pub fn tensor(&self, var: Var) -> Result<&Tensor> {
        let id = self.plan.graph.check(var)?;
        let output = || {
            let mut all = self.plan.outputs.iter().zip(&self.bound.outputs);
            all.find_map(|(output, tensor)| tensor.as_ref().filter(|_| output.id == id))
        };
        let unknown = || Error::Unknown { what: "bound leaf or output of the program", name: self.plan.name(id) };
        self.bound.leaves.get(&id).or_else(output).ok_or_else(unknown)
    }

    /// The recording of a stage.
    ///
    /// # Errors
    /// As [`Program::record`].
    pub fn recording(&self, stage: usize) -> Result<Recording> {
        let mut recording = Recording::new();
        self.record(&mut recording, stage, &[])?;
        Ok(recording)
    }

    /// Appends the dispatches of a stage, with further or other `bindings` of leaves that change before it and of
    /// its outputs.
    ///
    /// # Errors
    /// As [`Plan::compile`]; [`Error::Unknown`] if there is no such stage, or a leaf or output of it is not bound;
    /// [`Error::Pipeline`].
    pub fn record(&self, recording: &mut Recording, stage: usize, bindings: &[(Var, &Tensor)]) -> Result<()> {
        if stage >= self.plan.stages {
            return Err(Error::Unknown { what: "stage of the plan", name: stage.to_string() });
        }
        let bound = self.plan.bind(&self.gpu, &self.bound, bindings, Some(stage))?;
        let mut own = recording.branch();
        for kernel in self.plan.kernels.iter().filter(|kernel| kernel.stage == stage) {
            Recorder { program: self, bound: &bound, kernel }.record(&mut own)?;
        }
        recording.extend(own);
        Ok(())
    }
}

impl Program {
    /// The same program with another `Gpu` of the same device.
    pub(super) fn on(&self, gpu: &Gpu) -> Self {
        Self { gpu: gpu.clone(), plan: self.plan.clone(), slots: self.slots.clone(), bound: self.bound.clone() }
    }

    /// Appends the dispatches of one kernel.
    pub(super) fn record_kernel(&self, recording: &mut Recording, kernel: usize) -> Result<()> {
        Recorder { program: self, bound: &self.bound, kernel: &self.plan.kernels[kernel] }.record(recording)
    }
}

/// A tensor, how many elements of its binding lie before it, and whether the binding may hold vectors.
struct Located {
    tensor: Tensor,
    vec4: bool,
}

struct Recorder<'a> {
    program: &'a Program,
    bound: &'a Bindings,
    kernel: &'a Kernel,
}

impl Recorder<'_> {
    fn record(&self, recording: &mut Recording) -> Result<()> {
        let (plan, gpu) = (&self.program.plan, &self.program.gpu);
        let kernel = self.kernel;
        let in_memory = |id: Id| (plan.stored.contains_key(&id) && !kernel.roots.contains(&id)) || plan.graph.node(id).op.is_leaf();
        let vec4 = |buffer: Buffer| self.located(buffer).is_ok_and(|located| located.vec4);
        let halves = |buffer: Buffer| plan.holds_halves(buffer);
        let emitter = |width: usize| Emitter::new(&plan.graph, width, &in_memory, &vec4, &halves);
        let main = kernel.roots.first().or(kernel.stores.first().map(|(id, _)| id)).copied().unwrap_or_default();
        match kernel.kind {
            Kind::Pointwise => {
                let elements: usize = plan.graph.dims(main).iter().product();
                let generate = |width: usize| {
                    let mut emitter = emitter(width);
                    emitter.cell(&kernel.roots, &kernel.stores).map(|()| emitter.finish())
                };
                let wide = if elements.is_multiple_of(4) { generate(4).ok().map(|code| (code, 4)) } else { None };
                let (code, width) = match wide {
                    Some(wide) => wide,
                    None => (generate(1).map_err(|_| ungenerated())?, 1),
                };
                let cells = (elements / width) as u64;
                let block = gpu.target().block(cells);
                let constants = PointwiseConstants { count: cells as u32, block: block as u32 };
                let work = Work::strided(cells.div_ceil(block), run_of_block(block));
                self.dispatch(recording, &shaders::graph::POINTWISE, &[], bytemuck::bytes_of(&constants), work, code, &[])
            }
            Kind::Reduce => {
                let (Op::Sum(axes) | Op::Max(axes)) = &plan.graph.node(main).op else { return Err(ungenerated()) };
                let reduction = kernels::reduction(&plan.graph, main);
                let input = plan.graph.node(main).inputs[0];
                let generate = |width: usize| -> Result<_, NotVector> {
                    let mut emitter = emitter(width);
                    emitter.term(input, axes)?;
                    match kernel.partials {
                        Some((storage, _)) => emitter.plain_store(storage),
                        None => emitter.store_scalar(&kernel.roots, &kernel.stores)?,
                    }
                    Ok(emitter.finish())
                };
                let (code, width) = match generate(4) {
                    Ok(code) => (code, 4),
                    Err(_) => (generate(1).map_err(|_| ungenerated())?, 1),
                };
                self.reduce(recording, &reduction, &kernels::cut(gpu.target(), &reduction), width == 4, code)?;
                self.finish(recording)
            }
            Kind::Template => {
                let pairs = plan.stores_pairs(kernel);
                if let Some(product) = plan.product(kernel, gpu.target(), pairs) {
                    self.product(recording, &product, pairs, emitter(4))?;
                    return self.finish(recording);
                }
                let mut places = Vec::new();
                let mut operands = Vec::new();
                for view in &kernel.operands {
                    let located = self.located(Buffer::Value(view.base))?;
                    places.push(OperandPlace {
                        offset: self.before(&located.tensor) / 4,
                        vec4: located.vec4,
                        halves: plan.in_halves(view.base),
                    });
                    operands.push(located.tensor);
                }
                let template = plan.graph.template(gpu.target(), &kernel.terms, &kernel.operands, &places, pairs)?;
                let mut bindings: Vec<(&'static str, Tensor)> = template.operands.iter().copied().zip(operands).collect();
                if let [_, (gathering::SORTED, indices)] = &mut bindings[..] {
                    let rows = plan.graph.rows_scattered(main);
                    let offset = indices.offset() + 4 * kernel.operands[1].offset as u64;
                    let own = indices.within(offset, &[rows.count as usize], DType::U32)?;
                    *indices = gathering::sort(gpu, recording, &rows, &own)?;
                }
                if kernel.partials.map_or(1, |(_, parts)| parts) != template.parts {
                    return Err(ungenerated());
                }
                if let Op::MaxPoolIndices(_) = plan.graph.node(main).op {
                    return self.places(recording, &template, bindings);
                }
                let mut emitter = emitter(1);
                match kernel.partials {
                    Some((storage, _)) => emitter.plain_store(storage),
                    None => emitter.store_scalar(&kernel.roots, &kernel.stores).map_err(|_| ungenerated())?,
                }
                let defines: Vec<&'static str> = template.defines.clone();
                let code = emitter.finish();
                self.dispatch_template(
                    recording,
                    template.source,
                    &defines,
                    &template.overrides,
                    &template.uniform,
                    template.work,
                    code,
                    &bindings,
                    &|_| 1,
                )?;
                self.finish(recording)
            }
            Kind::Recorded => self.products(recording, main),
        }
    }

    /// A product or a convolution by `shaders/graph/product.wgsl`; `emitter` is for vectors.
    fn product(&self, recording: &mut Recording, product: &Product, pairs: bool, mut emitter: Emitter<'_>) -> Result<()> {
        if self.kernel.partials.map_or(1, |(_, parts)| parts) != product.shape.cut().parts {
            return Err(ungenerated());
        }
        let tile = &TILES[product.shape.tile(self.program.gpu.target())];
        let generate = |emitter: &mut Emitter<'_>| -> Result<_, NotVector> {
            let modes = [operands(emitter, product, 0)?, operands(emitter, product, 1)?];
            Ok((modes, self.stores(emitter, product, pairs)?))
        };
        generate(&mut emitter).map_err(|_| ungenerated())?;
        let mut emitter = emitter.again();
        let (modes, store) = generate(&mut emitter).map_err(|_| ungenerated())?;
        let mut defines = product.defines(tile);
        defines.push(store);
        let overrides = product.overrides(tile, modes.map(|mode| mode as u32));
        let constants = product.constants(tile);
        let (source, uniform) = (&shaders::graph::PRODUCT, bytemuck::bytes_of(&constants));
        // an operand is read once for each tile along the other side
        let times = |id: Id| {
            let reads = product.terms.iter().flatten().zip(product.reads(tile).into_iter().cycle());
            reads.filter(|(operand, _)| operand.value == id).map(|(_, times)| times).sum::<u64>().max(1)
        };
        self.dispatch_template(recording, source, &defines, &overrides, uniform, product.work(tile), emitter.finish(), &[], &times)
    }

    /// How results of a product are stored: the permutation of the template that it takes.
    fn stores(&self, emitter: &mut Emitter<'_>, product: &Product, pairs: bool) -> Result<&'static str, NotVector> {
        let kernel = self.kernel;
        if pairs {
            return emitter.store_scalar(&kernel.roots, &kernel.stores).map(|()| "PAIRS");
        }
        if product.stores_vectors() {
            let state = emitter.state();
            let stored = match kernel.partials {
                Some((storage, _)) => emitter.plain_store_vector(storage),
                None => emitter.store_vector(&kernel.roots, &kernel.stores),
            };
            match stored {
                Ok(()) => return Ok("STORE4"),
                Err(NotVector) => emitter.back_to(state),
            }
        }
        match kernel.partials {
            Some((storage, _)) => emitter.plain_store(storage),
            None => emitter.store_scalar(&kernel.roots, &kernel.stores)?,
        }
        Ok("STORE")
    }

    /// The products of a matrix of the caller's with one vector after another.
    fn products(&self, recording: &mut Recording, main: Id) -> Result<()> {
        let (graph, gpu) = (&self.program.plan.graph, &self.program.gpu);
        let (Op::Linear(map), [operand], [(_, storage)]) = (&graph.node(main).op, &self.kernel.operands[..], &self.kernel.stores[..])
        else {
            return Err(ungenerated());
        };
        let x = self.located(Buffer::Value(operand.base))?.tensor;
        let y = self.located(Buffer::Storage(*storage))?.tensor;
        let elements: usize = graph.dims(main).iter().product();
        // a dispatch cannot read and write one buffer, and those of the caller's need not know
        let aside = if y.shares_buffer(&x) { Some(Tensor::zeros(gpu, &[elements], DType::F32)?) } else { None };
        let to = aside.as_ref().unwrap_or(&y);
        let part = |tensor: &Tensor, i: usize, n: usize| tensor.within(tensor.offset() + 4 * (i * n) as u64, &[n], DType::F32);
        for i in 0..elements / map.rows() {
            map.record(recording, &part(&x, i, map.columns())?, &part(to, i, map.rows())?)?;
        }
        match &aside {
            Some(aside) => vector::copy(gpu, recording, aside, &part(&y, 0, elements)?),
            None => Ok(()),
        }
    }

    /// Reduces the partial results, if there are any.
    fn finish(&self, recording: &mut Recording) -> Result<()> {
        let Some((_, parts)) = self.kernel.partials else { return Ok(()) };
        let plan = &self.program.plan;
        let kernel = self.kernel;
        let in_memory = |id: Id| (plan.stored.contains_key(&id) && !kernel.roots.contains(&id)) || plan.graph.node(id).op.is_leaf();
        let vec4 = |_: Buffer| false;
        let halves = |buffer: Buffer| plan.holds_halves(buffer);
        let mut emitter = Emitter::new(&plan.graph, 1, &in_memory, &vec4, &halves);
        let outputs: usize = plan.graph.dims(kernel.roots[0]).iter().product();
        emitter.partial_term(outputs);
        emitter.store_scalar(&kernel.roots, &kernel.stores).map_err(|_| ungenerated())?;
        let reduction = Reduction { outputs, length: parts as usize, rows: false };
        let whole = Cut::whole(self.program.gpu.target(), &reduction);
        self.reduce(recording, &reduction, &whole, false, emitter.finish())
    }

    fn reduce(
        &self,
        recording: &mut Recording,
        reduction: &Reduction,
        cut: &Cut,
        vector: bool,
        code: (Generated, Vec<Buffer>),
    ) -> Result<()> {
        let mut defines = Vec::new();
        if vector {
            defines.push("VECTOR");
        }
        if matches!(self.program.plan.graph.node(self.kernel.roots[0]).op, Op::Max(_)) {
            defines.push("MAX");
        }
        let sequential = self.program.gpu.target().is_software();
        match sequential {
            true => defines.push("SEQUENTIAL"),
            false => defines.extend((!reduction.rows).then_some("COLUMNS")),
        }
        let (outputs, length) = (reduction.outputs as u32, reduction.length as u32);
        let constants = ReduceAxesConstants { outputs, length, parts: cut.parts, part: cut.part };
        let lanes = u64::from(cut.lanes);
        let terms = u64::from(cut.part).div_ceil(if vector { 4 * lanes } else { lanes });
        let (outputs, parts) = (u64::from(outputs), u64::from(cut.parts));
        let (jobs, overrides) = match sequential {
            true => ((outputs * parts).div_ceil(64), vec![]),
            false => (outputs.div_ceil(256 / lanes) * parts, vec![("LANES", cut.lanes)]),
        };
        let work = Work::strided(jobs, summed(terms) + looped(lanes.ilog2().into(), 0));
        let constants = bytemuck::bytes_of(&constants);
        self.dispatch_template(recording, &shaders::graph::REDUCE, &defines, &overrides, constants, work, code, &[], &|_| 1)
    }

    /// The one kernel whose result is not of floats.
    fn places(&self, recording: &mut Recording, template: &super::template::Template, operands: Vec<(&'static str, Tensor)>) -> Result<()> {
        let gpu = &self.program.gpu;
        let mut defines = template.defines.clone();
        defines.extend(recording.is_gated().then_some("GATED"));
        let kernel = gpu.kernel(template.source, &defines, &template.overrides)?;
        let constants = gpu.buffer_with(kernel.label(), &template.uniform, BufferUsages::UNIFORM)?;
        let Some(&(_, storage)) = self.kernel.stores.first() else { return Ok(()) };
        let out = self.located(Buffer::Storage(storage))?.tensor;
        let mut bindings = vec![Bind::whole("constants", &constants), Bind::tensor(gpu, "out", &out).0];
        bindings.extend(operands.iter().map(|(name, tensor)| Bind::tensor(gpu, name, tensor).0));
        recording.dispatch(gpu, &kernel, template.work, &bindings)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of a dispatch, each once")]
    fn dispatch(
        &self,
        recording: &mut Recording,
        source: &'static KernelSource,
        defines: &[&'static str],
        constants: &[u8],
        work: Work,
        code: (Generated, Vec<Buffer>),
        operands: &[(&'static str, Tensor)],
    ) -> Result<()> {
        self.dispatch_template(recording, source, defines, &[], constants, work, code, operands, &|_| 1)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of a dispatch, each once")]
    fn dispatch_template(
        &self,
        recording: &mut Recording,
        source: &'static KernelSource,
        defines: &[&'static str],
        overrides: &[(&'static str, u32)],
        constants: &[u8],
        work: Work,
        (generated, buffers): (Generated, Vec<Buffer>),
        operands: &[(&'static str, Tensor)],
        times: &dyn Fn(Id) -> u64,
    ) -> Result<()> {
        let gpu = &self.program.gpu;
        let mut located = buffers.iter().map(|&buffer| Ok(self.located(buffer)?.tensor)).collect::<Result<Vec<Tensor>>>()?;
        // a buffer cannot be read and written by one dispatch: such results go by way of another buffer
        let mut copies = Vec::new();
        let read: Vec<Tensor> = buffers
            .iter()
            .zip(&located)
            .filter(|(buffer, _)| !matches!(buffer, Buffer::Storage(_)))
            .map(|(_, tensor)| tensor.clone())
            .collect();
        let mut written: Vec<Tensor> = Vec::new();
        for (buffer, tensor) in buffers.iter().zip(&mut located) {
            if !matches!(buffer, Buffer::Storage(_)) {
                continue;
            }
            let shared = read.iter().chain(operands.iter().map(|(_, tensor)| tensor)).any(|other| other.shares_buffer(tensor));
            // nor may two results be in one range of a binding's alignment
            if shared || written.iter().any(|other| Bind::ranges_overlap(gpu, other, tensor)) {
                let aside = Tensor::zeros(gpu, tensor.shape(), DType::F32)?;
                copies.push((aside.clone(), std::mem::replace(tensor, aside)));
            } else {
                written.push(tensor.clone());
            }
        }
        let mut defines = defines.to_vec();
        if recording.is_gated() && located.len() + operands.len() < MAX_BUFFERS {
            defines.push("GATED");
        }
        let kernel = gpu.generated_kernel(source, &defines, overrides, &generated)?;
        // and zeros: see `Emitter`
        let mut offsets = [0u32; 12];
        let mut bindings = Vec::new();
        for (b, tensor) in located.iter().enumerate() {
            let name = generated.bindings[b + 1].name;
            let (bind, before) = Bind::tensor(gpu, name, tensor);
            offsets[b] = (before / 4) as u32;
            let times = if let Buffer::Value(id) = buffers[b] { times(id) } else { 1 };
            bindings.push(Bind { visited: bind.visited * times, ..bind });
        }
        bindings.extend(operands.iter().map(|(name, tensor)| Bind::tensor(gpu, name, tensor).0));
        let constants = gpu.buffer_with(kernel.label(), constants, BufferUsages::UNIFORM)?;
        let offsets = gpu.buffer_with(kernel.label(), bytemuck::bytes_of(&offsets), BufferUsages::UNIFORM)?;
        bindings.push(Bind::whole("constants", &constants));
        bindings.push(Bind::whole("offsets", &offsets));
        recording.dispatch(gpu, &kernel, work, &bindings)?;
        for (aside, tensor) in copies {
            vector::copy(gpu, recording, &aside, &tensor)?;
        }
        Ok(())
    }

    /// How many bytes of its binding lie before a tensor.
    fn before(&self, tensor: &Tensor) -> u64 {
        Bind::tensor(&self.program.gpu, "", tensor).1
    }

    fn located(&self, buffer: Buffer) -> Result<Located> {
        let plan = &self.program.plan;
        let unbound = |id: Id| Error::Unknown { what: "binding of the value", name: plan.name(id) };
        let storage = match buffer {
            Buffer::Storage(storage) => storage,
            Buffer::Partials => self.kernel.partials.map_or(0, |(storage, _)| storage),
            Buffer::Value(id) => match plan.stored.get(&id) {
                Some(&storage) => storage,
                None => {
                    let tensor = self.bound.leaves.get(&id).ok_or_else(|| unbound(id))?;
                    return Ok(located(tensor.clone()));
                }
            },
        };
        match plan.storages[storage].place {
            Place::Slot(slot) => {
                let words = (plan.storages[storage].bytes / 4) as usize;
                let tensor = Tensor::from_buffer(self.program.slots[slot].buffer(), 0, &[words], DType::F32)?;
                Ok(Located { tensor, vec4: true })
            }
            Place::Output(output) => {
                let tensor = self.bound.outputs[output].as_ref().ok_or_else(|| unbound(plan.outputs[output].id))?;
                Ok(located(tensor.clone()))
            }
        }
    }
}

/// The functions that load A (side 0) or B of all products, as vectors if all can be had so.
fn operands(emitter: &mut Emitter<'_>, product: &Product, side: usize) -> Result<Loads, NotVector> {
    let names = [["a0", "a1"], ["b0", "b1"]][side];
    let all: Vec<(&str, &Operand)> = names.into_iter().zip(product.terms.iter().map(|term| &term[side])).collect();
    for loads in [Loads::Across, Loads::Block] {
        let state = emitter.state();
        match all.iter().try_for_each(|(name, operand)| emitter.operand(name, operand, loads)) {
            Ok(()) => return Ok(loads),
            Err(NotVector) => emitter.back_to(state),
        }
    }
    all.iter().try_for_each(|(name, operand)| emitter.operand_one_by_one(name, operand))?;
    Ok(if all.iter().all(|(_, operand)| operand.along) { Loads::Along } else { Loads::Across })
}

/// A tensor of the caller's, wherever it begins.
fn located(tensor: Tensor) -> Located {
    let vec4 = tensor.offset().is_multiple_of(16) && tensor.bytes().is_multiple_of(16);
    Located { tensor, vec4 }
}

fn ungenerated() -> Error {
    Error::Pipeline { kernel: "gradus.graph".into(), reason: "no code could be generated".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Checks;
    use crate::graph::Window;
    use crate::graph::testing::{gpu, noise};

    /// Of a graph with kernels of all sorts, maxima of large and of small windows among them.
    #[test]
    fn gated_kernels_do_nothing() {
        let gpu = gpu(Checks::Unchecked);
        let mut graph = Graph::new();
        let x = graph.input("x", &[1, 2, 64, 64]).unwrap();
        let (small, large) = (graph.max_pool(x, &Window::tiles(2, 2)).unwrap(), graph.max_pool(x, &Window::tiles(64, 2)).unwrap());
        let y = graph.sum(small, &[]).unwrap();
        let plan = Plan::new(gpu, &graph, &[Stage::new(&[large, y])]).unwrap();
        let values = Tensor::from_slice(gpu, &[1, 2, 64, 64], &noise(8192)).unwrap();
        let program = plan.compile(gpu, &[(x, &values)]).unwrap();
        let read = |var: Var| pollster::block_on(program.tensor(var).unwrap().read::<f32>(gpu)).unwrap();
        for closed in [1u32, 0] {
            let gate = Tensor::from_slice(gpu, &[1], &[closed]).unwrap();
            let mut recording = Recording::gated_by(gate.buffer());
            program.record(&mut recording, 0, &[]).unwrap();
            assert!(recording.len() >= 5);
            for dispatch in recording.dispatches() {
                assert!(dispatch.bindings.iter().any(|binding| binding.name == "gate"), "{}", dispatch.kernel);
            }
            gpu.submit([&recording]);
            let results = [read(large), read(y)].concat();
            assert_eq!(results.iter().all(|&value| value == 0.0), closed == 1, "{results:?}");
        }
    }
}
