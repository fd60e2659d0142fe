// r of a learned multigrid's finest level, in rows without padding.

#import shared/strips
#import shared/dense_rows

#ifdef ALIGNED
@group(0) @binding(7) var<storage, read> r: array<vec4<f32>>;
#else
@group(0) @binding(7) var<storage, read> r: array<f32>;
#endif

fn residual_at(l: Lattice, i: u32, y: u32, z: u32) -> vec4<f32> {
    let at = dense_place(l, i, y, z);
#ifdef ALIGNED
    return r[at / 4u];
#else
    // beyond the row is something else, or the same again
    let last = at + dense_count(l, i) - 1u;
    return vec4(r[at], r[min(at + 1u, last)], r[min(at + 2u, last)], r[min(at + 3u, last)]);
#endif
}
