//! The kernels of rows by number, and of their sums by number.

use super::quotient::Divisor;
use super::template::{Operand, Template};
use crate::gpu::work::{MAX_ROUNDS, looped};
use crate::gpu::{Bind, DType, Gpu, MAX_WORKGROUPS, Recording, Target, Tensor, Work};
use crate::shaders::layout::{GatherConstants, ScatterConstants, SortConstants};
use crate::{Result, shaders};

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

/// `[rows, width]`, the sums by number of y, `[count, width]`, operand `a`; the numbers are operand `indices`, or [`SORTED`] where
/// [`sort`] puts them in order.
///
/// Parts where that makes work for the device without costing more than a quarter of what it takes to read y, and where an
/// invocation would take too many rounds.
pub(crate) fn scatter_add(target: &Target, r: &Rows, y: &Operand, indices: &Operand) -> Template {
    if target.is_software() || u64::from(r.rows) + u64::from(r.count) > MOST_SORTED {
        return by_search(target, r, y, indices);
    }
    let elements = u64::from(r.rows) * u64::from(r.width);
    // the rounds of an invocation, the terms being of one row at worst
    let work = |slices: u64, parts: u64| {
        let (together, some) = (256 / slices, u64::from(r.count).div_ceil(parts).div_ceil(4 * slices));
        let jobs = elements.div_ceil(together) * parts;
        let workgroups = jobs.min(MAX_WORKGROUPS.into()).max(1);
        let turns = jobs.div_ceil(workgroups);
        // a row is in consecutive blocks of each part
        let busy = turns.min(parts * (u64::from(r.width).div_ceil(together) + 1).div_ceil(workgroups));
        Work { workgroups: workgroups as u32, rows: 1, rounds: looped(turns, looped(8, 0)) + busy * looped(some, 0) }
    };
    // four loads of four terms an invocation, with 16 neighbours or more; only as many as the device has room for
    let terms = u64::from(r.count / r.rows);
    let wanted = (256 * u64::from(target.scattering())).div_ceil(elements);
    let mut slices = terms.div_ceil(16).min(wanted).next_power_of_two().min(256 / elements.min(16).next_power_of_two());
    while work(slices, 1).rounds > MAX_ROUNDS && slices < 256 {
        slices *= 2;
    }
    let room = u64::from(target.scattering()) / elements.div_ceil(256 / slices);
    let mut parts = room.min(terms / (16 * slices)).max(1);
    while work(slices, parts).rounds > MAX_ROUNDS && parts < r.count.into() {
        parts *= 2;
    }
    let constants =
        ScatterConstants { rows: r.rows, width: r.width, count: r.count, parts: parts as u32, a: y.offset, indices: 0, span: 0, zero: 0 };
    Template {
        source: &shaders::graph::SCATTER_ADD,
        defines: Vec::new(),
        overrides: vec![("SLICES", slices as u32)],
        operands: &["a", SORTED],
        uniform: bytemuck::bytes_of(&constants).to_vec(),
        work: work(slices, parts),
        parts: parts as u32,
    }
}

/// The operand that [`sort`] makes.
pub(crate) const SORTED: &str = "sorted";

/// Rows and numbers together that are sorted: their words fit the 128 MiB of a binding.
const MOST_SORTED: u64 = 1 << 25;

