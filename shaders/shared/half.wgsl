// Two 16-bit floats in a word, the first in the low half, by integer arithmetic: no device feature,
// the same bits on every device, and denormals keep their values (WGSL's own pack2x16float may round
// either way and flush them). Needs PARAM_/GRAD_/… callers to choose f16 or bf16.

// f16 to f32, exact. The input is in the low 16 bits.
fn f16_to_f32(bits: vec4<u32>) -> vec4<f32> {
    let sign = (bits & vec4(0x8000u)) << vec4(16u);
    let exponent = (bits >> vec4(10u)) & vec4(0x1fu);
    let fraction = bits & vec4(0x3ffu);
    let normal = bitcast<vec4<f32>>(sign | ((exponent + vec4(112u)) << vec4(23u)) | (fraction << vec4(13u)));
    // 2^-24 units; the conversion and the product are exact
    let small = vec4<f32>(fraction) * vec4(5.9604644775390625e-8);
    let denormal = bitcast<vec4<f32>>(bitcast<vec4<u32>>(small) | sign);
    let special = bitcast<vec4<f32>>(sign | vec4(0x7f800000u) | (fraction << vec4(13u)));
    return select(select(normal, denormal, exponent == vec4(0u)), special, exponent == vec4(31u));
}

// bf16 to f32, exact. The input is in the low 16 bits.
fn bf16_to_f32(bits: vec4<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(bits << vec4(16u));
}

// f32 to f16, to nearest even.
fn f32_to_f16_nearest(x: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(x);
    let magnitude = bits & vec4(0x7fffffffu);
    let sign = (bits >> vec4(16u)) & vec4(0x8000u);
    // normal: round at bit 13, then move the exponent's bias from 127 to 15
    let rounded = magnitude + vec4(0xfffu) + ((magnitude >> vec4(13u)) & vec4(1u));
    let normal = min((rounded >> vec4(13u)) - vec4(112u << 10u), vec4(0x7c00u));
    // below 2^-14: adding and subtracting 2^23 in units of 2^-24 rounds to an integer, if nothing is
    // fused or reassociated; in integers instead: shift the fraction, hidden bit included
    let shift = min(vec4(126u) - (magnitude >> vec4(23u)), vec4(31u));
    let fraction = (magnitude & vec4(0x7fffffu)) | vec4(0x800000u);
    let halves = (vec4(1u) << (shift - vec4(1u))) - vec4(1u);
    let odd = (fraction >> shift) & vec4(1u);
    let denormal = select((fraction + halves + odd) >> shift, vec4(0u), shift > vec4(25u));
    let finite = select(normal, denormal, magnitude < vec4(0x38800000u));
    let nan = vec4(0x7e00u);
    let special = select(vec4(0x7c00u), nan, magnitude > vec4(0x7f800000u));
    return sign | select(finite, special, magnitude >= vec4(0x7f800000u));
}

// f32 to bf16, to nearest even.
fn f32_to_bf16_nearest(x: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(x);
    let rounded = (bits + vec4(0x7fffu) + ((bits >> vec4(16u)) & vec4(1u))) >> vec4(16u);
    let nan = (bits >> vec4(16u)) | vec4(0x40u);
    return select(rounded, nan, (bits & vec4(0x7fffffffu)) > vec4(0x7f800000u));
}

// f32 to f16: up with the probability of the fraction that is cut off, to the resolution of the
// random bits (13 for normal results, 16 for denormal ones).
fn f32_to_f16_stochastic(x: vec4<f32>, random: vec4<u32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(x);
    let magnitude = bits & vec4(0x7fffffffu);
    let sign = (bits >> vec4(16u)) & vec4(0x8000u);
    let dithered = magnitude + (random & vec4(0x1fffu));
    let normal = min((dithered >> vec4(13u)) - vec4(112u << 10u), vec4(0x7c00u));
    // in units of 2^-24: whole part, and the next 16 bits of the fraction
    let shift = min(vec4(126u) - (magnitude >> vec4(23u)), vec4(40u));
    let fraction = (magnitude & vec4(0x7fffffu)) | vec4(0x800000u);
    let whole = select(fraction >> min(shift, vec4(31u)), vec4(0u), shift > vec4(24u));
    let right = select(fraction >> min(shift - min(shift, vec4(16u)), vec4(31u)), vec4(0u), shift > vec4(40u));
    let left = fraction << (vec4(16u) - min(shift, vec4(16u)));
    let part = select(right, left, shift < vec4(16u)) & vec4(0xffffu);
    let denormal = whole + select(vec4(0u), vec4(1u), part > (random & vec4(0xffffu)));
    // an f32 denormal is far below the last random bit
    let tiny = magnitude < vec4(0x00800000u);
    let finite = select(normal, select(denormal, vec4(0u), tiny), magnitude < vec4(0x38800000u));
    let special = select(vec4(0x7c00u), vec4(0x7e00u), magnitude > vec4(0x7f800000u));
    return sign | select(finite, special, magnitude >= vec4(0x7f800000u));
}

// f32 to bf16: up with the probability of the fraction that is cut off, to 16 random bits.
fn f32_to_bf16_stochastic(x: vec4<f32>, random: vec4<u32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(x);
    let finite = (bits + (random & vec4(0xffffu))) >> vec4(16u);
    let special = (bits >> vec4(16u)) | select(vec4(0u), vec4(0x40u), (bits & vec4(0x7fffffffu)) > vec4(0x7f800000u));
    return select(finite, special, (bits & vec4(0x7f800000u)) == vec4(0x7f800000u));
}

// The low and high halves of two words, as four values in order.
fn halves(words: vec2<u32>) -> vec4<u32> {
    return vec4(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
}

// The inverse of `halves`.
fn words(halves: vec4<u32>) -> vec2<u32> {
    return vec2(halves.x | (halves.y << 16u), halves.z | (halves.w << 16u));
}
