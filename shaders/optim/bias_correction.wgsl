// Once a step, before the elements: advances the step count of each tensor that takes part and
// works out its scalars, bias corrections included.
//
//   t += 1, up to 2^32 - 1;  bc = 1 - beta^t;  dither = frac(t / golden ratio)
//
// beta^t is a fixed-point number of 64 fractional bits, multiplied out by squaring: an error of
// about t 2^-64, where floats would lose up to 3e-4 of 1 - beta^t (pow by exp2, or beta rounded to
// f32). It needs no state besides t, and no device rounds it differently.
//
// One invocation a tensor; workgroups of 64. Bytes a tensor: 20 read, 4 read and written, 40 written.

#import shared/control
#import shared/scalars
#import shared/wide

// The rule that gives `step_size`.
override RULE: u32 = 0;
const CONSTANT: u32 = 0; // lr
const ADAGRAD: u32 = 1; // lr / (1 + (t - 1) lr_decay)
const ADAM: u32 = 2; // lr / bc1
const DIFFGRAD: u32 = 3; // lr √bc2 / bc1

struct BiasCorrectionConstants {
    // beta1 and beta2 in units of 2^-64: low word, high word
    beta1: vec2<u32>,
    beta2: vec2<u32>,
    lr_decay: f32,
    // 1 - dampening
    blend: f32,
    // the same on the first step
    first_blend: f32,
    // -1 to maximize
    sign: f32,
}

@group(0) @binding(0) var<uniform> constants: BiasCorrectionConstants;
@group(0) @binding(1) var<storage, read> control: array<Control>;
@group(0) @binding(2) var<storage, read_write> scalars: array<Scalars>;
@group(0) @binding(3) var<storage, read_write> steps: array<u32>;
@group(0) @binding(4) var<storage, read> status: GradientStatus;

// The high 64 bits of the product of two numbers of 64 bits, rounded down.
fn multiply_high(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let ll = multiply(a.x, b.x);
    let lh = multiply(a.x, b.y);
    let hl = multiply(a.y, b.x);
    let hh = multiply(a.y, b.y);
    // the word of weight 2^32: three terms, whose carries go up
    let s = ll.y + lh.x;
    let t = s + hl.x;
    let carry = select(0u, 1u, s < ll.y) + select(0u, 1u, t < s);
    let u = lh.y + hl.y;
    let v = u + carry;
    let w = hh.x + v;
    let high = hh.y + select(0u, 1u, u < lh.y) + select(0u, 1u, v < u) + select(0u, 1u, w < v);
    return vec2(w, high);
}

// 1 - beta^t, of beta in units of 2^-64. Near 1, beta^t may round to 2^64 - 1 and no more.
fn correction(beta: vec2<u32>, t: u32) -> f32 {
    var power = vec2(0xffffffffu);
    var square = beta;
    for (var n = t; n != 0u; n >>= 1u) {
        if (n & 1u) != 0u {
            power = multiply_high(power, square);
        }
        square = multiply_high(square, square);
    }
    // too small for a unit: the difference from 1 would not fit in two words
    if all(power == vec2(0u)) {
        return 1.0;
    }
    // 2^64 - power, as two words; then to f32, the high word's leading zeros filled from the low one
    let low = ~power.x + 1u;
    let high = ~power.y + select(0u, 1u, low == 0u);
    return (f32(high) + f32(low) * 2.3283064365386963e-10) * 2.3283064365386963e-10;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let skip = status.skip != 0u;
    for (var tensor = group.x * 64u + lane; tensor < arrayLength(&control); tensor += groups.x * 64u) {
        let c = control[tensor];
        let enabled = c.enabled != 0u && !skip;
        let before = steps[tensor];
        let t = before + select(0u, 1u, enabled && before != 0xffffffffu);
        steps[tensor] = t;
        var step_size = c.lr;
        var root_scale = 1.0;
        if RULE == ADAGRAD {
            step_size = c.lr / (1.0 + f32(max(t, 1u) - 1u) * constants.lr_decay);
        } else if RULE == ADAM {
            step_size = c.lr / correction(constants.beta1, t);
            root_scale = 1.0 / sqrt(correction(constants.beta2, t));
        } else if RULE == DIFFGRAD {
            step_size = c.lr * sqrt(correction(constants.beta2, t)) / correction(constants.beta1, t);
        }
        scalars[tensor] = Scalars(
            select(0u, 1u, enabled),
            t,
            constants.sign * status.factor,
            c.weight_decay,
            c.decay,
            c.projected_decay,
            step_size,
            root_scale,
            select(constants.blend, constants.first_blend, t == 1u),
            f32((t * 0x9e3779b9u) >> 8u) * 5.9604644775390625e-8,
        );
    }
}
