// taken = taken + 1, the end of a sample. COLLECT: before that, the sample's results, constants.count numbers
// constants.stride apart, become row `taken` of `samples`. One workgroup of 64. Bytes: 8 a result.

#permute - | COLLECT

@group(0) @binding(1) var<storage, read_write> taken: array<u32>;

#ifdef COLLECT
struct AdvanceConstants {
    count: u32,
    stride: u32,
}

@group(0) @binding(0) var<uniform> constants: AdvanceConstants;
@group(0) @binding(2) var<storage, read> results: array<f32>;
@group(0) @binding(3) var<storage, read_write> samples: array<f32>;
#endif

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
#ifdef COLLECT
    let row = taken[0] * constants.count;
    for (var i = lane; i < constants.count; i += 64u) {
        samples[row + i] = results[i * constants.stride];
    }
    // all have read the number
    workgroupBarrier();
#endif
    if lane == 0u {
        taken[0] += 1u;
    }
}
