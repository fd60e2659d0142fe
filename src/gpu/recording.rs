use std::fmt;

use super::buffer::Uniform;
pub use super::kernel::Access;
use super::work::{MAX_ROUNDS, MAX_WORKGROUPS, Work};
use super::{Gpu, Kernel, Tensor};
use crate::{Error, Result};

/// A list of dispatches with their bind groups built: the unit of work.
///
/// Encoding is a loop over the list, without allocation or look-up. Encoding a recording k times
/// into one encoder means the same as submitting it k times: whatever advances from one time to the
/// next, a step count say, lives on the device.
///
/// `{:?}` prints a line a dispatch: kernel, workgroups, bytes.
#[derive(Clone, Default)]
pub struct Recording {
    dispatches: Vec<Dispatch>,
    gate: Option<wgpu::Buffer>,
    /// Whose the crate's own dispatches are.
    gpu: Option<Gpu>,
}

#[derive(Clone)]
struct Dispatch {
    label: Label,
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    workgroups: [u32; 3],
    rounds: u64,
    bindings: Vec<BindingInfo>,
}

/// A kernel's name: of the crate's own, which are shared, or of a caller's.
#[derive(Clone)]
enum Label {
    Kernel(Kernel),
    Custom(String),
}

impl Label {
    fn as_str(&self) -> &str {
        match self {
            Label::Kernel(kernel) => kernel.label(),
            Label::Custom(label) => label,
        }
    }
}

/// A dispatch of a [`Recording`].
#[derive(Clone, Copy, Debug)]
pub struct DispatchInfo<'a> {
    /// `gradus.<module>.<kernel>`
    pub kernel: &'a str,
    /// The number of workgroups in x, y and z.
    pub workgroups: [u32; 3],
    /// The most rounds that the loops of one invocation take, all of them together: 65,535 at most, beyond which a software
    /// driver ends them without a word. 0 for a kernel of a caller's, of which nothing is known.
    pub rounds: u64,
    /// What the kernel reads and writes; empty for one of a caller's.
    pub bindings: &'a [BindingInfo],
}

impl DispatchInfo<'_> {
    /// The bytes that the dispatch moves: each binding once, and twice if it is read and written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bindings.iter().map(BindingInfo::moved).sum()
    }
}

/// A buffer of a dispatch.
#[derive(Clone, Copy, Debug)]
pub struct BindingInfo {
    /// The name in the WGSL source.
    pub name: &'static str,
    /// What the kernel does with it.
    pub access: Access,
    /// The bytes of the range that the dispatch visits.
    pub bytes: u64,
}

impl BindingInfo {
    /// The bytes moved: `bytes`, and twice that if it is read and written.
    #[must_use]
    pub fn moved(&self) -> u64 {
        match self.access {
            Access::Uniform | Access::Read | Access::Write => self.bytes,
            Access::ReadWrite => 2 * self.bytes,
        }
    }
}

/// A buffer to bind under its name in the WGSL source.
pub(crate) struct Bind<'a> {
    pub name: &'static str,
    pub buffer: &'a wgpu::Buffer,
    pub offset: u64,
    pub size: u64,
    /// How many of the bytes the dispatch visits.
    pub visited: u64,
    /// It is known to be of another device.
    pub foreign: bool,
}

impl<'a> Bind<'a> {
    /// All of a buffer of the crate's own.
    pub fn whole(name: &'static str, buffer: &'a wgpu::Buffer) -> Self {
        Self { name, buffer, offset: 0, size: buffer.size(), visited: buffer.size(), foreign: false }
    }

    /// A uniform block.
    pub fn uniform(name: &'static str, uniform: &'a Uniform) -> Self {
        let Uniform { buffer, offset, size } = uniform;
        Self { name, buffer, offset: *offset, size: *size, visited: *size, foreign: false }
    }

    /// The bytes `range` of a tensor's buffer, from the bindable offset at or before its start, and how many
    /// bytes lie before it.
    pub fn range(gpu: &Gpu, name: &'static str, tensor: &'a Tensor, range: std::ops::Range<u64>) -> (Self, u64) {
        let before = range.start % binding_alignment(gpu);
        let visited = range.end - range.start;
        // the end of a tensor of 16-bit elements may be in the middle of a word
        let size = (visited + before).next_multiple_of(4);
        (Self { name, buffer: tensor.buffer(), offset: range.start - before, size, visited, foreign: !tensor.may_be_on(gpu) }, before)
    }

    /// Whether the bindings of two tensors would have bytes in common.
    pub fn ranges_overlap(gpu: &Gpu, first: &Tensor, second: &Tensor) -> bool {
        let [(a, _), (b, _)] = [Bind::tensor(gpu, "", first), Bind::tensor(gpu, "", second)];
        first.shares_buffer(second) && a.offset < b.offset + b.size && b.offset < a.offset + a.size
    }

