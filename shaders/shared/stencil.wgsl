// The rows of the flagged Laplacian for four cells along x at a time:
//
//     (A x)_i = d_i x_i - Σ x_j over the fluid neighbours j of i
//
// The codes say which neighbours are fluid, so no coordinates are needed: neighbours are at fixed distances in memory. A
// kernel says with `four` what cells hold.

#import shared/codes
#import shared/shifts

// The values of the neighbours that a bit of the codes tells are fluid.
fn fluid(code: vec4<u32>, bit: u32, values: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), values, (code & vec4(bit)) != vec4(0u));
}

// Σ over the fluid neighbours, of cells that hold `here`.
fn around(i: u32, code: vec4<u32>, here: vec4<f32>) -> vec4<f32> {
    var sum = fluid(code, 16u, vec4(four(within(i32(i) - 1)).w, here.xyz));
    sum += fluid(code, 32u, vec4(here.yzw, four(within(i32(i) + 1)).x));
    sum += fluid(code, 4u, shifted(i, -stride_y())) + fluid(code, 8u, shifted(i, stride_y()));
    if stride_z() > 0 {
        sum += fluid(code, 1u, shifted(i, -stride_z())) + fluid(code, 2u, shifted(i, stride_z()));
    }
    return sum;
}
