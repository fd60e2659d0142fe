//! States of 8 bits: blockwise dynamic quantization, bit for bit.
//!
//! A tensor is cut into blocks of 256 elements, row-major, the last one shorter. A block has a scale, its greatest magnitude,
//! and each element the number, from 0 to 255, of the entry of a map nearest to its quotient by the scale. The map is dynamic:
//! seven decades, each with twice as many entries as the one below, so that large elements keep two digits and small ones their
//! magnitude.
//!
//! | map | entries of decade `i`, 0 to 6 | further entries | greatest error, of the scale | least magnitude but 0 |
//! |---|---|---|---|---|
//! | signed | ± `2^i` | 0 and 1 | 0.00704 | 5.5e-7 |
//! | unsigned | `2^(i+1)` | 0 and 1 | 0.00352 | 3.25e-7 |
//!
//! Entry `k` of the `n` in decade `i` is `(0.1 + 0.9·(k + 1/2)/n)·10^(i-6)`, the middle of the `k`-th part of the decade. Entries
//! are numbered in ascending order. The signed map has 1 but not -1.
//!
//! The scale is kept in f32: 1 byte and 1/64 an element. Products of f32 are rounded alike on every device and quotients are
//! not, so the nearest entry is found by products: the code of `x` counts the `k` with `middle_k·scale < x`, where
//! `middle_k` is the f32 nearest to the mean of entries `k` and `k + 1`.
//!
//! In the unsigned map no positive number becomes 0, and negative ones count as 0: the first of the middles is 0. A second moment
//! of 0 beside a first one that is not would make the step `lr·m/eps`. Of least squares by AdamW with features of sizes `e^(z·s)`,
//! `z` normal, 2,000 steps end with a loss of (states in f64, in 8 bits): 0.1253 and 0.1253 for `s` = 0.5, 0.137 and 0.142 for 1,
//! 0.427 and 0.546 for 1.5. To the nearest entry, with 0 among them, 0.232 for 1, and 1.5 diverges.
//!
//! Zeros in memory, codes and scales, are a tensor of zeros. A NaN or an infinity spoils its block: all that is decoded of it is
//! not finite.
//!
//! Source: Dettmers, Lewis, Shleifer and Zettlemoyer, "8-bit optimizers via block-wise quantization", ICLR 2022,
//! arXiv:2110.02861, section 2 (blocks of 2,048 there, and the nearest entry, also where it is 0); the map: Dettmers, ICLR 2016,
//! arXiv:1511.04561, as `bitsandbytes` has it; that zeros spoil second moments: Li, Chen and Zhu, NeurIPS 2023, arXiv:2309.01507.
//!
//! ```
//! use gradus::reference::optim::quantized::{decode, encode};
//!
//! let x = [8.0, -0.5, 0.0, 1e-3];
//! let (codes, scales) = encode(&x, true);
//! assert_eq!((scales.as_slice(), codes[0], codes[2]), ([8.0].as_slice(), 255, 127));
//! let error = decode(&codes, &scales, true).iter().zip(x).map(|(found, x)| (found - x).abs()).fold(0.0, f32::max);
//! assert!(error < 0.00704 * 8.0);
//! ```

/// Elements that share a scale.
pub const BLOCK: usize = 256;

/// Decades of a map.
const DECADES: i32 = 7;

/// The entries of the map, from the least to the greatest, rounded to f32.
///
/// ```
/// use gradus::reference::optim::quantized::dynamic_map;
///
/// let signed = dynamic_map(true);
/// assert_eq!((signed[0], signed[127], signed[128], signed[255]), (-0.99296875, 0.0, 5.5e-7, 1.0));
/// ```
pub fn dynamic_map(signed: bool) -> [f32; 256] {
    exact_map(signed).map(|entry| entry as f32)
}

/// What separates the entries of the map: the means of neighbours, rounded to f32, but 0 beside the 0 of the unsigned map.
///
/// ```
/// use gradus::reference::optim::quantized::middles;
///
/// assert_eq!((middles(true)[127], middles(false)[0]), (2.75e-7, 0.0));
/// ```
pub fn middles(signed: bool) -> [f32; 255] {
    let map = exact_map(signed);
    std::array::from_fn(|k| if !signed && k == 0 { 0.0 } else { ((map[k] + map[k + 1]) / 2.0) as f32 })
}

