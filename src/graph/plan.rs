//! From a graph to kernels: what is computed when, what is fused with what, and which buffers are shared.
//!
//! 1. *Stages.* A node belongs to the first stage that needs it; if that stage comes after leaves have changed on
//!    which the node does not depend, to the one before: that is how products are prepared.
//! 2. *Roots.* Some nodes need their values in memory: products, reductions, outputs, operands of products, and
//!    pointwise values that several kernels use and that would be dear to compute again. All others are computed
//!    where they are used.
//! 3. *Merging.* A pointwise root joins the kernel of a value that it reads element by element: the bias,
//!    activation and residual addition after a product, several results of one pass.
//! 4. *Slots.* Values whose lives do not overlap share a buffer. An output's tensor is the caller's: what later stages
//!    read is kept in a slot, and the output is a copy.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use super::build::{Graph, Id, Var};
use super::kernels::batch;
use super::op::{Binary, Form, Op, Unary};
use super::view::View;
use crate::{Error, Result};

/// The most storage buffers that a kernel may bind.
pub(crate) const MAX_BUFFERS: usize = 8;

/// What a recording computes.
#[derive(Clone, Debug, Default)]
pub struct Stage {
    outputs: Vec<Var>,
    changing: Vec<Var>,
}

impl Stage {
    /// A recording that computes `outputs`. Their tensors are the caller's, who may change them in place between
    /// stages: what later stages read is kept apart.
    #[must_use]
    pub fn new(outputs: &[Var]) -> Self {
        Self { outputs: outputs.to_vec(), changing: Vec::new() }
    }

    /// Before it, the leaves `changing` get new values, while all others stay as they are. What does not depend on
    /// them is left to the stage before. Such leaves and the outputs may be bound when the stage is
    /// recorded, and again each time.
    #[must_use]
    pub fn after(self, changing: &[Var]) -> Self {
        Self { changing: changing.to_vec(), ..self }
    }
}

/// How a graph is computed: kernels in order, and where their results are. Made without a device's memory.
///
/// `{:?}` prints a line a kernel.
#[derive(Clone)]
pub struct Plan {
    pub(crate) graph: Graph,
    pub(crate) stages: usize,
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) storages: Vec<Storage>,
    /// In bytes.
    pub(crate) slots: Vec<u64>,
    pub(crate) outputs: Vec<Output>,
    /// The leaves that are read.
    pub(crate) leaves: Vec<Id>,
    /// The leaves that change before a stage.
    pub(crate) changing: BTreeSet<Id>,
    /// The storage of each root that has one.
    pub(crate) stored: HashMap<Id, usize>,
}

/// A kernel of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    pub stage: usize,
    pub kind: Kind,
    /// The roots that it computes, the main one first.
    pub roots: Vec<Id>,
    /// What of it goes to memory.
    pub stores: Vec<(Id, usize)>,
    /// What a template computes: a primitive, or the two products of which the main root is the sum.
    pub terms: Vec<Id>,
    /// Their operands, one term's after another's.
    pub operands: Vec<View>,
    /// The values that it reads, besides the operands.
    pub loads: Vec<Id>,
    /// Where partial results go: a storage, of so many parts.
    pub partials: Option<(usize, u32)>,
}

/// What computes the main root of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Generated code for each element.
    Pointwise,
    /// [`Op::Sum`] or [`Op::Max`] of generated code.
    Reduce,
    /// A template: products, convolutions, pooling, rows.
    Template,
    /// [`Op::Linear`], whose dispatches are not the crate's.
    Recorded,
}

/// A value in memory.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    pub bytes: u64,
    /// Whether it holds 16-bit floats, two channels a word: see `shaders/shared/pairs.wgsl`.
    pub halves: bool,
    pub place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A buffer shared with others.
    Slot(usize),
    /// An output's tensor.
    Output(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub id: Id,
    pub storage: usize,
    pub stage: usize,
    /// Whether its stage has leaves that change, so that it may be bound when recorded.
    pub late: bool,
}

