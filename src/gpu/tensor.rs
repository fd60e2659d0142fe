use std::ops::Range;

use wgpu::BufferUsages;

use super::buffer::padded;
use super::{DType, Element, Gpu, readback};
use crate::{Error, Result};

/// A shape, an element type, and the range of a buffer that holds the elements, row-major. It does
/// not own data: clones refer to the same memory.
///
/// A tensor begins at a multiple of four bytes; a buffer may hold many. It knows the device that it is on, unless it is of a
/// buffer of the caller's: another's tensor is [`Error::ForeignDevice`] wherever tensors are taken.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Where the buffer is known to be.
    gpu: Option<Gpu>,
    buffer: wgpu::Buffer,
    offset: u64,
    shape: Vec<usize>,
    dtype: DType,
}

/// Whether both are the same range of the same buffer, under one shape and type.
impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        self.shares_buffer(other) && self.offset == other.offset && self.shape == other.shape && self.dtype == other.dtype
    }
}

impl Tensor {
    /// The usages of the crate's own buffers.
    const USAGES: BufferUsages = BufferUsages::STORAGE.union(BufferUsages::COPY_SRC).union(BufferUsages::COPY_DST);

    /// A range of the caller's buffer, beginning at byte `offset`. The buffer must be of the device that the tensor is used
    /// with: one of another device of the same wgpu instance is an error where it is used ([`Error::Pipeline`] says so), one
    /// of another instance wgpu may not tell from its own.
    ///
    /// # Errors
    /// [`Error::Misaligned`] if `offset` is not a multiple of four, [`Error::OutOfBounds`] if the
    /// elements do not fit, [`Error::BufferUsage`] if the buffer lacks `STORAGE`.
    pub fn from_buffer(buffer: &wgpu::Buffer, offset: u64, shape: &[usize], dtype: DType) -> Result<Self> {
        let tensor = Self { gpu: None, buffer: buffer.clone(), offset, shape: shape.to_vec(), dtype };
        let name = || format!("{dtype}{shape:?}");
        if !offset.is_multiple_of(4) {
            return Err(Error::Misaligned { tensor: name(), offset, alignment: 4 });
        }
        let bytes = checked_bytes(shape, dtype).and_then(|bytes| bytes.checked_next_multiple_of(4));
        let end = bytes.and_then(|bytes| bytes.checked_add(offset)).unwrap_or(u64::MAX);
        if end > buffer.size() {
            return Err(Error::OutOfBounds { tensor: name(), needed: end, found: buffer.size() });
        }
        let missing = BufferUsages::STORAGE.difference(buffer.usage());
        match missing.is_empty() {
            true => Ok(tensor),
            false => Err(Error::BufferUsage { tensor: name(), missing }),
        }
    }

    /// A range of this tensor's buffer, beginning at byte `offset` of it.
    pub(crate) fn within(&self, offset: u64, shape: &[usize], dtype: DType) -> Result<Self> {
        Ok(Self { gpu: self.gpu.clone(), ..Self::from_buffer(&self.buffer, offset, shape, dtype)? })
    }

    /// A tensor of zeros in a buffer of its own.
    ///
    /// # Errors
    /// [`Error::LimitTooSmall`] or [`Error::OutOfMemory`].
    pub fn zeros(gpu: &Gpu, shape: &[usize], dtype: DType) -> Result<Self> {
        let label = format!("gradus.tensor{shape:?}");
        let Some(bytes) = checked_bytes(shape, dtype) else {
            return Err(Error::OutOfMemory { what: label, bytes: u64::MAX });
        };
        let buffer = gpu.buffer(&label, bytes, Self::USAGES)?;
        Ok(Self { gpu: Some(gpu.clone()), buffer, offset: 0, shape: shape.to_vec(), dtype })
    }

    /// A tensor with the elements `data`, row-major, in a buffer of its own.
    ///
    /// # Errors
    /// [`Error::Length`] if `data` is not as long as the shape says; those of [`Tensor::zeros`].
    pub fn from_slice<T: Element>(gpu: &Gpu, shape: &[usize], data: &[T]) -> Result<Self> {
        let tensor = Self::zeros(gpu, shape, T::DTYPE)?;
        tensor.write(gpu, data)?;
        Ok(tensor)
    }

