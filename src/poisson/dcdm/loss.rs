//! What a network is trained for.

use std::sync::{Arc, PoisonError, RwLock};

use crate::gpu::{DType, Recording, Tensor};
use crate::graph::{Graph, LinearMap, Parameters, Plan, Product, Stage, Var};
use crate::krylov::LinearOperator;
use crate::poisson::{Grid, Laplacian};
use crate::reference::poisson::Cells;
use crate::{Error, Gpu, Result};

/// The mean over samples of `‖b - α A q‖² / ‖b‖²` with `α = ⟨q, b⟩ / ⟨q, A q⟩`: what a step along q leaves of the residual b
/// (Kaneda et al., ICML 2023, whose b are of norm 1). It is 0 if q is a multiple of A⁻¹ b, and no multiple of q or b changes it.
///
/// `q` and `b` are `[batch, ..]`, of equal shapes. `laplacian` is one symmetric matrix for all samples, or that of all
/// together, as of [`Laplacians`].
///
/// # Errors
/// [`Error::Operation`] if the shapes differ, or are not made of vectors for the matrix; [`Error::Unknown`] for values of
/// another graph.
pub fn direction_loss(graph: &mut Graph, laplacian: &LinearMap, q: Var, b: Var) -> Result<Var> {
    let shape = graph.shape(b)?.to_vec();
    let elements: usize = shape.iter().product();
    let refuse = |graph: &Graph, reason: &str| -> Result<Var> {
        let shapes = vec![graph.shape(q)?.to_vec(), shape.clone()];
        Err(Error::Operation { operation: "direction_loss", shapes, reason: reason.into() })
    };
    if graph.shape(q)? != shape || shape.is_empty() {
        return refuse(graph, "directions and right-hand sides [batch, ..] of equal shapes are expected");
    }
    if !elements.is_multiple_of(laplacian.columns()) || laplacian.rows() != laplacian.columns() {
        return refuse(graph, &format!("the matrix has {} rows and {} columns", laplacian.rows(), laplacian.columns()));
    }
    let flat = [shape[0], elements / shape[0]];
    let (q, b) = (graph.reshape(q, &flat)?, graph.reshape(b, &flat)?);
    let vectors = graph.reshape(q, &[elements / laplacian.columns(), laplacian.columns()])?;
    let image = graph.apply(laplacian, vectors)?;
    let image = graph.reshape(image, &flat)?;
    let dot = |graph: &mut Graph, x: Var, y: Var| -> Result<Var> {
        let products = graph.mul(x, y)?;
        let sums = graph.sum(products, &[1])?;
        graph.reshape(sums, &[flat[0], 1])
    };
    let (along, curvature) = (dot(graph, q, b)?, dot(graph, q, image)?);
    let alpha = graph.div(along, curvature)?;
    let step = graph.mul(image, alpha)?;
    let residual = graph.sub(b, step)?;
    let (left, all) = (dot(graph, residual, residual)?, dot(graph, b, b)?);
    let shares = graph.div(left, all)?;
    graph.mean(shares, &[])
}

/// The Laplacians of grids of equal sizes as one matrix, which multiplies the vectors of all grids, one after another in
/// one, by one dispatch.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::poisson::Grid;
/// use gradus::poisson::dcdm::{Laplacians, direction_loss};
///
/// # fn example(gpu: &gradus::Gpu) -> gradus::Result<()> {
/// let laplacians = Laplacians::new(gpu, &[Grid::new(&[16, 24])?, Grid::new(&[16, 24])?])?;
/// let mut graph = Graph::new();
/// let b = graph.input("b", &[2, 1, 16, 24])?;
/// let q = graph.parameter("q", &[2, 1, 16, 24], Default::default())?;
/// let loss = direction_loss(&mut graph, &laplacians.linear_map()?, q, b)?;
/// # Ok(())
/// # }
/// ```
pub struct Laplacians {
    all: Arc<Laplacian>,
    grids: Arc<RwLock<Vec<Grid>>>,
}

