// Sums over windows of the spatial axes; what is outside counts as 0:
//
//     y[p, o] = Σ_k x[p, o·stride + k - padding],  0 <= k < size
//
// Bindings: a is x. Workgroups, parts and order of summation: shared/window_sums.wgsl.
// Bytes: 4 for each element of x (more from the cache where windows overlap) and 4 for each of y. HALVES: 4 for
// each word of either.

#import shared/window_sums

#permute - | PARTS | HALVES

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
