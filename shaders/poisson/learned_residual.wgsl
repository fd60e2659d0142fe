// With A the flagged Laplacian of a level's cells, and x 0 where there is no unknown:
//
//     RESIDUAL: t = u / D - A x;  SCALED: t = u - D A x;  PRODUCT: t = D A x;  0 where there is no unknown
//
// Workgroups of 256, an invocation for a strip (shared/strips.wgsl). Deterministic. Bytes a cell: 12, PRODUCT 8, and 2 for the
// code.

#import shared/gate
#import shared/strips
#import shared/unknowns

#permute RESIDUAL | SCALED | PRODUCT

struct ResidualConstants {
    lattice: Lattice,
}

override AXES: u32 = 3;

@group(0) @binding(0) var<uniform> constants: ResidualConstants;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
#ifndef PRODUCT
@group(0) @binding(4) var<storage, read> u: array<vec4<f32>>;
#endif
@group(0) @binding(5) var<storage, read_write> t: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if is_over() {
        return;
    }
    let l = constants.lattice;
    let own = strip_of(l, id.x);
    var at = l.first + place_of(l, own.i, own.y, own.z);
    var before = x[at - l.pitch];
    var here = x[at];
    for (var y = own.y; y < own.end; y++) {
        let after = x[at + l.pitch];
        var sum = before + after + vec4(x[at - 1u].w, here.xyz) + vec4(here.yzw, x[at + 1u].x);
        if AXES == 3u {
            sum += x[at - l.plane] + x[at + l.plane];
        }
        let code = codes_at(at);
        let d = scales(code);
        let product = diagonals(code) * here - sum;
#ifdef RESIDUAL
        let result = u[at] / d - product;
#endif
#ifdef SCALED
        let result = u[at] - d * product;
#endif
#ifdef PRODUCT
        let result = d * product;
#endif
        t[at] = select(vec4(0.0), result, d > vec4(0.0));
        before = here;
        here = after;
        at += l.pitch;
    }
}
