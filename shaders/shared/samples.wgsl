// What is done to each cell of four elements of some vectors, for one random sample. Vectors begin with
// their bindings and are padded to whole cells. Workgroups of 256 stride over blocks of constants.block
// cells, of which runs of invocations take a part each (see shared/runs.wgsl).
// The importing kernel supplies `visit(i, k)`: i is the cell, and k counts the samples already taken, a
// number on the device, so that a recording of one sample may be run for each.
// Deterministic: a cell is the work of one invocation.

#import shared/runs

struct SampleConstants {
    // the first cell's index in its vector
    first: u32,
    // the cells of this dispatch
    count: u32,
    // how many a workgroup takes at a time, a multiple of 256
    block: u32,
    seed_low: u32,
    seed_high: u32,
}

@group(0) @binding(0) var<uniform> constants: SampleConstants;
@group(0) @binding(1) var<storage, read> taken: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = constants;
    let k = taken[0];
    let own = run_of_block(lane, c.block);
    for (var block = group.x * c.block; block < c.count; block += groups.x * c.block) {
        let end = min(block + own.y, c.count);
        for (var i = block + own.x; i < end; i += RUN) {
            visit(c, i, k);
        }
    }
}
