use std::collections::HashMap;

use wgpu::BufferUsages;

use super::algorithm::{Algorithm, Initial, Update, check, not_negative};
use super::options::{Group, Options, Rounding};
use super::param::{Param, validate};
use super::plan::{self, Layout};
use super::record::{Cache, Recorder, Store, Tables};
use super::streams::STATES;
use crate::gpu::{DType, Gpu, Recording, Tensor};
use crate::shaders::layout::{Control, GradientStatus};
use crate::{Error, Result, vector};

/// What the device knows of the gradients, as of the last step that read them first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepStatus {
    /// The norm of all gradients together, unscaled, before clipping: infinite or NaN if one is, or if it is beyond f32. 0
    /// without elements.
    pub grad_norm: f32,
    /// Whether the last step was skipped.
    pub skipped: bool,
    /// How many steps were skipped so far, up to 2^32 - 1.
    pub skipped_steps: u32,
    /// The loss scale of the next step.
    pub loss_scale: f32,
}

/// A parameter that the optimizer knows.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub name: String,
    pub param: Tensor,
    pub grad: Tensor,
    pub group: usize,
    pub frozen: bool,
    pub lr_factor: f64,
}

/// A fused optimizer over a list of parameters.
///
/// ```
/// # use gradus::optim::{AdamP, Optimizer, Param};
/// # use gradus::{DType, Gpu, Result, Tensor};
/// # fn train(gpu: &Gpu, weight: &Tensor, grad: &Tensor) -> Result<()> {
/// let adamp = AdamP { lr: 1e-3, weight_decay: 1e-2, ..Default::default() };
/// let mut optimizer = Optimizer::new(gpu, &adamp, &[Param::new("conv1.weight", weight, grad)])?;
/// for epoch in 0..10 {
///     optimizer.set_lr(0, 1e-3 * 0.9f64.powi(epoch))?;
///     let mut encoder = gpu.device().create_command_encoder(&Default::default());
///     optimizer.step(&mut encoder);
///     gpu.queue().submit([encoder.finish()]);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Optimizer {
    pub(super) gpu: Gpu,
    /// The algorithm with the hyperparameters of each group, one for each group.
    pub(super) updates: Vec<Update>,
    pub(super) options: Options,
    pub(super) params: Vec<Known>,
    index: HashMap<String, usize>,
    pub(super) groups: Vec<Group>,
    layout: Layout,
    stores: Vec<Store>,
    pub(super) tables: Tables,
    /// What `tables.control` is to hold. A step copies it there, so that a change takes effect with
    /// the steps encoded after it, whatever was encoded before and whenever it is submitted.
    staging: wgpu::Buffer,
    cache: Cache,
    recording: Recording,
}

impl Optimizer {
    /// Compiles the step of `algorithm` over `params`. States are zeroed buffers of the crate's own.
    /// Parameters without elements are allowed and left alone.
    ///
    /// # Errors
    /// [`Error::Shape`] if a gradient's shape is not its parameter's; [`Error::DType`] for types that
    /// are not floats; [`Error::ForeignDevice`]; [`Error::Overlap`] if a parameter overlaps another parameter or a gradient;
    /// [`Error::DuplicateName`]; [`Error::Unknown`] for a group that is not there; [`Error::Option`]
    /// for an option out of range; [`Error::LimitTooSmall`], [`Error::OutOfMemory`].
    pub fn new(gpu: &Gpu, algorithm: &dyn Algorithm, params: &[Param]) -> Result<Self> {
        Self::with_options(gpu, algorithm, params, Options::default())
    }

