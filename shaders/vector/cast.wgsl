// y = x of another float type, to nearest even, of which one at least has 16 bits. An invocation takes eight elements, whose
// loads and stores are of 16 bytes; with SCALAR two. Workgroups of 256 stride over them. Bytes an element: the sizes of both.

#import shared/half

#permute FROM_F32 | FROM_F16 | FROM_BF16
#permute TO_F32 | TO_F16 | TO_BF16
// SCALAR: the tensors begin at any word. ODD: the last word of y has but one element, and its other half is left as it is.
#permute - | SCALAR | SCALAR ODD

struct CastConstants {
    // the first unit in each binding: 16 bytes, or with SCALAR a word
    x: u32,
    y: u32,
    // how many elements there are, a multiple of eight without SCALAR
    count: u32,
}

#ifdef SCALAR
alias Unit = u32;
const TOGETHER: u32 = 2u;
#else
alias Unit = vec4<u32>;
const TOGETHER: u32 = 8u;
#endif

@group(0) @binding(0) var<uniform> constants: CastConstants;
@group(0) @binding(1) var<storage, read> x: array<Unit>;
@group(0) @binding(2) var<storage, read_write> y: array<Unit>;

#ifndef FROM_F32
fn widen(bits: vec4<u32>) -> vec4<f32> {
#ifdef FROM_F16
    return f16_to_f32(bits);
#else
    return bf16_to_f32(bits);
#endif
}
#endif

#ifndef TO_F32
fn narrow(values: vec4<f32>) -> vec4<u32> {
#ifdef TO_F16
    return f32_to_f16_nearest(values);
#else
    return f32_to_bf16_nearest(values);
#endif
}
#endif

#ifdef SCALAR
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let c = constants;
    for (var i = id.x; TOGETHER * i < c.count; i += groups.x * 256u) {
        let both = TOGETHER * i + 1u < c.count;
#ifdef FROM_F32
        let at = c.x + 2u * i;
        let pair = bitcast<vec2<f32>>(vec2(x[at], x[select(at, at + 1u, both)]));
        let values = vec4(pair, 0.0, 0.0);
#else
        let word = x[c.x + i];
        let values = widen(vec4(word & 0xffffu, word >> 16u, 0u, 0u));
#endif
#ifdef TO_F32
        y[c.y + 2u * i] = bitcast<u32>(values.x);
        if both {
            y[c.y + 2u * i + 1u] = bitcast<u32>(values.y);
        }
#else
        let packed = words(narrow(values)).x;
#ifdef ODD
        if !both {
            y[c.y + i] = (y[c.y + i] & 0xffff0000u) | (packed & 0xffffu);
            continue;
        }
#endif
        y[c.y + i] = packed;
#endif
    }
}
#else
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let c = constants;
    for (var i = id.x; TOGETHER * i < c.count; i += groups.x * 256u) {
        // elements 0, 2, 4, 6 and 1, 3, 5, 7
#ifdef FROM_F32
        let a = bitcast<vec4<f32>>(x[c.x + 2u * i]);
        let b = bitcast<vec4<f32>>(x[c.x + 2u * i + 1u]);
        let even = vec4(a.xz, b.xz);
        let odd = vec4(a.yw, b.yw);
#else
        let four = x[c.x + i];
        let even = widen(four & vec4(0xffffu));
        let odd = widen(four >> vec4(16u));
#endif
#ifdef TO_F32
        y[c.y + 2u * i] = bitcast<vec4<u32>>(vec4(even.x, odd.x, even.y, odd.y));
        y[c.y + 2u * i + 1u] = bitcast<vec4<u32>>(vec4(even.z, odd.z, even.w, odd.w));
#else
        y[c.y + i] = narrow(even) | (narrow(odd) << vec4(16u));
#endif
    }
}
#endif
