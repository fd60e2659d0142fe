// One pass over many tensors: each element of parameter and states is read once and written once, each of the gradient read once.
// The template of every optimizer's kernel; its formula is the algorithm's `update`.
//
// The host cuts the tensors into chunks. LANES invocations share a chunk: 256 (16 on a software driver), or 1 for the chunks of at
// most four elements at the ragged ends of tensors. Workgroups of 256 stride over the chunks. Deterministic: an element is the work
// of one invocation. Bytes an element: those of its streams, each once in and, if it is written, once out.
//
// The generator supplies the `Step` that the algorithm needs, the buffers, and `visit(k, chunk, i, cell)`, the step of the cell that is
// number `i` of the chunk's elements: loads, decay, `update`, stores. With PROJECTION, `visit` is also given the coefficient of each
// element's row: of rows that are whole cells (WHOLE_ROWS), of fewer than three elements (SHORT_ROWS), or any others.

#permute - | PROJECTION | PROJECTION WHOLE_ROWS | PROJECTION SHORT_ROWS
#import shared/cells

override LANES: u32 = 256;

// A range of consecutive elements of one tensor.
struct Chunk {
    // the tensor's number
    tensor: u32,
    // the range's first element, in units of elements of each binding, and of the tensor
    param: u32,
    grad: u32,
    state: u32,
    element: u32,
    // how many elements
    length: u32,
    // where the tensor's row coefficients begin, and the length of its rows (projection only)
    coefficient: u32,
    columns: u32,
}

@group(0) @binding(0) var<storage, read> chunks: array<Chunk>;

#ifdef PROJECTION
@group(0) @binding(2) var<storage, read> coefficients: array<f32>;

// Where a chunk begins among the rows of its tensor.
struct Start {
    row: u32,
    column: u32,
    inverse_columns: f32,
}

fn start_of(chunk: Chunk) -> Start {
    let row = chunk.element / chunk.columns;
    return Start(row, chunk.element - row * chunk.columns, 1.0 / f32(chunk.columns));
}

// The coefficients of the rows of a cell's elements, the first being number `i` of the chunk.
fn row_coefficients(chunk: Chunk, start: Start, i: u32, count: u32) -> vec4<f32> {
    // the quotient in floats is off by one at most: a chunk is far below 2^24 elements; integer
    // division is slow
    let from_row = start.column + i;
    var quotient = u32(f32(from_row) * start.inverse_columns);
    var column = from_row - quotient * chunk.columns;
    if bitcast<i32>(column) < 0 {
        quotient -= 1u;
        column += chunk.columns;
    }
    if column >= chunk.columns {
        quotient += 1u;
        column -= chunk.columns;
    }
    let at = chunk.coefficient + start.row + quotient;
#ifdef WHOLE_ROWS
    return vec4(coefficients[at]);
#else
    let columns = vec4(chunk.columns);
    let each = indices(column, count);
#ifdef SHORT_ROWS
    // four elements may touch four rows
    var row = vec4(at);
    row += select(vec4(0u), vec4(1u), each >= columns);
    row += select(vec4(0u), vec4(1u), each >= columns + columns);
    row += select(vec4(0u), vec4(1u), each >= columns + columns + columns);
    return vec4(coefficients[row.x], coefficients[row.y], coefficients[row.z], coefficients[row.w]);
#else
    let next = at + select(0u, 1u, each.w >= chunk.columns);
    return select(vec4(coefficients[at]), vec4(coefficients[next]), each >= columns);
#endif
#endif
}
#endif

#ifndef GENERATED
@group(0) @binding(1) var<storage, read> steps: array<Step>;
@group(0) @binding(3) var<storage, read_write> param: array<vec4<f32>>;

#ifdef PROJECTION
fn visit(k: Step, chunk: Chunk, i: u32, cell: Cell, coefficient: vec4<f32>) {
    param[cell.param >> 2u] = k.lr * coefficient;
}
#else
fn visit(k: Step, chunk: Chunk, i: u32, cell: Cell) {
    param[cell.param >> 2u] = decayed(param[cell.param >> 2u], k.decay, k.dither);
}
#endif
#endif

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let lane = invocation % LANES;
    let share = 256u / LANES;
    for (var index = group.x * share + invocation / LANES; index < arrayLength(&chunks); index += groups.x * share) {
        let chunk = chunks[index];
        // read once: a software driver would load it again for every cell
        let k = steps[chunk.tensor];
        let length = select(0u, chunk.length, k.enabled != 0u);
#ifdef PROJECTION
        let start = start_of(chunk);
#endif
        let span = run_of(lane, LANES, length);
        for (var i = span.first; i < span.end; i += span.stride) {
            let cell = Cell(chunk.param + i, chunk.grad + i, chunk.state + i, min(length - i, 4u));
#ifdef PROJECTION
            visit(k, chunk, i, cell, row_coefficients(chunk, start, i, cell.count));
#else
            visit(k, chunk, i, cell);
#endif
        }
    }
}
