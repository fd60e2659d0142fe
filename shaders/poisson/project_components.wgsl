// x_i = x_i - mean of the component of i, for components that are lists of cells: all but the one that
// shaders/poisson/project.wgsl takes. SUMS: an invocation adds up a segment of a component, in order, and counts the
// cells that differ from the component's first. TAKE: it adds up the sums of its component's segments, in order, divides, and
// subtracts; where no cell differs the mean is the value of all, so that they become 0 and not the rounding of their sum.
// Workgroups of 64. Deterministic. Bytes an element of the lists: SUMS 8, TAKE 12.

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
// the sum, the cells that differ, the value of the component's first cell
@group(0) @binding(4) var<storage, read_write> sums: array<vec4<f32>>;
#else
@group(0) @binding(3) var<storage, read_write> x: array<f32>;
@group(0) @binding(4) var<storage, read> sums: array<vec4<f32>>;
#endif

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if is_over() {
        return;
    }
    for (var k = id.x; k < constants.count; k += groups.x * 64u) {
        let segment = segments[k];
#ifdef SUMS
        let value = x[cells[segments[segment.first].start]];
        var sum = 0.0;
        var differing = 0.0;
        for (var i = segment.start; i < segment.end; i++) {
            let here = x[cells[i]];
            sum += here;
            differing += select(0.0, 1.0, bitcast<u32>(here) != bitcast<u32>(value));
        }
        sums[k] = vec4(sum, differing, value, 0.0);
#else
        var sum = vec2(0.0);
        for (var i = segment.first; i < segment.last; i++) {
            sum += sums[i].xy;
        }
        let mean = select(sum.x / segment.size, sums[segment.first].z, sum.y == 0.0);
        for (var i = segment.start; i < segment.end; i++) {
            x[cells[i]] -= mean;
        }
#endif
    }
}
