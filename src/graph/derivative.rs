//! `vjp` (of which `gradient` is a case) and `jvp`: they append nodes, and compose in any order. The adjoint
//! and the tangent of each primitive are stated here, once.

use std::collections::HashMap;

use super::build::{Graph, Id, Var};
use super::op::{Binary, Form, Op, Unary};
use crate::Result;

impl Graph {
    /// The gradient of `loss`, which has one element, by each of `wrt`, which may be any values on the way, not
    /// only leaves. It is 0 by what the loss does not depend on.
    ///
    /// Derivatives of all orders are products of those of the operations, in f32: one that is infinite, as that of a root at 0,
    /// makes NaN with a factor of 0. At kinks they are what the operations say.
    ///
    /// # Errors
    /// [`Error::Operation`](crate::Error::Operation) if the loss has more than one element or a value is of
    /// indices, [`Error::Unknown`](crate::Error::Unknown) for values of another graph.
    pub fn gradient(&mut self, loss: Var, wrt: &[Var]) -> Result<Vec<Var>> {
        let id = self.float("gradient", loss)?;
        if self.dims(id).iter().product::<usize>() != 1 {
            return self.refuse("gradient", &[id], "a loss has one element".into());
        }
        let one = self.fill_like(1.0, id);
        let one = self.var(one);
        self.vjp(&[loss], &[one], wrt)
    }

    /// The product of cotangents, one for each output and of its shape, with the Jacobian of `outputs` by `wrt`:
    /// `Σ_o ⟨cotangent_o, ∂o/∂w⟩` for each w.
    ///
    /// # Errors
    /// [`Error::Operation`](crate::Error::Operation) if the shapes differ or a value is of indices,
    /// [`Error::Unknown`](crate::Error::Unknown) for values of another graph.
    pub fn vjp(&mut self, outputs: &[Var], cotangents: &[Var], wrt: &[Var]) -> Result<Vec<Var>> {
        let seeds = self.paired("vjp", outputs, cotangents)?;
        let wrt = wrt.iter().map(|&w| self.float("vjp", w)).collect::<Result<Vec<Id>>>()?;
        let last = seeds.iter().map(|&(output, _)| output + 1).max().unwrap_or(0);
        // the values that depend on one of `wrt`
        let mut active = vec![false; last as usize];
        for id in 0..last {
            let through = self.node(id).inputs.iter().any(|&input| active[input as usize]);
            active[id as usize] = wrt.contains(&id) || through;
        }
        let mut sums: HashMap<Id, Id> = HashMap::new();
        for (output, cotangent) in seeds {
            self.accumulate(&mut sums, output, cotangent);
        }
        for id in (0..last).rev().filter(|&id| active[id as usize]) {
            let Some(&cotangent) = sums.get(&id) else { continue };
            let inputs = self.node(id).inputs.clone();
            if inputs.iter().any(|&input| active[input as usize]) {
                for (input, part) in inputs.into_iter().zip(self.adjoint(id, cotangent)) {
                    if let Some(part) = part.filter(|_| active[input as usize]) {
                        self.accumulate(&mut sums, input, part);
                    }
                }
            }
        }
        let mut results = Vec::with_capacity(wrt.len());
        for id in wrt {
            let sum = sums.get(&id).copied().unwrap_or_else(|| self.fill_like(0.0, id));
            results.push(self.var(sum));
        }
        Ok(results)
    }

    fn accumulate(&mut self, sums: &mut HashMap<Id, Id>, id: Id, part: Id) {
        let sum = match sums.get(&id) {
            Some(&sum) => self.plus(sum, part),
            None => part,
        };
        sums.insert(id, sum);
    }

    /// The derivative of each of `outputs` along `tangents`, one for each of `inputs` and of its shape. The
    /// inputs may be any values, and are taken to be independent of each other; one given twice moves by the sum.
    ///
    /// # Errors
    /// As [`Graph::vjp`].
    pub fn jvp(&mut self, outputs: &[Var], inputs: &[Var], tangents: &[Var]) -> Result<Vec<Var>> {
        let seeds = self.paired("jvp", inputs, tangents)?;
        let outputs = outputs.iter().map(|&output| self.float("jvp", output)).collect::<Result<Vec<Id>>>()?;
        let last = outputs.iter().map(|&output| output + 1).max().unwrap_or(0);
        // only what some output needs
        let mut needed = vec![false; last as usize];
        for &output in &outputs {
            needed[output as usize] = true;
        }
        for id in (0..last).rev() {
            if needed[id as usize] {
                for &input in &self.node(id).inputs {
                    needed[input as usize] = true;
                }
            }
        }
        let mut sums: HashMap<Id, Id> = HashMap::new();
        for (input, tangent) in seeds {
            self.accumulate(&mut sums, input, tangent);
        }
        let mut known: HashMap<Id, Tangent> =
            sums.into_iter().map(|(input, tangent)| (input, Tangent { terms: vec![(None, tangent)] })).collect();
        for id in (0..last).filter(|&id| needed[id as usize]) {
            if known.contains_key(&id) || !self.node(id).inputs.iter().any(|input| known.contains_key(input)) {
                continue;
            }
            if let Some(tangent) = self.tangent(id, &mut known) {
                let many = tangent.terms.len() > MAX_TERMS;
                known.insert(id, tangent);
                if many {
                    self.realize(&mut known, id);
                }
            }
        }
        let mut results = Vec::with_capacity(outputs.len());
        for id in outputs {
            let tangent = self.realize(&mut known, id);
            let tangent = tangent.unwrap_or_else(|| self.fill_like(0.0, id));
            results.push(self.var(tangent));
        }
        Ok(results)
    }

