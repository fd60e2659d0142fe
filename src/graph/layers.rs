//! Operations composed of primitives, and layers: functions that make their parameters, under PyTorch's
//! names and with its initial values, and the nodes that use them.
//!
//! A layer that returns an error has made nothing. Errors of all layers, beside those stated:
//! [`Error::DuplicateName`](crate::Error::DuplicateName) if the graph has a leaf of a parameter's name,
//! [`Error::Unknown`](crate::Error::Unknown) for a value of another graph.
//!
//! ```
//! use gradus::graph::{ConvolutionOptions, Graph, Padding, Window, layers, losses};
//!
//! let mut graph = Graph::new();
//! let images = graph.input("images", &[32, 1, 8, 8])?;
//! let classes = graph.indices("classes", &[32])?;
//! let same = ConvolutionOptions { padding: Padding::Same, ..Default::default() };
//! let x = layers::convolution(&mut graph, "conv", images, 16, &[3, 3], &same)?;
//! let x = graph.relu(x)?;
//! let x = graph.max_pool(x, &Window::tiles(2, 2))?;
//! let x = graph.flatten(x, 1)?;
//! let logits = layers::dense(&mut graph, "head", x, 10)?;
//! let loss = losses::cross_entropy(&mut graph, logits, classes)?;
//! let names: Vec<&str> = graph.parameters().map(|(name, _)| name).collect();
//! assert_eq!(names, ["conv.weight", "conv.bias", "head.weight", "head.bias"]);
//! assert!(graph.shape(loss)?.is_empty());
//! # Ok::<(), gradus::Error>(())
//! ```

use super::build::{Graph, Var};
use super::ops::{ConvolutionOptions, finite};
use super::parameters::Init;
use crate::Result;

/// PyTorch's default of what normalisations add to a variance before its root is taken.
pub const EPS: f64 = 1e-5;

/// The score of what attention shall not see: the least f32.
const MASKED: f64 = f32::MIN as f64;

/// Where the sigmoid of `silu` has vanished in f32, -∞ aside: e⁻¹²⁸ is below all of them.
const SILU_BOUND: f64 = 128.0;

/// Where the sigmoid of `gelu` has: e⁻¹⁴².
const GELU_BOUND: f64 = 12.0;

/// Functions composed of others.
impl Graph {
    /// `x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`: the Gaussian error linear unit in the form with tanh
    /// (Hendrycks and Gimpel 2016; PyTorch's `approximate="tanh"`). x from 12 on; 0 from -12 down. It is
    /// computed as x times a sigmoid, so that it has relative accuracy, 1e-5 or better, on the negative side too. At ∞ it is ∞
    /// and its derivative NaN, at -∞ both are 0; NaN of NaN.
    ///
    /// # Errors
    /// As [`Graph::tanh`].
    pub fn gelu(&mut self, x: Var) -> Result<Var> {
        let factor = self.bounded_below(x, GELU_BOUND)?;
        let negative = self.scale(factor, -1.0)?;
        let bounded = self.bounded_below(negative, GELU_BOUND)?;
        // (1 + tanh u)/2 is the sigmoid of 2u; all signs are turned
        let square = self.mul(bounded, bounded)?;
        let cubic = self.scale(square, 0.044715)?;
        let cubic = self.add_scalar(cubic, 1.0)?;
        let inner = self.mul(bounded, cubic)?;
        let argument = self.scale(inner, -2.0 * (2.0 / std::f64::consts::PI).sqrt())?;
        let sigmoid = self.sigmoid(argument)?;
        self.mul(factor, sigmoid)
    }

    /// `x/(1 + e⁻ˣ)`: the sigmoid linear unit, or swish, within 2e-6 relative; from -87.3 down it may be 0. At ∞ it is ∞ and its
    /// derivative NaN, at -∞ both are 0; NaN of NaN.
    ///
    /// # Errors
    /// As [`Graph::sigmoid`].
    pub fn silu(&mut self, x: Var) -> Result<Var> {
        let factor = self.bounded_below(x, SILU_BOUND)?;
        let sigmoid = self.sigmoid(factor)?;
        self.mul(factor, sigmoid)
    }

    /// x, and `-bound` where x is less.
    fn bounded_below(&mut self, x: Var, bound: f64) -> Result<Var> {
        let bound = self.constant(-bound, &[])?;
        self.maximum(x, bound)
    }

