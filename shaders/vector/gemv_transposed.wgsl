// y = alpha Aᵀx + beta y for a row-major matrix A; y is not read where beta is 0. The rows are cut into parts of up to
// constants.height; of several parts, each leaves a row of a matrix, which another dispatch adds up: ONES, x is 1.
// Workgroups of 256 stride over 256 / SLICES cells of y of a part. SLICES invocations share a cell; each adds up rows, four at a
// time, and a binary tree their sums. Neighbours have neighbouring cells.
// SEQUENTIAL, for software drivers: runs of eight go through constants.part cells of y for every 16 rows, so that rows are read in
// order, and y from the cache.
//
// Cells are four f32, or one with SCALAR. ACTIVE: as in gemv.wgsl.
//
// Deterministic: rows are added in blocks, in an order that depends on the sizes alone. Bytes an element of A: 4; of y: 8, or 4 where beta is 0.

#permute - | SCALAR
#permute - | SEQUENTIAL
#permute - | ACTIVE | ONES

struct GemvTransposedConstants {
    // where A and y begin in their bindings, in cells, and x, in elements
    a: u32,
    x: u32,
    y: u32,
    // the rows of this dispatch, and the first one's index in the matrix
    rows: u32,
    first: u32,
    // the cells of a row in this dispatch, and from row to row
    cells: u32,
    stride: u32,
    // SEQUENTIAL: the cells of an invocation
    part: u32,
    // the rows of a part, a multiple of 16, and how many parts of this dispatch
    height: u32,
    parts: u32,
    // in cells, from part to part in y
    jump: u32,
    alpha: f32,
    beta: f32,
}

#ifdef SCALAR
alias Cell = f32;
#else
alias Cell = vec4<f32>;
#endif

@group(0) @binding(0) var<uniform> constants: GemvTransposedConstants;
@group(0) @binding(1) var<storage, read> a: array<Cell>;
#ifndef ONES
@group(0) @binding(2) var<storage, read> x: array<f32>;
#endif
@group(0) @binding(3) var<storage, read_write> y: array<Cell>;
#ifdef ACTIVE
@group(0) @binding(5) var<storage, read> active_rows: array<u32>;
#endif

// The rows of this dispatch that take part.
fn count(c: GemvTransposedConstants) -> u32 {
#ifdef ACTIVE
    let rows = active_rows[0];
    return min(max(rows, c.first) - c.first, c.rows);
#else
    return c.rows;
#endif
}

// beta y
fn before(c: GemvTransposedConstants, i: u32) -> Cell {
    if c.beta == 0.0 {
        return Cell(0.0);
    }
    return c.beta * y[i];
}

// Four rows from `row` on at cell i; of those that are not before `end` the last one is loaded, whatever it holds, and counts as 0.
fn product(c: GemvTransposedConstants, row: u32, end: u32, i: u32) -> Cell {
    let each = vec4(row) + vec4(0u, 1u, 2u, 3u);
    let r = min(each, vec4(end - 1u));
#ifdef ONES
    let v = vec4(1.0);
#else
    let v = vec4(x[c.x + r.x], x[c.x + r.y], x[c.x + r.z], x[c.x + r.w]);
#endif
    let at = vec4(c.a + i) + r * c.stride;
    let second = select(Cell(0.0), v.y * a[at.y], each.y < end);
    let third = select(Cell(0.0), v.z * a[at.z], each.z < end);
    let fourth = select(Cell(0.0), v.w * a[at.w], each.w < end);
    return (v.x * a[at.x] + second) + (third + fourth);
}

#ifdef SEQUENTIAL
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let c = constants;
    let rows = count(c);
    if rows == 0u && c.parts == 1u {
        return;
    }
    let spans = (c.cells + 8u * c.part - 1u) / (8u * c.part);
    for (var job = id.x / 8u; job < spans * c.parts; job += groups.x * 32u) {
        let span = job % spans * 8u * c.part;
        let to = c.y + job / spans * c.jump;
        let stop = min(span + 8u * c.part, c.cells);
        let begin = job / spans * c.height;
        let end = min(begin + c.height, rows);
        if begin >= rows {
            for (var i = span + id.x % 8u; i < stop; i += 8u) {
                y[to + i] = Cell(0.0);
            }
        }
        for (var first = begin; first < end; first += 16u) {
            for (var i = span + id.x % 8u; i < stop; i += 8u) {
                var sum = Cell(0.0);
                for (var row = first; row < min(first + 16u, end); row += 4u) {
                    sum += product(c, row, end, i);
                }
                sum *= c.alpha;
                if first == begin {
                    y[to + i] = before(c, to + i) + sum;
                } else {
                    y[to + i] += sum;
                }
            }
        }
    }
}
#else
// the invocations that share a cell, a power of two
override SLICES: u32 = 4u;

alias Sum = Cell;
#import shared/carry

var<workgroup> shared_cells: array<Cell, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = constants;
    let rows = count(c);
    if rows == 0u && c.parts == 1u {
        return;
    }
    let together = 256u / SLICES;
    let slice = lane / together;
    let spans = (c.cells + together - 1u) / together;
    for (var job = group.x; job < spans * c.parts; job += groups.x) {
        let part = job / spans;
        let own = (job - part * spans) * together + lane % together;
        let i = min(own, c.cells - 1u);
        let begin = part * c.height;
        let end = min(begin + c.height, rows);
        var all = Carry();
        for (var first = begin + 4u * slice; first < end; first += 4u * TERMS * SLICES) {
            var block = Cell(0.0);
            for (var row = first; row < min(first + 4u * TERMS * SLICES, end); row += 4u * SLICES) {
                block += product(c, row, end, i);
            }
            all = carried(all, block);
        }
        var sum = total_carried(all);
        if SLICES > 1u {
            // the sums before may still be read
            workgroupBarrier();
            shared_cells[lane] = sum;
            for (var slices = SLICES / 2u; slices > 0u; slices /= 2u) {
                workgroupBarrier();
                if slice < slices {
                    sum += shared_cells[lane + slices * together];
                    shared_cells[lane] = sum;
                }
            }
        }
        if (slice == 0u) & (own < c.cells) {
            let to = c.y + part * c.jump + own;
            y[to] = before(c, to) + c.alpha * sum;
        }
    }
}
#endif
