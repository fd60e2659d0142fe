// What a level's smoothing is multiplied by, from the sums of shaders/poisson/learned_growth.wgsl: 1, or what makes of the quotient
// the most that there may be. One workgroup. Deterministic.

#import shared/total

struct DampingConstants {
    partials: u32,
    level: u32,
    most: f32,
}

@group(0) @binding(0) var<uniform> constants: DampingConstants;
@group(0) @binding(2) var<storage, read_write> damping: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    let sums = total_of_sums(lane, constants.partials);
    if lane == 0u {
        // none is 0 / 0
        let excess = sums.y > constants.most * sums.x;
        damping[constants.level] = select(1.0, constants.most * sums.x / sums.y, excess);
    }
}
