// The direction of a flexible iteration, if the solution is running: z, or r where the state says so, made
// A-orthogonal to earlier ones, up to four at a time:
//   q = z - gamma_0 d_0 - ... - gamma_3 d_3;  partial sums of ⟨q, r⟩
// FIRST: q takes the place of the oldest direction, which is d_0 (OLDEST) unless none is kept. Else q goes on
// from what it is, with d_0 (ZERO). A direction whose gamma is 0 is not looked at: it may hold anything.
// Deterministic. Bytes an element: FIRST 12, with OLDEST 16, else 16; 4 more for each of ONE, TWO and THREE.

#import shared/block_sums
#import shared/cg_state

#permute FIRST | FIRST OLDEST | FIRST OLDEST ONE | FIRST OLDEST ONE TWO | FIRST OLDEST ONE TWO THREE | ZERO | ZERO ONE | ZERO ONE TWO | ZERO ONE TWO THREE

@group(0) @binding(2) var<storage, read> state: CgState;
@group(0) @binding(3) var<storage, read> r: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> q: array<vec4<f32>>;
#ifdef FIRST
@group(0) @binding(5) var<storage, read> z: array<vec4<f32>>;
#endif
#ifdef ZERO
@group(0) @binding(5) var<storage, read> d0: array<vec4<f32>>;
#endif
#ifdef ONE
@group(0) @binding(6) var<storage, read> d1: array<vec4<f32>>;
#endif
#ifdef TWO
@group(0) @binding(7) var<storage, read> d2: array<vec4<f32>>;
#endif
#ifdef THREE
@group(0) @binding(8) var<storage, read> d3: array<vec4<f32>>;
#endif

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = constants;
    if state.status != 0u {
        return;
    }
    let gamma = state.gamma;
    let plain = state.plain != 0u;
    let own = own_cells(c, group.x, lane);
    var products = vec4(0.0);
    for (var i = own.x; i < own.y; i += RUN) {
        let residual = r[i];
#ifdef FIRST
        var value = residual;
        if !plain {
            value = z[i];
        }
#ifdef OLDEST
        if gamma.x != 0.0 {
            value -= gamma.x * q[i];
        }
#endif
#else
        var value = q[i];
#endif
#ifdef ZERO
        if gamma.x != 0.0 {
            value -= gamma.x * d0[i];
        }
#endif
#ifdef ONE
        if gamma.y != 0.0 {
            value -= gamma.y * d1[i];
        }
#endif
#ifdef TWO
        if gamma.z != 0.0 {
            value -= gamma.z * d2[i];
        }
#endif
#ifdef THREE
        if gamma.w != 0.0 {
            value -= gamma.w * d3[i];
        }
#endif
        q[i] = value;
        products += value * residual;
    }
    leave_sums(c, group.x, lane, vec4(dot(products, vec4(1.0)), 0.0, 0.0, 0.0));
}
