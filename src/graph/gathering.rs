//! The kernels of rows by number, and of their sums by number.

use super::quotient::Divisor;
use super::template::{Operand, Template};
use crate::gpu::work::{MAX_ROUNDS, looped};
use crate::gpu::{MAX_WORKGROUPS, Target, Work};
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
pub(crate) fn gather(r: &Rows, table: &Operand, indices: &Operand) -> Template {
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
        operands: &["a", "indices"],
        uniform: bytemuck::bytes_of(&constants).to_vec(),
        work: Work::strided(elements.div_ceil(512).into(), 0),
        parts: 1,
    }
}

/// The indices of a part are a multiple of them.
const CHUNK: u32 = 2048;

/// How the invocations of `scatter_add.wgsl` share the work.
struct Sharing {
    /// The rows and columns of a block.
    rows: u32,
    columns: u32,
    /// Blocks that a workgroup has at a time.
    at_once: u32,
    /// The rounds of loops that an invocation takes for a block, besides those for its indices, and for a chunk of
    /// indices: looking at them, and adding those of the block.
    block: u64,
    looking: u64,
    adding: u64,
}

/// `[rows, width]`, the sums by number of y, `[count, width]`, operand `a`; the numbers are operand `indices`.
///
/// All numbers are looked at once for each block of the result. Parts where that makes work for the device
/// without costing more than a quarter of what it takes to read y, and where an invocation would take too many
/// rounds; too many to be stored where rows times numbers are beyond 2^42.
pub(crate) fn scatter_add(target: &Target, r: &Rows, y: &Operand, indices: &Operand) -> Template {
    let sharing = Sharing::new(target, r);
    let blocks = sharing.blocks(r);
    let chunks = r.count.div_ceil(CHUNK);
    let wanted = target.scattering() / blocks;
    let cheap = r.count / r.rows / 4;
    let mut parts = wanted.min(cheap).clamp(1, chunks);
    while sharing.work(r, chunks.div_ceil(parts), parts).rounds > MAX_ROUNDS && parts < chunks {
        parts = (2 * parts).min(chunks);
    }
    // in whole chunks, and no part is empty
    let span = chunks.div_ceil(parts);
    let parts = chunks.div_ceil(span);
    let constants = ScatterConstants {
        rows: r.rows,
        width: r.width,
        count: r.count,
        columns: sharing.columns,
        parts,
        span: span * CHUNK,
        a: y.offset,
        indices: indices.offset,
        zero: 0,
    };
    Template {
        source: &shaders::graph::SCATTER_ADD,
        defines: target.is_software().then_some("SEQUENTIAL").into_iter().collect(),
        overrides: Vec::new(),
        operands: &["a", "indices"],
        uniform: bytemuck::bytes_of(&constants).to_vec(),
        work: sharing.work(r, span, parts),
        parts,
    }
}

impl Sharing {
    fn new(target: &Target, r: &Rows) -> Self {
        let chunk = u64::from(CHUNK);
        match target.is_software() {
            true => Self { rows: 64, columns: 4, at_once: 8, block: 2 * looped(64, 0) + 2, looking: chunk / 4, adding: 0 },
            false => {
                Self { rows: 31, columns: r.width.min(64).next_power_of_two(), at_once: 1, block: 200, looking: 100, adding: chunk + 64 }
            }
        }
    }

    fn blocks(&self, r: &Rows) -> u32 {
        r.rows.div_ceil(self.rows) * r.width.div_ceil(self.columns)
    }

    fn workgroups(&self, blocks: u32, parts: u32) -> u64 {
        (u64::from(blocks) * u64::from(parts)).div_ceil(self.at_once.into())
    }

