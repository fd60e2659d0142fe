// result[o] = Σ_r term(o, r), or with MAX the maximum, which is NaN if a term is NaN, of a generated function.
//
// A result has constants.parts equal parts: partial result p of o is at p * outputs + o, and they are reduced by another
// dispatch. With VECTOR four terms are one call.
//
// Workgroups of 256 stride over parts of 256 / LANES results each. LANES invocations share a part, take neighbouring terms,
// and add up theirs in a binary tree. Neighbouring invocations have neighbouring terms, which is for rows, or with COLUMNS
// neighbouring results: both load whole cache lines.
// SEQUENTIAL, for software drivers: an invocation of 64 has a part to itself.
//
// Deterministic: terms are added in blocks (shared/carry.wgsl), in an order that depends on their number, LANES and parts alone.
// Bytes: those of what `term` reads.

#import shared/optional_gate

#permute - | VECTOR
#permute - | MAX
#permute - | COLUMNS | SEQUENTIAL

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

#ifdef SEQUENTIAL
const LANES: u32 = 1u;
#else
// the invocations that share a result, a power of two
override LANES: u32 = 256u;
#endif

// What an invocation takes of the terms from `first` to `end`, of which there are some: each LANES-th cell from number `lane` on.
fn share(o: u32, first: u32, end: u32, lane: u32) -> f32 {
    let begin = first + lane * STEP;
#ifdef MAX
    // one without terms takes the last
    var greatest = term(o, min(begin, end - STEP));
    for (var r = begin + LANES * STEP; r < end; r += LANES * STEP) {
        greatest = combine(greatest, term(o, r));
    }
    return total(greatest);
#else
    var sums = Carry();
    for (var block = begin; block < end; block += TERMS * LANES * STEP) {
        var sum = Terms();
        for (var r = block; r < min(block + TERMS * LANES * STEP, end); r += LANES * STEP) {
            sum += term(o, r);
        }
        sums = carried(sums, sum);
    }
    return total(total_carried(sums));
#endif
}

#ifdef SEQUENTIAL
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if is_over() {
        return;
    }
    let outputs = constants.outputs;
    let all = outputs * constants.parts;
    for (var i = id.x; i < all; i += groups.x * 64u) {
        let first = i / outputs * constants.part;
        store(i, share(i % outputs, first, min(first + constants.part, constants.length), 0u));
    }
}
#else
var<workgroup> shared_terms: array<f32, 256>;

// Of all invocations whose `place` is the same modulo `together`, for the first of them.
fn over_lanes(place: u32, together: u32, value: f32) -> f32 {
    // the last values may still be read
    workgroupBarrier();
    shared_terms[place] = value;
    var reduced = value;
    for (var lanes = LANES / 2u; lanes > 0u; lanes /= 2u) {
        workgroupBarrier();
        if place < lanes * together {
            let other = shared_terms[place + lanes * together];
#ifdef MAX
            reduced = greater(reduced, other);
#else
            reduced += other;
#endif
            shared_terms[place] = reduced;
        }
    }
    return reduced;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    if is_over() {
        return;
    }
    let outputs = constants.outputs;
    let together = 256u / LANES;
#ifdef COLUMNS
    let lane = invocation / together;
    let own = invocation % together;
#else
    let lane = invocation % LANES;
    let own = invocation / LANES;
#endif
    let blocks = (outputs + together - 1u) / together;
    for (var job = group.x; job < blocks * constants.parts; job += groups.x) {
        let part = job / blocks;
        let o = (job - part * blocks) * together + own;
        let first = part * constants.part;
        let end = min(first + constants.part, constants.length);
        let value = over_lanes(lane * together + own, together, share(min(o, outputs - 1u), first, end, lane));
        if (lane == 0u) & (o < outputs) {
            store(part * outputs + o, value);
        }
    }
}
#endif
