// The end of a sum that shared/block_sums.wgsl began, in one workgroup of 256.

#import shared/tree

alias Sum = vec4<f32>;
#import shared/carry

@group(0) @binding(1) var<storage, read> partials: array<vec4<f32>>;

// For invocation 0.
fn total_of_sums(lane: u32, count: u32) -> vec4<f32> {
    var sums = Carry();
    for (var first = lane; first < count; first += 256u * TERMS) {
        var sum = vec4(0.0);
        for (var i = first; i < min(first + 256u * TERMS, count); i += 256u) {
            sum += partials[i];
        }
        sums = carried(sums, sum);
    }
    return sum_runs(lane, 256u, total_carried(sums));
}
