// The rows of the flagged Laplacian for four cells along x at a time:
//
//     (A x)_i = d_i x_i - Σ x_j over the fluid neighbours j of i
//
// The code of a cell has a bit for each neighbour that is fluid (z - 1, z + 1, y - 1, y + 1, x - 1, x + 1 from the lowest
// on) and d_i, the number of neighbours that are not solid, from bit 6 on, so no coordinates are needed: neighbours are at
// fixed distances in memory. A kernel says with `four` what cells hold.

// from row to row and from plane to plane, in cells; 0 where there is one plane
override STRIDE_Y: u32 = 4u;
override STRIDE_Z: u32 = 16u;

// two a word
@group(0) @binding(4) var<storage, read> codes: array<vec2<u32>>;

fn codes_of(i: u32) -> vec4<u32> {
    let words = codes[i];
    return vec4(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
}

fn diagonals(code: vec4<u32>) -> vec4<f32> {
    return vec4<f32>((code >> vec4(6u)) & vec4(7u));
}

// Where there are none, others: what is not there is not used.
fn four_within(i: u32, count: u32) -> vec4<f32> {
    return four(min(i, count - 1u));
}

// The four from 4 i + distance on.
fn after(i: u32, distance: u32, count: u32) -> vec4<f32> {
    let low = four_within(i + distance / 4u, count);
    if distance % 4u == 0u {
        return low;
    }
    let high = four_within(i + distance / 4u + 1u, count);
    if distance % 4u == 1u {
        return vec4(low.yzw, high.x);
    }
    if distance % 4u == 2u {
        return vec4(low.zw, high.xy);
    }
    return vec4(low.w, high.xyz);
}

// The four from 4 i - distance on.
fn before(i: u32, distance: u32, count: u32) -> vec4<f32> {
    let high = four_within(i - distance / 4u, count);
    if distance % 4u == 0u {
        return high;
    }
    let low = four_within(i - distance / 4u - 1u, count);
    if distance % 4u == 1u {
        return vec4(low.w, high.xyz);
    }
    if distance % 4u == 2u {
        return vec4(low.zw, high.xy);
    }
    return vec4(low.yzw, high.x);
}

// The values of the neighbours that a bit of the codes tells are fluid.
fn fluid(code: vec4<u32>, bit: u32, values: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), values, (code & vec4(bit)) != vec4(0u));
}

// Σ over the fluid neighbours, of cells that hold `here`.
fn around(i: u32, code: vec4<u32>, here: vec4<f32>, count: u32) -> vec4<f32> {
    var sum = fluid(code, 16u, vec4(four_within(i - 1u, count).w, here.xyz));
    sum += fluid(code, 32u, vec4(here.yzw, four_within(i + 1u, count).x));
    sum += fluid(code, 4u, before(i, STRIDE_Y, count));
    sum += fluid(code, 8u, after(i, STRIDE_Y, count));
    if STRIDE_Z > 0u {
        sum += fluid(code, 1u, before(i, STRIDE_Z, count));
        sum += fluid(code, 2u, after(i, STRIDE_Z, count));
    }
    return sum;
}
