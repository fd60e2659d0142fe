// The adjoint of pool_select.wgsl: each element sums, of the windows that cover it, those whose place it is.
//
//     x[p, i] = Σ y[p, o],  indices[p, o] = i
//
// Bindings: a is y, indices the places. Workgroups, parts and order of summation: shared/window_sums.wgsl.
// Bytes: 4 for each element of x and 8 for each of y (from the cache after its first use).

#import shared/window_sums

#permute BACKWARD
#permute PARTS | - | CELLS | DISJOINT | DISJOINT CELLS

@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;

fn term(at: u32, own: u32) -> f32 {
    return select(0.0, a[constants.a + at], indices[constants.indices + at] == own);
}
