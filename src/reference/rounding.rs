//! f32 to the 16-bit formats and back, by bits.
//!
//! | format | sign, exponent, fraction bits | least normal | least subnormal | greatest |
//! |---|---|---|---|---|
//! | f16 (IEEE 754 binary16) | 1, 5, 10 | 2⁻¹⁴ | 2⁻²⁴ | 65504 |
//! | bf16 (upper half of an f32) | 1, 8, 7 | 2⁻¹²⁶ | 2⁻¹³³ | 3.39e38 |
//!
//! *To nearest*: ties go to the even pattern, and what is at least half a unit past the greatest
//! value becomes infinity. *Stochastic*: away from zero with the probability that makes the mean of
//! the result the value itself, up to the resolution of the random bits; values that the format
//! holds are never changed. The sign is kept throughout, that of zero included. Infinity stays
//! infinity, and NaN stays NaN with its upper payload bits, made quiet.
//!
//! All of it works on the magnitude's bits, where one more is the next value away from zero, so that
//! a carry into the exponent needs no care.

const F32_SIGN: u32 = 0x8000_0000;
const F32_INFINITY: u32 = 0x7f80_0000;

const F16_INFINITY: u16 = 0x7c00;
const F16_QUIET: u16 = 0x0200;
const F16_FRACTION: u16 = 0x03ff;
/// Fraction bits of f32 that f16 lacks.
const F16_DROPPED: u32 = 13;
/// Difference of the exponent biases, 127 and 15, in place in an f32.
const F16_REBIAS: u32 = 112 << 23;
/// Bits of 2⁻¹⁴ as f32, the least normal of f16.
const F16_LEAST_NORMAL: u32 = 113 << 23;
/// Bits of 2¹⁶ as f32, the first power of two that f16 lacks.
const F16_OVERFLOW: u32 = 143 << 23;
/// 1 in units of the least subnormal of f16.
const F16_SUBNORMALS: f32 = (1 << 24) as f32;

const BF16_QUIET: u16 = 0x0040;

/// `x` rounded to the nearest f16, ties to even; 65520 and beyond give infinity.
///
/// ```
/// use gradus::reference::rounding::f32_to_f16_nearest;
///
/// assert_eq!(f32_to_f16_nearest(1.0), 0x3c00);
/// assert_eq!(f32_to_f16_nearest(-65520.0), 0xfc00);
/// ```
pub fn f32_to_f16_nearest(x: f32) -> u16 {
    let (sign, magnitude) = split(x);
    if magnitude >= F32_INFINITY {
        return sign | f16_non_finite(magnitude);
    }
    sign | if magnitude < F16_LEAST_NORMAL {
        // The scaling is exact. 1024 units are the least normal, which is the pattern 1024 too.
        (f32::from_bits(magnitude) * F16_SUBNORMALS).round_ties_even() as u16
    } else {
        // Just under half a unit, and the rest if the pattern is odd.
        let odd = (magnitude >> F16_DROPPED) & 1;
        f16_truncate(magnitude + ((1 << (F16_DROPPED - 1)) - 1) + odd)
    }
}

/// `x` rounded stochastically to f16 with the low bits of `random`, a uniform random word.
///
/// - `|x| ≥ 2⁻¹⁴`: the low 13 bits of `random` are added to the bits of `|x|`, then the low 13 bits
///   are dropped. Finite `x` gives infinity where the sum reaches 2¹⁶.
/// - below: with `|x| = (k + f)·2⁻²⁴`, `k` whole and `f` in [0, 1), the result is `k + 1` units if
///   `⌊65536·f⌋` is greater than the low 16 bits of `random`, else `k`.
///
/// ```
/// use gradus::reference::rounding::f32_to_f16_stochastic;
///
/// let quarter = 1.0 + 0.25 / 1024.0; // a quarter of the way from 1 to the next f16
/// let up = (0..8192).filter(|&r| f32_to_f16_stochastic(quarter, r) == 0x3c01).count();
/// assert_eq!(up, 8192 / 4);
/// ```
pub fn f32_to_f16_stochastic(x: f32, random: u32) -> u16 {
    let (sign, magnitude) = split(x);
    if magnitude >= F32_INFINITY {
        return sign | f16_non_finite(magnitude);
    }
    sign | if magnitude < F16_LEAST_NORMAL {
        let units = f32::from_bits(magnitude) * F16_SUBNORMALS; // exact, as are the next lines
        let below = units.floor();
        let chances = ((units - below) * 65536.0) as u32;
        below as u16 + u16::from(chances > (random & 0xffff))
    } else {
        f16_truncate(magnitude + (random & ((1 << F16_DROPPED) - 1)))
    }
}

