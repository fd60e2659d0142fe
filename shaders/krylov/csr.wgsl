// y = A x for a sparse matrix in compressed rows. A segment is a part of a row of up to 256 entries; LANES invocations of 256
// take neighbouring entries of one, add up theirs in blocks (shared/carry.wgsl), and those in a tree. Where all rows have one
// segment these are y. Else GATHER adds up the segments of each row alike. SEQUENTIAL, for software drivers: an invocation of 64
// adds up a segment. Deterministic.
// Bytes an entry: 8, and x as the cache has it.

#permute - | GATHER
#permute - | SEQUENTIAL

#ifdef SEQUENTIAL
const LANES: u32 = 1u;
#else
#import shared/tree

// 8, 64 or 256
override LANES: u32 = 8u;
#endif

struct CsrConstants {
    x: u32,
    y: u32,
    // segments, with GATHER rows
    count: u32,
}

alias Sum = f32;
#import shared/carry

@group(0) @binding(0) var<uniform> constants: CsrConstants;
// where each segment begins among the entries, with GATHER each row among the segments, and the end
@group(0) @binding(1) var<storage, read> offsets: array<u32>;
#ifdef GATHER
@group(0) @binding(2) var<storage, read> sums: array<f32>;
#else
@group(0) @binding(2) var<storage, read> columns: array<u32>;
@group(0) @binding(3) var<storage, read> values: array<f32>;
@group(0) @binding(4) var<storage, read> x: array<f32>;
#endif
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

fn term(i: u32) -> f32 {
#ifdef GATHER
    return sums[i];
#else
    return values[i] * x[constants.x + columns[i]];
#endif
}

fn share(segment: u32, lane: u32) -> f32 {
    var sums = Carry();
    let end = offsets[segment + 1u];
    for (var first = offsets[segment] + lane; first < end; first += TERMS * LANES) {
        var sum = 0.0;
        for (var i = first; i < min(first + TERMS * LANES, end); i += LANES) {
            sum += term(i);
        }
        sums = carried(sums, sum);
    }
    return total_carried(sums);
}

#ifdef SEQUENTIAL
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let c = constants;
    for (var segment = id.x; segment < c.count; segment += groups.x * 64u) {
        y[c.y + segment] = share(segment, 0u);
    }
}
#else
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let c = constants;
    let together = 256u / LANES;
    let lane = invocation % LANES;
    for (var base = group.x * together; base < c.count; base += groups.x * together) {
        let segment = base + invocation / LANES;
        let sum = sum_runs(invocation, LANES, vec4(share(min(segment, c.count - 1u), lane), 0.0, 0.0, 0.0));
        if (lane == 0u) & (segment < c.count) {
            y[c.y + segment] = sum.x;
        }
    }
}
#endif
