// The adjoint of pool.wgsl: each element sums the windows that cover it.
//
//     x[p, i] = Σ y[p, o],  o·stride - padding <= i < o·stride - padding + size
//
// Where windows tile, nearest upsampling. Bindings: a is y. Workgroups, parts and order of summation:
// shared/window_sums.wgsl. Bytes: 4 for each element of x and 4 for each of y (from the cache after its
// first use). HALVES: 4 for each word of either.

#import shared/window_sums

#permute BACKWARD
#permute PARTS | - | CELLS | DISJOINT | DISJOINT CELLS | HALVES | HALVES CELLS | HALVES DISJOINT | HALVES DISJOINT CELLS

#ifdef HALVES
@group(0) @binding(1) var<storage, read> a: array<u32>;

fn term(at: u32, own: u32) -> vec2<f32> {
    return unpack2x16float(a[constants.a + at]);
}
#else
@group(0) @binding(1) var<storage, read> a: array<f32>;

fn term(at: u32, own: u32) -> f32 {
    return a[constants.a + at];
}
#endif
