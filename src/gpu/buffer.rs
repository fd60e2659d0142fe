//! Buffers of the crate's own.

use wgpu::BufferUsages;

use super::Gpu;
use crate::{Error, Result};

impl Gpu {
    /// A zeroed buffer of at least `bytes` bytes (at least four, and a multiple of four). Memory
    /// that cannot be had is an error, not a lost device.
    pub(crate) fn buffer(&self, label: &str, bytes: u64, usage: BufferUsages) -> Result<wgpu::Buffer> {
        let size = padded(bytes);
        let limit = self.limits().max_buffer_size;
        if size > limit {
            return Err(Error::LimitTooSmall { limit: "max_buffer_size", what: label.to_owned(), needed: size, found: limit });
        }
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        let (buffer, error) = self.scoped(&[wgpu::ErrorFilter::OutOfMemory], || self.device().create_buffer(&descriptor));
        match error {
            Some(_) => Err(Error::OutOfMemory { what: label.to_owned(), bytes: size }),
            None => Ok(buffer),
        }
    }

    /// A buffer that holds `data`, padded with zeros to a multiple of four bytes.
    pub(crate) fn buffer_with(&self, label: &str, data: &[u8], usage: BufferUsages) -> Result<wgpu::Buffer> {
        let buffer = self.buffer(label, data.len() as u64, usage | BufferUsages::COPY_DST)?;
        self.write(&buffer, 0, data)?;
        Ok(buffer)
    }

    /// A buffer to copy `data` from, written now rather than in the order of submissions.
    pub(crate) fn staging(&self, label: &str, data: &[u8]) -> Result<wgpu::Buffer> {
        let descriptor = wgpu::BufferDescriptor {
            label: Some(label),
            size: padded(data.len() as u64),
            usage: BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        };
        let (buffer, error) = self.scoped(&[wgpu::ErrorFilter::OutOfMemory], || self.device().create_buffer(&descriptor));
        let lost = |reason: String| Error::DeviceLost { reason };
        match error {
            Some(_) => Err(Error::OutOfMemory { what: label.to_owned(), bytes: descriptor.size }),
            None => {
                let mut view = buffer.slice(..).get_mapped_range_mut().map_err(|error| lost(error.to_string()))?;
                view.slice(..data.len()).copy_from_slice(data);
                drop(view);
                buffer.unmap();
                Ok(buffer)
            }
        }
    }

    /// Writes `data` at a multiple of four bytes, padded with zeros to a multiple of four. It takes
    /// effect before the next submission.
    pub(crate) fn write(&self, buffer: &wgpu::Buffer, offset: u64, data: &[u8]) -> Result<()> {
        let whole = data.len() / 4 * 4;
        let ((), error) = self.scoped(&[wgpu::ErrorFilter::Validation], || {
            self.queue().write_buffer(buffer, offset, &data[..whole]);
            if whole < data.len() {
                let mut last = [0; 4];
                last[..data.len() - whole].copy_from_slice(&data[whole..]);
                self.queue().write_buffer(buffer, offset + whole as u64, &last);
            }
        });
        match error {
            Some(error) => Err(self.refused(&error)),
            None => Ok(()),
        }
    }
}

/// The size of a buffer for `bytes` bytes: wgpu copies multiples of four, and binds no empty buffer.
pub(crate) fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(4).max(4)
}
