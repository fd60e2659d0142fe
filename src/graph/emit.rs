//! WGSL for what is computed where it is used.
//!
//! Values are generated from a root down to what is in memory. On the way a [`Map`] says which element of the
//! value is meant: the one at the same row-major place, as long as only pointwise operations and reshapes are
//! passed, or one whose coordinates are affine in those of the kernel's loop, once a view is. With `width` 4 a
//! generated name stands for four elements, which are consecutive in the kernel's loop.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use super::build::{Graph, Id, is_normal};
use super::op::{Binary, Op, Unary};
use super::product::{Group, Operand};
use super::template::FIRST_GENERATED;
use super::view::contiguous;
use crate::gpu::{Access, BindingLayout, Generated};

/// The functions that generated code calls.
const ELEMENTARY: &str = include_str!("../../shaders/shared/elementary.wgsl");

/// A 0 that compilers cannot see, so that they neither take bits for those of a number nor multiply constants.
const ZERO: &str = "offsets[2].x";

/// What a generated binding holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Buffer {
    /// A value that is read.
    Value(Id),
    /// A storage that is written.
    Storage(usize),
    /// The kernel's partial results, when they are read.
    Partials,
}

/// How four elements of an operand of a product are had: the modes of `shaders/graph/product.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loads {
    /// Four rows or columns at one k: one vector, or one by one.
    Across,
    /// The same, where neighbours along k are neighbours in memory.
    Along,
    /// A vector along k.
    Block,
}

/// That a kernel cannot be generated for four elements at a time.
#[derive(Debug)]
pub(crate) struct NotVector;

type Emitted = Result<String, NotVector>;

/// A coordinate: an affine function of the coordinates of loops.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Axis {
    offset: i64,
    /// Coordinates by number, and their factors.
    terms: Vec<(usize, i64)>,
}

impl Axis {
    fn add_scaled(&mut self, other: &Axis, factor: i64) {
        self.offset += other.offset * factor;
        for &(coordinate, coefficient) in &other.terms {
            match self.terms.iter_mut().find(|term| term.0 == coordinate) {
                Some(term) => term.1 += coefficient * factor,
                None => self.terms.push((coordinate, coefficient * factor)),
            }
        }
        self.terms.retain(|term| term.1 != 0);
        self.terms.sort_unstable();
    }
}

/// Which element of a value is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Map {
    /// Where it is in row-major order, by number, if that is known.
    flat: Option<usize>,
    /// The coordinates, if `flat` is not.
    axes: Vec<Axis>,
    /// Coordinates that must be below a size, or the element is an outer zero.
    guards: Vec<(Axis, usize)>,
}

/// A variable of the generated code that counts elements along some axis.
struct Coordinate {
    name: String,
    /// Whether it differs among the four elements of a vector, by 1 from each to the next.
    fast: bool,
}

/// Where the loop of a reduction is: at term `r` of result `o`.
struct Reduction {
    shape: Vec<usize>,
    axes: Vec<usize>,
}

/// What has been generated so far.
pub(crate) struct State {
    buffers: usize,
    functions: usize,
    vectors: HashSet<Buffer>,
    wide_stores: bool,
}

pub(crate) struct Emitter<'a> {
    graph: &'a Graph,
    /// The widest of all functions, 1 or 4: whether bindings are arrays of vectors.
    width: usize,
    /// How many elements a name stands for in the function being generated.
    lanes: usize,
    /// Whether results are stored four at a time.
    wide_stores: bool,
    in_memory: &'a dyn Fn(Id) -> bool,
    /// Whether a buffer may be declared as an array of vectors.
    vec4: &'a dyn Fn(Buffer) -> bool,
    /// Whether a buffer holds 16-bit floats, two channels a word.
    halves: &'a dyn Fn(Buffer) -> bool,
    /// Buffers that are declared as arrays of numbers although they could hold vectors, since nothing loads those.
    scalars: HashSet<Buffer>,
    buffers: Vec<Buffer>,
    integers: Vec<bool>,
    /// Those of which vectors are loaded.
    vectors: HashSet<Buffer>,
    /// Whether the function being generated loads elements of a vector one by one.
    gathers: bool,
    functions: String,
    // of the function being generated
    lines: String,
    names: usize,
    known: HashMap<(Id, Map), String>,
    registers: HashMap<Id, String>,
    flats: Vec<String>,
    coordinates: Vec<Coordinate>,
    systems: HashMap<(usize, Vec<usize>), Vec<Axis>>,
    reduction: Option<Reduction>,
}

impl<'a> Emitter<'a> {
    pub fn new(
        graph: &'a Graph,
        width: usize,
        in_memory: &'a dyn Fn(Id) -> bool,
        vec4: &'a dyn Fn(Buffer) -> bool,
        halves: &'a dyn Fn(Buffer) -> bool,
    ) -> Self {
        Self {
            graph,
            width,
            lanes: width,
            wide_stores: false,
            in_memory,
            vec4,
            halves,
            scalars: HashSet::new(),
            buffers: Vec::new(),
            integers: Vec::new(),
            vectors: HashSet::new(),
            gathers: false,
            functions: String::new(),
            lines: String::new(),
            names: 0,
            known: HashMap::new(),
            registers: HashMap::new(),
            flats: Vec::new(),
            coordinates: Vec::new(),
            systems: HashMap::new(),
            reduction: None,
        }
    }

