// The solution as the caller gets it, y = 2^e x (shared/cg_state.wgsl). ROUND: x = 2^-e (2^e x), which is what is left of x when it
// is stored: infinite, or a subnormal number, where f32 cannot hold it. Workgroups and cells of four elements:
// shared/blocks.wgsl. Deterministic. Bytes an element: 8.

#import shared/blocks
#import shared/cg_state
#import shared/powers_of_two

#permute STORE | ROUND

@group(0) @binding(1) var<storage, read> state: CgState;
#ifdef STORE
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
#else
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>;
#endif

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let e = state.exponent;
    let own = own_cells(constants, group.x, lane);
    for (var i = own.x; i < own.y; i += RUN) {
        let stored = scaled4(x[i], e);
#ifdef STORE
        y[i] = stored;
#else
        x[i] = scaled4(stored, -e);
#endif
    }
}
