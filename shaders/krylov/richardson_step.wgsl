// The step of a stationary iteration, if the solution is running: x += z. Before it x goes to `best` if its residual is
// the smallest so far. RESTORE: x = best after the end, if that of x is not. Deterministic. Bytes an element: 12, and 4
// for a copy; RESTORE 8 if there is something to restore.

#import shared/blocks
#import shared/cg_state

#permute STEP | RESTORE

@group(0) @binding(1) var<storage, read> state: CgState;
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>;
#ifdef STEP
@group(0) @binding(3) var<storage, read_write> best: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> z: array<vec4<f32>>;
#else
@group(0) @binding(3) var<storage, read> best: array<vec4<f32>>;
#endif

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let own = own_cells(constants, group.x, lane);
#ifdef STEP
    if state.status != 0u {
        return;
    }
    let smallest = state.since == 0u;
    for (var i = own.x; i < own.y; i += RUN) {
        let before = x[i];
        if smallest {
            best[i] = before;
        }
        x[i] = before + z[i];
    }
#else
    if state.since == 0u {
        return;
    }
    for (var i = own.x; i < own.y; i += RUN) {
        x[i] = best[i];
    }
#endif
}
