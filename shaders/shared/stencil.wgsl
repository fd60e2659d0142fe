// The rows of the flagged Laplacian for four cells along x at a time:
//
//     (A x)_i = d_i x_i - Σ x_j over the fluid neighbours j of i
//
// The code of a cell has a bit for each neighbour that is fluid (z - 1, z + 1, y - 1, y + 1, x - 1, x + 1 from the lowest
// on) and d_i, the number of neighbours that are not solid, from bit 6 on, so no coordinates are needed: neighbours are at
// fixed distances in memory. A kernel says with `four` what cells hold.

// from row to row and from plane to plane, in cells; 0 where there is one plane
override STRIDE_Y: i32 = 4;
override STRIDE_Z: i32 = 16;

// two a word
@group(0) @binding(4) var<storage, read> codes: array<vec2<u32>>;

// Four cells, or others where there are none: what is not there is not used.
fn within(i: i32) -> u32 {
    return u32(clamp(i, 0, i32(constants.count) - 1));
}

fn codes_of(i: u32) -> vec4<u32> {
    let words = codes[i];
    return vec4(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
}

fn diagonals(code: vec4<u32>) -> vec4<f32> {
    return vec4<f32>((code >> vec4(6u)) & vec4(7u));
}

// What the four cells from 4 i + distance on hold.
fn shifted(i: u32, distance: i32) -> vec4<f32> {
    let at = i32(i) + (distance >> 2u);
    let low = four(within(at));
    if (distance & 3) == 0 {
        return low;
    }
    let high = four(within(at + 1));
    if (distance & 3) == 1 {
        return vec4(low.yzw, high.x);
    }
    if (distance & 3) == 2 {
        return vec4(low.zw, high.xy);
    }
    return vec4(low.w, high.xyz);
}

// The values of the neighbours that a bit of the codes tells are fluid.
fn fluid(code: vec4<u32>, bit: u32, values: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), values, (code & vec4(bit)) != vec4(0u));
}

// Σ over the fluid neighbours, of cells that hold `here`.
fn around(i: u32, code: vec4<u32>, here: vec4<f32>) -> vec4<f32> {
    var sum = fluid(code, 16u, vec4(four(within(i32(i) - 1)).w, here.xyz));
    sum += fluid(code, 32u, vec4(here.yzw, four(within(i32(i) + 1)).x));
    sum += fluid(code, 4u, shifted(i, -STRIDE_Y)) + fluid(code, 8u, shifted(i, STRIDE_Y));
    if STRIDE_Z > 0 {
        sum += fluid(code, 1u, shifted(i, -STRIDE_Z)) + fluid(code, 2u, shifted(i, STRIDE_Z));
    }
    return sum;
}
