// q = scale w, and the same into the basis as its row number `step`; nothing when the iteration has
// stopped, or the row is not one of those that this dispatch binds. Deterministic. Bytes an element: 12.

#import shared/lanczos_state

struct NormalizeConstants {
    // the rows of the basis in this dispatch, and the cells of each
    first_row: u32,
    rows: u32,
    cells: u32,
    // where the vectors and the rows begin in their bindings, and from row to row
    vector: u32,
    basis: u32,
    stride: u32,
}

@group(0) @binding(0) var<uniform> constants: NormalizeConstants;
@group(0) @binding(1) var<storage, read> state: LanczosState;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> q: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> basis: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let c = constants;
    let row = state.step;
    if state.stop != 0u || row < c.first_row || row >= c.first_row + c.rows {
        return;
    }
    let scale = state.scale;
    let at = c.basis + (row - c.first_row) * c.stride;
    for (var i = id.x; i < c.cells; i += groups.x * 256u) {
        let value = scale * w[c.vector + i];
        q[c.vector + i] = value;
        basis[at + i] = value;
    }
}
