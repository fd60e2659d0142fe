//! How kernels are shaped for the adapter: every number that depends on what it is.
//!
//! A GPU wants short work for many invocations; barriers are cheap there, and neighbours should load neighbours. A software driver
//! wants long sequential work for few invocations: it executes eight at a time to their end, and each barrier switches between
//! all of a workgroup.

use super::Tuning;

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
    /// What measurements chose. Default: nothing, so that each family of kernels chooses by the shape.
    pub tuning: Tuning,
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
        Self { processor, subgroup_size, workgroup_memory: limits.max_compute_workgroup_storage_size, tuning: Tuning::default() }
    }

    /// A software driver whose subgroups are of eight.
    #[must_use]
    pub fn software() -> Self {
        Self { processor: Processor::Software, subgroup_size: [8, 8], ..Self::discrete() }
    }

    /// A discrete GPU with WebGPU's default limits.
    #[must_use]
    pub fn discrete() -> Self {
        Self { processor: Processor::Discrete, subgroup_size: [32, 64], workgroup_memory: 16 * 1024, tuning: Tuning::default() }
    }

    /// The same with the choices of a tuning.
    #[must_use]
    pub fn with_tuning(self, tuning: Tuning) -> Self {
        Self { tuning, ..self }
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

    /// The invocations of a run, which load neighbouring cells (`shaders/shared/runs.wgsl`): eight on a software driver, which
    /// executes as many at a time; all of a workgroup on a GPU, so that a subgroup loads one stretch of memory.
    pub(crate) fn run(&self) -> u32 {
        self.choose(8, 256)
    }

    /// The invocations that share a chunk of a tensor.
    pub(crate) fn lanes_of_chunk(&self) -> u32 {
        self.choose(16, 256)
    }

    // ---- sums

    /// The loads of a long sum that an invocation has in flight. A software driver has one: copies of the loop cost it 15 %.
    pub(crate) fn loads(&self) -> u32 {
        self.choose(1, 4)
    }

    /// Whether each invocation leaves a sum, rather than each workgroup one: of `workgroups`, so that the sums are not too many
    /// for the one workgroup that adds them up.
    pub(crate) fn leaves_many(&self, workgroups: u64) -> bool {
        self.is_software() && workgroups <= 1 << 15
    }

    /// The invocations that share a row of a tensor, or a segment of one, and the sums that they leave. On a GPU 8 load the 128
    /// bytes of a cache line at a time, and 64 keep enough loads in flight where rows are few.
    pub(crate) fn lanes_of_row(&self, length: u64) -> (u32, u64) {
        match length {
            0..=512 => self.choose((4, 4), (8, 1)),
            513..=8192 => self.choose((8, 8), (64, 1)),
            _ => self.choose((8, 8), (256, 1)),
        }
    }

    /// The most rows of a tensor whose sums one workgroup projects, and the rows of a block where several do, which takes two more
    /// dispatches.
    #[cfg(feature = "optim")]
    pub(crate) fn rows_of_projection(&self) -> (u64, u64) {
        self.choose((1 << 16, 1 << 14), (1 << 12, 1 << 10))
    }

    /// The invocations that add up the sums of few rows.
    pub(crate) fn lanes_of_few_sums(&self) -> u32 {
        self.choose(8, 64)
    }

    /// The invocations that share a row of a sparse matrix of so many entries.
    pub(crate) fn lanes_of_sparse_row(&self, entries: u64) -> u64 {
        self.choose(
            1,
            match entries {
                0..=64 => 8,
                65..=1024 => 64,
                _ => 256,
            },
        )
    }

    /// On a GPU: the invocations that share a block of four rows of a matrix, and the cells of a block, for so many rows of `cells`
    /// cells. So many invocations that short rows leave none idle, and 1,024 workgroups where there is so much work.
    pub(crate) fn block_of_rows(&self, rows: u64, cells: u64) -> (u64, u64) {
        let lanes: u64 = match cells {
            0..=128 => 8,
            129..=2048 => 64,
            _ => 256,
        };
        let wanted = (1024 * 256 / lanes).div_ceil(rows.div_ceil(4).max(1));
        let blocks = wanted.min(cells.div_ceil(lanes)).max(cells.div_ceil(lanes << 14)).max(1);
        (lanes, cells.div_ceil(blocks).next_multiple_of(lanes))
    }

    /// The invocations that share a column of a matrix of so many rows of `cells` cells, each with rows of its own, and the rows of a
    /// part, a multiple of 16, of which several are added up by another dispatch. On a GPU up to 64 neighbours load one stretch of a
    /// row; 1,024 workgroups where there is so much work, of no less than 16 loads of four rows.
    pub(crate) fn slices_of_columns(&self, rows: u64, cells: u64) -> (u64, u64) {
        if self.is_software() {
            return (1, 512);
        }
        let together = if cells > 1 << 16 { 256 } else { cells.next_power_of_two().clamp(1, 64) };
        let slices = 256 / together;
        let parts = 1024 / cells.div_ceil(together).clamp(1, 1024);
        let height = rows.div_ceil(parts).next_multiple_of(16 * slices);
        (slices, height.clamp(64 * slices, slices << 14))
    }

    /// The invocations that reductions of a graph should have at least: on a GPU 1,024 workgroups of 256.
    pub(crate) fn reducing(&self) -> usize {
        self.choose(512, 1 << 18)
    }

    /// The invocations, a power of two up to 256, that share a result of a reduction of a graph. On a GPU as many take a row as
    /// load four terms each, up to 32 where other rows fill the workgroup, and 256 where a row is long. Of columns 16 neighbours
    /// load 64 bytes, and 64 where there are many.
    #[cfg(feature = "graph")]
    pub(crate) fn lanes_of_reduction(&self, outputs: usize, length: usize, rows: bool) -> usize {
        if self.is_software() {
            return 1;
        }
        match rows {
            true if length >= 1024 => 256,
            true => length.div_ceil(4).next_power_of_two().min(32),
            false => {
                let neighbours = if outputs > 4096 { 64 } else { outputs.next_power_of_two().min(16) };
                length.div_ceil(4).next_power_of_two().min(256 / neighbours)
            }
        }
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

    // ---- products

    /// The workgroups of 256 that occupy the device.
    pub(crate) fn workgroups_at_once(&self) -> u64 {
        match self.processor {
            Processor::Software => 1,
            Processor::Integrated => 128,
            Processor::Discrete => 512,
        }
    }

    // ---- grids

    /// How many cells, or jobs, of a level of so many a workgroup of 256 takes: as [`Target::block`], but on a software driver
    /// several workgroups share a small level, so that no core is without.
    pub(crate) fn block_of_level(&self, cells: u64) -> u64 {
        self.choose((cells / 8).next_multiple_of(256).clamp(256, 4096), self.block(cells))
    }

    /// The invocations of the one workgroup that goes through the coarsest levels, with a barrier after each operation: on a software driver
    /// as many as it executes at a time, so that there is nothing to switch between.
    pub(crate) fn lanes_of_tail(&self) -> u32 {
        self.choose(8, 256)
    }

    /// The most cells of a level that one workgroup keeps, with all coarser ones.
    pub(crate) fn tail(&self) -> usize {
        512
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The workgroups of a GPU for products of a matrix and a vector, and the most loads of an invocation.
    #[test]
    fn matrices_of_any_shape_fill_a_gpu() {
        let target = Target::discrete();
        let rows = |rows: u64, cells: u64| {
            let (lanes, block) = target.block_of_rows(rows, cells);
            assert!([8, 64, 256].contains(&lanes) && block.is_multiple_of(lanes), "{rows} {cells}");
            let tasks = rows.div_ceil(4) * cells.div_ceil(block);
            ((tasks * lanes).div_ceil(256), block.min(cells).div_ceil(lanes))
        };
        assert_eq!(rows(1 << 20, 27), (8192, 4));
        assert_eq!(rows(1, 10_000_000), (1002, 39));
        assert_eq!(rows(4096, 1024), (1024, 4));
        assert_eq!(rows(64, 1024), (64, 1));
        let columns = |rows: u64, cells: u64| {
            let (slices, height) = target.slices_of_columns(rows, cells);
            assert!(height.is_multiple_of(16), "{rows} {cells}");
            (cells.div_ceil(256 / slices) * rows.div_ceil(height), height.min(rows).div_ceil(4 * slices))
        };
        assert_eq!(columns(10_000_000, 1), (611, 16));
        assert_eq!(columns(1 << 20, 7), (512, 16));
        assert_eq!(columns(1 << 16, 64), (256, 16));
        assert_eq!(columns(512, 1 << 20), (4096, 128));
    }
}
