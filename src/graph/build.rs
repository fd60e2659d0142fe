//! Making nodes whose shapes are right: folding of constants, identities and common subexpressions, all when
//! a node is made. The checks are in `ops.rs`, whose functions are the public ones.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::linear_map::LinearMap;
use super::op::{Binary, Form, Number, Op, Stencil, Unary, Window};
use super::parameters::Init;
use crate::{Error, Result};

/// A value of a graph: a node, of which it is the result. It is a value of every graph that holds this very node: of
/// the one that made it, and of clones made since. Others refuse it, also a clone that has made another node in its
/// place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var {
    pub(crate) id: Id,
    stamp: u64,
}

/// The place of a node in its graph; inputs come before what is made of them.
pub(crate) type Id = u32;

/// A static tensor graph: shapes are known, values are not. Nodes are in single static assignment, each
/// one a primitive ([`Op`]) of nodes before it. Equal nodes are one node, constants are folded, and
/// identities are left out, as nodes are made.
///
/// Folding takes values for finite, as drivers do when they compile a shader: a constant 0 makes zero of whatever it is
/// multiplied with or divided by, and `x - x` is 0, were x infinite or NaN.
///
/// Constants and factors are f64 while the graph is made, so that `1e-30 (1e-30 x)` times 1e60 is x. On the device they
/// are f32: a constant above 3.4e38 is infinite there, and one below 1.2e-38 may count as 0. A factor out of that
/// range is applied in two steps, so that a product that f32 can hold is right.
///
/// `{:?}` prints a line a node.
#[derive(Clone, Default)]
pub struct Graph {
    /// Shared with clones, plans among them, until one of them makes a node.
    contents: Arc<Contents>,
}

#[derive(Clone, Default)]
struct Contents {
    nodes: Vec<Node>,
    /// Of each node a number that no other node has, in whatever graph.
    stamps: Vec<u64>,
    known: HashMap<Node, Id>,
    /// Of the leaves.
    names: HashSet<String>,
    initial: HashMap<Id, Init>,
}

/// A primitive, its inputs, and the shape of its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub op: Op,
    pub inputs: Vec<Id>,
    pub shape: Vec<usize>,
}

