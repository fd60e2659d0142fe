#![no_main]

#[path = "../../tests/common/fuzz.rs"]
mod fuzz;

#[global_allocator]
static ALLOCATOR: fuzz::Counting = fuzz::Counting;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::graph(bytes);
});
