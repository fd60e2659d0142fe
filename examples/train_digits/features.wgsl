// Random Fourier features of every image (Rahimi & Recht 2007):
//
//     φ(x) = scale · cos(Ω x + phase).
//
// An invocation four features of one image.

const TAU = 6.283185307179586;
// an image is 64 pixels
const PIXELS = 64u;
// four features each, as in softmax.wgsl and train_digits.rs
const COLUMNS = 256u;
// φ(x)·φ(y) is close to 16 times the kernel; the larger φ is, the further a step moves the logits
const SCALE = 4.0 * sqrt(2.0 / f32(4u * COLUMNS));

struct Map {
    // of a pixel, the frequencies of all features
    frequency: array<array<vec4<f32>, COLUMNS>, PIXELS>,
    phase: array<vec4<f32>, COLUMNS>,
}

@group(0) @binding(0) var<storage, read> map: Map;
@group(0) @binding(1) var<storage, read> images: array<array<f32, PIXELS>>;
@group(0) @binding(2) var<storage, read_write> features: array<array<vec4<f32>, COLUMNS>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let k = id.x;
    let sample = id.y;
    if k >= COLUMNS {
        return;
    }
    var angle = map.phase[k];
    for (var p = 0u; p < PIXELS; p++) {
        angle += map.frequency[p][k] * images[sample][p];
    }
    // from -π to π, where WGSL promises a precise cosine
    features[sample][k] = SCALE * cos(angle - TAU * round(angle / TAU));
}
