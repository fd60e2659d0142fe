use wgpu::BufferUsages;

use super::operator::{LinearOperator, expect_vectors};
use crate::gpu::work::{SUM_RUNS, summed};
use crate::gpu::{Bind, Gpu, Recording, Tensor, Work};
use crate::shaders::layout::CsrConstants;
use crate::{DType, Error, Result, shaders, vector};

/// The most entries that an invocation adds up.
const SEGMENT: u32 = 256;

/// A square sparse matrix in compressed rows: the entries of row `r` are those from `offsets[r]` to
/// `offsets[r + 1]`.
#[derive(Clone, Debug)]
pub struct Csr {
    gpu: Gpu,
    dim: usize,
    columns: wgpu::Buffer,
    values: wgpu::Buffer,
    /// Where each segment begins.
    segments: wgpu::Buffer,
    /// Where the segments of each row begin, and their sums, and how many the longest row has, if a row has more or
    /// fewer than one.
    rows: Option<(wgpu::Buffer, Tensor, u32)>,
}

impl Csr {
    /// Of `offsets.len() - 1` rows and as many columns. Columns need not be in order, and may repeat, in which
    /// case the values add up; rows may be empty. The slices are copied to the device. NaN and infinity among the values come out
    /// in the products; subnormal values may count as 0.
    ///
    /// # Errors
    /// [`Error::Length`] if `columns` and `values` differ in length, or in what `offsets` ends with, or there
    /// is no row; [`Error::Option`] if `offsets` does not begin with 0 or decreases, or a column is out of
    /// range; [`Error::LimitTooSmall`] or [`Error::OutOfMemory`] for a buffer.
    pub fn new(gpu: &Gpu, offsets: &[u32], columns: &[u32], values: &[f32]) -> Result<Self> {
        let invalid = |option: String, found: u32, expected: String| Err(Error::Option { option, found: found.to_string(), expected });
        let (&[first, _, ..], Some(&last)) = (offsets, offsets.last()) else {
            return Err(Error::Length { tensor: "offsets".into(), unit: "elements at least", expected: 2, found: offsets.len() });
        };
        if first != 0 {
            return invalid("offsets[0]".into(), first, "0".into());
        }
        if let Some(row) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
            return invalid(format!("offsets[{}]", row + 1), offsets[row + 1], format!("at least {}", offsets[row]));
        }
        for (name, found) in [("columns", columns.len()), ("values", values.len())] {
            if found != last as usize {
                return Err(Error::Length { tensor: name.into(), unit: "elements", expected: last as usize, found });
            }
        }
        let dim = offsets.len() - 1;
        if let Some(entry) = columns.iter().position(|&column| column as usize >= dim) {
            return invalid(format!("columns[{entry}]"), columns[entry], format!("less than {dim}"));
        }

        let mut segments = Vec::with_capacity(dim + 1);
        let mut rows = Vec::with_capacity(dim + 1);
        for pair in offsets.windows(2) {
            rows.push(segments.len() as u32);
            segments.extend((pair[0]..pair[1]).step_by(SEGMENT as usize));
        }
        rows.push(segments.len() as u32);
        segments.push(last);
        let upload = |label: &str, words: &[u8]| gpu.buffer_with(label, words, BufferUsages::STORAGE);
        let whole = rows.windows(2).all(|pair| pair[1] - pair[0] == 1);
        let rows = match whole {
            true => None,
            false => {
                let sums = Tensor::zeros(gpu, &[segments.len()], crate::DType::F32)?;
                let longest = rows.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
                Some((upload("gradus.csr.rows", bytemuck::cast_slice(&rows))?, sums, longest))
            }
        };
        Ok(Self {
            gpu: gpu.clone(),
            dim,
            columns: upload("gradus.csr.columns", bytemuck::cast_slice(columns))?,
            values: upload("gradus.csr.values", bytemuck::cast_slice(values))?,
            segments: upload("gradus.csr.segments", bytemuck::cast_slice(&segments))?,
            rows,
        })
    }
}

impl LinearOperator for Csr {
    fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn record(&self, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
        expect_vectors(x, y, self.dim)?;
        let sequential = self.gpu.target().is_software();
        let kernel = |gather: Option<&'static str>, lanes: u64| {
            let defines: Vec<&'static str> = gather.into_iter().chain(sequential.then_some("SEQUENTIAL")).collect();
            let overrides = if sequential { vec![] } else { vec![("LANES", lanes as u32)] };
            self.gpu.kernel(&shaders::krylov::CSR, &defines, &overrides)
        };
        let work = |count: usize, longest: u32, lanes: u64| {
            let together = if sequential { 64 } else { 256 / lanes };
            Work::strided((count as u64).div_ceil(together).max(1), summed(u64::from(longest).div_ceil(lanes)) + SUM_RUNS)
        };
        let count = (self.segments.size() / 4) as usize - 1;
        let target = self.rows.as_ref().map_or(y, |(_, sums, _)| sums);
        if x.shares_buffer(target) {
            let aside = Tensor::zeros(&self.gpu, y.shape(), DType::F32)?;
            self.record(recording, x, &aside)?;
            return vector::copy(&self.gpu, recording, &aside, y);
        }
        let (bind_x, before_x) = Bind::tensor(&self.gpu, "x", x);
        let (bind_y, before_y) = Bind::tensor(&self.gpu, "y", target);
        // of segments the average says how many are of use: the longest has 256 entries
        let lanes = self.gpu.target().lanes_of_sparse_row(self.values.size() / 4 / count.max(1) as u64);
        let own = kernel(None, lanes)?;
        let constants = CsrConstants { x: (before_x / 4) as u32, y: (before_y / 4) as u32, count: count as u32 };
        let bindings = vec![
            bind_x,
            bind_y,
            Bind::whole("offsets", &self.segments),
            Bind::whole("columns", &self.columns),
            Bind::whole("values", &self.values),
        ];
        recording.dispatch_with(&self.gpu, &own, work(count, SEGMENT, lanes), &constants, bindings)?;
        let Some((rows, sums, longest)) = &self.rows else { return Ok(()) };
        let (bind_y, before_y) = Bind::tensor(&self.gpu, "y", y);
        let lanes = self.gpu.target().lanes_of_sparse_row((*longest).into());
        let gather = kernel(Some("GATHER"), lanes)?;
        let constants = CsrConstants { x: 0, y: (before_y / 4) as u32, count: self.dim as u32 };
        let bindings = vec![bind_y, Bind::whole("offsets", rows), Bind::tensor(&self.gpu, "sums", sums).0];
        recording.dispatch_with(&self.gpu, &gather, work(self.dim, *longest, lanes), &constants, bindings)
    }
}
