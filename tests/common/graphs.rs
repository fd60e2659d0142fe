//! Random graphs over all primitives, with values of their leaves that stay away from kinks and poles.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::HashMap;
use std::fmt;

use gradus::Result;
use gradus::graph::{Binary, ConvolutionOptions, Graph, Init, Op, Padding, Unary, Var, Window, losses};
use gradus::reference::graph::evaluate;
use gradus::reference::random::uniform;
use proptest::prelude::*;

/// A graph that was drawn. Values of leaves are exact in f32, and those on the way are at most [`LARGEST`].
pub struct Drawn {
    pub graph: Graph,
    /// The leaves of floats: inputs and parameters.
    pub leaves: Vec<Var>,
    /// The values of all leaves, indices included.
    pub values: HashMap<Var, Vec<f64>>,
    pub outputs: Vec<Var>,
    /// One element, not linear in the outputs.
    pub loss: Var,
}

impl fmt::Debug for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}  outputs {:?}, loss {:?}, values {:?}", self.graph, self.outputs, self.loss, self.values)
    }
}

/// The greatest magnitude of a value.
pub const LARGEST: f64 = 20.0;

/// The most elements of a value.
const ELEMENTS: usize = 400;

/// How far the arguments of functions with kinks stay from these.
const MARGIN: f64 = 0.02;

/// What leaves look like.
const SHAPES: [&[usize]; 8] = [&[], &[4], &[2, 3], &[3, 1], &[2, 3, 4], &[2, 2, 5, 4], &[1, 3, 7], &[1, 2, 3, 2, 3]];

/// An operation, two operands and how it is applied; all are taken modulo what there is.
type Instruction = [usize; 4];

/// Graphs of up to `most` operations, some of them derivatives of those before.
pub fn graphs(most: usize) -> impl Strategy<Value = Drawn> {
    let instruction = [0..OPERATIONS, 0..10usize, 0..10usize, 0..1_000_000usize];
    (any::<u32>(), prop::collection::vec(instruction, 1..=most)).prop_map(|(seed, instructions)| drawn(seed.into(), &instructions))
}

fn drawn(seed: u64, instructions: &[Instruction]) -> Drawn {
    let mut builder = Builder { graph: Graph::new(), seed, known: HashMap::new(), pool: vec![], leaves: vec![], values: HashMap::new() };
    for instruction in instructions {
        // what does not fit is left out
        if let Ok(Some(var)) = builder.apply(instruction) {
            builder.keep(var);
        }
    }
    let mut outputs: Vec<Var> = builder.pool.iter().copied().filter(|var| !builder.values.contains_key(var)).collect();
    outputs.drain(..outputs.len().saturating_sub(3));
    if outputs.is_empty() {
        let x = builder.leaf(&[2, 3]).unwrap();
        outputs.push(builder.graph.tanh(x).unwrap());
    }
    let graph = &mut builder.graph;
    let mut loss = graph.constant(0.0, &[]).unwrap();
    for &output in &outputs {
        let zeros = graph.constant(0.25, graph.shape(output).unwrap().to_vec().as_slice()).unwrap();
        let part = losses::mean_squared_error(graph, output, zeros).unwrap();
        loss = graph.add(loss, part).unwrap();
    }
    Drawn { graph: builder.graph, leaves: builder.leaves, values: builder.values, outputs, loss }
}

struct Builder {
    graph: Graph,
    seed: u64,
    /// All values in `pool`.
    known: HashMap<Var, Vec<f64>>,
    pool: Vec<Var>,
    leaves: Vec<Var>,
    values: HashMap<Var, Vec<f64>>,
}

const UNARY: [Unary; 16] = [
    Unary::Exp,
    Unary::Log,
    Unary::Sqrt,
    Unary::Reciprocal,
    Unary::Tanh,
    Unary::Sigmoid,
    Unary::Relu,
    Unary::Step,
    Unary::Softplus,
    Unary::Abs,
    Unary::Sign,
    Unary::Sin,
    Unary::Cos,
    Unary::Expm1,
    Unary::Log1p,
    Unary::Erf,
];

const OPERATIONS: usize = 47;