    fn paired(&self, operation: &'static str, values: &[Var], vectors: &[Var]) -> Result<Vec<(Id, Id)>> {
        if values.len() != vectors.len() {
            let ids = values.iter().map(|&value| self.check(value)).collect::<Result<Vec<Id>>>()?;
            return self.refuse(operation, &ids, format!("{} vectors are given for {} values", vectors.len(), values.len()));
        }
        let pair = |(&value, &vector): (&Var, &Var)| {
            let (value, vector) = (self.float(operation, value)?, self.float(operation, vector)?);
            match self.dims(value) == self.dims(vector) {
                true => Ok((value, vector)),
                false => self.refuse(operation, &[value, vector], "a vector has the shape of its value".into()),
            }
        };
        values.iter().zip(vectors).map(pair).collect()
    }

    /// The cotangents of the inputs of a node; `None` where there is no derivative.
    fn adjoint(&mut self, id: Id, ct: Id) -> Vec<Option<Id>> {
        let node = self.node(id).clone();
        let inputs = node.inputs.as_slice();
        let shape_of = |graph: &Self, i: usize| graph.dims(inputs[i]).to_vec();
        match &node.op {
            Op::Input(_) | Op::Indices(_) | Op::Parameter(_) | Op::Constant(_) | Op::Iota(_) => vec![],
            Op::OneHot | Op::Max(_) | Op::MaxPoolIndices(_) | Op::Detach => vec![None],
            Op::Reshape => vec![Some(self.reshaped(ct, &shape_of(self, 0)))],
            Op::Transpose(axes) => {
                let mut inverse = vec![0; axes.len()];
                for (i, &axis) in axes.iter().enumerate() {
                    inverse[axis] = i;
                }
                vec![Some(self.permuted(ct, &inverse))]
            }
            Op::Broadcast => {
                let from = shape_of(self, 0);
                let axes: Vec<usize> = (0..from.len()).filter(|&i| from[i] != node.shape[i]).collect();
                vec![Some(self.summed(ct, &axes))]
            }
            Op::Sum(_) => vec![Some(self.repeated(ct, &shape_of(self, 0)))],
            Op::Pad(before) => vec![Some(self.sliced(ct, before, &shape_of(self, 0)))],
            Op::Slice(start) => vec![Some(self.padded(ct, start, &shape_of(self, 0)))],
            Op::Scale(factor) => vec![Some(self.scale_by(ct, factor.0))],
            Op::Pool(window) => vec![Some(self.unpooled(window, ct, &shape_of(self, 0)))],
            Op::Unpool(window) => vec![Some(self.pooled(window, ct, &shape_of(self, 0)))],
            Op::PoolSelect(window) => vec![Some(self.scattered(window, ct, inputs[1], &shape_of(self, 0))), None],
            Op::PoolScatter(window) => vec![Some(self.selected(window, ct, inputs[1])), None],
            Op::Gather => {
                let count = self.dims(inputs[0])[0];
                vec![Some(self.scatter_added(ct, inputs[1], count)), None]
            }
            Op::ScatterAdd => vec![Some(self.gathered(ct, inputs[1])), None],
            Op::Matmul => {
                let (at, bt) = (self.swapped(inputs[0]), self.swapped(inputs[1]));
                vec![Some(self.product(ct, bt)), Some(self.product(at, ct))]
            }
            Op::Convolution(form, stencil) => {
                let (a, b) = (inputs[0], inputs[1]);
                // the arguments of each form, and what gives each of them back
                let [first, second] = match form {
                    Form::Output => [(Form::Input, ct, b), (Form::Weight, ct, a)],
                    Form::Input => [(Form::Output, ct, b), (Form::Weight, a, ct)],
                    Form::Weight => [(Form::Output, b, ct), (Form::Input, a, ct)],
                };
                let [sa, sb] = [shape_of(self, 0), shape_of(self, 1)];
                vec![
                    Some(self.convolved(first.0, stencil, first.1, first.2, &sa)),
                    Some(self.convolved(second.0, stencil, second.1, second.2, &sb)),
                ]
            }
            Op::Linear(map) => vec![Some(self.applied(&map.transpose(), ct))],
            Op::Unary(function) => {
                let slope = self.slope(*function, inputs[0], id);
                vec![slope.map(|slope| self.times(ct, slope))]
            }
            Op::Binary(function) => self.slopes(*function, inputs[0], inputs[1], id).map(|slope| slope.apply(self, ct)).to_vec(),
        }
    }

