// The rows of the flagged Laplacian for four cells along x at a time:
//
//     (A x)_i = d_i x_i - Σ x_j over the fluid neighbours j of i
//
// The codes say which neighbours are fluid, so no coordinates are needed: neighbours are at fixed distances in memory. A
// kernel says with `four` what cells hold.

#import shared/codes

// from row to row and from plane to plane, in cells; 0 where there is one plane
override STRIDE_Y: i32 = 4;
override STRIDE_Z: i32 = 16;

// Four cells, or others where there are none: what is not there is not used.
fn within(i: i32) -> u32 {
    return u32(clamp(i, 0, i32(constants.count) - 1));
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