    /// [`Optimizer::new`] with options. Master weights, and Adagrad's initial accumulators if they are not
    /// zero, are filled by a submission now: parameters must hold their values when this is called.
    ///
    /// # Errors
    /// As [`Optimizer::new`].
    pub fn with_options(gpu: &Gpu, algorithm: &dyn Algorithm, params: &[Param], options: Options) -> Result<Self> {
        options.check()?;
        let update = algorithm.update()?.with_options(&options);
        update.validate()?;
        if update.states.len() > STATES.len() {
            let expected = format!("{} states at most", STATES.len());
            return Err(Error::Option { option: update.name, found: format!("{} states", update.states.len()), expected });
        }
        if update.projection.is_some() && options.state_dtype != DType::F32 {
            let (option, found) = ("state_dtype".to_owned(), options.state_dtype.to_string());
            return Err(Error::Option { option, found, expected: format!("f32, which {} needs", update.name) });
        }
        let groups = match options.groups.as_slice() {
            [] => vec![Group { lr: update.lr, weight_decay: update.weight_decay }],
            groups => groups.to_vec(),
        };
        groups.iter().try_for_each(|group| update.decay.check(group))?;
        validate(gpu, params, &groups)?;
        let known: Vec<Known> = params.iter().map(Known::new).collect();
        check_buffers(gpu, &update, &options, &known)?;
        let named: Vec<_> = params.iter().map(|p| (p.name, p.param)).collect();
        let layout = Layout::new(gpu, &named, update.projection.is_some())?;
        let stores = layout.stores.iter().map(|stored| Store::new(gpu, &update, &options, stored)).collect::<Result<Vec<_>>>()?;

        let updates = vec![update; groups.len()];
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let status = gpu.buffer_with("gradus.optim.status", bytemuck::bytes_of(&options.status()), usage)?;
        let tables = Tables::new(gpu, &updates, &options, &groups, &known, status)?;
        let staging = gpu.staging("gradus.optim.control", &control(&updates, &options, &groups, &known, &[]).bytes)?;
        let index = known.iter().enumerate().map(|(i, known)| (known.name.clone(), i)).collect();
        let (cache, recording) = (Cache::default(), Recording::new());
        let gpu = gpu.clone();
        let mut optimizer = Self { gpu, updates, options, params: known, index, groups, layout, stores, tables, staging, cache, recording };
        optimizer.recording = optimizer.record()?;
        let all: Vec<usize> = (0..optimizer.params.len()).collect();
        optimizer.initialize(0, &all).map(|()| optimizer)
    }

    /// The step of the tensors that are known.
    fn record(&mut self) -> Result<Recording> {
        let tensors: Vec<_> = self.params.iter().map(|known| (known.name.as_str(), &known.param, &known.grad)).collect();
        let batches = plan::batches(&self.gpu, &tensors, &self.layout, self.updates[0].projection.is_some())?;
        let mut recorder = Recorder {
            gpu: &self.gpu,
            update: &self.updates[0],
            options: &self.options,
            tables: &self.tables,
            stores: &self.stores,
            cache: &mut self.cache,
            tensors: &tensors,
            recording: Recording::new(),
        };
        recorder.step(&batches)?;
        Ok(recorder.recording)
    }

    /// [`Optimizer::step`] with gradients in other tensors than before, in the order of the parameters: for programs that allocate
    /// gradients anew. They are the gradients of later steps as well. Gradients that lie where others lay, relative to each other, cost
    /// new bind groups and nothing else.
    ///
    /// # Errors
    /// As [`Optimizer::rebind`]; nothing is recorded then.
    pub fn step_with(&mut self, encoder: &mut wgpu::CommandEncoder, gradients: &[&Tensor]) -> Result<()> {
        self.expect_one_each("gradients", gradients)?;
        if self.params.iter().zip(gradients).any(|(known, grad)| !known.grad.is_same(grad)) {
            let new = self.params.iter().zip(gradients).map(|(known, &grad)| (known.param.clone(), grad.clone()));
            self.move_to(new.collect())?;
        }
        self.step(encoder);
        Ok(())
    }

