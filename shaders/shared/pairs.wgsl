// Activations of 16-bit floats: two channels of a place in a word, the even one in the low half, so that none is
// written by two invocations, and one load serves both. A last channel without a partner has 0 beside it.
//
// Unpacking is WGSL's own, which is exact but for denormals, which devices may flush; packing is in integers, for WGSL leaves
// its rounding open, and what becomes of values out of range: here they are infinite.

#import shared/half

fn pair_of(values: vec2<f32>) -> u32 {
    let bits = f32_to_f16_nearest(vec4(values, 0.0, 0.0));
    return bits.x | (bits.y << 16u);
}

#ifndef GENERATED
fn store_pair(i: u32, values: vec2<f32>) {
    stand_in[i] = bitcast<f32>(pair_of(values));
}
#endif
