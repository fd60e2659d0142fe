// The adjoint of gather.wgsl: sums rows by number, into a result [rows, width]:
//
//     x[r, w] = Σ_n y[n, w],  indices[n] = r
//
// Indices that are no row are left out. Bindings: a is y, [count, width]. Of each row's terms a part is the constants.parts-th;
// partial result p of an element is at p * rows * width + element, and they are reduced by another dispatch.
//
// `sorted` is what sort.wgsl makes of the indices: the n in the order of their rows, and where those of each row end. Workgroups of
// 256 stride over blocks of 256 / SLICES elements of a part. SLICES invocations share an element, and load four terms of it
// at a time; neighbours have neighbouring columns.
//
// SEQUENTIAL, for software drivers and what is too large to sort: eight invocations a workgroup, each with 64 rows and four
// columns of its own, look at all the indices, in parts of `span` indices. No barriers.
//
// Any number of terms may go to one row, in any order, so sums keep what rounding takes from them (Knuth's TwoSum), and add
// it at the end. Compilers would simplify that to nothing: what they must not see through passes by `opaque`.
//
// Bytes: 4 for each element of y and of the result, and 4 for each index and row, SEQUENTIAL rows·width·count/512 for the
// indices, which come from the cache.
// Deterministic: the order of the terms of a sum depends on the sizes and on the other indices of its row alone.

#import shared/optional_gate
#import shared/result

#permute - | SEQUENTIAL

struct ScatterConstants {
    // of the result
    rows: u32,
    width: u32,
    // of the indices
    count: u32,
    parts: u32,
    // where the operands begin
    a: u32,
    // SEQUENTIAL: and the indices, and how many of them are a part
    indices: u32,
    span: u32,
    // 0, which a compiler does not know
    zero: u32,
}

@group(0) @binding(0) var<uniform> constants: ScatterConstants;
@group(0) @binding(1) var<storage, read> a: array<f32>;
#ifdef SEQUENTIAL
@group(0) @binding(2) var<storage, read> indices: array<u32>;

const LANES: u32 = 8u;
const ROWS: u32 = 64u;
const COLUMNS: u32 = 4u;

// by row and invocation; each has its own
alias Sum = vec4<f32>;
alias Bits = vec4<u32>;
var<workgroup> shared_sums: array<Compensated, 512>;
#else
@group(0) @binding(2) var<storage, read> sorted: array<u32>;

// the invocations that share an element, a power of two
override SLICES: u32 = 1u;

alias Sum = f32;
alias Bits = u32;
var<workgroup> shared_sums: array<Compensated, 256>;
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

#ifdef SEQUENTIAL
// What an invocation computes at a time.
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
    return (constants.width + COLUMNS - 1u) / COLUMNS;
}

fn blocks() -> u32 {
    return (constants.rows + ROWS - 1u) / ROWS * column_groups();
}

fn block(job: u32) -> Block {
    let part = job / blocks();
    let rest = job - part * blocks();
    let first_row = rest / column_groups() * ROWS;
    let first_column = rest % column_groups() * COLUMNS;
    let begin = part * constants.span;
    let end = min(constants.count, begin + constants.span);
    return Block(part, first_row, min(ROWS, constants.rows - first_row), first_column, begin, end);
}

fn store_sum(own: Block, row: u32, column: u32, sum: f32) {
    store((own.part * constants.rows + own.first_row + row) * constants.width + column, sum);
}

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
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let c = constants;
    let elements = c.rows * c.width;
    let together = 256u / SLICES;
    let slice = lane / together;
    let blocks = (elements + together - 1u) / together;
    for (var job = group.x; job < blocks * c.parts; job += groups.x) {
        let part = job / blocks;
        let i = (job - part * blocks) * together + lane % together;
        let row = min(i, elements - 1u) / c.width;
        let column = min(i, elements - 1u) - row * c.width;
        let first = select(0u, sorted[c.count + max(row, 1u) - 1u], row > 0u);
        let all = sorted[c.count + row];
        let share = (all - first + c.parts - 1u) / c.parts;
        let begin = min(first + part * share, all);
        let end = min(begin + share, all);
        var sums = Compensated();
        for (var k = begin + 4u * slice; k < end; k += 4u * SLICES) {
            let each = vec4(k) + vec4(0u, 1u, 2u, 3u);
            let own = min(each, vec4(end - 1u));
            let n = vec4(sorted[own.x], sorted[own.y], sorted[own.z], sorted[own.w]);
            let at = vec4(c.a + column) + n * c.width;
            let terms = select(vec4(0.0), vec4(a[at.x], a[at.y], a[at.z], a[at.w]), each < vec4(end));
            sums = plus(plus(plus(plus(sums, terms.x), terms.y), terms.z), terms.w);
        }
        if SLICES > 1u {
            // the sums before may still be read
            workgroupBarrier();
            shared_sums[lane] = sums;
            for (var slices = SLICES / 2u; slices > 0u; slices /= 2u) {
                workgroupBarrier();
                if slice < slices {
                    let other = shared_sums[lane + slices * together];
                    sums = plus(sums, other.sum);
                    sums.lost += other.lost;
                    shared_sums[lane] = sums;
                }
            }
        }
        if (slice == 0u) & (i < elements) {
            store(part * elements + i, sums.sum + sums.lost);
        }
    }
}
#endif
