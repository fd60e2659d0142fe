// out = ⟨x, y⟩. See shared/reduce.wgsl.

#import shared/reduce

@group(0) @binding(2) var<storage, read> y: array<Cell>;

fn load_y(i: u32) -> vec4<u32> {
#ifdef FINISH
    return vec4(y[constants.y + i], 0u, 0u, 0u);
#else
#ifdef SCALAR
    let at = constants.y + 4u * i;
    return vec4(y[at], y[at + 1u], y[at + 2u], y[at + 3u]);
#else
    return y[constants.y + i];
#endif
#endif
}

fn product(i: u32) -> vec4<f32> {
    let a = load_x(i);
    let b = load_y(i);
#ifdef DTYPE_F32
    return low(a) * low(b);
#else
    return low(a) * low(b) + high(a) * high(b);
#endif
}

fn total(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

#ifndef PARTIAL
alias Sum = f32;
#import shared/carry
#endif

#ifdef PARTIAL
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let blocks = (constants.count + BLOCK - 1u) / BLOCK;
    for (var block = group.x; block < blocks; block += groups.x) {
        let end = min(constants.count, (block + 1u) * BLOCK);
        var sum = vec4(0.0);
        var i = block * BLOCK + invocation;
        for (; (LOADS == 4u) & (i + 768u < end); i += 1024u) {
            sum = sum + product(i) + product(i + 256u) + product(i + 512u) + product(i + 768u);
        }
        for (; i < end; i += 256u) {
            sum += product(i);
        }
        let result = total(sum_runs(invocation, 256u, sum));
        if invocation == 0u {
            partials[constants.partials + block] = result;
        }
    }
}
#else
@group(0) @binding(3) var<storage, read> partials: array<f32>;
@group(0) @binding(4) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) invocation: u32) {
    var sums = Carry();
    for (var first = invocation; first < constants.partials; first += 256u * TERMS) {
        var sum = 0.0;
        for (var i = first; i < min(first + 256u * TERMS, constants.partials); i += 256u) {
            sum += partials[i];
        }
        sums = carried(sums, sum);
    }
    var sum = vec4(total_carried(sums), 0.0, 0.0, 0.0);
    if invocation < constants.count {
        let a = load_x(invocation);
        let b = load_y(invocation);
        sum.y = low(a).x * low(b).x;
        if constants.half == 0u || invocation + 1u < constants.count {
            sum.z = high(a).x * high(b).x;
        }
    }
    let all = total(sum_runs(invocation, 256u, sum));
    if invocation == 0u {
        result[0] = all;
    }
}
#endif
