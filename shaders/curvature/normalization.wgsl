// factor = 1 / after, or 0 if after is not above the fraction constants.threshold of before: what makes a
// vector of norm `before`, that was orthogonalized and now has norm `after`, a unit vector, or nothing if what is left
// of it is rounding. One invocation.

#permute -

struct NormalizationConstants {
    threshold: f32,
}

@group(0) @binding(0) var<uniform> constants: NormalizationConstants;
@group(0) @binding(1) var<storage, read> before: array<f32>;
@group(0) @binding(2) var<storage, read> after: array<f32>;
@group(0) @binding(3) var<storage, read_write> factor: array<f32>;

@compute @workgroup_size(1)
fn main() {
    if after[0] > constants.threshold * before[0] {
        factor[0] = 1.0 / after[0];
    } else {
        factor[0] = 0.0;
    }
}
