// x_i = x_i - mean of the component of i, 0 where i is not fluid: the projection onto the range of the Laplacian.
// Workgroups of 64 over elements. Deterministic. Bytes an element: 12, and the means from the cache.

struct ProjectConstants {
    count: u32,
    // where x begins
    x: u32,
}

@group(0) @binding(0) var<uniform> constants: ProjectConstants;
// 0: not fluid; 1: fluid that touches air, whose mean counts as 0; then the components
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> means: array<f32>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let c = constants;
    for (var i = id.x; i < c.count; i += groups.x * 64u) {
        let label = labels[i];
        if label == 0u {
            x[c.x + i] = 0.0;
        } else {
            x[c.x + i] -= means[label - 1u];
        }
    }
}
