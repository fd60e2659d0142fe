// The residual from scratch, with q = A x:
//   r = b - q;  partial sums of ⟨r, r⟩
// MEASURE: only the sums. REFRESH: if the solution is running, or has converged by the r that was updated so
// far; and the sums of ‖b - q - r‖² besides, which is what rounding has done to that. OBJECTIVE: and the sums of
// ⟨x, b + r⟩ besides, which is -2 φ(x). Deterministic. Bytes an element: 12; MEASURE 8, REFRESH and OBJECTIVE 16.

#import shared/block_sums
#import shared/cg_state

#permute - | MEASURE | REFRESH | OBJECTIVE

@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> b: array<vec4<f32>>;
#ifndef MEASURE
@group(0) @binding(4) var<storage, read_write> r: array<vec4<f32>>;
#endif
#ifdef REFRESH
@group(0) @binding(5) var<storage, read> state: CgState;
#endif
#ifdef OBJECTIVE
@group(0) @binding(5) var<storage, read> x: array<vec4<f32>>;
#endif

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = constants;
#ifdef REFRESH
    if state.status > 1u {
        return;
    }
#endif
    let own = own_cells(c, group.x, lane);
    var squares = vec4(0.0);
    var others = vec4(0.0);
    for (var i = own.x; i < own.y; i += RUN) {
        let rest = b[i] - q[i];
#ifdef REFRESH
        let gap = rest - r[i];
        others += gap * gap;
#endif
#ifdef OBJECTIVE
        others += x[i] * (b[i] + rest);
#endif
#ifndef MEASURE
        r[i] = rest;
#endif
        squares += rest * rest;
    }
    leave_sums(c, group.x, lane, vec4(dot(squares, vec4(1.0)), dot(others, vec4(1.0)), 0.0, 0.0));
}