impl Builder {
    /// The operation `o` of `x` and perhaps of another; `None` if `x` is not for it.
    fn apply(&mut self, &[o, first, second, how]: &Instruction) -> Result<Option<Var>> {
        let mut x = self.operand(first)?;
        if [29, 30, 31, 36].contains(&o) && !(3..=5).contains(&self.graph.shape(x)?.len()) {
            x = self.leaf(SHAPES[4 + how % 4])?;
        }
        let shape = self.graph.shape(x)?.to_vec();
        let rank = shape.len();
        let axis = how % rank.max(1);
        let y = match o {
            0..13 => return self.unary(UNARY[o], x),
            44.. => return self.unary(UNARY[o - 31], x),
            13..19 => {
                return self.binary(
                    [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Maximum, Binary::Greater][o - 13],
                    x,
                    second,
                    how,
                );
            }
            19 => self.graph.reshape(x, &factors(shape.iter().product(), how))?,
            20 if rank > 0 => {
                let mut axes: Vec<usize> = (0..rank).collect();
                axes.rotate_left(axis);
                axes.swap(0, how / 7 % rank.max(1));
                self.graph.transpose(x, &axes)?
            }
            21 => {
                let longer: Vec<usize> = shape.iter().map(|&n| if n == 1 { 1 + how % 3 } else { n }).collect();
                self.graph.broadcast_to(x, &[&[2][..how % 2], &longer].concat())?
            }
            22 => self.graph.sum(x, &(0..rank).filter(|i| how >> i & 1 == 1).collect::<Vec<_>>())?,
            23 => self.graph.mean(x, &[axis])?,
            24 => self.graph.pad(x, &(0..rank).map(|i| ((how >> i) & 1, (how >> (i + 3)) % 3)).collect::<Vec<_>>())?,
            25 => {
                let part = |(i, &n): (usize, &usize)| {
                    let start = (how >> i) % n;
                    start..start + 1 + (how >> (i + 3)) % (n - start)
                };
                self.graph.slice(x, &shape.iter().enumerate().map(part).collect::<Vec<_>>())?
            }
            26 if rank > 0 => {
                let mut other = shape.clone();
                other[axis] = 1 + how % 3;
                let other = self.leaf(&other)?;
                self.graph.concat(&[x, other, x], axis)?
            }
            27 => self.graph.scale(x, (how % 200) as f64 / 64.0 - 1.5)?,
            28 => self.graph.add_scalar(x, (how % 200) as f64 / 64.0 - 1.5)?,
            29 => self.graph.avg_pool(x, &window(&shape, how))?,
            30 if self.distinct(x) => self.graph.max_pool(x, &window(&shape, how))?,
            31 => self.graph.upsample_nearest(x, 1 + how % 3)?,
            32 if rank == 2 => {
                let numbers = self.numbers(3 + how % 3, shape[0])?;
                self.graph.gather(x, numbers)?
            }
            33 => {
                let classes = 2 + how % 3;
                let numbers = self.numbers(shape.iter().product(), classes)?;
                let one_hot = self.graph.one_hot(numbers, classes)?;
                let column = self.graph.reshape(x, &[shape.iter().product(), 1])?;
                self.graph.mul(one_hot, column)?
            }
            34 => {
                let coordinates = self.graph.iota(axis, &shape)?;
                let coordinates = self.graph.scale(coordinates, 0.25)?;
                self.graph.mul(x, coordinates)?
            }
            35 if rank >= 2 => {
                let (k, n) = (shape[rank - 1], 1 + how % 4);
                match how % 3 {
                    0 => {
                        let b = self.leaf(&[k, n])?;
                        self.graph.matmul(x, b)?
                    }
                    1 => {
                        let b = self.leaf(&[&shape[..rank - 2], &[k, n]].concat())?;
                        self.graph.matmul(x, b)?
                    }
                    _ => {
                        let axes: Vec<usize> = (0..rank - 2).chain([rank - 1, rank - 2]).collect();
                        let b = self.graph.transpose(x, &axes)?;
                        self.graph.matmul(x, b)?
                    }
                }
            }
            36 => {
                let (kernel, options) = convolution(&shape[2..], how);
                let weight = self.leaf(&[&[1 + how % 3, shape[1]], &kernel[..]].concat())?;
                self.graph.convolution(x, weight, &options)?
            }
            37 => match how % 2 {
                0 => self.graph.softmax(x, axis)?,
                _ => self.graph.log_softmax(x, axis)?,
            },
            38 => match how % 2 {
                0 => self.graph.gelu(x)?,
                _ => self.graph.silu(x)?,
            },
            // the derivative by a leaf that it depends on
            39.. => {
                let mut leaves = self.leaves.clone();
                leaves.rotate_left(how % self.leaves.len().max(1));
                let derivatives = self.graph.vjp(&[x], &[x], &leaves)?;
                let constant = |var: &Var| matches!(self.graph.op(*var), Ok((Op::Constant(_), _)));
                return Ok(derivatives.into_iter().find(|var| !constant(var)));
            }
            _ => return Ok(None),
        };
        // the adjoints of what is linear occur in derivatives alone
        if [29, 30, 31, 32, 35, 36].contains(&o) && how % 3 == 0 {
            let by = if how % 2 == 0 { x } else { self.leaves.last().copied().unwrap_or(x) };
            return Ok(self.graph.vjp(&[y], &[y], &[by])?.pop());
        }
        Ok(Some(y))
    }

