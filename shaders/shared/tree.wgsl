// Sums over a workgroup as a tree of fixed shape: runs of 8, then the partial results one after
// another. Two or three barriers where a binary tree takes eight, which is what costs on a software driver.

var<workgroup> shared_sums: array<vec4<f32>, 256>;
var<workgroup> shared_partials: array<vec4<f32>, 32>;

// The sum of `value` over each run of `lanes` consecutive invocations, for the first of each run;
// others get something else. `lanes` is 8, 64 or 256, the same for all.
fn sum_runs(invocation: u32, lanes: u32, value: vec4<f32>) -> vec4<f32> {
    // the arrays may still be read for the sum before
    workgroupBarrier();
    shared_sums[invocation] = value;
    workgroupBarrier();
    var sum = vec4(0.0);
    if invocation % 8u == 0u {
        for (var i = 0u; i < 8u; i++) {
            sum += shared_sums[invocation + i];
        }
    }
    if lanes == 8u {
        return sum;
    }
    if invocation % 8u == 0u {
        shared_partials[invocation / 8u] = sum;
    }
    workgroupBarrier();
    sum = vec4(0.0);
    if invocation % lanes == 0u {
        for (var i = 0u; i < lanes / 8u; i++) {
            sum += shared_partials[invocation / 8u + i];
        }
    }
    return sum;
}
