// The end of a sum that shared/block_sums.wgsl began, in one workgroup of 256.

#import shared/tree

@group(0) @binding(1) var<storage, read> partials: array<vec4<f32>>;

// For invocation 0.
fn total_of_sums(lane: u32, count: u32) -> vec4<f32> {
    var sums = vec4(0.0);
    for (var i = lane; i < count; i += 256u) {
        sums += partials[i];
    }
    return sum_runs(lane, 256u, sums);
}
