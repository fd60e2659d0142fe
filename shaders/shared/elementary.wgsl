// Elementary functions of all f32, to a few units in the last place, of infinities and NaN too. WGSL's own are used for none of
// them: its exp is off by |x| units, its log near 1, its tanh near 0 and its sigmoid's tails have no relative accuracy, its sin
// and cos have an absolute one of 2^-11 between -π and π and none elsewhere, and Metal's tanh is NaN above 44. Bounds below are
// relative and leave out that results under 2^-126 may be flushed to 0.
//
// Infinities and NaN are told, and made, by their bits: compilers take it for granted that there are none. A NaN gives a NaN.
//
// `graph/pointwise.wgsl` imports this file so that a test validates it; `src/graph/emit.rs` adds it to generated code.

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// For n from -126 to 127.
fn power_of_two(n: i32) -> f32 {
    return bitcast<f32>(u32(n + 127) << 23u);
}

// eˣ, within 3e-7; 0 of -∞ and ∞ of ∞.
fn exponential(x: f32) -> f32 {
    let bounded = clamp(x, -110.0, 90.0);
    // eˣ = 2ᵏ eʳ; the first part of ln 2 has 15 bits, so that its products are exact, fused or not. The choice, which changes
    // nothing, keeps compilers from adding the two parts up.
    let k = round(bounded * 1.44269504);
    let most = fma(k, -0.693145751953125, bounded);
    let r = fma(k, -1.42860677e-6, select(most, bounded, k == 0.0));
    var p = fma(1.9875691500e-4, r, 1.3981999507e-3);
    p = fma(p, r, 8.3334519073e-3);
    p = fma(p, r, 4.1665795894e-2);
    p = fma(p, r, 1.6666665459e-1);
    p = fma(p, r, 5.0000001201e-1);
    p = fma(p, r * r, r) + 1.0;
    // in two steps, since 2ᵏ alone need not be an f32
    let whole = i32(k);
    let half = whole >> 1u;
    let y = p * power_of_two(half) * power_of_two(whole - half);
    return bitcast<f32>(select(bitcast<u32>(y), bitcast<u32>(x), is_nan(x)));
}

// ln x, within 5e-7, near 1 as elsewhere; -∞ of 0, NaN of what is negative, ∞ of ∞.
fn logarithm(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    // a subnormal number is its bits times 2^-149
    let is_small = bits < 0x00800000u;
    let scaled = select(bits, bitcast<u32>(f32(bits)), is_small);
    // x = 2ᵏ m, m from √½ to √2; ln m = 2 artanh s
    let shifted = scaled - 0x3f3504f3u;
    let k = f32(bitcast<i32>(shifted) >> 23u) - select(0.0, 149.0, is_small);
    let m = bitcast<f32>((shifted & 0x007fffffu) + 0x3f3504f3u);
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    var p = fma(0.1111111111, z, 0.1428571429);
    p = fma(p, z, 0.2);
    p = fma(p, z, 0.3333333333);
    let y = fma(k, 0.693145751953125, fma(k, 1.42860677e-6, 2.0 * fma(p * z, s, s)));
    let magnitude = bits & 0x7fffffffu;
    let other = select(select(0x7fc00000u, bits, (bits == 0x7f800000u) | is_nan(x)), 0xff800000u, magnitude == 0u);
    let is_ordinary = bits - 1u < 0x7f7fffffu;
    return bitcast<f32>(select(other, bitcast<u32>(y), is_ordinary));
}

// ln(1 + u) for u from 0 to 1, within 5e-7.
fn logarithm_of_one_plus(u: f32) -> f32 {
    // 2 artanh s
    let s = u / (2.0 + u);
    let z = s * s;
    var p = fma(0.0769230769, z, 0.0909090909);
    p = fma(p, z, 0.1111111111);
    p = fma(p, z, 0.1428571429);
    p = fma(p, z, 0.2);
    p = fma(p, z, 0.3333333333);
    return 2.0 * fma(p * z, s, s);
}

// 1/(1 + e⁻ˣ), within 1e-6.
fn sigmoid(x: f32) -> f32 {
    let e = exponential(-abs(x));
    return select(e, 1.0, x >= 0.0) / (1.0 + e);
}

// ln(1 + eˣ), within 1e-6.
fn softplus(x: f32) -> f32 {
    return select(0.0, x, x > 0.0) + logarithm_of_one_plus(exponential(-abs(x)));
}

