// p = z + beta p, if the solution is running. PRECONDITIONED: with r in place of z where the state says so. SNAPSHOTS: and 2^e x to
// a row of `snapshots`, if the state says so. Deterministic. Bytes an element: 12; for a snapshot 8 more.

#import shared/blocks
#import shared/cg_state
#import shared/powers_of_two
#import shared/preconditioned

#permute - | SNAPSHOTS

@group(0) @binding(1) var<storage, read> state: CgState;
@group(0) @binding(3) var<storage, read_write> p: array<vec4<f32>>;
#ifdef SNAPSHOTS
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;
// rows as long as x is in cells
@group(0) @binding(5) var<storage, read_write> snapshots: array<vec4<f32>>;
#endif

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = constants;
    let own = own_cells(c, group.x, lane);
#ifdef SNAPSHOTS
    let row = state.row;
    if row != 0xffffffffu {
        for (var i = own.x; i < own.y; i += RUN) {
            snapshots[row * c.count + i] = scaled4(x[i], state.exponent);
        }
    }
#endif
    if state.status != 0u {
        return;
    }
    let beta = state.beta;
    let plain = state.plain != 0u;
    for (var i = own.x; i < own.y; i += RUN) {
        let value = preconditioned(i, plain);
        // the first direction is z, whatever p holds
        if beta == 0.0 {
            p[i] = value;
        } else {
            p[i] = value + beta * p[i];
        }
    }
}