impl Graph {
    /// Plans the recordings of `stages`, to be made in this order; each may use what those before have
    /// computed. `cpu` is whether kernels are shaped for a software driver: [`Plan::new`] asks a device. `halves`: values between
    /// convolutions are stored as 16-bit floats.
    pub(crate) fn plan(&self, stages: &[Stage], cpu: bool, halves: bool) -> Result<Plan> {
        let stage = self.stages(stages)?;
        let mut outputs = Vec::new();
        for (s, wanted) in stages.iter().enumerate() {
            for &var in &wanted.outputs {
                outputs.push((self.float("plan", var)?, s));
            }
        }
        let mut planner =
            Planner { graph: self, stage, outputs, root: vec![false; self.len()], forced: BTreeSet::new(), pairs: HashMap::new() };
        planner.pair();
        let mut kernels = loop {
            planner.choose_roots();
            match planner.kernels() {
                Ok(kernels) => break kernels,
                // with this value in memory there are fewer buffers to bind
                Err(id) => assert_progress(planner.forced.insert(id))?,
            }
        };
        planner.merge(&mut kernels);
        let late: Vec<bool> = stages.iter().map(|stage| !stage.changing.is_empty()).collect();
        let changing = stages.iter().flat_map(|stage| &stage.changing).map(|&var| self.check(var)).collect::<Result<_>>()?;
        Ok(Plan { changing, ..planner.finish(kernels, &late, cpu, halves)? })
    }

    /// The stage of each node, and `None` for those that nothing needs.
    fn stages(&self, stages: &[Stage]) -> Result<Vec<Option<usize>>> {
        let mut first: Vec<Option<usize>> = vec![None; self.len()];
        let mut available = vec![0; self.len()];
        for (s, stage) in stages.iter().enumerate() {
            for &var in &stage.changing {
                let id = self.check(var)?;
                if !self.node(id).op.is_leaf() {
                    return self.refuse("plan", &[id], "only leaves can change".into());
                }
                available[id as usize] = s;
            }
            let mut pending = stage.outputs.iter().map(|&var| self.check(var)).collect::<Result<Vec<Id>>>()?;
            while let Some(id) = pending.pop() {
                if first[id as usize].is_none() {
                    first[id as usize] = Some(s);
                    pending.extend(&self.node(id).inputs);
                }
            }
        }
        for id in 0..self.len() {
            for &input in &self.node(id as Id).inputs {
                available[id] = available[id].max(available[input as usize]);
            }
            if let Some(mut stage) = first[id] {
                while stage > available[id] && !stages[stage].changing.is_empty() {
                    stage -= 1;
                }
                if stage < available[id] {
                    return self.refuse("plan", &[id as Id], format!("it is needed before a leaf changes in stage {}", available[id]));
                }
                first[id] = Some(stage);
            }
        }
        Ok(first)
    }
}

fn assert_progress(progress: bool) -> Result<()> {
    match progress {
        true => Ok(()),
        false => Err(Error::Pipeline { kernel: "gradus.graph".into(), reason: "an operation reads too many values".into() }),
    }
}

struct Planner<'a> {
    graph: &'a Graph,
    stage: Vec<Option<usize>>,
    outputs: Vec<(Id, usize)>,
    root: Vec<bool>,
    /// Roots by decision rather than by rule.
    forced: BTreeSet<Id>,
    /// Sums of two products, and the products.
    pairs: HashMap<Id, [Id; 2]>,
}

