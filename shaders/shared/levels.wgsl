// The levels of a multigrid hierarchy. Unknowns of a level are its cells, in rows of `pitch` and planes of `plane`, and from `dense` on further
// ones, of cells that have several. All offsets are in elements, but that of transfers.

struct Level {
    // the cells by axis, the fastest first
    nx: u32,
    ny: u32,
    nz: u32,
    // from row to row and from plane to plane
    pitch: u32,
    plane: u32,
    // where further unknowns begin, and the length of vectors, a multiple of 4
    dense: u32,
    count: u32,
    // where its two vectors of solutions and its right-hand side begin in what holds those of all levels but the finest
    x: u32,
    y: u32,
    b: u32,
    // where its weights (shared/weights.wgsl) begin, and, in vectors of four, its transfers (shared/transfers.wgsl)
    weights: u32,
    transfers: u32,
    // 0 if there are none: where it says of its unknowns where lists of rows of A begin; a table of rows of P, from it to the next level, their
    // number and of each the unknown and where its list begins; where it says the former of rows of Pᵀ, from the finer level to it
    row_links: u32,
    prolongation_links: u32,
    restriction_links: u32,
    // bits of the axes that the next level halves: 1 along x, 2 along y, 4 along z
    halves: u32,
}

fn index_of(l: Level, p: vec3<u32>) -> u32 {
    return p.z * l.plane + p.y * l.pitch + p.x;
}

fn sizes_of(l: Level) -> vec3<u32> {
    return vec3(l.nx, l.ny, l.nz);
}

// 1 along axes that the next level halves.
fn halves_of(l: Level) -> vec3<u32> {
    return (vec3(l.halves) >> vec3(0u, 1u, 2u)) & vec3(1u);
}
