// y = d x, element by element; INVERSE: y = x / d. Deterministic.
// Bytes an element: 12.

#permute - | INVERSE

struct DiagonalConstants {
    d: u32,
    x: u32,
    y: u32,
    count: u32,
}

@group(0) @binding(0) var<uniform> constants: DiagonalConstants;
@group(0) @binding(1) var<storage, read> d: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let c = constants;
    for (var i = id.x; i < c.count; i += groups.x * 256u) {
#ifdef INVERSE
        y[c.y + i] = x[c.x + i] / d[c.d + i];
#else
        y[c.y + i] = d[c.d + i] * x[c.x + i];
#endif
    }
}
