// One pass over the rows of many tensors, that updates the states and sums four products by row:
// (⟨p,p⟩, ⟨g,g⟩, ⟨p,g⟩, ⟨p,u⟩).
//
// A task is some rows, or a segment of a row, of one length, one after another in one tensor; the table
// lists tasks of more rows first. LANES invocations share a task: 8, 64 or 256. Workgroups of 256
// stride over the tasks. Deterministic: the order of each sum depends on the shape and the place of
// the tensor alone.
//
// STRADDLE: rows are not a whole number of cells, but a task begins and ends with whole cells. A cell
// is the work of the row that its first element belongs to; what it has of the next row is carried
// there.
//
// The importing kernel supplies `constants` (binding 0) and
// `moments(c, k, p, g, s0, s1) -> u`, which updates the states and returns the step's direction.

#import shared/access
#import shared/runs
#import shared/tree

#permute - | STRADDLE
override LANES: u32 = 256;

struct RowTask {
    // the tensor's number
    tensor: u32,
    // the first element, in units of elements of each binding
    param: u32,
    grad: u32,
    state: u32,
    // how many rows, and how many elements each has
    rows: u32,
    columns: u32,
    // where the first row's sums go
    sums: u32,
}

@group(0) @binding(1) var<storage, read> tasks: array<RowTask>;
@group(0) @binding(9) var<storage, read_write> sums: array<vec4<f32>>;

fn products(p: vec4<f32>, g: vec4<f32>, u: vec4<f32>, inside: vec4<bool>) -> vec4<f32> {
    let q = select(vec4(0.0), p, inside);
    return vec4(dot(q, p), dot(select(vec4(0.0), g, inside), g), dot(q, g), dot(q, u));
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let c = constants;
    let lane = invocation % LANES;
    let slot = invocation / LANES;
    let share = 256u / LANES;
    let count = arrayLength(&tasks);
    for (var index = group.x * share; index < count; index += groups.x * share) {
        // no task of this workgroup's has more rows than its first
        let rounds = tasks[index].rows;
        let task = tasks[min(index + slot, count - 1u)];
        let k = scalars[task.tensor];
        let rows = select(0u, task.rows, index + slot < count && k.enabled != 0u);
#ifdef STRADDLE
        // what the cell at the end of a row has of the next; only the invocation that met it has any
        var carry = vec4(0.0);
#endif
        for (var row = 0u; row < rounds; row++) {
            let start = row * task.columns;
            let end = select(start, start + task.columns, row < rows);
#ifdef STRADDLE
            var sum = carry;
            carry = vec4(0.0);
            // the cells that begin in this row
            let first = min((start + 3u) & 0xfffffffcu, end);
            let span = run_of(lane, LANES, end - first);
            for (var at = first + span.first; at < first + span.end; at += span.stride) {
                let cell = Cell(task.param + at, task.grad + at, task.state + at, 4u);
#else
            var sum = vec4(0.0);
            let span = run_of(lane, LANES, end - start);
            for (var at = start + span.first; at < start + span.end; at += span.stride) {
                let cell = Cell(task.param + at, task.grad + at, task.state + at, min(end - at, 4u));
#endif
                let p = load_param(cell);
                let g = k.grad_scale * load_grad(cell);
                var s0 = load_state_0(cell);
#ifdef STATE_1
                var s1 = load_state_1(cell);
#else
                var s1 = vec4(0.0);
#endif
                let u = moments(c, k, p, g, &s0, &s1);
                store_state_0(cell, s0);
#ifdef STATE_1
                store_state_1(cell, s1);
#endif
#ifdef STRADDLE
                let inside = vec4(at) + vec4(0u, 1u, 2u, 3u) < vec4(end);
                sum += products(p, g, u, inside);
                carry += products(p, g, u, !inside);
#else
#ifdef SCALAR
                // the last element, again and again, counts once
                sum += products(p, g, u, vec4(0u, 1u, 2u, 3u) < vec4(cell.count));
#else
                sum += vec4(dot(p, p), dot(g, g), dot(p, g), dot(p, u));
#endif
#endif
            }
            sum = sum_runs(invocation, LANES, sum);
            if lane == 0u && row < rows {
                sums[task.sums + row] = sum;
            }
        }
    }
}
