// z = K Kᵀ r with K = I - L D⁻¹, L and D being the strict lower part and the diagonal of the flagged Laplacian (Ament,
// Knittel, Weiskopf and Straßer, "A parallel preconditioned conjugate gradient solver for the Poisson problem on a
// multi-GPU platform", PDP 2010). In one pass, over the fluid neighbours above and below along each axis:
//
//     y_i = r_i + (Σ above r_j) / d_i;  z_i = y_i + Σ below y_j / d_j
//
// which is 13 values of r and 4 codes in three dimensions. Codes as in shared/codes.wgsl; z is 0 where d is.
// Workgroups and cells of four elements: shared/blocks.wgsl. Deterministic. Bytes an element: 8 and 2 for the code.

#import shared/gate
#import shared/blocks
#import shared/stencil

@group(0) @binding(2) var<storage, read> r: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> z: array<vec4<f32>>;

fn four(i: u32) -> vec4<f32> {
    return r[i];
}

// The codes of the four cells from 4 i + distance on.
fn codes_at(i: u32, distance: i32) -> vec4<u32> {
    let at = i32(i) + (distance >> 2u);
    let low = row_of(within(at));
    if (distance & 3) == 0 {
        return low;
    }
    let high = row_of(within(at + 1));
    if (distance & 3) == 1 {
        return vec4(low.yzw, high.x);
    }
    if (distance & 3) == 2 {
        return vec4(low.zw, high.xy);
    }
    return vec4(low.w, high.xyz);
}

// The diagonal, or 1 where it is 0.
fn divisor(code: vec4<u32>) -> vec4<f32> {
    return max(diagonals(code), vec4(1.0));
}

// y of the elements from 4 i + distance on, of which these are the codes.
fn upper(i: u32, distance: i32, code: vec4<u32>) -> vec4<f32> {
    var above = fluid(code, 32u, shifted(i, distance + 1)) + fluid(code, 8u, shifted(i, distance + stride_y()));
    if stride_z() > 0 {
        above += fluid(code, 2u, shifted(i, distance + stride_z()));
    }
    return shifted(i, distance) + above / divisor(code);
}

// y / d of the elements `distance` below.
fn scaled(i: u32, distance: i32) -> vec4<f32> {
    let code = codes_at(i, -distance);
    return upper(i, -distance, code) / divisor(code);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let own = own_cells(constants, group.x, lane);
    for (var i = own.x; i < own.y; i += RUN) {
        let code = row_of(i);
        var sum = upper(i, 0, code) + fluid(code, 16u, scaled(i, 1)) + fluid(code, 4u, scaled(i, stride_y()));
        if stride_z() > 0 {
            sum += fluid(code, 1u, scaled(i, stride_z()));
        }
        z[i] = select(vec4(0.0), sum, diagonals(code) != vec4(0.0));
    }
}