    /// Takes the parameters and gradients to be in other tensors for the steps encoded from now on, in the order of the list: for
    /// frameworks that move what they train. States, step counts and groups stay. A parameter lies where it lay modulo 16 bytes (8, of
    /// 16 bits), as allocations do; it is not copied. What lies where it lay before, relative to each other, costs new bind groups and
    /// nothing else.
    ///
    /// # Errors
    /// [`Error::Length`] if there are not as many of both as parameters; [`Error::Shape`] or [`Error::DType`] if a parameter is not of the
    /// shape and type that it had; [`Error::Option`] if it lies elsewhere modulo 16 bytes; the others of [`Optimizer::new`]. The
    /// tensors stay what they were then.
    pub fn rebind(&mut self, params: &[&Tensor], gradients: &[&Tensor]) -> Result<()> {
        self.expect_one_each("params", params)?;
        self.expect_one_each("gradients", gradients)?;
        let new = params.iter().zip(gradients);
        if self.params.iter().zip(new.clone()).all(|(known, (param, grad))| known.param.is_same(param) && known.grad.is_same(grad)) {
            return Ok(());
        }
        for (known, param) in self.params.iter().zip(params) {
            param.expect_shape(&known.name, known.param.shape())?;
            param.expect_dtype(&known.name, &[known.param.dtype()])?;
            let (expected, found) = (Layout::phase(&known.param), Layout::phase(param));
            if expected != found && !param.is_empty() {
                let expected = format!("{expected} bytes behind a multiple of four elements, as before, not {found}");
                return Err(Error::Option { option: known.name.clone(), found: param.offset().to_string(), expected });
            }
        }
        self.move_to(new.map(|(&param, &grad)| (param.clone(), grad.clone())).collect())
    }

    fn expect_one_each(&self, what: &str, tensors: &[&Tensor]) -> Result<()> {
        let (expected, found) = (self.params.len(), tensors.len());
        match expected == found {
            true => Ok(()),
            false => Err(Error::Length { tensor: what.to_owned(), unit: "tensors", expected, found }),
        }
    }

    /// Takes parameters and gradients to be in these tensors, or leaves all as it is.
    fn move_to(&mut self, mut tensors: Vec<(Tensor, Tensor)>) -> Result<()> {
        let list = self.params.iter().zip(&tensors);
        let list: Vec<Param> = list.map(|(known, (param, grad))| Param::new(&known.name, param, grad).group(known.group)).collect();
        validate(&self.gpu, &list, &self.groups)?;
        let exchange = |params: &mut [Known], tensors: &mut [(Tensor, Tensor)]| {
            for (known, (param, grad)) in params.iter_mut().zip(tensors) {
                std::mem::swap(&mut known.param, param);
                std::mem::swap(&mut known.grad, grad);
            }
        };
        exchange(&mut self.params, &mut tensors);
        match self.record() {
            Ok(recording) => {
                self.recording = recording;
                Ok(())
            }
            Err(error) => {
                exchange(&mut self.params, &mut tensors);
                Err(error)
            }
        }
    }

    /// Takes more parameters, which begin as in [`Optimizer::new`]; the others keep their states and step counts. Steps encoded before are
    /// of the parameters that there were. Submits what is to be filled and copied.
    ///
    /// # Errors
    /// As [`Optimizer::new`]; nothing has changed then.
    pub fn add(&mut self, params: &[Param]) -> Result<()> {
        let known = params.iter().map(|p| Known::new(p));
        let all: Vec<Known> = self.params.iter().cloned().chain(known).collect();
        let from: Vec<Option<usize>> = (0..all.len()).map(|i| (i < self.params.len()).then_some(i)).collect();
        self.replace_params(all, &from)
    }

    /// Lets go of parameters; the others keep their states and step counts. The memory of a state is freed with the last parameter whose
    /// state is in the same buffer. Steps encoded before are of the parameters that there were. Submits what is to be copied.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no parameter of one of the names; nothing has changed then.
    pub fn remove(&mut self, names: &[&str]) -> Result<()> {
        let removed = names.iter().map(|name| self.index(name)).collect::<Result<Vec<_>>>()?;
        let from: Vec<Option<usize>> = (0..self.params.len()).filter(|i| !removed.contains(i)).map(Some).collect();
        let all = from.iter().flatten().map(|&i| self.params[i].clone()).collect();
        self.replace_params(all, &from)
    }

