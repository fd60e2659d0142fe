// How workgroups of 8 by 8 go over a level, by tiles of a plane: an invocation takes `wide` neighbouring cells along x, or
// of two the one of a colour.

#import shared/multigrid

// How many tiles there are along x and y, and in all.
fn tiles_of(l: Level, wide: u32) -> vec3<u32> {
    let across = (l.nx + 8u * wide - 1u) / (8u * wide);
    let down = (l.ny + 7u) / 8u;
    return vec3(across, down, across * down * l.nz);
}

// The first cell of an invocation, or the one of a colour.
fn place_of(tiles: vec3<u32>, tile: u32, wide: u32, lane: vec2<u32>, colour: u32) -> vec3<u32> {
    let row = tile / tiles.x;
    let first = vec3((tile % tiles.x * 8u + lane.x) * wide, row % tiles.y * 8u + lane.y, row / tiles.y);
    return vec3(first.x + select(0u, (first.y + first.z + colour) % 2u, wide == 2u), first.y, first.z);
}
