//! How kernels are shaped for the adapter: every number that depends on what it is.
//!
//! A GPU wants short work for many invocations; barriers are cheap there, and neighbours should load neighbours. A software driver
//! wants long sequential work for few invocations: it executes eight at a time to their end, and each barrier switches between
//! all of a workgroup.

/// What executes the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Processor {
    /// A software driver: the cores of the host.
    Software,
    /// A GPU that shares the host's memory.
    Integrated,
    /// A GPU with memory of its own, or one of which nothing else is known.
    Discrete,
}

/// What is known of the adapter, and how kernels are shaped for it.
///
/// [`Target::of`] is what a [`super::Gpu`] uses unless [`super::GpuOptions::target`] says otherwise. Another target changes
/// speed, and the last bits of sums.
///
/// ```
/// # async fn device(device: wgpu::Device, queue: wgpu::Queue) -> gradus::Result<()> {
/// use gradus::gpu::{GpuOptions, Target};
/// // the kernels that a discrete GPU would run, on any device
/// let options = GpuOptions { target: Some(Target::discrete()), ..Default::default() };
/// let gpu = gradus::Gpu::with_options(&device, &queue, options)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// What executes the kernels.
    pub processor: Processor,
    /// The fewest and the most invocations of a subgroup.
    pub subgroup_size: [u32; 2],
    /// The bytes of memory that a workgroup may have.
    pub workgroup_memory: u32,
}

impl Target {
    /// That of a device.
    #[must_use]
    pub fn of(device: &wgpu::Device) -> Self {
        Self::with(&device.adapter_info(), &device.limits())
    }

    pub(crate) fn with(info: &wgpu::AdapterInfo, limits: &wgpu::Limits) -> Self {
        let processor = match info.device_type {
            wgpu::DeviceType::Cpu => Processor::Software,
            wgpu::DeviceType::IntegratedGpu => Processor::Integrated,
            _ => Processor::Discrete,
        };
        let subgroup_size = [info.subgroup_min_size, info.subgroup_max_size];
        Self { processor, subgroup_size, workgroup_memory: limits.max_compute_workgroup_storage_size }
    }

    /// A software driver whose subgroups are of eight.
    #[must_use]
    pub fn software() -> Self {
        Self { processor: Processor::Software, subgroup_size: [8, 8], ..Self::discrete() }
    }

    /// A discrete GPU with WebGPU's default limits.
    #[must_use]
    pub fn discrete() -> Self {
        Self { processor: Processor::Discrete, subgroup_size: [32, 64], workgroup_memory: 16 * 1024 }
    }

    /// Whether work is long and sequential, and nobody waits for another.
    pub(crate) fn is_software(&self) -> bool {
        self.processor == Processor::Software
    }

    fn choose<T>(&self, software: T, gpu: T) -> T {
        if self.is_software() { software } else { gpu }
    }

    // ---- elements

    /// How many cells a workgroup of 256 takes at a time of `cells` in all: between one and 16 an invocation, as many as leave
    /// 1,024 workgroups to occupy a GPU; always 16 on a software driver, where what a workgroup costs to begin is to be spread.
    pub(crate) fn block(&self, cells: u64) -> u64 {
        self.choose(4096, (cells / 1024).next_multiple_of(256).clamp(256, 4096))
    }

    /// The invocations that share a chunk of a tensor.
    pub(crate) fn lanes_of_chunk(&self) -> u32 {
        self.choose(16, 256)
    }

    // ---- sums

    /// Whether each invocation leaves a sum, rather than each workgroup one: of `workgroups`, so that the sums are not too many
    /// for the one workgroup that adds them up.
    pub(crate) fn leaves_many(&self, workgroups: u64) -> bool {
        self.is_software() && workgroups <= 1 << 15
    }

    /// The invocations that share a row of a tensor, or a segment of one, and the sums that they leave. On a GPU 8 load the 128
    /// bytes of a cache line at a time, and 64 keep enough loads in flight where rows are few.
    pub(crate) fn lanes_of_row(&self, length: u64) -> (u32, u64) {
        const SHORT: u64 = 512;
        const MEDIUM: u64 = 8192;
        match length {
            0..=SHORT => self.choose((4, 4), (8, 1)),
            0..=MEDIUM => self.choose((8, 8), (64, 1)),
            _ => self.choose((8, 8), (256, 1)),
        }
    }

    /// The invocations that add up the sums of few rows.
    pub(crate) fn lanes_of_few_sums(&self) -> u32 {
        self.choose(8, 64)
    }

    /// The invocations that reductions of a graph should have at least.
    pub(crate) fn reducing(&self) -> usize {
        self.choose(512, 1 << 14)
    }

    /// Those of sums over windows.
    pub(crate) fn pooling(&self) -> u32 {
        self.choose(512, 1 << 15)
    }

    /// Windows of as many elements are shared by a workgroup.
    pub(crate) fn shared_window(&self) -> u64 {
        self.choose(4096, 1024)
    }

    /// The workgroups that sums by number should have at least.
    pub(crate) fn scattering(&self) -> u32 {
        self.choose(64, 1024)
    }

    // ---- grids

    /// The most workgroups of a kernel over the tiles of a level.
    pub(crate) fn tiles(&self) -> u32 {
        self.choose(64, 4096)
    }

    /// The most cells of a level that one workgroup keeps, with all coarser ones.
    pub(crate) fn tail(&self) -> usize {
        512
    }

    /// On levels of more cells, what a fused kernel computes several times costs more than a dispatch and what it moves.
    pub(crate) fn small_level(&self) -> u64 {
        1 << 15
    }

    /// The rows of a strip of the learned cycle, which an invocation goes down.
    pub(crate) fn strip(&self, axes: usize) -> u32 {
        if axes == 3 { self.choose(16, 8) } else { 8 }
    }
}
