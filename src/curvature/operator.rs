//! Products with curvature matrices, over one batch or many.

use super::matrix::{Matrix, Model};
use crate::gpu::{DType, Gpu, Recording, Tensor};
use crate::graph::{Graph, Op, Parameters, Plan, Program, Stage, Var};
use crate::krylov::LinearOperator;
use crate::{Error, Result, vector};

/// The stages of a program: what products share, products, and the loss with its gradient.
const PREPARE: usize = 0;
const APPLY: usize = 1;
const GRADIENT: usize = 2;

/// A [`Matrix`] of a loss at given parameters, as a linear operator; also the loss and its gradient.
///
/// Vectors are the parts of all chosen parameters, in the order given, each in the parameter's own order: for all
/// parameters that is the layout of [`Parameters::flat`]. Nothing is submitted; what is recorded reads the parameters and
/// the data when it runs.
///
/// Of a single batch ([`Curvature::new`]) the forward and backward pass are kept:
/// [`record_prepare`](LinearOperator::record_prepare) records them, to be run after parameters or data have changed, and
/// products use what it has left. Over several batches ([`Curvature::over_batches`]) nothing is kept, and every product
/// runs forward and backward for each batch.
///
/// Where the loss does not depend on a parameter, or the matrix has no part for it, the gradient and products are 0 there. What
/// is infinite or NaN in parameters, data or vectors makes what depends on it infinite or NaN. What becomes of the results
/// does not change later products: a gradient may be clipped in place.
///
/// ```
/// # use gradus::curvature::{Curvature, Matrix};
/// # use gradus::graph::{Graph, Parameters, layers, losses};
/// # use gradus::krylov::LinearOperator;
/// # use gradus::{Recording, Tensor};
/// # fn example(gpu: &gradus::Gpu, images: &Tensor, labels: &Tensor, v: &Tensor, hv: &Tensor) -> gradus::Result<()> {
/// let mut graph = Graph::new();
/// let (x, classes) = (graph.input("x", &[32, 64])?, graph.indices("classes", &[32])?);
/// let hidden = layers::dense(&mut graph, "hidden", x, 16)?;
/// let hidden = graph.tanh(hidden)?;
/// let logits = layers::dense(&mut graph, "logits", hidden, 10)?;
/// let loss = losses::cross_entropy(&mut graph, logits, classes)?;
///
/// let parameters = Parameters::new(gpu, &graph, 0)?;
/// let wrt: Vec<_> = graph.parameters().map(|(_, var)| var).collect();
/// let mut bindings = vec![(x, images), (classes, labels)];
/// bindings.extend(wrt.iter().copied().zip(parameters.tensors()));
/// let hessian = Curvature::new(gpu, &graph, loss, Matrix::Hessian, &wrt, &bindings)?;
/// let mut recording = Recording::new();
/// hessian.record_prepare(&mut recording)?;
/// hessian.record(&mut recording, v, hv)?;
/// # Ok(())
/// # }
/// ```
pub struct Curvature {
    gpu: Gpu,
    models: Vec<Compiled>,
    batches: Vec<Batch>,
    dim: usize,
    /// Where a batch's results go before they are added up, [dim + 1]; of several batches only.
    aside: Option<Tensor>,
}

/// A program for one number of samples.
struct Compiled {
    program: Program,
    loss: Var,
    loss_shape: Vec<usize>,
    gradient: Vec<Var>,
    vector: Vec<Var>,
    result: Vec<Var>,
    /// Shapes of the parameters.
    shapes: Vec<Vec<usize>>,
    uniform: Option<(Tensor, u64)>,
}

/// A range of the samples.
struct Batch {
    model: usize,
    data: Vec<(Var, Tensor)>,
    weight: f64,
}

impl Curvature {
    /// The matrix of `loss` over the values `wrt`, which are parameters usually. `bindings` are the tensors of the
    /// graph's leaves, of the parameters and of the data.
    ///
    /// # Errors
    /// [`Error::Unknown`] for values of another graph and for leaves that are needed and not bound,
    /// [`Error::Shape`], [`Error::DType`] for tensors that do not fit; [`Error::Operation`] if the loss is not one element, or
    /// the output does not lie between parameters and loss; [`Error::Length`] if `wrt` is empty,
    /// [`Error::DuplicateName`] if it names a value twice; [`Error::Option`] for
    /// `draws`; [`Error::OutOfMemory`], [`Error::LimitTooSmall`].
    pub fn new(gpu: &Gpu, graph: &Graph, loss: Var, matrix: Matrix, wrt: &[Var], bindings: &[(Var, &Tensor)]) -> Result<Self> {
        let model = Compiled::new(gpu, graph.clone(), &Model { inputs: Vec::new(), loss, matrix }, wrt, bindings)?;
        let dim = model.shapes.iter().map(|shape| shape.iter().product::<usize>()).sum();
        let batches = vec![Batch { model: 0, data: Vec::new(), weight: 1.0 }];
        Ok(Self { gpu: gpu.clone(), models: vec![model], batches, dim, aside: None })
    }