    /// Zeroed tensors in one buffer, one after another, each beginning at a multiple of 16 bytes, and of 256 bytes if it has
    /// 4 KiB or more: the layout that fused steps like best. The buffers of several arenas made from the same
    /// shapes correspond, so parameters in one and gradients in another are one dispatch.
    ///
    /// # Errors
    /// [`Error::LimitTooSmall`] if all together exceed the largest buffer, [`Error::OutOfMemory`].
    pub fn arena(gpu: &Gpu, shapes: &[&[usize]], dtype: DType) -> Result<Vec<Self>> {
        let mut offsets = Vec::with_capacity(shapes.len());
        let mut end = Some(0u64);
        for shape in shapes {
            let bytes = checked_bytes(shape, dtype);
            // whole cells, and of large tensors whole cache lines
            let alignment = if bytes.is_some_and(|bytes| bytes < 4096) { 16 } else { 256 };
            let start = end.and_then(|end| end.checked_next_multiple_of(alignment));
            offsets.push(start.unwrap_or(u64::MAX));
            end = start.zip(bytes).and_then(|(start, bytes)| start.checked_add(bytes));
        }
        let label = "gradus.arena".to_owned();
        let Some(end) = end else { return Err(Error::OutOfMemory { what: label, bytes: u64::MAX }) };
        if end.checked_next_multiple_of(4).is_none() {
            return Err(Error::OutOfMemory { what: label, bytes: u64::MAX });
        }
        let buffer = gpu.buffer(&label, end, Self::USAGES)?;
        let tensor = |(shape, offset): (&&[usize], u64)| Self {
            gpu: Some(gpu.clone()),
            buffer: buffer.clone(),
            offset,
            shape: shape.to_vec(),
            dtype,
        };
        Ok(shapes.iter().zip(offsets).map(tensor).collect())
    }

    /// Uploads `data`, row-major. It takes effect before the next submission to the queue.
    ///
    /// # Errors
    /// [`Error::DType`] or [`Error::Length`] if `data` is not what the tensor holds,
    /// [`Error::BufferUsage`] if the buffer lacks `COPY_DST`, [`Error::ForeignDevice`], [`Error::InvalidBuffer`] if the buffer
    /// was destroyed.
    pub fn write<T: Element>(&self, gpu: &Gpu, data: &[T]) -> Result<()> {
        self.expect_dtype("tensor", &[T::DTYPE])?;
        self.expect_usage("tensor", BufferUsages::COPY_DST)?;
        self.expect_on("tensor", gpu)?;
        if data.len() != self.len() {
            return Err(Error::Length { tensor: self.describe(), unit: "elements", expected: self.len(), found: data.len() });
        }
        gpu.write(&self.buffer, self.offset, bytemuck::cast_slice(data))
    }

    /// Reads the elements, row-major, as they are after all that was submitted so far. The first poll of the future submits
    /// one copy. No poll waits; who lets the device go on meanwhile is [`Polling`](super::Polling).
    ///
    /// # Errors
    /// [`Error::DType`] if `T` is not the tensor's type, [`Error::BufferUsage`] if the buffer lacks
    /// `COPY_SRC`, [`Error::ForeignDevice`], [`Error::InvalidBuffer`] if it was destroyed, [`Error::DeviceLost`],
    /// [`Error::OutOfMemory`].
    pub async fn read<T: Element>(&self, gpu: &Gpu) -> Result<Vec<T>> {
        self.expect_dtype("tensor", &[T::DTYPE])?;
        let mut all = readback::read(gpu, std::slice::from_ref(self)).await?;
        Ok(bytemuck::pod_collect_to_vec(&all.pop().unwrap_or_default()))
    }

