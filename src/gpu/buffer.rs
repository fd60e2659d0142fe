//! Buffers of the crate's own.

use std::sync::PoisonError;

use wgpu::BufferUsages;

use super::Gpu;
use crate::{Error, Result};

/// The bytes of a buffer of uniform blocks: what Direct3D 12 takes for the smallest one.
const ARENA: u64 = 1 << 16;

/// A uniform block, in a buffer that holds many.
pub(crate) struct Uniform {
    pub buffer: wgpu::Buffer,
    pub offset: u64,
    pub size: u64,
}

/// Where uniform blocks go: the buffer begun last, and how many bytes of it are taken.
pub(crate) struct Arena {
    buffer: wgpu::Buffer,
    taken: u64,
}

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

    /// Uniform blocks that hold `blocks`, uploaded as one. They take effect before the next submission and are never written
    /// again, so that they may be bound at once and for as long as a bind group lives. A buffer of many goes with the last
    /// bind group of it.
    pub(crate) fn uniforms<const N: usize>(&self, blocks: [&[u8]; N]) -> Result<[Uniform; N]> {
        let alignment = u64::from(self.limits().min_uniform_buffer_offset_alignment).max(256);
        let mut data: Vec<u8> = Vec::new();
        let places = blocks.map(|block| {
            data.resize(data.len().next_multiple_of(alignment as usize), 0);
            data.extend(block);
            data.len() - block.len()
        });
        let (buffer, start) = self.arena((data.len() as u64).next_multiple_of(alignment))?;
        self.write(&buffer, start, &data)?;
        let mut places = places.into_iter();
        Ok(blocks.map(|block| Uniform {
            buffer: buffer.clone(),
            offset: start + places.next().unwrap_or_default() as u64,
            size: padded(block.len() as u64),
        }))
    }

    /// So many bytes that nobody else gets, and where they begin.
    fn arena(&self, bytes: u64) -> Result<(wgpu::Buffer, u64)> {
        // a panic elsewhere leaves it whole: an assignment is its only change
        let mut arena = self.inner.uniforms.lock().unwrap_or_else(PoisonError::into_inner);
        let (buffer, start) = match &*arena {
            Some(Arena { buffer, taken }) if taken + bytes <= buffer.size() => (buffer.clone(), *taken),
            _ => (self.buffer("gradus.uniforms", ARENA.max(bytes), BufferUsages::UNIFORM | BufferUsages::COPY_DST)?, 0),
        };
        *arena = Some(Arena { buffer: buffer.clone(), taken: start + bytes });
        Ok((buffer, start))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_blocks_share_buffers() {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let gpu = Gpu::new(&device, &queue).unwrap();
        let mut found: Vec<(wgpu::Buffer, Vec<(u64, u64)>)> = Vec::new();
        for i in 0..1000 {
            let blocks = gpu.uniforms([&vec![1; 4 + 16 * (i % 33)][..], &[2; 48]]).unwrap();
            for Uniform { buffer, offset, size } in blocks {
                assert!(offset.is_multiple_of(256) && offset + size <= buffer.size(), "{offset} {size}");
                if found.last().is_none_or(|(last, _)| *last != buffer) {
                    found.push((buffer, Vec::new()));
                }
                found.last_mut().unwrap().1.push((offset, offset + size));
            }
        }
        // two blocks take 512 or 768 bytes of 65,536
        assert!(found.len() <= 12, "{}", found.len());
        for (_, ranges) in &mut found {
            ranges.sort_unstable();
            assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        }
        // no block is too large for the arena
        let [large] = gpu.uniforms([&vec![3; 100_000]]).unwrap();
        assert_eq!((large.offset, large.size), (0, 100_000));
    }
}
