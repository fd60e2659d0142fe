// Products of more than 32 bits, which WGSL does not have.

// a * b as (low, high), by halves of 16 bits.
fn multiply(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let cross = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
    let high = (a >> 16u) * (b >> 16u) + (middle >> 16u) + (cross >> 16u);
    return vec2((cross << 16u) | (low & 0xffffu), high);
}
