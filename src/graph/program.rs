//! A plan on a device: buffers, and the dispatches of each stage.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::build::{Graph, Id, Var};
use super::emit::{Buffer, Emitter, Loads, NotVector};
use super::gathering;
use super::kernels::{self, Cut, Place as OperandPlace, Reduction};
use super::op::Op;
use super::plan::{Kernel, Kind, MAX_BUFFERS, Output, Place, Plan, Stage};
use super::product::{Operand, Product, TILES};
use super::template::Template;
use crate::gpu::work::{looped, run_of_block, summed};
use crate::gpu::{Bind, DType, Generated, Gpu, KernelSource, Key, Recording, Target, Tensor, Work};
use crate::shaders::layout::{PointwiseConstants, ReduceAxesConstants};
use crate::{Error, Result, shaders, vector};

/// A [`Plan`] on a device: it owns the buffers of values between leaves and outputs, and records the stages.
pub struct Program {
    gpu: Gpu,
    plan: Plan,
    slots: Vec<Tensor>,
    bound: Bindings,
    /// The dispatches of kernels that were recorded before.
    prepared: Mutex<HashMap<Variant, Arc<[Prepared]>>>,
}

/// What the code of a kernel of the plan depends on.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Variant {
    /// Its place in the plan.
    kernel: usize,
    /// Whether a gate stops it.
    gated: bool,
    /// Of each buffer, if it is bound.
    alignments: Vec<Option<Alignment>>,
}

/// What code depends on of where a tensor is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Alignment {
    /// Whether its binding may hold vectors.
    vec4: bool,
    /// The elements of the binding that lie before it, of an operand; of others code finds them in `offsets`.
    before: u64,
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
        let slots = slots.collect::<Result<_>>()?;
        Ok(Program { gpu: gpu.clone(), plan: self.clone(), slots, bound, prepared: Mutex::default() })
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
        let kernels: Vec<Recorder> = (0..self.plan.kernels.len())
            .filter(|&place| self.plan.kernels[place].stage == stage)
            .map(|place| Recorder { program: self, bound: &bound, kernel: &self.plan.kernels[place], place })
            .collect();
        let prepared = self.prepare(&kernels, own.is_gated())?;
        for (kernel, dispatches) in kernels.iter().zip(prepared) {
            match kernel.kernel.kind {
                Kind::Recorded => kernel.products(&mut own)?,
                _ => dispatches.iter().try_for_each(|dispatch| kernel.dispatch(&mut own, dispatch))?,
            }
        }
        recording.extend(own);
        Ok(())
    }

    /// The dispatches of each kernel: code is generated and pipelines are made the first time, all pipelines at once.
    fn prepare(&self, kernels: &[Recorder], gated: bool) -> Result<Vec<Arc<[Prepared]>>> {
        // a panic elsewhere leaves it whole: insertion is its only change
        let known = || self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let variants: Vec<Variant> = kernels.iter().map(|kernel| kernel.variant(gated)).collect();
        let mut drafts: Vec<(&Variant, Vec<Draft>)> = Vec::new();
        for (kernel, variant) in kernels.iter().zip(&variants) {
            if !known().contains_key(variant) {
                drafts.push((variant, kernel.drafts()?));
            }
        }
        let keys: Vec<_> = drafts.iter().flat_map(|(_, drafts)| drafts).map(|draft| (draft.key(gated), draft.generated.as_ref())).collect();
        let mut made = self.gpu.pipelines(&keys)?.into_iter();
        for (variant, drafts) in drafts {
            let prepared = drafts.into_iter().zip(&mut made).map(|(draft, kernel)| draft.with(kernel));
            known().insert(variant.clone(), prepared.collect());
        }
        let known = known();
        Ok(variants.iter().filter_map(|variant| known.get(variant).cloned()).collect())
    }
}

impl Program {
    /// The same program with another `Gpu` of the same device.
    pub(super) fn on(&self, gpu: &Gpu) -> Self {
        Self { gpu: gpu.clone(), plan: self.plan.clone(), slots: self.slots.clone(), bound: self.bound.clone(), prepared: Mutex::default() }
    }

    /// Appends the dispatches of one kernel.
    pub(super) fn record_kernel(&self, recording: &mut Recording, kernel: usize) -> Result<()> {
        let own = Recorder { program: self, bound: &self.bound, kernel: &self.plan.kernels[kernel], place: kernel };
        let prepared = self.prepare(std::slice::from_ref(&own), recording.is_gated())?;
        prepared.iter().flat_map(|dispatches| dispatches.iter()).try_for_each(|dispatch| own.dispatch(recording, dispatch))
    }
}