    fn unary(&mut self, function: Unary, x: Var) -> Result<Option<Var>> {
        let all = |fits: &dyn Fn(f64) -> bool| self.known[&x].iter().all(|&x| fits(x));
        let fits = match function {
            Unary::Log | Unary::Log1p | Unary::Sqrt => all(&|x| x > 0.4),
            Unary::Reciprocal => all(&|x| x.abs() > 0.4),
            Unary::Relu | Unary::Step | Unary::Abs | Unary::Sign => all(&|x| x.abs() > MARGIN),
            _ => true,
        };
        let graph = &mut self.graph;
        let x = match function {
            _ if fits => x,
            Unary::Log | Unary::Log1p | Unary::Sqrt | Unary::Reciprocal => {
                let positive = graph.softplus(x)?;
                graph.add_scalar(positive, 0.5)?
            }
            _ => return Ok(None),
        };
        Ok(match function {
            Unary::Exp => Some(graph.exp(x)?),
            Unary::Expm1 => Some(graph.expm1(x)?),
            Unary::Log => Some(graph.log(x)?),
            Unary::Log1p => Some(graph.log1p(x)?),
            Unary::Erf => Some(graph.erf(x)?),
            Unary::Sqrt => Some(graph.sqrt(x)?),
            Unary::Reciprocal => Some(graph.reciprocal(x)?),
            Unary::Tanh => Some(graph.tanh(x)?),
            Unary::Sigmoid => Some(graph.sigmoid(x)?),
            Unary::Relu => Some(graph.relu(x)?),
            Unary::Step => Some(graph.step(x)?),
            Unary::Softplus => Some(graph.softplus(x)?),
            Unary::Abs => Some(graph.abs(x)?),
            Unary::Sign => Some(graph.sign(x)?),
            Unary::Sin => Some(graph.sin(x)?),
            Unary::Cos => Some(graph.cos(x)?),
        })
    }

    /// With another value if it can be broadcast, else with a leaf.
    fn binary(&mut self, function: Binary, x: Var, second: usize, how: usize) -> Result<Option<Var>> {
        let other = self.operand(second)?;
        let difference = match self.graph.sub(x, other) {
            Ok(difference) => Some((other, difference)),
            Err(_) => None,
        };
        let (other, difference) = match difference {
            Some(both) => both,
            None => {
                let shape: Vec<usize> =
                    self.graph.shape(x)?.iter().enumerate().map(|(i, &n)| if how >> i & 1 == 1 { 1 } else { n }).collect();
                let other = self.leaf(&shape)?;
                (other, self.graph.sub(x, other)?)
            }
        };
        let differences = &evaluate(&self.graph, &self.known, &[difference])?[0];
        let apart = differences.iter().all(|d| d.abs() > MARGIN);
        let divisible = self.known[&other].iter().all(|x| x.abs() > 0.4);
        let graph = &mut self.graph;
        Ok(match function {
            Binary::Add => Some(graph.add(x, other)?),
            Binary::Sub => Some(difference),
            Binary::Mul => Some(graph.mul(x, other)?),
            Binary::Div if divisible => Some(graph.div(x, other)?),
            Binary::Maximum if apart => Some(graph.maximum(x, other)?),
            Binary::Greater if apart => Some(graph.greater(x, other)?),
            _ => None,
        })
    }

    /// One of the last values, or a leaf.
    fn operand(&mut self, number: usize) -> Result<Var> {
        match self.pool.len().checked_sub(1 + number) {
            Some(i) => Ok(self.pool[i]),
            None => self.leaf(SHAPES[(number + self.pool.len()) % SHAPES.len()]),
        }
    }

