// The V-cycle over the coarsest levels, of which the first has 512 cells at most, in one workgroup of 256 and in its
// memory: on the way down, from x = 0, sweeps of red and black cells and the restriction of the residual; on the way up the
// correction and sweeps of black and red ones. The coarsest level has as many of both.
//
// Deterministic. 12.5 KiB of workgroup memory. Bytes a cell of the first level: 8, and the codes and weights of all of them from the cache.

#import shared/gate
#import shared/multigrid_rows
#import shared/restriction
#import shared/prolongation

struct TailConstants {
    // the number of levels
    levels: u32,
    // where the first level's b and x begin
    at: u32,
}

@group(0) @binding(0) var<uniform> constants: TailConstants;
@group(0) @binding(4) var<storage, read> levels: array<Level>;
@group(0) @binding(5) var<storage, read> rhs: array<f32>;
@group(0) @binding(6) var<storage, read_write> solution: array<f32>;

// of all levels, whose sizes halve at least
var<workgroup> x: array<f32, 1056>;
var<workgroup> b: array<f32, 1056>;
// b - A x of the red cells of the level at hand
var<workgroup> rest: array<f32, 512>;

fn value(l: Level, p: vec3<u32>) -> f32 {
    return x[l.x + index_of(l, p)];
}

// Of a red cell: once for the several coarse cells that take a part.
fn residual(l: Level, p: vec3<u32>) -> f32 {
    return rest[index_of(l, p)];
}

fn find_residuals(l: Level, lane: u32) {
    for (var i = lane; i < cells_of(l); i += 256u) {
        let p = place_of(l, i);
        let d = diagonal(l, p);
        if is_of(p, 0u) {
            rest[i] = select(0.0, b[l.b + i] - d * x[l.x + i] + around(l, p), d > 0.0);
        }
    }
    workgroupBarrier();
}

fn coarse_x(c: Level, i: u32) -> f32 {
    return x[c.x + i];
}

fn cells_of(l: Level) -> u32 {
    return l.nx * l.ny * l.nz;
}

fn place_of(l: Level, i: u32) -> vec3<u32> {
    let row = i / l.nx;
    return vec3(i % l.nx, row % l.ny, row / l.ny);
}

fn is_of(p: vec3<u32>, colour: u32) -> bool {
    return (p.x + p.y + p.z) % 2u == colour;
}

// Red cells from x = 0.
fn begin(l: Level, lane: u32) {
    for (var i = lane; i < cells_of(l); i += 256u) {
        let p = place_of(l, i);
        let d = diagonal(l, p);
        var relaxed = 0.0;
        if (d > 0.0) & is_of(p, 0u) {
            relaxed = b[l.b + i] / d;
        }
        x[l.x + i] = relaxed;
    }
    workgroupBarrier();
}

fn sweep(l: Level, lane: u32, colour: u32) {
    for (var i = lane; i < cells_of(l); i += 256u) {
        let p = place_of(l, i);
        let d = diagonal(l, p);
        if (d > 0.0) & is_of(p, colour) {
            x[l.x + i] = (b[l.b + i] + around(l, p)) / d;
        }
    }
    workgroupBarrier();
}

// Of red cells: black ones are relaxed next.
fn correct(l: Level, c: Level, lane: u32) {
    for (var i = lane; i < cells_of(l); i += 256u) {
        let p = place_of(l, i);
        if is_of(p, 0u) {
            x[l.x + i] += prolongated(l, c, p);
        }
    }
    workgroupBarrier();
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let count = constants.levels;
    let first = levels[0];
    for (var i = lane; i < cells_of(first); i += 256u) {
        b[first.b + i] = rhs[constants.at + i];
    }
    workgroupBarrier();
    for (var k = 0u; k < count; k++) {
        let l = levels[k];
        begin(l, lane);
        sweep(l, lane, 1u);
        for (var s = 1u; s < l.sweeps; s++) {
            sweep(l, lane, 0u);
            sweep(l, lane, 1u);
        }
        if k + 1u < count {
            find_residuals(l, lane);
            let c = levels[k + 1u];
            for (var i = lane; i < cells_of(c); i += 256u) {
                b[c.b + i] = restricted(l, place_of(c, i));
            }
            workgroupBarrier();
        }
    }
    for (var k = count; k > 0u; k--) {
        let l = levels[k - 1u];
        if k < count {
            correct(l, levels[k], lane);
        }
        for (var s = 0u; s < l.sweeps; s++) {
            sweep(l, lane, 1u);
            sweep(l, lane, 0u);
        }
    }
    for (var i = lane; i < cells_of(first); i += 256u) {
        solution[constants.at + i] = x[first.x + i];
    }
}
