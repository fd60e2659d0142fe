// Levels whose vectors are padded with zeros, so that stencils need no coordinates: rows begin with a cell of four, two
// elements at least are between the last of a row and the first of the next, two rows between planes, and two rows and
// planes before and after all. Invocations go through strips: columns of cells of four, some rows long, so that what a
// row gives to its neighbours is worked out once.

struct Lattice {
    // cells by axis, the fastest first
    nx: u32,
    ny: u32,
    nz: u32,
    // cells of four from row to row, and from plane to plane; 0 where there is one plane
    pitch: u32,
    plane: u32,
    // where the first is in vectors of all levels, and in those of all but the finest
    first: u32,
    coarse_first: u32,
    // rows of a strip
    strip: u32,
}

struct Strip {
    // the column, the first row and the one after the last, and the plane
    i: u32,
    y: u32,
    end: u32,
    z: u32,
}

// Cells of four a row.
fn across(l: Lattice) -> u32 {
    return (l.nx + 3u) / 4u;
}

// Of no rows where there are no more.
fn strip_of(l: Lattice, id: u32) -> Strip {
    let strips = (l.ny + l.strip - 1u) / l.strip;
    let rest = id / across(l);
    let z = rest / strips;
    if z >= l.nz {
        return Strip(0u, 0u, 0u, 0u);
    }
    let y = rest % strips * l.strip;
    return Strip(id % across(l), y, min(y + l.strip, l.ny), z);
}

// Where a cell of four is, in cells of four from the level's first.
fn place_of(l: Lattice, i: u32, y: u32, z: u32) -> u32 {
    return z * l.plane + y * l.pitch + i;
}
