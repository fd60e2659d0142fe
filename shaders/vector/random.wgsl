// Element i is number i % 4 of the four that Philox4x32-10 of the counter (i / 4, 0, stream, 0) and the
// seed gives, as
// UNIFORM: (word >> 8) 2^-24, in [0, 1);
// RADEMACHER: 1 if the top bit is 0, else -1;
// NORMAL: by Box and Muller (1958) from words 0 and 1, and 2 and 3, as uniform numbers u1 in (0, 1] and u2:
//   √(-2 ln u1) (cos 2πu2, sin 2πu2).
// The first two are exact in f32, so the numbers are the same on every device. The third uses functions of
// its own, since WGSL's may be wrong by 2^-11; it agrees between devices to a few units in the last place.
// Bytes an element: its own size.

#permute WRITE_ONLY UNIFORM | WRITE_ONLY RADEMACHER | WRITE_ONLY NORMAL
#import shared/map
#import shared/philox

#ifdef NORMAL
// ln x for normal x > 0: x = 2^k m with m in [√½, √2), and ln m = 2 artanh s, s = (m-1)/(m+1), by its series.
fn logarithm(x: vec2<f32>) -> vec2<f32> {
    let shifted = bitcast<vec2<u32>>(x) - vec2(0x3f3504f3u);
    let exponent = bitcast<vec2<i32>>(shifted) >> vec2(23u);
    let m = bitcast<vec2<f32>>((shifted & vec2(0x7fffffu)) + vec2(0x3f3504f3u));
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let series = 2.0 * s + s * z * (2.0 / 3.0 + z * (2.0 / 5.0 + z * (2.0 / 7.0 + z * (2.0 / 9.0 + z * (2.0 / 11.0)))));
    return vec2<f32>(exponent) * 0.6931471805599453 + series;
}

// (cos 2πu, sin 2πu) for u = word 2^-24: the nearest quarter turn is exact in integers, and what is left, at
// most an eighth of a turn either way, goes into the Taylor series.
fn turn(word: u32) -> vec2<f32> {
    let quarter = (word + 0x200000u) >> 22u;
    let angle = f32(i32(word) - i32(quarter << 22u)) * (6.283185307179586 * 5.9604644775390625e-8);
    let z = angle * angle;
    let sine = angle + angle * z * (-1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z * (1.0 / 362880.0))));
    let cosine = 1.0 + z * (-0.5 + z * (1.0 / 24.0 + z * (-1.0 / 720.0 + z * (1.0 / 40320.0 + z * (-1.0 / 3628800.0)))));
    let swapped = select(vec2(cosine, sine), vec2(-sine, cosine), (quarter & 1u) == 1u);
    return select(swapped, -swapped, (quarter & 2u) == 2u);
}
#endif

// The numbers of elements 4 index to 4 index + 3.
fn block(index: u32) -> vec4<f32> {
    let bits = philox4x32(vec4(index, 0u, constants.stream, 0u), vec2(constants.seed_low, constants.seed_high));
#ifdef UNIFORM
    return vec4<f32>(bits >> vec4(8u)) * 5.9604644775390625e-8;
#else
#ifdef RADEMACHER
    return vec4(1.0) - 2.0 * vec4<f32>(bits >> vec4(31u));
#else
    let radius = sqrt(-2.0 * logarithm(vec2<f32>((bits.xz >> vec2(8u)) + vec2(1u)) * 5.9604644775390625e-8));
    return vec4(radius.x * turn(bits.y >> 8u), radius.y * turn(bits.w >> 8u));
#endif
#endif
}

fn element(i: u32) -> f32 {
    return block(i >> 2u)[i & 3u];
}

fn map(y: Words, x: Words, i: u32) -> Words {
#ifdef SCALAR
#ifdef DTYPE_F32
    return pack(element(constants.first + i), 0.0);
#else
    let first = 2u * (constants.first + i);
    return pack(element(first), element(first + 1u));
#endif
#else
    // a range of whole cells may begin at any word of its tensor
    let word = constants.first + 4u * i;
#ifdef DTYPE_F32
    if (word & 3u) == 0u {
        return pack(block(word >> 2u), vec4(0.0));
    }
    return pack(vec4(element(word), element(word + 1u), element(word + 2u), element(word + 3u)), vec4(0.0));
#else
    let e = 2u * word;
    let low_half = vec4(element(e), element(e + 2u), element(e + 4u), element(e + 6u));
    let high_half = vec4(element(e + 1u), element(e + 3u), element(e + 5u), element(e + 7u));
    return pack(low_half, high_half);
#endif
#endif
}
