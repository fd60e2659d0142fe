// out = ‖x‖, without overflow or underflow of squares (shared/squares.wgsl). See shared/reduce.wgsl.

#import shared/reduce
#import shared/squares

#ifdef PARTIAL
fn add_cell(sums: ptr<function, Squares>, cell: vec4<u32>) {
    add_squares(sums, low(cell));
#ifndef DTYPE_F32
    add_squares(sums, high(cell));
#endif
}

@group(0) @binding(3) var<storage, read_write> partials: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let blocks = (constants.count + BLOCK - 1u) / BLOCK;
    for (var block = group.x; block < blocks; block += groups.x) {
        let end = min(constants.count, (block + 1u) * BLOCK);
        var sums = Squares();
        var i = block * BLOCK + invocation;
        for (; (LOADS == 4u) & (i + 768u < end); i += 1024u) {
            let a = load_x(i);
            let b = load_x(i + 256u);
            let c = load_x(i + 512u);
            let d = load_x(i + 768u);
            add_cell(&sums, a);
            add_cell(&sums, b);
            add_cell(&sums, c);
            add_cell(&sums, d);
        }
        for (; i < end; i += 256u) {
            add_cell(&sums, load_x(i));
        }
        let result = sum_runs(invocation, 256u, add_lanes(sums));
        if invocation == 0u {
            partials[constants.partials + block] = result;
        }
    }
}
#else
@group(0) @binding(3) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) invocation: u32) {
    var sum = vec4(0.0);
    for (var i = invocation; i < constants.partials; i += 256u) {
        sum += partials[i];
    }
    if invocation < constants.count {
        // the other lanes of this cell are zero
        let words = load_x(invocation);
        var sums = Squares();
        add_squares(&sums, low(words));
        if constants.half == 0u || invocation + 1u < constants.count {
            add_squares(&sums, high(words));
        }
        sum += add_lanes(sums);
    }
    let all = sum_runs(invocation, 256u, sum);
    if invocation == 0u {
        result[0] = norm_of(all, 1.0);
    }
}
#endif
