// The mean of x over each of some sets of elements, the components of fluid on which the Laplacian is singular. SEGMENTS:
// an invocation adds up the elements of a segment, of at most SEGMENT of src/poisson/null_space.rs, in order. MEANS: an
// invocation adds up the segments of a component, in order, and divides. Workgroups of 64. Deterministic.
// Bytes: 4 for an index and 4 for an element.

#permute SEGMENTS | MEANS

struct ComponentMeansConstants {
    // of segments or components
    count: u32,
    // where x begins
    x: u32,
}

@group(0) @binding(0) var<uniform> constants: ComponentMeansConstants;
// SEGMENTS: where each segment begins among `indices`, and the end. MEANS: where each component begins among the
// segments, and the end.
@group(0) @binding(1) var<storage, read> offsets: array<u32>;
#ifdef SEGMENTS
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;
#else
// of each component
@group(0) @binding(2) var<storage, read> sizes: array<f32>;
@group(0) @binding(3) var<storage, read> sums: array<f32>;
// after one that stays 0
@group(0) @binding(4) var<storage, read_write> means: array<f32>;
#endif

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let c = constants;
    for (var k = id.x; k < c.count; k += groups.x * 64u) {
        let end = offsets[k + 1u];
        var sum = 0.0;
        for (var i = offsets[k]; i < end; i++) {
#ifdef SEGMENTS
            sum += x[c.x + indices[i]];
#else
            sum += sums[i];
#endif
        }
#ifdef SEGMENTS
        sums[k] = sum;
#else
        means[k + 1u] = sum / sizes[k];
#endif
    }
}