    fn leaf(&mut self, shape: &[usize]) -> Result<Var> {
        let n = self.values.len();
        let name = format!("leaf {n}");
        let var = match n % 2 {
            0 => self.graph.input(&name, shape)?,
            _ => self.graph.parameter(&name, shape, Init::Zeros)?,
        };
        let numbers = uniform(self.seed, n as u32, shape.iter().product());
        // exact in f32, from -1.5 to 1.5
        let numbers: Vec<f64> = numbers.into_iter().map(|u| (f64::from(u) * 3072.0).floor() / 1024.0 - 1.5).collect();
        self.leaves.push(var);
        self.values.insert(var, numbers.clone());
        self.known.insert(var, numbers);
        self.pool.push(var);
        Ok(var)
    }

    /// A leaf of indices.
    fn numbers(&mut self, count: usize, below: usize) -> Result<Var> {
        let n = self.values.len();
        let var = self.graph.indices(&format!("leaf {n}"), &[count])?;
        let numbers = uniform(self.seed, n as u32, count).into_iter().map(|u| (f64::from(u) * below as f64).floor()).collect();
        self.values.insert(var, numbers);
        // what is made of it is evaluated
        self.known.insert(var, self.values[&var].clone());
        Ok(var)
    }

    /// Makes a value an operand if it is neither constant nor too large.
    fn keep(&mut self, var: Var) {
        let small = self.graph.shape(var).unwrap().iter().product::<usize>() <= ELEMENTS;
        let constant = matches!(self.graph.op(var).unwrap().0, Op::Constant(_) | Op::Iota(_) | Op::OneHot);
        if !small || constant || self.known.contains_key(&var) {
            return;
        }
        let value = evaluate(&self.graph, &self.known, &[var]).unwrap().remove(0);
        if value.iter().all(|x| x.abs() <= LARGEST) {
            self.known.insert(var, value);
            self.pool.push(var);
        }
    }

    /// Whether no two elements of a plane are close, so that the greatest of a window is one.
    fn distinct(&self, x: Var) -> bool {
        let shape = self.graph.shape(x).unwrap();
        let plane: usize = shape[2..].iter().product();
        let mut values = self.known[&x].clone();
        values.chunks_mut(plane).all(|plane| {
            plane.sort_by(f64::total_cmp);
            plane.windows(2).all(|pair| pair[1] - pair[0] > MARGIN / 8.0)
        })
    }
}

/// A shape of `n` elements with up to five axes.
fn factors(mut n: usize, mut how: usize) -> Vec<usize> {
    let mut shape = vec![];
    while shape.len() < 4 && n > 1 {
        let divisors: Vec<usize> = (1..=n).filter(|&d| n.is_multiple_of(d)).collect();
        let divisor = divisors[how % divisors.len()];
        how /= divisors.len();
        shape.push(divisor);
        n /= divisor;
    }
    shape.push(n);
    shape
}

/// Windows of one to three elements along each axis, overlapping, side by side or with gaps.
fn window(shape: &[usize], how: usize) -> Window {
    let digit = |i: usize, radix: usize| how / [1, 5, 11, 23, 47, 101, 211, 431, 877][i] % radix;
    let spatial = &shape[2..];
    let size: Vec<usize> = spatial.iter().enumerate().map(|(i, &n)| (1 + digit(i, 3)).min(n)).collect();
    let stride = (0..spatial.len()).map(|i| 1 + digit(i + 3, 3)).collect();
    let padding = size.iter().enumerate().map(|(i, &size)| digit(i + 6, 2).min(size / 2)).collect();
    Window { size, stride, padding }
}

/// A kernel's size, and how it moves.
fn convolution(spatial: &[usize], how: usize) -> (Vec<usize>, ConvolutionOptions) {
    let digit = |i: usize, radix: usize| how / [1, 3, 7, 17, 37, 79, 163, 331, 673][i] % radix;
    let kernel = spatial.iter().enumerate().map(|(i, &n)| (1 + digit(i, 3)).min(n)).collect();
    let each = |from: usize, radix: usize| (0..spatial.len()).map(|i| 1 + digit(i + from, radix)).collect();
    let padding = match how % 4 {
        0 => Padding::Valid,
        1 => Padding::Same,
        _ => Padding::Explicit((0..spatial.len()).map(|i| (digit(i, 3), digit(i + 1, 4))).collect()),
    };
    (kernel, ConvolutionOptions { stride: each(3, 3), dilation: each(6, 2), padding })
}
