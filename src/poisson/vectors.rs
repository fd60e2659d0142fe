//! Vectors over the cells of a grid, for kernels that go over them in whole cells of four.

use super::grid::Grid;
use crate::gpu::{Bind, Gpu, Recording, Tensor};
use crate::krylov::blocks::{self, Blocks, total};
use crate::shaders::layout::SumConstants;
use crate::{Error, Result, shaders, vector};

pub(super) struct Vectors {
    gpu: Gpu,
    dim: usize,
    pub over: Blocks,
}

impl Vectors {
    /// `what` they are for goes into the error that a binding is too small for one.
    pub fn new(gpu: &Gpu, grid: &Grid, what: &str) -> Result<Self> {
        let dim = grid.len();
        let over = Blocks::new(gpu, dim)?;
        if !over.in_one_range() {
            let (needed, found) = (16 * (dim as u64).div_ceil(4), gpu.limits().max_storage_buffer_binding_size);
            let what = format!("{what} of {:?} cells", grid.sizes());
            return Err(Error::LimitTooSmall { limit: "max_storage_buffer_binding_size", what, needed, found });
        }
        Ok(Self { gpu: gpu.clone(), dim, over })
    }

    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Appends what `record` does from `x` to `y`, by way of copies if the two cannot be taken where they are: made
    /// for this recording, as hardly any needs them.
    pub fn map(
        &self,
        recording: &mut Recording,
        x: &Tensor,
        y: &Tensor,
        record: impl FnOnce(&mut Recording, &Tensor, &Tensor) -> Result<()>,
    ) -> Result<()> {
        if self.takes(x) && self.takes(y) && !x.shares_buffer(y) {
            return record(recording, x, y);
        }
        let (from, to, flat) = (blocks::vector(&self.gpu, self.dim)?, blocks::vector(&self.gpu, self.dim)?, [self.dim]);
        vector::copy(&self.gpu, recording, &x.reshape(&flat)?, &from)?;
        record(recording, &from, &to)?;
        vector::copy(&self.gpu, recording, &to, &y.reshape(&flat)?)
    }

    /// [`Vectors::map`] of `x` to itself.
    pub fn update(&self, recording: &mut Recording, x: &Tensor, record: impl FnOnce(&mut Recording, &Tensor) -> Result<()>) -> Result<()> {
        if self.takes(x) {
            return record(recording, x);
        }
        let (x, copy) = (x.reshape(&[self.dim])?, blocks::vector(&self.gpu, self.dim)?);
        vector::copy(&self.gpu, recording, &x, &copy)?;
        record(recording, &copy)?;
        vector::copy(&self.gpu, recording, &copy, &x)
    }

    /// Appends `dot = ⟨r, z⟩` over the cells where z is not 0, whatever r is elsewhere.
    pub fn dot(&self, recording: &mut Recording, [r, z]: [&Tensor; 2], dot: &Tensor) -> Result<()> {
        let mut own = |tensor: &Tensor| -> Result<Tensor> {
            if self.takes(tensor) {
                return Ok(tensor.clone());
            }
            let copy = blocks::vector(&self.gpu, self.dim)?;
            vector::copy(&self.gpu, recording, &tensor.reshape(&[self.dim])?, &copy)?;
            Ok(copy)
        };
        let (r, z) = (own(r)?, own(z)?);
        self.over.record_sums(recording, &shaders::poisson::DOT, &[], &[("r", &r), ("z", &z)], &[])?;
        self.sum(recording, 1.0, dot)
    }

    /// Whether whole cells of four of the tensor can be bound, and written without touching anything else.
    fn takes(&self, tensor: &Tensor) -> bool {
        let whole = self.dim.is_multiple_of(4) || tensor.buffer().size() == 4 * self.dim.next_multiple_of(4) as u64;
        tensor.offset() == 0 && whole
    }

    /// Appends `result = factor · sum` of what a kernel over the blocks has left.
    pub fn sum(&self, recording: &mut Recording, factor: f32, result: &Tensor) -> Result<()> {
        self.sum_of(recording, self.over.partials(), factor, result)
    }

    /// [`Vectors::sum`] of so many partial sums.
    pub fn sum_of(&self, recording: &mut Recording, (partials, count): (Bind, u32), factor: f32, result: &Tensor) -> Result<()> {
        let kernel = self.gpu.kernel(&shaders::poisson::SUM, &[], &[])?;
        let (result, before) = Bind::tensor(&self.gpu, "result", result);
        let constants = SumConstants { partials: count, factor, at: (before / 4) as u32 };
        recording.dispatch_with(&self.gpu, &kernel, total(count), &constants, vec![partials, result])
    }
}
