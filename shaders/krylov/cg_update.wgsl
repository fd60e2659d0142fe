// The step of conjugate gradients along p, with q = A p (Hestenes and Stiefel 1952), if the solution is
// running and the curvature ⟨p, q⟩ is positive:
//   alpha = rho / ⟨p, q⟩;  x += alpha p;  r -= alpha q;  partial sums of ⟨r, r⟩
// FLEXIBLE: and of ⟨q, q⟩. Deterministic. Bytes an element: 24.

#import shared/block_sums
#import shared/cg_state
#import shared/finite

#permute - | FLEXIBLE

@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> r: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> p: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> state: CgState;
@group(0) @binding(7) var<storage, read> curvature: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = constants;
    let own = own_cells(c, group.x, lane);
    let alpha = state.rho / curvature[0];
    // cg_scalars.wgsl and fcg_scalars.wgsl make the same test
    if state.status != 0u || !(curvature[0] > 0.0) || !is_finite(curvature[0]) || !is_finite(alpha) {
        return;
    }
    var squares = vec4(0.0);
    var products = vec4(0.0);
    for (var i = own.x; i < own.y; i += RUN) {
        let image = q[i];
        x[i] += alpha * p[i];
        let rest = r[i] - alpha * image;
        r[i] = rest;
        squares += rest * rest;
#ifdef FLEXIBLE
        products += image * image;
#endif
    }
    leave_sums(c, group.x, lane, vec4(dot(squares, vec4(1.0)), dot(products, vec4(1.0)), 0.0, 0.0));
}