    /// The derivative of a function at `x`, with value `y`; `None` if it is zero everywhere.
    fn slope(&mut self, function: Unary, x: Id, y: Id) -> Option<Id> {
        match function {
            Unary::Exp => Some(y),
            Unary::Expm1 => Some(self.unary(Unary::Exp, x)),
            Unary::Log => Some(self.unary(Unary::Reciprocal, x)),
            Unary::Log1p => {
                let one = self.fill_like(1.0, x);
                let sum = self.plus(x, one);
                Some(self.unary(Unary::Reciprocal, sum))
            }
            // 2/√π exp(-x²)
            Unary::Erf => {
                let square = self.times(x, x);
                let exponent = self.scale_by(square, -1.0);
                let bell = self.unary(Unary::Exp, exponent);
                Some(self.scale_by(bell, std::f64::consts::FRAC_2_SQRT_PI))
            }
            Unary::Sqrt => {
                let inverse = self.unary(Unary::Reciprocal, y);
                Some(self.scale_by(inverse, 0.5))
            }
            Unary::Reciprocal => {
                let square = self.times(y, y);
                Some(self.scale_by(square, -1.0))
            }
            // 1 - tanh² x = 4 σ(2x) σ(-2x), and σ' = σ(x) σ(-x): without the cancellation that there is where y is near 1
            Unary::Tanh => {
                let (up, down) = (self.scale_by(x, 2.0), self.scale_by(x, -2.0));
                let (up, down) = (self.unary(Unary::Sigmoid, up), self.unary(Unary::Sigmoid, down));
                let product = self.times(up, down);
                Some(self.scale_by(product, 4.0))
            }
            Unary::Sigmoid => {
                let mirrored = self.scale_by(x, -1.0);
                let rest = self.unary(Unary::Sigmoid, mirrored);
                Some(self.times(y, rest))
            }
            // of the result, so that the argument need not be kept
            Unary::Relu => Some(self.unary(Unary::Step, y)),
            Unary::Softplus => Some(self.unary(Unary::Sigmoid, x)),
            Unary::Abs => Some(self.unary(Unary::Sign, x)),
            Unary::Step | Unary::Sign => None,
            Unary::Sin => Some(self.unary(Unary::Cos, x)),
            Unary::Cos => {
                let sine = self.unary(Unary::Sin, x);
                Some(self.scale_by(sine, -1.0))
            }
        }
    }

    /// The derivatives of a function of two numbers.
    fn slopes(&mut self, function: Binary, a: Id, b: Id, y: Id) -> [Slope; 2] {
        match function {
            Binary::Add => [Slope::Number(1.0), Slope::Number(1.0)],
            Binary::Sub => [Slope::Number(1.0), Slope::Number(-1.0)],
            Binary::Mul => [Slope::Value(b), Slope::Value(a)],
            Binary::Div => {
                let inverse = self.unary(Unary::Reciprocal, b);
                let ratio = self.times(y, inverse);
                [Slope::Value(inverse), Slope::Value(self.scale_by(ratio, -1.0))]
            }
            Binary::Maximum => {
                let (mask, one) = (self.binary(Binary::Greater, a, b), self.fill_like(1.0, a));
                [Slope::Value(mask), Slope::Value(self.minus(one, mask))]
            }
            Binary::Greater => [Slope::Zero, Slope::Zero],
            Binary::Mask => {
                let one = self.fill_like(1.0, b);
                [Slope::Value(self.binary(Binary::Mask, one, b)), Slope::Zero]
            }
        }
    }

