// Elementary functions of all f32, of infinities and NaN too. WGSL's own are used for none of them: its exp is off by |x|
// units in the last place, its log near 1, its tanh near 0 and its sigmoid's tails have no relative accuracy, its sin and cos
// have an absolute one of 2^-11 between -π and π and none elsewhere, and Metal's tanh is NaN above 44. The bounds below, in
// units in the last place, hold on every device that keeps what WGSL promises: division within 2.5 units, `fma` fused or not.
// They leave out results under 2^-126, which may be flushed to 0.
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

// q = a/b, within 1.5 units, for b from 1 to 2: the remainder corrects what division loses, which WGSL lets be 2.5 units.
fn ratio(a: f32, b: f32) -> f32 {
    let q = a / b;
    return q + fma(-q, b, a) / b;
}

// y with the bits of x where that is NaN.
fn unless_nan(y: f32, x: f32) -> f32 {
    return bitcast<f32>(select(bitcast<u32>(y), bitcast<u32>(x), is_nan(x)));
}

// y >= 0 with the sign of x; x where that is NaN.
fn signed_by(y: f32, x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    return bitcast<f32>(select(bitcast<u32>(y) | (bits & 0x80000000u), bits, is_nan(x)));
}

// eˣ = 2ᵏ (1 + p).
struct Exponential {
    k: f32,
    p: f32,
}

// Of x from -110 to 90.
fn exponential_parts(x: f32) -> Exponential {
    // x = k ln 2 + r, p = eʳ - 1; the first part of ln 2 has 15 bits, so that its products are exact, fused or not. The
    // choice, which changes nothing, keeps compilers from adding the two parts up.
    let k = round(x * 1.44269504);
    let most = fma(k, -0.693145751953125, x);
    let r = fma(k, -1.42860677e-6, select(most, x, k == 0.0));
    var p = fma(1.9875691500e-4, r, 1.3981999507e-3);
    p = fma(p, r, 8.3334519073e-3);
    p = fma(p, r, 4.1665795894e-2);
    p = fma(p, r, 1.6666665459e-1);
    p = fma(p, r, 5.0000001201e-1);
    return Exponential(k, fma(p, r * r, r));
}

// 2ᵏ y, for k from -159 to 130: in two steps, since 2ᵏ alone need not be an f32.
fn scaled_by_power(y: f32, k: f32) -> f32 {
    let whole = i32(k);
    let half = whole >> 1u;
    return y * power_of_two(half) * power_of_two(whole - half);
}

// eˣ, within 2 units; 0 of -∞ and ∞ of ∞.
fn exponential(x: f32) -> f32 {
    let e = exponential_parts(clamp(x, -110.0, 90.0));
    return unless_nan(scaled_by_power(e.p + 1.0, e.k), x);
}

// eˣ - 1, within 2 units, near 0 as elsewhere; -1 of -∞ and ∞ of ∞.
fn expm1(x: f32) -> f32 {
    let e = exponential_parts(clamp(x, -20.0, 90.0));
    // 2ᵏ (p + 1 - 2⁻ᵏ)
    let rest = 1.0 - power_of_two(i32(max(-e.k, -100.0)));
    let y = scaled_by_power(e.p + rest, e.k);
    // where k is 0, p to the bit: a subnormal x and -0 as well
    return unless_nan(select(y, select(e.p, x, abs(x) < 1e-10), e.k == 0.0), x);
}

// ln(1 + f) - f, for f from √½ - 1 to √2 - 1.
fn logarithm_beyond(f: f32) -> f32 {
    var p = fma(0.0674663856625557, f, -0.11675651371479034);
    p = fma(p, f, 0.11888162791728973);
    p = fma(p, f, -0.1240558922290802);
    p = fma(p, f, 0.14219552278518677);
    p = fma(p, f, -0.1666799634695053);
    p = fma(p, f, 0.2000211924314499);
    p = fma(p, f, -0.25000008940696716);
    p = fma(p, f, 0.3333331346511841);
    return f * f * fma(f, p, -0.5);
}

