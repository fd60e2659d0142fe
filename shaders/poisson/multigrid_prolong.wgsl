// The correction x += P E, of red cells: black ones are relaxed next.
//
// Workgroups of 8 by 8, an invocation for two cells along x, of which it corrects one. Deterministic. Bytes a cell: 8 and 2 for
// the code; and 4 for each coarse cell.

#import shared/gate
#import shared/multigrid_tiles
#import shared/prolongation

#permute FINEST | COARSE

struct ProlongConstants {
    level: Level,
    coarse: Level,
}

@group(0) @binding(0) var<uniform> constants: ProlongConstants;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;
#ifdef FINEST
@group(0) @binding(6) var<storage, read> solutions: array<f32>;
#endif

fn coarse_x(c: Level, i: u32) -> f32 {
#ifdef FINEST
    return solutions[c.x + i];
#else
    return x[c.x + i];
#endif
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
        let p = place_of(tiles, tile, 2u, lane.xy, 0u);
        if p.x < l.nx && p.y < l.ny {
            x[l.x + index_of(l, p)] += prolongated(l, constants.coarse, p);
        }
    }
}
