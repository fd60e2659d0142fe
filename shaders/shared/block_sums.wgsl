// Sums over vectors in blocks: each block leaves a vec4, up to four sums at once; with PARTIAL_SUMS, for
// software drivers, each of its 256 invocations does. Another dispatch, of one workgroup, adds them up with
// `total_of_sums` (shared/total.wgsl). Deterministic: the tree's shape depends on the length alone.

#import shared/blocks
#import shared/tree

#permute - | PARTIAL_SUMS

@group(0) @binding(1) var<storage, read_write> partials: array<vec4<f32>>;

fn leave_sums(c: BlockConstants, group: u32, lane: u32, sums: vec4<f32>) {
#ifdef PARTIAL_SUMS
    partials[(c.first + group) * 256u + lane] = sums;
#else
    let total = sum_runs(lane, 256u, sums);
    if lane == 0u {
        partials[c.first + group] = total;
    }
#endif
}