    /// A tensor, and how many bytes of the binding lie before it.
    pub fn tensor(gpu: &Gpu, name: &'static str, tensor: &'a Tensor) -> (Self, u64) {
        Self::range(gpu, name, tensor, tensor.range())
    }
}

/// The multiple of bytes at which the crate's storage bindings begin: WebGPU's default, and a whole
/// number of cells of any type, even where the device would allow less.
pub(crate) fn binding_alignment(gpu: &Gpu) -> u64 {
    u64::from(gpu.limits().min_storage_buffer_offset_alignment).max(256)
}

impl Recording {
    /// An empty recording.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty recording, of which kernels that import `shared/gate` do nothing while the first word of `gate` is not 0.
    pub(crate) fn gated_by(gate: &wgpu::Buffer) -> Self {
        Self { gate: Some(gate.clone()), ..Self::default() }
    }

    /// An empty recording with the gate of this one.
    pub(crate) fn branch(&self) -> Self {
        Self { gate: self.gate.clone(), ..Self::default() }
    }

    /// Whether [`Recording::gated_by`] or [`Recording::branch`] made it, of a gate.
    pub(crate) fn is_gated(&self) -> bool {
        self.gate.is_some()
    }

    /// Appends the dispatches of another.
    pub fn extend(&mut self, other: Recording) {
        self.dispatches.extend(other.dispatches);
    }

    /// Appends a dispatch; `bindings` may come in any order and must name each buffer of the kernel. An error, and never a
    /// wrong answer, if `work` is more than a dispatch can do.
    pub(crate) fn dispatch(&mut self, gpu: &Gpu, kernel: &Kernel, work: Work, bindings: &[Bind]) -> Result<()> {
        let failed = |reason: String| Error::Pipeline { kernel: kernel.label().to_owned(), reason };
        if !self.gpu.get_or_insert_with(|| gpu.clone()).is_same_device(gpu) {
            return Err(failed("the recording is of another device".into()));
        }
        let counts =
            [("rounds of an invocation's loops", work.rounds, MAX_ROUNDS), ("workgroups", work.workgroups.into(), MAX_WORKGROUPS.into())];
        if let Some((what, found, most)) = counts.into_iter().find(|(_, found, most)| found > most) {
            return Err(failed(format!("{found} {what}, and {most} is the most: the tensors are too large for this kernel")));
        }
        let mut entries = Vec::with_capacity(bindings.len());
        let mut infos = Vec::with_capacity(bindings.len());
        let gate = self.gate.as_ref().map_or_else(|| gpu.open_gate(), |gate| Ok(gate.clone()))?;
        let gate = Bind { visited: 0, ..Bind::whole("gate", &gate) };
        for layout in kernel.bindings() {
            let Some(bind) = bindings.iter().chain([&gate]).find(|bind| bind.name == layout.name) else {
                return Err(failed(format!("`{}` is not bound", layout.name)));
            };
            if bind.foreign {
                return Err(Error::ForeignDevice { tensor: bind.name.to_owned() });
            }
            let limit = gpu.limits().max_storage_buffer_binding_size;
            if bind.size > limit {
                let what = format!("`{}` of {}", bind.name, kernel.label());
                return Err(Error::LimitTooSmall { limit: "max_storage_buffer_binding_size", what, needed: bind.size, found: limit });
            }
            let resource = wgpu::BufferBinding { buffer: bind.buffer, offset: bind.offset, size: std::num::NonZeroU64::new(bind.size) };
            entries.push(wgpu::BindGroupEntry { binding: layout.index, resource: wgpu::BindingResource::Buffer(resource) });
            infos.push(BindingInfo { name: layout.name, access: layout.access, bytes: bind.visited });
        }
        if let Some((first, second)) = refused(&entries, kernel) {
            return Err(failed(format!("`{first}` and `{second}` are ranges of one buffer that WebGPU refuses in one dispatch")));
        }
        let descriptor = wgpu::BindGroupDescriptor { label: Some(kernel.label()), layout: kernel.layout(), entries: &entries };
        let (bind_group, error) = gpu.scoped(&[wgpu::ErrorFilter::Validation], || gpu.device().create_bind_group(&descriptor));
        match error {
            Some(error) => Err(failed(error.to_string())),
            None => {
                let (label, pipeline) = (Label::Kernel(kernel.clone()), kernel.pipeline().clone());
                self.dispatches.push(Dispatch {
                    label,
                    pipeline,
                    bind_group,
                    workgroups: [work.workgroups, work.rows, 1],
                    rounds: work.rounds,
                    bindings: infos,
                });
                Ok(())
            }
        }
    }

