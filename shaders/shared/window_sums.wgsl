// Sums over windows, or over the windows that cover an element: result[i] = Σ term(at, own), `at` being the
// element of the operand and `own` the position of i in its plane. The importing kernel supplies `term`.
//
// 128 invocations a workgroup with four consecutive elements each; workgroups stride. PARTS: an invocation
// computes one part of one element, and neighbours take parts of the same element, so that they read
// neighbouring terms. DISJOINT, with BACKWARD: no two windows overlap, so that there is one term at most.
// CELLS: the rows of the result are whole cells of four, so that the elements of an invocation share a row
// (which takes a quarter off the time of unpool.wgsl on a software driver).
//
// HALVES: operand and result are of 16-bit floats, two channels a word (shared/pairs.wgsl), and elements are words.
//
// Deterministic: the terms of an element, or of a part, are added in blocks of a row (shared/carry.wgsl), in an order that
// depends on the sizes alone.

#import shared/optional_gate
#import shared/windows
#import shared/result
#ifdef HALVES
#import shared/pairs
#endif

#ifdef HALVES
alias Sum = vec2<f32>;
#else
alias Sum = f32;
#endif

#import shared/carry

#ifdef PARTS
fn sum_part(i: u32, part: u32) -> f32 {
    let here = place(i);
    let own = position(here.at, constants.result);
    let range = partners(here);
    let extent = max(range.end, range.begin) - range.begin;
    let axes = constants.operand;
    let first = position(vec3(here.plane * axes.x, 0u, 0u) + range.begin, axes);
    let count = extent.x * extent.y * extent.z;
    var all = Carry();
    for (var begin = part; begin < count; begin += TERMS * constants.parts) {
        var sum = Sum();
        for (var k = begin; k < min(begin + TERMS * constants.parts, count); k += constants.parts) {
            let row = k / extent.z;
            let layer = row / extent.y;
            sum += term(first + position(vec3(layer, row - layer * extent.y, k - row * extent.z), axes), own);
        }
        all = carried(all, sum);
    }
    return total_carried(all);
}
#else
fn sum(here: Place) -> Sum {
    let own = position(here.at, constants.result);
    let axes = constants.operand;
    let range = partners(here);
#ifdef DISJOINT
    let at = position(vec3(here.plane * axes.x, 0u, 0u) + min(range.begin, axes - vec3(1u)), axes);
    return select(Sum(), term(at, own), all(range.begin < range.end));
#else
    var all = Carry();
    for (var x = range.begin.x; x < range.end.x; x++) {
        for (var y = range.begin.y; y < range.end.y; y++) {
            let row = ((here.plane * axes.x + x) * axes.y + y) * axes.z;
            for (var first = range.begin.z; first < range.end.z; first += TERMS) {
                var sum = Sum();
                for (var z = first; z < min(first + TERMS, range.end.z); z++) {
                    sum += term(row + z, own);
                }
                all = carried(all, sum);
            }
        }
    }
    return total_carried(all);
#endif
}
#endif

@compute @workgroup_size(128)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if is_over() {
        return;
    }
    let elements = constants.elements;
#ifdef PARTS
    let parts = constants.parts;
    for (var job = id.x; job < elements * parts; job += 128u * groups.x) {
        let i = job / parts;
        let part = job - i * parts;
        store(part * elements + i, sum_part(i, part));
    }
#else
    for (var i = 4u * id.x; i < elements; i += 512u * groups.x) {
        var here = place(i);
#ifdef HALVES
        store_pair(i, sum(here));
        for (var k = i + 1u; k < min(i + 4u, elements); k++) {
            here = next(here);
            store_pair(k, sum(here));
        }
#else
        var sums = vec4(sum(here), 0.0, 0.0, 0.0);
        // not a loop: `sum` is short where it matters, and neighbours share much of it
        if i + 1u < elements {
            here = next(here);
            sums.y = sum(here);
        }
        if i + 2u < elements {
            here = next(here);
            sums.z = sum(here);
        }
        if i + 3u < elements {
            here = next(here);
            sums.w = sum(here);
        }
        store_cell(i, elements, sums);
#endif
    }
#endif
}
