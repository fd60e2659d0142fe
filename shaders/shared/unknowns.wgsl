// What is known of four cells along x of a learned multigrid's levels: two a word, of 16 bits, from the lowest on the number of
// neighbours that are not solid in 3, and D in 13, times 4096. Both are 0 where there is no unknown.

@group(0) @binding(1) var<storage, read> codes: array<vec2<u32>>;

fn codes_at(i: u32) -> vec4<u32> {
    let words = codes[i];
    return vec4(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
}

fn diagonals(code: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(code & vec4(7u));
}

fn scales(code: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(code >> vec4(3u)) * (1.0 / 4096.0);
}
