//! The device and what runs on it; knows nothing of mathematics.
//!
//! [`Gpu`] wraps the caller's device and queue (or makes its own), [`Tensor`] is a typed range of a
//! buffer, [`Recording`] a list of dispatches with their bind groups built.

mod buffer;
mod dtype;
#[cfg(feature = "weights")]
mod file;
pub(crate) mod kernel;
mod measure;
mod preprocess;
mod readback;
mod recording;
mod target;
mod tensor;
mod trace;
mod tuning;
#[cfg(test)]
pub(crate) mod validation;
pub(crate) mod work;

use std::collections::HashMap;
#[cfg(not(target_arch = "wasm32"))]
use std::collections::HashSet;
use std::fmt;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

pub use dtype::{DType, Element};
#[cfg(feature = "weights")]
pub(crate) use file::{FLOATS, File, Object, floats};
pub(crate) use kernel::{BindingLayout, Generated, Kernel, KernelSource, Key};
pub use measure::measure;
#[cfg(feature = "optim")]
pub(crate) use preprocess::conditionals;
#[cfg(test)]
pub(crate) use readback::COUNTS;
#[cfg(not(target_arch = "wasm32"))]
use readback::Waiter;
pub(crate) use readback::{Reader, read as read_all};
pub use recording::{Access, BindingInfo, DispatchInfo, Recording};
pub(crate) use recording::{Bind, binding_alignment};
pub use target::{Processor, Target};
pub use tensor::Tensor;
pub(crate) use tuning::Family;
pub use tuning::Tuning;
pub(crate) use work::{MAX_WORKGROUPS, Work};

use crate::{Error, Result};

/// The limits that the crate needs: a device made with exactly these will do. All are WebGPU's defaults or below; larger buffers and bindings
/// are used when the device has them, smaller ones mean more dispatches.
#[must_use]
pub fn required_limits() -> wgpu::Limits {
    let defaults = wgpu::Limits::defaults();
    wgpu::Limits {
        max_bind_groups: 1,
        max_bindings_per_bind_group: 16,
        max_storage_buffers_per_shader_stage: 8,
        max_uniform_buffers_per_shader_stage: 2,
        max_uniform_buffer_binding_size: 1024,
        max_storage_buffer_binding_size: 1 << 16,
        max_buffer_size: 1 << 16,
        max_compute_workgroup_storage_size: 16 * 1024,
        max_compute_invocations_per_workgroup: 256,
        max_compute_workgroup_size_x: 256,
        max_compute_workgroup_size_y: 8,
        max_compute_workgroup_size_z: 1,
        max_compute_workgroups_per_dimension: 65_535,
        min_storage_buffer_offset_alignment: defaults.min_storage_buffer_offset_alignment,
        min_uniform_buffer_offset_alignment: defaults.min_uniform_buffer_offset_alignment,
        // what only textures, vertices and other stages need
        ..wgpu::Limits::downlevel_webgl2_defaults()
    }
}

/// The limits to ask an adapter for: buffers and bindings as large as it has them, and WebGPU's defaults, or what the adapter
/// has below them, for all others. With larger buffers more fits, and work takes fewer dispatches.
///
/// ```
/// # async fn device(adapter: &wgpu::Adapter) -> Result<(), Box<dyn std::error::Error>> {
/// let required_limits = gradus::gpu::recommended_limits(adapter);
/// let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
/// let (device, queue) = adapter.request_device(&descriptor).await?;
/// let gpu = gradus::Gpu::new(&device, &queue)?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn recommended_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
    let available = adapter.limits();
    wgpu::Limits {
        max_buffer_size: available.max_buffer_size,
        max_storage_buffer_binding_size: available.max_storage_buffer_binding_size,
        ..wgpu::Limits::defaults().or_worse_values_from(&available)
    }
}

/// The features that the crate needs: none beyond WebGPU's default set.
#[must_use]
pub fn required_features() -> wgpu::Features {
    wgpu::Features::empty()
}