    /// Replaces the list of parameters by `params`, of which `from` says where they were in the old list.
    fn replace_params(&mut self, params: Vec<Known>, from: &[Option<usize>]) -> Result<()> {
        let list: Vec<Param> = params.iter().map(|known| Param::new(&known.name, &known.param, &known.grad).group(known.group)).collect();
        validate(&self.gpu, &list, &self.groups)?;
        let update = &self.updates[0];
        check_buffers(&self.gpu, update, &self.options, &params)?;
        // places of those that stay, and new stores for new ones
        let to: HashMap<usize, usize> = from.iter().enumerate().filter_map(|(new, old)| Some(((*old)?, new))).collect();
        let kept = self.layout.places.iter().filter_map(|place| Some(plan::Place { tensor: *to.get(&place.tensor)?, ..place.clone() }));
        let new: Vec<usize> = (0..params.len()).filter(|&i| from[i].is_none()).collect();
        let named: Vec<_> = new.iter().map(|&i| (params[i].name.as_str(), &params[i].param)).collect();
        let more = Layout::new(&self.gpu, &named, update.projection.is_some())?;
        let mut layout = Layout { stores: self.layout.stores.clone(), places: kept.collect() };
        let mut stores = self.stores.clone();
        for stored in &more.stores {
            stores.push(Store::new(&self.gpu, update, &self.options, stored)?);
        }
        let first = layout.stores.len();
        layout.stores.extend(more.stores);
        layout.places.extend(more.places.into_iter().map(|place| plan::Place {
            tensor: new[place.tensor],
            store: first + place.store,
            ..place
        }));
        for (i, store) in stores.iter_mut().enumerate().filter(|(i, _)| layout.places.iter().all(|place| place.store != *i)) {
            layout.stores[i].len = 0;
            *store = Store::default();
        }

        let tables = Tables::new(&self.gpu, &self.updates, &self.options, &self.groups, &params, self.tables.status.clone())?;
        let staging = self.gpu.staging("gradus.optim.control", &control(&self.updates, &self.options, &self.groups, &params, &[]).bytes)?;
        let words = update.members().len() as u64;
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        for (new, old) in from.iter().enumerate().filter_map(|(new, old)| Some((new as u64, (*old)? as u64))) {
            encoder.copy_buffer_to_buffer(&self.tables.counts, 4 * old, &tables.counts, 4 * new, 4);
            encoder.copy_buffer_to_buffer(&self.tables.steps, 4 * words * old, &tables.steps, 4 * words * new, 4 * words);
        }
        let index = params.iter().enumerate().map(|(i, known)| (known.name.clone(), i)).collect();
        let before = (
            std::mem::replace(&mut self.params, params),
            std::mem::replace(&mut self.index, index),
            std::mem::replace(&mut self.layout, layout),
            std::mem::replace(&mut self.stores, stores),
            std::mem::replace(&mut self.tables, tables),
        );
        let recorded = self.record().and_then(|recording| {
            self.gpu.queue().submit([encoder.finish()]);
            self.initialize(first, &new).map(|()| recording)
        });
        match recorded {
            Ok(recording) => {
                self.recording = recording;
                self.staging = staging;
                Ok(())
            }
            Err(error) => {
                (self.params, self.index, self.layout, self.stores, self.tables) = before;
                Err(error)
            }
        }
    }

    /// Records one step into the caller's encoder: a copy of the current learning rates, decays and
    /// choice of parameters, and [`Optimizer::recording`]. Steps already encoded keep theirs.
    pub fn step(&self, encoder: &mut wgpu::CommandEncoder) {
        self.prepare(encoder);
        self.recording.encode(encoder);
    }

    /// Records one step in which the parameters called `names` have no gradient: they are left as
    /// they are, step count included.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no parameter of one of the names; nothing is recorded then.
    pub fn step_without(&self, encoder: &mut wgpu::CommandEncoder, names: &[&str]) -> Result<()> {
        let without = names.iter().map(|name| self.index(name)).collect::<Result<Vec<_>>>()?;
        let control = control(&self.updates, &self.options, &self.groups, &self.params, &without);
        let staging = self.gpu.staging("gradus.optim.control", &control.bytes)?;
        self.copy_control(encoder, &staging);
        self.recording.encode(encoder);
        // the recording, encoded alone, goes on with all parameters
        self.prepare(encoder);
        Ok(())
    }

    /// The first part of [`Optimizer::step`] alone, for callers that encode
    /// [`Optimizer::recording`] in a pass of their own: copies learning rates, decays and the choice
    /// of parameters to where the recording reads them.
    pub fn prepare(&self, encoder: &mut wgpu::CommandEncoder) {
        self.copy_control(encoder, &self.staging);
    }

