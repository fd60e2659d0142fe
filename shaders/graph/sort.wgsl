// The order in which scatter_add.wgsl takes the rows of its operand: a stable radix sort of the indices, eight bits a pass, the
// lowest first. Keys are indices, or `rows` for what is no row. Workgroups of 256, one for a chunk of consecutive keys.
//
// A pass is three dispatches. HISTOGRAM: how many keys of a chunk have each digit. SCAN, one workgroup: where those of each digit
// and chunk go, digit by digit. PLACE: keys go there, with the positions that they had before all passes. FIRST: of the first
// pass, keys are made of the indices. At the end ENDS leaves for each row how many keys are its own or less.
//
// Deterministic: equal keys keep their order. Bytes a key: 8 for the first pass and 20 for each other, 12 less after the last.

#import shared/optional_gate

#permute HISTOGRAM | HISTOGRAM FIRST | SCAN | PLACE | PLACE FIRST | ENDS

struct SortConstants {
    count: u32,
    rows: u32,
    // the keys of a chunk, and how many chunks there are
    chunk: u32,
    chunks: u32,
    // the lowest bit of the pass's digit
    shift: u32,
    // where the indices begin
    indices: u32,
}

const DIGITS: u32 = 256u;

@group(0) @binding(0) var<uniform> constants: SortConstants;
#ifdef SCAN
// by chunk and digit
@group(0) @binding(1) var<storage, read_write> table: array<u32>;
#else
#ifdef FIRST
@group(0) @binding(2) var<storage, read> indices: array<u32>;
#else
@group(0) @binding(2) var<storage, read> keys: array<u32>;
#endif
#ifdef HISTOGRAM
@group(0) @binding(1) var<storage, read_write> table: array<u32>;
#endif
#ifdef PLACE
@group(0) @binding(1) var<storage, read> table: array<u32>;
#ifndef FIRST
@group(0) @binding(3) var<storage, read> places: array<u32>;
#endif
@group(0) @binding(4) var<storage, read_write> next_keys: array<u32>;
@group(0) @binding(5) var<storage, read_write> next_places: array<u32>;
#endif
#ifdef ENDS
// the places of all keys, and then the ends
@group(0) @binding(5) var<storage, read_write> next_places: array<u32>;
#endif

fn key(c: SortConstants, i: u32) -> u32 {
#ifdef FIRST
    return min(indices[c.indices + i], c.rows);
#else
    return keys[i];
#endif
}
#endif

fn digit(c: SortConstants, key: u32) -> u32 {
    return (key >> c.shift) & (DIGITS - 1u);
}

#ifdef HISTOGRAM
var<workgroup> shared_counts: array<atomic<u32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let c = constants;
    atomicStore(&shared_counts[lane], 0u);
    workgroupBarrier();
    let end = min((group.x + 1u) * c.chunk, c.count);
    for (var i = group.x * c.chunk + lane; i < end; i += 256u) {
        atomicAdd(&shared_counts[digit(c, key(c, i))], 1u);
    }
    workgroupBarrier();
    table[group.x * DIGITS + lane] = atomicLoad(&shared_counts[lane]);
}
#endif

#ifdef SCAN
var<workgroup> shared_counts: array<u32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    var count = 0u;
    for (var chunk = 0u; chunk < constants.chunks; chunk++) {
        count += table[chunk * DIGITS + lane];
    }
    // how many keys have this digit or a lower one
    var sum = count;
    shared_counts[lane] = sum;
    for (var reach = 1u; reach < DIGITS; reach *= 2u) {
        workgroupBarrier();
        let before = select(0u, shared_counts[max(lane, reach) - reach], lane >= reach);
        workgroupBarrier();
        sum += before;
        shared_counts[lane] = sum;
    }
    var at = sum - count;
    for (var chunk = 0u; chunk < constants.chunks; chunk++) {
        let i = chunk * DIGITS + lane;
        let own = table[i];
        table[i] = at;
        at += own;
    }
}
#endif

#ifdef PLACE
// of each digit, which of 256 keys have it, and where the next one goes
var<workgroup> shared_bits: array<atomic<u32>, 2048>;
var<workgroup> shared_at: array<u32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let c = constants;
    shared_at[lane] = table[group.x * DIGITS + lane];
    for (var word = 0u; word < 8u; word++) {
        atomicStore(&shared_bits[8u * lane + word], 0u);
    }
    let end = min((group.x + 1u) * c.chunk, c.count);
    for (var first = group.x * c.chunk; first < end; first += 256u) {
        workgroupBarrier();
        let i = first + lane;
        let own = key(c, min(i, end - 1u));
        let d = digit(c, own);
        if i < end {
            atomicOr(&shared_bits[8u * d + lane / 32u], 1u << (lane % 32u));
        }
        workgroupBarrier();
        var before = 0u;
        var all = 0u;
        for (var word = 0u; word < 8u; word++) {
            let bits = atomicLoad(&shared_bits[8u * d + word]);
            let below = select(0u, (1u << (lane % 32u)) - 1u, word == lane / 32u) | select(0u, 0xffffffffu, word < lane / 32u);
            all += countOneBits(bits);
            before += countOneBits(bits & below);
        }
        if i < end {
            let at = shared_at[d] + before;
            next_keys[at] = own;
#ifdef FIRST
            next_places[at] = i;
#else
            next_places[at] = places[i];
#endif
        }
        workgroupBarrier();
        // the last one of a digit
        if (i < end) & (before + 1u == all) {
            shared_at[d] += all;
            for (var word = 0u; word < 8u; word++) {
                atomicStore(&shared_bits[8u * d + word], 0u);
            }
        }
    }
}
#endif

#ifdef ENDS
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if is_over() {
        return;
    }
    let c = constants;
    for (var row = id.x; row < c.rows; row += groups.x * 256u) {
        // the keys before `low` are no more than row, those from `high` on are
        var low = 0u;
        var high = c.count;
        while low < high {
            let middle = low + (high - low) / 2u;
            if key(c, middle) <= row {
                low = middle + 1u;
            } else {
                high = middle;
            }
        }
        next_places[c.count + row] = low;
    }
}
#endif
