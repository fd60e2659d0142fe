// Multiplication by powers of two, in integers: exact wherever f32 can hold the result, and the same on devices that flush
// subnormal numbers to zero.

// v · 2^k, rounded to nearest even where the result is subnormal; infinite where it is too large. NaN and infinity stay.
fn scaled(v: f32, k: i32) -> f32 {
    let bits = bitcast<u32>(v);
    let sign = bits & 0x80000000u;
    let magnitude = bits & 0x7fffffffu;
    if k == 0 || magnitude == 0u || magnitude >= 0x7f800000u {
        return v;
    }
    // a subnormal number is its mantissa times 2^-149
    var normal = magnitude;
    var exponent = k;
    if magnitude < 0x00800000u {
        normal = bitcast<u32>(f32(magnitude));
        exponent -= 149;
    }
    exponent += i32(normal >> 23u);
    let mantissa = normal & 0x007fffffu;
    if exponent >= 255 {
        return bitcast<f32>(sign | 0x7f800000u);
    }
    if exponent > 0 {
        return bitcast<f32>(sign | (u32(exponent) << 23u) | mantissa);
    }
    if exponent < -24 {
        return bitcast<f32>(sign);
    }
    let whole = mantissa | 0x00800000u;
    let shift = u32(1 - exponent);
    let rest = whole & ((1u << shift) - 1u);
    let half = 1u << (shift - 1u);
    var rounded = whole >> shift;
    if rest > half || (rest == half && (rounded & 1u) == 1u) {
        rounded += 1u;
    }
    return bitcast<f32>(sign | rounded);
}

fn scaled4(v: vec4<f32>, k: i32) -> vec4<f32> {
    return vec4(scaled(v.x, k), scaled(v.y, k), scaled(v.z, k), scaled(v.w, k));
}

// ⌊log2⌋ of the number whose bits these are, without its sign; 0 for zero, infinity and NaN.
fn exponent_of(magnitude: u32) -> i32 {
    if magnitude == 0u || magnitude >= 0x7f800000u {
        return 0;
    }
    if magnitude < 0x00800000u {
        return i32(firstLeadingBit(magnitude)) - 149;
    }
    return i32(magnitude >> 23u) - 127;
}
