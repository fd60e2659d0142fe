// The correction x += P E (shared/prolongation.wgsl), of red cells: black ones are relaxed next. With h = E of a coarse cell and
// the differences to those that it is connected with, (P E)_i = h + ¼ Σ θ_a (E_a - h) over the sides that cell i is on.
//
// Workgroups of 8 by 8, an invocation for a coarse cell and the red cells of its own. Deterministic. Bytes a cell: 8 and 2 for
// the code; and 4 for each coarse cell.

#import shared/gate
#import shared/multigrid_tiles

#permute FINEST | COARSE

@group(0) @binding(0) var<uniform> constants: TransferConstants;
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

// ¼ θ (E - h), E being 0 for a coarse cell that is not there.
fn moved(c: Level, p: vec3<u32>, connected: u32, here: f32) -> f32 {
    var there = 0.0;
    if connected != 0u && is_within(c, p) {
        there = coarse_x(c, index_of(c, p));
    }
    return select(0.0, 0.25 * (there - here), connected != 0u);
}

fn correct(l: Level, p: vec3<u32>, correction: f32) {
    if is_within(l, p) {
        let i = index_of(l, p);
        if (code_of(l, i) & UNKNOWN) != 0u {
            x[l.x + i] += correction;
        }
    }
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
    let c = constants.coarse;
    let tiles = tiles_of(c, 1u);
    for (var tile = group.x; tile < tiles.z; tile += groups.x) {
        let own = place_of(tiles, tile, 1u, lane.xy, 0u);
        if own.x >= c.nx || own.y >= c.ny {
            continue;
        }
        let h = coarse_x(c, index_of(c, own));
        let p = 2u * own;
        // what the first cell and the last say of the faces below and above
        let below = code_of(l, index_of(l, p));
        let above = code_of(l, index_of(l, min(p + vec3(1u), vec3(l.nx, l.ny, l.nz) - vec3(1u))));
        let left = moved(c, vec3(own.x - 1u, own.y, own.z), below & NEAR_X, h);
        let right = moved(c, vec3(own.x + 1u, own.y, own.z), above & NEAR_X, h);
        let down = moved(c, vec3(own.x, own.y - 1u, own.z), below & NEAR_Y, h);
        let up = moved(c, vec3(own.x, own.y + 1u, own.z), above & NEAR_Y, h);
        var front = 0.0;
        if l.nz > 1u {
            front = moved(c, vec3(own.x, own.y, own.z - 1u), below & NEAR_Z, h);
            let back = moved(c, vec3(own.x, own.y, own.z + 1u), above & NEAR_Z, h);
            correct(l, vec3(p.x + 1u, p.y, p.z + 1u), h + right + down + back);
            correct(l, vec3(p.x, p.y + 1u, p.z + 1u), h + left + up + back);
        }
        correct(l, p, h + left + down + front);
        correct(l, vec3(p.x + 1u, p.y + 1u, p.z), h + right + up + front);
    }
}
