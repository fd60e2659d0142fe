// Tensors of one element type as words of 32 bits: one f32, or two 16-bit floats, the first in the
// low half. Elementwise kernels do the same to both halves and need not know how many there are.
//
// By default four words are one load of 16 bytes; with SCALAR words are loaded one by one, so that a
// range may begin anywhere. PARTIAL: the one word of the range is only in part the tensor's.

#import shared/half

#permute DTYPE_F32 | DTYPE_F16 | DTYPE_BF16
#permute - | SCALAR | SCALAR PARTIAL

#ifdef SCALAR
alias Words = u32;
alias Floats = f32;
#else
alias Words = vec4<u32>;
alias Floats = vec4<f32>;
#endif

// A range of words and where it is in each binding, in units of Words.
struct VectorConstants {
    x: u32,
    y: u32,
    count: u32,
    // how many a workgroup takes at a time, a multiple of 256
    block: u32,
    // PARTIAL: the bits of the word that are the tensor's
    mask: u32,
    // the first word's index in its tensor
    first: u32,
    seed_low: u32,
    seed_high: u32,
    stream: u32,
}

@group(0) @binding(0) var<uniform> constants: VectorConstants;

// The only element of f32, or the first of two.
fn low(w: Words) -> Floats {
#ifdef DTYPE_F32
    return bitcast<Floats>(w);
#else
    return widen(w & Words(0xffffu));
#endif
}

// The second of two elements.
fn high(w: Words) -> Floats {
#ifdef DTYPE_F32
    return Floats(0.0);
#else
    return widen(w >> Words(16u));
#endif
}

#ifndef DTYPE_F32
fn widen(bits: Words) -> Floats {
#ifdef DTYPE_F16
#ifdef SCALAR
    return f16_to_f32(vec4(bits)).x;
#else
    return f16_to_f32(bits);
#endif
#else
    return bitcast<Floats>(bits << Words(16u));
#endif
}
#endif

// To nearest even.
fn pack(low: Floats, high: Floats) -> Words {
#ifdef DTYPE_F32
    return bitcast<Words>(low);
#else
#ifdef DTYPE_F16
#ifdef SCALAR
    return f32_to_f16_nearest(vec4(low)).x | (f32_to_f16_nearest(vec4(high)).x << 16u);
#else
    return f32_to_f16_nearest(low) | (f32_to_f16_nearest(high) << vec4(16u));
#endif
#else
#ifdef SCALAR
    return f32_to_bf16_nearest(vec4(low)).x | (f32_to_bf16_nearest(vec4(high)).x << 16u);
#else
    return f32_to_bf16_nearest(low) | (f32_to_bf16_nearest(high) << vec4(16u));
#endif
#endif
#endif
}