    /// The dispatches of a step. [`Optimizer::prepare`] must have been encoded once before the first
    /// time it runs, and again after each change of learning rate, decay or frozen parameters.
    #[must_use]
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// The parameter groups.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Sets a group's learning rate for the steps encoded from now on.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such group, [`Error::Option`] if `lr` is negative or not
    /// finite in f32, or its product with a decoupled decay is not.
    pub fn set_lr(&mut self, group: usize, lr: f64) -> Result<()> {
        let weight_decay = self.group(group)?.weight_decay;
        self.set_group(group, Group { lr, weight_decay })
    }

    /// Sets a group's learning rate and weight decay for the steps encoded from now on.
    ///
    /// # Errors
    /// As [`Optimizer::set_lr`].
    pub fn set_group(&mut self, group: usize, values: Group) -> Result<()> {
        self.group(group)?;
        not_negative("lr", values.lr)?;
        not_negative("weight_decay", values.weight_decay)?;
        self.updates[group].decay.check(&values)?;
        let mut groups = self.groups.clone();
        groups[group] = values;
        self.set_groups(groups)
    }

    /// Sets all hyperparameters of a group for the steps encoded from now on: those of `algorithm`, which is the optimizer's own with
    /// other numbers, learning rate and weight decay included. States stay as they are.
    ///
    /// ```
    /// # use gradus::optim::{AdamW, Optimizer};
    /// # fn later(optimizer: &mut Optimizer) -> gradus::Result<()> {
    /// optimizer.set_hyperparameters(0, &AdamW { lr: 1e-4, betas: [0.95, 0.999], ..Default::default() })
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such group; [`Error::Option`] if a number is out of its range, or if the algorithm is another
    /// one or needs other kernels: with other states, another kind of decay, another threshold of AdamP.
    pub fn set_hyperparameters(&mut self, group: usize, algorithm: &dyn Algorithm) -> Result<()> {
        self.group(group)?;
        let update = algorithm.update()?.with_options(&self.options);
        update.validate()?;
        let own = &self.updates[group];
        if !own.same_kernels(&update) {
            let (found, expected) =
                (format!("{} {}", update.name, update.config()), format!("{} {} but for numbers", own.name, own.config()));
            return Err(Error::Option { option: "algorithm".into(), found, expected });
        }
        let (mut updates, mut groups) = (self.updates.clone(), self.groups.clone());
        groups[group] = Group { lr: update.lr, weight_decay: update.weight_decay };
        updates[group] = update;
        self.staging = self.stage(&updates, &groups, &self.params)?;
        (self.updates, self.groups) = (updates, groups);
        Ok(())
    }

    /// Sets what the norm of all gradients is clipped to, or that it is not clipped, for the steps encoded from now on:
    /// [`Options::max_norm`].
    ///
    /// # Errors
    /// [`Error::Option`] as [`Optimizer::with_options`]; the recording stays what it was then.
    pub fn set_max_norm(&mut self, max_norm: Option<f64>) -> Result<()> {
        let options = Options { max_norm, ..self.options.clone() };
        options.check()?;
        let before = std::mem::replace(&mut self.options, options);
        match self.record() {
            Ok(recording) => {
                self.recording = recording;
                Ok(())
            }
            Err(error) => {
                self.options = before;
                Err(error)
            }
        }
    }

    /// Records a change of the loss scale, for the steps that are encoded after it: of one that adapts, from which it goes on, or of
    /// one that is fixed and was not 1 when the optimizer was made.
    ///
    /// # Errors
    /// [`Error::Option`] if `scale` is below 1.2e-38 or not finite, or if the gradients are not read before the step; nothing is recorded
    /// then.
    pub fn set_loss_scale(&self, encoder: &mut wgpu::CommandEncoder, scale: f64) -> Result<()> {
        check("scale", scale, (scale as f32).is_finite() && scale as f32 >= f32::MIN_POSITIVE, "1.2e-38 (2^-126) or above")?;
        let reads = self.options.reads_gradients_first();
        check("loss_scale", "1, fixed", reads, "a loss scale, clipping or skipping when the optimizer is made")?;
        let staging = self.gpu.staging("gradus.optim.loss_scale", bytemuck::bytes_of(&(scale as f32)))?;
        let offset = std::mem::offset_of!(GradientStatus, loss_scale) as u64;
        encoder.copy_buffer_to_buffer(&staging, 0, &self.tables.status, offset, 4);
        Ok(())
    }

