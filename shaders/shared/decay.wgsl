// Decoupled weight decay, p (1 - rate), whose rounding errors do not add up.
//
// A rate below 2^-25 rounds to no change in f32, step after step. So p is moved by a whole number of units in its last
// place, n = ⌊rate |p| / unit + dither⌋, with the step's dither = frac(t / golden ratio), the sequence of lowest
// discrepancy: after any number of steps the n add up to what they should, to a few units in the last place and 1e-5 of their sum. Below 2^-102, where units are subnormal, p is rounded to nearest.
// Deterministic: it depends on p, the rate and the step count.

fn decayed(p: vec4<f32>, rate: f32, dither: f32) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(p);
    let exponent = bits & vec4(0x7f800000u);
    // p = mantissa unit, signed as p
    let mantissa = vec4<f32>((bits & vec4(0x7fffffu)) | vec4(0x800000u));
    let unit = bitcast<vec4<f32>>((bits & vec4(0x80000000u)) | (max(exponent, vec4(24u << 23u)) - vec4(23u << 23u)));
    let moved = (mantissa - floor(mantissa * rate + vec4(dither))) * unit;
    let small = exponent < vec4(24u << 23u);
    // infinities and NaNs stay what they are
    let finite = exponent != vec4(0x7f800000u);
    return select(p, select(moved, p - rate * p, small), finite);
}
