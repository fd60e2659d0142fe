// magnitudes[SLOT] = max(magnitudes[SLOT], max |v_i|), as bits (shared/cg_magnitudes.wgsl): NaN is more than infinity, and
// infinity more than what is finite. Workgroups and cells of four elements: shared/blocks.wgsl. Deterministic: a
// maximum does not depend on the order. Bytes an element: 4.

#import shared/blocks

override SLOT: u32 = 0u;

@group(0) @binding(1) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> magnitudes: array<atomic<u32>>;

var<workgroup> shared_largest: atomic<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // workgroup memory is not zero at first
    if lane == 0u {
        atomicStore(&shared_largest, 0u);
    }
    workgroupBarrier();
    let own = own_cells(constants, group.x, lane);
    var largest = vec4(0u);
    for (var i = own.x; i < own.y; i += 8u) {
        largest = max(largest, bitcast<vec4<u32>>(v[i]) & vec4(0x7fffffffu));
    }
    atomicMax(&shared_largest, max(max(largest.x, largest.y), max(largest.z, largest.w)));
    workgroupBarrier();
    if lane == 0u {
        atomicMax(&magnitudes[SLOT], atomicLoad(&shared_largest));
    }
}
