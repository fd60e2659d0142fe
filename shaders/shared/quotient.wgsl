// n / d for n < 2^31, by the constants that the host's `Divisor` holds for d (graph/quotient.rs): integer
// division costs ten times a product on a software driver, and several times on a GPU.

#import shared/wide

// floor(n · multiplier / 2^(31 + shift))
fn quotient(n: u32, multiplier: u32, shift: u32) -> u32 {
    return multiply(2u * n, multiplier).y >> shift;
}
