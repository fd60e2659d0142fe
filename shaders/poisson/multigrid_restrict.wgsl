// The right-hand side of the next coarser level, B = Pᵀ (b - A x), after a sweep that ended with black cells: the residual
// is computed where it is needed, and never stored.
//
// Workgroups of 8 by 8, an invocation for a coarse cell. Deterministic. Bytes a cell: FINE 8 and 2 for the code, else 8 and
// 16 for the weights; and 4 for each coarse cell.

#import shared/gate
#import shared/multigrid_tiles
#import shared/restriction

#permute FINE | COARSE

struct RestrictConstants {
    level: Level,
    coarse: Level,
}

@group(0) @binding(0) var<uniform> constants: RestrictConstants;
@group(0) @binding(4) var<storage, read> x: array<f32>;
#ifdef FINE
@group(0) @binding(5) var<storage, read> b: array<f32>;
@group(0) @binding(6) var<storage, read_write> rhs: array<f32>;
#else
@group(0) @binding(5) var<storage, read_write> b: array<f32>;
#endif

fn value(l: Level, p: vec3<u32>) -> f32 {
    return x[l.x + index_of(l, p)];
}

@compute @workgroup_size(8, 8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) lane: vec3<u32>,
) {
    if is_over() {
        return;
    }
    let c = constants.coarse;
    let tiles = tiles_of(c, 1u);
    for (var tile = group.x; tile < tiles.z; tile += groups.x) {
        let p = place_of(tiles, tile, 1u, lane.xy, 0u);
        if p.x >= c.nx || p.y >= c.ny {
            continue;
        }
        let sum = restricted(constants.level, p);
#ifdef FINE
        rhs[c.b + index_of(c, p)] = sum;
#else
        b[c.b + index_of(c, p)] = sum;
#endif
    }
}
