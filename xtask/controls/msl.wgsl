// constants= bindings=0:storage
@group(0) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    y[lane] = tanh(y[lane]);
}
