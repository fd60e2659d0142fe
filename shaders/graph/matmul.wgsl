// stand-in naive
#permute - | TWO
struct MatmulConstants {
    m: u32, n: u32, k: u32, batch1: u32, total: u32,
    oa0: u32, ob0: u32, oa1: u32, ob1: u32,
    sa0: vec4<u32>, sb0: vec4<u32>, sa1: vec4<u32>, sb1: vec4<u32>,
}
@group(0) @binding(0) var<uniform> constants: MatmulConstants;
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
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < constants.total; i += groups.x * 64u) {
        let n = i % constants.n;
        let m = i / constants.n % constants.m;
        let b = i / constants.n / constants.m;
        let at = vec4(b / constants.batch1, b % constants.batch1, m, 0u);
        let bt = vec4(b / constants.batch1, b % constants.batch1, 0u, n);
        var sum = 0.0;
        for (var k = 0u; k < constants.k; k++) {
            let x = constants.oa0 + dot(at, constants.sa0) + k * constants.sa0.w;
            let y = constants.ob0 + dot(bt, constants.sb0) + k * constants.sb0.z;
            sum += a0[x] * b0[y];
#ifdef TWO
            let z = constants.oa1 + dot(at, constants.sa1) + k * constants.sa1.w;
            let w = constants.ob1 + dot(bt, constants.sb1) + k * constants.sb1.z;
            sum += a1[z] * b1[w];
#endif
        }
        store(i, sum);
    }
}
