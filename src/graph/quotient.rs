//! Division by multiplication, for kernels (`shaders/shared/quotient.wgsl`): Granlund and Montgomery, "Division
//! by invariant integers using multiplication", PLDI 1994.

/// `n / d = n · multiplier >> (31 + shift)` for all n < 2^31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Divisor {
    pub multiplier: u32,
    pub shift: u32,
}

impl Divisor {
    /// Of numbers by `d`, at least 1 and at most 2^31.
    pub fn new(d: u32) -> Self {
        // The least power of two, 2^shift, that is not below d; then the multiplier, 2^(31+shift)/d rounded up,
        // is below 2^32, and its error times n is less than 2^(31+shift)/d.
        let shift = 32 - d.saturating_sub(1).leading_zeros();
        let multiplier = (1u64 << (31 + shift)).div_ceil(u64::from(d.max(1))) as u32;
        Self { multiplier, shift }
    }
}

#[cfg(test)]
mod tests {
    use super::Divisor;

    /// What `quotient` does in WGSL, where n is doubled so that 32 of the bits to drop are a word.
    fn quotient(n: u32, divisor: Divisor) -> u32 {
        ((u64::from(2 * n) * u64::from(divisor.multiplier)) >> (32 + divisor.shift)) as u32
    }

    #[test]
    fn quotients() {
        let odd = (0..1000).map(|i| 2_654_435_761u32.wrapping_mul(i + 1) >> (1 + i % 30));
        for d in (1..2000).chain((0..31).flat_map(|k| [(1 << k) - 1, 1 << k, (1 << k) + 1])).chain(odd).chain([1 << 31]) {
            let divisor = Divisor::new(d.max(1));
            let d = d.max(1);
            // around multiples, where an error shows first
            let near = [1, 2, 3, 1000, (1 << 31) / d / 2, (1 << 31) / d].map(|k| u64::from(k) * u64::from(d));
            for n in near.iter().flat_map(|&n| [n.saturating_sub(1), n, n + 1]).chain([0, (1 << 31) - 1]) {
                if n < 1 << 31 {
                    assert_eq!(quotient(n as u32, divisor), n as u32 / d, "{n} / {d}");
                }
            }
        }
    }
}
