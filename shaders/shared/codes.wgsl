// What is known of four cells along x of the flagged Laplacian. The code of a cell has a bit for each neighbour that is fluid
// (z - 1, z + 1, y - 1, y + 1, x - 1, x + 1 from the lowest on) and from bit 6 on the number of neighbours that are not solid,
// which is the diagonal. Those of multigrid's finest level have further bits: see shared/transfers.wgsl.

// two a word
@group(0) @binding(4) var<storage, read> codes: array<vec2<u32>>;

fn row_of(i: u32) -> vec4<u32> {
    let words = codes[i];
    return vec4(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
}

fn diagonals(code: vec4<u32>) -> vec4<f32> {
    return vec4<f32>((code >> vec4(6u)) & vec4(7u));
}
