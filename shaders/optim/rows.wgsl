// One pass over the rows of many tensors, that updates the states and sums four products by row: (⟨p,p⟩, ⟨g,g⟩, ⟨p,g⟩, ⟨p,u⟩), with the
// direction u of the step. The first dispatch of AdamP and SGDP.
//
// A task is some rows, or a segment of a row, of one length, one after another in one tensor; the table
// lists tasks of more rows first. LANES invocations share a task: 8, 64 or 256 (4 or 8 with PARTIAL_SUMS). Workgroups of 256
// stride over the tasks. Deterministic: the order of each sum depends on the shape and the place of
// the tensor alone. Bytes an element: those of parameter, gradient and states, the states twice.
//
// STRADDLE: rows are not a whole number of cells, but a task of up to four begins and ends with whole
// cells. The cells that touch two rows come first, one an invocation, which adds what it found to its
// sums of the two; then each row's own cells. SCATTERED: cells are loaded element by element.
//
// The generator supplies the `Step` that the algorithm needs, the buffers, and `visit(k, element, cell, tensor)`, which loads a cell,
// calls the algorithm's `advance`, stores the states and returns what was found.

#import shared/cells
#import shared/tree

alias Sum = vec4<f32>;
#import shared/carry

// PARTIAL_SUMS: each invocation of a row leaves a sum of its own, for the projection to add: no barrier,
// of which a software driver makes 256 switches of context. LANES is 4 or 8 then.
#permute - | STRADDLE | SCATTERED
#permute - | PARTIAL_SUMS
override LANES: u32 = 256;

struct RowTask {
    // the tensor's number
    tensor: u32,
    // the first element, in units of elements of each binding
    param: u32,
    grad: u32,
    state: u32,
    // the same in the tensor
    element: u32,
    // how many rows, and how many elements each has
    rows: u32,
    columns: u32,
    // where the first row's sums go
    sums: u32,
}

@group(0) @binding(0) var<storage, read> tasks: array<RowTask>;
@group(0) @binding(2) var<storage, read_write> sums: array<vec4<f32>>;

// The products of a cell's elements that are `inside` the row.
fn products(p: vec4<f32>, g: vec4<f32>, u: vec4<f32>, inside: vec4<bool>) -> vec4<f32> {
    let q = select(vec4(0.0), p, inside);
    return vec4(dot(q, p), dot(select(vec4(0.0), g, inside), g), dot(q, g), dot(q, u));
}

// What a cell has of parameter, gradient and direction.
struct Found {
    p: vec4<f32>,
    g: vec4<f32>,
    u: vec4<f32>,
}

#ifndef GENERATED
@group(0) @binding(1) var<storage, read> steps: array<Step>;
@group(0) @binding(3) var<storage, read> param: array<vec4<f32>>;

fn visit(k: Step, element: u32, cell: Cell, tensor: u32) -> Found {
    let p = param[cell.param >> 2u];
    return Found(p, k.grad_scale * p, p);
}
#endif

fn cell_of(task: RowTask, at: u32, count: u32) -> Cell {
    return Cell(task.param + at, task.grad + at, task.state + at, count);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let lane = invocation % LANES;
    let slot = invocation / LANES;
    let share = 256u / LANES;
    let count = arrayLength(&tasks);
    for (var index = group.x * share; index < count; index += groups.x * share) {
        // no task of this workgroup's has more rows than its first
        let rounds = tasks[index].rows;
        let task = tasks[min(index + slot, count - 1u)];
        // read once: a software driver would load it again for every cell
        let k = steps[task.tensor];
        let rows = select(0u, task.rows, index + slot < count && k.enabled != 0u);
#ifdef STRADDLE
        // the cell in which row `lane` ends and the next begins
        var before = vec4(0.0);
        var after = vec4(0.0);
        let boundary = (lane + 1u) * task.columns;
        if lane + 1u < rows && boundary % 4u != 0u {
            let at = boundary & 0xfffffffcu;
            let found = visit(k, task.element + at, cell_of(task, at, 4u), task.tensor);
            let inside = vec4(at) + vec4(0u, 1u, 2u, 3u) < vec4(boundary);
            before = products(found.p, found.g, found.u, inside);
            after = products(found.p, found.g, found.u, !inside);
        }
#endif
        for (var row = 0u; row < rounds; row++) {
#ifdef STRADDLE
            var sum = select(vec4(0.0), before, row == lane) + select(vec4(0.0), after, row == lane + 1u);
            let start = (row * task.columns + 3u) & 0xfffffffcu;
            let stop = ((row + 1u) * task.columns) & 0xfffffffcu;
#else
            var sum = vec4(0.0);
            let start = row * task.columns;
            let stop = start + task.columns;
#endif
            let end = select(start, stop, row < rows);
            let span = run_of(lane, LANES, end - start);
            var all = Carry();
            for (var first = start + span.first; first < start + span.end; first += TERMS * span.stride) {
                var block = vec4(0.0);
                for (var at = first; at < min(first + TERMS * span.stride, start + span.end); at += span.stride) {
                    let found = visit(k, task.element + at, cell_of(task, at, min(end - at, 4u)), task.tensor);
#ifdef SCATTERED
                    // the last element, again and again, counts once
                    let inside = vec4(at) + vec4(0u, 1u, 2u, 3u) < vec4(end);
                    block += products(found.p, found.g, found.u, inside);
#else
                    block += vec4(dot(found.p, found.p), dot(found.g, found.g), dot(found.p, found.g), dot(found.p, found.u));
#endif
                }
                all = carried(all, block);
            }
            sum += total_carried(all);
#ifdef PARTIAL_SUMS
            if row < rows {
                sums[task.sums + row * LANES + lane] = sum;
            }
#else
            sum = sum_runs(invocation, LANES, sum);
            if lane == 0u && row < rows {
                sums[task.sums + row] = sum;
            }
#endif
        }
    }
}