fn exact_map(signed: bool) -> [f64; 256] {
    let mut entries = vec![0.0, 1.0];
    for decade in 0..DECADES {
        let n = if signed { 1 << decade } else { 2 << decade };
        for k in 0..n {
            // decades below 1 by division, since powers of ten are exact
            let entry = (0.1 + 0.9 * (f64::from(k) + 0.5) / f64::from(n)) / 10f64.powi(DECADES - 1 - decade);
            entries.push(entry);
            if signed {
                entries.push(-entry);
            }
        }
    }
    entries.sort_by(f64::total_cmp);
    std::array::from_fn(|k| entries[k])
}

/// The codes of all elements and the scales of all blocks.
///
/// ```
/// use gradus::reference::optim::quantized::encode;
///
/// let (codes, scales) = encode(&[1.0; 300], false);
/// assert_eq!((codes, scales), (vec![255; 300], vec![1.0; 2]));
/// ```
pub fn encode(x: &[f32], signed: bool) -> (Vec<u8>, Vec<f32>) {
    let middles = middles(signed);
    let mut codes = Vec::with_capacity(x.len());
    let mut scales = Vec::with_capacity(x.len().div_ceil(BLOCK));
    for block in x.chunks(BLOCK) {
        let mut scale: f32 = 0.0;
        for x in block {
            // A NaN enters by the second condition, and stays: no comparison with it holds.
            if x.abs() > scale || x.is_nan() {
                scale = x.abs();
            }
        }
        scales.push(scale);
        codes.extend(block.iter().map(|&x| middles.partition_point(|middle| middle * scale < x) as u8));
    }
    (codes, scales)
}

