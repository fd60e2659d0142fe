// Sums over windows of the spatial axes; what is outside counts as 0:
//
//     y[p, o] = Σ_k x[p, o·stride + k - padding],  0 <= k < size
//
// Bindings: a is x. Workgroups, parts and order of summation: shared/window_sums.wgsl.
// Bytes: 4 for each element of x (more from the cache where windows overlap) and 4 for each of y.

#import shared/window_sums

#permute - | PARTS

@group(0) @binding(1) var<storage, read> a: array<f32>;

fn term(at: u32, own: u32) -> f32 {
    return a[constants.a + at];
}
