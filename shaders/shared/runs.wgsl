// How invocations share a range of cells: in runs of eight, which load the 128 bytes of a cache line at a
// time and each go through a part of the range from its start to its end. To a GPU it is all the same
// which lines a subgroup loads together; a software driver, which executes eight invocations at a time
// to their end, reads memory in order (more than twice the speed of strides that span the range).

struct Span {
    // the first element of the first cell, the end of the part, and from cell to cell
    first: u32,
    end: u32,
    stride: u32,
}

// The cells of invocation `lane` of `lanes` in a range of `length` elements.
fn run_of(lane: u32, lanes: u32, length: u32) -> Span {
    let run = min(lanes, 8u);
    let cells = (length + 3u) / 4u;
    let part = (cells + lanes - 1u) / lanes * run;
    let start = lane / run * part;
    return Span(4u * (start + lane % run), min(4u * (start + part), length), 4u * run);
}
