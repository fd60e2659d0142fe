// With A the flagged Laplacian of a level's cells, and x 0 where there is no unknown:
//
//     RESIDUAL: t = u / D - A x;  SCALED: t = u - D A x;  PRODUCT: t = D A x;  0 where there is no unknown
//
// Rows are padded with zeros (shared/strips.wgsl), so that neighbours are at fixed distances and it does not matter what is
// between rows. Workgroups and cells of four elements: shared/blocks.wgsl. Deterministic. Bytes a cell: 12, PRODUCT 8, and 2
// for the code.

#import shared/gate
#import shared/runs
#import shared/unknowns

#permute RESIDUAL | SCALED | PRODUCT

struct ResidualConstants {
    // the first cell of four and how many there are, and how many a block has, a multiple of 256
    first: u32,
    count: u32,
    block: u32,
    // cells of four from row to row and from plane to plane
    pitch: u32,
    plane: u32,
}

override AXES: u32 = 3;

@group(0) @binding(0) var<uniform> constants: ResidualConstants;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
#ifndef PRODUCT
@group(0) @binding(4) var<storage, read> u: array<vec4<f32>>;
#endif
@group(0) @binding(5) var<storage, read_write> t: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let c = constants;
    let own = vec2(group.x * c.block) + run_of_block(lane, c.block);
    let end = min(own.y, c.count);
    for (var i = own.x; i < end; i += RUN) {
        let at = c.first + i;
        let here = x[at];
        var sum = x[at - c.pitch] + x[at + c.pitch] + vec4(x[at - 1u].w, here.xyz) + vec4(here.yzw, x[at + 1u].x);
        if AXES == 3u {
            sum += x[at - c.plane] + x[at + c.plane];
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
    }
}