    /// The same generator, for code in which buffers of which this one has loaded no vectors are arrays of numbers.
    pub fn again(&self) -> Self {
        let loaded = self.buffers.iter().filter(|buffer| !matches!(buffer, Buffer::Storage(_)));
        let scalars = loaded.copied().filter(|buffer| !self.vectors.contains(buffer)).collect();
        Self { scalars, ..Self::new(self.graph, self.width, self.in_memory, self.vec4, self.halves) }
    }

    /// What [`Emitter::back_to`] takes the generator back to.
    pub fn state(&self) -> State {
        State { buffers: self.buffers.len(), functions: self.functions.len(), vectors: self.vectors.clone(), wide_stores: self.wide_stores }
    }

    /// Forgets the functions that were generated since.
    pub fn back_to(&mut self, state: State) {
        self.buffers.truncate(state.buffers);
        self.integers.truncate(state.buffers);
        self.functions.truncate(state.functions);
        self.vectors = state.vectors;
        self.wide_stores = state.wide_stores;
        self.lanes = self.width;
    }

    fn begin(&mut self) {
        self.gathers = false;
        self.lines.clear();
        self.known.clear();
        self.registers.clear();
        self.flats.clear();
        self.coordinates.clear();
        self.systems.clear();
        self.reduction = None;
    }

    /// `fn cell(c)`: computes `roots` at cell c and stores what is to be stored.
    pub fn cell(&mut self, roots: &[Id], stores: &[(Id, usize)]) -> Result<(), NotVector> {
        self.begin();
        self.wide_stores = true;
        self.flats.push("i".into());
        self.results(roots, stores)?;
        let index = if self.lanes == 4 { "c * 4u" } else { "c" };
        write!(self.functions, "\nfn cell(c: u32) {{\n    let i = {index};\n{}}}\n", self.lines).unwrap_or_default();
        Ok(())
    }

    /// `fn store(i, value)`: takes `value` for the first root, computes the others, and stores. Where 16-bit floats are stored it
    /// is `fn store_pair(i, values)`.
    pub fn store_scalar(&mut self, roots: &[Id], stores: &[(Id, usize)]) -> Result<(), NotVector> {
        self.begin();
        // bindings keep their vectors
        let width = std::mem::replace(&mut self.lanes, 1);
        self.flats.push("i".into());
        self.registers.insert(roots[0], "value".into());
        if let &[(id, storage)] = stores
            && (self.halves)(Buffer::Storage(storage))
        {
            self.results(&roots[1..], &[])?;
            let result = self.value(id, &Map { flat: Some(0), axes: vec![], guards: vec![] })?;
            self.lanes = width;
            self.store_pair(id, storage, &result);
            return Ok(());
        }
        self.results(&roots[1..], stores)?;
        self.lanes = width;
        write!(self.functions, "\nfn store(i: u32, value: f32) {{\n{}}}\n", self.lines).unwrap_or_default();
        self.store_parts();
        Ok(())
    }

    /// `fn store4(i, value)`: [`Emitter::store_scalar`] of four elements side by side, whose first is a multiple of four.
    pub fn store_vector(&mut self, roots: &[Id], stores: &[(Id, usize)]) -> Result<(), NotVector> {
        self.begin();
        self.wide_stores = true;
        self.flats.push("i".into());
        self.registers.insert(roots[0], "value".into());
        self.results(&roots[1..], stores)?;
        write!(self.functions, "\nfn store4(i: u32, value: vec4<f32>) {{\n{}}}\n", self.lines).unwrap_or_default();
        Ok(())
    }

    /// `fn name(batch, free, k)`: four elements of an operand of a product.
    pub fn operand(&mut self, name: &str, operand: &Operand, loads: Loads) -> Result<(), NotVector> {
        let lines = self.operand_at(operand, Some(loads))?;
        write!(self.functions, "\nfn {name}(batch: u32, free: u32, k: u32) -> vec4<f32> {{\n{lines}}}\n").unwrap_or_default();
        Ok(())
    }

    /// [`Emitter::operand`] with elements one by one, those beyond the last row or column being that one.
    pub fn operand_one_by_one(&mut self, name: &str, operand: &Operand) -> Result<(), NotVector> {
        let width = std::mem::replace(&mut self.lanes, 1);
        let lines = self.operand_at(operand, None)?;
        self.lanes = width;
        let last = operand.free.iter().product::<usize>() - 1;
        write!(self.functions, "\nfn {name}_of(batch: u32, free: u32, k: u32) -> f32 {{\n{lines}}}\n").unwrap_or_default();
        let parts = (1..4).map(|i| format!(", {name}_of(batch, min(free + {i}u, {last}u), k)")).collect::<String>();
        let all = format!("vec4({name}_of(batch, free, k){parts})");
        write!(self.functions, "\nfn {name}(batch: u32, free: u32, k: u32) -> vec4<f32> {{\n    return {all};\n}}\n").unwrap_or_default();
        Ok(())
    }

