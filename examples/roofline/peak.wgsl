// Fused multiply-adds in registers: 8 chains of four, 1,024 rounds an invocation. 65,536 operations each.

@group(0) @binding(0) var<storage, read_write> result: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let x = f32(id.x) * 1e-6;
    let m = vec4(0.99 + x, 0.98 + x, 0.97 + x, 0.96 + x);
    let c = vec4(0.01 + x);
    var a = c;
    var b = a + 1.0;
    var d = a + 2.0;
    var e = a + 3.0;
    var f = a + 4.0;
    var g = a + 5.0;
    var h = a + 6.0;
    var k = a + 7.0;
    for (var i = 0u; i < 1024u; i++) {
        a = fma(a, m, c);
        b = fma(b, m, c);
        d = fma(d, m, c);
        e = fma(e, m, c);
        f = fma(f, m, c);
        g = fma(g, m, c);
        h = fma(h, m, c);
        k = fma(k, m, c);
    }
    result[id.x] = ((a + b) + (d + e)) + ((f + g) + (h + k));
}
