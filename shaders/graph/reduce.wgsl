// result[o] = Σ_r term(o, r), or with MAX the maximum, which is NaN if a term is NaN, of a generated function.
//
// An invocation takes the terms of one result, or of one of constants.parts equal parts of each: partial result p
// of o is at p * outputs + o, and they are reduced by another dispatch. With VECTOR four terms are one call.
// Deterministic: terms are added in blocks (shared/carry.wgsl), in an order that depends on their number alone. Bytes: those
// of what `term` reads.

#import shared/optional_gate

#permute - | VECTOR
#permute - | MAX

struct ReduceAxesConstants {
    outputs: u32,
    // terms of each result, a multiple of four with VECTOR
    length: u32,
    parts: u32,
    // terms of each part, a multiple of four with VECTOR
    part: u32,
}

@group(0) @binding(0) var<uniform> constants: ReduceAxesConstants;

#ifdef VECTOR
alias Terms = vec4<f32>;
const STEP: u32 = 4u;
#else
alias Terms = f32;
const STEP: u32 = 1u;
#endif

#ifndef GENERATED
@group(0) @binding(6) var<storage, read_write> stand_in: array<f32>;

fn term(o: u32, r: u32) -> Terms {
    return Terms(f32(o + r));
}

fn store(i: u32, value: f32) {
    stand_in[i] = value;
}
#endif

#ifdef MAX
// NaN are told by their bits: what comparisons with them give is left open.
fn greater(a: f32, b: f32) -> f32 {
    let magnitudes = vec2(bitcast<u32>(a), bitcast<u32>(b)) & vec2(0x7fffffffu);
    let are_nan = magnitudes > vec2(0x7f800000u);
    return select(a, b, ((b > a) | are_nan.y) & !are_nan.x);
}

fn combine(a: Terms, b: Terms) -> Terms {
#ifdef VECTOR
    return vec4(greater(a.x, b.x), greater(a.y, b.y), greater(a.z, b.z), greater(a.w, b.w));
#else
    return greater(a, b);
#endif
}
#else
alias Sum = Terms;
#import shared/carry
#endif

fn total(a: Terms) -> f32 {
#ifdef VECTOR
#ifdef MAX
    return greater(greater(a.x, a.y), greater(a.z, a.w));
#else
    return (a.x + a.y) + (a.z + a.w);
#endif
#else
    return a;
#endif
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if is_over() {
        return;
    }
    let outputs = constants.outputs;
    let all = outputs * constants.parts;
    for (var i = id.x; i < all; i += groups.x * 64u) {
        let o = i % outputs;
        let first = i / outputs * constants.part;
        let end = min(first + constants.part, constants.length);
#ifdef MAX
        var greatest = term(o, first);
        for (var r = first + STEP; r < end; r += STEP) {
            greatest = combine(greatest, term(o, r));
        }
        store(i, total(greatest));
#else
        var sums = Carry();
        for (var block = first; block < end; block += TERMS * STEP) {
            var sum = Terms();
            for (var r = block; r < min(block + TERMS * STEP, end); r += STEP) {
                sum += term(o, r);
            }
            sums = carried(sums, sum);
        }
        store(i, total(total_carried(sums)));
#endif
    }
}
