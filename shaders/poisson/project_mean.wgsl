// The mean of the largest component of fluid that touches no air, from the sums of shaders/poisson/project.wgsl with MEAN. Where all
// cells hold the same value the mean is that value, so that the projection makes them 0 and not the rounding of
// their sum. One workgroup. Deterministic.

#import shared/gate
#import shared/total

struct MeanConstants {
    partials: u32,
    // the cells of the component
    size: f32,
}

@group(0) @binding(0) var<uniform> constants: MeanConstants;
@group(0) @binding(2) var<storage, read_write> mean: array<f32>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read> reference: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let sums = total_of_sums(lane, constants.partials);
    if lane == 0u {
        mean[0] = select(sums.x / constants.size, x[reference[0]], sums.y == 0.0);
    }
}
