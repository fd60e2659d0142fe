// v = scale w, unless the iteration has stopped. Deterministic. Bytes an element: 8.

#import shared/blocks
#import shared/power_state

@group(0) @binding(1) var<storage, read> state: PowerState;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> v: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if state.stop != 0u {
        return;
    }
    let scale = state.scale;
    let own = own_cells(constants, group.x, lane);
    for (var i = own.x; i < own.y; i += RUN) {
        v[i] = scale * w[i];
    }
}
