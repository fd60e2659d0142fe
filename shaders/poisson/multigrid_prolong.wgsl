// The correction x += P e (shared/transfers.wgsl). COARSE: of a level that is not the finest.
//
// Workgroups of 256, which go over coarse cells, and what lists say, in blocks, an invocation for one at a time and its children. Deterministic. Bytes
// a fine cell: 8, and 2 for the code or 16 for the transfer; and 4 for each coarse cell.

#import shared/gate
#import shared/runs

#permute - | WEIGHTS | COARSE WEIGHTS
#permute - | LINKED

#import shared/transfer_kernel

#ifdef COARSE
@group(0) @binding(5) var<storage, read_write> vectors: array<f32>;
#else
@group(0) @binding(3) var<storage, read_write> solution: array<f32>;
@group(0) @binding(5) var<storage, read> vectors: array<f32>;
#endif

#import shared/prolongation

fn load(i: u32) -> f32 {
    return vectors[i];
}

fn add(i: u32, correction: f32) {
#ifdef COARSE
    vectors[i] += correction;
#else
    solution[i] += correction;
#endif
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let own = vec2(group.x * constants.block) + run_of_block(lane, constants.block);
    for (var job = own.x; job < min(own.y, constants.jobs); job += RUN) {
        correct(constants.level, constants.coarse, job, constants.at, constants.x);
    }
}