impl Graph {
    /// An empty graph.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.contents.nodes.len()
    }

    /// Whether there is no node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.contents.nodes.is_empty()
    }

    /// The shape of a value, slowest axis first.
    ///
    /// # Errors
    /// [`Error::Unknown`] if it is of another graph.
    pub fn shape(&self, var: Var) -> Result<&[usize]> {
        self.check(var).map(|id| self.dims(id))
    }

    /// The primitive of a value and its inputs.
    ///
    /// # Errors
    /// [`Error::Unknown`] if it is of another graph.
    pub fn op(&self, var: Var) -> Result<(&Op, Vec<Var>)> {
        let node = self.node(self.check(var)?);
        Ok((&node.op, node.inputs.iter().map(|&id| self.var(id)).collect()))
    }

    /// All values, in the order of their making: inputs come before what is made of them.
    pub fn vars(&self) -> impl Iterator<Item = Var> {
        (0..self.contents.nodes.len() as Id).map(|id| self.var(id))
    }

    /// The parameters in the order of their making: names and values.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, Var)> {
        self.contents.nodes.iter().enumerate().filter_map(|(id, node)| match &node.op {
            Op::Parameter(name) => Some((name.as_str(), self.var(id as Id))),
            _ => None,
        })
    }

    pub(crate) fn initial(&self, id: Id) -> Init {
        self.contents.initial.get(&id).copied().unwrap_or_default()
    }

    pub(crate) fn var(&self, id: Id) -> Var {
        Var { id, stamp: self.contents.stamps[id as usize] }
    }

    pub(crate) fn check(&self, var: Var) -> Result<Id> {
        match self.contents.stamps.get(var.id as usize) == Some(&var.stamp) {
            true => Ok(var.id),
            false => Err(Error::Unknown { what: "node in this graph", name: format!("%{} of another graph", var.id) }),
        }
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.contents.nodes[id as usize]
    }

    pub(crate) fn dims(&self, id: Id) -> &[usize] {
        &self.node(id).shape
    }

    /// A leaf, or `None` if there is one of this name.
    pub(crate) fn leaf(&mut self, op: Op, shape: &[usize], initial: Option<Init>) -> Option<Id> {
        let name = op.name()?.to_owned();
        if self.contents.names.contains(&name) {
            return None;
        }
        let id = self.push(op, &[], shape);
        let contents = Arc::make_mut(&mut self.contents);
        contents.names.insert(name);
        if let Some(initial) = initial {
            contents.initial.insert(id, initial);
        }
        Some(id)
    }

    fn push(&mut self, op: Op, inputs: &[Id], shape: &[usize]) -> Id {
        let node = Node { op, inputs: inputs.to_vec(), shape: shape.to_vec() };
        if let Some(&id) = self.contents.known.get(&node) {
            return id;
        }
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let contents = Arc::make_mut(&mut self.contents);
        let id = contents.nodes.len() as Id;
        contents.stamps.push(NEXT.fetch_add(1, Ordering::Relaxed));
        contents.nodes.push(node.clone());
        contents.known.insert(node, id);
        id
    }

    /// What `build` makes of the graph, or the graph as it was if that fails.
    pub(crate) fn attempt<T>(&mut self, build: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = self.contents.nodes.len();
        let result = build(self);
        if result.is_err() && self.len() > before {
            let contents = Arc::make_mut(&mut self.contents);
            for node in contents.nodes.drain(before..) {
                contents.known.remove(&node);
                node.op.name().map(|name| contents.names.remove(name));
            }
            contents.stamps.truncate(before);
            contents.initial.retain(|&id, _| (id as usize) < before);
        }
        result
    }

    fn constant_of(&self, id: Id) -> Option<f64> {
        match self.node(id).op {
            Op::Constant(value) => Some(value.0),
            _ => None,
        }
    }

    /// A constant, finite in f64.
    pub(crate) fn fill(&mut self, value: f64, shape: &[usize]) -> Id {
        self.push(Op::Constant(Number(value)), &[], shape)
    }

    /// A constant of the shape of another value.
    pub(crate) fn fill_like(&mut self, value: f64, like: Id) -> Id {
        let shape = self.dims(like).to_vec();
        self.fill(value, &shape)
    }

    pub(crate) fn coordinate(&mut self, axis: usize, shape: &[usize]) -> Id {
        self.push(Op::Iota(axis), &[], shape)
    }

    pub(crate) fn one_hot_of(&mut self, indices: Id, classes: usize) -> Id {
        let mut shape = self.dims(indices).to_vec();
        shape.push(classes);
        self.push(Op::OneHot, &[indices], &shape)
    }

    pub(crate) fn unary(&mut self, function: Unary, x: Id) -> Id {
        let shape = self.dims(x).to_vec();
        match self.constant_of(x).map(|c| function.apply(c)).filter(|c| c.is_finite()) {
            Some(value) => self.fill(value, &shape),
            None => self.push(Op::Unary(function), &[x], &shape),
        }
    }

    pub(crate) fn binary(&mut self, function: Binary, a: Id, b: Id) -> Id {
        let shape = self.dims(a).to_vec();
        let (ca, cb) = (self.constant_of(a), self.constant_of(b));
        // what underflows in f64 is no 0: there may be more to multiply it with
        let product = matches!(function, Binary::Mul | Binary::Div);
        let vanishes = |value: f64| value == 0.0 && product && ca != Some(0.0) && cb != Some(0.0);
        if let Some(value) = ca.zip(cb).map(|(a, b)| function.apply(a, b)).filter(|&c| c.is_finite() && !vanishes(c)) {
            return self.fill(value, &shape);
        }
        match function {
            Binary::Add if ca == Some(0.0) => return b,
            Binary::Add | Binary::Sub if cb == Some(0.0) => return a,
            Binary::Sub if ca == Some(0.0) => return self.scale_by(b, -1.0),
            Binary::Sub if a == b => return self.fill(0.0, &shape),
            Binary::Mul if ca.is_some() => return self.scale_by(b, ca.unwrap_or_default()),
            Binary::Mul if cb.is_some() => return self.scale_by(a, cb.unwrap_or_default()),
            Binary::Div if cb.is_some_and(|c| c.recip().is_finite()) => return self.scale_by(a, cb.unwrap_or_default().recip()),
            Binary::Div if ca == Some(0.0) => return a,
            Binary::Div if ca == Some(1.0) => return self.unary(Unary::Reciprocal, b),
            // a numerator that f32 do not have
            Binary::Div if ca.is_some_and(|c| !is_normal(c)) => {
                let inverse = self.unary(Unary::Reciprocal, b);
                return self.scale_by(inverse, ca.unwrap_or_default());
            }
            Binary::Mask if ca == Some(0.0) || cb == Some(0.0) => return self.fill(0.0, &shape),
            Binary::Mask if cb.is_some() => return a,
            Binary::Add if a == b => return self.scale_by(a, 2.0),
            _ => {}
        }
        // one order for what commutes, so that equal nodes are found
        let (a, b) = if matches!(function, Binary::Add | Binary::Mul) { (a.min(b), a.max(b)) } else { (a, b) };
        self.push(Op::Binary(function), &[a, b], &shape)
    }

    pub(crate) fn plus(&mut self, a: Id, b: Id) -> Id {
        self.binary(Binary::Add, a, b)
    }

    pub(crate) fn minus(&mut self, a: Id, b: Id) -> Id {
        self.binary(Binary::Sub, a, b)
    }

    pub(crate) fn times(&mut self, a: Id, b: Id) -> Id {
        self.binary(Binary::Mul, a, b)
    }

    pub(crate) fn scale_by(&mut self, x: Id, factor: f64) -> Id {
        let shape = self.dims(x).to_vec();
        if factor == 1.0 {
            return x;
        }
        if factor == 0.0 {
            return self.fill(0.0, &shape);
        }
        let fits = |value: f64| value.is_finite() && value != 0.0;
        if let Some(value) = self.constant_of(x).map(|c| c * factor).filter(|&c| fits(c) || self.constant_of(x) == Some(0.0)) {
            return self.fill(value, &shape);
        }
        match self.node(x).op {
            Op::Scale(inner) if fits(inner.0 * factor) => {
                let x = self.node(x).inputs[0];
                self.scale_by(x, inner.0 * factor)
            }
            _ => self.push(Op::Scale(Number(factor)), &[x], &shape),
        }
    }

    pub(crate) fn detached(&mut self, x: Id) -> Id {
        let shape = self.dims(x).to_vec();
        match self.node(x).op {
            Op::Constant(_) | Op::Detach => x,
            _ => self.push(Op::Detach, &[x], &shape),
        }
    }

    pub(crate) fn reshaped(&mut self, x: Id, shape: &[usize]) -> Id {
        if self.dims(x) == shape {
            return x;
        }
        match self.node(x).op {
            Op::Constant(value) => self.fill(value.0, shape),
            Op::Reshape => {
                let x = self.node(x).inputs[0];
                self.reshaped(x, shape)
            }
            _ => self.push(Op::Reshape, &[x], shape),
        }
    }

    pub(crate) fn permuted(&mut self, x: Id, axes: &[usize]) -> Id {
        let shape: Vec<usize> = axes.iter().map(|&axis| self.dims(x)[axis]).collect();
        if axes.iter().enumerate().all(|(i, &axis)| i == axis) {
            return x;
        }
        match &self.node(x).op {
            &Op::Constant(value) => self.fill(value.0, &shape),
            Op::Transpose(inner) => {
                let axes: Vec<usize> = axes.iter().map(|&axis| inner[axis]).collect();
                let x = self.node(x).inputs[0];
                self.permuted(x, &axes)
            }
            // (AB)ᵀ = BᵀAᵀ, whose operands are transposed for nothing
            Op::Matmul if is_swap(axes) => {
                let (a, b) = (self.node(x).inputs[0], self.node(x).inputs[1]);
                let (at, bt) = (self.swapped(a), self.swapped(b));
                self.product(bt, at)
            }
            _ => self.push(Op::Transpose(axes.to_vec()), &[x], &shape),
        }
    }

    /// The last two axes exchanged.
    pub(crate) fn swapped(&mut self, x: Id) -> Id {
        let rank = self.dims(x).len();
        let mut axes: Vec<usize> = (0..rank).collect();
        axes.swap(rank - 2, rank - 1);
        self.permuted(x, &axes)
    }

    /// Axes of size 1 repeated; the ranks are equal.
    pub(crate) fn repeated(&mut self, x: Id, shape: &[usize]) -> Id {
        if self.dims(x) == shape {
            return x;
        }
        match self.node(x).op {
            Op::Constant(value) => self.fill(value.0, shape),
            Op::Broadcast => {
                let x = self.node(x).inputs[0];
                self.repeated(x, shape)
            }
            _ => self.push(Op::Broadcast, &[x], shape),
        }
    }

    /// Sums over sorted axes, which keep the size 1.
    pub(crate) fn summed(&mut self, x: Id, axes: &[usize]) -> Id {
        let axes: Vec<usize> = axes.iter().copied().filter(|&axis| self.dims(x)[axis] > 1).collect();
        if axes.is_empty() {
            return x;
        }
        let shape = without(self.dims(x), &axes);
        let count: usize = axes.iter().map(|&axis| self.dims(x)[axis]).product();
        match &self.node(x).op {
            &Op::Constant(value) if (value.0 * count as f64).is_finite() => self.fill(value.0 * count as f64, &shape),
            Op::Sum(inner) => {
                let mut axes: Vec<usize> = axes.iter().chain(inner).copied().collect();
                axes.sort_unstable();
                let x = self.node(x).inputs[0];
                self.summed(x, &axes)
            }
            // what is repeated is counted
            Op::Broadcast => {
                let inner = self.node(x).inputs[0];
                let repeated: Vec<usize> = axes.iter().copied().filter(|&axis| self.dims(inner)[axis] == 1).collect();
                if repeated.is_empty() {
                    return self.push(Op::Sum(axes), &[x], &shape);
                }
                let times: usize = repeated.iter().map(|&axis| self.dims(x)[axis]).product();
                let fewer = without(self.dims(x), &repeated);
                let rest: Vec<usize> = axes.iter().copied().filter(|axis| !repeated.contains(axis)).collect();
                let less = self.repeated(inner, &fewer);
                let sum = self.summed(less, &rest);
                self.scale_by(sum, times as f64)
            }
            _ => self.push(Op::Sum(axes), &[x], &shape),
        }
    }

    /// The maximum over axes, which keep the size 1.
    pub(crate) fn greatest(&mut self, x: Id, axes: &[usize]) -> Id {
        let shape = without(self.dims(x), axes);
        match self.node(x).op {
            Op::Constant(value) => self.fill(value.0, &shape),
            _ => self.push(Op::Max(axes.to_vec()), &[x], &shape),
        }
    }

    pub(crate) fn padded(&mut self, x: Id, before: &[usize], shape: &[usize]) -> Id {
        match (self.dims(x) == shape, self.constant_of(x)) {
            (true, _) => x,
            (_, Some(0.0)) => self.fill(0.0, shape),
            _ => self.push(Op::Pad(before.to_vec()), &[x], shape),
        }
    }

    pub(crate) fn sliced(&mut self, x: Id, start: &[usize], shape: &[usize]) -> Id {
        match (self.dims(x) == shape, self.constant_of(x)) {
            (true, _) => x,
            (_, Some(value)) => self.fill(value, shape),
            _ => match &self.node(x).op {
                Op::Pad(before) if before == start && self.dims(self.node(x).inputs[0]) == shape => self.node(x).inputs[0],
                _ => self.push(Op::Slice(start.to_vec()), &[x], shape),
            },
        }
    }

    /// `[.., m, k]` times `[.., k, n]`.
    pub(crate) fn product(&mut self, a: Id, b: Id) -> Id {
        let mut shape = self.dims(a).to_vec();
        let rank = shape.len();
        shape[rank - 1] = self.dims(b)[rank - 1];
        self.linear(Op::Matmul, &[a, b], &shape)
    }

    pub(crate) fn convolved(&mut self, form: Form, stencil: &Stencil, a: Id, b: Id, shape: &[usize]) -> Id {
        self.linear(Op::Convolution(form, stencil.clone()), &[a, b], shape)
    }

    pub(crate) fn applied(&mut self, map: &LinearMap, x: Id) -> Id {
        let mut shape = self.dims(x).to_vec();
        if let Some(last) = shape.last_mut() {
            *last = map.rows();
        }
        self.linear(Op::Linear(map.clone()), &[x], &shape)
    }

    pub(crate) fn pooled(&mut self, window: &Window, x: Id, shape: &[usize]) -> Id {
        self.linear(Op::Pool(window.clone()), &[x], shape)
    }

    pub(crate) fn unpooled(&mut self, window: &Window, x: Id, shape: &[usize]) -> Id {
        self.linear(Op::Unpool(window.clone()), &[x], shape)
    }

    pub(crate) fn max_places(&mut self, window: &Window, x: Id, shape: &[usize]) -> Id {
        self.push(Op::MaxPoolIndices(window.clone()), &[x], shape)
    }

    pub(crate) fn selected(&mut self, window: &Window, x: Id, places: Id) -> Id {
        let shape = self.dims(places).to_vec();
        self.linear(Op::PoolSelect(window.clone()), &[x, places], &shape)
    }

    pub(crate) fn scattered(&mut self, window: &Window, y: Id, places: Id, shape: &[usize]) -> Id {
        self.linear(Op::PoolScatter(window.clone()), &[y, places], shape)
    }

    pub(crate) fn gathered(&mut self, table: Id, indices: Id) -> Id {
        let shape = [self.dims(indices)[0], self.dims(table)[1]];
        self.linear(Op::Gather, &[table, indices], &shape)
    }

    pub(crate) fn scatter_added(&mut self, rows: Id, indices: Id, count: usize) -> Id {
        let shape = [count, self.dims(rows)[1]];
        self.linear(Op::ScatterAdd, &[rows, indices], &shape)
    }

    /// A primitive that is linear in each of its inputs: zero of zero.
    fn linear(&mut self, op: Op, inputs: &[Id], shape: &[usize]) -> Id {
        match inputs.iter().any(|&id| self.constant_of(id) == Some(0.0)) {
            true => self.fill(0.0, shape),
            false => self.push(op, inputs, shape),
        }
    }
}

