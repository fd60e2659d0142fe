// z, the preconditioned residual. PRECONDITIONED: r in its place where the state says that the preconditioner is not used.
// The importing kernel supplies `state`.

#permute - | PRECONDITIONED

@group(0) @binding(9) var<storage, read> z: array<vec4<f32>>;
#ifdef PRECONDITIONED
@group(0) @binding(10) var<storage, read> r: array<vec4<f32>>;
#endif

// `plain` is `state.plain != 0u`, read once.
fn preconditioned(i: u32, plain: bool) -> vec4<f32> {
#ifdef PRECONDITIONED
    if plain {
        return r[i];
    }
#endif
    return z[i];
}
