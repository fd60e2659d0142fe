// out = max |x_i|, 0 for no elements. Magnitudes are ordered as integers, by their bits, so that a NaN
// is above all others and the result is exact. See shared/reduce.wgsl.

#import shared/reduce

var<workgroup> shared_maximum: atomic<u32>;

fn magnitude(v: vec4<f32>) -> u32 {
    let bits = bitcast<vec4<u32>>(v) & vec4(0x7fffffffu);
    return max(max(bits.x, bits.y), max(bits.z, bits.w));
}

// The maximum over the workgroup, for invocation 0. Its order does not matter.
fn maximum_256(invocation: u32, value: u32) -> u32 {
    workgroupBarrier();
    if invocation == 0u {
        atomicStore(&shared_maximum, 0u);
    }
    workgroupBarrier();
    atomicMax(&shared_maximum, value);
    workgroupBarrier();
    return atomicLoad(&shared_maximum);
}

#ifdef PARTIAL
fn of_cell(cell: vec4<u32>) -> u32 {
    return max(magnitude(low(cell)), magnitude(high(cell)));
}

@group(0) @binding(3) var<storage, read_write> partials: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let blocks = (constants.count + BLOCK - 1u) / BLOCK;
    for (var block = group.x; block < blocks; block += groups.x) {
        let end = min(constants.count, (block + 1u) * BLOCK);
        var maximum = 0u;
        for (var i = block * BLOCK + invocation; i < end; i += 1024u) {
            // the last cell again does not matter
            let at = min(vec4(i) + NEXT_FOUR, vec4(end - 1u));
            let a = load_x(at.x);
            let b = load_x(at.y);
            let c = load_x(at.z);
            let d = load_x(at.w);
            maximum = max(maximum, max(max(of_cell(a), of_cell(b)), max(of_cell(c), of_cell(d))));
        }
        maximum = maximum_256(invocation, maximum);
        if invocation == 0u {
            partials[constants.partials + block] = maximum;
        }
    }
}
#else
@group(0) @binding(3) var<storage, read> partials: array<u32>;
@group(0) @binding(4) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) invocation: u32) {
    var maximum = 0u;
    for (var i = invocation; i < constants.partials; i += 256u) {
        maximum = max(maximum, partials[i]);
    }
    if invocation < constants.count {
        let w = load_x(invocation);
        // the other lanes of this cell are zero
        maximum = max(maximum, magnitude(low(w)));
        if constants.half == 0u || invocation + 1u < constants.count {
            maximum = max(maximum, magnitude(high(w)));
        }
    }
    maximum = maximum_256(invocation, maximum);
    if invocation == 0u {
        result[0] = bitcast<f32>(maximum);
    }
}
#endif