    fn operand_at(&mut self, operand: &Operand, loads: Option<Loads>) -> Emitted {
        self.begin();
        if loads == Some(Loads::Block) && !operand.depth.iter().product::<usize>().is_multiple_of(4) {
            return Err(NotVector);
        }
        let mut coordinates = HashMap::new();
        let groups = [
            (Group::Batch, "batch", &operand.batch, false),
            (Group::Free, "free", &operand.free, matches!(loads, Some(Loads::Across | Loads::Along))),
            (Group::Depth, "k", &operand.depth, loads == Some(Loads::Block)),
        ];
        for (group, name, sizes, fast) in groups {
            coordinates.insert(group, self.split(name, sizes, fast)?);
        }
        let mut guards = Vec::new();
        let mut axes = Vec::new();
        for along in &operand.axes {
            let mut axis = Axis { offset: along.offset, terms: Vec::new() };
            for &(group, at, factor) in &along.terms {
                axis.add_scaled(&coordinates[&group][at], factor);
            }
            if along.divisor > 1 {
                if self.lanes == 4 && self.speed(&axis) != 0 {
                    return Err(NotVector);
                }
                // negative ones are large
                guards.push((axis.clone(), along.size * along.divisor));
                let code = format!("{} / {}u", self.index(&axis, 0), along.divisor);
                let quotient = self.coordinate(&code, false);
                axis.add_scaled(&quotient, -(along.divisor as i64));
                guards.push((axis, 1));
                axis = quotient;
            } else if along.guarded {
                guards.push((axis.clone(), along.size));
            }
            axes.push(axis);
        }
        let shape: Vec<usize> = operand.axes.iter().map(|along| along.size).collect();
        let place = self.linear(&axes, &shape);
        let code = self.load(operand.value, &place, &guards)?;
        let value = self.name(&code);
        if loads.is_some() && self.gathers {
            return Err(NotVector);
        }
        let result = if guards.is_empty() { value } else { self.inside(&guards, &value) };
        Ok(format!("{}    return {result};\n", self.lines))
    }

    /// `fn store4(i, value)` by `store`.
    fn store_parts(&mut self) {
        let parts = ["x", "y", "z", "w"].iter().enumerate().map(|(k, part)| format!("    store(i + {k}u, value.{part});\n"));
        write!(self.functions, "\nfn store4(i: u32, value: vec4<f32>) {{\n{}}}\n", parts.collect::<String>()).unwrap_or_default();
    }

    /// `fn store_pair(i, values)`: the results of an even channel and of the odd one after it, if there is one, from the lines
    /// that compute `result` of one element.
    fn store_pair(&mut self, id: Id, storage: usize, result: &str) {
        let b = self.buffer(Buffer::Storage(storage), false);
        let (channels, volume) = (self.graph.dims(id)[1], self.volume(id));
        let odd = match channels.is_multiple_of(2) {
            true => format!("    let odd = result(even + {volume}u, values.y);\n"),
            false => format!(
                "    var odd = 0.0f;\n    if i < {}u {{\n        odd = result(even + {volume}u, values.y);\n    }}\n",
                channels / 2 * volume
            ),
        };
        write!(
            self.functions,
            "\nfn result(i: u32, value: f32) -> f32 {{\n{}    return {result};\n}}\n\
             \nfn store_pair(i: u32, values: vec2<f32>) {{\n    let even = i + i / {volume}u * {volume}u;\n{odd}    \
             g{b}[{} + i] = pair_of(vec2(result(even, values.x), odd));\n}}\n",
            self.lines,
            offset(b)
        )
        .unwrap_or_default();
    }

    /// The elements of a channel.
    fn volume(&self, id: Id) -> usize {
        self.graph.dims(id).iter().skip(2).product()
    }

    /// `fn store(i, value)` that does nothing but store.
    pub fn plain_store(&mut self, storage: usize) {
        let b = self.buffer(Buffer::Storage(storage), false);
        let offset = offset(b);
        write!(self.functions, "\nfn store(i: u32, value: f32) {{\n    g{b}[{offset} + i] = value;\n}}\n").unwrap_or_default();
        self.store_parts();
    }

    /// `fn store4(i, value)` that does nothing but store, where a buffer of vectors can be had.
    pub fn plain_store_vector(&mut self, storage: usize) -> Result<(), NotVector> {
        self.wide_stores = true;
        let b = self.buffer(Buffer::Storage(storage), false);
        if !self.is_vector(Buffer::Storage(storage)) {
            return Err(NotVector);
        }
        let offset = offset(b);
        write!(self.functions, "\nfn store4(i: u32, value: vec4<f32>) {{\n    g{b}[({offset} + i) / 4u] = value;\n}}\n")
            .unwrap_or_default();
        Ok(())
    }

    /// `fn term(o, r)`: term r of result o of a reduction of `x` over `axes`.
    pub fn term(&mut self, x: Id, axes: &[usize]) -> Result<(), NotVector> {
        self.begin();
        let shape = self.graph.dims(x).to_vec();
        let flat = self.flat_of_reduction(&shape, axes)?;
        self.reduction = Some(Reduction { shape, axes: axes.to_vec() });
        self.flats.push("i".into());
        writeln!(self.lines, "    let i = {flat};").unwrap_or_default();
        let value = self.value(x, &Map { flat: Some(0), axes: vec![], guards: vec![] })?;
        let terms = if self.lanes == 4 { "vec4<f32>" } else { "f32" };
        write!(self.functions, "\nfn term(o: u32, r: u32) -> {terms} {{\n{}    return {value};\n}}\n", self.lines).unwrap_or_default();
        Ok(())
    }

