// constants= bindings=0:storage
// A barrier that only some invocations reach: naga lets it pass.
@group(0) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    if y[lane] > 0.0 {
        workgroupBarrier();
    }
    y[lane] = 1.0;
}