/// The numbers of `indices` in order: the places of all numbers, sorted by row, those that are no row last, and then for each row
/// where its places end. Records what makes them.
pub(crate) fn sort(gpu: &Gpu, recording: &mut Recording, r: &Rows, indices: &Tensor) -> Result<Tensor> {
    const DIGIT: u32 = 8;
    // no more than 256 chunks, over which an invocation loops
    let chunk = r.count.div_ceil(256).next_multiple_of(256).max(1024);
    let chunks = r.count.div_ceil(chunk);
    let words = |words: u32| Tensor::zeros(gpu, &[words as usize], DType::U32);
    let passes = (32 - r.rows.leading_zeros()).div_ceil(DIGIT);
    let table = words(chunks << DIGIT)?;
    let sorted = words(r.count + r.rows)?;
    // the last pass leaves places in `sorted`
    let aside = if passes > 1 { words(r.count)? } else { table.clone() };
    let keys = [words(r.count)?, if passes > 1 { words(r.count)? } else { table.clone() }];
    let places = [&sorted, &aside];
    let (bind_indices, before) = Bind::tensor(gpu, "indices", indices);
    let constants = SortConstants { count: r.count, rows: r.rows, chunk, chunks, shift: 0, indices: (before / 4) as u32 };
    let gated = recording.is_gated().then_some("GATED");
    // a kernel takes of the bindings what it declares
    let mut dispatch = |defines: &[Option<&'static str>], work: Work, shift: u32, from: usize, to: usize| {
        let defines: Vec<&'static str> = defines.iter().chain([&gated]).copied().flatten().collect();
        let kernel = gpu.kernel(&shaders::graph::SORT, &defines, &[])?;
        let bindings = vec![
            Bind { ..bind_indices },
            Bind::whole("table", table.buffer()),
            Bind::whole("keys", keys[from].buffer()),
            Bind::whole("places", places[from].buffer()),
            Bind::whole("next_keys", keys[to].buffer()),
            Bind::whole("next_places", places[to].buffer()),
        ];
        recording.dispatch_with(gpu, &kernel, work, &SortConstants { shift, ..constants }, bindings)
    };
    let batches = u64::from(chunk / 256);
    let by_chunk = |rounds| Work { workgroups: chunks, rows: 1, rounds };
    for pass in 0..passes {
        let (shift, to) = (pass * DIGIT, ((passes - 1 - pass) % 2) as usize);
        let first = (pass == 0).then_some("FIRST");
        dispatch(&[Some("HISTOGRAM"), first], by_chunk(looped(batches, 0)), shift, 1 - to, to)?;
        dispatch(&[Some("SCAN")], Work::alone(2 * looped(chunks.into(), 0) + looped(8, 0)), shift, 1 - to, to)?;
        dispatch(&[Some("PLACE"), first], by_chunk(looped(batches, 2 * looped(8, 0)) + looped(8, 0)), shift, 1 - to, to)?;
    }
    dispatch(&[Some("ENDS")], Work::strided(r.rows.div_ceil(256).into(), looped(32, 0)), 0, 0, 0)?;
    Ok(sorted)
}

/// The indices of a part are a multiple of them.
const CHUNK: u32 = 2048;

/// The rows and columns of an invocation's block, and how many invocations are a workgroup, with `SEQUENTIAL`.
const BLOCK: [u32; 2] = [64, 4];
const AT_ONCE: u32 = 8;

/// All numbers are looked at once for each block of the result. Parts are too many to be stored where rows times numbers are beyond 2^42.
fn by_search(target: &Target, r: &Rows, y: &Operand, indices: &Operand) -> Template {
    let blocks = r.rows.div_ceil(BLOCK[0]) * r.width.div_ceil(BLOCK[1]);
    let chunks = r.count.div_ceil(CHUNK);
    let wanted = target.scattering() / blocks;
    let cheap = r.count / r.rows / 4;
    let mut parts = wanted.min(cheap).clamp(1, chunks);
    while searching(r, chunks.div_ceil(parts), parts).rounds > MAX_ROUNDS && parts < chunks {
        parts = (2 * parts).min(chunks);
    }
    // in whole chunks, and no part is empty
    let span = chunks.div_ceil(parts);
    let parts = chunks.div_ceil(span);
    let constants = ScatterConstants {
        rows: r.rows,
        width: r.width,
        count: r.count,
        parts,
        a: y.offset,
        indices: indices.offset,
        span: span * CHUNK,
        zero: 0,
    };
    Template {
        source: &shaders::graph::SCATTER_ADD,
        defines: vec!["SEQUENTIAL"],
        overrides: Vec::new(),
        operands: &["a", "indices"],
        uniform: bytemuck::bytes_of(&constants).to_vec(),
        work: searching(r, span, parts),
        parts,
    }
}