/// A dispatch before its pipeline is made.
struct Draft {
    source: &'static KernelSource,
    defines: Vec<&'static str>,
    overrides: Vec<(&'static str, u32)>,
    generated: Option<Generated>,
    /// The bytes of `constants`.
    constants: Vec<u8>,
    work: Work,
    /// What is bound under which name: first what generated code reads and writes.
    buffers: Vec<(&'static str, Buffer)>,
    /// How often a buffer is read, if not once.
    reads: HashMap<Buffer, u64>,
}

/// A dispatch of a kernel, whatever the tensors are.
struct Prepared {
    kernel: crate::gpu::Kernel,
    constants: Vec<u8>,
    work: Work,
    buffers: Vec<(&'static str, Buffer)>,
    reads: HashMap<Buffer, u64>,
    /// How many of the buffers are those of generated code, which finds in `offsets` where they begin.
    generated: usize,
}

impl Draft {
    fn new(
        source: &'static KernelSource,
        defines: Vec<&'static str>,
        constants: &[u8],
        work: Work,
        (generated, buffers): (Generated, Vec<Buffer>),
    ) -> Self {
        // the first binding is of the table of offsets
        let buffers = generated.bindings.iter().skip(1).map(|binding| binding.name).zip(buffers).collect();
        Self {
            source,
            defines,
            overrides: Vec::new(),
            generated: Some(generated),
            constants: constants.to_vec(),
            work,
            buffers,
            reads: HashMap::new(),
        }
    }

    fn key(&self, gated: bool) -> Key {
        let mut defines = self.defines.clone();
        if gated && self.buffers.len() < MAX_BUFFERS {
            defines.push("GATED");
        }
        let key = Key::new(self.source, &defines, &self.overrides);
        match &self.generated {
            Some(generated) => key.completed_by(generated),
            None => key,
        }
    }

    fn with(self, kernel: crate::gpu::Kernel) -> Prepared {
        let Self { generated, constants, work, buffers, reads, .. } = self;
        let generated = generated.map_or(0, |generated| generated.bindings.len().saturating_sub(1));
        Prepared { kernel, constants, work, buffers, reads, generated }
    }
}

/// A tensor, and whether its binding may hold vectors.
struct Located {
    tensor: Tensor,
    vec4: bool,
}

struct Recorder<'a> {
    program: &'a Program,
    bound: &'a Bindings,
    kernel: &'a Kernel,
    /// The place of the kernel in the plan.
    place: usize,
}

impl Recorder<'_> {
    fn variant(&self, gated: bool) -> Variant {
        let Kernel { operands, loads, stores, .. } = self.kernel;
        let alignment = |buffer: Buffer, is_operand: bool| {
            let located = self.located(buffer).ok()?;
            Some(Alignment { vec4: located.vec4, before: if is_operand { self.before(&located.tensor) / 4 } else { 0 } })
        };
        let operands = operands.iter().map(|view| alignment(Buffer::Value(view.base), true));
        let loads = loads.iter().map(|&id| alignment(Buffer::Value(id), false));
        let stores = stores.iter().map(|&(_, storage)| alignment(Buffer::Storage(storage), false));
        Variant { kernel: self.place, gated, alignments: operands.chain(loads).chain(stores).collect() }
    }

    /// The dispatches of the kernel, but for products of the caller's.
    fn drafts(&self) -> Result<Vec<Draft>> {
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
                Ok(vec![Draft::new(&shaders::graph::POINTWISE, Vec::new(), bytemuck::bytes_of(&constants), work, code)])
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
                let cut = kernels::cut(gpu.target(), &reduction);
                self.finished(self.reduce(&reduction, &cut, width == 4, code))
            }
            Kind::Template => {
                let pairs = plan.stores_pairs(kernel);
                if let Some(product) = plan.product(kernel, gpu.target(), pairs) {
                    return self.finished(self.product(&product, pairs, emitter(4))?);
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
                    operands.push(Buffer::Value(view.base));
                }
                let template = plan.graph.template(gpu.target(), &kernel.terms, &kernel.operands, &places, pairs)?;
                let operands: Vec<(&'static str, Buffer)> = template.operands.iter().copied().zip(operands).collect();
                if kernel.partials.map_or(1, |(_, parts)| parts) != template.parts {
                    return Err(ungenerated());
                }
                if let Op::MaxPoolIndices(_) = plan.graph.node(main).op {
                    // the one kernel whose result is not of floats
                    let Some(&(_, storage)) = kernel.stores.first() else { return Ok(Vec::new()) };
                    let Template { source, defines, overrides, uniform: constants, work, .. } = template;
                    let buffers = operands.into_iter().chain([("out", Buffer::Storage(storage))]).collect();
                    return Ok(vec![Draft {
                        source,
                        defines,
                        overrides,
                        generated: None,
                        constants,
                        work,
                        buffers,
                        reads: HashMap::new(),
                    }]);
                }
                let mut emitter = emitter(1);
                match kernel.partials {
                    Some((storage, _)) => emitter.plain_store(storage),
                    None => emitter.store_scalar(&kernel.roots, &kernel.stores).map_err(|_| ungenerated())?,
                }
                let mut draft = Draft::new(template.source, template.defines, &template.uniform, template.work, emitter.finish());
                draft.overrides = template.overrides;
                draft.buffers.extend(operands);
                self.finished(draft)
            }
            Kind::Recorded => Ok(Vec::new()),
        }
    }

