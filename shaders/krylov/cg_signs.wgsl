// w_i = ±x_i, to find out what rounding x does to A x: 2^-24 ‖A w‖, with signs that know nothing of A. They are
// those of vector/random.wgsl, RADEMACHER, with seed and stream 0. Deterministic. Bytes an element: 8.

#import shared/blocks
#import shared/philox

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> w: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = constants;
    let own = own_cells(c, group.x, lane);
    for (var i = own.x; i < own.y; i += 8u) {
        let bits = philox4x32(vec4(c.first * c.block + i, 0u, 0u, 0u), vec2(0u));
        w[i] = select(x[i], -x[i], (bits >> vec4(31u)) == vec4(1u));
    }
}
