// The radial projection of AdamP and SGDP (Heo et al. 2021, section 4): of each tensor's sums by
// row, the view, the rows' coefficients and the decay.
//
//   cos = |⟨g,p⟩| / (max(‖g‖, eps) max(‖p‖, eps))
//   channel view, if max over rows of cos < delta / √columns:     c_row = ⟨p,u⟩_row / (‖p‖_row + eps)²
//   layer view, else if cos of the whole < delta / √(rows columns): c = ⟨p,u⟩ / (‖p‖ + eps)²
//   else c = 0, and the decay stays as it is
//
// For LAMB (You et al. 2020), with `ratio`, of ⟨p,p⟩ and ⟨u,u⟩ in the places of the first two sums:
//
//   c = min(‖p‖ (1 - decay), 10) / (‖u‖ + eps), and 1 where either norm is 0
//
// Cosines are not negative, so their bits order them as integers, and a NaN is above all others: it
// projects nothing. One workgroup a tensor, of 256, or fewer for tensors of few sums. Tensors of many rows are projected in
// three dispatches: PARTIAL has a workgroup for a block of rows, which leaves the rows' coefficients and the block's sums;
// FINISH has one for a tensor, which leaves the view; and FILL replaces the coefficients where that is not the channels'.
// Deterministic: the order of each sum depends on the shape alone. Bytes a row: 16 read and 4 written a segment, 4 more for
// the layer view.

#permute LANES_256 | LANES_64 | LANES_8 | LANES_256 PARTIAL | LANES_256 FINISH | LANES_256 FILL
#import shared/tree

alias Sum = vec4<f32>;
#import shared/carry

struct ProjectionConstants {
    delta: f32,
    eps: f32,
    // the words of a `Step` (shared/step.wgsl), and where its two decays are
    step_words: u32,
    decay: u32,
    projected_decay: u32,
    // 1 for LAMB's coefficient
    ratio: u32,
}

struct ProjectionTask {
    tensor: u32,
    rows: u32,
    columns: u32,
    // each row is this many sums, one after another
    segments: u32,
    // where the tensor's sums and coefficients begin
    sums: u32,
    coefficients: u32,
    // 0 for tensors of less than two dimensions, which are not projected
    projected: u32,
    // of a block of rows its own place in `partials`, of a tensor that of its first block; and how many blocks it has
    partial: u32,
    partials: u32,
    // of a block of rows that of its tensor's first
    whole: u32,
}

// What a block of rows leaves; in the first of a tensor is the view as well.
struct ProjectionPartial {
    sums: vec4<f32>,
    maximum: u32,
    // 1 if rows keep their coefficients; else `coefficient` is that of all
    channel: u32,
    coefficient: f32,
}

#ifndef FILL
@group(0) @binding(0) var<uniform> constants: ProjectionConstants;
#endif
@group(0) @binding(1) var<storage, read> tasks: array<ProjectionTask>;
#ifdef FINISH
// each tensor's `Step`
@group(0) @binding(2) var<storage, read_write> steps: array<u32>;
#else
@group(0) @binding(4) var<storage, read_write> coefficients: array<f32>;
#endif
#ifdef FILL
@group(0) @binding(5) var<storage, read> partials: array<ProjectionPartial>;
#else
#ifdef PARTIAL
@group(0) @binding(3) var<storage, read> sums: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> partials: array<ProjectionPartial>;
#else
#ifdef FINISH
@group(0) @binding(5) var<storage, read_write> partials: array<ProjectionPartial>;
#else
// each tensor's `Step`
@group(0) @binding(2) var<storage, read_write> steps: array<u32>;
@group(0) @binding(3) var<storage, read> sums: array<vec4<f32>>;
#endif
#endif
#endif

#ifdef LANES_256
const LANES: u32 = 256;
#endif
#ifdef LANES_64
const LANES: u32 = 64;
#endif
#ifdef LANES_8
const LANES: u32 = 8;
#endif

#ifdef FILL
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    for (var index = group.x; index < arrayLength(&tasks); index += groups.x) {
        let task = tasks[index];
        if partials[task.whole].channel == 0u {
            for (var row = invocation; row < task.rows; row += LANES) {
                coefficients[task.coefficients + row] = partials[task.whole].coefficient;
            }
        }
    }
}
#else
var<workgroup> shared_total: vec4<f32>;
// the result of a maximum does not depend on its order
var<workgroup> shared_maximum: atomic<u32>;