    /// Sets a factor of a parameter's learning rate, decoupled decay included, for the steps encoded from now on. 1 at first.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no parameter of that name; [`Error::Option`] if `factor` is negative or not finite in f32.
    pub fn set_lr_factor(&mut self, name: &str, factor: f64) -> Result<()> {
        not_negative("factor", factor)?;
        self.change(name, |param| param.lr_factor = factor)
    }

    /// Freezes a parameter, or thaws it: a frozen one takes no part in the steps encoded from now on,
    /// and not in the norm of the gradients.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no parameter of that name.
    pub fn set_frozen(&mut self, name: &str, frozen: bool) -> Result<()> {
        self.change(name, |param| param.frozen = frozen)
    }

    /// Changes what the host says of a parameter, or leaves all as it is.
    fn change(&mut self, name: &str, change: impl FnOnce(&mut Known)) -> Result<()> {
        let index = self.index(name)?;
        let before = self.params[index].clone();
        change(&mut self.params[index]);
        match self.stage(&self.updates, &self.groups, &self.params) {
            Ok(staging) => self.staging = staging,
            Err(error) => {
                self.params[index] = before;
                return Err(error);
            }
        }
        Ok(())
    }

    /// The loss scale as a tensor of one f32 at the start of a buffer, for the caller's shaders.
    ///
    /// # Errors
    /// None in practice: the buffer is the crate's own.
    pub fn loss_scale(&self) -> Result<Tensor> {
        Tensor::from_buffer(&self.tables.status, 0, &[1], DType::F32)
    }

