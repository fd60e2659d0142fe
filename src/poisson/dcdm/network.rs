//! The network of the deep conjugate direction method.

use super::pieces::Overlap;
use crate::gpu::Gpu;
use crate::graph::{ConvolutionOptions, Graph, Padding, Parameters, Var, Window, layers};
use crate::{Error, Result};

/// The fields in a file, with the least and the greatest that each may be.
pub(super) const FIELDS: [(&str, usize, usize); 6] =
    [("dim", 2, 3), ("channels", 1, 1024), ("levels", 0, 16), ("before", 0, 256), ("coarse", 0, 256), ("after", 0, 256)];

/// A network that maps a residual to a direction: the two of Kaneda et al. (ICML 2023), [`Architecture::net_64`] and
/// [`Architecture::net_128`], and their like.
///
/// All convolutions have kernels of 3 along each axis, zeros around, biases, and as many channels; but the first takes
/// one channel, and the last, of kernel 1, gives one. Both are linear. With `c` a convolution of its own each time:
///
/// - x₀ = c(r √cells), so that elements are about 1 on a grid of any size, where r has norm 1
/// - on each level but the coarsest, `before` of x₁ = relu(c x₀), x₂ = relu(c x₁), x₃ = relu(c x₂) + x₁,
///   x₄ = relu(c x₃), x₅ = relu(c x₄) + x₃, and so on; the last one also goes past the coarser levels
/// - averages over 2 cells along each axis; on an axis of odd size the first cell is alone
/// - on the coarsest level, `coarse` blocks x ← relu(c relu(c x)) + x
/// - each cell repeated where its average was taken, plus what went past, and `after` such blocks
/// - the last convolution
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::poisson::dcdm::Architecture;
///
/// let architecture = Architecture::net_64(3);
/// let mut graph = Graph::new();
/// let r = graph.input("r", &[1, 1, 15, 16, 17])?;
/// let q = architecture.build(&mut graph, r)?;
/// assert_eq!(graph.shape(q)?, [1, 1, 15, 16, 17]);
/// let count = |shape: &[usize]| shape.iter().product::<usize>();
/// let parameters = graph.parameters().map(|(_, parameter)| Ok(count(graph.shape(parameter)?)));
/// assert_eq!(parameters.sum::<gradus::Result<usize>>()?, 97_457);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Architecture {
    /// The axes of the grid: 2 or 3.
    pub dim: usize,
    /// The channels between the first convolution and the last: 1 to 1024. 16 as published.
    pub channels: usize,
    /// How often cells are averaged: 0 to 16. 1 as published; at 0 there are the first convolution, the blocks `coarse`
    /// and the last convolution.
    pub levels: usize,
    /// Convolutions before averaging: 0 to 256. 4 and 6 as published.
    pub before: usize,
    /// Blocks of two convolutions on the coarsest level: 0 to 256. 3 and 5 as published.
    pub coarse: usize,
    /// Blocks of two convolutions after the return to a level: 0 to 256. 2 and 3 as published.
    pub after: usize,
}

impl Architecture {
    /// The network published for 64³ cells: 97,457 parameters in 3 dimensions, 32,657 in 2.
    #[must_use]
    pub fn net_64(dim: usize) -> Self {
        Self { dim, channels: 16, levels: 1, before: 4, coarse: 3, after: 2 }
    }

    /// The network published for 128³ cells: 152,881 parameters in 3 dimensions.
    #[must_use]
    pub fn net_128(dim: usize) -> Self {
        Self { before: 6, coarse: 5, after: 3, ..Self::net_64(dim) }
    }

    /// Appends the network of `x` `[batch, 1, sizes..]`, of norm 1 each: a direction of the same shape, of any norm.
    /// Parameters are called `input`, `before.LEVEL.I`, `coarse.I.0|1`, `after.LEVEL.I.0|1` and `output`, each with
    /// `.weight` and `.bias`, and begin as [`layers::convolution`]'s: uniform within ±1/√(in · taps). Level 0 is the
    /// finest.
    ///
    /// # Errors
    /// [`Error::Option`] for a field out of its range, [`Error::Operation`] for another shape,
    /// [`Error::DuplicateName`], [`Error::Unknown`]. Nothing is made then.
    pub fn build(&self, graph: &mut Graph, x: Var) -> Result<Var> {
        self.check()?;
        let shape = graph.shape(x)?.to_vec();
        if shape.len() != self.dim + 2 || shape[1] != 1 {
            return graph.refuse("dcdm", &[graph.check(x)?], format!("[batch, 1, ..] with {} axes of cells is expected", self.dim));
        }
        let cells: f64 = shape[2..].iter().map(|&size| size as f64).product();
        graph.attempt(|graph| {
            let x = graph.scale(x, cells.sqrt())?;
            self.layers(graph, x)
        })
    }