/// Whether a transpose exchanges the last two axes and no others.
fn is_swap(axes: &[usize]) -> bool {
    let rank = axes.len();
    rank >= 2 && axes[rank - 2] == rank - 1 && axes[..rank - 2].iter().enumerate().all(|(i, &axis)| i == axis)
}

/// The shape with these axes of size 1.
pub(crate) fn without(shape: &[usize], axes: &[usize]) -> Vec<usize> {
    shape.iter().enumerate().map(|(i, &size)| if axes.contains(&i) { 1 } else { size }).collect()
}

/// Whether a number is finite as f32.
pub(crate) fn fits(value: f64) -> bool {
    (value as f32).is_finite()
}

/// Whether a number is 0 or of a size that f32 hold in full: neither infinite nor subnormal.
pub(crate) fn is_normal(value: f64) -> bool {
    value == 0.0 || (value as f32).is_normal()
}

impl Unary {
    /// The function in f64.
    #[must_use]
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Unary::Exp => x.exp(),
            Unary::Expm1 => x.exp_m1(),
            Unary::Log => x.ln(),
            Unary::Log1p => x.ln_1p(),
            Unary::Sqrt => x.sqrt(),
            Unary::Reciprocal => x.recip(),
            Unary::Tanh => x.tanh(),
            Unary::Erf => libm::erf(x),
            Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Unary::Relu => {
                if x > 0.0 || x.is_nan() {
                    x
                } else {
                    0.0
                }
            }
            Unary::Step => f64::from(x > 0.0),
            Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Unary::Abs => x.abs(),
            Unary::Sign => {
                if x > 0.0 {
                    1.0
                } else if x < 0.0 {
                    -1.0
                } else {
                    0.0
                }
            }
            Unary::Sin => x.sin(),
            Unary::Cos => x.cos(),
        }
    }
}

impl Binary {
    /// The function in f64.
    #[must_use]
    pub fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Binary::Add => a + b,
            Binary::Sub => a - b,
            Binary::Mul => a * b,
            Binary::Div => a / b,
            Binary::Maximum => {
                if a > b || a.is_nan() {
                    a
                } else {
                    b
                }
            }
            Binary::Greater => f64::from(a > b),
            Binary::Mask => match b {
                0.0 => 0.0,
                b if b.is_nan() => b,
                _ => a,
            },
        }
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Graph: {} nodes", self.len())?;
        for (id, node) in self.contents.nodes.iter().enumerate() {
            write!(f, "  %{id} = {:?}", node.op)?;
            for input in &node.inputs {
                write!(f, " %{input}")?;
            }
            writeln!(f, "  {:?}", node.shape)?;
        }
        Ok(())
    }
}
