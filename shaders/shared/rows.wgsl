// One pass over the rows of many tensors, that updates the states and sums four products by row:
// (⟨p,p⟩, ⟨g,g⟩, ⟨p,g⟩, ⟨p,u⟩).
//
// A task is some rows, or segments of rows, of one length, one after another in one tensor. LANES
// invocations share a row, 16 or 256. Workgroups of 256 stride over the tasks. Deterministic: the
// order of each sum depends on the row's length alone.
//
// The importing kernel supplies `constants` (binding 0) and
// `moments(k, p, g, s0, s1) -> u`, which updates the states and returns the step's direction.

#import shared/access
#import shared/tree

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

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let lane = invocation % LANES;
    let share = 256u / LANES;
    for (var index = group.x; index < arrayLength(&tasks); index += groups.x) {
        let task = tasks[index];
        let k = scalars[task.tensor];
        for (var base = 0u; base < task.rows; base += share) {
            let row = base + invocation / LANES;
            let length = select(0u, task.columns, row < task.rows && k.enabled != 0u);
            var sum = vec4(0.0);
            for (var i = 4u * lane; i < length; i += 4u * LANES) {
                let at = row * task.columns + i;
                let cell = Cell(task.param + at, task.grad + at, task.state + at, min(length - i, 4u));
                let p = load_param(cell);
                let g = k.grad_scale * load_grad(cell);
                var s0 = load_state_0(cell);
#ifdef STATE_1
                var s1 = load_state_1(cell);
#else
                var s1 = vec4(0.0);
#endif
                let u = moments(k, p, g, &s0, &s1);
                store_state_0(cell, s0);
#ifdef STATE_1
                store_state_1(cell, s1);
#endif
#ifdef SCALAR
                // what repeats the last element does not count
                let q = select(vec4(0.0), p, vec4(0u, 1u, 2u, 3u) < vec4(cell.count));
                let h = select(vec4(0.0), g, vec4(0u, 1u, 2u, 3u) < vec4(cell.count));
                sum += vec4(dot(q, q), dot(h, h), dot(q, h), dot(q, u));
#else
                sum += vec4(dot(p, p), dot(g, g), dot(p, g), dot(p, u));
#endif
            }
            if LANES == 16u {
                sum = sum_16(invocation, sum);
                if invocation < 16u && base + invocation < task.rows {
                    sums[task.sums + base + invocation] = sum;
                }
            } else {
                sum = sum_256(invocation, sum);
                if invocation == 0u {
                    sums[task.sums + base] = sum;
                }
            }
        }
    }
}