/// The elements: entry times scale, in f32.
///
/// # Panics
///
/// If there is not a scale for every block.
///
/// ```
/// use gradus::reference::optim::quantized::decode;
///
/// assert_eq!(decode(&[255, 0], &[3.0], false), [3.0, 0.0]);
/// assert_eq!(decode(&[0; 257], &[0.0; 2], true), [0.0; 257]);
/// ```
pub fn decode(codes: &[u8], scales: &[f32], signed: bool) -> Vec<f32> {
    assert_eq!(scales.len(), codes.len().div_ceil(BLOCK), "there should be a scale for each block of {BLOCK}");
    let map = dynamic_map(signed);
    codes.iter().enumerate().map(|(i, &code)| map[usize::from(code)] * scales[i / BLOCK]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::random::normal;
    use super::super::{AdamW, Step};
    use super::*;

    /// Decade by decade, as the paper draws them: how many entries, and that neighbours in a decade are equally far apart.
    #[test]
    fn maps() {
        for (signed, factor) in [(true, 1), (false, 2)] {
            let map = dynamic_map(signed);
            assert!(map.windows(2).all(|pair| pair[0] < pair[1]));
            for decade in 0..7 {
                let top = 10f64.powi(decade - 6);
                let inside: Vec<f64> = map.iter().map(|&x| f64::from(x)).filter(|x| (0.1 * top..top).contains(x)).collect();
                assert_eq!(inside.len(), factor << decade);
                let gap = 0.9 * top / inside.len() as f64;
                for (k, x) in inside.iter().enumerate() {
                    assert!((x - (0.1 * top + gap * (k as f64 + 0.5))).abs() < 1e-7 * top, "{signed} {decade} {k}");
                }
            }
            assert_eq!(map[255], 1.0);
            let zero = if signed { 127 } else { 0 };
            assert_eq!(map[zero], 0.0);
            // symmetric but for the 1
            assert!(!signed || (0..127).all(|k| map[k] == -map[254 - k]));
        }
    }

    /// What the map holds comes back, whatever the scale, and between entries the nearer one is chosen.
    #[test]
    fn nearest() {
        for signed in [true, false] {
            let map = dynamic_map(signed);
            for scale in [1.0f32, 0.37, 6.1e12, 3e-20] {
                let x = map.map(|entry| entry * scale);
                let (codes, scales) = encode(&x, signed);
                assert!(codes.iter().enumerate().all(|(k, &code)| k == usize::from(code)));
                assert_eq!((scales.as_slice(), decode(&codes, &scales, signed).as_slice()), ([scale].as_slice(), x.as_slice()));
            }
            let least = if signed { -1.0 } else { 0.0 };
            let x: Vec<f32> = (0..=20_000).map(|i| if i % 100 == 0 { 1.0 } else { least + (1.0 - least) * i as f32 / 20_000.0 }).collect();
            let (codes, scales) = encode(&x, signed);
            let mut worst = 0f32;
            for (x, found) in x.iter().zip(decode(&codes, &scales, signed)) {
                let entries = map.iter().filter(|entry| signed || (**entry == 0.0) == (*x == 0.0));
                let nearest = entries.map(|entry| (entry - x).abs()).fold(f32::INFINITY, f32::min);
                assert!((found - x).abs() <= nearest + 1e-7, "{x} {found}");
                worst = worst.max((found - x).abs());
            }
            let bound = if signed { 0.00704 } else { 0.00352 };
            assert!(worst <= bound && worst > 0.99 * bound, "{worst}");
        }
    }

    /// The least positive numbers keep a magnitude in the unsigned map, and become 0 in the signed one.
    #[test]
    fn least() {
        let x = [1.0, 1e-9, 1e-38, 0.0];
        assert_eq!(encode(&x, false).0, [255, 1, 1, 0]);
        assert_eq!(encode(&x, true).0, [255, 127, 127, 127]);
    }

    /// AdamW with states in 8 bits and in f64, on least squares whose features differ much in size: 0.366 against 0.316. With the
    /// nearest entry, 0 too, it is 25.
    #[test]
    fn training() {
        let (outputs, features, batch) = (4, 64, 16);
        let truth = normal(1, 0, outputs * features);
        let sizes: Vec<f64> = normal(2, 0, features).iter().map(|x| x.exp()).collect();
        let loss = |quantized: bool| {
            let (mut p, mut state) = (vec![0.0; outputs * features], AdamW::default().initial_state(outputs * features));
            let mut last = 0.0;
            for t in 1..=800u32 {
                let (x, noise) = (normal(3, t, batch * features), normal(4, t, batch * outputs));
                let mut g = vec![0.0; p.len()];
                for (x, noise) in x.chunks(features).zip(noise.chunks(outputs)) {
                    for (i, noise) in noise.iter().enumerate() {
                        let at = |j: usize| i * features + j;
                        let error = (0..features).map(|j| (p[at(j)] - truth[at(j)]) * x[j] * sizes[j]).sum::<f64>() - 0.5 * noise;
                        (0..features).for_each(|j| g[at(j)] += error * x[j] * sizes[j] / batch as f64);
                        last += if t > 700 { error * error / 200.0 / (batch * outputs) as f64 } else { 0.0 };
                    }
                }
                let lr = 0.02 * (1.0 - f64::from(t) / 800.0);
                AdamW { lr, weight_decay: 0.0, ..AdamW::default() }.step(t.into(), &[outputs, features], &mut p, &g, &mut state);
                if quantized {
                    for (state, signed) in state.iter_mut().zip([true, false]) {
                        let (codes, scales) = encode(&state.iter().map(|&x| x as f32).collect::<Vec<_>>(), signed);
                        *state = decode(&codes, &scales, signed).into_iter().map(f64::from).collect();
                    }
                }
            }
            last
        };
        let (exact, quantized) = (loss(false), loss(true));
        assert!((1.0..1.2).contains(&(quantized / exact)), "{exact} {quantized}");
    }

    /// Blocks do not see one another; the last is shorter; zeros, empty tensors, negative numbers without a sign.
    #[test]
    fn blocks() {
        let mut x: Vec<f32> = normal(1, 2, 600).iter().map(|&x| x as f32).collect();
        x[..256].iter_mut().for_each(|x| *x *= 1e6);
        x[256..512].fill(0.0);
        let (codes, scales) = encode(&x, true);
        let separate: Vec<_> = [0..256, 256..512, 512..600].map(|range| encode(&x[range], true)).into_iter().collect();
        assert_eq!(codes, separate.iter().flat_map(|(codes, _)| codes.clone()).collect::<Vec<_>>());
        assert_eq!(scales, separate.iter().flat_map(|(_, scales)| scales.clone()).collect::<Vec<_>>());
        assert!(decode(&codes, &scales, true)[256..512].iter().all(|&x| x == 0.0));
        assert_eq!(encode(&[], true), (vec![], vec![]));
        assert_eq!(encode(&[-3.0, 1.0], false), (vec![0, 127 + 33], vec![3.0])); // a third is in part 33 of 128 of the last decade
    }

    /// A block with a number that is not finite has nothing that is, and its neighbours are as they were.
    #[test]
    fn not_finite() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for signed in [true, false] {
                let mut x = vec![0.5; 512];
                x[3] = bad;
                let (codes, scales) = encode(&x, signed);
                let found = decode(&codes, &scales, signed);
                assert!(found[..256].iter().all(|x| !x.is_finite()), "{bad} {signed}");
                assert_eq!(found[256..], [0.5; 256]);
            }
        }
    }
}
