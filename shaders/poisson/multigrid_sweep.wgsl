// Half a sweep of red-black Gauss-Seidel on a coarser level: x_i = (b_i + Σ w_ij x_j) / d_i for the cells of a colour.
// RESIDUAL: instead, their residual b_i + Σ w_ij x_j - d_i x_i, 0 where there is no unknown.
//
// Workgroups of 8 by 8, an invocation for two cells along x, of which it relaxes one. Deterministic. Bytes a cell: 12 and 16
// for the weights.

#import shared/gate
#import shared/multigrid_rows
#import shared/multigrid_tiles

#permute - | RESIDUAL

struct SweepConstants {
    level: Level,
    // 0: red; 1: black
    colour: u32,
}

@group(0) @binding(0) var<uniform> constants: SweepConstants;
#ifdef RESIDUAL
@group(0) @binding(4) var<storage, read> x: array<f32>;
@group(0) @binding(6) var<storage, read_write> residuals: array<f32>;
#else
@group(0) @binding(4) var<storage, read_write> x: array<f32>;
#endif
@group(0) @binding(5) var<storage, read> b: array<f32>;

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
    let l = constants.level;
    let tiles = tiles_of(l, 2u);
    for (var tile = group.x; tile < tiles.z; tile += groups.x) {
        let p = place_of(tiles, tile, 2u, lane.xy, constants.colour);
        if p.x >= l.nx || p.y >= l.ny {
            continue;
        }
        let d = diagonal(l, p);
        let i = index_of(l, p);
        var rest = 0.0;
        if d > 0.0 {
            rest = b[l.b + i] + around(l, p);
        }
#ifdef RESIDUAL
        residuals[l.x + i] = rest - d * x[l.x + i];
#else
        if d > 0.0 {
            x[l.x + i] = rest / d;
        }
#endif
    }
}
