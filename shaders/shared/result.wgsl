// Where the results of a template go: the generated part defines `store` and `store4`; what stands here in
// their place lets a test validate the template, and tests run it.

#ifndef GENERATED
@group(0) @binding(6) var<storage, read_write> stand_in: array<f32>;

fn store(i: u32, value: f32) {
    stand_in[i] = value;
}

fn store4(i: u32, value: vec4<f32>) {
    store(i, value.x);
    store(i + 1u, value.y);
    store(i + 2u, value.z);
    store(i + 3u, value.w);
}
#endif

#ifndef HALVES
// Stores the elements i to i + 3 as far as they are before `end`; i is a multiple of four.
fn store_cell(i: u32, end: u32, values: vec4<f32>) {
    if i + 4u <= end {
        store4(i, values);
    } else {
        store(i, values.x);
        if i + 1u < end {
            store(i + 1u, values.y);
        }
        if i + 2u < end {
            store(i + 2u, values.z);
        }
    }
}
#endif
