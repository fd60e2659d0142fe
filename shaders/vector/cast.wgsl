// y = x of another float type, to nearest even. One invocation a word of the narrower type, or an
// element if both are f32. Bytes an element: the sizes of both.

#import shared/half

#permute FROM_F32 | FROM_F16 | FROM_BF16
// ODD: the last word has but one element, and its other half is left as it is.
#permute TO_F32 | TO_F16 | TO_BF16 | TO_F16 ODD | TO_BF16 ODD

struct CastConstants {
    // the first element in each binding, and how many there are
    x: u32,
    y: u32,
    count: u32,
}

@group(0) @binding(0) var<uniform> constants: CastConstants;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

fn load(i: u32) -> f32 {
#ifdef FROM_F32
    return bitcast<f32>(x[i]);
#else
    let bits = vec4((x[i >> 1u] >> (16u * (i & 1u))) & 0xffffu);
#ifdef FROM_F16
    return f16_to_f32(bits).x;
#else
    return bf16_to_f32(bits).x;
#endif
#endif
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
#ifdef TO_F32
    for (var i = id.x; i < constants.count; i += groups.x * 256u) {
        y[constants.y + i] = bitcast<u32>(load(constants.x + i));
    }
#else
    // tensors begin at whole words
    for (var i = 2u * id.x; i < constants.count; i += groups.x * 512u) {
        let both = i + 1u < constants.count;
        let value = vec4(load(constants.x + i), load(constants.x + select(i, i + 1u, both)), 0.0, 0.0);
#ifdef TO_F16
        let packed = words(f32_to_f16_nearest(value)).x;
#else
        let packed = words(f32_to_bf16_nearest(value)).x;
#endif
        let at = (constants.y + i) >> 1u;
#ifdef ODD
        if !both {
            y[at] = (y[at] & 0xffff0000u) | (packed & 0xffffu);
            continue;
        }
#endif
        y[at] = packed;
    }
#endif
}