    /// Appends a dispatch whose uniform block, the WGSL variable `constants`, holds `uniform`.
    pub(crate) fn dispatch_with<T: bytemuck::Pod>(
        &mut self,
        gpu: &Gpu,
        kernel: &Kernel,
        work: Work,
        uniform: &T,
        bindings: Vec<Bind>,
    ) -> Result<()> {
        let [constants] = gpu.uniforms([bytemuck::bytes_of(uniform)])?;
        let mut bindings: Vec<Bind> = bindings;
        bindings.push(Bind::uniform("constants", &constants));
        self.dispatch(gpu, kernel, work, &bindings)
    }

    /// Appends a dispatch of the caller's own pipeline, with one bind group, at index 0. The recording
    /// does not know what it reads and writes: [`Recording::bytes`] leaves it out.
    ///
    /// ```
    /// # fn record(recording: &mut gradus::Recording, pipeline: &wgpu::ComputePipeline, group: &wgpu::BindGroup) {
    /// recording.custom("stencil", pipeline, group, [64, 64, 1]);
    /// # }
    /// ```
    pub fn custom(&mut self, label: &str, pipeline: &wgpu::ComputePipeline, bind_group: &wgpu::BindGroup, workgroups: [u32; 3]) {
        self.dispatches.push(Dispatch {
            label: Label::Custom(label.to_owned()),
            pipeline: pipeline.clone(),
            bind_group: bind_group.clone(),
            workgroups,
            rounds: 0,
            bindings: Vec::new(),
        });
    }

    /// Appends what another recording does.
    pub(crate) fn append(&mut self, other: &Recording) {
        self.dispatches.extend_from_slice(&other.dispatches);
    }

    /// Records into the caller's encoder, in a compute pass of its own.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        self.encode_timed(encoder, None);
    }

    pub(crate) fn encode_timed(&self, encoder: &mut wgpu::CommandEncoder, timestamps: Option<wgpu::ComputePassTimestampWrites>) {
        if self.dispatches.is_empty() && timestamps.is_none() {
            return;
        }
        let descriptor = wgpu::ComputePassDescriptor { label: Some("gradus"), timestamp_writes: timestamps };
        self.encode_in_pass(&mut encoder.begin_compute_pass(&descriptor));
    }

    /// Records into the caller's compute pass. Pipeline and bind group 0 of the pass are changed.
    pub fn encode_in_pass(&self, pass: &mut wgpu::ComputePass) {
        for dispatch in &self.dispatches {
            let [x, y, z] = dispatch.workgroups;
            pass.set_pipeline(&dispatch.pipeline);
            pass.set_bind_group(0, &dispatch.bind_group, &[]);
            pass.dispatch_workgroups(x, y, z);
        }
    }

    /// The dispatches in order.
    pub fn dispatches(&self) -> impl ExactSizeIterator<Item = DispatchInfo<'_>> {
        self.dispatches.iter().map(|dispatch| DispatchInfo {
            kernel: dispatch.label.as_str(),
            workgroups: dispatch.workgroups,
            rounds: dispatch.rounds,
            bindings: &dispatch.bindings,
        })
    }

    /// The number of dispatches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dispatches.len()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dispatches.is_empty()
    }

    /// The bytes that all dispatches move.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.dispatches().map(|dispatch| dispatch.bytes()).sum()
    }
}

/// Two bindings of one buffer that a dispatch may not have: one is written and the other only read, or both are written, and
/// their ranges overlap. Back ends other than a browser's would take the latter.
fn refused(entries: &[wgpu::BindGroupEntry], kernel: &Kernel) -> Option<(&'static str, &'static str)> {
    let bound = |entry: &wgpu::BindGroupEntry| match &entry.resource {
        wgpu::BindingResource::Buffer(binding) => {
            let end = binding.size.map_or(binding.buffer.size(), |size| binding.offset + size.get());
            Some((binding.buffer.clone(), binding.offset..end))
        }
        _ => None,
    };
    let layouts = kernel.bindings();
    for (i, first) in entries.iter().enumerate() {
        for (j, second) in entries.iter().enumerate().skip(i + 1) {
            let writes = [i, j].map(|i| matches!(layouts[i].access, Access::Write | Access::ReadWrite));
            let (Some((buffer, range)), Some((other, of_other))) = (bound(first), bound(second)) else { continue };
            let overlap = range.start < of_other.end && of_other.start < range.end;
            if buffer == other && (writes[0] != writes[1] || (writes[0] && overlap)) {
                return Some((layouts[i].name, layouts[j].name));
            }
        }
    }
    None
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Recording: {} dispatches, {} bytes", self.len(), self.bytes())?;
        for dispatch in self.dispatches() {
            let workgroups = dispatch.workgroups.map(u64::from).iter().product::<u64>();
            write!(f, "  {:40} {:6} workgroups {:12} bytes:", dispatch.kernel, workgroups, dispatch.bytes())?;
            for binding in dispatch.bindings {
                let sign = match binding.access {
                    Access::Uniform => '=',
                    Access::Read => '<',
                    Access::Write => '>',
                    Access::ReadWrite => '~',
                };
                write!(f, " {}{sign}{}", binding.name, binding.bytes)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
