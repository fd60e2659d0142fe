// y = alpha A x + beta y for a row-major matrix A; y is not read where beta is 0. Two dispatches.
//
// PARTIAL: a row is cut into blocks of cells. A task is one block of a tile of up to four rows; LANES
// invocations share a task, so that x is loaded once for four rows. A task leaves one vec4, the sums of
// its four rows; with PARTIAL_SUMS, for software drivers, each of its invocations leaves its own.
// FINISH: y from these. A workgroup adds up the sums of a tile; with SEQUENTIAL an invocation does.
//
// Cells are four f32, or one with SCALAR where rows do not begin at multiples of 16 bytes. ACTIVE: only
// the first rows, as many as the first word of a buffer says; the others of y keep what they hold.
//
// Deterministic: a tree whose shape depends on the sizes alone. Bytes an element of A: 4.

#import shared/tree

alias Sum = vec4<f32>;
#import shared/carry

#permute PARTIAL | PARTIAL SCALAR | PARTIAL PARTIAL_SUMS | PARTIAL SCALAR PARTIAL_SUMS | FINISH | FINISH SEQUENTIAL
#permute - | ACTIVE

struct GemvConstants {
    // where A and x begin in their bindings, in cells, and y, in elements
    a: u32,
    x: u32,
    y: u32,
    // the rows of this dispatch, and the first one's index in the matrix
    rows: u32,
    first: u32,
    // the rows of a tile: 4, or fewer where a binding cannot hold four
    height: u32,
    // the cells of a row in this dispatch, and from row to row
    cells: u32,
    stride: u32,
    // the cells of a block, the blocks of this dispatch, and the sums of a tile that come before them
    block: u32,
    blocks: u32,
    before: u32,
    // the sums of a tile
    partials: u32,
    alpha: f32,
    beta: f32,
}

@group(0) @binding(0) var<uniform> constants: GemvConstants;

#ifdef ACTIVE
@group(0) @binding(5) var<storage, read> active_rows: array<u32>;
#endif

// The rows of this dispatch that take part.
fn count(c: GemvConstants) -> u32 {
#ifdef ACTIVE
    let rows = active_rows[0];
    return min(max(rows, c.first) - c.first, c.rows);
#else
    return c.rows;
#endif
}

#ifdef PARTIAL
#ifdef SCALAR
alias Cell = f32;
#else
alias Cell = vec4<f32>;
#endif

@group(0) @binding(1) var<storage, read> a: array<Cell>;
@group(0) @binding(2) var<storage, read> x: array<Cell>;
@group(0) @binding(3) var<storage, read_write> partials: array<vec4<f32>>;

// the invocations of a task: 8, 64 or 256, with PARTIAL_SUMS 8, or 1 where rows are many and short
override LANES: u32 = 64u;

fn total(cell: Cell) -> f32 {
#ifdef SCALAR
    return cell;
#else
    return (cell.x + cell.y) + (cell.z + cell.w);
#endif
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let c = constants;
    let rows = count(c);
    let tasks = (rows + 3u) / 4u * c.blocks;
    let together = 256u / LANES;
    let lane = invocation % LANES;
    for (var base = group.x * together; base < tasks; base += groups.x * together) {
        let task = base + invocation / LANES;
        let tile = task / c.blocks;
        let block = task % c.blocks;
        var sums = vec4(0.0);
        if task < tasks {
            // a tile that is not full reads its last row again, and nobody asks for the sum
            let row = 4u * tile + min(vec4(0u, 1u, 2u, 3u), vec4(rows - 1u - 4u * tile));
            let at = vec4(c.a) + row * c.stride;
            let end = min((block + 1u) * c.block, c.cells);
            var all = Carry();
            for (var start = block * c.block + lane; start < end; start += TERMS * LANES) {
                var s0 = Cell(0.0);
                var s1 = Cell(0.0);
                var s2 = Cell(0.0);
                var s3 = Cell(0.0);
                for (var i = start; i < min(start + TERMS * LANES, end); i += LANES) {
                    let v = x[c.x + i];
                    s0 += a[at.x + i] * v;
                    s1 += a[at.y + i] * v;
                    s2 += a[at.z + i] * v;
                    s3 += a[at.w + i] * v;
                }
                all = carried(all, vec4(total(s0), total(s1), total(s2), total(s3)));
            }
            sums = total_carried(all);
        }
        let place = (c.first / c.height + tile) * c.partials + c.before;
#ifdef PARTIAL_SUMS
        if task < tasks {
            partials[place + LANES * block + lane] = sums;
        }
#else
        sums = sum_runs(invocation, LANES, sums);
        if task < tasks && lane == 0u {
            partials[place + block] = sums;
        }
#endif
    }
}
#else
@group(0) @binding(1) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

// The sums of a tile go to its rows.
fn store(c: GemvConstants, tile: u32, rows: u32, sums: vec4<f32>) {
    let first = c.height * tile;
    for (var i = 0u; i < min(c.height, rows - first); i++) {
        let at = c.y + first + i;
        var value = c.alpha * sums[i];
        if c.beta != 0.0 {
            value += c.beta * y[at];
        }
        y[at] = value;
    }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let c = constants;
    let rows = count(c);
    let tiles = (rows + c.height - 1u) / c.height;
#ifdef SEQUENTIAL
    for (var tile = group.x * 256u + invocation; tile < tiles; tile += groups.x * 256u) {
        var sums = Carry();
        for (var first = 0u; first < c.partials; first += TERMS) {
            var sum = vec4(0.0);
            for (var i = first; i < min(first + TERMS, c.partials); i++) {
                sum += partials[tile * c.partials + i];
            }
            sums = carried(sums, sum);
        }
        store(c, tile, rows, total_carried(sums));
    }
#else
    for (var tile = group.x; tile < tiles; tile += groups.x) {
        var all = Carry();
        for (var first = invocation; first < c.partials; first += 256u * TERMS) {
            var sum = vec4(0.0);
            for (var i = first; i < min(first + 256u * TERMS, c.partials); i += 256u) {
                sum += partials[tile * c.partials + i];
            }
            all = carried(all, sum);
        }
        let sums = sum_runs(invocation, 256u, total_carried(all));
        if invocation == 0u {
            store(c, tile, rows, sums);
        }
    }
#endif
}
#endif
