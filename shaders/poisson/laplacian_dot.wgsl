// The end of the sum that DOT of shaders/poisson/laplacian.wgsl began: dot = ⟨x, A x⟩. One workgroup. Deterministic.

#import shared/total

struct LaplacianDotConstants {
    partials: u32,
}

@group(0) @binding(0) var<uniform> constants: LaplacianDotConstants;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    let sum = total_of_sums(lane, constants.partials).x;
    if lane == 0u {
        result[0] = sum;
    }
}
