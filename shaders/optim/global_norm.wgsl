// One read of all gradients: is there a NaN or an infinity, and what is their norm? Then the factor
// that unscales and clips them, whether the step is skipped, and the next loss scale.
//
//   norm = ‖g / loss_scale‖ over all tensors that take part
//   factor = min(1, max_norm / (norm + 1e-6)) / loss_scale     (torch.nn.utils.clip_grad_norm_)
//   after a non-finite step: loss_scale *= backoff_factor
//   after growth_interval finite steps in a row: loss_scale *= growth_factor  (torch.amp.GradScaler)
//
// PARTIAL: workgroups of 256 stride over chunks and leave sums of squares (shared/squares.wgsl) and a flag each.
// FINISH: one workgroup adds them up. A norm from 2^127 (1.7e38) on counts as non-finite, and so does one whose factor is
// below 2^-126. The loss scale stays at min_scale or above, and finite; counts saturate.
// Deterministic: the order of the sums depends on the list of tensors alone. Bytes an element: the
// gradient's own, once.

#permute PARTIAL GRAD_F32 | PARTIAL GRAD_F16 | PARTIAL GRAD_BF16 | PARTIAL GRAD_F32 SCALAR | PARTIAL GRAD_F16 SCALAR | PARTIAL GRAD_BF16 SCALAR | FINISH

#import shared/half
#import shared/runs
#import shared/control
#import shared/squares
#import shared/tree

// large, medium and small squares
alias Sum = mat3x4<f32>;
#import shared/carry

struct GradientPartial {
    large: f32,
    medium: f32,
    small: f32,
    // how many invocations met a value that is not finite
    non_finite: u32,
}

#ifdef PARTIAL
override LANES: u32 = 256;

struct GradientChunk {
    tensor: u32,
    // the first element in the binding
    grad: u32,
    length: u32,
}

struct GlobalNormConstants {
    // where this dispatch's results begin
    partial: u32,
}

#ifdef SCALAR
#ifdef GRAD_F32
alias Grad = f32;
#else
alias Grad = u32;
#endif
#else
#ifdef GRAD_F32
alias Grad = vec4<f32>;
#else
alias Grad = vec2<u32>;
#endif
#endif

@group(0) @binding(0) var<uniform> constants: GlobalNormConstants;
@group(0) @binding(1) var<storage, read> chunks: array<GradientChunk>;
@group(0) @binding(2) var<storage, read> control: array<Control>;
@group(0) @binding(3) var<storage, read> grad: array<Grad>;
@group(0) @binding(5) var<storage, read_write> partials: array<GradientPartial>;

fn load(first: u32, count: u32) -> vec4<f32> {
    // what is not the tensor's counts as 0
    let inside = vec4(0u, 1u, 2u, 3u) < vec4(count);
#ifdef SCALAR
    let i = vec4(first) + min(vec4(0u, 1u, 2u, 3u), vec4(count - 1u));
#ifdef GRAD_F32
    return select(vec4(0.0), vec4(grad[i.x], grad[i.y], grad[i.z], grad[i.w]), inside);
#else
    let word = vec4(grad[i.x >> 1u], grad[i.y >> 1u], grad[i.z >> 1u], grad[i.w >> 1u]);
    let bits = select(vec4(0u), (word >> ((i & vec4(1u)) << vec4(4u))) & vec4(0xffffu), inside);
#endif
#else
#ifdef GRAD_F32
    return select(vec4(0.0), grad[first >> 2u], inside);
#else
    let bits = select(vec4(0u), halves(grad[first >> 2u]), inside);
#endif
#endif
#ifdef GRAD_F16
    return f16_to_f32(bits);
#endif
#ifdef GRAD_BF16
    return bf16_to_f32(bits);
#endif
}
#else
struct GlobalNormFinishConstants {
    // 1 if gradients are clipped
    clips: u32,
    max_norm: f32,
    // 1 if the loss scale adapts
    dynamic: u32,
    growth_factor: f32,
    backoff_factor: f32,
    growth_interval: u32,
    min_scale: f32,
}

