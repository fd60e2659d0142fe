// Half a sweep of red-black Gauss-Seidel: x_i = (b_i + Σ w_ij x_j) / d_i for the cells of a colour.
// CORRECT: of black ones, after the correction x += P E, which is not stored: that of black cells has no effect, and that
// of red ones is taken into account where they are read, for these are relaxed next. DOT: and partial sums of ⟨b, x⟩ over
// both colours, of which the other one is final.
//
// Workgroups of 8 by 8, an invocation for two cells along x, of which it relaxes one. Deterministic. Bytes a cell: FINE 12
// and 2 for the code, else 12 and 16 for the weights; CORRECT 4 more for each coarse cell.

#import shared/multigrid_tiles
#ifdef CORRECT
#import shared/prolongation
#endif
#ifdef DOT
#import shared/tree
#endif

#permute FINE | FINE CORRECT | FINE DOT | COARSE | COARSE CORRECT

struct SweepConstants {
    level: Level,
    coarse: Level,
    // 0: red; 1: black
    colour: u32,
}

@group(0) @binding(0) var<uniform> constants: SweepConstants;
#ifdef DOT
@group(0) @binding(1) var<storage, read_write> partials: array<vec4<f32>>;
#endif
@group(0) @binding(4) var<storage, read_write> x: array<f32>;
@group(0) @binding(5) var<storage, read> b: array<f32>;
#ifdef CORRECT
#ifdef FINE
@group(0) @binding(6) var<storage, read> solutions: array<f32>;
#endif

fn coarse_x(c: Level, i: u32) -> f32 {
#ifdef FINE
    return solutions[c.x + i];
#else
    return x[c.x + i];
#endif
}
#endif

fn value(l: Level, p: vec3<u32>) -> f32 {
    let before = x[l.x + index_of(l, p)];
#ifdef CORRECT
    return before + prolongated(l, constants.coarse, p);
#else
    return before;
#endif
}

@compute @workgroup_size(8, 8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) lane: vec3<u32>,
) {
    let l = constants.level;
    let tiles = tiles_of(l, 2u);
    var products = 0.0;
    for (var tile = group.x; tile < tiles.z; tile += groups.x) {
        let first = place_of(tiles, tile, 2u, lane.xy);
        if first.x >= l.nx || first.y >= l.ny {
            continue;
        }
        let odd = (first.y + first.z + constants.colour) % 2u;
        let p = vec3(first.x + odd, first.y, first.z);
        if p.x < l.nx {
            let d = diagonal(l, p);
            if d > 0.0 {
                let i = index_of(l, p);
                let relaxed = (b[l.b + i] + around(l, p)) / d;
                x[l.x + i] = relaxed;
#ifdef DOT
                products += b[l.b + i] * relaxed;
#endif
            }
        }
#ifdef DOT
        let other = vec3(first.x + 1u - odd, first.y, first.z);
        if other.x < l.nx {
            let i = index_of(l, other);
            // what is at other cells need not be a number
            if diagonal(l, other) > 0.0 {
                products += b[l.b + i] * x[l.x + i];
            }
        }
#endif
    }
#ifdef DOT
    let index = 8u * lane.y + lane.x;
    let total = sum_runs(index, 64u, vec4(products, 0.0, 0.0, 0.0));
    if index == 0u {
        partials[group.x] = total;
    }
#endif
}