impl Planner<'_> {
    fn needed(&self) -> impl DoubleEndedIterator<Item = Id> + use<> {
        let needed: Vec<Id> = (0..self.stage.len()).filter(|&id| self.stage[id].is_some()).map(|id| id as Id).collect();
        needed.into_iter()
    }

    fn op(&self, id: Id) -> &Op {
        &self.graph.node(id).op
    }

    fn inputs(&self, id: Id) -> &[Id] {
        &self.graph.node(id).inputs
    }

    fn elements(&self, id: Id) -> usize {
        self.graph.dims(id).iter().product()
    }

    fn stage_of(&self, id: Id) -> usize {
        self.stage[id as usize].unwrap_or_default()
    }

    /// Whether its elements are in memory.
    fn in_memory(&self, id: Id) -> bool {
        self.root[id as usize] || self.op(id).is_leaf()
    }

    /// Finds sums of two products that nothing else uses: they are one product of twice the depth.
    fn pair(&mut self) {
        let mut uses: HashMap<Id, usize> = HashMap::new();
        for id in self.needed() {
            for &input in self.inputs(id) {
                *uses.entry(input).or_default() += 1;
            }
        }
        for &(id, _) in &self.outputs {
            *uses.entry(self.graph.physical(id)).or_default() += 1;
            *uses.entry(id).or_default() += 1;
        }
        for id in self.needed() {
            let &[a, b] = self.inputs(id) else { continue };
            let alike = match (self.op(id), self.op(a), self.op(b)) {
                (Op::Binary(Binary::Add), Op::Matmul, Op::Matmul) => {
                    self.graph.dims(self.inputs(a)[0]) == self.graph.dims(self.inputs(b)[0])
                }
                (Op::Binary(Binary::Add), p @ Op::Convolution(..), q @ Op::Convolution(..)) => {
                    let shapes = |id: Id| self.inputs(id).iter().map(|&input| self.graph.dims(input)).collect::<Vec<_>>();
                    p == q && shapes(a) == shapes(b)
                }
                _ => false,
            };
            let stages = [id, a, b].map(|id| self.stage_of(id));
            if alike && a != b && uses[&a] == 1 && uses[&b] == 1 && stages[0] == stages[1] && stages[0] == stages[2] {
                self.pairs.insert(id, [a, b]);
            }
        }
    }

    fn is_heavy(&self, id: Id) -> bool {
        let op = self.op(id);
        self.pairs.contains_key(&id) || !(op.is_pointwise() || op.is_view() || op.is_source() || op.is_leaf())
    }

    /// Whether products see it as one of the two terms of a sum.
    fn absorbed(&self) -> BTreeSet<Id> {
        self.pairs.values().flatten().copied().collect()
    }

    /// The products that a heavy node is the sum of.
    fn terms(&self, id: Id) -> Vec<Id> {
        self.pairs.get(&id).map_or(vec![id], |pair| pair.to_vec())
    }

    fn choose_roots(&mut self) {
        let absorbed = self.absorbed();
        let mut root: Vec<bool> = vec![false; self.stage.len()];
        for id in self.needed() {
            root[id as usize] = (self.is_heavy(id) && !absorbed.contains(&id)) || self.forced.contains(&id);
        }
        for &(id, _) in &self.outputs {
            let physical = self.graph.physical(id);
            root[physical as usize] |= !self.op(physical).is_leaf();
        }
        // operands of what has a kernel of its own
        for id in self.needed().filter(|&id| self.is_heavy(id) && !matches!(self.op(id), Op::Sum(_) | Op::Max(_))) {
            for term in self.terms(id) {
                for &operand in self.inputs(term) {
                    let base = match self.op(term) {
                        // products take strides
                        Op::Matmul => {
                            self.graph.view(operand, &|id| self.op(id).is_leaf() || self.forced.contains(&id)).map(|view| view.base)
                        }
                        _ => Some(self.graph.physical(operand)),
                    };
                    let base = base.unwrap_or(operand);
                    root[base as usize] |= !self.op(base).is_leaf();
                }
            }
        }
        // pointwise values that several kernels use, from the last to the first
        let cheap = self.cheap();
        let mut users: HashMap<Id, BTreeSet<Id>> = HashMap::new();
        for id in self.needed().rev() {
            let own = users.get(&id).cloned().unwrap_or_default();
            let light = !self.op(id).is_leaf() && !self.is_heavy(id);
            if light && !root[id as usize] && !cheap.contains(&id) && self.op(id).is_pointwise() {
                let elsewhere = own.iter().any(|&user| self.stage_of(user) != self.stage_of(id));
                root[id as usize] = own.len() > 1 || elsewhere;
            }
            if absorbed.contains(&id) {
                continue;
            }
            let through = if root[id as usize] { BTreeSet::from([id]) } else { own };
            for term in self.terms(id) {
                for &input in self.inputs(term) {
                    users.entry(input).or_default().extend(&through);
                }
            }
        }
        self.root = root;
    }

    /// Values that are cheaper to compute again than to read: views and coordinates, and arithmetic on one value in
    /// memory of the same size.
    fn cheap(&self) -> BTreeSet<Id> {
        let mut reads: HashMap<Id, BTreeSet<Id>> = HashMap::new();
        let mut cheap = BTreeSet::new();
        for id in self.needed() {
            if self.is_heavy(id) || self.op(id).is_leaf() || self.forced.contains(&id) {
                reads.insert(id, BTreeSet::from([id]));
                continue;
            }
            let below: BTreeSet<Id> = self.inputs(id).iter().filter_map(|input| reads.get(input)).flatten().copied().collect();
            let simple = match self.op(id) {
                Op::Unary(function) => matches!(function, Unary::Relu | Unary::Step | Unary::Abs | Unary::Sign),
                Op::Binary(function) => *function != Binary::Div,
                op => op.is_pointwise() || op.is_view() || op.is_source(),
            };
            let large = below.iter().filter(|&&value| self.elements(value) * 8 > self.elements(id)).count();
            if simple && large <= 1 {
                cheap.insert(id);
                reads.insert(id, below);
            } else {
                reads.insert(id, BTreeSet::from([id]));
            }
        }
        cheap
    }

    /// What is read to compute the inlined values from `id` down; `id` itself is expanded.
    fn reads(&self, id: Id, found: &mut Vec<Id>) {
        for &input in self.inputs(id) {
            self.read(input, found);
        }
    }

    fn read(&self, id: Id, found: &mut Vec<Id>) {
        if self.in_memory(id) {
            if !found.contains(&id) {
                found.push(id);
            }
        } else {
            self.reads(id, found);
        }
    }

    /// A kernel for each root; or a value to be made a root because one would bind too many buffers.
    fn kernels(&self) -> Result<Vec<Kernel>, Id> {
        let mut kernels = Vec::new();
        for id in self.needed().filter(|&id| self.root[id as usize]) {
            let kind = match self.op(id) {
                Op::Sum(_) | Op::Max(_) => Kind::Reduce,
                Op::Linear(_) => Kind::Recorded,
                _ if self.is_heavy(id) => Kind::Template,
                _ => Kind::Pointwise,
            };
            let (mut operands, mut loads) = (Vec::new(), Vec::new());
            if matches!(kind, Kind::Template | Kind::Recorded) {
                for term in self.terms(id) {
                    for &operand in self.inputs(term) {
                        operands.push(self.operand(term, operand)?);
                    }
                }
                let rank = self.graph.dims(id).len();
                let batched = self.terms(id).iter().all(|&term| *self.op(term) == Op::Matmul);
                if batched && batch(&self.graph.dims(id)[..rank - 2], &operands).is_none() {
                    // as values of their own they are contiguous
                    let all = self.terms(id).into_iter().flat_map(|term| self.inputs(term));
                    let spread = all.copied().find(|&operand| !self.in_memory(operand));
                    return Err(spread.unwrap_or(id));
                }
            } else {
                self.reads(id, &mut loads);
                if loads.len() >= MAX_BUFFERS {
                    return Err(self.divide(id, id));
                }
            }
            let terms = if kind == Kind::Template { self.terms(id) } else { Vec::new() };
            let stage = self.stage_of(id);
            kernels.push(Kernel { stage, kind, roots: vec![id], stores: vec![], terms, operands, loads, partials: None });
        }
        Ok(kernels)
    }

    fn operand(&self, term: Id, operand: Id) -> Result<View, Id> {
        let view = match self.op(term) {
            Op::Matmul => self.graph.view(operand, &|id| self.in_memory(id)),
            _ => {
                let base = self.graph.physical(operand);
                Some(View { base, offset: 0, strides: Vec::new() })
            }
        };
        view.filter(|view| self.in_memory(view.base)).ok_or(operand)
    }

    /// The inlined value below `root` that reads most, but not so much that it could not be a kernel.
    fn divide(&self, root: Id, id: Id) -> Id {
        let inlined = self.inputs(id).iter().copied().filter(|&input| !self.in_memory(input));
        let count = |id: Id| {
            let mut found = Vec::new();
            self.reads(id, &mut found);
            found.len()
        };
        match inlined.max_by_key(|&input| (count(input), input)) {
            Some(input) if count(input) >= MAX_BUFFERS => self.divide(root, input),
            Some(input) => input,
            None => root,
        }
    }

    /// Whether all accesses from the inlined values below `id` to `target` are to the same place.
    fn reads_in_place(&self, id: Id, target: Id, flat: bool, seen: &mut BTreeSet<(Id, bool)>) -> bool {
        if !seen.insert((id, flat)) {
            return true;
        }
        let flat = flat && (self.op(id).is_pointwise() || *self.op(id) == Op::Reshape);
        self.inputs(id).iter().all(|&input| match (input == target, self.in_memory(input)) {
            (true, _) => flat,
            (false, true) => true,
            (false, false) => self.reads_in_place(input, target, flat, seen),
        })
    }

    fn merge(&self, kernels: &mut Vec<Kernel>) {
        let mut home: HashMap<Id, usize> = kernels.iter().enumerate().map(|(k, kernel)| (kernel.roots[0], k)).collect();
        // the roots that a kernel other than their own reads
        let mut readers: HashMap<Id, BTreeSet<usize>> = HashMap::new();
        for (k, kernel) in kernels.iter().enumerate() {
            for id in kernel.loads.iter().copied().chain(kernel.operands.iter().map(|view| view.base)) {
                readers.entry(id).or_default().insert(k);
            }
        }
        let outputs: BTreeSet<Id> = self.outputs.iter().map(|&(id, _)| self.graph.physical(id)).collect();
        for p in 0..kernels.len() {
            if kernels[p].kind != Kind::Pointwise || kernels[p].roots.is_empty() {
                continue;
            }
            let id = kernels[p].roots[0];
            let mut candidates: Vec<usize> = kernels[p].loads.iter().filter_map(|load| home.get(load).copied()).collect();
            candidates.sort_unstable_by(|a, b| b.cmp(a));
            candidates.dedup();
            for k in candidates {
                let fits = kernels[k].stage == kernels[p].stage
                    && !matches!(self.op(kernels[k].roots[0]), Op::MaxPoolIndices(_) | Op::Linear(_))
                    && kernels[k].roots.iter().all(|&root| self.reads_in_place(id, root, true, &mut BTreeSet::new()))
                    && self.elements(kernels[k].roots[0]) == self.elements(id)
                    && !self.cyclic(kernels, &home, p, k);
                if !fits {
                    continue;
                }
                let mut loads = kernels[k].loads.clone();
                loads.extend(kernels[p].loads.iter().filter(|load| !kernels[k].roots.contains(load) && !kernels[k].loads.contains(load)));
                // what others still read of both, and the operands, whose buffers are bound apart
                let stores = kernels[k].roots.iter().chain([&id]).filter(|root| {
                    outputs.contains(root) || readers.get(root).is_some_and(|readers| readers.iter().any(|&r| r != k && r != p))
                });
                if stores.count() + loads.len() + kernels[k].operands.len() > MAX_BUFFERS {
                    continue;
                }
                for readers in readers.values_mut() {
                    if readers.remove(&p) {
                        readers.insert(k);
                    }
                }
                kernels[k].loads = loads;
                kernels[k].roots.push(id);
                kernels[p].roots.clear();
                home.insert(id, k);
                break;
            }
        }
        kernels.retain(|kernel| !kernel.roots.is_empty());
    }

    /// Whether something else that kernel `p` reads is computed from what `k` computes.
    fn cyclic(&self, kernels: &[Kernel], home: &HashMap<Id, usize>, p: usize, k: usize) -> bool {
        let first = kernels[k].roots[0];
        let mut seen = BTreeSet::new();
        let mut pending: Vec<usize> =
            kernels[p].loads.iter().filter_map(|load| home.get(load).copied()).filter(|&other| other != k).collect();
        while let Some(other) = pending.pop() {
            if other == k {
                return true;
            }
            // what has only roots before `first` cannot depend on it
            if kernels[other].roots.iter().all(|&root| root < first) || !seen.insert(other) {
                continue;
            }
            let values = kernels[other].loads.iter().copied().chain(kernels[other].operands.iter().map(|view| view.base));
            pending.extend(values.filter_map(|value| home.get(&value).copied()));
        }
        false
    }

    /// Orders the kernels, gives values their buffers.
    fn finish(&self, kernels: Vec<Kernel>, late: &[bool], cpu: bool, halves: bool) -> Result<Plan> {
        let mut kernels = self.ordered(kernels);
        let home: HashMap<Id, usize> =
            kernels.iter().enumerate().flat_map(|(k, kernel)| kernel.roots.iter().map(move |&root| (root, k))).collect();
        let mut last: HashMap<Id, usize> = HashMap::new();
        for (k, kernel) in kernels.iter().enumerate() {
            for id in kernel.loads.iter().copied().chain(kernel.operands.iter().map(|view| view.base)) {
                last.insert(id, k);
            }
        }
        let mut plan = Plan {
            graph: self.graph.clone(),
            stages: late.len(),
            kernels: Vec::new(),
            storages: Vec::new(),
            slots: Vec::new(),
            outputs: Vec::new(),
            leaves: Vec::new(),
            changing: BTreeSet::new(),
            stored: HashMap::new(),
        };
        // A value is in the tensor of its first output if only its own stage reads it there. Otherwise, and if it is computed in a
        // stage before that of the output, it is in a slot and outputs are copies: what is done with them between stages
        // does not change what later stages read.
        let mut stages_read: HashMap<Id, usize> = HashMap::new();
        let reads = kernels.iter().flat_map(|kernel| {
            let values = kernel.loads.iter().copied().chain(kernel.operands.iter().map(|view| view.base));
            values.map(|id| (id, kernel.stage))
        });
        for (id, stage) in reads.chain(self.outputs.iter().map(|&(id, stage)| (self.graph.physical(id), stage))) {
            let last = stages_read.entry(id).or_default();
            *last = stage.max(*last);
        }
        let output_values: BTreeSet<Id> = self.outputs.iter().map(|&(id, _)| self.graph.physical(id)).collect();
        let apart: BTreeSet<Id> = output_values.iter().copied().filter(|id| stages_read[id] > self.stage_of(*id)).collect();
        let mut copies = Vec::new();
        for &(id, stage) in &self.outputs {
            let physical = self.graph.physical(id);
            let storage = plan.storages.len();
            let place = Place::Output(plan.outputs.len());
            plan.storages.push(Storage { bytes: self.elements(id) as u64 * 4, halves: false, place });
            plan.outputs.push(Output { id, storage, stage, late: late[stage] });
            if self.op(physical).is_leaf() || apart.contains(&physical) || plan.stored.contains_key(&physical) {
                let kernel = Kernel {
                    stage,
                    kind: Kind::Pointwise,
                    roots: Vec::new(),
                    stores: vec![(id, storage)],
                    terms: Vec::new(),
                    operands: Vec::new(),
                    loads: vec![physical],
                    partials: None,
                };
                copies.push(kernel);
            } else {
                plan.stored.insert(physical, storage);
            }
        }
        let parts = kernels.iter().map(|kernel| plan.parts(kernel, cpu)).collect::<Result<Vec<u32>>>()?;
        let halves = if halves { self.halves(&kernels, &parts, &output_values, &last) } else { BTreeSet::new() };
        let mut free: Vec<usize> = Vec::new();
        for (k, kernel) in kernels.iter_mut().enumerate() {
            for &root in &kernel.roots {
                let read_elsewhere = apart.contains(&root) || last.get(&root).is_some_and(|&last| last != k);
                if !plan.stored.contains_key(&root) && read_elsewhere {
                    let storage = plan.allocate(self.words(root, halves.contains(&root)), halves.contains(&root), &mut free);
                    plan.stored.insert(root, storage);
                }
                if let Some(&storage) = plan.stored.get(&root) {
                    kernel.stores.push((root, storage));
                }
            }
            if parts[k] > 1 {
                let storage = plan.allocate(u64::from(parts[k]) * self.words(kernel.roots[0], false), false, &mut free);
                kernel.partials = Some((storage, parts[k]));
            }
            // after it, what it was the last to read is no more, unless a stage may run again by itself
            let mut done: Vec<usize> = kernel.partials.iter().map(|&(storage, _)| storage).collect();
            let values: BTreeSet<Id> = kernel.loads.iter().copied().chain(kernel.operands.iter().map(|view| view.base)).collect();
            for value in values {
                let made_here = home.get(&value).is_some_and(|&maker| maker != k) && self.stage_of(value) == kernel.stage;
                let local = made_here && last[&value] == k && !apart.contains(&value);
                done.extend(plan.stored.get(&value).filter(|_| local));
            }
            for storage in done {
                if let Place::Slot(slot) = plan.storages[storage].place {
                    free.push(slot);
                }
            }
        }
        // each copy at the end of its stage
        for stage in (0..late.len()).rev() {
            let end = kernels.iter().rposition(|kernel| kernel.stage <= stage).map_or(0, |last| last + 1);
            let of_stage: Vec<Kernel> = copies.iter().filter(|copy| copy.stage == stage).cloned().collect();
            kernels.splice(end..end, of_stage);
        }
        let mut leaves: BTreeSet<Id> = BTreeSet::new();
        for kernel in &kernels {
            leaves.extend(
                kernel.loads.iter().copied().chain(kernel.operands.iter().map(|view| view.base)).filter(|&id| self.op(id).is_leaf()),
            );
        }
        plan.leaves = leaves.into_iter().collect();
        plan.kernels = kernels;
        Ok(plan)
    }

    /// The words of a value in memory.
    fn words(&self, id: Id, halves: bool) -> u64 {
        let elements = self.elements(id) as u64;
        match self.graph.dims(id) {
            [_, channels, ..] if halves => elements / *channels as u64 * channels.div_ceil(2) as u64,
            _ => elements,
        }
    }

    /// The values that can be 16-bit floats, two channels a word: of more than one channel, and of one sample; the only result of
    /// a convolution or of sums over windows, which have no parts; and, besides what is read element by element, gathered by
    /// convolutions alone, or summed over windows to what is one of them as well.
    fn halves(&self, kernels: &[Kernel], parts: &[u32], outputs: &BTreeSet<Id>, last: &HashMap<Id, usize>) -> BTreeSet<Id> {
        let op = |kernel: &Kernel| match kernel.terms[..] {
            [term] => Some(self.op(term)),
            _ => None,
        };
        let is_convolution = |kernel: &Kernel| matches!(op(kernel), Some(Op::Convolution(Form::Output, _)));
        let sums_windows = |kernel: &Kernel| matches!(op(kernel), Some(Op::Pool(_) | Op::Unpool(_)));
        let result = |k: usize| {
            let read_elsewhere = |root: &Id| last.get(root).is_some_and(|&last| last != k);
            let mut kept = kernels[k].roots.iter().filter(|root| outputs.contains(root) || read_elsewhere(root));
            match (kept.next(), kept.next()) {
                (Some(&root), None) if !outputs.contains(&root) => Some(root),
                _ => None,
            }
        };
        let results: Vec<Option<Id>> = (0..kernels.len()).map(result).collect();
        let mut halves = BTreeSet::new();
        for k in (0..kernels.len()).filter(|&k| parts[k] == 1 && (is_convolution(&kernels[k]) || sums_windows(&kernels[k]))) {
            halves.extend(results[k].filter(|&id| matches!(self.graph.dims(id), [1, channels, _, ..] if *channels > 1)));
        }
        // each that is left out may lead to others
        loop {
            let before = halves.len();
            for (k, kernel) in kernels.iter().enumerate() {
                let summed = sums_windows(kernel) && results[k].is_some_and(|id| halves.contains(&id));
                for (i, view) in kernel.operands.iter().enumerate() {
                    let input = kernel.terms.first().and_then(|&term| self.inputs(term).get(i));
                    // channels are paired in the shape that it has
                    let in_shape = input.is_some_and(|&input| self.graph.dims(input) == self.graph.dims(view.base));
                    if !(in_shape && i == 0 && (is_convolution(kernel) || summed)) {
                        halves.remove(&view.base);
                    }
                }
                if summed && !kernel.operands.iter().all(|view| halves.contains(&view.base)) {
                    results[k].map(|id| halves.remove(&id));
                }
            }
            if halves.len() == before {
                return halves;
            }
        }
    }

    /// By stage, and so that values are computed before they are read.
    fn ordered(&self, kernels: Vec<Kernel>) -> Vec<Kernel> {
        let home: HashMap<Id, usize> =
            kernels.iter().enumerate().flat_map(|(k, kernel)| kernel.roots.iter().map(move |&root| (root, k))).collect();
        let mut order = Vec::with_capacity(kernels.len());
        let mut state = vec![0u8; kernels.len()];
        let mut roots: Vec<usize> = (0..kernels.len()).collect();
        roots.sort_by_key(|&k| (kernels[k].stage, kernels[k].roots.first().copied()));
        for start in roots {
            let mut pending = vec![start];
            while let Some(&k) = pending.last() {
                if state[k] == 2 {
                    pending.pop();
                } else if state[k] == 1 {
                    state[k] = 2;
                    order.push(k);
                    pending.pop();
                } else {
                    state[k] = 1;
                    let values = kernels[k].loads.iter().copied().chain(kernels[k].operands.iter().map(|view| view.base));
                    pending.extend(values.filter_map(|value| home.get(&value).copied()).filter(|&other| state[other] == 0));
                }
            }
        }
        let mut taken: Vec<Option<Kernel>> = kernels.into_iter().map(Some).collect();
        order.into_iter().filter_map(|k| taken[k].take()).collect()
    }
}