    /// `fn term(o, r)`: partial result r of result o.
    pub fn partial_term(&mut self, outputs: usize) {
        let b = self.buffer(Buffer::Partials, false);
        let offset = offset(b);
        write!(self.functions, "\nfn term(o: u32, r: u32) -> f32 {{\n    return g{b}[{offset} + r * {outputs}u + o];\n}}\n")
            .unwrap_or_default();
    }

    /// The code with its declarations, and what each binding is.
    pub fn finish(self) -> (Generated, Vec<Buffer>) {
        let offsets = FIRST_GENERATED - 1;
        let mut wgsl = format!("\n@group(0) @binding({offsets}) var<uniform> offsets: array<vec4<u32>, 3>;\n");
        let mut bindings = vec![BindingLayout { index: offsets, name: "offsets", access: Access::Uniform }];
        for (b, &buffer) in self.buffers.iter().enumerate() {
            let index = FIRST_GENERATED + b as u32;
            let (access, mode) = match buffer {
                Buffer::Value(_) | Buffer::Partials => (Access::Read, "read"),
                Buffer::Storage(_) => (Access::Write, "read_write"),
            };
            let element = match (self.integers[b], self.is_vector(buffer)) {
                _ if (self.halves)(buffer) => "u32",
                (true, _) => "u32",
                (false, true) => "vec4<f32>",
                (false, false) => "f32",
            };
            writeln!(wgsl, "@group(0) @binding({index}) var<storage, {mode}> g{b}: array<{element}>;").unwrap_or_default();
            bindings.push(BindingLayout { index, name: NAMES[b.min(NAMES.len() - 1)], access });
            if let Buffer::Value(id) = buffer
                && (self.halves)(buffer)
            {
                let (volume, offset) = (self.volume(id), offset(b));
                let body = format!(
                    "    let channel = i / {volume}u;\n    let pair = unpack2x16float(g{b}[{offset} + i - (channel - channel / 2u) * {volume}u]);\n    \
                     return select(pair.x, pair.y, channel % 2u == 1u);\n"
                );
                write!(wgsl, "\nfn half{b}(i: u32) -> f32 {{\n{body}}}\n\n").unwrap_or_default();
            }
        }
        wgsl.push_str(&called(&self.functions));
        wgsl.push_str(&self.functions);
        (Generated { wgsl, bindings, ..Generated::default() }, self.buffers)
    }

    /// Whether a buffer is declared as an array of vectors. Results that are stored one by one are not: a store to
    /// a part of a vector may write all of it.
    fn is_vector(&self, buffer: Buffer) -> bool {
        let whole = match buffer {
            Buffer::Value(_) => true,
            Buffer::Storage(_) => self.wide_stores,
            Buffer::Partials => false,
        };
        self.width == 4 && whole && (self.vec4)(buffer) && !(self.halves)(buffer) && !self.scalars.contains(&buffer)
    }

    fn buffer(&mut self, buffer: Buffer, integer: bool) -> usize {
        match self.buffers.iter().position(|&known| known == buffer) {
            Some(b) => b,
            None => {
                self.buffers.push(buffer);
                self.integers.push(integer);
                self.buffers.len() - 1
            }
        }
    }

    fn results(&mut self, roots: &[Id], stores: &[(Id, usize)]) -> Result<(), NotVector> {
        let here = Map { flat: Some(0), axes: vec![], guards: vec![] };
        for &root in roots {
            let name = self.compute(root, &here)?;
            self.registers.insert(root, name);
        }
        for &(id, storage) in stores {
            let value = self.value(id, &here)?;
            let b = self.buffer(Buffer::Storage(storage), false);
            let offset = offset(b);
            let declared = self.is_vector(Buffer::Storage(storage));
            match (self.lanes, declared) {
                (4, true) => writeln!(self.lines, "    g{b}[({offset} + i) / 4u] = {value};"),
                (4, false) => ["x", "y", "z", "w"]
                    .iter()
                    .enumerate()
                    .try_for_each(|(k, part)| writeln!(self.lines, "    g{b}[{offset} + i + {k}u] = {value}.{part};")),
                _ => writeln!(self.lines, "    g{b}[{offset} + i] = {value};"),
            }
            .unwrap_or_default();
        }
        Ok(())
    }

    /// The name of a value at a place: from a register, from memory, or computed.
    fn value(&mut self, id: Id, map: &Map) -> Emitted {
        let here = map.flat == Some(0) && map.guards.is_empty() && self.reduction.is_none();
        if let Some(name) = self.registers.get(&id).filter(|_| here) {
            return Ok(name.clone());
        }
        let key = (id, map.clone());
        if let Some(name) = self.known.get(&key) {
            return Ok(name.clone());
        }
        let name = match (self.in_memory)(id) {
            true => {
                let shape = self.graph.dims(id).to_vec();
                let place = self.place(map, &shape)?;
                let code = self.load(id, &place, &map.guards)?;
                self.name(&code)
            }
            false => self.compute(id, map)?,
        };
        self.known.insert(key, name.clone());
        Ok(name)
    }

    fn name(&mut self, code: &str) -> String {
        let name = format!("v{}", self.names);
        self.names += 1;
        writeln!(self.lines, "    let {name} = {code};").unwrap_or_default();
        name
    }

