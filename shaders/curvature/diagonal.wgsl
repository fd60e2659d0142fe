// The mean over samples of d = x y, elementwise, and the sum m2 of squared deviations from it (Welford 1962):
//   mean' = mean + (d - mean) / (k + 1);  m2' = m2 + (d - mean)(d - mean')
// after k samples; the first does not read what was there before. Samples that are all equal leave
// their value and 0, exactly. Bytes an element: 24.
// FINISH: m2 becomes the standard error of the mean, √(m2 / (k (k - 1))). Bytes an element: 8.
// See shared/samples.wgsl.

#permute - | FINISH
#import shared/samples

@group(0) @binding(5) var<storage, read_write> m2: array<vec4<f32>>;

#ifdef FINISH
fn visit(c: SampleConstants, i: u32, k: u32) {
    m2[i] = sqrt(m2[i] / (f32(k) * f32(k - 1u)));
}
#else
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> y: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> mean: array<vec4<f32>>;

fn visit(c: SampleConstants, i: u32, k: u32) {
    let d = x[i] * y[i];
    let before = mean[i];
    let after = select(before + (d - before) / f32(k + 1u), d, k == 0u);
    mean[i] = after;
    m2[i] = select(m2[i] + (d - before) * (d - after), vec4(0.0), k == 0u);
}
#endif