impl Laplacians {
    /// # Errors
    /// [`Error::Option`] if there is no grid, their sizes differ, or they have 2³¹ cells or more; those of
    /// [`Laplacian::new`].
    pub fn new(gpu: &Gpu, grids: &[Grid]) -> Result<Self> {
        check(grids, grids.len(), grids.first().map_or(&[], Grid::sizes))?;
        Ok(Self { all: Arc::new(Laplacian::of_all(gpu, grids)?), grids: Arc::new(RwLock::new(grids.to_vec())) })
    }

    /// Puts others in the place of all grids. It takes effect before the next submission.
    ///
    /// # Errors
    /// [`Error::Option`] for another number of grids, or another size.
    pub fn write(&self, grids: &[Grid]) -> Result<()> {
        let mut own = self.grids.write().unwrap_or_else(PoisonError::into_inner);
        check(grids, own.len(), own.first().map_or(&[], Grid::sizes))?;
        self.all.write(grids)?;
        own.clone_from_slice(grids);
        Ok(())
    }

    /// The matrix, for a graph. Its products are those with the grids of the time when they run.
    ///
    /// # Errors
    /// None in practice: there are cells.
    pub fn linear_map(&self) -> Result<LinearMap> {
        let (all, grids) = (self.all.clone(), self.grids.clone());
        let reference = move |x: &[f64]| {
            let grids = grids.read().unwrap_or_else(PoisonError::into_inner);
            let product = |(grid, x): (&Grid, &[f64])| {
                let flags: Vec<u8> = grid.cells().iter().map(|&cell| cell as u8).collect();
                Cells { sizes: grid.sizes(), flags: &flags, open: grid.open(), ..Default::default() }.apply(x)
            };
            let cells = grids.first().map_or(1, Grid::len);
            grids.iter().zip(x.chunks(cells)).flat_map(product).collect()
        };
        LinearMap::symmetric("laplacians", self.all.dim(), Product::new(move |recording, x, y| all.record(recording, x, y), reference))
    }
}

/// Records a loss and its gradient, and returns where the loss will be, one f32. `parameters` and `gradients` have tensors of the
/// graph's parameters by name; `bindings` are of all its other leaves.
///
/// # Errors
/// [`Error::Unknown`] or [`Error::Shape`] for parameters of another graph; [`Error::OutOfMemory`], [`Error::LimitTooSmall`].
pub(super) fn loss_and_gradient(
    gpu: &Gpu,
    graph: &mut Graph,
    loss: Var,
    bindings: &[(Var, &Tensor)],
    parameters: &Parameters,
    gradients: &Parameters,
) -> Result<(Recording, Tensor)> {
    let named: Vec<_> = graph.parameters().map(|(name, var)| (name.to_owned(), var)).collect();
    let wrt: Vec<_> = named.iter().map(|&(_, var)| var).collect();
    let grads = graph.gradient(loss, &wrt)?;
    let plan = Plan::new(gpu, graph, &[Stage::new(&[&[loss], &grads[..]].concat())])?;
    let value = Tensor::zeros(gpu, &[], DType::F32)?;
    let mut bindings = bindings.to_vec();
    bindings.push((loss, &value));
    for ((name, var), &grad) in named.iter().zip(&grads) {
        bindings.extend([(*var, parameters.get(name)?), (grad, gradients.get(name)?)]);
    }
    let recording = plan.compile(gpu, &bindings)?.recording(0)?;
    Ok((recording, value))
}

fn check(grids: &[Grid], count: usize, sizes: &[usize]) -> Result<()> {
    if grids.len() != count || grids.is_empty() || grids.iter().any(|grid| grid.sizes() != sizes) {
        let found = format!("{:?}", grids.iter().map(Grid::sizes).collect::<Vec<_>>());
        return Err(Error::Option { option: "grids".into(), found, expected: format!("{} grids of {sizes:?} cells", count.max(1)) });
    }
    Ok(())
}
