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
        var i = block * BLOCK + invocation;
        for (; (LOADS == 4u) & (i + 768u < end); i += 1024u) {
            let others = max(of_cell(load_x(i + 256u)), max(of_cell(load_x(i + 512u)), of_cell(load_x(i + 768u))));
            maximum = max(maximum, max(of_cell(load_x(i)), others));
        }
        for (; i < end; i += 256u) {
            maximum = max(maximum, of_cell(load_x(i)));
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