    /// A bound on the rounds that an invocation takes over all its loops, with `chunks` chunks a part. Of the blocks
    /// of one part, only those of the same rows add the same indices.
    fn work(&self, r: &Rows, chunks: u32, parts: u32) -> Work {
        let workgroups = self.workgroups(self.blocks(r), parts).min(MAX_WORKGROUPS.into()).max(1);
        let blocks = self.workgroups(self.blocks(r), parts).div_ceil(workgroups);
        let adding = blocks.min(u64::from(parts) * u64::from(r.width.div_ceil(self.columns)));
        let rounds = looped(blocks, self.block + self.looking * u64::from(chunks)) + adding * self.adding * u64::from(chunks);
        Work { workgroups: workgroups as u32, rows: 1, rounds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Checks;
    use crate::graph::testing::{GARBAGE, Input, gpu, noise, run, summed, words};
    use crate::reference::gathering as reference;

    /// [rows, width, count]: single ones, widths on both sides of a cell, of a workgroup's columns and of two groups
    /// of them; rows and indices around a block, a word and a chunk; parts.
    const SHAPES: [[u32; 3]; 14] = [
        [1, 1, 1],
        [5, 3, 7],
        [10, 4, 9],
        [31, 1, 64],
        [32, 2, 65],
        [33, 64, 2049],
        [7, 65, 33],
        [3, 130, 5],
        [100, 12, 300],
        [1000, 8, 1],
        [40, 70, 5000],
        [1, 5, 4096],
        [2, 1, 70_001],
        [10, 3, 20_000],
    ];

    fn operand(offset: usize) -> Operand {
        Operand { offset: offset as u32, strides: Vec::new(), vec4: true, halves: false }
    }

    /// Some twice, some missing, some out of range.
    fn numbers(rows: u32, count: u32) -> Vec<u32> {
        let number = |n: u32| match n % 11 {
            10 if n.is_multiple_of(2) => u32::MAX - n,
            10 => rows + n % 3,
            _ => (n.wrapping_mul(2_654_435_761) >> 7) % rows,
        };
        (0..count).map(number).collect()
    }

    #[test]
    fn rows_by_number() {
        for [rows, width, count] in SHAPES {
            let r = Rows { rows, width, count };
            let (table, indices) = (noise((rows * width) as usize), numbers(rows, count));
            let wide: Vec<f64> = table.iter().map(|&x| x.into()).collect();
            let expected: Vec<f32> = reference::gather(&wide, width as usize, &indices).iter().map(|&y| y as f32).collect();
            for (checks, a, at) in [(Checks::Unchecked, 0, 0), (Checks::Checked, 4, 1), (Checks::Unchecked, 3, 6)] {
                let template = gather(&r, &operand(a), &operand(at));
                assert_eq!(template.defines.contains(&"VEC4"), width % 4 == 0 && a % 4 == 0);
                let inputs =
                    [Input { name: "a", words: &words(&table), offset: a }, Input { name: "indices", words: &indices, offset: at }];
                let found = run(gpu(checks), &template, &inputs, expected.len());
                for (i, (found, expected)) in found.iter().map(|&bits| f32::from_bits(bits)).zip(&expected).enumerate() {
                    let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
                    assert!(same, "{r:?} {checks:?}: element {i}: {found}, not {expected}");
                }
            }
        }
    }

    #[test]
    fn sums_by_number() {
        for [rows, width, count] in SHAPES {
            let r = Rows { rows, width, count };
            let indices = numbers(rows, count);
            // whole numbers: f32 adds them exactly in any order
            let y: Vec<f32> = noise((count * width) as usize).iter().map(|y| (8.0 * y).round()).collect();
            let wide: Vec<f64> = y.iter().map(|&y| y.into()).collect();
            let expected = reference::scatter_add(&wide, width as usize, &indices, rows as usize);
            let (software, discrete) = (Target::software(), Target::discrete());
            for (target, checks, offset) in
                [(&software, Checks::Unchecked, 0), (&discrete, Checks::Unchecked, 3), (&discrete, Checks::Checked, 1)]
            {
                let template = scatter_add(target, &r, &operand(offset), &operand(2 * offset));
                let inputs =
                    [Input { name: "a", words: &words(&y), offset }, Input { name: "indices", words: &indices, offset: 2 * offset }];
                let found = run(gpu(checks), &template, &inputs, expected.len());
                assert_eq!(summed(&found, expected.len()), expected, "{r:?} {target:?} {checks:?} {} parts", template.parts);
                // one workgroup goes through all blocks and parts
                let alone = run(gpu(checks), &Template { work: Work::alone(0), ..template }, &inputs, expected.len());
                assert_eq!(found, alone, "{r:?} {target:?} {checks:?}");
            }
        }
    }

    /// Of numbers that f32 rounds: near the sum, the same bits on every run, and adjoint to `gather`.
    #[test]
    fn adjoint_and_deterministic() {
        let r = Rows { rows: 50, width: 9, count: 6000 };
        let indices: Vec<u32> = numbers(r.rows, r.count).into_iter().map(|index| index.min(r.rows - 1)).collect();
        let (table, y) = (noise((r.rows * r.width) as usize), noise((r.count * r.width) as usize));
        let numbers = Input { name: "indices", words: &indices, offset: 0 };
        let bits = [words(&table), words(&y)];
        let [a, b] = bits.each_ref().map(|words| Input { name: "a", words, offset: 0 });
        let gathered = run(gpu(Checks::Unchecked), &gather(&r, &operand(0), &operand(0)), &[a, numbers], y.len());
        let template = scatter_add(&Target::discrete(), &r, &operand(0), &operand(0));
        assert!(template.parts > 1);
        let scattered = run(gpu(Checks::Unchecked), &template, &[b, numbers], table.len());
        assert_eq!(scattered, run(gpu(Checks::Unchecked), &template, &[b, numbers], table.len()));
        let dot = |a: &[f64], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| a * f64::from(b)).sum::<f64>();
        let (left, right) = (dot(&summed(&gathered, y.len()), &y), dot(&summed(&scattered, table.len()), &table));
        // 120 terms a sum, of magnitude below 1
        let bound = f64::from(r.count * r.width) * 120.0 * f64::from(f32::EPSILON) / 64.0;
        assert!((left - right).abs() < bound, "{left} {right} {bound}");
    }

    #[test]
    fn numbers_that_are_no_row() {
        let r = Rows { rows: 3, width: 2, count: 4 };
        let indices = [3, u32::MAX, 1 << 31, GARBAGE];
        let y = noise(8);
        let inputs = [Input { name: "a", words: &words(&y), offset: 0 }, Input { name: "indices", words: &indices, offset: 0 }];
        let found = run(gpu(Checks::Unchecked), &scatter_add(&Target::software(), &r, &operand(0), &operand(0)), &inputs, 6);
        assert_eq!(found, [0; 6]);
        let found = run(gpu(Checks::Unchecked), &gather(&r, &operand(0), &operand(0)), &inputs, 8);
        assert!(found.iter().all(|&bits| f32::from_bits(bits).is_nan()));
    }

    /// A software driver ends loops after 65,535 rounds; a part is not empty, and all indices are in one.
    #[test]
    fn large_sizes() {
        for [rows, width, count] in
            [[50_000, 512, 4096], [10, 1, 2_000_000], [10, 64, 2_000_000], [1, 1, 1 << 29], [1 << 20, 64, 1 << 16], [1 << 28, 1, 1 << 20]]
        {
            for target in [Target::discrete(), Target::software()] {
                let r = Rows { rows, width, count };
                let template = scatter_add(&target, &r, &operand(0), &operand(0));
                let constants: ScatterConstants = bytemuck::pod_read_unaligned(&template.uniform);
                let (parts, span) = (template.parts, constants.span);
                assert_eq!((constants.parts, span % CHUNK), (parts, 0));
                assert!(u64::from(parts) * u64::from(span) >= count.into() && u64::from(parts - 1) * u64::from(span) < count.into());
                let rounds = Sharing::new(&target, &r).work(&r, span / CHUNK, parts).rounds;
                // more work than invocations can do is cut into more parts than fit into memory
                let impossible = u64::from(rows) * u64::from(count) > 1 << 42;
                let bytes = 4 * u64::from(parts) * u64::from(rows) * u64::from(width);
                assert_eq!(rounds < 65_535, !impossible, "{rows} {width} {count}: {rounds} rounds, {parts} parts");
                assert!(!impossible || bytes > 1 << 36);
            }
        }
    }
}
