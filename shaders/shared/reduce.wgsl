// The layout of reductions of one or two tensors to one f32, in two dispatches.
//
// PARTIAL: blocks of 2,048 cells of four words, counted from the tensor's start, each the work of a
// workgroup, which leaves one partial result. SCALAR: the cells are not aligned to 16 bytes.
// FINISH: one workgroup combines the partial results, and takes the last words, less than a cell,
// from the tensors.
//
// Deterministic: the tree's shape depends on the number of elements alone. Bytes an element: the size
// of each operand.

#import shared/half
#import shared/tree

#permute PARTIAL | PARTIAL SCALAR | FINISH
#permute DTYPE_F32 | DTYPE_F16 | DTYPE_BF16

const BLOCK: u32 = 2048u;
#ifdef PARTIAL
// how many cells, 256 apart, an invocation loads at a time: 4 or 1
override LOADS: u32 = 4u;
#endif

struct ReduceConstants {
    // where each operand's words begin, in cells (in words with SCALAR and FINISH)
    x: u32,
    y: u32,
    // PARTIAL: the cells of this dispatch. FINISH: the words that are left over.
    count: u32,
    // PARTIAL: where the partial results begin. FINISH: how many there are.
    partials: u32,
    // FINISH: 1 if the last word's high half is not the tensors'
    half: u32,
}

@group(0) @binding(0) var<uniform> constants: ReduceConstants;

#ifdef FINISH
alias Cell = u32;
#else
#ifdef SCALAR
alias Cell = u32;
#else
alias Cell = vec4<u32>;
#endif
#endif

@group(0) @binding(1) var<storage, read> x: array<Cell>;

fn load_x(i: u32) -> vec4<u32> {
#ifdef FINISH
    return vec4(x[constants.x + i], 0u, 0u, 0u);
#else
#ifdef SCALAR
    let at = constants.x + 4u * i;
    return vec4(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
#else
    return x[constants.x + i];
#endif
#endif
}

fn low(w: vec4<u32>) -> vec4<f32> {
#ifdef DTYPE_F32
    return bitcast<vec4<f32>>(w);
#else
    return widen(w & vec4(0xffffu));
#endif
}

fn high(w: vec4<u32>) -> vec4<f32> {
#ifdef DTYPE_F32
    return vec4(0.0);
#else
    return widen(w >> vec4(16u));
#endif
}

#ifndef DTYPE_F32
fn widen(bits: vec4<u32>) -> vec4<f32> {
#ifdef DTYPE_F16
    return f16_to_f32(bits);
#else
    return bf16_to_f32(bits);
#endif
}
#endif
