// u = D r of a learned multigrid's finest level, from r as it is to padded rows; 0 where there is no unknown, whatever r is.
//
// Workgroups of 256, an invocation for a strip (shared/strips.wgsl). Deterministic. Bytes a cell: 8 and 2 for the code.

#import shared/gate
#import shared/strips
#import shared/unknowns
#import shared/dense_rows

struct LoadConstants {
    lattice: Lattice,
}

@group(0) @binding(0) var<uniform> constants: LoadConstants;
#ifdef ALIGNED
@group(0) @binding(3) var<storage, read> r: array<vec4<f32>>;
#else
@group(0) @binding(3) var<storage, read> r: array<f32>;
#endif
@group(0) @binding(4) var<storage, read_write> u: array<vec4<f32>>;

fn dense(l: Lattice, i: u32, y: u32, z: u32) -> vec4<f32> {
    let at = dense_place(l, i, y, z);
#ifdef ALIGNED
    return r[at / 4u];
#else
    // beyond the row is something else, or the same again
    let last = at + dense_count(l, i) - 1u;
    return vec4(r[at], r[min(at + 1u, last)], r[min(at + 2u, last)], r[min(at + 3u, last)]);
#endif
}

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
        u[at] = select(vec4(0.0), d * dense(l, own.i, y, own.z), d > vec4(0.0));
    }
}
