// The elements of a plane at given places, the ones that max_pool_indices.wgsl found:
//
//     y[p, o] = x[p, indices[p, o]]
//
// Bindings: a is x. 128 invocations a workgroup with four consecutive elements each; workgroups stride.
// Bytes: 12 for each element of y. Deterministic: an element is the work of one invocation.

#import shared/optional_gate
#import shared/quotient
#import shared/result

struct SelectConstants {
    // of the result
    elements: u32,
    // the elements of a plane of x
    plane: u32,
    // dividing by the elements of a plane of the result
    multiplier: u32,
    shift: u32,
    // where the operands begin
    a: u32,
    indices: u32,
}

@group(0) @binding(0) var<uniform> constants: SelectConstants;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;

fn selected(i: u32) -> f32 {
    // of a result whose last cell is not whole
    let element = min(i, constants.elements - 1u);
    let plane = quotient(element, constants.multiplier, constants.shift);
    let at = min(indices[constants.indices + element], constants.plane - 1u);
    return a[constants.a + plane * constants.plane + at];
}

@compute @workgroup_size(128)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if is_over() {
        return;
    }
    for (var i = 4u * id.x; i < constants.elements; i += 512u * groups.x) {
        store_cell(i, constants.elements, vec4(selected(i), selected(i + 1u), selected(i + 2u), selected(i + 3u)));
    }
}
