// Which elements of a plane belong to which windows. Planes have three axes, the slowest first; where there
// are fewer, the first ones have size 1.
//
// The result of a kernel is the pooled value and its operand the un-pooled one; with BACKWARD it is the other
// way around.

#import shared/quotient

struct WindowConstants {
    // a plane of the result; dividing by its axes
    result: vec3<u32>,
    // of the result
    elements: u32,
    result_multiplier: vec3<u32>,
    parts: u32,
    result_shift: vec3<u32>,
    // where the first operand begins
    a: u32,
    // a plane of the operand
    operand: vec3<u32>,
    // where the second operand begins
    indices: u32,
    size: vec3<u32>,
    stride: vec3<u32>,
    padding: vec3<u32>,
    // BACKWARD: dividing by the stride; the quotient and the rest of size - 1; the last window that begins at
    // or before the first element of a plane, and how far before
    stride_multiplier: vec3<u32>,
    stride_shift: vec3<u32>,
    reach: vec3<u32>,
    rest: vec3<u32>,
    first_window: vec3<u32>,
    first_offset: vec3<u32>,
}

@group(0) @binding(0) var<uniform> constants: WindowConstants;

// An element of the result.
struct Place {
    plane: u32,
    at: vec3<u32>,
#ifdef BACKWARD
    // by axis the last window that begins at or before the element, and how far before; the padding counts
    window: vec3<u32>,
    offset: vec3<u32>,
#endif
}

fn place(i: u32) -> Place {
    let axes = constants.result;
    let rows = quotient(i, constants.result_multiplier.z, constants.result_shift.z);
    let layers = quotient(rows, constants.result_multiplier.y, constants.result_shift.y);
    let plane = quotient(layers, constants.result_multiplier.x, constants.result_shift.x);
    let at = vec3(layers - plane * axes.x, rows - layers * axes.y, i - rows * axes.z);
#ifdef BACKWARD
    let padded = at + constants.padding;
    let multiplier = constants.stride_multiplier;
    let shift = constants.stride_shift;
    let x = quotient(padded.x, multiplier.x, shift.x);
    let y = quotient(padded.y, multiplier.y, shift.y);
    let window = vec3(x, y, quotient(padded.z, multiplier.z, shift.z));
    return Place(plane, at, window, padded - window * constants.stride);
#else
    return Place(plane, at);
#endif
}

// The element after it, without division. CELLS: it is in the same row.
fn next(here: Place) -> Place {
#ifdef CELLS
    let wraps = vec3(false);
    let step = vec3(0u, 0u, 1u);
    let plane = here.plane;
#else
    let last = here.at + vec3(1u) == constants.result;
    let moves = vec3(last.y && last.z, last.z, true);
    let wraps = last & moves;
    let step = vec3<u32>(moves);
    let plane = here.plane + select(0u, 1u, wraps.x);
#endif
    let at = select(here.at + step, vec3(0u), wraps);
#ifdef BACKWARD
    let offset = here.offset + step;
    let passed = offset == constants.stride;
    let window = select(here.window + vec3<u32>(passed), constants.first_window, wraps);
    return Place(plane, at, window, select(select(offset, vec3(0u), passed), constants.first_offset, wraps));
#else
    return Place(plane, at);
#endif
}

// Element `at` of a plane with these axes.
fn position(at: vec3<u32>, axes: vec3<u32>) -> u32 {
    return (at.x * axes.y + at.y) * axes.z + at.z;
}

struct Range {
    begin: vec3<u32>,
    end: vec3<u32>,
}

#ifdef BACKWARD
// The windows that cover an element; none where the end is not after the begin.
fn partners(here: Place) -> Range {
    let end = here.window + vec3(1u);
    let covering = constants.reach + select(vec3(0u), vec3(1u), here.offset <= constants.rest);
    return Range(end - min(covering, end), min(end, constants.operand));
}
#else
// The elements of a window.
fn partners(here: Place) -> Range {
    let begin = here.at * constants.stride;
    let end = begin + constants.size;
    let padding = constants.padding;
    return Range(max(begin, padding) - padding, min(max(end, padding) - padding, constants.operand));
}
#endif
