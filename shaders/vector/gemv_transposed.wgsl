// y = alpha Aᵀx + beta y for a row-major matrix A; y is not read where beta is 0. An invocation has a
// cell of y to itself and adds up the rows, four at a time. With SEQUENTIAL, for software drivers, runs of
// eight go through a part of y for every four rows instead, so that rows are read in order, and y from the
// cache (see shared/runs.wgsl).
//
// Cells are four f32, or one with SCALAR. SHARED: y is in the buffer of A or x. ACTIVE: as in gemv.wgsl.
//
// Deterministic: rows are added in order. Bytes an element of A: 4; of y: 8, or 4 where beta is 0.

#permute - | SCALAR
#permute - | SEQUENTIAL
#permute - | SHARED
#permute - | ACTIVE

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
    alpha: f32,
    beta: f32,
}

#ifdef SCALAR
alias Cell = f32;
#else
alias Cell = vec4<f32>;
#endif

@group(0) @binding(0) var<uniform> constants: GemvTransposedConstants;
#ifdef SHARED
@group(0) @binding(1) var<storage, read_write> a: array<Cell>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;
#else
@group(0) @binding(1) var<storage, read> a: array<Cell>;
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
    return c.beta * y[c.y + i];
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let c = constants;
    let rows = count(c);
    if rows == 0u {
        return;
    }
    // rows that are left over are the last one again, with the factor 0
    let last = rows - 1u;
#ifdef SEQUENTIAL
    for (var span = id.x / 8u * 8u * c.part; span < c.cells; span += groups.x * 256u * c.part) {
        let end = min(span + 8u * c.part, c.cells);
        for (var row = 0u; row < rows; row += 4u) {
            let r = min(vec4(row) + vec4(0u, 1u, 2u, 3u), vec4(last));
            let there = vec4(row) + vec4(0u, 1u, 2u, 3u) <= vec4(last);
            let factor = c.alpha * select(vec4(0.0), vec4(x[c.x + r.x], x[c.x + r.y], x[c.x + r.z], x[c.x + r.w]), there);
            let at = vec4(c.a) + r * c.stride;
            for (var i = span + id.x % 8u; i < end; i += 8u) {
                let sum = (factor.x * a[at.x + i] + factor.y * a[at.y + i]) + (factor.z * a[at.z + i] + factor.w * a[at.w + i]);
                if row == 0u {
                    y[c.y + i] = before(c, i) + sum;
                } else {
                    y[c.y + i] += sum;
                }
            }
        }
    }
#else
    for (var i = id.x; i < c.cells; i += groups.x * 256u) {
        var sum = Cell(0.0);
        for (var row = 0u; row < rows; row += 4u) {
            let r = min(vec4(row) + vec4(0u, 1u, 2u, 3u), vec4(last));
            let there = vec4(row) + vec4(0u, 1u, 2u, 3u) <= vec4(last);
            let factor = select(vec4(0.0), vec4(x[c.x + r.x], x[c.x + r.y], x[c.x + r.z], x[c.x + r.w]), there);
            let at = vec4(c.a + i) + r * c.stride;
            sum += (factor.x * a[at.x] + factor.y * a[at.y]) + (factor.z * a[at.z] + factor.w * a[at.w]);
        }
        y[c.y + i] = before(c, i) + c.alpha * sum;
    }
#endif
}
