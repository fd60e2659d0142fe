//! The parameters of a graph in one buffer, one after another.

use std::ops::Range;

use super::build::Graph;
use crate::gpu::{DType, Gpu, Tensor};
use crate::reference::random::uniform;
use crate::{Error, Result};

/// What a parameter begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Init {
    /// 0
    #[default]
    Zeros,
    /// 1
    Ones,
    /// Uniform between minus and plus this bound.
    Uniform(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
}

/// A tensor of f32 for each parameter of a graph, in the order of their making, without gaps in one buffer:
/// all together are one vector, as optimizers and Hessians want it.
///
/// ```
/// # use gradus::graph::{Graph, Parameters, layers};
/// # fn example(gpu: &gradus::Gpu) -> gradus::Result<()> {
/// let mut graph = Graph::new();
/// let x = graph.input("x", &[32, 8])?;
/// layers::dense(&mut graph, "hidden", x, 16)?;
/// let parameters = Parameters::new(gpu, &graph, 0)?;
/// let gradients = parameters.like(gpu)?;
/// assert_eq!(parameters.flat().shape(), [16 * 8 + 16]);
/// assert_eq!(gradients.get("hidden.weight")?.shape(), [16, 8]);
/// assert_eq!(parameters.range("hidden.bias")?, 128..144);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Parameters {
    pub(super) flat: Tensor,
    pub(super) names: Vec<String>,
    pub(super) tensors: Vec<Tensor>,
}

impl Parameters {
    /// The parameters of `graph` with their initial values. Random ones are functions of `seed`, the number of the
    /// parameter and that of the element alone: Philox, as [`uniform`], with the parameter's number for the stream,
    /// and for normal ones the transform of Box and Muller.
    ///
    /// # Errors
    /// [`Error::LimitTooSmall`] or [`Error::OutOfMemory`].
    pub fn new(gpu: &Gpu, graph: &Graph, seed: u64) -> Result<Self> {
        let layout = graph.parameters().map(|(name, var)| Ok((name.to_owned(), graph.shape(var)?.to_vec())));
        let parameters = Self::zeros(gpu, layout.collect::<Result<Vec<_>>>()?)?;
        let mut values = Vec::with_capacity(parameters.flat.len());
        for (i, ((_, var), tensor)) in graph.parameters().zip(&parameters.tensors).enumerate() {
            values.extend(graph.initial(graph.check(var)?).values(seed, i as u32, tensor.len()));
        }
        parameters.flat.write(gpu, &values)?;
        Ok(parameters)
    }

    /// Zeros of the same names and shapes, at the same places of another buffer: for gradients and the like.
    ///
    /// # Errors
    /// As [`Parameters::new`].
    pub fn like(&self, gpu: &Gpu) -> Result<Self> {
        let shapes = self.tensors.iter().map(|tensor| tensor.shape().to_vec());
        Self::zeros(gpu, self.names.iter().cloned().zip(shapes).collect())
    }

    /// Zeros of these names and shapes.
    pub(crate) fn zeros(gpu: &Gpu, layout: Vec<(String, Vec<usize>)>) -> Result<Self> {
        let sizes = layout.iter().map(|(_, shape)| shape.iter().product::<usize>());
        let total = sizes.clone().try_fold(0usize, usize::checked_add).unwrap_or(usize::MAX);
        let flat = Tensor::zeros(gpu, &[total], DType::F32)?;
        let mut tensors = Vec::with_capacity(layout.len());
        let mut start = 0;
        for ((_, shape), size) in layout.iter().zip(sizes) {
            tensors.push(flat.within(start, shape, DType::F32)?);
            start += size as u64 * DType::F32.size();
        }
        Ok(Self { flat, names: layout.into_iter().map(|(name, _)| name).collect(), tensors })
    }

    /// All as one vector.
    #[must_use]
    pub fn flat(&self) -> &Tensor {
        &self.flat
    }

    /// The names, in the order of the parameters' making.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The tensors, in the order of the names. They are ranges of [`Parameters::flat`].
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor of a parameter.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        let found = self.names.iter().position(|known| known == name).and_then(|i| self.tensors.get(i));
        found.ok_or_else(|| Error::Unknown { what: "parameter", name: name.to_owned() })
    }

    /// The elements of a parameter in [`Parameters::flat`].
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub fn range(&self, name: &str) -> Result<Range<usize>> {
        let tensor = self.get(name)?;
        let start = (tensor.offset() / DType::F32.size()) as usize;
        Ok(start..start + tensor.len())
    }
}

impl Init {
    fn values(self, seed: u64, stream: u32, n: usize) -> Vec<f32> {
        match self {
            Init::Zeros => vec![0.0; n],
            Init::Ones => vec![1.0; n],
            Init::Uniform(bound) => uniform(seed, stream, n).into_iter().map(|u| ((2.0 * f64::from(u) - 1.0) * bound) as f32).collect(),
            Init::Normal(deviation) => {
                let mut values = Vec::with_capacity(n + 1);
                for pair in uniform(seed, stream, n.next_multiple_of(2)).as_chunks::<2>().0 {
                    let [u, v] = pair.map(f64::from);
                    // u may be 0, and 1 - u may not
                    let radius = deviation * (-2.0 * (1.0 - u).ln()).sqrt();
                    let angle = std::f64::consts::TAU * v;
                    values.extend([(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]);
                }
                values.truncate(n);
                values
            }
        }
    }
}
