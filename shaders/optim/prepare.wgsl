// Once a step, before the elements: advances the step count of each tensor that takes part and works out what its elements need
// (shared/step.wgsl): the constants of its group, and what the algorithm's `prepare` makes of them, bias corrections say.
//
//   t += 1, up to 2^32 - 1;  dither = frac(t / golden ratio)
//
// A tensor that takes no part keeps its count and what `prepare` keeps. One invocation a tensor; workgroups of 64. Bytes a tensor:
// 16 read, 4 read and written, and its `Step` written, read as well where something is kept.

#import shared/control
#import shared/step
#import shared/wide

@group(0) @binding(0) var<storage, read> control: array<Control>;
@group(0) @binding(1) var<storage, read_write> counts: array<u32>;
@group(0) @binding(2) var<storage, read> status: GradientStatus;
#ifndef GENERATED
// The hyperparameters of a group, as the host last set them.
struct Group {
    lr: f32,
    sign: f32,
}

@group(0) @binding(3) var<storage, read> groups: array<Group>;
@group(0) @binding(4) var<storage, read_write> steps: array<Step>;

fn step_of(g: Group, before: Step, lr_factor: f32, t: u32, factor: f32, dither: f32) -> Step {
    let lr = g.lr * lr_factor;
    return Step(1u, t, 0u, 0u, g.sign * factor, lr, before.weight_decay, before.decay, before.projected_decay, dither);
}
#endif

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

// beta^t, both in units of 2^-64; 2^64 - 1 of them for 1.
fn power_of(beta: vec2<u32>, t: u32) -> vec2<u32> {
    var power = vec2(0xffffffffu);
    var square = beta;
    for (var n = t; n != 0u; n >>= 1u) {
        if (n & 1u) != 0u {
            power = multiply_high(power, square);
        }
        square = multiply_high(square, square);
    }
    return power;
}

// 1 - beta^t, of beta in units of 2^-64 (low word, high word). Near 1, beta^t may round to 2^64 - 1 and no more. beta^t is a
// fixed-point number of 64 fractional bits, multiplied out by squaring: an error of about t 2^-64, where floats would lose up to
// 3e-4 of 1 - beta^t (pow by exp2, or beta rounded to f32). It needs no state besides t, and no device rounds it differently.
fn correction(beta: vec2<u32>, t: u32) -> f32 {
    let power = power_of(beta, t);
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
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups_of_work: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let skip = status.skip != 0u;
    for (var tensor = group.x * 64u + lane; tensor < arrayLength(&control); tensor += groups_of_work.x * 64u) {
        let c = control[tensor];
        if c.enabled == 0u || skip {
            steps[tensor].enabled = 0u;
            continue;
        }
        let before = counts[tensor];
        let t = before + select(0u, 1u, before != 0xffffffffu);
        counts[tensor] = t;
        let dither = f32((t * 0x9e3779b9u) >> 8u) * 5.9604644775390625e-8;
        steps[tensor] = step_of(groups[c.group], steps[tensor], c.lr_factor, t, status.factor, dither);
    }
}
