// z = K Kᵀ r with K = I - L D⁻¹, L and D being the strict lower part and the diagonal of the flagged Laplacian (Ament,
// Knittel, Weiskopf and Straßer, "A parallel preconditioned conjugate gradient solver for the Poisson problem on a
// multi-GPU platform", PDP 2010). In one pass, over the fluid neighbours above and below along each axis:
//
//     y_i = r_i + (Σ above r_j) / d_i;  z_i = y_i + Σ below y_j / d_j
//
// which is 13 values of r and 4 codes in three dimensions. Codes as in shaders/poisson/laplacian.wgsl; z is 0 where d is.
// Workgroups and cells of four elements: shared/blocks.wgsl. Deterministic. Bytes an element: 8 and 2 for the code.

#import shared/gate
#import shared/blocks

// from row to row and from plane to plane, in elements
override STRIDE_Y: i32 = 4;
override STRIDE_Z: i32 = 16;

@group(0) @binding(1) var<storage, read> r: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> z: array<vec4<f32>>;
// two codes a word
@group(0) @binding(3) var<storage, read> codes: array<vec2<u32>>;

// The cell, or another where there is none: what is not there is not used.
fn within(cell: i32) -> u32 {
    return u32(clamp(cell, 0, i32(constants.count) - 1));
}

fn codes_of(cell: i32) -> vec4<u32> {
    let words = codes[within(cell)];
    return vec4(words.x, words.x >> 16u, words.y, words.y >> 16u) & vec4(0xffffu);
}

// The four elements from 4 i + distance on.
fn values(i: u32, distance: i32) -> vec4<f32> {
    let cell = i32(i) + (distance >> 2u);
    let low = r[within(cell)];
    if (distance & 3) == 0 {
        return low;
    }
    let high = r[within(cell + 1)];
    if (distance & 3) == 1 {
        return vec4(low.yzw, high.x);
    }
    if (distance & 3) == 2 {
        return vec4(low.zw, high.xy);
    }
    return vec4(low.w, high.xyz);
}

// Their codes.
fn codes_at(i: u32, distance: i32) -> vec4<u32> {
    let cell = i32(i) + (distance >> 2u);
    let low = codes_of(cell);
    if (distance & 3) == 0 {
        return low;
    }
    let high = codes_of(cell + 1);
    if (distance & 3) == 1 {
        return vec4(low.yzw, high.x);
    }
    if (distance & 3) == 2 {
        return vec4(low.zw, high.xy);
    }
    return vec4(low.w, high.xyz);
}

// The diagonal, or 1 where it is 0.
fn diagonal(code: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(max(code >> vec4(6u), vec4(1u)));
}

// The values where a bit of the codes is set.
fn fluid(code: vec4<u32>, bit: u32, value: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), value, (code & vec4(bit)) != vec4(0u));
}

// y of the elements from 4 i + distance on, of which these are the codes.
fn upper(i: u32, distance: i32, code: vec4<u32>) -> vec4<f32> {
    var above = fluid(code, 32u, values(i, distance + 1)) + fluid(code, 8u, values(i, distance + STRIDE_Y));
    if STRIDE_Z > 0 {
        above += fluid(code, 2u, values(i, distance + STRIDE_Z));
    }
    return values(i, distance) + above / diagonal(code);
}

// y / d of the elements `distance` below.
fn scaled(i: u32, distance: i32) -> vec4<f32> {
    let code = codes_at(i, -distance);
    return upper(i, -distance, code) / diagonal(code);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let own = own_cells(constants, group.x, lane);
    for (var i = own.x; i < own.y; i += 8u) {
        let code = codes_of(i32(i));
        var sum = upper(i, 0, code) + fluid(code, 16u, scaled(i, 1)) + fluid(code, 4u, scaled(i, STRIDE_Y));
        if STRIDE_Z > 0 {
            sum += fluid(code, 1u, scaled(i, STRIDE_Z));
        }
        z[i] = select(vec4(0.0), sum, (code >> vec4(6u)) != vec4(0u));
    }
}