// ln x, within 1 unit, near 1 as elsewhere; -∞ of 0, NaN of what is negative, ∞ of ∞.
fn logarithm(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    // a subnormal number is its bits times 2^-149
    let is_small = bits < 0x00800000u;
    let scaled = select(bits, bitcast<u32>(f32(bits)), is_small);
    // x = 2ᵏ (1 + f), 1 + f from √½ to √2
    let shifted = scaled - 0x3f3504f3u;
    let k = f32(bitcast<i32>(shifted) >> 23u) - select(0.0, 149.0, is_small);
    let f = bitcast<f32>((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0;
    let y = fma(k, 0.693145751953125, f + fma(k, 1.42860677e-6, logarithm_beyond(f)));
    let magnitude = bits & 0x7fffffffu;
    let other = select(select(0x7fc00000u, bits, (bits == 0x7f800000u) | is_nan(x)), 0xff800000u, magnitude == 0u);
    let is_ordinary = bits - 1u < 0x7f7fffffu;
    return bitcast<f32>(select(other, bitcast<u32>(y), is_ordinary));
}

// ln(1 + x), within 3 units, near 0 as elsewhere; -∞ of -1, NaN of what is less, ∞ of ∞.
fn log1p(x: f32) -> f32 {
    let near = x + logarithm_beyond(x);
    return select(logarithm(1.0 + x), select(near, x, abs(x) < 1e-10), (x > -0.29289) & (x < 0.41421));
}

// 1/(1 + e⁻ˣ), within 3 units.
fn sigmoid(x: f32) -> f32 {
    let e = exponential(-abs(x));
    return ratio(select(e, 1.0, x >= 0.0), 1.0 + e);
}

// ln(1 + eˣ), within 3 units.
fn softplus(x: f32) -> f32 {
    return select(0.0, x, x > 0.0) + log1p(exponential(-abs(x)));
}

// Within 3 units; ±1 of ±∞.
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
    return signed_by(select(far, near, size < 0.625), x);
}

// The error function, 2/√π ∫ exp(-t²) dt from 0 to x, within 3 units; ±1 of ±∞.
fn erf(x: f32) -> f32 {
    // beyond, it is 1 in f32
    let size = min(abs(x), 4.0);
    let z = size * size;
    var p = fma(8.382354280911386e-5, z, -8.145587635226548e-4);
    p = fma(p, z, 5.201284773647785e-3);
    p = fma(p, z, -2.6859499514102936e-2);
    p = fma(p, z, 0.11283697187900543);
    p = fma(p, z, -0.37612634897232056);
    p = fma(p, z, 0.12837916612625122);
    // no small product on the way, which might be flushed to 0
    let near = size * (1.0 + p);
    // ln(1 - erf)
    var q = fma(1.9821972819045186e-4, size, -3.065490862354636e-3);
    q = fma(q, size, 2.2315215319395065e-2);
    q = fma(q, size, -0.10411368310451508);
    q = fma(q, size, -0.6369760632514954);
    q = fma(q, size, -1.127797245979309);
    q = fma(q, size, -1.6644716379232705e-4);
    let far = 1.0 - exponential(q);
    return signed_by(select(far, near, size < 0.91), x);
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

// 1/(2π) in words of 32 bits, the first of which is whole: the four from word `n` on, for n from 0 to 4.
fn turn_words(n: u32) -> vec4<u32> {
    // word 8 is left out: bits that far do not count
    let by_one = (n & 1u) == 1u;
    let low = select(vec4(0u, 0x28be60dbu, 0x9391054au, 0x7f09d5f4u), vec4(0x28be60dbu, 0x9391054au, 0x7f09d5f4u, 0x7d4d3770u), by_one);
    let high = select(vec2(0x7d4d3770u, 0x36d8a566u), vec2(0x36d8a566u, 0x4f10e410u), by_one);
    let near = select(low, vec4(low.zw, high), (n & 2u) == 2u);
    return select(near, vec4(0x7d4d3770u, 0x36d8a566u, 0x4f10e410u, 0x7f9458eau), n >= 4u);
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
    let words = turn_words(first);
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
