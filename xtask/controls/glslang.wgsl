// constants= bindings=0:storage
// More invocations than GLSL ES allows.
@group(0) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(2048)
fn main(@builtin(local_invocation_index) lane: u32) {
    y[lane] = 1.0;
}