    /// The matrix over all samples of `data`, `batch_size` at a time and the rest at the end: the mean of the batches'
    /// matrices by their numbers of samples, as is right for losses that are means over samples.
    ///
    /// `build` makes the model for a number of samples; it is called for `batch_size` and for what is left over. Its parameters
    /// are those of `parameters`, by name, and `wrt` the names of the matrix's. Each tensor of `data` is for one of
    /// [`Model::inputs`]; its first axis counts samples.
    ///
    /// # Errors
    /// As [`Curvature::new`] and of `build`; [`Error::Option`] if `batch_size` is 0; [`Error::Length`] if there are no
    /// samples, their numbers differ, or there is not one tensor for each input; [`Error::Unknown`] for parameters that
    /// are not there.
    pub fn over_batches(
        gpu: &Gpu,
        parameters: &Parameters,
        wrt: &[impl AsRef<str>],
        data: &[&Tensor],
        batch_size: usize,
        build: impl Fn(&mut Graph, usize) -> Result<Model>,
    ) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::Option { option: "batch_size".into(), found: "0".into(), expected: "1 at least".into() });
        }
        let count = |tensor: &Tensor| tensor.shape().first().copied().unwrap_or(0);
        let total = data.first().map_or(0, |tensor| count(tensor));
        if total == 0 {
            return Err(Error::Length { tensor: "data".into(), unit: "samples at least", expected: 1, found: 0 });
        }
        if let Some((i, other)) = data.iter().enumerate().find(|(_, tensor)| count(tensor) != total) {
            return Err(Error::Length { tensor: format!("data[{i}]"), unit: "samples", expected: total, found: count(other) });
        }
        let mut models: Vec<(usize, Vec<Var>, Compiled)> = Vec::new();
        let mut batches = Vec::new();
        for start in (0..total).step_by(batch_size) {
            let samples = batch_size.min(total - start);
            let model = match models.iter().position(|(size, ..)| *size == samples) {
                Some(model) => model,
                None => {
                    let mut graph = Graph::new();
                    let model = build(&mut graph, samples)?;
                    if model.inputs.len() != data.len() {
                        let (expected, found) = (model.inputs.len(), data.len());
                        return Err(Error::Length { tensor: "data".into(), unit: "tensors", expected, found });
                    }
                    let named = |name: &str| {
                        let found = graph.parameters().find(|(known, _)| *known == name).map(|(_, var)| var);
                        found.ok_or_else(|| Error::Unknown { what: "parameter of the model", name: name.to_owned() })
                    };
                    let wrt = wrt.iter().map(|name| named(name.as_ref())).collect::<Result<Vec<Var>>>()?;
                    let all: Vec<(String, Var)> = graph.parameters().map(|(name, var)| (name.to_owned(), var)).collect();
                    let bindings = all.iter().map(|(name, var)| Ok((*var, parameters.get(name)?))).collect::<Result<Vec<_>>>()?;
                    models.push((samples, model.inputs.clone(), Compiled::new(gpu, graph, &model, &wrt, &bindings)?));
                    models.len() - 1
                }
            };
            let slice = |(&input, tensor): (&Var, &&Tensor)| {
                let shape: Vec<usize> = [samples].into_iter().chain(tensor.shape().iter().skip(1).copied()).collect();
                let first = (start * (tensor.len() / total)) as u64 * tensor.dtype().size();
                Ok((input, tensor.within(tensor.offset() + first, &shape, tensor.dtype())?))
            };
            let inputs = &models[model].1;
            let data = inputs.iter().zip(data).map(slice).collect::<Result<Vec<_>>>()?;
            batches.push(Batch { model, data, weight: samples as f64 / total as f64 });
        }
        let models: Vec<Compiled> = models.into_iter().map(|(.., model)| model).collect();
        let dim = models[0].shapes.iter().map(|shape| shape.iter().product::<usize>()).sum::<usize>();
        let aside = if batches.len() > 1 { Some(Tensor::zeros(gpu, &[dim + 1], DType::F32)?) } else { None };
        let curvature = Self { gpu: gpu.clone(), models, batches, dim, aside };
        // shapes and types of the data are checked when it is bound
        for i in 0..curvature.batches.len() {
            curvature.stage(&mut Recording::new(), i, PREPARE, &[])?;
        }
        Ok(curvature)
    }

    /// Appends the forward and backward pass, the loss, one f32, and its gradient, `dim` of f32. For a single batch this
    /// includes [`record_prepare`](LinearOperator::record_prepare).
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::DType`] or [`Error::Overlap`]; what making a dispatch may fail with.
    pub fn record_gradient(&self, recording: &mut Recording, loss: &Tensor, gradient: &Tensor) -> Result<()> {
        expect_elements("loss", loss, 1)?;
        expect_elements("gradient", gradient, self.dim)?;
        loss.expect_apart("loss", gradient, "gradient")?;
        let mut own = Recording::new();
        for (i, batch) in self.batches.iter().enumerate() {
            let model = &self.models[batch.model];
            let (to, loss_to) = (self.aside(gradient, 0)?, self.aside(loss, self.dim)?);
            let mut bindings = model.cut(&model.gradient, &to)?;
            bindings.push((model.loss, loss_to.reshape(&model.loss_shape)?));
            self.stage(&mut own, i, PREPARE, &[])?;
            self.stage(&mut own, i, GRADIENT, &bindings)?;
            self.add(&mut own, i, &to, gradient)?;
            self.add(&mut own, i, &loss_to, loss)?;
        }
        recording.extend(own);
        Ok(())
    }

    /// Appends `Y = X A`, the products of the rows of `x` `[k, dim]` as the rows of `y` `[k, dim]`. Over several
    /// batches, the rows share each batch's forward and backward pass.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::DType`] or [`Error::Overlap`]; what making a dispatch may fail with.
    pub fn record_block(&self, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
        let count = x.shape().first().copied().unwrap_or(0);
        for (name, tensor) in [("x", x), ("y", y)] {
            tensor.expect_dtype(name, &[DType::F32])?;
            tensor.expect_shape(name, &[count, self.dim])?;
        }
        x.expect_apart("x", y, "y")?;
        let mut own = Recording::new();
        for (i, batch) in self.batches.iter().enumerate() {
            let model = &self.models[batch.model];
            if self.aside.is_some() {
                self.stage(&mut own, i, PREPARE, &[])?;
            }
            for row in 0..count {
                let [x, y] = [part(x, row * self.dim, &[self.dim])?, part(y, row * self.dim, &[self.dim])?];
                let to = self.aside(&y, 0)?;
                let bindings = [model.cut(&model.vector, &x)?, model.cut(&model.result, &to)?].concat();
                self.stage(&mut own, i, APPLY, &bindings)?;
                self.add(&mut own, i, &to, &y)?;
            }
        }
        recording.extend(own);
        Ok(())
    }

    /// Where a batch's part of `sum` is written: in place if there is one batch.
    fn aside(&self, sum: &Tensor, start: usize) -> Result<Tensor> {
        let flat = sum.reshape(&[sum.len()])?;
        self.aside.as_ref().map_or(Ok(flat), |aside| part(aside, start, &[sum.len()]))
    }

    /// Adds a batch's part to a sum, if that is not in place.
    fn add(&self, recording: &mut Recording, batch: usize, from: &Tensor, sum: &Tensor) -> Result<()> {
        if self.aside.is_none() {
            return Ok(());
        }
        let sum = sum.reshape(from.shape())?;
        if batch == 0 {
            vector::fill(&self.gpu, recording, 0.0, &sum)?;
        }
        vector::axpy(&self.gpu, recording, self.batches[batch].weight, from, &sum)
    }

    fn stage(&self, recording: &mut Recording, batch: usize, stage: usize, bindings: &[(Var, Tensor)]) -> Result<()> {
        let Batch { model, data, .. } = &self.batches[batch];
        let model = &self.models[*model];
        if let (PREPARE, Some((uniform, seed))) = (stage, &model.uniform) {
            vector::random_uniform(&self.gpu, recording, *seed, batch as u32, uniform)?;
        }
        let bindings: Vec<(Var, &Tensor)> = data.iter().chain(bindings).map(|(var, tensor)| (*var, tensor)).collect();
        model.program.record(recording, stage, &bindings)
    }
}