    /// A value from its inputs.
    fn compute(&mut self, id: Id, map: &Map) -> Emitted {
        let node = self.graph.node(id).clone();
        let input = |i: usize| node.inputs[i];
        let code = match &node.op {
            Op::Constant(number) => self.literal(number.0),
            Op::Scale(factor) => {
                let x = self.value(input(0), map)?;
                self.scaled(&x, factor.0)
            }
            // what drivers make of a constant 0 below the line differs
            Op::Unary(Unary::Reciprocal) | Op::Binary(Binary::Div) if self.is_zero(node.inputs.last()) => {
                let zero = hidden(0.0);
                let zero = if self.lanes == 4 { format!("vec4<f32>({zero})") } else { zero };
                let a = if node.inputs.len() == 2 { self.value(input(0), map)? } else { self.literal(1.0) };
                self.binary(Binary::Div, &a, &zero)
            }
            Op::Unary(function) => {
                let x = self.value(input(0), map)?;
                self.unary(*function, &x)
            }
            Op::Binary(function) => {
                let (a, b) = (self.value(input(0), map)?, self.value(input(1), map)?);
                self.binary(*function, &a, &b)
            }
            Op::Detach => return self.value(input(0), map),
            Op::Reshape => {
                let to = self.graph.dims(input(0)).to_vec();
                let map = self.reshaped(map, &node.shape, &to)?;
                return self.value(input(0), &map);
            }
            Op::Iota(axis) => {
                let axes = self.axes(map, &node.shape)?;
                let parts: Vec<String> = (0..self.lanes).map(|k| format!("f32({})", self.index(&axes[*axis], k))).collect();
                self.vector(&parts)
            }
            Op::OneHot => {
                let axes = self.axes(map, &node.shape)?;
                let (classes, leading) = axes.split_last().ok_or(NotVector)?;
                let shape = self.graph.dims(input(0)).to_vec();
                let place = self.linear(leading, &shape);
                let size = node.shape.last().copied().unwrap_or_default();
                let base = self.graph.physical(input(0));
                let b = self.buffer(Buffer::Value(base), true);
                let mut parts = Vec::new();
                for k in 0..self.lanes {
                    let at = self.guarded(&place, &map.guards, k);
                    let class = self.name(&format!("g{b}[{} + {at}]", offset(b)));
                    // no constant: those may not be NaN
                    let nan = format!("bitcast<f32>(0x7fc00000u | ({class} & 1u))");
                    let hit = format!("select(0.0, 1.0, {class} == {})", self.index(classes, k));
                    parts.push(format!("select({hit}, {nan}, {class} >= {size}u)"));
                }
                self.vector(&parts)
            }
            Op::Transpose(permutation) => {
                let axes = self.axes(map, &node.shape)?;
                let mut from = vec![Axis::default(); axes.len()];
                for (i, axis) in axes.into_iter().enumerate() {
                    from[permutation[i]] = axis;
                }
                return self.value(input(0), &Map { flat: None, axes: from, guards: map.guards.clone() });
            }
            Op::Broadcast => {
                let mut axes = self.axes(map, &node.shape)?;
                let from = self.graph.dims(input(0));
                for (i, axis) in axes.iter_mut().enumerate() {
                    if from[i] == 1 {
                        *axis = Axis::default();
                    }
                }
                return self.value(input(0), &Map { flat: None, axes, guards: map.guards.clone() });
            }
            Op::Slice(start) => {
                let mut axes = self.axes(map, &node.shape)?;
                for (axis, &start) in axes.iter_mut().zip(start) {
                    axis.offset += start as i64;
                }
                return self.value(input(0), &Map { flat: None, axes, guards: map.guards.clone() });
            }
            Op::Pad(before) => {
                let mut axes = self.axes(map, &node.shape)?;
                let from = self.graph.dims(input(0)).to_vec();
                let mut guards = map.guards.clone();
                let mut own = Vec::new();
                for (i, axis) in axes.iter_mut().enumerate() {
                    axis.offset -= before[i] as i64;
                    if from[i] != node.shape[i] {
                        own.push((axis.clone(), from[i]));
                    }
                }
                for guard in &own {
                    if !guards.contains(guard) {
                        guards.push(guard.clone());
                    }
                }
                let inner = self.value(input(0), &Map { flat: None, axes, guards })?;
                self.inside(&own, &inner)
            }
            // all others have kernels, whose results are in memory
            _ => self.literal(0.0),
        };
        Ok(self.name(&code))
    }

    /// A number as f32, in every lane. One that is too large is infinite, which WGSL has no constant for.
    fn literal(&self, value: f64) -> String {
        let rounded = value as f32;
        let text = match rounded.is_finite() {
            true => format!("{rounded:?}f"),
            false => hidden(rounded),
        };
        if self.lanes == 4 { format!("vec4<f32>({text})") } else { text }
    }

    /// x times a number, in two steps if f32 do not have that number.
    fn scaled(&self, x: &str, factor: f64) -> String {
        if is_normal(factor) {
            return format!("{x} * {}", self.literal(factor));
        }
        let first = (factor.abs().log2() / 2.0).round().clamp(-126.0, 127.0).exp2();
        let second = (factor / first).clamp(-f64::from(f32::MAX), f64::from(f32::MAX)) as f32;
        format!("{x} * {} * {}", self.literal(first), hidden(second))
    }

