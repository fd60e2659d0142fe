// Sums and maxima over the 256 invocations of a workgroup, as a tree of fixed shape: 16 runs of 16,
// then the 16 partial results. Two barriers, where a binary tree takes eight.

var<workgroup> shared_sums: array<vec4<f32>, 256>;

// The sum of `value` over the run of 16 invocations whose number is `invocation`, for invocations
// 0 to 15. Other invocations get zero.
fn sum_16(invocation: u32, value: vec4<f32>) -> vec4<f32> {
    workgroupBarrier();
    shared_sums[invocation] = value;
    workgroupBarrier();
    var sum = vec4(0.0);
    if invocation < 16u {
        for (var i = 0u; i < 16u; i++) {
            sum += shared_sums[16u * invocation + i];
        }
    }
    return sum;
}

// The sum of `value` over the workgroup, for every invocation.
fn sum_256(invocation: u32, value: vec4<f32>) -> vec4<f32> {
    let partial = sum_16(invocation, value);
    workgroupBarrier();
    if invocation < 16u {
        shared_sums[invocation] = partial;
    }
    workgroupBarrier();
    var sum = vec4(0.0);
    for (var i = 0u; i < 16u; i++) {
        sum += shared_sums[i];
    }
    return sum;
}
