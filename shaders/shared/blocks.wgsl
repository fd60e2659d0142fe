// How workgroups of 256 go over the solvers' own vectors: cells of four f32, the last one padded with
// zeros, in blocks, one a workgroup, of which runs of invocations take a part each (see shared/runs.wgsl).

#import shared/runs

struct BlockConstants {
    // the cells of this dispatch
    count: u32,
    // the cells of a block, a multiple of 256
    block: u32,
    // the index of the first block in the vector
    first: u32,
}

@group(0) @binding(0) var<uniform> constants: BlockConstants;

// The first cell of an invocation, and the end of its cells, which lie RUN apart.
fn own_cells(c: BlockConstants, group: u32, lane: u32) -> vec2<u32> {
    let own = vec2(group * c.block) + run_of_block(lane, c.block);
    return vec2(own.x, min(own.y, c.count));
}
