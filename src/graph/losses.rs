//! Losses: functions of a prediction and a target to one number. They can be differentiated as often as the
//! prediction.

use super::build::{Graph, Var};
use crate::Result;

/// The mean of `(prediction - target)²` over all elements; the shapes are equal. Squares are summed in f32: it is infinite where
/// they do not fit, from differences of 1.8e19 on, and NaN if one is NaN.
///
/// # Errors
/// [`Error::Operation`](crate::Error::Operation) if the shapes differ or a value is of indices,
/// [`Error::Unknown`](crate::Error::Unknown) for values of another graph.
pub fn mean_squared_error(graph: &mut Graph, prediction: Var, target: Var) -> Result<Var> {
    alike(graph, "mean_squared_error", prediction, target)?;
    let difference = graph.sub(prediction, target)?;
    let squares = graph.mul(difference, difference)?;
    graph.mean(squares, &[])
}

/// The mean over samples of `log Σ_c e^logits[c] - logits[class]`: logits `[batch, classes, ..]`, and for each
/// sample `[batch, ..]` the number of its class. It is NaN if a number is no class. Large logits are exact: the
/// maximum is subtracted first.
///
/// Logits may be -∞, which excludes a class: its probability and its derivatives are 0, and the loss is ∞ if it is the sample's
/// class. It is NaN for a sample with a logit that is NaN or ∞, or of which all are -∞.
///
/// # Errors
/// [`Error::Operation`](crate::Error::Operation) if the shapes do not fit or the classes are not indices,
/// [`Error::Unknown`](crate::Error::Unknown) for values of another graph.
pub fn cross_entropy(graph: &mut Graph, logits: Var, classes: Var) -> Result<Var> {
    let (x, numbers) = (graph.float("cross_entropy", logits)?, graph.integer("cross_entropy", classes)?);
    let (shape, samples) = (graph.dims(x).to_vec(), graph.dims(numbers).to_vec());
    let fits = matches!(shape.as_slice(), [batch, _, rest @ ..] if samples.as_slice() == [&[*batch], rest].concat());
    if !fits {
        return graph.refuse("cross_entropy", &[x, numbers], "logits [batch, classes, ..] and classes [batch, ..] are expected".into());
    }
    let one_hot = graph.one_hot(classes, shape[1])?;
    // the axis of classes from the end to where the logits have it
    let rank = shape.len();
    let axes: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    let one_hot = graph.transpose(one_hot, &axes)?;
    let (z, sum) = graph.exponentials("cross_entropy", logits, 1)?;
    // apart, so that the derivative by the logarithm is a constant
    let log = graph.log(sum)?;
    let normalizers = graph.sum(log, &[])?;
    // not a product: z may be infinite elsewhere
    let picked = graph.mask(z, one_hot)?;
    let picked = graph.sum(picked, &[])?;
    let total = graph.sub(normalizers, picked)?;
    graph.scale(total, 1.0 / samples.iter().product::<usize>() as f64)
}

/// The mean over all elements of `target · log(1 + e^-logits) + (1 - target) · log(1 + e^logits)`, for targets from 0 to 1 of
/// the shape of the logits: the cross entropy of the logits' sigmoid. No terms cancel, so that it and its derivatives have
/// relative accuracy, 2e-6, however sure and right the logits are. Logits of ±∞ are right too: a target of 0 or 1 makes
/// the loss 0 or ∞, any other ∞. NaN if a logit or a target is NaN.
///
/// # Errors
/// As [`mean_squared_error`].
pub fn binary_cross_entropy_with_logits(graph: &mut Graph, logits: Var, target: Var) -> Result<Var> {
    alike(graph, "binary_cross_entropy_with_logits", logits, target)?;
    let one = graph.constant(1.0, &[])?;
    let rest = graph.sub(one, target)?;
    let opposite = graph.scale(logits, -1.0)?;
    // a share of 0 has no part, not even of what is infinite
    let part = |graph: &mut Graph, share: Var, logits: Var| {
        let each = graph.softplus(logits)?;
        let each = graph.mul(share, each)?;
        graph.mask(each, share)
    };
    let (positive, negative) = (part(graph, target, opposite)?, part(graph, rest, logits)?);
    let each = graph.add(positive, negative)?;
    graph.mean(each, &[])
}

fn alike(graph: &Graph, operation: &'static str, a: Var, b: Var) -> Result<()> {
    let (a, b) = (graph.float(operation, a)?, graph.float(operation, b)?);
    match graph.dims(a) == graph.dims(b) {
        true => Ok(()),
        false => graph.refuse(operation, &[a, b], "the shapes differ".into()),
    }
}
