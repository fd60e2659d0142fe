// The right-hand side of the next level, B = Pᵀ (b - A x), after the sweeps of a level. COMPUTED: the residual is computed
// where it is needed, three times (in three dimensions four) for each red cell, which on small levels takes less time than a
// dispatch. STORED: it was computed before, by multigrid_sweep.wgsl or multigrid_finest_sweep.wgsl.
//
// Workgroups of 8 by 8, an invocation for a coarse cell. Deterministic. Bytes a cell: COMPUTED 8 and 16 for the weights, STORED
// 4; and 2 for the code, and 4 for each coarse cell.

#import shared/gate
#import shared/multigrid_tiles
#import shared/restriction
#ifdef COMPUTED
#import shared/multigrid_rows
#endif

#permute COMPUTED | STORED

@group(0) @binding(0) var<uniform> constants: TransferConstants;
#ifdef COMPUTED
@group(0) @binding(4) var<storage, read> x: array<f32>;
@group(0) @binding(5) var<storage, read_write> b: array<f32>;

fn value(l: Level, p: vec3<u32>) -> f32 {
    return x[l.x + index_of(l, p)];
}

// Of a red cell.
fn residual(l: Level, p: vec3<u32>) -> f32 {
    let i = index_of(l, p);
    let d = diagonal(l, p);
    return select(0.0, b[l.b + i] - d * x[l.x + i] + around(l, p), d > 0.0);
}
#else
@group(0) @binding(4) var<storage, read> residuals: array<f32>;
@group(0) @binding(5) var<storage, read_write> rhs: array<f32>;

fn residual(l: Level, p: vec3<u32>) -> f32 {
    return residuals[l.x + index_of(l, p)];
}
#endif

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
#ifdef COMPUTED
        b[c.b + index_of(c, p)] = sum;
#else
        rhs[c.b + index_of(c, p)] = sum;
#endif
    }
}
