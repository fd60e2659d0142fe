use wgpu::BufferUsages;

use super::algorithm::{Algorithm, Decay, Lowered, not_negative};
use super::options::{Group, Options, Rounding};
use super::param::{Param, validate};
use super::plan::{self, Batch};
use super::record::{Recorder, Store, Tables};
use crate::gpu::{DType, Gpu, Recording, Tensor};
use crate::shaders::layout::{Control, GradientStatus, Scalars};
use crate::{Error, Result};

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
    pub group: usize,
    pub frozen: bool,
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
    pub(super) lowered: Lowered,
    pub(super) options: Options,
    pub(super) params: Vec<Known>,
    pub(super) groups: Vec<Group>,
    pub(super) batches: Vec<Batch>,
    pub(super) stores: Vec<Store>,
    pub(super) tables: Tables,
    /// What `tables.control` is to hold. A step copies it there, so that a change takes effect with
    /// the steps encoded after it, whatever was encoded before and whenever it is submitted.
    staging: wgpu::Buffer,
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
        let seed = match options.rounding {
            Rounding::Nearest => 0,
            Rounding::Stochastic { seed } => seed,
        };
        let lowered = algorithm.lower([seed as u32, (seed >> 32) as u32])?;
        let groups = match options.groups.as_slice() {
            [] => vec![Group { lr: lowered.lr, weight_decay: lowered.weight_decay }],
            groups => groups.to_vec(),
        };
        groups.iter().try_for_each(|group| lowered.decay.check(group))?;
        validate(gpu, params, &groups)?;
        let tensors: Vec<_> = params.iter().map(|p| (p.name, p.param, p.grad)).collect();
        let batches = plan::batches(gpu, &tensors, lowered.projection.is_some())?;
        let stores = batches.iter().map(|batch| store(gpu, &lowered, &options, batch)).collect::<Result<Vec<_>>>()?;

        let known: Vec<Known> =
            params.iter().map(|p| Known { name: p.name.to_owned(), param: p.param.clone(), group: p.group, frozen: false }).collect();
        let n = params.len() as u64;
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let status = options.status();
        let tables = Tables {
            control: gpu.buffer("gradus.optim.control", n * size_of::<Control>() as u64, usage)?,
            scalars: gpu.buffer("gradus.optim.scalars", n * size_of::<Scalars>() as u64, usage)?,
            steps: gpu.buffer("gradus.optim.steps", n * 4, usage)?,
            status: gpu.buffer_with("gradus.optim.status", bytemuck::bytes_of(&status), usage)?,
        };
        let staging = gpu.staging("gradus.optim.control", bytemuck::cast_slice(&control(&lowered, &groups, &known, &[])))?;
        let mut recorder = Recorder { gpu, lowered: &lowered, options: &options, tables: &tables, recording: Recording::new() };
        recorder.step(&tensors, &batches, &stores)?;
        let recording = recorder.recording;
        let optimizer = Self { gpu: gpu.clone(), lowered, options, params: known, groups, batches, stores, tables, staging, recording };
        optimizer.initialize().map(|()| optimizer)
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
        let control = control(&self.lowered, &self.groups, &self.params, &without);
        let staging = self.gpu.staging("gradus.optim.control", bytemuck::cast_slice(&control))?;
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
        self.lowered.decay.check(&values)?;
        let mut groups = self.groups.clone();
        groups[group] = values;
        self.set_groups(groups)
    }

    /// Freezes a parameter, or thaws it: a frozen one takes no part in the steps encoded from now on,
    /// and not in the norm of the gradients.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no parameter of that name.
    pub fn set_frozen(&mut self, name: &str, frozen: bool) -> Result<()> {
        let index = self.index(name)?;
        let before = std::mem::replace(&mut self.params[index].frozen, frozen);
        match self.stage(&self.groups) {
            Ok(staging) => self.staging = staging,
            Err(error) => {
                self.params[index].frozen = before;
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

    pub(super) fn step_counts(&self) -> Result<Tensor> {
        Tensor::from_buffer(&self.tables.steps, 0, &[self.params.len()], DType::U32)
    }

    /// Where the elements of a state of one parameter are: one tensor for each range that the
    /// parameter is cut into, in order. `None` is the master copy.
    pub(super) fn pieces(&self, param: usize, state: Option<usize>) -> Result<Vec<Tensor>> {
        let mut all = Vec::new();
        for (batch, store) in self.batches.iter().zip(&self.stores) {
            let buffer = match state {
                Some(state) => store.states.get(state),
                None => store.master.as_ref(),
            };
            let Some(buffer) = buffer else { continue };
            for piece in batch.pieces.iter().filter(|piece| piece.tensor == param) {
                let length = (piece.elements.end - piece.elements.start) as usize;
                all.push((piece.elements.start, Tensor::from_buffer(buffer, piece.state * 4, &[length], DType::F32)?));
            }
        }
        all.sort_by_key(|(start, _)| *start);
        Ok(all.into_iter().map(|(_, tensor)| tensor).collect())
    }

    /// Replaces the groups, or leaves all as it is.
    pub(super) fn set_groups(&mut self, groups: Vec<Group>) -> Result<()> {
        self.staging = self.stage(&groups)?;
        self.groups = groups;
        Ok(())
    }

    fn stage(&self, groups: &[Group]) -> Result<wgpu::Buffer> {
        self.gpu.staging("gradus.optim.control", bytemuck::cast_slice(&control(&self.lowered, groups, &self.params, &[])))
    }

    fn copy_control(&self, encoder: &mut wgpu::CommandEncoder, staging: &wgpu::Buffer) {
        encoder.copy_buffer_to_buffer(staging, 0, &self.tables.control, 0, self.tables.control.size());
    }

    fn group(&self, group: usize) -> Result<Group> {
        self.groups.get(group).copied().ok_or_else(|| Error::Unknown { what: "group", name: group.to_string() })
    }

    fn index(&self, name: &str) -> Result<usize> {
        let position = self.params.iter().position(|param| param.name == name);
        position.ok_or_else(|| Error::Unknown { what: "parameter", name: name.to_owned() })
    }

    /// Fills what does not begin with zeros: Adagrad's sums, and the master copies.
    fn initialize(&self) -> Result<()> {
        let mut recording = Recording::new();
        if self.lowered.initial != 0.0 {
            for (batch, store) in self.batches.iter().zip(&self.stores) {
                let state = Tensor::from_buffer(&store.states[0], 0, &[batch.state_len as usize], DType::F32)?;
                crate::vector::fill(&self.gpu, &mut recording, self.lowered.initial, &state)?;
            }
        }
        for (i, known) in self.params.iter().enumerate() {
            let mut start = 0;
            for piece in self.pieces(i, None)? {
                let offset = known.param.offset() + start * known.param.dtype().size();
                let part = known.param.within(offset, &[piece.len()], known.param.dtype())?;
                crate::vector::cast(&self.gpu, &mut recording, &part, &piece)?;
                start += piece.len() as u64;
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
        write!(f, "Optimizer({}, {} parameters) {:?}", self.lowered.name, self.params.len(), self.recording)
    }
}

fn store(gpu: &Gpu, lowered: &Lowered, options: &Options, batch: &Batch) -> Result<Store> {
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
    let buffer = |name: &str| gpu.buffer(&format!("gradus.optim.{name}"), batch.state_len * 4, usage);
    let states = lowered.states.iter().map(|name| buffer(name)).collect::<Result<_>>()?;
    let keeps_master = options.master_weights && batch.param_dtype != DType::F32;
    let master = keeps_master.then(|| buffer("master")).transpose()?;
    Ok(Store { states, master })
}

/// What the kernels are told of each parameter; those of the indices `without` take no part.
fn control(lowered: &Lowered, groups: &[Group], params: &[Known], without: &[usize]) -> Vec<Control> {
    let of = |(i, param): (usize, &Known)| {
        let Group { lr, weight_decay } = groups[param.group];
        let (coupled, decay, projected_decay) = match lowered.decay {
            Decay::Coupled => (weight_decay, 0.0, 0.0),
            Decay::Decoupled { scale, wd_ratio } => {
                let decay = lr * weight_decay * scale;
                (0.0, decay, decay * wd_ratio)
            }
        };
        Control {
            enabled: u32::from(!param.frozen && !without.contains(&i)),
            lr: lr as f32,
            weight_decay: coupled as f32,
            decay: decay as f32,
            projected_decay: projected_decay as f32,
        }
    };
    params.iter().enumerate().map(of).collect()
}