/// The value of an f16, exact for every pattern. A NaN keeps its payload.
///
/// ```
/// use gradus::reference::rounding::f16_to_f32;
///
/// assert_eq!(f16_to_f32(0x7bff), 65504.0);
/// assert_eq!(f16_to_f32(0x8001), -1.0 / 16_777_216.0);
/// ```
pub fn f16_to_f32(h: u16) -> f32 {
    let sign = u32::from(h & 0x8000) << 16;
    let magnitude = u32::from(h & 0x7fff);
    let bits = match h & F16_INFINITY {
        0 => (magnitude as f32 / F16_SUBNORMALS).to_bits(),
        F16_INFINITY => F32_INFINITY | (u32::from(h & F16_FRACTION) << F16_DROPPED),
        _ => (magnitude << F16_DROPPED) + F16_REBIAS,
    };
    f32::from_bits(sign | bits)
}

/// `x` rounded to the nearest bf16, ties to even.
///
/// ```
/// use gradus::reference::rounding::f32_to_bf16_nearest;
///
/// assert_eq!(f32_to_bf16_nearest(1.0), 0x3f80);
/// assert_eq!(f32_to_bf16_nearest(f32::MAX), 0x7f80); // infinity
/// ```
pub fn f32_to_bf16_nearest(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | BF16_QUIET;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// `x` rounded stochastically to bf16 with the low 16 bits of `random`, a uniform random word.
///
/// They are added to the bits of `x`, then the low 16 bits are dropped. Finite `x` gives infinity
/// only where the addition carries there.
///
/// ```
/// use gradus::reference::rounding::f32_to_bf16_stochastic;
///
/// let quarter = 1.0 + 0.25 / 128.0; // a quarter of the way from 1 to the next bf16
/// let up = (0..65536).filter(|&r| f32_to_bf16_stochastic(quarter, r) == 0x3f81).count();
/// assert_eq!(up, 65536 / 4);
/// ```
pub fn f32_to_bf16_stochastic(x: f32, random: u32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | BF16_QUIET;
    }
    // Infinity has its low half clear: nothing carries.
    ((bits + (random & 0xffff)) >> 16) as u16
}

/// The value of a bf16, exact for every pattern: its bits are the upper half of the f32's.
///
/// ```
/// use gradus::reference::rounding::bf16_to_f32;
///
/// assert_eq!(bf16_to_f32(0xbfc0), -1.5);
/// ```
pub fn bf16_to_f32(h: u16) -> f32 {
    f32::from_bits(u32::from(h) << 16)
}

/// The sign, in place in a 16-bit format, and the magnitude's bits.
fn split(x: f32) -> (u16, u32) {
    let bits = x.to_bits();
    ((bits >> 16) as u16 & 0x8000, bits & !F32_SIGN)
}

/// The f16 magnitude for infinity or NaN.
fn f16_non_finite(magnitude: u32) -> u16 {
    let payload = (magnitude >> F16_DROPPED) as u16 & F16_FRACTION;
    let quiet = if magnitude > F32_INFINITY { F16_QUIET } else { 0 };
    F16_INFINITY | quiet | payload
}

/// The f16 magnitude for f32 bits of at least 2⁻¹⁴, toward zero but to infinity from 2¹⁶ on.
fn f16_truncate(magnitude: u32) -> u16 {
    if magnitude >= F16_OVERFLOW { F16_INFINITY } else { ((magnitude - F16_REBIAS) >> F16_DROPPED) as u16 }
}

#[cfg(test)]
mod tests {
    use super::super::random::philox4x32;
    use super::*;

    /// One 16-bit format: its functions, the pattern of infinity, the number of fraction bits, and
    /// the exponent's bias.
    struct Format {
        nearest: fn(f32) -> u16,
        stochastic: fn(f32, u32) -> u16,
        widen: fn(u16) -> f32,
        infinity: u16,
        fraction: i32,
        bias: i32,
    }

    const FORMATS: [Format; 2] = [
        Format {
            nearest: f32_to_f16_nearest,
            stochastic: f32_to_f16_stochastic,
            widen: f16_to_f32,
            infinity: 0x7c00,
            fraction: 10,
            bias: 15,
        },
        Format {
            nearest: f32_to_bf16_nearest,
            stochastic: f32_to_bf16_stochastic,
            widen: bf16_to_f32,
            infinity: 0x7f80,
            fraction: 7,
            bias: 127,
        },
    ];

    impl Format {
        /// The values of the patterns from zero to infinity, from the definition of the format;
        /// infinity counts as the power of two that would stand there.
        fn values(&self) -> Vec<f64> {
            (0..=i32::from(self.infinity))
                .map(|h| {
                    let exponent = h >> self.fraction;
                    let fraction = f64::from(h & ((1 << self.fraction) - 1));
                    let one = f64::from(1 << self.fraction);
                    let significand = fraction + if exponent == 0 { 0.0 } else { one };
                    2f64.powi(exponent.max(1) - self.bias) * significand / one
                })
                .collect()
        }
    }