    /// Reads what the device knows of the gradients, as of what was submitted so far. Nothing waits
    /// until the future is awaited, and it may be awaited as late as is convenient.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub async fn status(&self) -> Result<StepStatus> {
        let words = size_of::<GradientStatus>() / 4;
        let words: Vec<u32> = Tensor::from_buffer(&self.tables.status, 0, &[words], DType::U32)?.read(&self.gpu).await?;
        let status: GradientStatus = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&words));
        Ok(StepStatus { grad_norm: status.norm, skipped: status.skip != 0, skipped_steps: status.skipped, loss_scale: status.loss_scale })
    }

    /// Reads the number of steps that each parameter took, in the order given to the constructor: up to 2^32 - 1.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub async fn steps(&self) -> Result<Vec<u32>> {
        self.step_counts()?.read(&self.gpu).await
    }

    /// The tensors that hold a state of a parameter, for reading and copying: one, or for a parameter larger than a binding one for each
    /// range of its elements, in order. `state` is a name of state dictionaries: `exp_avg` say, `master`, `ema`. What a program writes to
    /// them is the state of the next step.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such parameter or state.
    pub fn state(&self, parameter: &str, state: &str) -> Result<Vec<Tensor>> {
        let index = self.index(parameter)?;
        let position = self.updates[0].states.iter().position(|known| known.name == state);
        let pieces = self.pieces(index, position)?;
        let known = position.is_some() || (state == "master" && (!pieces.is_empty() || self.params[index].param.is_empty()));
        known.then_some(pieces).ok_or_else(|| Error::Unknown { what: "state", name: state.to_owned() })
    }

    /// Appends `state = keep·state + (1-keep)·x` for a state of a parameter, of f32: what a program knows beside the gradient, the Hessian's
    /// diagonal for [`Sophia`](super::Sophia) or [`AdaHessian`](super::AdaHessian) say. With `keep` 0 it is a copy.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such parameter or state; [`Error::Shape`] or [`Error::DType`] if `x` is not an f32 of the
    /// parameter's shape, or the state is not f32; [`Error::Option`] if `keep` is not from 0 to 1; [`Error::ForeignDevice`]. Nothing is
    /// appended then.
    pub fn blend(&self, recording: &mut Recording, parameter: &str, state: &str, keep: f64, x: &Tensor) -> Result<()> {
        let pieces = self.state(parameter, state)?;
        check("keep", keep, (0.0..=1.0).contains(&keep), "from 0 to 1")?;
        x.expect_on("x", &self.gpu)?;
        x.expect_dtype("x", &[DType::F32])?;
        x.expect_shape("x", self.params[self.index(parameter)?].param.shape())?;
        let mut blended = Recording::new();
        let mut start = 0;
        for piece in &pieces {
            piece.expect_dtype(state, &[DType::F32])?;
            let part = x.within(x.offset() + 4 * start, &[piece.len()], DType::F32)?;
            if keep == 0.0 {
                vector::copy(&self.gpu, &mut blended, &part, piece)?;
            } else {
                vector::scale(&self.gpu, &mut blended, keep, piece)?;
                vector::axpy(&self.gpu, &mut blended, 1.0 - keep, &part, piece)?;
            }
            start += piece.len() as u64;
        }
        recording.append(&blended);
        Ok(())
    }

    pub(super) fn step_counts(&self) -> Result<Tensor> {
        Tensor::from_buffer(&self.tables.counts, 0, &[self.params.len()], DType::U32)
    }

    /// Where the elements of a state of one parameter are: one tensor for each range that the
    /// parameter is cut into, in order. `None` is the master copy.
    pub(super) fn pieces(&self, param: usize, state: Option<usize>) -> Result<Vec<Tensor>> {
        let mut all = Vec::new();
        for place in self.layout.places.iter().filter(|place| place.tensor == param) {
            let store = &self.stores[place.store];
            let (buffer, dtype) = match state {
                Some(state) => (store.states.get(state), self.updates[0].state_dtype(state, self.options.state_dtype)),
                None => (store.master.as_ref(), DType::F32),
            };
            let Some(buffer) = buffer else { continue };
            let length = (place.elements.end - place.elements.start) as usize;
            all.push(Tensor::from_buffer(buffer, place.state * dtype.size(), &[length], dtype)?);
        }
        Ok(all)
    }

    /// Replaces the groups, or leaves all as it is.
    pub(super) fn set_groups(&mut self, groups: Vec<Group>) -> Result<()> {
        self.staging = self.stage(&self.updates, &groups, &self.params)?;
        self.groups = groups;
        Ok(())
    }

    fn stage(&self, updates: &[Update], groups: &[Group], params: &[Known]) -> Result<wgpu::Buffer> {
        self.gpu.staging("gradus.optim.control", &control(updates, &self.options, groups, params, &[]).bytes)
    }

    fn copy_control(&self, encoder: &mut wgpu::CommandEncoder, staging: &wgpu::Buffer) {
        encoder.copy_buffer_to_buffer(staging, 0, &self.tables.control, 0, self.tables.control.size());
    }

    fn group(&self, group: usize) -> Result<Group> {
        self.groups.get(group).copied().ok_or_else(|| Error::Unknown { what: "group", name: group.to_string() })
    }

    fn index(&self, name: &str) -> Result<usize> {
        self.index.get(name).copied().ok_or_else(|| Error::Unknown { what: "parameter", name: name.to_owned() })
    }

    /// Fills what does not begin with zeros of the parameters `which`, whose states are in the stores from number `first` on: Adagrad's
    /// sums, say, and the master copies.
    fn initialize(&self, first: usize, which: &[usize]) -> Result<()> {
        let mut recording = Recording::new();
        let update = &self.updates[0];
        let initials = update.states.iter().enumerate().map(|(state, stream)| (Some(state), stream.initial));
        for (state, initial) in initials.chain([(None, Initial::Parameter)]) {
            if let (Some(state), Initial::Value(value)) = (state, initial) {
                let stores = self.stores.iter().zip(&self.layout.stores).skip(first);
                for (store, stored) in stores.filter(|_| value as f32 != 0.0) {
                    let dtype = update.state_dtype(state, self.options.state_dtype);
                    let whole = Tensor::from_buffer(&store.states[state], 0, &[stored.len as usize], dtype)?;
                    vector::fill(&self.gpu, &mut recording, value, &whole)?;
                }
                continue;
            }
            for &i in which {
                let known = &self.params[i];
                let mut start = 0;
                for piece in self.pieces(i, state)? {
                    if initial == Initial::LearningRate {
                        vector::fill(&self.gpu, &mut recording, self.groups[known.group].lr, &piece)?;
                        continue;
                    }
                    let offset = known.param.offset() + start * known.param.dtype().size();
                    let part = known.param.within(offset, &[piece.len()], known.param.dtype())?;
                    vector::cast(&self.gpu, &mut recording, &part, &piece)?;
                    start += piece.len() as u64;
                }
            }
        }
        if !recording.is_empty() {
            self.gpu.execute([&recording])?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Optimizer({}, {} parameters) {:?}", self.updates[0].name, self.params.len(), self.recording)
    }
}

