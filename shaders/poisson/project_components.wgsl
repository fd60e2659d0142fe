// x_i = x_i - mean of the component of i, for components that are lists of cells: all but the one that
// shaders/poisson/project.wgsl takes. SUMS: a workgroup of 64 adds up a segment of a component, in blocks (shared/carry.wgsl) and a
// tree, and counts the cells that differ from the component's first. TAKE: it adds up the sums of its component's segments alike,
// divides, and subtracts; where no cell differs the mean is the value of all, so that they become 0 and not the rounding of their
// sum. SEQUENTIAL, for software drivers: an invocation does what a workgroup does. Deterministic. Bytes an element of the lists: SUMS 8, TAKE 12.

#import shared/gate

#permute SUMS | TAKE
#permute - | SEQUENTIAL

#ifdef SEQUENTIAL
const LANES: u32 = 1u;
#else
const LANES: u32 = 64u;
#import shared/tree
#ifdef TAKE
var<workgroup> shared_mean: f32;
#endif
#endif

struct ComponentConstants {
    // of segments
    count: u32,
}

// At most the root of the component's length.
struct Segment {
    // among the cells
    start: u32,
    end: u32,
    // of the component, among the segments
    first: u32,
    last: u32,
    // of the component
    size: f32,
}

@group(0) @binding(0) var<uniform> constants: ComponentConstants;
@group(0) @binding(1) var<storage, read> segments: array<Segment>;
@group(0) @binding(2) var<storage, read> cells: array<u32>;
#ifdef SUMS
@group(0) @binding(3) var<storage, read> x: array<f32>;
// the sum, the cells that differ, the value of the component's first cell
@group(0) @binding(4) var<storage, read_write> sums: array<vec4<f32>>;
#else
@group(0) @binding(3) var<storage, read_write> x: array<f32>;
@group(0) @binding(4) var<storage, read> sums: array<vec4<f32>>;
#endif

// the sum, and the cells that differ
alias Sum = vec2<f32>;
#import shared/carry

fn term(i: u32, value: f32) -> Sum {
#ifdef SUMS
    let here = x[cells[i]];
    return vec2(here, select(0.0, 1.0, bitcast<u32>(here) != bitcast<u32>(value)));
#else
    return sums[i].xy;
#endif
}

fn sum_of(begin: u32, end: u32, value: f32) -> Sum {
    var all = Carry();
    for (var first = begin; first < end; first += TERMS * LANES) {
        var sum = vec2(0.0);
        for (var i = first; i < min(first + TERMS * LANES, end); i += LANES) {
            sum += term(i, value);
        }
        all = carried(all, sum);
    }
    return total_carried(all);
}

#ifdef TAKE
fn mean_of(segment: Segment, sum: Sum) -> f32 {
    return select(sum.x / segment.size, sums[segment.first].z, sum.y == 0.0);
}
#endif

#ifdef SEQUENTIAL
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if is_over() {
        return;
    }
    for (var k = id.x; k < constants.count; k += groups.x * 64u) {
        let segment = segments[k];
#ifdef SUMS
        let value = x[cells[segments[segment.first].start]];
        sums[k] = vec4(sum_of(segment.start, segment.end, value), value, 0.0);
#else
        let mean = mean_of(segment, sum_of(segment.first, segment.last, 0.0));
        for (var i = segment.start; i < segment.end; i++) {
            x[cells[i]] -= mean;
        }
#endif
    }
}
#else
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    for (var k = group.x; k < constants.count; k += groups.x) {
        let segment = segments[k];
#ifdef SUMS
        let value = x[cells[segments[segment.first].start]];
        let sum = sum_runs(lane, LANES, vec4(sum_of(segment.start + lane, segment.end, value), 0.0, 0.0));
        if lane == 0u {
            sums[k] = vec4(sum.xy, value, 0.0);
        }
#else
        let sum = sum_runs(lane, LANES, vec4(sum_of(segment.first + lane, segment.last, 0.0), 0.0, 0.0));
        if lane == 0u {
            shared_mean = mean_of(segment, sum.xy);
        }
        workgroupBarrier();
        for (var i = segment.start + lane; i < segment.end; i += LANES) {
            x[cells[i]] -= shared_mean;
        }
#endif
    }
}
#endif