    /// `eˣ/Σeˣ` along `axis`, of x less its maximum, so that nothing overflows: 0 where x is -∞ or far below the maximum. NaN
    /// all along the axis if x is NaN or ∞ somewhere, or -∞ everywhere. Derivatives are as finite.
    ///
    /// # Errors
    /// [`Error::Operation`](crate::Error::Operation) if there is no such axis or x is of indices,
    /// [`Error::Unknown`](crate::Error::Unknown) for a value of another graph.
    pub fn softmax(&mut self, x: Var, axis: usize) -> Result<Var> {
        let (z, sum) = self.exponentials("softmax", x, axis)?;
        let (e, inverse) = (self.exp(z)?, self.reciprocal(sum)?);
        self.mul(e, inverse)
    }

    /// The logarithm of [`Graph::softmax`], right also where that vanishes: -∞ where x is, or where `x - max x` is below
    /// all f32. NaN where [`Graph::softmax`] is.
    ///
    /// # Errors
    /// As [`Graph::softmax`].
    pub fn log_softmax(&mut self, x: Var, axis: usize) -> Result<Var> {
        let (z, sum) = self.exponentials("log_softmax", x, axis)?;
        let log = self.log(sum)?;
        self.sub(z, log)
    }

    /// `z = x - max x` along an axis, and `Σeᶻ`, the axis kept with size 1. The maximum counts as a constant:
    /// it is for functions that do not change with it.
    pub(super) fn exponentials(&mut self, operation: &'static str, x: Var, axis: usize) -> Result<(Var, Var)> {
        let id = self.float(operation, x)?;
        if axis >= self.dims(id).len() {
            return self.refuse(operation, &[id], format!("there is no axis {axis}"));
        }
        let max = self.detached_max(id, &[axis]);
        let z = self.sub(x, self.var(max))?;
        let e = self.exp(z)?;
        let sum = self.summed(self.check(e)?, &[axis]);
        Ok((z, self.var(sum)))
    }
}

/// `x Wᵀ + b` for x `[.., in]`: `[.., out]`, as [`Graph::matmul`]. Parameters `weight` `[out, in]` and `bias` `[out]`, both uniform
/// within ±1/√in.
///
/// # Errors
/// [`Error::Operation`](crate::Error::Operation) if x has no axis or `out` is 0.
pub fn dense(graph: &mut Graph, name: &str, x: Var, out: usize) -> Result<Var> {
    let id = graph.float("dense", x)?;
    let Some(&width) = graph.dims(id).last() else {
        return graph.refuse("dense", &[id], "there is no axis of features".into());
    };
    let initial = Init::Uniform((width as f64).sqrt().recip());
    linear(graph, [&format!("{name}.weight"), &format!("{name}.bias")], [initial; 2], x, out)
}

/// `x Wᵀ + b` with W, b of these names and initial values.
fn linear(graph: &mut Graph, names: [&str; 2], initial: [Init; 2], x: Var, out: usize) -> Result<Var> {
    graph.attempt(|graph| {
        let mut shape = graph.shape(x)?.to_vec();
        let width = shape.pop().unwrap_or(1);
        let weight = graph.parameter(names[0], &[out, width], initial[0])?;
        let bias = graph.parameter(names[1], &[out], initial[1])?;
        // one product of many rows, whatever the axes in front
        let rows = graph.reshape(x, &[shape.iter().product(), width])?;
        let transposed = graph.transpose(weight, &[1, 0])?;
        let product = graph.matmul(rows, transposed)?;
        let y = graph.add(product, bias)?;
        shape.push(out);
        graph.reshape(y, &shape)
    })
}

/// [`Graph::convolution`] of x `[batch, in, spatial..]` with `out` kernels of the size `kernel`, and a bias.
/// Parameters `weight` `[out, in, kernel..]` and `bias` `[out]`, both uniform within ±1/√(in · taps).
///
/// # Errors
/// Those of [`Graph::convolution`].
pub fn convolution(graph: &mut Graph, name: &str, x: Var, out: usize, kernel: &[usize], options: &ConvolutionOptions) -> Result<Var> {
    graph.attempt(|graph| {
        let channels = channels(graph, "convolution", x)?;
        let shape = [&[out, channels], kernel].concat();
        let fan_in: f64 = shape[1..].iter().map(|&size| size as f64).product();
        let initial = Init::Uniform(fan_in.sqrt().recip());
        let weight = graph.parameter(&format!("{name}.weight"), &shape, initial)?;
        let bias = graph.parameter(&format!("{name}.bias"), &[out], initial)?;
        let product = graph.convolution(x, weight, options)?;
        let bias = by_channel(graph, bias, product)?;
        graph.add(product, bias)
    })
}

