// The correction x += P E on a coarser level and half a sweep of red-black Gauss-Seidel of black cells, in one pass. The
// correction is not stored: that of black cells has no effect, and that of red ones is computed where they are read, for these
// are relaxed next.
//
// Workgroups of 8 by 8, an invocation for two cells along x, of which it relaxes one. Deterministic. Bytes a cell: 12, 2 for
// the code and 16 for the weights; and 4 for each coarse cell.

#import shared/gate
#import shared/multigrid_rows
#import shared/multigrid_tiles
#import shared/prolongation

@group(0) @binding(0) var<uniform> constants: TransferConstants;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;
@group(0) @binding(5) var<storage, read> b: array<f32>;

fn coarse_x(c: Level, i: u32) -> f32 {
    return x[c.x + i];
}

fn value(l: Level, p: vec3<u32>) -> f32 {
    return x[l.x + index_of(l, p)] + prolongated(l, constants.coarse, p);
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
        let p = place_of(tiles, tile, 2u, lane.xy, 1u);
        if p.x >= l.nx || p.y >= l.ny {
            continue;
        }
        let d = diagonal(l, p);
        if d > 0.0 {
            let i = index_of(l, p);
            x[l.x + i] = (b[l.b + i] + around(l, p)) / d;
        }
    }
}
