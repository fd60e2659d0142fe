// x = random signs: element i of sample k is 1 if the top bit of word i % 4 of Philox4x32-10 of the counter
// (i / 4, 0, k, 0) and the seed is 0, else -1, as in vector/random.wgsl with k for the stream. See
// shared/samples.wgsl. Bytes an element: 4. The same on every device.

#permute -
#import shared/samples
#import shared/philox

@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>;

fn visit(c: SampleConstants, i: u32, k: u32) {
    let bits = philox4x32(vec4(c.first + i, 0u, k, 0u), vec2(c.seed_low, c.seed_high));
    x[i] = vec4(1.0) - 2.0 * vec4<f32>(bits >> vec4(31u));
}
