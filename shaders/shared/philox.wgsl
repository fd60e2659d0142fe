// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a
// counter-based generator in 32-bit integers, the same on every device.

#import shared/wide

fn philox4x32(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var k = key;
    for (var round = 0; round < 10; round++) {
        let a = multiply(0xD2511F53u, c.x);
        let b = multiply(0xCD9E8D57u, c.z);
        c = vec4(b.y ^ c.y ^ k.x, b.x, a.y ^ c.w ^ k.y, a.x);
        k += vec2(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}
