// The end of a sum that shaders/poisson/laplacian.wgsl with DOT or shaders/poisson/project.wgsl with MEAN began:
// result = factor · sum. One workgroup. Deterministic.

#import shared/total

struct SumConstants {
    partials: u32,
    factor: f32,
    // where the result is
    at: u32,
}

@group(0) @binding(0) var<uniform> constants: SumConstants;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    let sum = total_of_sums(lane, constants.partials).x;
    if lane == 0u {
        result[constants.at] = constants.factor * sum;
    }
}
