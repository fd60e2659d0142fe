//! Curvature matrices as products in a graph.

use super::samples::sample_axes;
use crate::graph::{Graph, Var};
use crate::{Error, Result};

/// A symmetric matrix that tells how a loss curves, over the parameters w.
///
/// With J the Jacobian of the model's output by the parameters and N the number of samples. All but the Hessian take a
/// loss that depends on the parameters by way of the output alone, and are positive semidefinite if it is convex in the
/// output. Where the loss does not depend on a parameter, rows and columns are 0. NaN and infinity among parameters or
/// data lead to products that are not finite.
///
/// The first axis of the output counts samples. With a loss that couples elements along another axis, such as the softmax of
/// [`cross_entropy`](crate::graph::losses::cross_entropy) along the classes, all axes do along which the loss is a sum of
/// independent terms: of logits `[batch, classes, tokens]` each token is a sample, and N is `batch·tokens`. A loss
/// by element, such as a squared error, couples none: there a sample is all of an index of the first axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Matrix {
    /// `∂²loss/∂w²`, as the tangent of the gradient (Pearlmutter 1994).
    Hessian,
    /// `Jᵀ H J`, with H the Hessian of the loss by the output (Schraudolph 2002).
    GaussNewton {
        /// The model's prediction: what the loss is a function of.
        output: Var,
    },
    /// `Σₙ Jₙᵀ dₙ dₙᵀ Jₙ / N`, with dₙ the gradient of sample n's loss by its output, for a loss that is the mean
    /// over samples. (If it is their sum, products are `N Σₙ Jₙᵀ dₙ dₙᵀ Jₙ`.)
    EmpiricalFisher {
        /// The model's prediction, `[N, ..]`.
        output: Var,
    },
    /// The empirical Fisher of targets drawn from what the model predicts, instead of those of the data: an unbiased
    /// estimate of the Fisher information, which is the Gauss-Newton matrix of the loss. The draws are functions of
    /// the seed and the number of the batch: the matrix is the same each time it is prepared.
    MonteCarloFisher {
        /// The model's prediction, `[N, ..]`.
        output: Var,
        /// What the output says of the target.
        likelihood: Likelihood,
        /// How many targets are drawn for each sample, 1 at least: the variance falls as their inverse.
        draws: usize,
        /// Of the random numbers.
        seed: u64,
    },
}

/// The distribution of the target of which a loss is the negative logarithm of the density, up to scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likelihood {
    /// Of [`cross_entropy`](crate::graph::losses::cross_entropy): the output `[N, classes, ..]` is logits, with two
    /// classes at least.
    Categorical,
    /// Of [`mean_squared_error`](crate::graph::losses::mean_squared_error): the output is the mean of a normal
    /// distribution, whose variance is that for which the Fisher information is the Gauss-Newton matrix.
    Gaussian,
}

/// A loss over some number of samples.
#[derive(Clone, Debug)]
pub struct Model {
    /// The leaves that take the data, in the order in which the data is given; their first axes count samples.
    pub inputs: Vec<Var>,
    /// The loss, one element.
    pub loss: Var,
    /// The matrix.
    pub matrix: Matrix,
}

/// The product of a matrix with a vector, in a graph.
pub(super) struct Product {
    /// The parts of the vector, leaves of the shapes of the parameters.
    pub vector: Vec<Var>,
    /// The parts of the product.
    pub result: Vec<Var>,
    /// Leaves to be filled with uniform random numbers, and their seed.
    pub uniform: Option<(Var, u64)>,
}

