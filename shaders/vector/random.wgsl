// Element i is word i % 4 of Philox4x32-10 of the counter (i / 4, 0, stream, 0) and the seed, as
// UNIFORM: (word >> 8) 2^-24, in [0, 1); or RADEMACHER: 1 if the top bit is 0, else -1. Both are exact
// in f32, so the numbers are the same on every device. Bytes an element: its own size.

#permute WRITE_ONLY UNIFORM | WRITE_ONLY RADEMACHER
#import shared/map
#import shared/philox

fn real(bits: Words) -> Floats {
#ifdef UNIFORM
    return Floats(bits >> Words(8u)) * 5.9604644775390625e-8;
#else
    return Floats(1.0) - 2.0 * Floats(bits >> Words(31u));
#endif
}

fn block(index: u32) -> vec4<u32> {
    return philox4x32(vec4(index, 0u, constants.stream, 0u), vec2(constants.seed_low, constants.seed_high));
}

fn element(i: u32) -> u32 {
    return block(i >> 2u)[i & 3u];
}

fn map(y: Words, x: Words, i: u32) -> Words {
#ifdef SCALAR
#ifdef DTYPE_F32
    return pack(real(element(constants.first + i)), 0.0);
#else
    let first = 2u * (constants.first + i);
    return pack(real(element(first)), real(element(first + 1u)));
#endif
#else
    // a range of whole cells may begin at any word of its tensor
    let word = constants.first + 4u * i;
#ifdef DTYPE_F32
    if (word & 3u) == 0u {
        return pack(real(block(word >> 2u)), vec4(0.0));
    }
    return pack(real(vec4(element(word), element(word + 1u), element(word + 2u), element(word + 3u))), vec4(0.0));
#else
    let e = 2u * word;
    let low_bits = vec4(element(e), element(e + 2u), element(e + 4u), element(e + 6u));
    let high_bits = vec4(element(e + 1u), element(e + 3u), element(e + 5u), element(e + 7u));
    return pack(real(low_bits), real(high_bits));
#endif
#endif
}