impl LinearOperator for Curvature {
    fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    fn dim(&self) -> usize {
        self.dim
    }

    /// The forward and backward pass of a single batch; nothing for several.
    fn record_prepare(&self, recording: &mut Recording) -> Result<()> {
        match self.aside {
            Some(_) => Ok(()),
            None => self.stage(recording, 0, PREPARE, &[]),
        }
    }

    fn record(&self, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
        expect_elements("x", x, self.dim)?;
        expect_elements("y", y, self.dim)?;
        let row = [1, self.dim];
        self.record_block(recording, &x.reshape(&row)?, &y.reshape(&row)?)
    }
}

impl Compiled {
    fn new(gpu: &Gpu, mut graph: Graph, model: &Model, wrt: &[Var], bindings: &[(Var, &Tensor)]) -> Result<Self> {
        if wrt.is_empty() {
            return Err(Error::Length { tensor: "wrt".into(), unit: "parameters at least", expected: 1, found: 0 });
        }
        for (i, var) in wrt.iter().enumerate() {
            if wrt[..i].contains(var) {
                return Err(Error::DuplicateName { what: "value of `wrt`", name: name(&graph, *var) });
            }
        }
        let gradient = graph.gradient(model.loss, wrt)?;
        let product = model.matrix.product(&mut graph, model.loss, wrt)?;
        let loss_and_gradient = [&[model.loss], gradient.as_slice()].concat();
        let stages =
            [Stage::new(&[]).after(&model.inputs), Stage::new(&product.result).after(&product.vector), Stage::new(&loss_and_gradient)];
        let plan = Plan::new(gpu, &graph, &stages)?;
        let uniform = match product.uniform {
            Some((leaf, seed)) => Some((leaf, Tensor::zeros(gpu, graph.shape(leaf)?, DType::F32)?, seed)),
            None => None,
        };
        let mut bindings = bindings.to_vec();
        bindings.extend(uniform.iter().map(|(leaf, tensor, _)| (*leaf, tensor)));
        for leaf in plan.leaves.iter().map(|&id| graph.var(id)) {
            let later = product.vector.contains(&leaf) || model.inputs.contains(&leaf);
            if !later && !bindings.iter().any(|(var, _)| *var == leaf) {
                return Err(Error::Unknown { what: "binding of the leaf", name: name(&graph, leaf) });
            }
        }
        Ok(Self {
            program: plan.compile(gpu, &bindings)?,
            loss: model.loss,
            loss_shape: graph.shape(model.loss)?.to_vec(),
            gradient,
            vector: product.vector,
            result: product.result,
            shapes: wrt.iter().map(|&var| Ok(graph.shape(var)?.to_vec())).collect::<Result<_>>()?,
            uniform: uniform.map(|(_, tensor, seed)| (tensor, seed)),
        })
    }