    /// The nearer neighbour of `|x|`, and the even pattern of two as near.
    fn nearest_by_search(values: &[f64], x: f32) -> u16 {
        let magnitude = f64::from(x.abs());
        let above = values.partition_point(|&v| v < magnitude);
        let sign = if x.is_sign_negative() { 0x8000 } else { 0 };
        let pattern = if above == 0 {
            0
        } else if above == values.len() {
            above - 1
        } else {
            let (down, up) = (magnitude - values[above - 1], values[above] - magnitude);
            let even = above - above % 2;
            match down.total_cmp(&up) {
                std::cmp::Ordering::Less => above - 1,
                std::cmp::Ordering::Equal => even,
                std::cmp::Ordering::Greater => above,
            }
        };
        sign | pattern as u16
    }

    #[test]
    fn every_finite_pattern_survives() {
        for format in &FORMATS {
            for (h, value) in (0..format.infinity).zip(format.values()) {
                for (h, value) in [(h, value), (h | 0x8000, -value)] {
                    let x = (format.widen)(h);
                    assert_eq!(f64::from(x), value);
                    assert_eq!((format.nearest)(x), h);
                    for random in [0, 1, 0x1fff, 0xffff, 0x5555, u32::MAX] {
                        assert_eq!((format.stochastic)(x, random), h);
                    }
                }
            }
        }
    }

    #[test]
    fn nearest_is_the_nearer_neighbour() {
        for format in &FORMATS {
            let values = format.values();
            let check = |x: f32| {
                assert_eq!((format.nearest)(x), nearest_by_search(&values, x), "{x:e} {:x}", x.to_bits());
            };
            for pair in values.windows(2) {
                // Halfway is an f32 in both formats, for subnormals and at the overflow too.
                let halfway = (0.5 * (pair[0] + pair[1])) as f32;
                assert_eq!(f64::from(halfway), 0.5 * (pair[0] + pair[1]));
                for x in [halfway, pair[0] as f32] {
                    for x in [x, x.next_up(), x.next_down()] {
                        check(x);
                        check(-x);
                    }
                }
            }
            for counter in 0..20_000 {
                for word in philox4x32([counter, 0, 0, 0], [1, 2]) {
                    let x = f32::from_bits(word);
                    if x.is_finite() {
                        check(x);
                    }
                }
            }
            check(f32::MAX);
        }
    }

    /// The mean over all values of the random bits is the value.
    #[test]
    fn stochastic_is_unbiased() {
        let cases = [1.0, 1.000_3, -2.345_678_9, 6e-5, 65_504.0, 7.3e-6, -4.2e-8, 1e-9];
        for format in &FORMATS {
            for x in cases {
                let sum: f64 = (0..65536).map(|random| f64::from((format.widen)((format.stochastic)(x, random)))).sum();
                // The random bits resolve 2⁻¹⁶ of a subnormal unit of f16; otherwise it is exact.
                let subnormal = format.fraction == 10 && x.abs() < 2f32.powi(-14);
                let tolerance = if subnormal { 2f64.powi(-40) } else { 0.0 };
                let error = (sum / 65536.0 - f64::from(x)).abs();
                assert!(error <= tolerance, "{x}: {error}");
            }
        }
    }

    #[test]
    fn stochastic_overflow() {
        for (x, random, expect) in [
            (65_504.0, 0x1fff, 0x7bff),
            (65_519.0, 0, 0x7bff),
            (65_519.0, 0x1fff, 0x7c00),
            (-65_536.0, 0, 0xfc00),
            (f32::MAX, u32::MAX, 0x7c00),
        ] {
            assert_eq!(f32_to_f16_stochastic(x, random), expect, "{x} {random:x}");
        }
        assert_eq!(f32_to_bf16_stochastic(f32::MAX, 0), 0x7f7f);
        assert_eq!(f32_to_bf16_stochastic(f32::MIN, 0xffff), 0xff80);
    }

    #[test]
    fn non_finite() {
        for format in &FORMATS {
            let infinity = format.infinity;
            for random in [0, u32::MAX] {
                assert_eq!((format.stochastic)(f32::INFINITY, random), infinity);
                assert_eq!((format.stochastic)(f32::NEG_INFINITY, random), infinity | 0x8000);
            }
            assert_eq!((format.nearest)(f32::INFINITY), infinity);
            assert_eq!((format.nearest)(f32::NEG_INFINITY), infinity | 0x8000);
            assert_eq!((format.widen)(infinity), f32::INFINITY);
            let quiet = 1 << (format.fraction - 1);
            // A quiet NaN, signalling ones whose payload is dropped or kept, a negative one.
            for bits in [0x7fc0_0000, 0x7f80_0001, 0x7fa0_0000, 0xffff_ffff] {
                let nan = f32::from_bits(bits);
                let rounded = [(format.nearest)(nan), (format.stochastic)(nan, 0), (format.stochastic)(nan, u32::MAX)];
                for h in rounded {
                    assert!((format.widen)(h).is_nan());
                    assert_eq!(h & (infinity | quiet), infinity | quiet);
                    assert_eq!(h >> 15, (bits >> 31) as u16);
                }
            }
        }
    }
}
