// Four consecutive elements ("a cell") of a parameter, its gradient and its states, and how generated code loads, rounds and
// stores them (src/optim/streams.rs).
//
// Two layouts. By default a cell begins at a multiple of four elements in every buffer and is one load (16 bytes of f32, 8 bytes
// of 16-bit floats). A scattered cell begins anywhere, may have fewer than four elements, and is loaded one by one: elements past
// `count` are the last one again, which is read, and written with the same value, more than once.

#import shared/half
#import shared/philox
#import shared/decay
#import shared/runs
#import shared/step

// Where a cell is: its first element's index in each buffer, and how many elements it has.
struct Cell {
    param: u32,
    grad: u32,
    state: u32,
    count: u32,
}

// The indices of the cell's elements; those past its end repeat the last.
fn indices(first: u32, count: u32) -> vec4<u32> {
    return vec4(first) + min(vec4(0u, 1u, 2u, 3u), vec4(count - 1u));
}

// The 16 bits of each element, of the word that has it, at the element indices `i`.
fn half_of(word: vec4<u32>, i: vec4<u32>) -> vec4<u32> {
    return (word >> ((i & vec4(1u)) << vec4(4u))) & vec4(0xffffu);
}

// The random words of four elements of stream number `stream`: word i % 4 of block i / 4 of the tensor belongs to element i,
// wherever the tensor lies in memory.
fn random_cell(element: u32, tensor: u32, step: u32, stream: u32, seed: vec2<u32>) -> vec4<u32> {
    let block = philox4x32(vec4(element >> 2u, tensor, step, stream), seed);
    let phase = element & 3u;
    if phase == 0u {
        return block;
    }
    let next = philox4x32(vec4((element >> 2u) + 1u, tensor, step, stream), seed);
    return select(select(vec4(block.w, next.xyz), vec4(block.zw, next.xy), phase == 2u), vec4(block.yzw, next.x), phase == 1u);
}
