// Where in each window the maximum is: its row-major position in the plane, u32. Of equals, +0 and -0
// included, the first; where there are NaNs, the last of them, as in PyTorch. What is outside does not count.
//
// Not a template: u32 results are denormals as f32, which arithmetic may flush, so that they go to a buffer of
// their own. Numbers are compared as integers: WGSL promises nothing of NaNs, and denormals keep their order.
//
// Bindings: a is x; out takes the result from its first word on. 128 invocations a workgroup with an element
// each; SHARED: 256 invocations to one element, for large windows. Workgroups stride.
// Bytes: 4 for each element of x (more from the cache where windows overlap) and 4 for each of the result.
// Deterministic: the winner does not depend on the order of comparisons.

#import shared/optional_gate
#import shared/windows

#permute - | SHARED

@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

const NOT_A_NUMBER: u32 = 0xffffffffu;

struct Best {
    key: u32,
    position: u32,
}

// Greater for greater numbers, the same for both zeros; never 0.
fn key(bits: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    let number = select(0x80000000u - magnitude, 0x80000000u + magnitude, bits == magnitude);
    return select(number, NOT_A_NUMBER, magnitude > 0x7f800000u);
}

fn better(x: Best, y: Best) -> Best {
    let equal = (x.position > y.position) == (x.key == NOT_A_NUMBER);
    if x.key > y.key || (x.key == y.key && equal) {
        return x;
    }
    return y;
}

#ifdef SHARED
var<workgroup> shared_keys: array<u32, 256>;
var<workgroup> shared_positions: array<u32, 256>;

// The best of `count` from `first` on.
fn best_of(first: u32, stride: u32, count: u32) -> Best {
    var best = Best(0u, 0u);
    for (var k = 0u; k < count; k++) {
        let other = first + k * stride;
        best = better(Best(shared_keys[other], shared_positions[other]), best);
    }
    return best;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let axes = constants.operand;
    for (var i = group.x; i < constants.elements; i += groups.x) {
        let here = place(i);
        let range = partners(here);
        let extent = range.end - range.begin;
        let first = position(range.begin, axes);
        let plane = constants.a + here.plane * axes.x * axes.y * axes.z;
        let count = extent.x * extent.y * extent.z;
        var best = Best(0u, 0u);
        for (var cell = 4u * lane; cell < count; cell += 1024u) {
            // the last again where fewer than four are left
            let k = min(vec4(cell) + vec4(0u, 1u, 2u, 3u), vec4(count - 1u));
            let row = k / extent.z;
            let layer = row / extent.y;
            let at = first + (layer * axes.y + row - layer * extent.y) * axes.z + k - row * extent.z;
            best = better(Best(key(a[plane + at.x]), at.x), best);
            best = better(Best(key(a[plane + at.y]), at.y), best);
            best = better(Best(key(a[plane + at.z]), at.z), best);
            best = better(Best(key(a[plane + at.w]), at.w), best);
        }
        // the arrays may still be read for the element before
        workgroupBarrier();
        shared_keys[lane] = best.key;
        shared_positions[lane] = best.position;
        workgroupBarrier();
        if lane < 16u {
            best = best_of(lane, 16u, 16u);
            shared_keys[lane] = best.key;
            shared_positions[lane] = best.position;
        }
        workgroupBarrier();
        if lane == 0u {
            out[i] = best_of(0u, 1u, 16u).position;
        }
    }
}
#else
@compute @workgroup_size(128)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if is_over() {
        return;
    }
    let axes = constants.operand;
    for (var i = id.x; i < constants.elements; i += 128u * groups.x) {
        let here = place(i);
        let range = partners(here);
        let plane = constants.a + here.plane * axes.x * axes.y * axes.z;
        var best = Best(0u, 0u);
        for (var x = range.begin.x; x < range.end.x; x++) {
            for (var y = range.begin.y; y < range.end.y; y++) {
                let row = (x * axes.y + y) * axes.z;
                for (var z = range.begin.z; z < range.end.z; z++) {
                    best = better(Best(key(a[plane + row + z]), row + z), best);
                }
            }
        }
        out[i] = best.position;
    }
}
#endif
