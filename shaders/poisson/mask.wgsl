// z_i = r_i where the flagged Laplacian has a row, 0 elsewhere, whatever r_i is: where the diagonal in the codes of
// shared/stencil.wgsl is 0. Workgroups and cells of four elements: shared/blocks.wgsl. Deterministic. Bytes
// an element: 8 and 2 for the code.

#import shared/gate
#import shared/blocks

@group(0) @binding(1) var<storage, read> r: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> z: array<vec4<f32>>;
// two codes a word
@group(0) @binding(3) var<storage, read> codes: array<vec2<u32>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let own = own_cells(constants, group.x, lane);
    for (var i = own.x; i < own.y; i += 8u) {
        let words = codes[i];
        let diagonal = vec4(words.x, words.x >> 16u, words.y, words.y >> 16u) & vec4(0xffc0u);
        z[i] = select(vec4(0.0), r[i], diagonal != vec4(0u));
    }
}
