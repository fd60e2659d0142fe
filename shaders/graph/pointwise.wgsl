// The generated function `cell` for each of constants.count cells, of one element or of four.
//
// Workgroups of 256 take blocks of constants.block cells, of which runs of invocations take a part each (see
// shared/runs.wgsl). Deterministic: a cell is the work of one invocation. Bytes an element: four for
// each value read and each one written.

#import shared/optional_gate
#import shared/runs

struct PointwiseConstants {
    count: u32,
    // a multiple of 256
    block: u32,
}

@group(0) @binding(0) var<uniform> constants: PointwiseConstants;

#ifndef GENERATED
@group(0) @binding(6) var<storage, read_write> stand_in: array<f32>;

// of which the generated part has what it calls
#import shared/elementary

fn cell(c: u32) {
    let x = f32(c);
    let y = logarithm(sigmoid(x)) + softplus(x) + hyperbolic_tangent(x);
    stand_in[c] = y + sine(x) + cosine(x) + expm1(x) + erf(x);
}
#endif

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let count = constants.count;
    let size = constants.block;
    let own = run_of_block(lane, size);
    for (var block = group.x * size; block < count; block += groups.x * size) {
        let end = min(block + own.y, count);
        for (var c = block + own.x; c < end; c += RUN) {
            cell(c);
        }
    }
}
