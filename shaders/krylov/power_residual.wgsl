// Partial sums of ⟨w, w⟩ and ‖w - θ v‖² for w = A v / unit and θ = value / unit, value being ⟨v, A v⟩ and unit a power of
// two, so that squares neither overflow nor vanish. Deterministic. Bytes an element: 8.

#import shared/block_sums

@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> value: array<f32>;
@group(0) @binding(5) var<storage, read> unit: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = constants;
    let factor = value[0] / unit[0];
    let own = own_cells(c, group.x, lane);
    var squares = vec4(0.0);
    var residual = vec4(0.0);
    for (var i = own.x; i < own.y; i += RUN) {
        let rest = w[i] - factor * v[i];
        squares += w[i] * w[i];
        residual += rest * rest;
    }
    leave_sums(c, group.x, lane, vec4(dot(squares, vec4(1.0)), dot(residual, vec4(1.0)), 0.0, 0.0));
}