// The bits of the cosine of p and g, of their sums.
fn cosine(sum: vec4<f32>) -> u32 {
    let norms = max(sqrt(sum.y), constants.eps) * max(sqrt(sum.x), constants.eps);
    let quotient = abs(sum.z) / norms;
    // max() may have dropped a NaN of a norm
    return select(bitcast<u32>(quotient) & 0x7fffffffu, 0x7fc00000u, is_nan(sum.x) || is_nan(sum.y) || is_nan(sum.z));
}

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn coefficient(sum: vec4<f32>) -> f32 {
    let norm = sqrt(sum.x) + constants.eps;
    return sum.w / norm / norm;
}

#ifndef PARTIAL
fn trust_ratio(sum: vec4<f32>, decay: f32) -> f32 {
    let of_p = sqrt(sum.x) * (1.0 - decay);
    let of_u = sqrt(sum.y);
    let ratio = select(of_p, 10.0, of_p > 10.0) / (of_u + constants.eps);
    return select(ratio, 1.0, of_p == 0.0 || of_u == 0.0);
}
#endif

#ifndef FINISH
// The segments of a row from number `begin` on, `step` apart.
fn sum_of_row(task: ProjectionTask, row: u32, begin: u32, step: u32) -> vec4<f32> {
    let at = task.sums + row * task.segments;
    var all = Carry();
    for (var first = begin; first < task.segments; first += TERMS * step) {
        var sum = vec4(0.0);
        for (var segment = first; segment < min(first + TERMS * step, task.segments); segment += step) {
            sum += sums[at + segment];
        }
        all = carried(all, sum);
    }
    return total_carried(all);
}
#endif

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    for (var index = group.x; index < arrayLength(&tasks); index += groups.x) {
        let task = tasks[index];
        if invocation == 0u {
            atomicStore(&shared_maximum, 0u);
        }
        var totals = Carry();
        var maximum = 0u;
#ifdef FINISH
        for (var i = invocation; i < task.partials; i += LANES) {
            totals = carried(totals, partials[task.partial + i].sums);
            maximum = max(maximum, partials[task.partial + i].maximum);
        }
#else
        if task.rows >= LANES || task.segments <= 4u {
            for (var row = invocation; row < task.rows; row += LANES) {
                let sum = sum_of_row(task, row, 0u, 1u);
                totals = carried(totals, sum);
                maximum = max(maximum, cosine(sum));
                coefficients[task.coefficients + row] = coefficient(sum);
            }
        } else {
            for (var row = 0u; row < task.rows; row++) {
                let sum = sum_runs(invocation, LANES, sum_of_row(task, row, invocation, LANES));
                if invocation == 0u {
                    totals = carried(totals, sum);
                    maximum = max(maximum, cosine(sum));
                    coefficients[task.coefficients + row] = coefficient(sum);
                }
            }
        }
#endif
        var total = sum_runs(invocation, LANES, total_carried(totals));
        if invocation == 0u {
            shared_total = total;
        }
        atomicMax(&shared_maximum, maximum);
        workgroupBarrier();
        // one invocation may have written coefficients that another replaces below
        storageBarrier();
        total = shared_total;
        maximum = atomicLoad(&shared_maximum);
        // the next task stores to both
        workgroupBarrier();

#ifdef PARTIAL
        if invocation == 0u {
            partials[task.partial].sums = total;
            partials[task.partial].maximum = maximum;
        }
#else
        let columns = f32(task.columns);
        let projects = task.projected != 0u && constants.ratio == 0u;
        let channel = projects && maximum < bitcast<u32>(constants.delta / sqrt(columns));
        let layer = projects && !channel && cosine(total) < bitcast<u32>(constants.delta / sqrt(columns * f32(task.rows)));
        var c = select(0.0, coefficient(total), layer);
        if constants.ratio != 0u {
            c = trust_ratio(total, bitcast<f32>(steps[task.tensor * constants.step_words + constants.decay]));
        }
#ifdef FINISH
        if invocation == 0u {
            partials[task.partial].channel = u32(channel);
            partials[task.partial].coefficient = c;
        }
#else
        if !channel {
            for (var row = invocation; row < task.rows; row += LANES) {
                coefficients[task.coefficients + row] = c;
            }
        }
#endif
        if invocation == 0u && (channel || layer) {
            let step = task.tensor * constants.step_words;
            steps[step + constants.decay] = steps[step + constants.projected_decay];
        }
#endif
    }
}
#endif