    /// [`Architecture::build`] of a value that is already of norm √cells, and may be a piece of it.
    pub(super) fn layers(&self, graph: &mut Graph, x: Var) -> Result<Var> {
        let x = self.convolution(graph, "input", x)?;
        let x = self.level(graph, 0, x)?;
        layers::convolution(graph, "output", x, 1, &vec![1; self.dim], &ConvolutionOptions::default())
    }

    /// How far what is said of a cell depends on others, and which of them are one on the coarsest level.
    pub(super) fn overlap(&self) -> Overlap {
        // of the levels from the coarsest on; an average has one cell beside that for which it is taken
        let level = |coarser: usize, _| self.before + 2 * coarser + 1 + 2 * self.after;
        Overlap { reach: 1 + (0..self.levels).fold(2 * self.coarse, level), multiple: 1 << self.levels }
    }

    /// The names and shapes of the network's parameters, in the order of [`Architecture::build`].
    #[cfg(feature = "weights")]
    pub(super) fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>)> + use<> {
        let Self { dim, channels, levels, before, coarse, after } = *self;
        let of_blocks = |name: String| [0, 1].map(|i| format!("{name}.{i}"));
        let before = (0..levels).flat_map(move |level| (0..before).map(move |i| format!("before.{level}.{i}")));
        let coarse = (0..coarse).flat_map(move |i| of_blocks(format!("coarse.{i}")));
        let after = (0..levels).rev().flat_map(move |level| (0..after).flat_map(move |i| of_blocks(format!("after.{level}.{i}"))));
        let inner = before.chain(coarse).chain(after).map(move |name| (name, [channels, channels], 3));
        let (first, last) = (("input".to_owned(), [channels, 1], 3), ("output".to_owned(), [1, channels], 1));
        let convolutions = [first].into_iter().chain(inner).chain([last]);
        convolutions.flat_map(move |(name, sizes, taps)| {
            let weight = sizes.into_iter().chain(std::iter::repeat_n(taps, dim)).collect();
            [(format!("{name}.weight"), weight), (format!("{name}.bias"), vec![sizes[0]])]
        })
    }

    /// The parameters of the network with their initial values: see [`Parameters::new`].
    ///
    /// # Errors
    /// [`Error::Option`] for a field out of its range, and those of [`Parameters::new`].
    pub fn parameters(&self, gpu: &Gpu, seed: u64) -> Result<Parameters> {
        self.check()?;
        let mut graph = Graph::new();
        let x = graph.input("x", &vec![1; self.dim + 2])?;
        self.build(&mut graph, x)?;
        Parameters::new(gpu, &graph, seed)
    }

    pub(super) fn values(&self) -> [usize; 6] {
        [self.dim, self.channels, self.levels, self.before, self.coarse, self.after]
    }

    pub(super) fn check(&self) -> Result<()> {
        for ((name, least, most), value) in FIELDS.into_iter().zip(self.values()) {
            if !(least..=most).contains(&value) {
                let (option, expected) = (format!("architecture.{name}"), format!("{least} to {most}"));
                return Err(Error::Option { option, found: value.to_string(), expected });
            }
        }
        Ok(())
    }

    fn convolution(&self, graph: &mut Graph, name: &str, x: Var) -> Result<Var> {
        let same = ConvolutionOptions { padding: Padding::Same, ..Default::default() };
        layers::convolution(graph, name, x, self.channels, &vec![3; self.dim], &same)
    }

    fn rectified(&self, graph: &mut Graph, name: &str, x: Var) -> Result<Var> {
        let y = self.convolution(graph, name, x)?;
        graph.relu(y)
    }

    fn block(&self, graph: &mut Graph, name: &str, x: Var) -> Result<Var> {
        let y = self.rectified(graph, &format!("{name}.0"), x)?;
        let y = self.rectified(graph, &format!("{name}.1"), y)?;
        graph.add(y, x)
    }

    /// What becomes of `x` on this level and those below.
    fn level(&self, graph: &mut Graph, level: usize, mut x: Var) -> Result<Var> {
        if level == self.levels {
            for i in 0..self.coarse {
                x = self.block(graph, &format!("coarse.{i}"), x)?;
            }
            return Ok(x);
        }
        let mut earlier = None;
        for i in 0..self.before {
            let y = self.rectified(graph, &format!("before.{level}.{i}"), x)?;
            // x₁, x₃, ..
            let y = match earlier {
                Some(earlier) if i % 2 == 0 => graph.add(y, earlier)?,
                _ => y,
            };
            if i % 2 == 0 {
                earlier = Some(y);
            }
            x = y;
        }
        let window = halves(graph, x)?;
        let coarse = averages(graph, x, &window)?;
        let coarse = self.level(graph, level + 1, coarse)?;
        let fine = repeated(graph, coarse, &window, x)?;
        x = graph.add(fine, x)?;
        for i in 0..self.after {
            x = self.block(graph, &format!("after.{level}.{i}"), x)?;
        }
        Ok(x)
    }
}