impl Plan {
    fn allocate(&mut self, words: u64, halves: bool, free: &mut Vec<usize>) -> usize {
        let bytes = (4 * words).next_multiple_of(16);
        // the smallest that is large enough, else the largest, which then grows
        let fitting = (0..free.len()).filter(|&i| self.slots[free[i]] >= bytes).min_by_key(|&i| self.slots[free[i]]);
        let slot = match fitting.or_else(|| (0..free.len()).max_by_key(|&i| self.slots[free[i]])) {
            Some(i) => free.swap_remove(i),
            None => {
                self.slots.push(0);
                self.slots.len() - 1
            }
        };
        self.slots[slot] = self.slots[slot].max(bytes);
        self.storages.push(Storage { bytes, halves, place: Place::Slot(slot) });
        self.storages.len() - 1
    }

    /// The bytes of the buffers for values between leaves and outputs, which the plan's program will allocate.
    #[must_use]
    pub fn intermediate_bytes(&self) -> u64 {
        self.slots.iter().sum()
    }

    /// The bytes of the outputs.
    #[must_use]
    pub fn output_bytes(&self) -> u64 {
        self.outputs.iter().map(|output| self.storages[output.storage].bytes).sum()
    }

    /// The bytes of all that is in memory at once: leaves, outputs, and values between them.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        let leaves: u64 = self.leaves.iter().map(|&id| self.graph.dims(id).iter().product::<usize>() as u64 * 4).sum();
        leaves + self.output_bytes() + self.intermediate_bytes()
    }

    /// The number of kernels of a stage, each of which is a dispatch or two.
    #[must_use]
    pub fn kernels(&self, stage: usize) -> usize {
        self.kernels.iter().filter(|kernel| kernel.stage == stage).count()
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Plan: {} kernels, {} bytes in {} buffers", self.kernels.len(), self.intermediate_bytes(), self.slots.len())?;
        for kernel in &self.kernels {
            let values = |ids: &[Id]| ids.iter().map(|id| format!("%{id}")).collect::<Vec<_>>().join(" ");
            let main = kernel.roots.first().or(kernel.stores.first().map(|(id, _)| id)).copied().unwrap_or_default();
            let stored: Vec<Id> = kernel.stores.iter().map(|&(id, _)| id).collect();
            let operands: Vec<Id> = kernel.operands.iter().map(|view| view.base).collect();
            writeln!(
                f,
                "  {}: {:?} {:?} {:?} of [{}] with [{}] -> {}",
                kernel.stage,
                kernel.kind,
                self.graph.node(main).op,
                self.graph.dims(main),
                values(&operands),
                values(&kernel.loads),
                values(&stored)
            )?;
        }
        Ok(())
    }
}
