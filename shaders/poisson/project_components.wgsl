// x_i = x_i - mean of the component of i, for components that are lists of cells: all but the one that
// shaders/poisson/project.wgsl takes. SUMS: an invocation adds up a segment of a component, in blocks (shared/carry.wgsl).
// TAKE: it adds up the sums of its component's segments alike, divides, and subtracts. Workgroups of 64. Deterministic.
// Bytes an element of the lists: SUMS 8, TAKE 12.

#import shared/gate

#permute SUMS | TAKE

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
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;
#else
@group(0) @binding(3) var<storage, read_write> x: array<f32>;
@group(0) @binding(4) var<storage, read> sums: array<f32>;
#endif

alias Sum = f32;
#import shared/carry

fn term(i: u32) -> f32 {
#ifdef SUMS
    return x[cells[i]];
#else
    return sums[i];
#endif
}

fn sum_of(begin: u32, end: u32) -> f32 {
    var all = Carry();
    for (var first = begin; first < end; first += TERMS) {
        var sum = 0.0;
        for (var i = first; i < min(first + TERMS, end); i++) {
            sum += term(i);
        }
        all = carried(all, sum);
    }
    return total_carried(all);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if is_over() {
        return;
    }
    for (var k = id.x; k < constants.count; k += groups.x * 64u) {
        let segment = segments[k];
#ifdef SUMS
        sums[k] = sum_of(segment.start, segment.end);
#else
        let mean = sum_of(segment.first, segment.last) / segment.size;
        for (var i = segment.start; i < segment.end; i++) {
            x[cells[i]] -= mean;
        }
#endif
    }
}
