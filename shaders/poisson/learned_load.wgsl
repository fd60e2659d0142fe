// u = D r of a learned multigrid's finest level, from r as it is to padded rows; 0 where there is no unknown, whatever r is.
//
// Workgroups of 256, an invocation for a strip (shared/strips.wgsl). Deterministic. Bytes a cell: 8 and 2 for the code.

#import shared/gate
#import shared/strips
#import shared/unknowns
#import shared/dense_residual

struct LoadConstants {
    lattice: Lattice,
}

@group(0) @binding(0) var<uniform> constants: LoadConstants;
@group(0) @binding(4) var<storage, read_write> u: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if is_over() {
        return;
    }
    let l = constants.lattice;
    let own = strip_of(l, id.x);
    for (var y = own.y; y < own.end; y++) {
        let at = l.first + place_of(l, own.i, y, own.z);
        let d = scales(codes_at(at));
        u[at] = select(vec4(0.0), d * residual_at(l, own.i, y, own.z), d > vec4(0.0));
    }
}
