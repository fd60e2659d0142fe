// b and x as a solution begins: multiplied by 2^-e (shared/cg_scale.wgsl); both 0 where b is, or the projection of b onto the
// range of the operator is its rounding, for then x = 0 is the solution. Workgroups and cells of four elements:
// shared/blocks.wgsl. Deterministic. Bytes an element: 16.

#import shared/blocks
#import shared/cg_scale

// the largest |b_i| before the last projection, and after it
@group(0) @binding(1) var<storage, read> largest_whole: array<u32>;
@group(0) @binding(2) var<storage, read> largest_b: array<u32>;
@group(0) @binding(3) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> b: array<vec4<f32>>;

// Whether the system is solved with b = 0: b is, or the last projection has left less than 2^-20 of it, which is rounding.
fn is_zero() -> bool {
    let whole = largest_whole[0];
    let left = largest_b[0];
    return left == 0u || (whole < 0x7f800000u && exponent_of(left) + 20 < exponent_of(whole));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let zero = is_zero();
    let e = exponent_of_solution(largest_b[0]);
    let own = own_cells(constants, group.x, lane);
    for (var i = own.x; i < own.y; i += RUN) {
        if zero {
            x[i] = vec4(0.0);
            b[i] = vec4(0.0);
        } else if e != 0 {
            x[i] = scaled4(x[i], -e);
            b[i] = scaled4(b[i], -e);
        }
    }
}