/// Two cells along each axis; on one of odd size the first window holds one.
fn halves(graph: &Graph, x: Var) -> Result<Window> {
    let sizes = &graph.shape(x)?[2..];
    let padding = sizes.iter().map(|size| size % 2).collect();
    Ok(Window { size: vec![2; sizes.len()], stride: vec![2; sizes.len()], padding })
}

/// The mean of what is in each window.
fn averages(graph: &mut Graph, x: Var, window: &Window) -> Result<Var> {
    // in which zeros have been counted
    let mut y = graph.avg_pool(x, window)?;
    for (axis, _) in window.padding.iter().enumerate().filter(|&(_, &padding)| padding > 0) {
        let size = graph.shape(y)?[axis + 2];
        let mut shape = vec![1; window.size.len()];
        shape[axis] = size;
        let (place, half) = (graph.iota(axis, &shape)?, graph.constant(0.5, &shape)?);
        let first = graph.greater(half, place)?;
        let factor = graph.add_scalar(first, 1.0)?;
        y = graph.mul(y, factor)?;
    }
    Ok(y)
}

/// Each element in all cells of its window, in the shape of `like`.
fn repeated(graph: &mut Graph, x: Var, window: &Window, like: Var) -> Result<Var> {
    let shape = graph.shape(like)?.to_vec();
    let x = graph.check(x)?;
    let y = graph.unpooled(window, x, &shape);
    Ok(graph.var(y))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::reference::graph::evaluate;

    #[test]
    #[cfg(feature = "weights")]
    fn tensors_are_the_parameters_of_the_graph() {
        let small = Architecture { dim: 2, channels: 3, levels: 2, before: 3, coarse: 2, after: 1 };
        for architecture in
            [small, Architecture { dim: 3, levels: 3, ..small }, Architecture { levels: 0, ..small }, Architecture::net_64(2)]
        {
            let mut graph = Graph::new();
            let x = graph.input("x", &vec![1; architecture.dim + 2]).unwrap();
            architecture.build(&mut graph, x).unwrap();
            let expected = graph.parameters().map(|(name, var)| (name.to_owned(), graph.shape(var).unwrap().to_vec()));
            assert_eq!(architecture.tensors().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
    }

    /// By what a residual of one cell becomes, with weights of 1.
    #[test]
    fn reach() {
        let small = Architecture { dim: 2, channels: 1, levels: 1, before: 2, coarse: 1, after: 1 };
        for architecture in [
            small,
            Architecture { levels: 0, ..small },
            Architecture { levels: 2, before: 1, ..small },
            Architecture { channels: 1, ..Architecture::net_64(2) },
        ] {
            let Overlap { reach, multiple } = architecture.overlap();
            let mut furthest = 0;
            for n in [2 * reach + 6, 2 * reach + 7] {
                let mut graph = Graph::new();
                let x = graph.input("x", &[1, 1, n, 1]).unwrap();
                let q = architecture.layers(&mut graph, x).unwrap();
                for at in reach..reach + 2 * multiple {
                    let mut bindings: HashMap<Var, Vec<f64>> = HashMap::new();
                    for (name, var) in graph.parameters() {
                        let value = f64::from(u8::from(name.ends_with("weight")));
                        bindings.insert(var, vec![value; graph.shape(var).unwrap().iter().product()]);
                    }
                    bindings.insert(x, (0..n).map(|i| f64::from(u8::from(i == at))).collect());
                    let values = evaluate(&graph, &bindings, &[q]).unwrap().remove(0);
                    furthest = furthest.max((0..n).filter(|&i| values[i] != 0.0).map(|i| i.abs_diff(at)).max().unwrap());
                }
            }
            assert_eq!(furthest, reach, "{architecture:?}");
        }
    }
}
