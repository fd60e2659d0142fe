// The adjoint of gather.wgsl: sums rows by number, into a result [rows, width]:
//
//     x[r, w] = Σ_n y[n, w],  indices[n] = r
//
// Indices that are no row are left out. Bindings: a is y, [count, width]. A part has `span` indices, a
// multiple of 2,048; workgroups stride over blocks of the result and parts.
//
// A workgroup of 64 invocations has a block of 31 rows and `columns` columns, 2^k up to 64, as sums in workgroup
// memory. It goes through the indices in chunks of 2,048. First each invocation looks at 32 of them, 64 apart,
// and leaves a word whose bits say which are rows of the block. Then the words are gone through: an invocation
// has one column, and 64 / columns invocations share it, each with its own words and sums, which are added at
// the end.
//
// SEQUENTIAL, for software drivers: eight invocations a workgroup, each with 64 rows and four columns of its own,
// look at all the indices. No barriers.
//
// Any number of terms may go to one row, in any order, so sums keep what rounding takes from them (Knuth's TwoSum), and add
// it at the end. Compilers would simplify that to nothing: what they must not see through passes by `opaque`.
//
// Bytes: 4 for each element of y and of the result, and rows·width·count/496 for the indices (SEQUENTIAL: 512),
// which come from the cache: with 50,000 rows, 4,096 indices and a width of 512, twice the 102 MB of the result.
// Deterministic: the order of the terms of a sum depends on their number and on the sizes alone.

#import shared/optional_gate
#import shared/result

#permute - | SEQUENTIAL

struct ScatterConstants {
    // of the result
    rows: u32,
    width: u32,
    // of the indices
    count: u32,
    // of a block
    columns: u32,
    parts: u32,
    span: u32,
    // where the operands begin
    a: u32,
    indices: u32,
    // 0, which a compiler does not know
    zero: u32,
}

@group(0) @binding(0) var<uniform> constants: ScatterConstants;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;

#ifdef SEQUENTIAL
const LANES: u32 = 8u;
const ROWS: u32 = 64u;

// by row and invocation; each has its own
alias Sum = vec4<f32>;
alias Bits = vec4<u32>;
var<workgroup> shared_sums: array<Compensated, 512>;
#else
const LANES: u32 = 64u;
const ROWS: u32 = 31u;
const CHUNK: u32 = 2048u;

var<workgroup> shared_hits: array<u32, 64>;
// by row and invocation
alias Sum = f32;
alias Bits = u32;
var<workgroup> shared_sums: array<Compensated, 1984>;
#endif

// A sum, and what rounding has taken from it.
struct Compensated {
    sum: Sum,
    lost: Sum,
}

// The value, for all that a compiler knows something else: constants.zero is 0.
fn opaque(value: Sum) -> Sum {
    return bitcast<Sum>(bitcast<Bits>(value) ^ Bits(constants.zero));
}

fn plus(a: Compensated, term: Sum) -> Compensated {
    let sum = opaque(a.sum + term);
    let taken = opaque(sum - a.sum);
    let lost = (a.sum - (sum - taken)) + (term - taken);
    // infinity minus infinity
    let finite = (bitcast<Bits>(sum) & Bits(0x7f800000u)) != Bits(0x7f800000u);
    return Compensated(sum, select(Sum(), a.lost + lost, finite));
}

// What a workgroup, or with SEQUENTIAL an invocation, computes at a time.
struct Block {
    part: u32,
    first_row: u32,
    rows: u32,
    first_column: u32,
    // the indices of the part
    begin: u32,
    end: u32,
}

fn column_groups() -> u32 {
    return (constants.width + constants.columns - 1u) / constants.columns;
}

fn blocks() -> u32 {
    return (constants.rows + ROWS - 1u) / ROWS * column_groups();
}

fn block(job: u32) -> Block {
    let part = job / blocks();
    let rest = job - part * blocks();
    let first_row = rest / column_groups() * ROWS;
    let first_column = rest % column_groups() * constants.columns;
    let begin = part * constants.span;
    let end = min(constants.count, begin + constants.span);
    return Block(part, first_row, min(ROWS, constants.rows - first_row), first_column, begin, end);
}