    /// The tangent of a node from those of its inputs.
    fn tangent(&mut self, id: Id, known: &mut HashMap<Id, Tangent>) -> Option<Tangent> {
        let node = self.node(id).clone();
        let inputs = node.inputs.as_slice();
        let slopes: Vec<Slope> = match &node.op {
            Op::OneHot | Op::Max(_) | Op::MaxPoolIndices(_) | Op::Detach => return None,
            Op::Unary(function) => vec![self.slope(*function, inputs[0], id).map_or(Slope::Zero, Slope::Value)],
            Op::Binary(function) => self.slopes(*function, inputs[0], inputs[1], id).to_vec(),
            Op::Scale(factor) => vec![Slope::Number(factor.0)],
            // linear in each input: the node itself, of the tangent
            _ => {
                let mut sum = None;
                for (i, input) in inputs.iter().enumerate() {
                    let Some(tangent) = self.realize(known, *input) else { continue };
                    let mut arguments = node.inputs.clone();
                    arguments[i] = tangent;
                    let part = self.again(&node.op, &arguments, &node.shape);
                    sum = Some(sum.map_or(part, |sum| self.plus(sum, part)));
                }
                return sum.map(|base| Tangent { terms: vec![(None, base)] });
            }
        };
        let mut tangent = Tangent::default();
        for (&input, slope) in inputs.iter().zip(slopes) {
            if let Some(part) = known.get(&input).cloned() {
                self.add_scaled(&mut tangent, &part, slope);
            }
        }
        (!tangent.terms.is_empty()).then_some(tangent)
    }

    /// A linear or bilinear primitive of other inputs.
    fn again(&mut self, op: &Op, inputs: &[Id], shape: &[usize]) -> Id {
        let x = inputs[0];
        match op {
            Op::Reshape => self.reshaped(x, shape),
            Op::Transpose(axes) => self.permuted(x, axes),
            Op::Broadcast => self.repeated(x, shape),
            Op::Sum(axes) => self.summed(x, axes),
            Op::Pad(before) => self.padded(x, before, shape),
            Op::Slice(start) => self.sliced(x, start, shape),
            Op::Pool(window) => self.pooled(window, x, shape),
            Op::Unpool(window) => self.unpooled(window, x, shape),
            Op::PoolSelect(window) => self.selected(window, x, inputs[1]),
            Op::PoolScatter(window) => self.scattered(window, x, inputs[1], shape),
            Op::Gather => self.gathered(x, inputs[1]),
            Op::ScatterAdd => self.scatter_added(x, inputs[1], shape[0]),
            Op::Matmul => self.product(x, inputs[1]),
            Op::Convolution(form, stencil) => self.convolved(*form, stencil, x, inputs[1], shape),
            Op::Linear(map) => self.applied(map, x),
            _ => self.fill(0.0, shape),
        }
    }

    /// `to += slope · from`, the terms of one base added up.
    fn add_scaled(&mut self, to: &mut Tangent, from: &Tangent, slope: Slope) {
        for &(coefficient, base) in &from.terms {
            let scaled = match (slope, coefficient) {
                (Slope::Zero, _) => return,
                (Slope::Number(factor), Some(c)) => self.scale_by(c, factor),
                (Slope::Number(1.0), None) => {
                    self.add_term(to, None, base);
                    continue;
                }
                (Slope::Number(factor), None) => self.fill_like(factor, base),
                (Slope::Value(value), Some(c)) => self.times(c, value),
                (Slope::Value(value), None) => value,
            };
            self.add_term(to, Some(scaled), base);
        }
    }

    fn add_term(&mut self, to: &mut Tangent, coefficient: Option<Id>, base: Id) {
        let Some(term) = to.terms.iter_mut().find(|term| term.1 == base) else {
            to.terms.push((coefficient, base));
            return;
        };
        let before = term.0;
        let one = self.fill_like(1.0, base);
        term.0 = Some(self.plus(before.unwrap_or(one), coefficient.unwrap_or(one)));
    }

    /// The tangent of a value as a value; its terms are that one from now on.
    fn realize(&mut self, known: &mut HashMap<Id, Tangent>, id: Id) -> Option<Id> {
        let terms = known.get(&id)?.terms.clone();
        let mut sum = None;
        for (coefficient, base) in terms {
            let term = coefficient.map_or(base, |c| self.times(c, base));
            sum = Some(sum.map_or(term, |sum| self.plus(sum, term)));
        }
        known.insert(id, Tangent { terms: vec![(None, sum?)] });
        sum
    }
}

/// The most terms that a tangent keeps. Each operation of a chain multiplies them all, so that with no bound a chain in
/// which every operation has a tangent of its own would make nodes by the square of its length.
const MAX_TERMS: usize = 4;

/// A derivative by one argument.
#[derive(Clone, Copy)]
enum Slope {
    Zero,
    Number(f64),
    Value(Id),
}

impl Slope {
    fn apply(self, graph: &mut Graph, ct: Id) -> Option<Id> {
        match self {
            Slope::Zero => None,
            Slope::Number(factor) => Some(graph.scale_by(ct, factor)),
            Slope::Value(value) => Some(graph.times(ct, value)),
        }
    }
}

/// The tangent of a value as a sum of coefficients times bases; no coefficient means 1. Chains of pointwise
/// operations multiply coefficients, which do not depend on tangents: they are computed once, when products
/// are prepared, and each base is read once a product. Tangents of more than [`MAX_TERMS`] terms are added up.
#[derive(Clone, Default)]
struct Tangent {
    terms: Vec<(Option<Id>, Id)>,
}
