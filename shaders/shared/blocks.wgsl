// How workgroups of 256 go over the solvers' own vectors: cells of four f32, the last one padded with
// zeros, in blocks, one a workgroup, of which runs of eight invocations take a part each (see
// shared/runs.wgsl).

struct BlockConstants {
    // the cells of this dispatch
    count: u32,
    // the cells of a block, a multiple of 256
    block: u32,
    // the index of the first block in the vector
    first: u32,
}

@group(0) @binding(0) var<uniform> constants: BlockConstants;

// The first cell of an invocation, and the end of its cells, which lie eight apart.
fn own_cells(c: BlockConstants, group: u32, lane: u32) -> vec2<u32> {
    let part = c.block / 32u;
    let start = group * c.block + lane / 8u * part;
    return vec2(start + lane % 8u, min(start + part, c.count));
}
