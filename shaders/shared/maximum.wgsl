// Comparisons that keep NaN: max() may drop one, and compilers may take for granted that there is none, so they are by bits.

// The greater of two numbers that are not negative. A NaN is above all others.
fn maximum(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let bits = vec4(0x7fffffffu);
    return bitcast<vec4<f32>>(max(bitcast<vec4<u32>>(a) & bits, bitcast<vec4<u32>>(b) & bits));
}

// 0 in place of what is below 0. NaN stays.
fn not_negative(a: vec4<f32>) -> vec4<f32> {
    return select(a, vec4(0.0), bitcast<vec4<u32>>(a) - vec4(0x80000000u) <= vec4(0x7f800000u));
}