/// `(x - mean)/√(variance + eps) · weight + bias` over the last axis (Ba, Kiros and Hinton 2016). Parameters
/// `weight`, ones, and `bias`, zeros, of the size of that axis. PyTorch's `eps` is [`EPS`].
///
/// Deviations do not suffer from a large mean: those of a constant row are 0, exactly, and the result is `bias`. They may be
/// as large as 1e27, and with an `eps` of 1e-28 or less 1e16; a row of larger ones counts as constant. A row with a NaN or an
/// infinity is NaN, and so is a constant one if `eps` is 0.
///
/// # Errors
/// [`Error::Operation`](crate::Error::Operation) if x has no axis, [`Error::Option`](crate::Error::Option) for an
/// `eps` that is no finite f32.
pub fn layer_norm(graph: &mut Graph, name: &str, x: Var, eps: f64) -> Result<Var> {
    graph.attempt(|graph| {
        let y = normalized(graph, "layer_norm", x, eps)?;
        let width = graph.shape(x)?.last().copied().unwrap_or(1);
        let (weight, bias) = scale_and_shift(graph, name, width)?;
        let scaled = graph.mul(y, weight)?;
        graph.add(scaled, bias)
    })
}

/// [`layer_norm`] over each of `groups` groups of the channels of `[batch, channels, spatial..]`, with all that is
/// spatial (Wu and He 2018); with as many groups as channels, instance normalisation. Parameters `weight`, ones, and `bias`,
/// zeros, one a channel. What is said of rows there is true of groups.
///
/// # Errors
/// [`Error::Operation`](crate::Error::Operation) if x has less than two axes or the channels do not divide into
/// groups, [`Error::Option`](crate::Error::Option) for an `eps` that is no finite f32.
pub fn group_norm(graph: &mut Graph, name: &str, x: Var, groups: usize, eps: f64) -> Result<Var> {
    graph.attempt(|graph| {
        let channels = channels(graph, "group_norm", x)?;
        let shape = graph.shape(x)?.to_vec();
        if groups == 0 || !channels.is_multiple_of(groups) {
            return graph.refuse("group_norm", &[graph.check(x)?], format!("{channels} channels are not {groups} equal groups"));
        }
        let members = shape[1..].iter().product::<usize>() / groups;
        let grouped = graph.reshape(x, &[shape[0], groups, members])?;
        let y = normalized(graph, "group_norm", grouped, eps)?;
        let y = graph.reshape(y, &shape)?;
        let (weight, bias) = scale_and_shift(graph, name, channels)?;
        let (weight, bias) = (by_channel(graph, weight, y)?, by_channel(graph, bias, y)?);
        let scaled = graph.mul(y, weight)?;
        graph.add(scaled, bias)
    })
}

/// `(x - running_mean)/√(running_var + eps) · weight + bias` by channel of `[batch, channels, spatial..]`, as in
/// evaluation (Ioffe and Szegedy 2015). Parameters `weight`, ones, and `bias`, zeros; inputs
/// `running_mean` and `running_var`; all have one element a channel. NaN where the variance is below `-eps`; infinite or NaN
/// where it is `-eps`.
///
/// # Errors
/// [`Error::Operation`](crate::Error::Operation) if x has less than two axes, [`Error::Option`](crate::Error::Option)
/// for an `eps` that is no finite f32.
pub fn batch_norm(graph: &mut Graph, name: &str, x: Var, eps: f64) -> Result<Var> {
    graph.attempt(|graph| {
        let channels = channels(graph, "batch_norm", x)?;
        let (weight, bias) = scale_and_shift(graph, name, channels)?;
        let mean = graph.input(&format!("{name}.running_mean"), &[channels])?;
        let variance = graph.input(&format!("{name}.running_var"), &[channels])?;
        let inverse = inverse_deviation(graph, variance, eps)?;
        let factor = graph.mul(weight, inverse)?;
        let (mean, factor, bias) = (by_channel(graph, mean, x)?, by_channel(graph, factor, x)?, by_channel(graph, bias, x)?);
        let centered = graph.sub(x, mean)?;
        let scaled = graph.mul(centered, factor)?;
        graph.add(scaled, bias)
    })
}