/// The features that the crate uses when the device has them: timestamps, in
/// [`measure`], and pipeline caches, when [`GpuOptions::pipeline_cache`] is given.
#[must_use]
pub fn optional_features() -> wgpu::Features {
    wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::PIPELINE_CACHE
}

/// All kernels, `module/kernel`, in the order of the alphabet: the files of `shaders/`.
pub const KERNELS: &[&str] = crate::shaders::NAMES;

/// Whether shaders check the bounds of what they access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Checks {
    /// No checks in the shader. Sound, because the host validates every shape, range and alias
    /// before it dispatches.
    #[default]
    Unchecked,
    /// wgpu's bounds, loop and division checks: slower, for bisecting a fault.
    Checked,
}

/// Who polls the device while something is read from it: on native back ends nothing arrives otherwise. In a browser the event
/// loop does it, whatever this says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Polling {
    /// Whoever polls the future of the read. Each time the future polls the device, without waiting, and asks to be polled
    /// again: a loop that does so once a frame has the result as soon as it is there, an executor with nothing else to do
    /// is busy until then. There is no thread, and the device may be polled by others as well.
    #[default]
    Caller,
    /// A thread of the [`Gpu`]'s, one for all reads, that waits for the device and wakes the futures: for executors that should
    /// sleep meanwhile. It begins with the first read, and ends with the last clone of the `Gpu`.
    Thread,
}

/// Options of [`Gpu::with_options`].
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Whether shaders check bounds. Default: unchecked.
    pub checks: Checks,
    /// A cache of the caller's for compiled pipelines, of the same device. Default: none.
    pub pipeline_cache: Option<wgpu::PipelineCache>,
    /// Who polls the device during reads. Default: the caller.
    pub polling: Polling,
    /// What the kernels are shaped for. Default: the device, [`Target::of`].
    pub target: Option<Target>,
}

/// A device, its queue, and the pipelines made so far. Clones share all three.
#[derive(Clone)]
pub struct Gpu {
    inner: Arc<Inner>,
}

struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    limits: wgpu::Limits,
    adapter: wgpu::AdapterInfo,
    target: Target,
    options: GpuOptions,
    kernels: Mutex<HashMap<Key, Kernel>>,
    open_gate: OnceLock<wgpu::Buffer>,
    uniforms: Mutex<Option<buffer::Arena>>,
    #[cfg(not(target_arch = "wasm32"))]
    waiter: OnceLock<Option<Waiter>>,
    /// Those that were found to wrap the same device.
    same: Mutex<Vec<Weak<Inner>>>,
}

impl Gpu {
    /// Wraps the caller's device and queue. Constructors upload data; apart from that, only methods that say so submit work.
    /// The device is the caller's to poll ([`Polling`]), lose and destroy.
    ///
    /// # Errors
    /// [`Error::MissingFeatures`] or [`Error::LimitTooSmall`], against [`required_features`] and
    /// [`required_limits`].
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Self> {
        Self::with_options(device, queue, GpuOptions::default())
    }

    /// [`Gpu::new`] with options.
    ///
    /// # Errors
    /// As [`Gpu::new`]; [`Error::MissingFeatures`] if a pipeline cache is given and the device does
    /// not have the feature; [`Error::Option`] if the target has a tuning of another device.
    pub fn with_options(device: &wgpu::Device, queue: &wgpu::Queue, options: GpuOptions) -> Result<Self> {
        let mut features = required_features();
        if options.pipeline_cache.is_some() {
            features |= wgpu::Features::PIPELINE_CACHE;
        }
        let missing = features.difference(device.features());
        if !missing.is_empty() {
            return Err(Error::MissingFeatures { missing });
        }
        let (adapter, limits) = (device.adapter_info(), device.limits());
        let target = options.target.clone().unwrap_or_else(|| Target::with(&adapter, &limits));
        target.tuning.check(&adapter)?;
        let mut failure = None;
        required_limits().check_limits_with_fail_fn(&limits, true, |limit, needed, found| {
            failure = Some(Error::LimitTooSmall { limit, what: String::new(), needed, found });
        });
        match failure {
            Some(error) => Err(error),
            None => Ok(Self {
                inner: Arc::new(Inner {
                    device: device.clone(),
                    queue: queue.clone(),
                    limits,
                    adapter,
                    target,
                    options,
                    kernels: Mutex::default(),
                    open_gate: OnceLock::new(),
                    uniforms: Mutex::default(),
                    #[cfg(not(target_arch = "wasm32"))]
                    waiter: OnceLock::new(),
                    same: Mutex::default(),
                }),
            }),
        }
    }

