//! The kernels of rows by number, and of their sums by number.

use super::quotient::Divisor;
use super::template::{Operand, Template};
use crate::gpu::MAX_WORKGROUPS;
use crate::shaders;
use crate::shaders::layout::{GatherConstants, ScatterConstants};

/// A table `[rows, width]`, and how many numbers of rows there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub rows: u32,
    pub width: u32,
    pub count: u32,
}

/// `[count, width]` from the table, operand `a`, and the numbers, operand `indices`.
pub(crate) fn gather(_cpu: bool, r: &Rows, table: &Operand, indices: &Operand) -> Template {
    let Divisor { multiplier, shift } = Divisor::new(r.width);
    let elements = r.count * r.width;
    let constants = GatherConstants {
        elements,
        rows: r.rows,
        width: r.width,
        multiplier,
        shift,
        a: table.offset,
        indices: indices.offset,
        nan: f32::NAN.to_bits(),
    };
    let vec4 = table.vec4 && table.offset.is_multiple_of(4) && r.width.is_multiple_of(4);
    Template {
        source: &shaders::graph::GATHER,
        defines: if vec4 { vec!["VEC4"] } else { Vec::new() },
        overrides: Vec::new(),
        uniform: bytemuck::bytes_of(&constants).to_vec(),
        workgroups: elements.div_ceil(512).min(MAX_WORKGROUPS),
        parts: 1,
    }
}

// as in scatter_add.wgsl
const LANES: u32 = 64;
const ROWS: u32 = 32;
const CHUNK: u32 = 2048;

/// `[rows, width]`, the sums by number of y, `[count, width]`, operand `a`; the numbers are operand `indices`.
///
/// Each workgroup looks at all numbers of its part, for 32 rows and up to 64 columns. Parts where that makes
/// work for the device without costing more than a quarter of what it takes to read y, and where an invocation
/// would take too many rounds.
pub(crate) fn scatter_add(cpu: bool, r: &Rows, y: &Operand, indices: &Operand) -> Template {
    let columns = r.width.min(LANES).next_power_of_two();
    let blocks = r.rows.div_ceil(ROWS) * r.width.div_ceil(columns);
    let chunks = r.count.div_ceil(CHUNK);
    let wanted = if cpu { 8 } else { 1024 } / blocks;
    let cheap = r.count / r.rows / 4;
    let mut parts = wanted.min(cheap).clamp(1, chunks);
    while rounds(blocks, chunks.div_ceil(parts), parts) > 60_000 && parts < chunks {
        parts = (2 * parts).min(chunks);
    }
    // in whole chunks, and no part is empty
    let span = chunks.div_ceil(parts);
    let parts = chunks.div_ceil(span);
    let constants = ScatterConstants {
        rows: r.rows,
        width: r.width,
        count: r.count,
        columns,
        parts,
        span: span * CHUNK,
        a: y.offset,
        indices: indices.offset,
    };
    Template {
        source: &shaders::graph::SCATTER_ADD,
        defines: Vec::new(),
        overrides: Vec::new(),
        uniform: bytemuck::bytes_of(&constants).to_vec(),
        workgroups: (u64::from(blocks) * u64::from(parts)).min(MAX_WORKGROUPS.into()) as u32,
        parts,
    }
}

/// A bound on the rounds that an invocation takes over all its loops, with `chunks` chunks a part. The last
/// term is of the rows that it adds: one belongs to one block, and is added once by an invocation's workgroup
/// for each of the parts it strides over.
fn rounds(blocks: u32, chunks: u32, parts: u32) -> u64 {
    let passes = (u64::from(blocks) * u64::from(parts)).div_ceil(MAX_WORKGROUPS.into());
    let chunks = u64::from(chunks);
    let strides_over = passes.min(parts.into());
    passes * (200 + 100 * chunks) + strides_over * chunks * (u64::from(CHUNK) + 64)
}
