// The largest |v_i| of the vectors of a solution, as bits: those of finite numbers are in the order of the numbers, those of
// infinity and NaN are greater. krylov/magnitude.wgsl writes them. From them a solution is scaled, so that no square of its
// vectors over- or underflows: where the largest |b_i| is less than 2^-16 or at least 2^17, b and x are multiplied by
// 2^-e, which makes it at least 1 and less than 2. Elsewhere e is 0.

#import shared/scaling

struct Magnitudes {
    // of b before its last projection onto the range of the operator
    whole: u32,
    // of b
    b: u32,
    // of x
    x: u32,
}

// e.
fn exponent_of_solution(m: Magnitudes) -> i32 {
    let e = exponent_of(m.b);
    return select(e, 0, abs(e) <= 16);
}

// Whether the system is solved with b = 0: b is, or the last projection has left less than 2^-20 of it, which is rounding.
fn is_zero(m: Magnitudes) -> bool {
    let finite = m.whole < 0x7f800000u;
    return m.b == 0u || (finite && exponent_of(m.b) + 20 < exponent_of(m.whole));
}

fn are_finite(m: Magnitudes) -> bool {
    return m.b < 0x7f800000u && m.x < 0x7f800000u;
}