    fn is_zero(&self, id: Option<&Id>) -> bool {
        id.is_some_and(|&id| matches!(self.graph.node(id).op, Op::Constant(value) if value.0 == 0.0))
    }

    fn vector(&self, parts: &[String]) -> String {
        if self.lanes == 4 { format!("vec4<f32>({})", parts.join(", ")) } else { parts.concat() }
    }

    /// By its bits: what comparisons with NaN give is left open.
    fn is_nan(&self, x: &str) -> String {
        match self.lanes {
            4 => format!("((bitcast<vec4<u32>>({x}) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u))"),
            _ => format!("((bitcast<u32>({x}) & 0x7fffffffu) > 0x7f800000u)"),
        }
    }

    fn unary(&self, function: Unary, x: &str) -> String {
        let (zero, one) = (self.literal(0.0), self.literal(1.0));
        match function {
            Unary::Exp => self.call("exponential", x),
            Unary::Expm1 => self.call("expm1", x),
            Unary::Log => self.call("logarithm", x),
            Unary::Log1p => self.call("log1p", x),
            Unary::Sqrt => format!("sqrt({x})"),
            Unary::Reciprocal => format!("{one} / {x}"),
            Unary::Tanh => self.call("hyperbolic_tangent", x),
            Unary::Erf => self.call("erf", x),
            Unary::Sigmoid => self.call("sigmoid", x),
            Unary::Relu => format!("select({zero}, {x}, ({x} > {zero}) | {})", self.is_nan(x)),
            Unary::Step => format!("select({zero}, {one}, ({x} > {zero}) & !{})", self.is_nan(x)),
            Unary::Softplus => self.call("softplus", x),
            Unary::Abs => format!("abs({x})"),
            Unary::Sign => format!("select(sign({x}), {zero}, {})", self.is_nan(x)),
            Unary::Sin => self.call("sine", x),
            Unary::Cos => self.call("cosine", x),
        }
    }

    /// A function of `shaders/shared/elementary.wgsl`, of each lane.
    fn call(&self, function: &str, x: &str) -> String {
        match self.lanes {
            4 => self.vector(&["x", "y", "z", "w"].map(|part| format!("{function}({x}.{part})"))),
            _ => format!("{function}({x})"),
        }
    }

    fn binary(&self, function: Binary, a: &str, b: &str) -> String {
        let (zero, one) = (self.literal(0.0), self.literal(1.0));
        match function {
            Binary::Add => format!("{a} + {b}"),
            Binary::Sub => format!("{a} - {b}"),
            Binary::Mul => format!("{a} * {b}"),
            Binary::Div => format!("{a} / {b}"),
            Binary::Maximum => format!("select({b}, {a}, (({a} > {b}) | {}) & !{})", self.is_nan(a), self.is_nan(b)),
            Binary::Greater => format!("select({zero}, {one}, ({a} > {b}) & !({} | {}))", self.is_nan(a), self.is_nan(b)),
            Binary::Mask => format!("select(select({a}, {zero}, {b} == {zero}), {b}, {})", self.is_nan(b)),
        }
    }

    /// The row-major place of an element.
    fn place(&mut self, map: &Map, shape: &[usize]) -> Result<Axis, NotVector> {
        match map.flat {
            Some(flat) => {
                // the flat index counts as a coordinate of its own
                let axes = self.system(flat, &[usize::MAX])?;
                Ok(axes[0].clone())
            }
            None => Ok(self.linear(&map.axes, shape)),
        }
    }

    fn linear(&self, axes: &[Axis], shape: &[usize]) -> Axis {
        let mut place = Axis::default();
        for (axis, stride) in axes.iter().zip(contiguous(shape)) {
            place.add_scaled(axis, stride as i64);
        }
        place
    }

    fn load(&mut self, id: Id, place: &Axis, guards: &[(Axis, usize)]) -> Emitted {
        let buffer = Buffer::Value(id);
        let b = self.buffer(buffer, self.graph.is_integer(id));
        let offset = offset(b);
        let declared = self.is_vector(buffer);
        let halves = (self.halves)(buffer);
        let scalar = |at: &str| match declared {
            _ if halves => format!("half{b}({at})"),
            true => format!("g{b}[({offset} + {at}) / 4u][({offset} + {at}) % 4u]"),
            false => format!("g{b}[{offset} + {at}]"),
        };
        if self.lanes == 1 {
            let at = self.guarded(place, guards, 0);
            return Ok(scalar(&at));
        }
        let fast = self.speed(place);
        let guards_fast = guards.iter().any(|(axis, _)| self.speed(axis) != 0);
        if fast == 0 && !guards_fast {
            let at = self.guarded(place, guards, 0);
            return Ok(format!("vec4<f32>({})", scalar(&at)));
        }
        let aligned = place.offset % 4 == 0 && place.terms.iter().all(|&(c, factor)| self.coordinates[c].fast || factor % 4 == 0);
        if fast == 1 && !guards_fast && aligned && declared {
            let at = self.guarded(place, guards, 0);
            self.vectors.insert(buffer);
            return Ok(format!("g{b}[({offset} + {at}) / 4u]"));
        }
        self.gathers = true;
        let parts: Vec<String> = (0..4).map(|k| scalar(&self.guarded(place, guards, k))).collect();
        Ok(format!("vec4<f32>({})", parts.join(", ")))
    }

