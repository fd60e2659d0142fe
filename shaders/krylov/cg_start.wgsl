// x = 0 if b = 0, for then it is the solution, whatever it was before. PROJECTED: b and x = 0 if of b the
// projection onto the range of the operator has left no more than its rounding. Deterministic. Bytes an
// element: 4 if so, PROJECTED 8.

#import shared/blocks
#import shared/finite

#permute - | PROJECTED

// ⟨b, b⟩
@group(0) @binding(1) var<storage, read> square: array<f32>;
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>;
#ifdef PROJECTED
// ⟨b, b⟩ before the projection
@group(0) @binding(3) var<storage, read> whole: array<f32>;
@group(0) @binding(4) var<storage, read_write> b: array<vec4<f32>>;
#endif

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // by its bits: NaN is not unequal to anything in SPIR-V's ordered comparisons
    var zero = (bitcast<u32>(square[0]) & 0x7fffffffu) == 0u;
#ifdef PROJECTED
    // 2^-20 of the norm
    zero = zero || (is_finite(whole[0]) && square[0] <= 9.094947017729282e-13 * whole[0]);
#endif
    if !zero {
        return;
    }
    let own = own_cells(constants, group.x, lane);
    for (var i = own.x; i < own.y; i += 8u) {
        x[i] = vec4(0.0);
#ifdef PROJECTED
        b[i] = vec4(0.0);
#endif
    }
}
