// The power of two of a vector's largest magnitude m, 2^e <= m < 2^(e+1): factor = 2^-e and unit = 2^e. Squares of the
// vector times `factor` neither overflow nor vanish, whatever the scale of the vector. Both are 1 where m is 0, subnormal or not
// finite. e stays within ±126, so that both are normal numbers. One invocation.

#permute -

@group(0) @binding(0) var<storage, read> maximum: array<u32>;
@group(0) @binding(1) var<storage, read_write> factor: array<f32>;
@group(0) @binding(2) var<storage, read_write> unit: array<f32>;

@compute @workgroup_size(1)
fn main() {
    let biased = (maximum[0] >> 23u) & 0xffu;
    let e = select(min(biased, 253u), 127u, biased == 0u || biased == 255u);
    unit[0] = bitcast<f32>(e << 23u);
    factor[0] = bitcast<f32>((254u - e) << 23u);
}
