// Rows of a table [rows, width] by number:
//
//     y[n, w] = table[indices[n], w],  NaN where indices[n] is no row
//
// Bindings: a is the table. 128 invocations a workgroup with four consecutive elements each; workgroups
// stride. VEC4: the width and where the table begins are multiples of four, so that a cell lies in a row.
// Bytes: 8 for each element of y and 4 for each index. Deterministic: an element is the work of one invocation.

#import shared/optional_gate
#import shared/quotient
#import shared/result

#permute - | VEC4

struct GatherConstants {
    // of the result
    elements: u32,
    // of the table
    rows: u32,
    width: u32,
    // dividing by the width
    multiplier: u32,
    shift: u32,
    // where the operands begin
    a: u32,
    indices: u32,
    // the bits of a NaN: WGSL may refuse, or take for something else, one that the compiler sees
    nan: u32,
}

@group(0) @binding(0) var<uniform> constants: GatherConstants;
#ifdef VEC4
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
#else
@group(0) @binding(1) var<storage, read> a: array<f32>;
#endif
@group(0) @binding(2) var<storage, read> indices: array<u32>;

#ifdef VEC4
fn gathered(i: u32) -> vec4<f32> {
    let n = quotient(i, constants.multiplier, constants.shift);
    let row = indices[constants.indices + n];
    let at = constants.a + min(row, constants.rows - 1u) * constants.width + i - n * constants.width;
    return select(vec4(bitcast<f32>(constants.nan)), a[at / 4u], row < constants.rows);
}
#else
fn element(i: u32) -> f32 {
    // of a result whose last cell is not whole
    let own = min(i, constants.elements - 1u);
    let n = quotient(own, constants.multiplier, constants.shift);
    let row = indices[constants.indices + n];
    let at = constants.a + min(row, constants.rows - 1u) * constants.width + own - n * constants.width;
    return select(bitcast<f32>(constants.nan), a[at], row < constants.rows);
}

fn gathered(i: u32) -> vec4<f32> {
    return vec4(element(i), element(i + 1u), element(i + 2u), element(i + 3u));
}
#endif

@compute @workgroup_size(128)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if is_over() {
        return;
    }
    for (var i = 4u * id.x; i < constants.elements; i += 512u * groups.x) {
        store_cell(i, constants.elements, gathered(i));
    }
}
