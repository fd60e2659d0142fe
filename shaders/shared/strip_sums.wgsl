// Sums that strips leave: of each workgroup of 256, or, with PARTIAL_SUMS, for software drivers, of each of its invocations.
// Another dispatch, of one workgroup, adds them up with `total_of_sums` (shared/total.wgsl). Deterministic.

#import shared/tree

#permute - | PARTIAL_SUMS

@group(0) @binding(2) var<storage, read_write> partials: array<vec4<f32>>;

fn leave_sums(group: u32, lane: u32, sums: vec4<f32>) {
#ifdef PARTIAL_SUMS
    partials[group * 256u + lane] = sums;
#else
    let total = sum_runs(lane, 256u, sums);
    if lane == 0u {
        partials[group] = total;
    }
#endif
}