/// With `chunks` chunks a part.
fn searching(r: &Rows, chunks: u32, parts: u32) -> Work {
    let blocks = r.rows.div_ceil(BLOCK[0]) * r.width.div_ceil(BLOCK[1]);
    let all = (u64::from(blocks) * u64::from(parts)).div_ceil(AT_ONCE.into());
    let workgroups = all.min(MAX_WORKGROUPS.into()).max(1);
    let rounds = looped(all.div_ceil(workgroups), 2 * looped(BLOCK[0].into(), 0) + 2 + u64::from(CHUNK / 4) * u64::from(chunks));
    Work { workgroups: workgroups as u32, rows: 1, rounds }
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

    /// What the template's second operand is: the numbers, or what sorts them.
    fn second(gpu: &Gpu, template: &Template, r: &Rows, numbers: &[u32]) -> (&'static str, Vec<u32>) {
        let name = template.operands[1];
        if name != SORTED {
            return (name, numbers.to_vec());
        }
        let (mut recording, indices) = (Recording::new(), Tensor::from_slice(gpu, &[numbers.len()], numbers).unwrap());
        let sorted = sort(gpu, &mut recording, r, &indices).unwrap();
        gpu.submit([&recording]);
        (name, pollster::block_on(sorted.read::<u32>(gpu)).unwrap())
    }

    /// Against a sort of the host's: one digit of a key and four, chunks, and numbers that begin anywhere in a buffer.
    #[test]
    fn numbers_are_sorted() {
        for (rows, count) in [(1, 1), (3, 257), (255, 1000), (256, 1025), (257, 5000), (70_000, 4096), (1 << 24, 3001), (1000, 300_001)] {
            let r = Rows { rows, width: 1, count };
            let numbers = numbers(rows, count);
            let mut places: Vec<u32> = (0..count).collect();
            places.sort_by_key(|&n| numbers[n as usize].min(rows));
            let key = |k: usize| numbers[places[k] as usize];
            for checks in [Checks::Unchecked, Checks::Checked] {
                let gpu = gpu(checks);
                let around = [&[GARBAGE; 3], &numbers[..]].concat();
                let whole = Tensor::from_slice(gpu, &[around.len()], &around).unwrap();
                let indices = whole.within(12, &[count as usize], DType::U32).unwrap();
                let mut recording = Recording::new();
                let sorted = sort(gpu, &mut recording, &r, &indices).unwrap();
                gpu.submit([&recording]);
                let found = pollster::block_on(sorted.read::<u32>(gpu)).unwrap();
                let (found, ends) = found.split_at(count as usize);
                assert_eq!(found, places, "{r:?} {checks:?}");
                for (row, &end) in ends.iter().enumerate() {
                    let end = end as usize;
                    let right = (end == 0 || key(end - 1) <= row as u32) && (end == places.len() || key(end) > row as u32);
                    assert!(right, "{r:?} {checks:?}: the end of row {row} is {end}");
                }
            }
        }
    }

    #[test]
    fn sums_by_number() {
        for [rows, width, count] in SHAPES {
            let r = Rows { rows, width, count };
            // and with most of one row
            for numbers in [numbers(rows, count), (0..count).map(|n| if n % 9 == 0 { n % rows } else { rows / 2 }).collect()] {
                // whole numbers: f32 adds them exactly in any order
                let y: Vec<f32> = noise((count * width) as usize).iter().map(|y| (8.0 * y).round()).collect();
                let wide: Vec<f64> = y.iter().map(|&y| y.into()).collect();
                let expected = reference::scatter_add(&wide, width as usize, &numbers, rows as usize);
                let (software, discrete) = (Target::software(), Target::discrete());
                for (target, checks, offset) in
                    [(&software, Checks::Unchecked, 0), (&discrete, Checks::Unchecked, 3), (&discrete, Checks::Checked, 1)]
                {
                    let template = scatter_add(target, &r, &operand(offset), &operand(2 * offset));
                    let (name, second) = second(gpu(checks), &template, &r, &numbers);
                    let at = if name == SORTED { 0 } else { 2 * offset };
                    let inputs = [Input { name: "a", words: &words(&y), offset }, Input { name, words: &second, offset: at }];
                    let found = run(gpu(checks), &template, &inputs, expected.len());
                    assert_eq!(summed(&found, expected.len()), expected, "{r:?} {target:?} {checks:?} {} parts", template.parts);
                    // one workgroup goes through all blocks and parts
                    let alone = run(gpu(checks), &Template { work: Work::alone(0), ..template }, &inputs, expected.len());
                    assert_eq!(found, alone, "{r:?} {target:?} {checks:?}");
                }
            }
        }
    }

    /// Of numbers that f32 rounds: near the sum, the same bits on every run, and adjoint to `gather`.
    #[test]
    fn adjoint_and_deterministic() {
        let r = Rows { rows: 5, width: 9, count: 6000 };
        let indices: Vec<u32> = numbers(r.rows, r.count).into_iter().map(|index| index.min(r.rows - 1)).collect();
        let (table, y) = (noise((r.rows * r.width) as usize), noise((r.count * r.width) as usize));
        let bits = [words(&table), words(&y)];
        let [a, b] = bits.each_ref().map(|words| Input { name: "a", words, offset: 0 });
        let gpu = gpu(Checks::Unchecked);
        let numbers = Input { name: "indices", words: &indices, offset: 0 };
        let gathered = run(gpu, &gather(&r, &operand(0), &operand(0)), &[a, numbers], y.len());
        let template = scatter_add(&Target::discrete(), &r, &operand(0), &operand(0));
        assert!(template.parts > 1);
        let scatter = || {
            let (name, words) = second(gpu, &template, &r, &indices);
            run(gpu, &template, &[b, Input { name, words: &words, offset: 0 }], table.len())
        };
        let scattered = scatter();
        assert_eq!(scattered, scatter());
        let dot = |a: &[f64], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| a * f64::from(b)).sum::<f64>();
        let (left, right) = (dot(&summed(&gathered, y.len()), &y), dot(&summed(&scattered, table.len()), &table));
        // 1200 terms a sum, of magnitude below 1
        let bound = f64::from(r.count * r.width) * 1200.0 * f64::from(f32::EPSILON) / 64.0;
        assert!((left - right).abs() < bound, "{left} {right} {bound}");
    }

    #[test]
    fn numbers_that_are_no_row() {
        let r = Rows { rows: 3, width: 2, count: 4 };
        let indices = [3, u32::MAX, 1 << 31, GARBAGE];
        let y = noise(8);
        let inputs = [Input { name: "a", words: &words(&y), offset: 0 }, Input { name: "indices", words: &indices, offset: 0 }];
        for target in [Target::software(), Target::discrete()] {
            let template = scatter_add(&target, &r, &operand(0), &operand(0));
            let (name, words) = second(gpu(Checks::Unchecked), &template, &r, &indices);
            let found = run(gpu(Checks::Unchecked), &template, &[inputs[0], Input { name, words: &words, offset: 0 }], 6);
            assert_eq!(found, [0; 6]);
        }
        let found = run(gpu(Checks::Unchecked), &gather(&r, &operand(0), &operand(0)), &inputs, 8);
        assert!(found.iter().all(|&bits| f32::from_bits(bits).is_nan()));
    }

    /// A software driver ends loops after 65,535 rounds, whatever the indices are, and all indices are in one part.
    #[test]
    fn large_sizes() {
        for [rows, width, count] in [
            [50_000, 512, 4096],
            [10, 1, 2_000_000],
            [10, 64, 2_000_000],
            [1, 1, 1 << 29],
            [1, 1, 1 << 24],
            [1 << 20, 64, 1 << 16],
            [1 << 24, 4, 1 << 20],
            [1 << 28, 1, 1 << 20],
        ] {
            for target in [Target::discrete(), Target::software()] {
                let r = Rows { rows, width, count };
                let template = scatter_add(&target, &r, &operand(0), &operand(0));
                let constants: ScatterConstants = bytemuck::pod_read_unaligned(&template.uniform);
                let parts = template.parts;
                assert_eq!(constants.parts, parts);
                if template.operands[1] != SORTED {
                    assert_eq!(constants.span % CHUNK, 0);
                    let (parts, span) = (u64::from(parts), u64::from(constants.span));
                    assert!(parts * span >= count.into() && (parts - 1) * span < count.into());
                }
                let rounds = template.work.rounds;
                // more work than invocations can do is cut into more parts than fit into memory
                let impossible = template.operands[1] != SORTED && u64::from(rows) * u64::from(count) > 1 << 42;
                let bytes = 4 * u64::from(parts) * u64::from(rows) * u64::from(width);
                assert_eq!(rounds < 65_535, !impossible, "{rows} {width} {count}: {rounds} rounds, {parts} parts");
                assert!(!impossible || bytes > 1 << 36);
            }
        }
        // a table, whatever of it is summed: each element of y once, and each of the table
        let template = scatter_add(&Target::discrete(), &Rows { rows: 50_000, width: 512, count: 4096 }, &operand(0), &operand(0));
        assert_eq!((template.parts, template.work.workgroups), (1, MAX_WORKGROUPS));
    }
}
