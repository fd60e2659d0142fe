// Element i is number i % 4 of the four that Philox4x32-10 of the counter (i / 4, 0, stream, 0) and the
// seed gives, as
// UNIFORM: (word >> 8) 2^-24, in [0, 1);
// RADEMACHER: 1 if the top bit is 0, else -1;
// NORMAL: by Box and Muller (1958) from words 0 and 1, and 2 and 3, as uniform numbers u1 in (0, 1] and u2:
//   √(-2 ln u1) (cos 2πu2, sin 2πu2).
// The first two are exact in f32, so the numbers are the same on every device. The third uses functions of
// its own, since WGSL's may be wrong by 2^-11; it agrees between devices to a few units in the last place.
// A cell of four words takes as many blocks of four numbers as it touches. Bytes an element: its own size.

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

#ifndef SCALAR
// Elements first to first + 3 of two blocks.
fn window(a: vec4<f32>, b: vec4<f32>, first: u32) -> vec4<f32> {
    let from_one = select(vec4(a.w, b.xyz), vec4(a.yzw, b.x), first == 1u);
    return select(select(from_one, vec4(a.zw, b.xy), first == 2u), a, first == 0u);
}
#endif

fn map(y: Words, x: Words, i: u32) -> Words {
#ifdef SCALAR
    let word = constants.first + i;
#ifdef DTYPE_F32
    return pack(block(word >> 2u)[word & 3u], 0.0);
#else
    // both are of one block
    let first = 2u * word;
    let four = block(first >> 2u);
    let two = select(four.xy, four.zw, (first & 2u) != 0u);
    return pack(two.x, two.y);
#endif
#else
    // a range of whole cells may begin at any word of its tensor
    let word = constants.first + 4u * i;
#ifdef DTYPE_F32
    let first = word & 3u;
    var four = block(word >> 2u);
    if first != 0u {
        four = window(four, block((word >> 2u) + 1u), first);
    }
    return pack(four, vec4(0.0));
#else
    let first = (2u * word) & 3u;
    let index = word >> 1u;
    var a = block(index);
    var b = block(index + 1u);
    if first != 0u {
        a = window(a, b, first);
        b = window(b, block(index + 2u), first);
    }
    return pack(vec4(a.xz, b.xz), vec4(a.yw, b.yw));
#endif
#endif
}