impl Matrix {
    /// Appends the product of the matrix to the graph.
    pub(super) fn product(&self, graph: &mut Graph, loss: Var, wrt: &[Var]) -> Result<Product> {
        let mut vector = Vec::with_capacity(wrt.len());
        for (i, &parameter) in wrt.iter().enumerate() {
            let shape = graph.shape(parameter)?.to_vec();
            vector.push(graph.input(&format!("curvature.vector.{i}"), &shape)?);
        }
        let output = match *self {
            Matrix::Hessian => {
                let gradient = graph.gradient(loss, wrt)?;
                let result = graph.jvp(&gradient, wrt, &vector)?;
                return Ok(Product { vector, result, uniform: None });
            }
            Matrix::GaussNewton { output } | Matrix::EmpiricalFisher { output } | Matrix::MonteCarloFisher { output, .. } => output,
        };
        expect_between(graph, loss, output, wrt)?;
        let tangent = graph.jvp(&[output], wrt, &vector)?[0];
        let mut uniform = None;
        let curved = match *self {
            Matrix::Hessian | Matrix::GaussNewton { .. } => {
                let slope = graph.gradient(loss, &[output])?;
                graph.jvp(&slope, &[output], &[tangent])?[0]
            }
            Matrix::EmpiricalFisher { .. } => {
                let slope = graph.gradient(loss, &[output])?[0];
                // the slope is that of the mean, dₙ/N
                rows(graph, output)?;
                let shape = graph.shape(output)?.to_vec();
                let axes = sample_axes(graph, loss, output)?;
                let samples: usize = axes.iter().map(|&axis| shape[axis]).product();
                let along = sum_but(graph, slope, tangent, |axis| axes.contains(&axis))?;
                let product = graph.mul(slope, along)?;
                graph.scale(product, samples as f64)?
            }
            Matrix::MonteCarloFisher { likelihood, draws, seed, .. } => {
                if draws == 0 {
                    return Err(Error::Option { option: "draws".into(), found: "0".into(), expected: "1 at least".into() });
                }
                let (leaf, curved) = match likelihood {
                    Likelihood::Categorical => categorical(graph, output, tangent, draws)?,
                    Likelihood::Gaussian => gaussian(graph, output, tangent, draws)?,
                };
                uniform = Some((leaf, seed));
                curved
            }
        };
        let result = graph.vjp(&[output], &[curved], wrt)?;
        Ok(Product { vector, result, uniform })
    }
}

/// Checks that the loss depends on the output, and on the parameters only by way of it.
fn expect_between(graph: &Graph, loss: Var, output: Var, wrt: &[Var]) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    let mut pending = vec![loss];
    while let Some(var) = pending.pop() {
        if !seen.insert(var) || var == output {
            continue;
        }
        if wrt.contains(&var) {
            return refuse(graph, &[loss, output, var], "the loss depends on a parameter other than by way of the output");
        }
        pending.extend(graph.op(var)?.1);
    }
    graph.shape(output)?;
    match seen.contains(&output) {
        true => Ok(()),
        false => refuse(graph, &[loss, output], "the loss does not depend on the output"),
    }
}

fn refuse<T>(graph: &Graph, values: &[Var], reason: &str) -> Result<T> {
    let shapes = values.iter().map(|&value| Ok(graph.shape(value)?.to_vec())).collect::<Result<_>>()?;
    Err(Error::Operation { operation: "curvature", shapes, reason: reason.into() })
}

/// The number of samples of an output, and of elements of each.
fn rows(graph: &Graph, output: Var) -> Result<(usize, usize)> {
    match graph.shape(output)? {
        [samples, rest @ ..] => Ok((*samples, rest.iter().product())),
        [] => refuse(graph, &[output], "the first axis of the output counts samples"),
    }
}

/// `⟨a, b⟩` over all but the first `kept` axes, which get the size 1.
fn along_rows(graph: &mut Graph, a: Var, b: Var, kept: usize) -> Result<Var> {
    sum_but(graph, a, b, |axis| axis < kept)
}

/// `⟨a, b⟩` over all axes but those that are kept; the others get the size 1.
fn sum_but(graph: &mut Graph, a: Var, b: Var, kept: impl Fn(usize) -> bool) -> Result<Var> {
    let products = graph.mul(a, b)?;
    let mut shape = graph.shape(products)?.to_vec();
    let axes: Vec<usize> = (0..shape.len()).filter(|&axis| !kept(axis) && shape[axis] != 1).collect();
    let sums = if axes.is_empty() { products } else { graph.sum(products, &axes)? };
    axes.iter().for_each(|&axis| shape[axis] = 1);
    graph.reshape(sums, &shape)
}