    /// The buffer.
    #[must_use]
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// Where the elements begin in the buffer, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The size of each axis, slowest first; empty for a scalar.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The type of the elements.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        // an axis of 0 comes first: the product of the others may be too large for a usize
        if self.shape.contains(&0) { 0 } else { self.shape.iter().product() }
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that the elements take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.len() as u64 * self.dtype.size()
    }

    /// Whether both are in the same buffer.
    #[must_use]
    pub fn shares_buffer(&self, other: &Tensor) -> bool {
        let apart = self.gpu.as_ref().is_some_and(|gpu| !other.may_be_on(gpu));
        self.buffer == other.buffer && !apart
    }

    /// Whether both are the same elements, in the same shape.
    #[cfg(feature = "optim")]
    pub(crate) fn is_same(&self, other: &Tensor) -> bool {
        let place = |tensor: &Tensor| (tensor.offset(), tensor.dtype());
        self.shares_buffer(other) && place(self) == place(other) && self.shape() == other.shape()
    }

    /// Whether some byte belongs to both.
    #[must_use]
    pub fn overlaps(&self, other: &Tensor) -> bool {
        let (a, b) = (self.range(), other.range());
        self.shares_buffer(other) && !self.is_empty() && !other.is_empty() && a.start < b.end && b.start < a.end
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// [`Error::Shape`] if the number of elements differs.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        match checked_bytes(shape, self.dtype) == Some(self.bytes()) {
            true => Ok(Self { shape: shape.to_vec(), ..self.clone() }),
            false => Err(Error::Shape { tensor: self.describe(), expected: self.shape.clone(), found: shape.to_vec() }),
        }
    }

    /// The bytes of the elements in the buffer.
    pub(crate) fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.bytes()
    }

    /// The bytes of the range, up to the next multiple of four.
    pub(crate) fn padded_bytes(&self) -> u64 {
        padded(self.bytes())
    }

    /// Whether nothing says that it is on another device.
    pub(crate) fn may_be_on(&self, gpu: &Gpu) -> bool {
        self.gpu.as_ref().is_none_or(|own| own.is_same_device(gpu))
    }

    pub(crate) fn expect_on(&self, name: &str, gpu: &Gpu) -> Result<()> {
        match self.may_be_on(gpu) {
            true => Ok(()),
            false => Err(Error::ForeignDevice { tensor: name.to_owned() }),
        }
    }

    pub(crate) fn expect_dtype(&self, name: &str, expected: &[DType]) -> Result<()> {
        match expected.contains(&self.dtype) {
            true => Ok(()),
            false => Err(Error::DType { tensor: name.to_owned(), expected: expected.to_vec(), found: self.dtype }),
        }
    }

    pub(crate) fn expect_shape(&self, name: &str, expected: &[usize]) -> Result<()> {
        match self.shape == expected {
            true => Ok(()),
            false => Err(Error::Shape { tensor: name.to_owned(), expected: expected.to_vec(), found: self.shape.clone() }),
        }
    }

    pub(crate) fn expect_usage(&self, name: &str, usage: BufferUsages) -> Result<()> {
        let missing = usage.difference(self.buffer.usage());
        match missing.is_empty() {
            true => Ok(()),
            false => Err(Error::BufferUsage { tensor: name.to_owned(), missing }),
        }
    }

    pub(crate) fn expect_apart(&self, name: &str, other: &Tensor, other_name: &str) -> Result<()> {
        match self.overlaps(other) {
            true => Err(Error::Overlap { first: name.to_owned(), second: other_name.to_owned() }),
            false => Ok(()),
        }
    }

    fn describe(&self) -> String {
        format!("{}{:?}", self.dtype, self.shape)
    }
}

/// `None` if the size is not a number of 64 bits.
fn checked_bytes(shape: &[usize], dtype: DType) -> Option<u64> {
    // an axis of 0 makes the whole empty, whatever the others are
    if shape.contains(&0) {
        return Some(0);
    }
    let elements = shape.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis))?;
    // buffers are padded to a multiple of four
    (elements as u64).checked_mul(dtype.size()).filter(|bytes| bytes.checked_next_multiple_of(4).is_some())
}
