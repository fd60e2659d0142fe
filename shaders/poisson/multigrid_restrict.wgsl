// The right-hand side of the next level, from a coarser one that has had its sweeps: B = Pᵀ (b - A x). The residual is
// computed where it is needed, and never stored.
//
// Workgroups of 8 by 8, an invocation for a coarse cell. Deterministic. Bytes a cell: 8, 2 for the code and 16 for the weights;
// and 4 for each coarse cell.

#import shared/gate
#import shared/multigrid_rows
#import shared/multigrid_tiles
#import shared/restriction

struct RestrictConstants {
    level: Level,
    coarse: Level,
}

@group(0) @binding(0) var<uniform> constants: RestrictConstants;
@group(0) @binding(4) var<storage, read> x: array<f32>;
@group(0) @binding(5) var<storage, read_write> b: array<f32>;

fn value(l: Level, p: vec3<u32>) -> f32 {
    return x[l.x + index_of(l, p)];
}

// Of a red cell.
fn residual(l: Level, p: vec3<u32>) -> f32 {
    let i = index_of(l, p);
    return b[l.b + i] - diagonal(l, p) * x[l.x + i] + around(l, p);
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
        b[c.b + index_of(c, p)] = restricted(constants.level, p);
    }
}
