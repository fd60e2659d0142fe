// x_i = x_i - mean where i is in the largest component of fluid that touches no air, 0 where i is not fluid: with
// shaders/poisson/project_components.wgsl for further components the projection onto the range of the Laplacian.
// MEAN: partial sums of the component, and how many of its cells differ from one of them, from which
// shaders/poisson/project_mean.wgsl makes the mean. TAKE: the subtraction.
//
// Workgroups and cells of four elements: shared/blocks.wgsl. Deterministic. Bytes an element: MEAN 5, TAKE 9.

#import shared/gate
#import shared/blocks
#ifdef MEAN
#import shared/block_sums
#endif

#permute MEAN | TAKE

// four a word, from the lowest byte on; 0: not fluid; 1: fluid; 2: of the largest component
@group(0) @binding(2) var<storage, read> labels: array<u32>;
#ifdef MEAN
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
// of a cell of the component
@group(0) @binding(4) var<storage, read> reference: array<u32>;
#else
@group(0) @binding(3) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> mean: array<f32>;
#endif

fn labels_of(i: u32) -> vec4<u32> {
    return (vec4(labels[i]) >> vec4(0u, 8u, 16u, 24u)) & vec4(0xffu);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let c = constants;
    let own = own_cells(c, group.x, lane);
#ifdef MEAN
    let cell = reference[0];
    // by their bits
    let value = vec4(bitcast<u32>(x[cell / 4u][cell % 4u]));
    var sum = vec4(0.0);
    var differing = vec4(0.0);
    for (var i = own.x; i < own.y; i += RUN) {
        let here = x[i];
        let inside = labels_of(i) == vec4(2u);
        sum += select(vec4(0.0), here, inside);
        differing += select(vec4(0.0), vec4(1.0), inside & (bitcast<vec4<u32>>(here) != value));
    }
    leave_sums(c, group.x, lane, vec4(dot(sum, vec4(1.0)), dot(differing, vec4(1.0)), 0.0, 0.0));
#else
    let middle = mean[0];
    for (var i = own.x; i < own.y; i += RUN) {
        let label = labels_of(i);
        let value = x[i];
        // not 0 times what may be infinite
        x[i] = select(vec4(0.0), select(value, value - middle, label == vec4(2u)), label != vec4(0u));
    }
#endif
}
