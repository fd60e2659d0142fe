// How invocations share a range of cells: in runs of RUN, which load neighbouring cells at a time and each go through a part of
// the range from its start to its end. On a GPU a run is all the invocations that share the range, so that a subgroup loads one
// stretch of memory. On a software driver, which executes eight invocations at a time to their end, it is eight: they load the
// 128 bytes of a cache line and read memory in order (more than twice the speed of strides that span the range).

// gpu::Target::run
override RUN: u32 = 8u;

struct Span {
    // the first element of the first cell, the end of the part, and from cell to cell
    first: u32,
    end: u32,
    stride: u32,
}

// The cells of invocation `lane` of `lanes` in a range of `length` elements.
fn run_of(lane: u32, lanes: u32, length: u32) -> Span {
    let run = min(lanes, RUN);
    let cells = (length + 3u) / 4u;
    let part = (cells + lanes - 1u) / lanes * run;
    let start = lane / run * part;
    return Span(4u * (start + lane % run), min(4u * (start + part), length), 4u * run);
}

// The first cell of invocation `lane` of 256 in a block of so many cells, a multiple of 256, and the end of its cells, which lie
// RUN apart.
fn run_of_block(lane: u32, block: u32) -> vec2<u32> {
    let part = block / 256u * RUN;
    let start = lane / RUN * part;
    return vec2(start + lane % RUN, start + part);
}
