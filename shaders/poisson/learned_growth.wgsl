// Partial sums of ⟨t, v⟩ and ⟨t, w⟩ over a level, t being u / D: with u = D A v and w = D K u what S amplifies v by, in the norm
// of A, is their quotient.
//
// Workgroups of 256, an invocation for a strip (shared/strips.wgsl). Deterministic. Bytes a cell: 12 and 2 for the code.

#import shared/strips
#import shared/unknowns
#import shared/strip_sums

struct GrowthConstants {
    lattice: Lattice,
}

@group(0) @binding(0) var<uniform> constants: GrowthConstants;
@group(0) @binding(3) var<storage, read> u: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> w: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let l = constants.lattice;
    let own = strip_of(l, id.x);
    var sums = vec2(0.0);
    for (var y = own.y; y < own.end; y++) {
        let at = l.first + place_of(l, own.i, y, own.z);
        let d = scales(codes_at(at));
        let t = select(vec4(0.0), u[at] / d, d > vec4(0.0));
        sums += vec2(dot(t, v[at]), dot(t, w[at]));
    }
    leave_sums(group.x, lane, vec4(sums, 0.0, 0.0));
}