    /// Makes a device of its own, without a window. The adapter is chosen by wgpu's environment
    /// variables (`WGPU_BACKEND`, `WGPU_ADAPTER_NAME`), else the one of highest performance; the
    /// device gets [`recommended_limits`], and those of [`optional_features`] that the adapter has. It is polled by a thread
    /// ([`Polling::Thread`]).
    ///
    /// # Errors
    /// [`Error::NoAdapter`], [`Error::Device`], and those of [`Gpu::new`].
    pub async fn headless() -> Result<Self> {
        Self::headless_with_options(Checks::default()).await
    }

    /// [`Gpu::headless`] with checked or unchecked shaders.
    ///
    /// # Errors
    /// As [`Gpu::headless`].
    pub async fn headless_with_options(checks: Checks) -> Result<Self> {
        let adapter = headless_adapter().await?;
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("gradus"),
                required_features: adapter.features() & optional_features(),
                required_limits: recommended_limits(&adapter),
                ..Default::default()
            })
            .await?;
        Self::with_options(&device, &queue, GpuOptions { checks, polling: Polling::Thread, ..Default::default() })
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        &self.inner.device
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        &self.inner.queue
    }

    /// Whether shaders are checked.
    #[must_use]
    pub fn checks(&self) -> Checks {
        self.inner.options.checks
    }

    /// The limits of the device.
    #[must_use]
    pub fn limits(&self) -> &wgpu::Limits {
        &self.inner.limits
    }

    /// What the device says of its adapter.
    #[must_use]
    pub fn adapter_info(&self) -> &wgpu::AdapterInfo {
        &self.inner.adapter
    }

    /// Those of [`KERNELS`] of which pipelines have been made on this device so far, in their order: what a program
    /// uses.
    #[must_use]
    pub fn kernels(&self) -> Vec<&'static str> {
        let kernels = self.inner.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        KERNELS.iter().copied().filter(|name| kernels.keys().any(|key| key.name() == *name)).collect()
    }

    /// Encodes `recordings` in order and submits them: for programs with no encoder of their own. As with any submission, what
    /// wgpu refuses, a buffer that was destroyed, goes to the device's own error handler or scope.
    pub fn submit<'a>(&self, recordings: impl IntoIterator<Item = &'a Recording>) -> wgpu::SubmissionIndex {
        let mut encoder = self.device().create_command_encoder(&Default::default());
        for recording in recordings {
            recording.encode(&mut encoder);
        }
        self.queue().submit([encoder.finish()])
    }

    /// [`Gpu::submit`]; what wgpu refuses is an error here.
    pub(crate) fn execute<'a>(&self, recordings: impl IntoIterator<Item = &'a Recording>) -> Result<()> {
        let mut encoder = self.device().create_command_encoder(&Default::default());
        recordings.into_iter().for_each(|recording| recording.encode(&mut encoder));
        self.submit_encoder(encoder)
    }

    pub(crate) fn submit_encoder(&self, encoder: wgpu::CommandEncoder) -> Result<()> {
        #[cfg(test)]
        readback::count(|counts| counts.submissions += 1);
        let (_, error) = self.scoped(&[wgpu::ErrorFilter::Validation], || self.queue().submit([encoder.finish()]));
        error.map_or(Ok(()), |error| Err(self.refused(&error)))
    }

    /// What it means that wgpu refused to write, copy or dispatch: all that this crate checks was in order.
    pub(crate) fn refused(&self, error: &wgpu::Error) -> Error {
        let reason = error.to_string();
        // nothing is wrong with a new buffer but what is wrong with the device
        let (_, lost) = self.scoped(&[wgpu::ErrorFilter::Validation], || {
            let usage = wgpu::BufferUsages::COPY_DST;
            let descriptor = wgpu::BufferDescriptor { label: Some("gradus.probe"), size: 4, usage, mapped_at_creation: false };
            self.queue().write_buffer(&self.device().create_buffer(&descriptor), 0, &[0; 4]);
        });
        if lost.is_some() { Error::DeviceLost { reason } } else { Error::InvalidBuffer { reason } }
    }

    /// Whether both wrap one device. Those of two wgpu instances may compare as equal: what tells them apart is whose error
    /// scope catches an error.
    pub(crate) fn is_same_device(&self, other: &Gpu) -> bool {
        if Arc::ptr_eq(&self.inner, &other.inner) {
            return true;
        }
        if self.device() != other.device() {
            return false;
        }
        if cfg!(target_arch = "wasm32") {
            return true;
        }
        let known = || self.inner.same.lock().unwrap_or_else(PoisonError::into_inner);
        if known().iter().any(|same| std::ptr::eq(same.as_ptr(), Arc::as_ptr(&other.inner))) {
            return true;
        }
        // a buffer without usages is an error; the outer scope catches it if the inner is another device's
        let invalid =
            wgpu::BufferDescriptor { label: Some("gradus.probe"), size: 4, usage: wgpu::BufferUsages::empty(), mapped_at_creation: false };
        let probe = || other.device().create_buffer(&invalid);
        let validation = [wgpu::ErrorFilter::Validation];
        let ((_, here), elsewhere) = other.scoped(&validation, || self.scoped(&validation, probe));
        let same = here.is_some() || elsewhere.is_none();
        if same {
            // an address in the list is not used again: a weak reference keeps it
            known().push(Arc::downgrade(&other.inner));
        }
        same
    }

    /// The thread that polls the device, if that is wanted and can be had.
    #[cfg(not(target_arch = "wasm32"))]
    fn waiter(&self) -> Option<&Waiter> {
        match self.inner.options.polling {
            Polling::Caller => None,
            Polling::Thread => self.inner.waiter.get_or_init(|| Waiter::new(self.device())).as_ref(),
        }
    }

    /// The bytes of a buffer that a binding may hold: the device's limit, and no more than kernels can
    /// count in 32 bits, which some devices' limits exceed.
    pub(crate) fn binding_limit(&self) -> u64 {
        self.limits().max_storage_buffer_binding_size.min(1 << 31)
    }

    /// Those that it was made with.
    pub(crate) fn options(&self) -> &GpuOptions {
        &self.inner.options
    }

    /// What the kernels are shaped for.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.inner.target
    }

    /// The kernel of `source` with these defines and override constants: made once, then shared.
    pub(crate) fn kernel(
        &self,
        source: &'static KernelSource,
        defines: &[&'static str],
        constants: &[(&'static str, u32)],
    ) -> Result<Kernel> {
        self.pipeline(Key::new(source, defines, constants), None)
    }

    /// The kernels of `wanted`, with the code that completes them. Those that are not there yet are made by as many threads as
    /// the host has cores, where wgpu allows for that: not in a browser, and not with OpenGL, whose one context is locked
    /// meanwhile.
    pub(crate) fn pipelines(&self, wanted: &[(Key, Option<&Generated>)]) -> Result<Vec<Kernel>> {
        #[cfg(not(target_arch = "wasm32"))]
        if self.adapter_info().backend != wgpu::Backend::Gl {
            let missing: Vec<_> = {
                let kernels = self.inner.kernels.lock().unwrap_or_else(PoisonError::into_inner);
                let mut seen = HashSet::new();
                wanted.iter().filter(|(key, _)| !kernels.contains_key(key) && seen.insert(key)).collect()
            };
            let next = AtomicUsize::new(0);
            let make = || {
                while let Some((key, generated)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // an error comes again below
                    let _ = self.pipeline(key.clone(), *generated);
                }
            };
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            std::thread::scope(|scope| {
                for _ in 1..cores.min(missing.len()) {
                    // without threads this one does it all
                    let _ = std::thread::Builder::new().spawn_scoped(scope, make);
                }
                make();
            });
        }
        wanted.iter().map(|(key, generated)| self.pipeline(key.clone(), *generated)).collect()
    }

    /// How many pipelines have been made.
    #[cfg(test)]
    pub(crate) fn pipeline_count(&self) -> usize {
        self.inner.kernels.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// A kernel, with the code that completes it.
    pub(crate) fn pipeline(&self, key: Key, generated: Option<&Generated>) -> Result<Kernel> {
        // a panic elsewhere leaves the map whole: insertion is its only change
        let kernels = || self.inner.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = kernels().get(&key) {
            return Ok(kernel.clone());
        }
        // compiled outside the lock; should two threads make the same one, either serves
        let kernel = Kernel::new(self, &key, generated)?;
        Ok(kernels().entry(key).or_insert(kernel).clone())
    }

    /// A word that is 0, for dispatches that no solver's state stops.
    pub(crate) fn open_gate(&self) -> Result<wgpu::Buffer> {
        match self.inner.open_gate.get() {
            Some(gate) => Ok(gate.clone()),
            None => {
                let gate = self.buffer("gradus.open_gate", 4, wgpu::BufferUsages::STORAGE)?;
                Ok(self.inner.open_gate.get_or_init(|| gate).clone())
            }
        }
    }

    /// Runs `make` and returns the first error of the kinds in `filters`, if wgpu knows it at once
    /// (native back ends do; in a browser there is no scope, and it reaches the device's own handler).
    pub(crate) fn scoped<T>(&self, filters: &[wgpu::ErrorFilter], make: impl FnOnce() -> T) -> (T, Option<wgpu::Error>) {
        if cfg!(target_arch = "wasm32") {
            return (make(), None);
        }
        let guards: Vec<_> = filters.iter().map(|&filter| self.device().push_error_scope(filter)).collect();
        let value = make();
        let mut error = None;
        for guard in guards.into_iter().rev() {
            let pending = std::pin::pin!(guard.pop());
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            if let std::task::Poll::Ready(Some(found)) = pending.poll(&mut context) {
                error = Some(found);
            }
        }
        (value, error)
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.adapter_info();
        write!(f, "Gpu({}, {:?}, {:?})", info.name, info.backend, self.checks())
    }
}

/// The adapter of [`Gpu::headless`], for programs that make a device of their own: the one whose name contains
/// `WGPU_ADAPTER_NAME`, else the one of highest performance, of the back ends in `WGPU_BACKEND`.
///
/// # Errors
/// [`Error::NoAdapter`], with the names of those there are.
pub async fn headless_adapter() -> Result<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    #[cfg(not(target_arch = "wasm32"))]
    if let Ok(wanted) = std::env::var("WGPU_ADAPTER_NAME") {
        let adapters = instance.enumerate_adapters(wgpu::Backends::all()).await;
        let names: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
        let wanted_lower = wanted.to_lowercase();
        let found = adapters.into_iter().find(|adapter| adapter.get_info().name.to_lowercase().contains(&wanted_lower));
        let reason = || format!("WGPU_ADAPTER_NAME is `{wanted}`, and the adapters are {names:?}");
        return found.ok_or_else(|| Error::NoAdapter { reason: reason() });
    }
    let options = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::from_env().unwrap_or(wgpu::PowerPreference::HighPerformance),
        ..Default::default()
    };
    instance.request_adapter(&options).await.map_err(|error| Error::NoAdapter { reason: error.to_string() })
}