/// Rows of a table of parameters by number: `[.., width]` for indices `[..]`. Parameter `weight` `[rows, width]`,
/// standard normal. A number that is no row gives NaN.
///
/// # Errors
/// Those of [`Graph::gather`].
pub fn embedding(graph: &mut Graph, name: &str, indices: Var, rows: usize, width: usize) -> Result<Var> {
    graph.attempt(|graph| {
        let table = graph.parameter(&format!("{name}.weight"), &[rows, width], Init::Normal(1.0))?;
        graph.gather(table, indices)
    })
}

/// `x + branch(x)`.
///
/// # Errors
/// Those of `branch`, and of [`Graph::add`].
pub fn residual(graph: &mut Graph, x: Var, branch: impl FnOnce(&mut Graph, Var) -> Result<Var>) -> Result<Var> {
    let y = branch(graph, x)?;
    graph.add(x, y)
}

/// Attention of x `[batch, tokens, width]` to itself with `heads` heads, each of `width/heads` features:
/// `softmax(Q Kᵀ/√features) V`, projected (Vaswani et al. 2017). If `causal`, a token sees none after it, however large its
/// score; but a value of it that is infinite or NaN makes NaN, as 0 times it is.
/// Parameters as in PyTorch's `MultiheadAttention`: `in_proj_weight` `[3 width, width]` for Q, K and V, uniform
/// within ±√(6/(4 width)); `in_proj_bias`, zeros; `out_proj.weight` `[width, width]`, uniform within ±1/√width;
/// `out_proj.bias`, zeros.
///
/// # Errors
/// [`Error::Operation`](crate::Error::Operation) if x has not three axes or the width does not divide into heads.
pub fn self_attention(graph: &mut Graph, name: &str, x: Var, heads: usize, causal: bool) -> Result<Var> {
    graph.attempt(|graph| {
        let id = graph.float("self_attention", x)?;
        let &[batch, tokens, width] = graph.dims(id) else {
            return graph.refuse("self_attention", &[id], "[batch, tokens, width] is expected".into());
        };
        if heads == 0 || !width.is_multiple_of(heads) {
            return graph.refuse("self_attention", &[id], format!("a width of {width} does not divide into {heads} heads"));
        }
        let features = width / heads;
        let names = [&*format!("{name}.in_proj_weight"), &*format!("{name}.in_proj_bias")];
        let initial = [Init::Uniform((6.0 / (4 * width) as f64).sqrt()), Init::Zeros];
        let all = linear(graph, names, initial, x, 3 * width)?;
        // [batch, 3 heads, tokens, features]: parts of a transposed value, which cost nothing
        let all = graph.reshape(all, &[batch, tokens, 3 * heads, features])?;
        let all = graph.transpose(all, &[0, 2, 1, 3])?;
        let part = |graph: &mut Graph, i: usize| graph.slice(all, &[0..batch, i * heads..(i + 1) * heads, 0..tokens, 0..features]);
        let (q, k, v) = (part(graph, 0)?, part(graph, 1)?, part(graph, 2)?);
        let k = graph.transpose(k, &[0, 1, 3, 2])?;
        let products = graph.matmul(q, k)?;
        let mut scores = graph.scale(products, (features as f64).sqrt().recip())?;
        if causal {
            let (query, key) = (graph.iota(0, &[tokens, tokens])?, graph.iota(1, &[tokens, tokens])?);
            let later = graph.greater(key, query)?;
            let one = graph.constant(1.0, &[])?;
            let seen = graph.sub(one, later)?;
            let masked = graph.scale(later, MASKED)?;
            // whatever is there, however large
            let visible = graph.mask(scores, seen)?;
            scores = graph.add(visible, masked)?;
        }
        let weights = graph.softmax(scores, 3)?;
        let seen = graph.matmul(weights, v)?;
        let seen = graph.transpose(seen, &[0, 2, 1, 3])?;
        let seen = graph.reshape(seen, &[batch, tokens, width])?;
        let names = [&*format!("{name}.out_proj.weight"), &*format!("{name}.out_proj.bias")];
        linear(graph, names, [Init::Uniform((width as f64).sqrt().recip()), Init::Zeros], seen, width)
    })
}

