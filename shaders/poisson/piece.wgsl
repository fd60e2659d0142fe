// A piece of an array of cells, from one array to another: with c over `sizes`, the slowest axis first,
//
//     y[begin_y + Σ c_i y_steps_i] = x[begin_x + Σ c_i x_steps_i]
//
// 256 invocations a workgroup with one element each; workgroups stride. Deterministic. Bytes an element: 8.

#import shared/gate

struct PieceConstants {
    sizes: vec3<u32>,
    // of the piece
    count: u32,
    x_steps: vec3<u32>,
    begin_x: u32,
    y_steps: vec3<u32>,
    begin_y: u32,
}

@group(0) @binding(0) var<uniform> constants: PieceConstants;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if is_over() {
        return;
    }
    let sizes = constants.sizes;
    for (var i = id.x; i < constants.count; i += 256u * groups.x) {
        let row = i / sizes.z;
        let c = vec3(row / sizes.y, row % sizes.y, i % sizes.z);
        let in_x = c * constants.x_steps;
        let in_y = c * constants.y_steps;
        y[constants.begin_y + in_y.x + in_y.y + in_y.z] = x[constants.begin_x + in_x.x + in_x.y + in_x.z];
    }
}