    /// A product or a convolution by `shaders/graph/product.wgsl`; `emitter` is for vectors.
    fn product(&self, product: &Product, pairs: bool, mut emitter: Emitter<'_>) -> Result<Draft> {
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
        let constants = product.constants(tile);
        let mut draft = Draft::new(&shaders::graph::PRODUCT, defines, bytemuck::bytes_of(&constants), product.work(tile), emitter.finish());
        draft.overrides = product.overrides(tile, modes.map(|mode| mode as u32));
        // an operand is read once for each tile along the other side
        let reads = product.terms.iter().flatten().zip(product.reads(tile).into_iter().cycle());
        reads.for_each(|(operand, times)| *draft.reads.entry(Buffer::Value(operand.value)).or_default() += times);
        Ok(draft)
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
    fn products(&self, recording: &mut Recording) -> Result<()> {
        let main = self.kernel.roots.first().copied().unwrap_or_default();
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

    /// `draft`, and if it leaves partial results their sum.
    fn finished(&self, draft: Draft) -> Result<Vec<Draft>> {
        let Some((_, parts)) = self.kernel.partials else { return Ok(vec![draft]) };
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
        Ok(vec![draft, self.reduce(&reduction, &whole, false, emitter.finish())])
    }

    fn reduce(&self, reduction: &Reduction, cut: &Cut, vector: bool, code: (Generated, Vec<Buffer>)) -> Draft {
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
        Draft { overrides, ..Draft::new(&shaders::graph::REDUCE, defines, bytemuck::bytes_of(&constants), work, code) }
    }

    fn dispatch(&self, recording: &mut Recording, prepared: &Prepared) -> Result<()> {
        let gpu = &self.program.gpu;
        let Prepared { kernel, constants, work, buffers, reads, generated } = prepared;
        let mut located = buffers.iter().map(|&(_, buffer)| Ok(self.located(buffer)?.tensor)).collect::<Result<Vec<Tensor>>>()?;
        if let Some(b) = buffers.iter().position(|(name, _)| *name == gathering::SORTED) {
            let plan = &self.program.plan;
            let rows = plan.graph.rows_scattered(self.kernel.roots[0]);
            let offset = located[b].offset() + 4 * self.kernel.operands[1].offset as u64;
            let own = located[b].within(offset, &[rows.count as usize], DType::U32)?;
            located[b] = gathering::sort(gpu, recording, &rows, &own)?;
        }
        // a buffer cannot be read and written by one dispatch: such results go by way of another buffer
        let is_written = |b: usize| matches!(buffers[b].1, Buffer::Storage(_));
        let (written, read): (Vec<usize>, Vec<usize>) = (0..buffers.len()).partition(|&b| is_written(b));
        let mut copies = Vec::new();
        for (i, &b) in written.iter().enumerate() {
            let shared = read.iter().any(|&other| located[other].shares_buffer(&located[b]));
            // nor may two results be in one range of a binding's alignment
            if shared || written[..i].iter().any(|&other| Bind::ranges_overlap(gpu, &located[other], &located[b])) {
                let aside = Tensor::zeros(gpu, located[b].shape(), DType::F32)?;
                copies.push((aside.clone(), std::mem::replace(&mut located[b], aside)));
            }
        }
        // and zeros: see `Emitter`
        let mut offsets = [0u32; 12];
        let mut bindings = Vec::new();
        for (b, (&(name, _), tensor)) in buffers.iter().zip(&located).enumerate() {
            let (bind, before) = Bind::tensor(gpu, name, tensor);
            if b < *generated {
                offsets[b] = (before / 4) as u32;
            }
            let times = reads.get(&buffers[b].1).copied().unwrap_or(1);
            bindings.push(Bind { visited: bind.visited * times, ..bind });
        }
        let blocks = gpu.uniforms([constants.as_slice(), bytemuck::bytes_of(&offsets)])?;
        bindings.push(Bind::uniform("constants", &blocks[0]));
        bindings.push(Bind::uniform("offsets", &blocks[1]));
        recording.dispatch(gpu, kernel, *work, &bindings)?;
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
    use crate::gpu::{Checks, GpuOptions};
    use crate::graph::Window;
    use crate::graph::testing::{gpu, noise};

    /// Code depends on where leaves and results lie: each place is made once, and right each time.
    #[test]
    fn code_is_generated_once_for_each_place() {
        for (checks, target) in [(Checks::Unchecked, Target::software()), (Checks::Checked, Target::discrete())] {
            let shared = gpu(checks);
            let options = GpuOptions { checks, target: Some(target), ..Default::default() };
            let gpu = &Gpu::with_options(shared.device(), shared.queue(), options).unwrap();
            let mut graph = Graph::new();
            let [a, b] = [("a", [8, 12]), ("b", [12, 4])].map(|(name, shape)| graph.input(name, &shape).unwrap());
            let product = graph.matmul(a, b).unwrap();
            let y = graph.relu(product).unwrap();
            let sum = graph.sum(y, &[]).unwrap();
            let plan = Plan::new(gpu, &graph, &[Stage::new(&[y, sum]).after(&[a, b])]).unwrap();
            let program = plan.compile(gpu, &[]).unwrap();
            let values = noise(96 + 48);
            let (of_a, of_b) = values.split_at(96);
            let entry =
                |i: usize, j: usize| (0..12).map(|k| f64::from(of_a[12 * i + k]) * f64::from(of_b[4 * k + j])).sum::<f64>().max(0.0);
            let expected: Vec<f64> = (0..32).map(|i| entry(i / 4, i % 4)).collect();
            let total: f64 = expected.iter().sum();
            let mut counts = Vec::new();
            // the offset in elements of a, of b, and of y
            for places in [[0, 0, 0], [1, 0, 0], [0, 2, 3], [0, 0, 0], [1, 0, 0], [64, 64, 64], [0, 2, 3]] {
                let part = |place: usize, shape: &[usize]| {
                    let whole = Tensor::zeros(gpu, &[place + shape.iter().product::<usize>()], DType::F32).unwrap();
                    Tensor::from_buffer(whole.buffer(), 4 * place as u64, shape, DType::F32).unwrap()
                };
                let tensors = [part(places[0], &[8, 12]), part(places[1], &[12, 4]), part(places[2], &[8, 4])];
                tensors[0].write(gpu, of_a).unwrap();
                tensors[1].write(gpu, of_b).unwrap();
                let found_sum = Tensor::zeros(gpu, graph.shape(sum).unwrap(), DType::F32).unwrap();
                let mut recording = Recording::new();
                let bindings = [(a, &tensors[0]), (b, &tensors[1]), (y, &tensors[2]), (sum, &found_sum)];
                program.record(&mut recording, 0, &bindings).unwrap();
                gpu.submit([&recording]);
                let read = |tensor: &Tensor| pollster::block_on(tensor.read::<f32>(gpu)).unwrap();
                for (found, expected) in read(&tensors[2]).iter().zip(&expected) {
                    assert!((f64::from(*found) - expected).abs() < 1e-6, "{places:?}: {found} {expected}");
                }
                assert!((f64::from(read(&found_sum)[0]) - total).abs() < 1e-5, "{places:?}");
                counts.push((program.prepared.lock().unwrap().len(), gpu.pipeline_count()));
            }
            // one of 256 bytes further on is the same place
            assert!(counts[0] < counts[1] && counts[1] < counts[2], "{counts:?}");
            assert!(counts[2..].iter().all(|count| *count == counts[2]), "{counts:?}");
        }
    }

    /// Those asked for twice are made once, and one that cannot be made is an error.
    #[test]
    fn pipelines_made_at_once() {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let gpu = Gpu::new(&device, &queue).unwrap();
        let key = |define: &'static str| Key::new(&shaders::graph::POINTWISE, &[define], &[]);
        let plain = Key::new(&shaders::graph::POINTWISE, &[], &[]);
        let all = [(plain.clone(), None), (key("GATED"), None), (plain.clone(), None)];
        assert_eq!(gpu.pipelines(&all).unwrap().len(), 3);
        assert_eq!(gpu.pipeline_count(), 2);
        assert!(gpu.pipelines(&[]).unwrap().is_empty());
        let error = gpu.pipelines(&[(plain, None), (key("NONE"), None), (key("GATED"), None)]).unwrap_err();
        assert!(matches!(error, Error::Pipeline { .. }), "{error}");
    }

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
