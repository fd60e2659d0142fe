//! Philox4x32-10: random numbers as a function of (seed, stream, element).
//!
//! Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
//! The generator has no state to carry: an element's word depends on nothing but its index, so any
//! split of the work over threads, and any device, gives the same numbers.

/// Multipliers of words 0 and 2 of the counter.
const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];

/// What the key grows by between two rounds: the golden ratio and √3 - 1, as fractions of 2³².
const KEY_INCREMENTS: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];

const ROUNDS: usize = 10;

/// The four random words that belong to `counter` under `key`.
///
/// One round maps the counter `(c0, c1, c2, c3)` to
/// `(hi(M1·c2) ^ c1 ^ k0, lo(M1·c2), hi(M0·c0) ^ c3 ^ k1, lo(M0·c0))`, and the key is increased by
/// a constant, modulo 2³² in each word, between rounds. There are ten rounds.
///
/// ```
/// use gradus::reference::random::philox4x32;
///
/// let words = philox4x32([0; 4], [0; 2]);
/// assert_eq!(words, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
/// ```
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..ROUNDS {
        let (high0, low0) = multiply(MULTIPLIERS[0], c0);
        let (high1, low1) = multiply(MULTIPLIERS[1], c2);
        (c0, c1, c2, c3) = (high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0);
        k0 = k0.wrapping_add(KEY_INCREMENTS[0]);
        k1 = k1.wrapping_add(KEY_INCREMENTS[1]);
    }
    [c0, c1, c2, c3]
}

/// `n` numbers uniform on [0, 1), multiples of 2⁻²⁴.
///
/// Element `i` is `(word >> 8)·2⁻²⁴`, where `word` is number `i mod 4` of [`philox4x32`] at the
/// counter `(low(⌊i/4⌋), high(⌊i/4⌋), stream, 0)` under the key `(low(seed), high(seed))`. A shorter
/// request gives the beginning of a longer one.
///
/// ```
/// use gradus::reference::random::uniform;
///
/// let long = uniform(7, 0, 10);
/// assert_eq!(uniform(7, 0, 3), long[..3]);
/// assert!(long.iter().all(|&x| (0.0..1.0).contains(&x)));
/// ```
pub fn uniform(seed: u64, stream: u32, n: usize) -> Vec<f32> {
    const UNIT: f32 = 1.0 / (1 << 24) as f32;
    words(seed, stream).take(n).map(|word| (word >> 8) as f32 * UNIT).collect()
}

/// `n` signs, +1.0 or -1.0 with probability one half each (a Rademacher vector).
///
/// Element `i` is +1.0 where the top bit of its word is 0, else -1.0; the words are those of
/// [`uniform`]. So +1.0 stands where `uniform` of the same seed and stream is below one half.
///
/// ```
/// use gradus::reference::random::{rademacher, uniform};
///
/// for (sign, x) in rademacher(7, 1, 100).into_iter().zip(uniform(7, 1, 100)) {
///     assert_eq!(sign, if x < 0.5 { 1.0 } else { -1.0 });
/// }
/// ```
pub fn rademacher(seed: u64, stream: u32, n: usize) -> Vec<f32> {
    words(seed, stream).take(n).map(|word| if word >> 31 == 0 { 1.0 } else { -1.0 }).collect()
}

/// `n` standard normal numbers, by the transform of Box and Muller ("A note on the generation of random
/// normal deviates", 1958).
///
/// Elements `2i` and `2i+1` are `√(-2 ln u)·cos 2πv` and `√(-2 ln u)·sin 2πv`, where `u = 2⁻²⁴ + uniform`
/// of element `2i`, which is in (0, 1], and `v = uniform` of element `2i+1`.
///
/// ```
/// use gradus::reference::random::normal;
///
/// let numbers = normal(7, 0, 1000);
/// let mean = numbers.iter().sum::<f64>() / 1000.0;
/// assert!(mean.abs() < 5.0 / 1000f64.sqrt());
/// ```
pub fn normal(seed: u64, stream: u32, n: usize) -> Vec<f64> {
    const UNIT: f64 = 1.0 / (1 << 24) as f64;
    let pairs = uniform(seed, stream, n.next_multiple_of(2));
    let pair = |pair: &[f32; 2]| {
        let radius = (-2.0 * (f64::from(pair[0]) + UNIT).ln()).sqrt();
        let angle = std::f64::consts::TAU * f64::from(pair[1]);
        [radius * angle.cos(), radius * angle.sin()]
    };
    pairs.as_chunks().0.iter().flat_map(pair).take(n).collect()
}

/// The words of elements 0, 1, 2, …
fn words(seed: u64, stream: u32) -> impl Iterator<Item = u32> {
    let key = [seed as u32, (seed >> 32) as u32];
    (0..=u64::MAX).flat_map(move |block| philox4x32([block as u32, (block >> 32) as u32, stream, 0], key))
}

/// The high and the low half of `a·b`.
fn multiply(a: u32, b: u32) -> (u32, u32) {
    let product = u64::from(a) * u64::from(b);
    ((product >> 32) as u32, product as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers published with Random123.
    #[test]
    fn known_answers() {
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expect) in cases {
            assert_eq!(philox4x32(counter, key), expect, "{counter:x?} {key:x?}");
        }
    }

    #[test]
    fn elements_follow_the_counter() {
        let seed = 0x0123_4567_89ab_cdef;
        let numbers = uniform(seed, 9, 11);
        assert_eq!(numbers.len(), 11);
        for (i, &x) in numbers.iter().enumerate() {
            let word = philox4x32([(i / 4) as u32, 0, 9, 0], [0x89ab_cdef, 0x0123_4567])[i % 4];
            assert_eq!(f64::from(x), f64::from(word >> 8) / f64::from(1 << 24));
        }
        assert_ne!(uniform(seed, 8, 11), numbers);
        assert!(uniform(seed, 0, 0).is_empty());
    }

    /// Means over 10⁵ elements lie within five standard deviations.
    #[test]
    fn means() {
        let n = 100_000;
        let mean = |x: Vec<f32>| x.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
        let deviation = 1.0 / (n as f64).sqrt();
        assert!((mean(uniform(1, 2, n)) - 0.5).abs() < 5.0 * deviation / 12f64.sqrt());
        assert!(mean(rademacher(1, 2, n)).abs() < 5.0 * deviation);
    }
}