    /// How far an index moves from one of four elements to the next.
    fn speed(&self, axis: &Axis) -> i64 {
        axis.terms.iter().filter(|term| self.coordinates[term.0].fast).map(|term| term.1).sum()
    }

    /// An index of the k-th of four elements, in wrapping u32 arithmetic.
    fn index(&self, axis: &Axis, k: usize) -> String {
        let mut text = String::new();
        for &(coordinate, factor) in &axis.terms {
            let name = &self.coordinates[coordinate].name;
            let sign = match (factor < 0, text.is_empty()) {
                (true, _) => " - ",
                (false, true) => "",
                (false, false) => " + ",
            };
            // a negative first term begins with what it is taken from
            let start = if text.is_empty() && factor < 0 { "0u" } else { "" };
            match factor.abs() {
                1 => write!(text, "{start}{sign}{name}"),
                factor => write!(text, "{start}{sign}{name} * {factor}u"),
            }
            .unwrap_or_default();
        }
        let offset = axis.offset + k as i64 * self.speed(axis);
        match (offset, text.is_empty()) {
            (offset, true) => format!("{}u", offset as u32),
            (0, _) => format!("({text})"),
            (1.., _) => format!("({text} + {offset}u)"),
            _ => format!("({text} - {}u)", -offset),
        }
    }

    /// Whether coordinates are inside, negative ones being large. Without `&&`, whose branches some drivers compile for minutes.
    fn condition(&self, guards: &[(Axis, usize)], k: usize) -> String {
        let inside = guards.iter().map(|(axis, size)| format!("({} < {size}u)", self.index(axis, k)));
        let all: Vec<String> = inside.collect();
        if all.is_empty() { "true".into() } else { format!("({})", all.join(" & ")) }
    }

    /// A value, and 0 where its element is outside.
    fn inside(&self, guards: &[(Axis, usize)], value: &str) -> String {
        let parts: Vec<String> = (0..self.lanes).map(|k| self.condition(guards, k)).collect();
        let inside = if self.lanes == 4 { format!("vec4<bool>({})", parts.join(", ")) } else { parts.concat() };
        format!("select({}, {value}, {inside})", self.literal(0.0))
    }

    /// An index, and 0 where the element is outside.
    fn guarded(&self, axis: &Axis, guards: &[(Axis, usize)], k: usize) -> String {
        let index = self.index(axis, k);
        match guards.is_empty() {
            true => index,
            false => format!("select(0u, {index}, {})", self.condition(guards, k)),
        }
    }

    fn coordinate(&mut self, code: &str, fast: bool) -> Axis {
        let name = format!("c{}", self.coordinates.len());
        writeln!(self.lines, "    let {name} = {code};").unwrap_or_default();
        self.coordinates.push(Coordinate { name, fast: fast && self.lanes == 4 });
        Axis { offset: 0, terms: vec![(self.coordinates.len() - 1, 1)] }
    }

    /// The coordinates of an element of a value of `shape`.
    fn axes(&mut self, map: &Map, shape: &[usize]) -> Result<Vec<Axis>, NotVector> {
        match map.flat {
            Some(flat) => self.system(flat, shape),
            None => Ok(map.axes.clone()),
        }
    }

    /// The coordinates that a flat index has in `shape`; with one axis of usize::MAX, itself.
    fn system(&mut self, flat: usize, shape: &[usize]) -> Result<Vec<Axis>, NotVector> {
        let key = (flat, shape.to_vec());
        if let Some(axes) = self.systems.get(&key) {
            return Ok(axes.clone());
        }
        let name = self.flats[flat].clone();
        let reduced =
            self.reduction.as_ref().filter(|reduction| flat == 0 && reduction.shape == shape).map(|reduction| reduction.axes.clone());
        let axes = match reduced {
            Some(axes) => {
                let kept: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
                let mut all = vec![Axis::default(); shape.len()];
                for (name, own, fast) in [("o", &kept, false), ("r", &axes, true)] {
                    let sizes: Vec<usize> = own.iter().map(|&axis| shape[axis]).collect();
                    for (&axis, part) in own.iter().zip(self.split(name, &sizes, fast)?) {
                        all[axis] = part;
                    }
                }
                all
            }
            None if shape == [usize::MAX] => vec![self.coordinate(&name, true)],
            None => self.split(&name, shape, true)?,
        };
        self.systems.insert(key, axes.clone());
        Ok(axes)
    }

    /// An index taken apart into coordinates of these sizes, the last one fast if the index is.
    fn split(&mut self, index: &str, sizes: &[usize], fast: bool) -> Result<Vec<Axis>, NotVector> {
        let last = sizes.iter().rposition(|&size| size > 1);
        if self.lanes == 4 && fast && last.is_some_and(|last| !sizes[last].is_multiple_of(4)) {
            return Err(NotVector);
        }
        let strides = contiguous(sizes);
        let first = sizes.iter().position(|&size| size > 1);
        let mut axes = Vec::with_capacity(sizes.len());
        for (i, &size) in sizes.iter().enumerate() {
            if size == 1 {
                axes.push(Axis::default());
                continue;
            }
            let quotient = if strides[i] == 1 { index.to_owned() } else { format!("{index} / {}u", strides[i]) };
            let code = if Some(i) == first { quotient } else { format!("({quotient}) % {size}u") };
            axes.push(self.coordinate(&code, fast && Some(i) == last));
        }
        Ok(axes)
    }