fn store_sum(own: Block, row: u32, column: u32, sum: f32) {
    store((own.part * constants.rows + own.first_row + row) * constants.width + column, sum);
}

#ifdef SEQUENTIAL
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let width = constants.width;
    let jobs = blocks() * constants.parts;
    for (var job = id.x; job < jobs; job += LANES * groups.x) {
        let own = block(job);
        for (var row = 0u; row < own.rows; row++) {
            shared_sums[row * LANES + lane] = Compensated();
        }
        // of a last group that is not whole, sums of the last column, which are not stored
        let columns = min(vec4(own.first_column) + vec4(0u, 1u, 2u, 3u), vec4(width - 1u));
        for (var n = own.begin; n < own.end; n += 4u) {
            let places = vec4(n) + vec4(0u, 1u, 2u, 3u);
            let at = min(places, vec4(own.end - 1u)) + vec4(constants.indices);
            // indices below first_row wrap around
            let rows = vec4(indices[at.x], indices[at.y], indices[at.z], indices[at.w]) - vec4(own.first_row);
            let hits = (rows < vec4(own.rows)) & (places < vec4(own.end));
            if any(hits) {
                for (var k = 0u; k < 4u; k++) {
                    if hits[k] {
                        add(rows[k], lane, n + k, columns);
                    }
                }
            }
        }
        for (var row = 0u; row < own.rows; row++) {
            let own_sums = shared_sums[row * LANES + lane];
            let sums = own_sums.sum + own_sums.lost;
            store_sum(own, row, columns.x, sums.x);
            if own.first_column + 1u < width {
                store_sum(own, row, columns.y, sums.y);
            }
            if own.first_column + 2u < width {
                store_sum(own, row, columns.z, sums.z);
            }
            if own.first_column + 3u < width {
                store_sum(own, row, columns.w, sums.w);
            }
        }
    }
}

fn add(row: u32, lane: u32, n: u32, columns: vec4<u32>) {
    let at = constants.a + n * constants.width + columns;
    let i = row * LANES + lane;
    shared_sums[i] = plus(shared_sums[i], vec4(a[at.x], a[at.y], a[at.z], a[at.w]));
}
#else
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let width = constants.width;
    let columns = constants.columns;
    let slice = lane / columns;
    let slices = LANES / columns;
    let jobs = blocks() * constants.parts;
    for (var job = group.x; job < jobs; job += groups.x) {
        let own = block(job);
        let column = own.first_column + lane % columns;
        for (var row = 0u; row < own.rows; row++) {
            shared_sums[row * LANES + lane] = Compensated();
        }
        for (var chunk = own.begin; chunk < own.end; chunk += CHUNK) {
            var hits = 0u;
            for (var bit = 0u; bit < 32u; bit++) {
                let n = chunk + LANES * bit + lane;
                // indices below first_row wrap around
                if n < own.end && indices[constants.indices + min(n, own.end - 1u)] - own.first_row < own.rows {
                    hits |= 1u << bit;
                }
            }
            // the words of the chunk before may still be read
            workgroupBarrier();
            shared_hits[lane] = hits;
            workgroupBarrier();
            for (var word = slice; word < LANES && column < width; word += slices) {
                var left = shared_hits[word];
                while left != 0u {
                    let n = chunk + LANES * firstTrailingBit(left) + word;
                    left &= left - 1u;
                    let row = indices[constants.indices + n] - own.first_row;
                    let i = row * LANES + lane;
                    shared_sums[i] = plus(shared_sums[i], a[constants.a + n * width + column]);
                }
            }
        }
        workgroupBarrier();
        for (var k = lane; k < own.rows * columns; k += LANES) {
            let row = k / columns;
            let first = k - row * columns;
            if own.first_column + first < width {
                var all = Compensated();
                for (var other = first; other < LANES; other += columns) {
                    let some = shared_sums[row * LANES + other];
                    all = plus(all, some.sum);
                    all.lost += some.lost;
                }
                store_sum(own, row, own.first_column + first, all.sum + all.lost);
            }
        }
        // the sums are still read for this block
        workgroupBarrier();
    }
}
#endif
