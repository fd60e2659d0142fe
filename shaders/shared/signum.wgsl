// The sign of each element: 0 of 0, NaN of NaN, which WGSL does not promise of sign().
fn signum(x: vec4<f32>) -> vec4<f32> {
    let magnitude = bitcast<vec4<u32>>(x) & vec4(0x7fffffffu);
    let one = bitcast<vec4<f32>>((bitcast<vec4<u32>>(x) & vec4(0x80000000u)) | vec4(0x3f800000u));
    return select(one, x, (magnitude == vec4(0u)) | (magnitude > vec4(0x7f800000u)));
}
