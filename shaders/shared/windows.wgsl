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
    stride_multiplier: vec3<u32>,
    stride_shift: vec3<u32>,
    padding: vec3<u32>,
}

@group(0) @binding(0) var<uniform> constants: WindowConstants;

struct Place {
    plane: u32,
    at: vec3<u32>,
}

// Element i of the result.
fn place(i: u32) -> Place {
    let axes = constants.result;
    let rows = quotient(i, constants.result_multiplier.z, constants.result_shift.z);
    let layers = quotient(rows, constants.result_multiplier.y, constants.result_shift.y);
    let plane = quotient(layers, constants.result_multiplier.x, constants.result_shift.x);
    return Place(plane, vec3(layers - plane * axes.x, rows - layers * axes.y, i - rows * axes.z));
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
// The window with the last beginning at or before each coordinate, counted from the first's.
fn last_window(padded: vec3<u32>) -> vec3<u32> {
    let m = constants.stride_multiplier;
    let s = constants.stride_shift;
    return vec3(quotient(padded.x, m.x, s.x), quotient(padded.y, m.y, s.y), quotient(padded.z, m.z, s.z));
}

// The windows that cover an element; none where the end is not after the begin.
fn partners(at: vec3<u32>) -> Range {
    let padded = at + constants.padding;
    let outside = max(padded, constants.size) - constants.size;
    let begin = select(last_window(outside) + vec3(1u), vec3(0u), padded < constants.size);
    return Range(begin, min(last_window(padded) + vec3(1u), constants.operand));
}
#else
// The elements of a window.
fn partners(at: vec3<u32>) -> Range {
    let begin = at * constants.stride;
    let end = begin + constants.size;
    let padding = constants.padding;
    return Range(max(begin, padding) - padding, min(max(end, padding) - padding, constants.operand));
}
#endif
