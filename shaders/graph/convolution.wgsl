// naive stand-in until the blocked kernels
#permute FORM_OUTPUT | FORM_INPUT | FORM_WEIGHT
#permute - | TWO
struct ConvolutionConstants {
    batch: u32, ci: u32, co: u32, total: u32,
    input: vec4<u32>, output: vec4<u32>, kernel: vec4<u32>, stride: vec4<u32>, dilation: vec4<u32>, padding: vec4<u32>,
    offsets: vec4<u32>,
}
@group(0) @binding(0) var<uniform> constants: ConvolutionConstants;
@group(0) @binding(1) var<storage, read> a0: array<f32>;
@group(0) @binding(2) var<storage, read> b0: array<f32>;
#ifdef TWO
@group(0) @binding(3) var<storage, read> a1: array<f32>;
@group(0) @binding(4) var<storage, read> b1: array<f32>;
#endif
#ifndef GENERATED
@group(0) @binding(6) var<storage, read_write> stand_in: array<f32>;
fn store(i: u32, value: f32) { stand_in[i] = value; }
#endif
fn product(a: u32, b: u32) -> f32 {
    let first = a0[constants.offsets.x + a] * b0[constants.offsets.y + b];
#ifdef TWO
    return first + a1[constants.offsets.z + a] * b1[constants.offsets.w + b];
#else
    return first;
#endif
}
fn at(c: vec3<u32>, s: vec4<u32>) -> u32 { return (c.x * s.y + c.y) * s.z + c.z; }
fn volume(s: vec4<u32>) -> u32 { return s.x * s.y * s.z; }
fn split(i: u32, s: vec4<u32>) -> vec3<u32> { return vec3(i / s.z / s.y, i / s.z % s.y, i % s.z); }
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let c = constants;
    let vi = volume(c.input);
    let vo = volume(c.output);
    let vk = volume(c.kernel);
    for (var i = id.x; i < c.total; i += groups.x * 64u) {
        var sum = 0.0;
#ifdef FORM_OUTPUT
        let o = split(i % vo, c.output);
        let co = i / vo % c.co;
        let n = i / vo / c.co;
        for (var k = 0u; k < vk; k++) {
            let p = o * c.stride.xyz + split(k, c.kernel) * c.dilation.xyz - c.padding.xyz;
            if all(p < c.input.xyz) {
                for (var ci = 0u; ci < c.ci; ci++) {
                    sum += product((n * c.ci + ci) * vi + at(p, c.input), (co * c.ci + ci) * vk + k);
                }
            }
        }
#endif
#ifdef FORM_INPUT
        let x = split(i % vi, c.input);
        let ci = i / vi % c.ci;
        let n = i / vi / c.ci;
        for (var k = 0u; k < vk; k++) {
            let q = x + c.padding.xyz - split(k, c.kernel) * c.dilation.xyz;
            let o = q / c.stride.xyz;
            if all(q < vec3(0x40000000u)) && all(o * c.stride.xyz == q) && all(o < c.output.xyz) {
                for (var co = 0u; co < c.co; co++) {
                    sum += product((n * c.co + co) * vo + at(o, c.output), (co * c.ci + ci) * vk + k);
                }
            }
        }
#endif
#ifdef FORM_WEIGHT
        let k = split(i % vk, c.kernel);
        let ci = i / vk % c.ci;
        let co = i / vk / c.ci;
        for (var j = 0u; j < c.batch * vo; j++) {
            let o = split(j % vo, c.output);
            let n = j / vo;
            let p = o * c.stride.xyz + k * c.dilation.xyz - c.padding.xyz;
            if all(p < c.input.xyz) {
                sum += product((n * c.co + co) * vo + j % vo, (n * c.ci + ci) * vi + at(p, c.input));
            }
        }
#endif
        store(i, sum);
    }
}