    /// The row-major index of term r of result o.
    fn flat_of_reduction(&mut self, shape: &[usize], axes: &[usize]) -> Result<String, NotVector> {
        // axes side by side that are both kept or both reduced are one
        let mut groups: Vec<(bool, usize)> = Vec::new();
        for (i, &size) in shape.iter().enumerate().filter(|(_, size)| **size > 1) {
            let reduced = axes.contains(&i);
            match groups.last_mut().filter(|group| group.0 == reduced) {
                Some(group) => group.1 *= size,
                None => groups.push((reduced, size)),
            }
        }
        if self.lanes == 4 && !groups.last().is_some_and(|&(reduced, size)| reduced && size.is_multiple_of(4)) {
            return Err(NotVector);
        }
        let sizes: Vec<usize> = groups.iter().map(|group| group.1).collect();
        let strides = contiguous(&sizes);
        let mut terms = Vec::new();
        for (name, kind) in [("o", false), ("r", true)] {
            let own: Vec<usize> = (0..groups.len()).filter(|&g| groups[g].0 == kind).collect();
            let own_sizes: Vec<usize> = own.iter().map(|&g| sizes[g]).collect();
            let own_strides = contiguous(&own_sizes);
            for (j, &g) in own.iter().enumerate() {
                let quotient = if own_strides[j] == 1 { name.to_owned() } else { format!("{name} / {}u", own_strides[j]) };
                let part = if j == 0 { format!("({quotient})") } else { format!("(({quotient}) % {}u)", sizes[g]) };
                terms.push(if strides[g] == 1 { part } else { format!("{part} * {}u", strides[g]) });
            }
        }
        Ok(if terms.is_empty() { "0u".into() } else { terms.join(" + ") })
    }

    /// The map of the input of a reshape from `to` to `from`.
    fn reshaped(&mut self, map: &Map, from: &[usize], to: &[usize]) -> Result<Map, NotVector> {
        if map.flat.is_some() {
            return Ok(map.clone());
        }
        let mut axes = vec![Axis::default(); to.len()];
        let old: Vec<usize> = (0..from.len()).filter(|&i| from[i] > 1).collect();
        let new: Vec<usize> = (0..to.len()).filter(|&i| to[i] > 1).collect();
        let (mut i, mut j) = (0, 0);
        while i < old.len() && j < new.len() {
            // the least run of axes on both sides with equally many elements
            let (start, first) = (i, j);
            let (mut a, mut b) = (from[old[i]], to[new[j]]);
            while a != b {
                if a < b {
                    i += 1;
                    a *= from[old[i]];
                } else {
                    j += 1;
                    b *= to[new[j]];
                }
            }
            let mut whole = Axis::default();
            let mut stride = 1;
            for &axis in old[start..=i].iter().rev() {
                whole.add_scaled(&map.axes[axis], stride);
                stride *= from[axis] as i64;
            }
            if first == j {
                axes[new[j]] = whole;
            } else {
                let fast = self.speed(&whole);
                let aligned = whole.offset % 4 == 0 && whole.terms.iter().all(|&(c, factor)| self.coordinates[c].fast || factor % 4 == 0);
                if fast != 0 && !(fast == 1 && aligned) {
                    return Err(NotVector);
                }
                let index = self.index(&whole, 0);
                let sizes: Vec<usize> = new[first..=j].iter().map(|&axis| to[axis]).collect();
                for (&axis, part) in new[first..=j].iter().zip(self.split(&index, &sizes, fast == 1)?) {
                    axes[axis] = part;
                }
            }
            i += 1;
            j += 1;
        }
        Ok(Map { flat: None, axes, guards: map.guards.clone() })
    }
}

/// The functions of [`ELEMENTARY`] that some code calls, with those that they call.
fn called(code: &str) -> String {
    // a function is a paragraph, after comments; so is a struct
    let parts: Vec<&str> = ELEMENTARY.split("\n\n").collect();
    let name = |part: &str| {
        let line = part.lines().find(|line| line.starts_with("fn ") || line.starts_with("struct "))?;
        line.split([' ', '(']).nth(1).map(str::to_owned)
    };
    let calls = |code: &str, name: &str| {
        let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.into_iter().any(|word| word == name)
    };
    let mut wanted = code.to_owned();
    let mut found = String::new();
    // what a function calls comes before it
    for part in parts.into_iter().rev() {
        // most names occur nowhere, which a search for the text finds out sooner
        if name(part).is_some_and(|name| wanted.contains(&name) && calls(&wanted, &name)) {
            wanted.push_str(part);
            found.push_str("\n\n");
            found.push_str(part);
        }
    }
    found
}

/// A number that compilers do not see.
fn hidden(value: f32) -> String {
    format!("bitcast<f32>({}u ^ {ZERO})", value.to_bits())
}

/// Where a binding's value begins, in elements: what the host's alignment of bindings leaves over.
fn offset(b: usize) -> String {
    format!("offsets[{}][{}]", b / 4, b % 4)
}

const NAMES: [&str; 8] = ["g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7"];
