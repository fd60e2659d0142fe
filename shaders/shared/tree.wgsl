// Sums over a workgroup as a tree of fixed shape: runs of 8 in pairs, then the partial results, in eights, in pairs again.
// Two or three barriers where a binary tree takes eight, which is what costs on a software driver.

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
        let i = invocation;
        sum = ((shared_sums[i] + shared_sums[i + 1u]) + (shared_sums[i + 2u] + shared_sums[i + 3u]))
            + ((shared_sums[i + 4u] + shared_sums[i + 5u]) + (shared_sums[i + 6u] + shared_sums[i + 7u]));
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
        let first = invocation / 8u;
        for (var i = first; i < first + lanes / 8u; i += 8u) {
            sum += ((shared_partials[i] + shared_partials[i + 1u]) + (shared_partials[i + 2u] + shared_partials[i + 3u]))
                + ((shared_partials[i + 4u] + shared_partials[i + 5u]) + (shared_partials[i + 6u] + shared_partials[i + 7u]));
        }
    }
    return sum;
}
