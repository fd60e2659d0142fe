// Rows of a vector without padding, four elements at a time. ALIGNED: rows are of whole cells of four.

#permute - | ALIGNED

fn dense_place(l: Lattice, i: u32, y: u32, z: u32) -> u32 {
    return (z * l.ny + y) * l.nx + 4u * i;
}

// How many of the four are in the row.
fn dense_count(l: Lattice, i: u32) -> u32 {
    return min(l.nx - 4u * i, 4u);
}
