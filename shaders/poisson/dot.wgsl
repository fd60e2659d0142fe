// Partial sums of ⟨r, z⟩ of a z that is 0 where it has no row, whatever r is there. poisson/sum.wgsl adds them up. Workgroups and cells of four
// elements: shared/blocks.wgsl. Deterministic. Bytes an element: 8.

#import shared/gate
#import shared/block_sums

@group(0) @binding(2) var<storage, read> r: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> z: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let own = own_cells(constants, group.x, lane);
    var sum = vec4(0.0);
    for (var i = own.x; i < own.y; i += RUN) {
        // not 0 times what may be infinite
        sum += select(vec4(0.0), r[i] * z[i], z[i] != vec4(0.0));
    }
    leave_sums(constants, group.x, lane, vec4(dot(sum, vec4(1.0)), 0.0, 0.0, 0.0));
}
