// x = 0 and r = b, where krylov/cg_begin.wgsl has found that x is no place to begin at. Workgroups and cells of four elements:
// shared/blocks.wgsl. Deterministic. Bytes an element: 12 if so.

#import shared/blocks
#import shared/cg_state

@group(0) @binding(1) var<storage, read> state: CgState;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> r: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> x: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if state.reset == 0u {
        return;
    }
    let own = own_cells(constants, group.x, lane);
    for (var i = own.x; i < own.y; i += RUN) {
        x[i] = vec4(0.0);
        r[i] = b[i];
    }
}
