// The right-hand side of the next level, from the finest one: B = Pᵀ r, of residuals that are 0 on black cells.
//
// Workgroups of 8 by 8, an invocation for a coarse cell. Deterministic. Bytes a cell: 4 and 2 for the code; and 4 for each
// coarse cell.

#import shared/gate
#import shared/multigrid_tiles
#import shared/restriction

struct RestrictConstants {
    level: Level,
    coarse: Level,
}

@group(0) @binding(0) var<uniform> constants: RestrictConstants;
@group(0) @binding(5) var<storage, read> residuals: array<f32>;
@group(0) @binding(6) var<storage, read_write> rhs: array<f32>;

fn residual(l: Level, p: vec3<u32>) -> f32 {
    return residuals[index_of(l, p)];
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
        rhs[c.b + index_of(c, p)] = restricted(constants.level, p);
    }
}
