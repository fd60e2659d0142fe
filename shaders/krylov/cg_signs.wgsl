// w_i = ±x_i, or ±2^(-126 - e) where |x_i| is less, to find out what storing x as f32 does to A x: 2^-24 ‖A w‖, with signs that know nothing
// of A. Subnormal numbers, below 2^-126, are all as far apart as the ones above. The signs are those of vector/random.wgsl, RADEMACHER, with
// seed and stream 0. Deterministic. Bytes an element: 8.

#import shared/blocks
#import shared/cg_state
#import shared/philox
#import shared/powers_of_two

@group(0) @binding(1) var<storage, read> state: CgState;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> w: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = constants;
    let own = own_cells(c, group.x, lane);
    let least = vec4(scaled(1.0, -126 - state.exponent));
    for (var i = own.x; i < own.y; i += RUN) {
        let bits = philox4x32(vec4(c.first * c.block + i, 0u, 0u, 0u), vec2(0u));
        let value = select(x[i], least, abs(x[i]) < least);
        w[i] = select(value, -value, (bits >> vec4(31u)) == vec4(1u));
    }
}