    /// A range of `flat` for each parameter.
    fn cut(&self, vars: &[Var], flat: &Tensor) -> Result<Vec<(Var, Tensor)>> {
        let mut start = 0;
        let mut parts = Vec::with_capacity(vars.len());
        for (&var, shape) in vars.iter().zip(&self.shapes) {
            parts.push((var, part(flat, start, shape)?));
            start += shape.iter().product::<usize>();
        }
        Ok(parts)
    }
}

fn name(graph: &Graph, var: Var) -> String {
    match graph.op(var) {
        Ok((Op::Input(name) | Op::Indices(name) | Op::Parameter(name), _)) => name.clone(),
        _ => format!("{var:?}"),
    }
}

/// The elements of a tensor of f32 from `start` on.
fn part(tensor: &Tensor, start: usize, shape: &[usize]) -> Result<Tensor> {
    tensor.within(tensor.offset() + 4 * start as u64, shape, DType::F32)
}

/// Checks that a tensor is `count` elements of f32.
pub(super) fn expect_elements(name: &str, tensor: &Tensor, count: usize) -> Result<()> {
    tensor.expect_dtype(name, &[DType::F32])?;
    match tensor.len() == count {
        true => Ok(()),
        false => Err(Error::Length { tensor: name.to_owned(), unit: "elements", expected: count, found: tensor.len() }),
    }
}
