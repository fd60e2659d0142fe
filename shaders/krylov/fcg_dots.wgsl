// Partial sums of ⟨z, s_i⟩ for up to four images s_i = A d_i of earlier directions, if the solution is running.
// PRECONDITIONED: of r in the place of z where the state says so. Deterministic. Bytes an element: 8, and 4 more for each of ONE, TWO and THREE.

#import shared/block_sums
#import shared/cg_state
#import shared/preconditioned

#permute - | ONE | ONE TWO | ONE TWO THREE

@group(0) @binding(2) var<storage, read> state: CgState;
@group(0) @binding(4) var<storage, read> s0: array<vec4<f32>>;
#ifdef ONE
@group(0) @binding(5) var<storage, read> s1: array<vec4<f32>>;
#endif
#ifdef TWO
@group(0) @binding(6) var<storage, read> s2: array<vec4<f32>>;
#endif
#ifdef THREE
@group(0) @binding(7) var<storage, read> s3: array<vec4<f32>>;
#endif

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = constants;
    if state.status != 0u {
        return;
    }
    let plain = state.plain != 0u;
    let own = own_cells(c, group.x, lane);
    var sums = vec4(0.0);
    for (var i = own.x; i < own.y; i += RUN) {
        let value = preconditioned(i, plain);
        sums.x += dot(value, s0[i]);
#ifdef ONE
        sums.y += dot(value, s1[i]);
#endif
#ifdef TWO
        sums.z += dot(value, s2[i]);
#endif
#ifdef THREE
        sums.w += dot(value, s3[i]);
#endif
    }
    leave_sums(c, group.x, lane, sums);
}