/// Draws classes from the softmax of logits z. With p the softmax and kᶜ how often class c was drawn for a sample, of
/// `draws` times, the gradients are p - e꜀, and `Σ꜀ kᶜ (p - e꜀)⟨p - e꜀, v⟩ = p Σt - t` with `t = k ⊙ (⟨p, v⟩ - v)`.
fn categorical(graph: &mut Graph, output: Var, tangent: Var, draws: usize) -> Result<(Var, Var)> {
    let shape = graph.shape(output)?.to_vec();
    let (samples, classes) = match shape.as_slice() {
        &[samples, classes, ref rest @ ..] if classes >= 2 => (samples * rest.iter().product::<usize>(), classes),
        _ => return refuse(graph, &[output], "logits [batch, classes, ..] of two classes at least are expected"),
    };
    // the axis of classes to the end
    let rank = shape.len();
    let axes: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
    let last = |graph: &mut Graph, x: Var| -> Result<Var> {
        let moved = graph.transpose(x, &axes)?;
        graph.reshape(moved, &[samples, classes])
    };
    let p = graph.softmax(output, 1)?;
    let (p, v) = (last(graph, p)?, last(graph, tangent)?);
    // which cumulative probabilities exceed the random number: the first of them is that of the class drawn. The last
    // one, 1, is left out, so that rounding cannot lose a draw.
    let (row, column) = (graph.iota(0, &[classes, classes - 1])?, graph.iota(1, &[classes, classes - 1])?);
    let below = graph.greater(row, column)?;
    let above = graph.scale(below, -1.0)?;
    let upper = graph.add_scalar(above, 1.0)?;
    let cumulative = graph.matmul(p, upper)?;
    let cumulative = graph.reshape(cumulative, &[1, samples, classes - 1])?;
    let uniform = graph.input("curvature.uniform", &[draws, samples])?;
    let number = graph.reshape(uniform, &[draws, samples, 1])?;
    let exceeds = graph.greater(cumulative, number)?;
    // k꜀ is how many exceed at c less those at c - 1, with `draws` at the end
    let exceed = graph.sum(exceeds, &[0])?;
    let first = graph.pad(exceed, &[(0, 0), (1, 0)])?;
    let fewer = graph.add_scalar(exceed, -(draws as f64))?;
    let fewer = graph.pad(fewer, &[(0, 0), (0, 1)])?;
    let all = graph.add_scalar(fewer, draws as f64)?;
    let drawn = graph.sub(all, first)?;

    let mean = along_rows(graph, p, v, 1)?;
    let difference = graph.sub(mean, v)?;
    let t = graph.mul(drawn, difference)?;
    let total = graph.sum(t, &[1])?;
    let total = graph.reshape(total, &[samples, 1])?;
    let spread = graph.mul(p, total)?;
    let sum = graph.sub(spread, t)?;
    let mean = graph.scale(sum, 1.0 / (samples as f64 * draws as f64))?;
    // the axis of classes back
    let moved: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
    let mean = graph.reshape(mean, &moved)?;
    let back: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    Ok((uniform, graph.transpose(mean, &back)?))
}

/// Draws residuals r from a standard normal distribution, by Box and Muller. The mean of rᵢrᵢᵀ is the identity, and
/// the Hessian of the mean of E squares is 2/E times that.
fn gaussian(graph: &mut Graph, output: Var, tangent: Var, draws: usize) -> Result<(Var, Var)> {
    let shape = graph.shape(output)?.to_vec();
    let (samples, width) = rows(graph, output)?;
    let uniform = graph.input("curvature.uniform", &[2, draws, samples, width])?;
    let half = |graph: &mut Graph, i: usize| -> Result<Var> {
        let part = graph.slice(uniform, &[i..i + 1, 0..draws, 0..samples, 0..width])?;
        graph.reshape(part, &[draws, samples, width])
    };
    let (u, angle) = (half(graph, 0)?, half(graph, 1)?);
    // u may be 0, and 1 - u may not
    let u = graph.scale(u, -1.0)?;
    let u = graph.add_scalar(u, 1.0)?;
    let log = graph.log(u)?;
    let square = graph.scale(log, -2.0)?;
    let radius = graph.sqrt(square)?;
    let angle = graph.scale(angle, std::f64::consts::TAU)?;
    let cos = graph.cos(angle)?;
    let residual = graph.mul(radius, cos)?;

    let v = graph.reshape(tangent, &[1, samples, width])?;
    let along = along_rows(graph, residual, v, 2)?;
    let products = graph.mul(residual, along)?;
    let sum = graph.sum(products, &[0])?;
    let scaled = graph.scale(sum, 2.0 / (draws as f64 * samples as f64 * width as f64))?;
    Ok((uniform, graph.reshape(scaled, &shape)?))
}