/// A block of a transformer of x `[batch, tokens, width]`, normalised before each branch (Xiong et al. 2020):
/// `x + self_attn(norm1(x))`, then `x + linear2(gelu(linear1(norm2(x))))` with `hidden` features between. Parameters
/// as in PyTorch's `TransformerEncoderLayer` with `norm_first`: of layers `norm1`, `self_attn`, `norm2`, `linear1`
/// and `linear2`.
///
/// # Errors
/// Those of [`self_attention`], and [`Error::Operation`](crate::Error::Operation) if `hidden` is 0.
pub fn transformer_block(graph: &mut Graph, name: &str, x: Var, heads: usize, hidden: usize, causal: bool) -> Result<Var> {
    graph.attempt(|graph| {
        let x = residual(graph, x, |graph, x| {
            let x = layer_norm(graph, &format!("{name}.norm1"), x, EPS)?;
            self_attention(graph, &format!("{name}.self_attn"), x, heads, causal)
        })?;
        residual(graph, x, |graph, x| {
            let width = graph.shape(x)?.last().copied().unwrap_or(1);
            let x = layer_norm(graph, &format!("{name}.norm2"), x, EPS)?;
            let x = dense(graph, &format!("{name}.linear1"), x, hidden)?;
            let x = graph.gelu(x)?;
            dense(graph, &format!("{name}.linear2"), x, width)
        })
    })
}

/// `(x - mean)/√(variance + eps)` over the last axis.
fn normalized(graph: &mut Graph, operation: &'static str, x: Var, eps: f64) -> Result<Var> {
    let id = graph.float(operation, x)?;
    let Some(last) = graph.dims(id).len().checked_sub(1) else {
        return graph.refuse(operation, &[id], "there is no axis of features".into());
    };
    // The result does not change with what is taken from a row, which is therefore a constant to derivatives: the first element,
    // so that what is left of a constant row is 0, and what rounding has left of the mean.
    let shape = graph.dims(id).to_vec();
    let mut first: Vec<std::ops::Range<usize>> = shape.iter().map(|&size| 0..size).collect();
    first[last] = 0..1;
    let first = graph.slice(x, &first)?;
    let first = graph.detach(first)?;
    let shifted = graph.sub(x, first)?;
    let mean = mean_kept(graph, shifted, last)?;
    let centered = graph.sub(shifted, mean)?;
    let rest = mean_kept(graph, centered, last)?;
    let rest = graph.detach(rest)?;
    let centered = graph.sub(centered, rest)?;
    // Deviations times a power of two, so that squares of large ones fit into f32; those that vanish do so beside eps.
    finite("eps", eps)?;
    let factor = if eps > 0.0 { (1e-28 / eps).min(1.0).log2().div_euclid(2.0).exp2() } else { 1.0 };
    let scaled = graph.scale(centered, factor)?;
    let squares = graph.mul(scaled, scaled)?;
    let variance = mean_kept(graph, squares, last)?;
    let inverse = inverse_deviation(graph, variance, eps * factor * factor)?;
    graph.mul(scaled, inverse)
}

/// `1/√(variance + eps)`
fn inverse_deviation(graph: &mut Graph, variance: Var, eps: f64) -> Result<Var> {
    let sum = graph.add_scalar(variance, eps)?;
    let deviation = graph.sqrt(sum)?;
    graph.reciprocal(deviation)
}

/// The mean over an axis, which keeps the size 1.
fn mean_kept(graph: &mut Graph, x: Var, axis: usize) -> Result<Var> {
    let mut shape = graph.shape(x)?.to_vec();
    shape[axis] = 1;
    let mean = graph.mean(x, &[axis])?;
    graph.reshape(mean, &shape)
}

/// The parameters `weight`, ones, and `bias`, zeros.
fn scale_and_shift(graph: &mut Graph, name: &str, size: usize) -> Result<(Var, Var)> {
    let weight = graph.parameter(&format!("{name}.weight"), &[size], Init::Ones)?;
    let bias = graph.parameter(&format!("{name}.bias"), &[size], Init::Zeros)?;
    Ok((weight, bias))
}

/// The size of the second axis.
fn channels(graph: &Graph, operation: &'static str, x: Var) -> Result<usize> {
    let id = graph.float(operation, x)?;
    match graph.dims(id) {
        [_, channels, ..] => Ok(*channels),
        _ => graph.refuse(operation, &[id], "[batch, channels, ..] is expected".into()),
    }
}

/// One number a channel, to be broadcast to values like `like`.
fn by_channel(graph: &mut Graph, x: Var, like: Var) -> Result<Var> {
    let mut shape = vec![1; graph.shape(like)?.len() - 1];
    shape[0] = graph.shape(x)?.iter().product();
    graph.reshape(x, &shape)
}