@group(0) @binding(0) var<uniform> constants: GlobalNormFinishConstants;
@group(0) @binding(4) var<storage, read_write> status: GradientStatus;
@group(0) @binding(5) var<storage, read> partials: array<GradientPartial>;
#endif

#ifdef PARTIAL
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let lane = invocation % LANES;
    let share = 256u / LANES;
    var sums = Carry();
    var exponents = vec4(0u);
    for (var index = group.x * share + invocation / LANES; index < arrayLength(&chunks); index += groups.x * share) {
        let chunk = chunks[index];
        let length = select(0u, chunk.length, control[chunk.tensor].enabled != 0u);
        let span = run_of(lane, LANES, length);
        for (var first = span.first; first < span.end; first += TERMS * span.stride) {
            var squares = Squares();
            for (var i = first; i < min(first + TERMS * span.stride, span.end); i += span.stride) {
                let g = load(chunk.grad + i, min(length - i, 4u));
                // by bits: a comparison with itself is compiled to one that is false for NaN
                exponents = max(exponents, bitcast<vec4<u32>>(g) & vec4(0x7f800000u));
                add_squares(&squares, g);
            }
            sums = carried(sums, Sum(squares.large, squares.medium, squares.small));
        }
    }
    let sum = total_carried(sums);
    let squares = Squares(sum[0], sum[1], sum[2]);
    let worst = max(max(exponents.x, exponents.y), max(exponents.z, exponents.w));
    let flag = select(0.0, 1.0, worst == 0x7f800000u);
    let total = sum_runs(invocation, 256u, vec4(add_lanes(squares).xyz, flag));
    if invocation == 0u {
        partials[constants.partial + group.x] = GradientPartial(total.x, total.y, total.z, u32(total.w));
    }
}
#else
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) invocation: u32) {
    var sums = Carry();
    var non_finite = 0u;
    let count = arrayLength(&partials);
    for (var first = invocation; first < count; first += 256u * TERMS) {
        var sum = vec4(0.0);
        for (var i = first; i < min(first + 256u * TERMS, count); i += 256u) {
            sum += vec4(partials[i].large, partials[i].medium, partials[i].small, 0.0);
            non_finite += partials[i].non_finite;
        }
        sums = carried(sums, Sum(sum, vec4(0.0), vec4(0.0)));
    }
    let total = sum_runs(invocation, 256u, vec4(total_carried(sums)[0].xyz, select(0.0, 1.0, non_finite > 0u)));
    if invocation != 0u {
        return;
    }
    let scale = status.loss_scale;
    let norm = norm_of(total, scale);
    // short of infinity, of which a compiler may assume that it does not occur
    let overflows = any_large(total) && sqrt(total.x) * 0x1p-42f >= scale;
    let length = norm + 1e-6;
    let clipped = constants.clips != 0u && length > constants.max_norm;
    let factor = select(1.0, constants.max_norm / length, clipped) / scale;
    let skip = total.w > 0.0 || overflows || (clipped && factor < 0x1p-126f);
    status.norm = norm;
    status.factor = select(factor, 0.0, skip);
    status.skip = select(0u, 1u, skip);
    status.skipped += select(0u, 1u, skip && status.skipped != 0xffffffffu);
    if constants.dynamic == 0u {
        return;
    }
    if skip {
        status.loss_scale = max(scale * constants.backoff_factor, min(scale, constants.min_scale));
        status.growth_tracker = 0u;
    } else if status.growth_tracker >= constants.growth_interval - 1u {
        // never beyond f32
        let grown = scale * constants.growth_factor;
        status.loss_scale = select(grown, scale, (bitcast<u32>(grown) & 0x7f800000u) == 0x7f800000u);
        status.growth_tracker = 0u;
    } else {
        status.growth_tracker += 1u;
    }
}
#endif
