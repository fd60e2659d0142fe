// The first sweep of a coarser level, from x = 0, both colours in one pass:
//
//     x_red = b / d;  x_black = (b + Σ w x_red) / d;  0 where there is no unknown
//
// Workgroups of 8 by 8, an invocation for two cells along x. Deterministic. Bytes a cell: 8 and 16 for the weights.

#import shared/gate
#import shared/multigrid_tiles

struct StartConstants {
    level: Level,
}

@group(0) @binding(0) var<uniform> constants: StartConstants;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;
@group(0) @binding(5) var<storage, read> b: array<f32>;

// Of a red cell.
fn value(l: Level, p: vec3<u32>) -> f32 {
    let d = diagonal(l, p);
    if d > 0.0 {
        return b[l.b + index_of(l, p)] / d;
    }
    return 0.0;
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
    let l = constants.level;
    let tiles = tiles_of(l, 2u);
    for (var tile = group.x; tile < tiles.z; tile += groups.x) {
        let red = place_of(tiles, tile, 2u, lane.xy, 0u);
        if red.y >= l.ny {
            continue;
        }
        if red.x < l.nx {
            x[l.x + index_of(l, red)] = value(l, red);
        }
        let black = place_of(tiles, tile, 2u, lane.xy, 1u);
        if black.x < l.nx {
            let i = index_of(l, black);
            let d = diagonal(l, black);
            var relaxed = 0.0;
            if d > 0.0 {
                relaxed = (b[l.b + i] + around(l, black)) / d;
            }
            x[l.x + i] = relaxed;
        }
    }
}
