// The scale of a solution, from the largest |b_i| as vector/max_magnitude.wgsl leaves it, read as bits: those of finite numbers are
// in the order of the numbers, those of infinity and NaN are greater. So that no square of its vectors over- or underflows,
// where the largest |b_i| is less than 2^-16 or at least 2^17, b and x are multiplied by 2^-e, which makes it at least 1 and
// less than 2. Elsewhere e is 0.

#import shared/powers_of_two

// e, of the largest |b_i|.
fn exponent_of_solution(b: u32) -> i32 {
    let e = exponent_of(b);
    return select(e, 0, abs(e) <= 16);
}
