// z_i = r_i / d_i, d_i being the diagonal of the flagged Laplacian, which the codes of shared/codes.wgsl
// hold; 0 where it is 0. Workgroups and cells of four elements: shared/blocks.wgsl. Deterministic. Bytes an element: 8
// and 2 for the code.

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
        let d = diagonals(row_of(i));
        z[i] = select(vec4(0.0), r[i] / max(d, vec4(1.0)), d != vec4(0.0));
    }
}
