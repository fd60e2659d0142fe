// z_i = r_i where the flagged Laplacian has a row, 0 elsewhere, whatever r_i is: where the diagonal in the codes of
// shared/codes.wgsl is 0. Workgroups and cells of four elements: shared/blocks.wgsl. Deterministic. Bytes
// an element: 8 and 2 for the code.

#import shared/gate
#import shared/blocks
#import shared/codes

@group(0) @binding(1) var<storage, read> r: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> z: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let own = own_cells(constants, group.x, lane);
    for (var i = own.x; i < own.y; i += RUN) {
        z[i] = select(vec4(0.0), r[i], diagonals(row_of(i)) != vec4(0.0));
    }
}
