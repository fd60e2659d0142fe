//! How the depth of products is cut: of matrices, and of convolutions as such.

use crate::gpu::Work;
use crate::gpu::work::{MAX_ROUNDS, looped};

/// The terms of a part at most: as many as `shaders/shared/tile_sums.wgsl` adds up with little error.
const MOST: u32 = 1 << 15;

/// Whether a sum of so many terms is added in blocks (DEEP in the templates), not in order: in order, 512 terms of one sign are off
/// by about 1e-6 at most. The kernel without blocks is the smaller one.
pub(super) fn deep(terms: u32, products: usize) -> Option<&'static str> {
    (u64::from(terms) * products as u64 > IN_ORDER).then_some("DEEP")
}

/// The most terms that are added in order.
const IN_ORDER: u64 = 512;

/// Tiles in parts of the depth.
pub(super) struct Cut {
    /// In all parts.
    pub tiles: u64,
    pub parts: u32,
    /// The terms of a part, a multiple of four.
    pub part: u32,
    /// Of a tile's loops.
    pub rounds: u64,
}

/// Long sums of few elements are cut, so that there is work for a device; sums of many terms, so that loops end and errors
/// stay small.
pub(super) fn cut(tiles: u64, depth: u32, products: usize) -> Cut {
    let mut parts = (256 / tiles.max(1)).min(u64::from(depth / 512)).max(depth.div_ceil(MOST).into()).max(1) as u32;
    loop {
        let part = depth.div_ceil(parts).next_multiple_of(4).max(4);
        let own = depth.div_ceil(part).max(1);
        let cut =
            Cut { tiles: tiles * u64::from(own), parts: own, part, rounds: products as u64 * added(part.div_ceil(4).into()) + STORED };
        if part == 4 || Work::in_rows(cut.tiles, cut.rounds).rounds <= MAX_ROUNDS {
            return cut;
        }
        parts = parts.saturating_mul(2).min(depth);
    }
}

/// The rounds of a sum of so many rounds of four terms, in blocks of 16.
fn added(rounds: u64) -> u64 {
    let blocks = rounds.div_ceil(16);
    rounds + looped(blocks, 1) + (blocks / 16 + 1) * looped(8, 0)
}

/// Those that store a tile of 16 rows by 8 columns, its last block added before.
const STORED: u64 = 9 + 16 * (2 * (4 + 2) + 2) + 1;
