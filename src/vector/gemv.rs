//! Products of a matrix and a vector.

use std::ops::Range;

use wgpu::BufferUsages;

use super::copy;
use crate::gpu::work::{SUM_RUNS, looped, summed};
use crate::gpu::{Bind, DType, Gpu, Recording, Tensor, Work, binding_alignment};
use crate::shaders::layout::{GemvConstants, GemvTransposedConstants};
use crate::{Error, Result, shaders};

/// The cells of an invocation of the transposed product on a software driver.
const PART: u32 = 16;

/// `y = alpha·A x + beta·y` for `a` `[rows, columns]` of f32, row-major, `x` `[columns]` and `y` `[rows]`. Where
/// `beta` is 0, `y` is not read. Sums are in f32, on a tree whose shape depends on the shape of `a` alone; beyond 3.4e38
/// they are infinite, and products below 1.2e-38 may count as 0. Without columns `y = beta·y`.
///
/// It reads `a` once. Fastest where `a` and `x` begin at multiples of 16 bytes and `columns` is a multiple of four.
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`] or [`Error::Overlap`] if `x` or `y` does not match `a`, one is not of
/// f32, or `y` overlaps an operand.
pub fn gemv(gpu: &Gpu, recording: &mut Recording, alpha: f64, a: &Tensor, x: &Tensor, beta: f64, y: &Tensor) -> Result<()> {
    let [rows, columns] = matrix(a)?;
    operands(gpu, a, x, columns, y, rows)?;
    if a.is_empty() {
        return empty_sum(gpu, recording, beta, y);
    }
    Rows { matrix: a, rows, columns, stride: columns, active: None }.product(gpu, recording, alpha, x, beta, y)
}

/// `y = alpha·Aᵀx + beta·y` for `a` `[rows, columns]` of f32, row-major, `x` `[rows]` and `y` `[columns]`. Where
/// `beta` is 0, `y` is not read. Sums are in f32, in blocks whose sizes depend on the shape of `a` alone.
///
/// It reads `a` once.
///
/// # Errors
/// As [`gemv`].
pub fn gemv_transposed(gpu: &Gpu, recording: &mut Recording, alpha: f64, a: &Tensor, x: &Tensor, beta: f64, y: &Tensor) -> Result<()> {
    let [rows, columns] = matrix(a)?;
    operands(gpu, a, x, rows, y, columns)?;
    if a.is_empty() {
        return empty_sum(gpu, recording, beta, y);
    }
    Rows { matrix: a, rows, columns, stride: columns, active: None }.combination(gpu, recording, alpha, x, beta, y)
}

/// `y = beta·y`
fn empty_sum(gpu: &Gpu, recording: &mut Recording, beta: f64, y: &Tensor) -> Result<()> {
    match beta == 0.0 {
        true => super::fill(gpu, recording, 0.0, y),
        false => super::scale(gpu, recording, beta, y),
    }
}

fn matrix(a: &Tensor) -> Result<[usize; 2]> {
    a.expect_dtype("a", &[DType::F32])?;
    match *a.shape() {
        [rows, columns] => Ok([rows, columns]),
        _ => Err(Error::Shape {
            tensor: "a".into(),
            expected: vec![a.shape().first().map_or(1, |&rows| rows), 1],
            found: a.shape().to_vec(),
        }),
    }
}

fn operands(gpu: &Gpu, a: &Tensor, x: &Tensor, x_len: usize, y: &Tensor, y_len: usize) -> Result<()> {
    a.expect_on("a", gpu)?;
    for (name, tensor, len) in [("x", x, x_len), ("y", y, y_len)] {
        tensor.expect_on(name, gpu)?;
        tensor.expect_dtype(name, &[DType::F32])?;
        tensor.expect_shape(name, &[len])?;
    }
    a.expect_apart("a", y, "y")?;
    x.expect_apart("x", y, "y")
}

/// The rows of a matrix, of which there is one at least, and which need not follow upon each other, or the first of them.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// What holds it; its shape does not matter.
    pub matrix: &'a Tensor,
    pub rows: usize,
    pub columns: usize,
    /// From row to row, in elements.
    pub stride: usize,
    /// A buffer whose first word is the number of rows that take part.
    pub active: Option<&'a wgpu::Buffer>,
}

/// A part of a matrix that a binding can hold: rows, and cells of each.
pub(crate) struct Tile {
    pub rows: Range<u64>,
    pub cells: Range<u64>,
}

/// Cuts a matrix of `rows` rows of `cells` cells, which lie `stride` cells apart, into tiles that span no
/// more than `limit` cells, each of `most` rows at most: of a multiple of four rows, or of fewer than four, or of all.
pub(crate) fn tiles(rows: u64, cells: u64, stride: u64, limit: u64, most: u64) -> Vec<Tile> {
    let fit = match cells <= limit {
        // the last row needs no stride
        true => ((limit - cells) / stride.max(1) + 1).min(most),
        false => 1,
    };
    let together = match fit {
        fit if fit >= rows => rows,
        0..4 => fit,
        fit => fit / 4 * 4,
    };
    let (together, width) = (together.max(1), cells.min(limit).max(1));
    let mut tiles = Vec::new();
    for first in (0..rows).step_by(together as usize) {
        for start in (0..cells).step_by(width as usize) {
            tiles.push(Tile { rows: first..(first + together).min(rows), cells: start..(start + width).min(cells) });
        }
    }
    tiles
}

/// Whether a binding holds no four rows.
fn few(tile: &Tile) -> bool {
    tile.rows.end - tile.rows.start < 4
}

/// The layout of `a`, and of a vector along its rows, as the kernels load them.
struct Cells {
    /// Elements of a cell: four where all begin at multiples of 16 bytes, else one.
    size: u64,
    /// Of a row, and from row to row.
    count: u64,
    stride: u64,
    /// What a binding holds.
    limit: u64,
}

impl<'a> Rows<'a> {
    /// Rows of the crate's own may lie a multiple of four elements apart: then their last cells, and those of
    /// the vector, are padded with zeros.
    fn cells(&self, gpu: &Gpu, vector: &Tensor) -> Cells {
        let padded = self.columns.next_multiple_of(4);
        let room = vector.offset() + 4 * padded as u64 <= vector.buffer().size();
        let aligned = self.matrix.offset().is_multiple_of(16) && vector.offset().is_multiple_of(16);
        let size = if self.stride == padded && room && aligned { 4 } else { 1 };
        // a part of a row is found at its own offset, before which a binding has up to that of a binding
        let alignment = binding_alignment(gpu);
        let places = [self.matrix.offset(), vector.offset(), 4 * self.stride as u64];
        let whole = gpu.binding_limit() / alignment * alignment;
        let bytes = if places.iter().all(|place| place.is_multiple_of(alignment)) { whole } else { whole - alignment };
        Cells { size, count: (self.columns as u64).div_ceil(size), stride: self.stride as u64 / size, limit: bytes / 4 / size }
    }

    /// The bytes of a tile in the matrix's buffer.
    fn bytes(&self, cells: &Cells, tile: &Tile) -> Range<u64> {
        let at = |row: u64, cell: u64| self.matrix.offset() + (row * cells.stride + cell) * cells.size * 4;
        at(tile.rows.start, tile.cells.start)..at(tile.rows.end - 1, tile.cells.end)
    }

    /// `y = alpha·A x + beta·y`, of the first elements of `y` that are active.
    pub fn product(&self, gpu: &Gpu, recording: &mut Recording, alpha: f64, x: &Tensor, beta: f64, y: &Tensor) -> Result<()> {
        let cells = self.cells(gpu, x);
        let sequential = gpu.target().is_software();
        let (lanes, block) = match sequential {
            // of so many rows a binding would not hold eight sums each
            true if cells.count <= 2048 && self.rows as u64 > gpu.binding_limit() / 32 => (1, 2048),
            // no more than 16,384 sums a row, over which an invocation loops
            true => (8, (cells.count / 2048).next_multiple_of(8).max(2048)),
            false => gpu.target().block_of_rows(self.rows as u64, cells.count),
        };
        let tiles = tiles(self.rows as u64, cells.count, cells.stride, cells.limit, u64::from(u32::MAX));
        let height = match &tiles[..] {
            [first, ..] if few(first) && first.rows.end < self.rows as u64 => first.rows.end,
            _ => 4,
        };
        let sums = |tile: &Tile| (tile.cells.end - tile.cells.start).div_ceil(block) * if sequential { lanes } else { 1 };
        let partials: u64 = tiles.iter().take_while(|tile| tile.rows.start == 0).map(sums).sum();
        let bytes = (self.rows as u64).div_ceil(height) * partials * 16;
        let buffer = gpu.buffer("gradus.vector.partials", bytes, BufferUsages::STORAGE)?;

        let mut defines = vec!["PARTIAL"];
        defines.extend((cells.size == 1).then_some("SCALAR"));
        defines.extend(sequential.then_some("PARTIAL_SUMS"));
        defines.extend(self.active.map(|_| "ACTIVE"));
        let kernel = gpu.kernel(&shaders::vector::GEMV, &defines, &[("LANES", lanes as u32)])?;
        let mut before = 0;
        for tile in &tiles {
            if tile.cells.start == 0 {
                before = 0;
            }
            let span = tile.cells.start * cells.size * 4..tile.cells.end * cells.size * 4;
            let (bind_a, before_a) = Bind::range(gpu, "a", self.matrix, self.bytes(&cells, tile));
            let (bind_x, before_x) = Bind::range(gpu, "x", x, x.offset() + span.start..x.offset() + span.end);
            let rows = tile.rows.end - tile.rows.start;
            let blocks = (tile.cells.end - tile.cells.start).div_ceil(block);
            let constants = GemvConstants {
                a: (before_a / 4 / cells.size) as u32,
                x: (before_x / 4 / cells.size) as u32,
                rows: rows as u32,
                first: tile.rows.start as u32,
                height: height as u32,
                cells: (tile.cells.end - tile.cells.start) as u32,
                stride: cells.stride as u32,
                block: block as u32,
                blocks: blocks as u32,
                before: before as u32,
                partials: partials as u32,
                ..Default::default()
            };
            before += sums(tile);
            let work = Work::strided((rows.div_ceil(4) * blocks).div_ceil(256 / lanes), summed(block.div_ceil(lanes)) + SUM_RUNS);
            let mut bindings = vec![bind_a, bind_x, Bind::whole("partials", &buffer)];
            bindings.extend(self.active.map(|active| Bind::whole("active_rows", active)));
            recording.dispatch_with(gpu, &kernel, work, &constants, bindings)?;
        }

        // few sums need no workgroup
        let alone = sequential || partials <= 8;
        let mut defines = vec!["FINISH"];
        defines.extend(alone.then_some("SEQUENTIAL"));
        defines.extend(self.active.map(|_| "ACTIVE"));
        let kernel = gpu.kernel(&shaders::vector::GEMV, &defines, &[])?;
        let (bind_y, before_y) = Bind::tensor(gpu, "y", y);
        let constants = GemvConstants {
            y: (before_y / 4) as u32,
            rows: self.rows as u32,
            height: height as u32,
            partials: partials as u32,
            alpha: alpha as f32,
            beta: beta as f32,
            ..Default::default()
        };
        let tiles = (self.rows as u64).div_ceil(height);
        let store = looped(4, 0);
        let work = match alone {
            true => Work::strided(tiles.div_ceil(256), summed(partials) + store),
            false => Work::strided(tiles, summed(partials.div_ceil(256)) + SUM_RUNS + store),
        };
        let mut bindings = vec![bind_y, Bind::whole("partials", &buffer)];
        bindings.extend(self.active.map(|active| Bind::whole("active_rows", active)));
        recording.dispatch_with(gpu, &kernel, work, &constants, bindings)
    }

    /// `y = alpha·Aᵀx + beta·y`, of the first rows that are active; nothing if none is.
    pub fn combination(&self, gpu: &Gpu, recording: &mut Recording, alpha: f64, x: &Tensor, beta: f64, y: &Tensor) -> Result<()> {
        self.combine(gpu, recording, alpha, Some(x), beta, y)
    }

    /// [`Rows::combination`]; without x, the sum of the rows. More than one part leaves the rows of a matrix, which are added
    /// up in the same way.
    fn combine(&self, gpu: &Gpu, recording: &mut Recording, alpha: f64, x: Option<&Tensor>, beta: f64, y: &Tensor) -> Result<()> {
        let tiles_of = |cells: &Cells| tiles(self.rows as u64, cells.count, cells.stride, cells.limit, u64::MAX);
        let parts = |cells: &Cells, tiles: &[Tile]| {
            let (_, height) = gpu.target().slices_of_columns(self.rows as u64, cells.count);
            let parts_of = |tile: &Tile| (tile.rows.end - tile.rows.start).div_ceil(height);
            tiles.iter().filter(|tile| tile.cells.start == 0).map(parts_of).sum::<u64>()
        };
        let direct = self.cells(gpu, y);
        if parts(&direct, &tiles_of(&direct)) == 1 {
            return self.parts(gpu, recording, &direct, &tiles_of(&direct), alpha, x, beta, y, 0);
        }
        if tiles_of(&direct).first().is_some_and(few) {
            // parts would be nearly as many as rows: each is added to y
            for tile in tiles_of(&direct) {
                let beta = if tile.rows.start == 0 { beta } else { 1.0 };
                self.parts(gpu, recording, &direct, &[tile], alpha, x, beta, y, 0)?;
            }
            return Ok(());
        }
        let padded = self.columns.next_multiple_of(4);
        // the partial sums begin and end with cells, so that the cells are those of A
        let some = |rows: u64| Tensor::zeros(gpu, &[rows as usize, padded], DType::F32);
        let cells = self.cells(gpu, &some(1)?);
        let tiles = tiles_of(&cells);
        let all = parts(&cells, &tiles);
        let sums = some(all)?;
        self.parts(gpu, recording, &cells, &tiles, 1.0, x, 0.0, &sums, padded as u64)?;
        let rows = Rows { matrix: &sums, rows: all as usize, columns: self.columns, stride: padded, active: None };
        rows.combine(gpu, recording, alpha, None, beta, y)
    }

    /// The sums of parts of rows, which lie `jump` elements apart.
    #[expect(clippy::too_many_arguments, reason = "a product, and how it is cut")]
    fn parts(
        &self,
        gpu: &Gpu,
        recording: &mut Recording,
        cells: &Cells,
        tiles: &[Tile],
        alpha: f64,
        x: Option<&Tensor>,
        beta: f64,
        y: &Tensor,
        jump: u64,
    ) -> Result<()> {
        if y.shares_buffer(self.matrix) || x.is_some_and(|x| y.shares_buffer(x)) {
            // whole cells, and y before, of which products with no active rows leave what it was
            let cells_of_y = Tensor::zeros(gpu, &[(cells.count * cells.size) as usize], DType::F32)?;
            let aside = cells_of_y.within(0, y.shape(), DType::F32)?;
            copy(gpu, recording, y, &aside)?;
            self.parts(gpu, recording, cells, tiles, alpha, x, beta, &cells_of_y, jump)?;
            return copy(gpu, recording, &aside, y);
        }
        let (slices, height) = gpu.target().slices_of_columns(self.rows as u64, cells.count);
        let sequential = gpu.target().is_software();
        let mut defines = Vec::new();
        defines.extend((cells.size == 1).then_some("SCALAR"));
        defines.extend(sequential.then_some("SEQUENTIAL"));
        defines.extend(x.is_none().then_some("ONES"));
        defines.extend(self.active.map(|_| "ACTIVE"));
        let overrides = if sequential { vec![] } else { vec![("SLICES", slices as u32)] };
        let kernel = gpu.kernel(&shaders::vector::GEMV_TRANSPOSED, &defines, &overrides)?;
        let mut before = 0;
        for tile in tiles {
            let parts = (tile.rows.end - tile.rows.start).div_ceil(height);
            let first = before * jump * 4 + tile.cells.start * cells.size * 4;
            let last = (before + parts - 1) * jump * 4 + tile.cells.end * cells.size * 4;
            let (bind_a, before_a) = Bind::range(gpu, "a", self.matrix, self.bytes(cells, tile));
            let (bind_y, before_y) = Bind::range(gpu, "y", y, y.offset() + first..y.offset() + last);
            let mut bindings = vec![bind_a, bind_y];
            let mut before_x = 0;
            if let Some(x) = x {
                let part = x.offset() + 4 * tile.rows.start..x.offset() + 4 * tile.rows.end;
                let (bind_x, before) = Bind::range(gpu, "x", x, part);
                bindings.push(bind_x);
                before_x = before;
            }
            let count = tile.cells.end - tile.cells.start;
            let constants = GemvTransposedConstants {
                a: (before_a / 4 / cells.size) as u32,
                x: (before_x / 4) as u32,
                y: (before_y / 4 / cells.size) as u32,
                rows: (tile.rows.end - tile.rows.start) as u32,
                first: tile.rows.start as u32,
                cells: count as u32,
                stride: cells.stride as u32,
                part: PART,
                height: height as u32,
                parts: parts as u32,
                jump: (jump / cells.size) as u32,
                alpha: alpha as f32,
                beta: beta as f32,
            };
            let own = height.min(tile.rows.end - tile.rows.start);
            let work = match sequential {
                true => {
                    let part = u64::from(PART);
                    let rounds = looped(own.div_ceil(16), looped(part, looped(4, 0))) + looped(part, 0);
                    Work::strided((count.div_ceil(8 * part) * parts).div_ceil(32), rounds)
                }
                false => Work::strided(count.div_ceil(256 / slices) * parts, summed(own.div_ceil(4 * slices)) + looped(8, 0)),
            };
            bindings.extend(self.active.map(|active| Bind::whole("active_rows", active)));
            recording.dispatch_with(gpu, &kernel, work, &constants, bindings)?;
            if tile.cells.end == cells.count {
                before += parts;
            }
        }
        Ok(())
    }
}