// Within 5e-7; ±1 of ±∞.
fn hyperbolic_tangent(x: f32) -> f32 {
    // beyond, it is 1 in f32
    let size = min(abs(x), 10.0);
    let z = size * size;
    var p = fma(-5.70498872745e-3, z, 2.06390887954e-2);
    p = fma(p, z, -5.37397155531e-2);
    p = fma(p, z, 1.33314422036e-1);
    p = fma(p, z, -3.33332819422e-1);
    let near = fma(p * z, size, size);
    let far = 1.0 - 2.0 / (exponential(2.0 * size) + 1.0);
    let y = select(far, near, size < 0.625);
    let bits = bitcast<u32>(x);
    return bitcast<f32>(select(bitcast<u32>(y) | (bits & 0x80000000u), bits, is_nan(x)));
}

// The upper half of a product.
fn upper_product(a: u32, b: u32) -> u32 {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let middle = a1 * b0 + ((a0 * b0) >> 16u);
    let rest = a0 * b1 + (middle & 0xffffu);
    return a1 * b1 + (middle >> 16u) + (rest >> 16u);
}

// 1/(2π) in words: word 0 is whole, the others are fractions.
fn turn_word(n: u32) -> u32 {
    let low = vec4(select(0u, 0x28be60dbu, n == 1u), select(0u, 0x9391054au, n == 2u), select(0u, 0x7f09d5f4u, n == 3u), select(0u, 0x7d4d3770u, n == 4u));
    let high = vec3(select(0u, 0x36d8a566u, n == 5u), select(0u, 0x4f10e410u, n == 6u), select(0u, 0x7f9458eau, n == 7u));
    return low.x | low.y | low.z | low.w | high.x | high.y | high.z;
}

struct Angle {
    // of a turn
    quarters: u32,
    // from -π/4 to π/4
    rest: f32,
}

// |x| as an angle, for finite x: the product with 1/(2π), as many bits of it as count, in integers (Payne and Hanek 1983).
fn angle(x: f32) -> Angle {
    let magnitude = bitcast<u32>(x) & 0x7fffffffu;
    // x = mantissa 2^(exponent - 32)
    let exponent = max(magnitude >> 23u, 126u) - 126u;
    let mantissa = ((magnitude & 0x007fffffu) << 8u) | 0x80000000u;
    let first = exponent >> 5u;
    let shift = exponent & 31u;
    let words = vec4(turn_word(first), turn_word(first + 1u), turn_word(first + 2u), turn_word(first + 3u));
    let carried = select(vec3(0u), words.yzw >> vec3((32u - shift) & 31u), shift != 0u);
    let turn = (words.xyz << vec3(shift)) | carried;
    let from_last = upper_product(mantissa, turn.z);
    let low = mantissa * turn.y + from_last;
    let carry = select(0u, 1u, low < from_last);
    let high = upper_product(mantissa, turn.y) + carry + mantissa * turn.x;
    // two bits are the quarters, 62 the fraction of a quarter; more than a half counts back from the next quarter
    let fraction = high & 0x3fffffffu;
    let is_back = fraction >= 0x20000000u;
    let back = 0x40000000u - fraction - select(0u, 1u, low != 0u);
    let upper = f32(select(fraction, back, is_back)) * 9.313225746154785e-10;
    let lower = f32(select(low, 0u - low, is_back)) * 2.168404344971009e-19;
    let rest = (upper + lower) * 1.5707963267948966;
    let is_small = magnitude < 0x3f490fdau;
    let quarters = (high >> 30u) + select(0u, 1u, is_back);
    return Angle(select(quarters, 0u, is_small), select(select(rest, -rest, is_back), abs(x), is_small));
}

// The sine of an angle and a number of quarters more, within 3e-7.
fn sine_of(a: Angle, more: u32) -> f32 {
    let z = a.rest * a.rest;
    var s = fma(-1.9515295891e-4, z, 8.3321608736e-3);
    s = fma(s, z, -1.6666654611e-1);
    s = fma(s * z, a.rest, a.rest);
    var c = fma(2.443315711809948e-5, z, -1.388731625493765e-3);
    c = fma(c, z, 4.166664568298827e-2);
    c = fma(c * z, z, fma(-0.5, z, 1.0));
    let quarters = a.quarters + more;
    let y = select(s, c, (quarters & 1u) == 1u);
    return select(y, -y, (quarters & 2u) == 2u);
}

// y, and NaN where x is not finite.
fn of_finite(x: f32, y: f32) -> f32 {
    let magnitude = bitcast<u32>(x) & 0x7fffffffu;
    return bitcast<f32>(select(bitcast<u32>(y), magnitude | 0x7fc00000u, magnitude >= 0x7f800000u));
}

// Within 5e-7 for all finite x; NaN of ±∞.
fn sine(x: f32) -> f32 {
    let y = sine_of(angle(x), 0u);
    return of_finite(x, bitcast<f32>(bitcast<u32>(y) ^ (bitcast<u32>(x) & 0x80000000u)));
}

// Within 5e-7 for all finite x; NaN of ±∞.
fn cosine(x: f32) -> f32 {
    return of_finite(x, sine_of(angle(x), 1u));
}
