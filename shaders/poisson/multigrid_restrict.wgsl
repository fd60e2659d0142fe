// The right-hand side of the next level, b = Pᵀ r, from a residual (shared/transfers.wgsl). COARSE: of a level that is not the finest.
//
// Workgroups of 256, which go over coarse unknowns in blocks, an invocation for one at a time. Deterministic. Bytes a fine cell: 4, and 2 for the
// code or 16 for the transfer; and 4 for each coarse cell.

#import shared/gate
#import shared/runs

#permute - | WEIGHTS | COARSE WEIGHTS
#permute - | LINKED

#import shared/transfer_kernel

#ifndef COARSE
@group(0) @binding(3) var<storage, read> residual: array<f32>;
#endif
@group(0) @binding(5) var<storage, read_write> vectors: array<f32>;

#import shared/restriction

fn load(i: u32) -> f32 {
#ifdef COARSE
    return vectors[i];
#else
    return residual[i];
#endif
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let c = constants.coarse;
    let own = vec2(group.x * constants.block) + run_of_block(lane, constants.block);
    for (var job = own.x; job < min(own.y, constants.jobs); job += RUN) {
        vectors[c.b + unknown_of(c, job)] = restricted(constants.level, c, job, constants.at);
    }
}