impl Known {
    fn new(param: &Param) -> Self {
        let Param { name, param, grad, group } = *param;
        Self { name: name.to_owned(), param: param.clone(), grad: grad.clone(), group, frozen: false, lr_factor: 1.0 }
    }
}

/// Whether the device binds as many buffers as a pass over the elements needs.
fn check_buffers(gpu: &Gpu, update: &Update, options: &Options, params: &[Known]) -> Result<()> {
    let master = options.master_weights && params.iter().any(|known| known.param.dtype() != DType::F32);
    let needed = 4 + update.states.len() as u64 + u64::from(master) + u64::from(update.projection.is_some());
    let found = u64::from(gpu.limits().max_storage_buffers_per_shader_stage);
    let what = format!("the states of {}", update.name);
    match needed > found {
        true => Err(Error::LimitTooSmall { limit: "max_storage_buffers_per_shader_stage", what, needed, found }),
        false => Ok(()),
    }
}

impl Tables {
    fn new(gpu: &Gpu, updates: &[Update], options: &Options, groups: &[Group], params: &[Known], status: wgpu::Buffer) -> Result<Self> {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let data = control(updates, options, groups, params, &[]);
        Ok(Self {
            control: gpu.buffer("gradus.optim.control", data.bytes.len() as u64, usage)?,
            tensors: data.tensors,
            steps: gpu.buffer_with("gradus.optim.steps", bytemuck::cast_slice(&initial_steps(&updates[0], params.len())), usage)?,
            counts: gpu.buffer("gradus.optim.counts", params.len() as u64 * 4, usage)?,
            status,
        })
    }
}

impl Store {
    fn new(gpu: &Gpu, update: &Update, options: &Options, stored: &plan::Stored) -> Result<Self> {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let buffer = |name: &str, dtype: DType| gpu.buffer(&format!("gradus.optim.{name}"), stored.len * dtype.size(), usage);
        let states = update.states.iter().enumerate();
        let states = states.map(|(i, state)| buffer(&state.name, update.state_dtype(i, options.state_dtype))).collect::<Result<_>>()?;
        let keeps_master = options.master_weights && stored.param_dtype != DType::F32;
        let master = keeps_master.then(|| buffer("master", DType::F32)).transpose()?;
        Ok(Self { states, master })
    }
}

/// What the kernels are told of the groups and of each parameter.
struct ControlData {
    bytes: Vec<u8>,
    /// Where the parameters begin, at a multiple of 256 bytes.
    tensors: u64,
}

/// Parameters of the indices `without` take no part.
fn control(updates: &[Update], options: &Options, groups: &[Group], params: &[Known], without: &[usize]) -> ControlData {
    let seed = match options.rounding {
        Rounding::Nearest => 0,
        Rounding::Stochastic { seed } => seed,
    };
    let words: Vec<u32> = updates.iter().zip(groups).flat_map(|(update, group)| update.group(group, seed)).collect();
    let mut bytes = bytemuck::cast_slice(&words).to_vec();
    bytes.resize(bytes.len().next_multiple_of(256), 0);
    let tensors = bytes.len() as u64;
    for (i, param) in params.iter().enumerate() {
        let enabled = u32::from(!param.frozen && !without.contains(&i));
        bytes.extend(bytemuck::bytes_of(&Control { group: param.group as u32, enabled, lr_factor: param.lr_factor as f32 }));
    }
    ControlData { bytes, tensors }
}

/// `Step` of each tensor before the first: zeros but for what is kept.
fn initial_steps(update: &Update, tensors: usize) -> Vec<u32> {
    let mut step = vec![0; update.members().len()];
    for (i, (_, initial)) in update.kept.iter().enumerate() {
        step[update.kept_at(i)] = (*initial as f32).to_bits();
    }
    step.repeat(tensors)
}
