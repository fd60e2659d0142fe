//! Learning-rate schedules, as functions of the step.
//!
//! Each gives the factor of the greatest learning rate, from 0 to 1, in which `step` is the number of steps taken before, from
//! 0, of `steps` in all. What they return goes to [`Optimizer::set_lr`](super::Optimizer::set_lr) before the step is encoded.
//!
//! | schedule | shape |
//! |---|---|
//! | [`linear`] | straight down: the best for the worst case |
//! | [`cosine`] | half a period of the cosine |
//! | [`one_cycle`] | up and down along cosines |
//! | [`warmup_stable_decay`] | straight up, level, straight down |
//! | [`refined`] | what the gradient norms of an earlier run make best |
//!
//! Any of them warms up over `k` steps by the factor `((step + 1) as f64 / k as f64).min(1.0)`.
//!
//! ```
//! use gradus::optim::schedule;
//!
//! let rates: Vec<f64> = (0..4).map(|step| 0.1 * schedule::linear(step, 4)).collect();
//! assert_eq!(rates, [0.1, 0.1 * 0.75, 0.1 * 0.5, 0.1 * 0.25]);
//! ```

use crate::{Error, Result};

/// Straight down: `1 - step/steps`, from 1 in the first step to `1/steps` in the last, and 0 after it.
///
/// Of all schedules it has the best bound for the last iterate of gradient descent in the worst case.
///
/// Source: Defazio et al., 2023, arXiv:2310.07831, section 2; `torch.optim.lr_scheduler.LinearLR` with factors 1 and 0.
///
/// ```
/// use gradus::optim::schedule::linear;
///
/// assert_eq!([linear(0, 10), linear(9, 10), linear(10, 10), linear(11, 10)], [1.0, 1.0 - 0.9, 0.0, 0.0]);
/// ```
#[must_use]
pub fn linear(step: u64, steps: u64) -> f64 {
    1.0 - progress(step, steps)
}

/// Half a period of the cosine: `least + (1 - least)·(1 + cos(π·step/steps))/2`, and `least` after it.
///
/// `least` is the share of the learning rate that is left at the end, usually 0.
///
/// Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, equation 5, one period;
/// `torch.optim.lr_scheduler.CosineAnnealingLR`, which turns around after `T_max` steps.
///
/// ```
/// use gradus::optim::schedule::cosine;
///
/// assert_eq!(cosine(0, 100, 0.1), 1.0);
/// assert!((cosine(50, 100, 0.1) - 0.55).abs() < 1e-15);
/// assert_eq!(cosine(100, 100, 0.1), 0.1);
/// ```
#[must_use]
pub fn cosine(step: u64, steps: u64, least: f64) -> f64 {
    anneal(1.0, least, progress(step, steps))
}

/// Up from `1/div_factor` to 1 in the first `pct_start` of the steps, then down to `1/(div_factor·final_div_factor)` in the last,
/// both along halves of a cosine; the last value after it.
///
/// PyTorch's defaults for `pct_start`, `div_factor` and `final_div_factor` are 0.3, 25 and 1e4. `pct_start` is from 0, which is
/// no way up, to 1, which is no way down. The peak is at step `pct_start·steps - 1`, which need not be whole.
///
/// Source: `torch.optim.lr_scheduler.OneCycleLR`, in two phases with cosines; Smith and Topin, 2018, arXiv:1708.07120.
///
/// ```
/// use gradus::optim::schedule::one_cycle;
///
/// let of = |step| one_cycle(step, 10, 0.3, 25.0, 1e4);
/// assert!((of(0) - 0.04).abs() < 1e-15 && of(2) == 1.0 && (of(9) - 4e-6).abs() < 1e-15);
/// ```
#[must_use]
pub fn one_cycle(step: u64, steps: u64, pct_start: f64, div_factor: f64, final_div_factor: f64) -> f64 {
    let first = 1.0 / div_factor;
    let last = first / final_div_factor;
    let end = steps.saturating_sub(1);
    let step = step.min(end) as f64;
    let peak = pct_start * steps as f64 - 1.0;
    if step < peak {
        anneal(first, 1.0, step / peak)
    } else if step == peak {
        1.0
    } else {
        anneal(1.0, last, (step - peak) / (end as f64 - peak))
    }
}

/// Straight up over `warmup` steps, level over `stable` steps, straight down over `decay` steps, and 0 after them.
///
/// `(step + 1)/warmup` on the way up, and `1 - k/decay` in step `k` of the way down, from 0. Any of the three may be 0. A run
/// goes on from a point of the level part, whose length need not be known before.
///
/// Source: Hu et al., "MiniCPM", 2024, arXiv:2404.06395, section 4, with linear decay; Hägele et al., NeurIPS 2024,
/// arXiv:2405.18392.
///
/// ```
/// use gradus::optim::schedule::warmup_stable_decay;
///
/// let factors: Vec<f64> = (0..9).map(|step| warmup_stable_decay(step, 2, 3, 4)).collect();
/// assert_eq!(factors, [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]);
/// ```
#[must_use]
pub fn warmup_stable_decay(step: u64, warmup: u64, stable: u64, decay: u64) -> f64 {
    if step < warmup {
        return (step + 1) as f64 / warmup as f64;
    }
    match (step - warmup).checked_sub(stable) {
        Some(step) => linear(step, decay),
        None => 1.0,
    }
}

/// The schedule that would have been best for a run with these norms of gradients, one for each step of the next run.
///
/// With `G_t` the `norms` after a running median over `2·⌊smoothing·T/2⌋ + 1` of them, `T` in all, and weights
/// `w_t = G_t^-power`, step `t` has `w_t·(w_(t+1) + … + w_T)`, divided by the greatest of all. The last is 0. Equal norms give the
/// straight line from 1 to 0. At the start of the run the median repeats the first norm, and at the end it reflects the last ones.
///
/// - For gradient descent `norms` are Euclidean, `power` is 2.
/// - For Adam and its kin `norms` are sums of magnitudes, `power` is 1.
/// - `smoothing` is the share of the run over which the median goes, from 0, which is none, to 1; 0.1 in the paper.
///
/// Source: Defazio et al., "When, why and how much? Adaptive learning rate scheduling by refinement", 2023, arXiv:2310.07831,
/// algorithm 1 and equation 5.
///
/// # Errors
///
/// [`Error::Option`] for fewer than two norms; for a norm that is not a positive number; for norms so far apart that no weight
/// but one is left; for a power that is not finite, and a `smoothing` that is not from 0 to 1.
///
/// ```
/// use gradus::optim::schedule::refined;
///
/// // Norms that fall by half: the learning rate warms up before it decays.
/// let factors = refined(&[2.0, 2.0, 1.0, 1.0, 1.0], 2.0, 0.0)?;
/// assert_eq!(factors, [3.25 / 8.0, 3.0 / 8.0, 1.0, 0.5, 0.0]);
/// # Ok::<(), gradus::Error>(())
/// ```
pub fn refined(norms: &[f64], power: f64, smoothing: f64) -> Result<Vec<f64>> {
    let invalid = |option: &str, found: String, expected: &str| {
        Err(Error::Option { option: option.to_owned(), found, expected: expected.to_owned() })
    };
    if norms.len() < 2 {
        return invalid("norms", format!("{} of them", norms.len()), "two or more");
    }
    if let Some((i, norm)) = norms.iter().enumerate().find(|(_, norm)| !(norm.is_finite() && **norm > 0.0)) {
        return invalid(&format!("norms[{i}]"), norm.to_string(), "a finite number above zero");
    }
    if !power.is_finite() {
        return invalid("power", power.to_string(), "a finite number");
    }
    if !(0.0..=1.0).contains(&smoothing) {
        return invalid("smoothing", smoothing.to_string(), "from 0 to 1");
    }
    let norms = median(norms, (smoothing * norms.len() as f64 / 2.0) as usize);
    // The scale cancels in the end, so the greatest weight may be 1: none overflows.
    let greatest = norms.iter().map(|norm| -power * norm.ln()).fold(f64::NEG_INFINITY, f64::max);
    let mut factors: Vec<f64> = norms.iter().map(|norm| (-power * norm.ln() - greatest).exp()).collect();
    let mut after = 0.0;
    for factor in factors.iter_mut().rev() {
        let weight = *factor;
        *factor *= after;
        after += weight;
    }
    let peak = factors.iter().copied().fold(0.0, f64::max);
    if peak == 0.0 {
        return invalid("norms", "one that outweighs all others".to_owned(), "norms closer to one another");
    }
    factors.iter_mut().for_each(|factor| *factor /= peak);
    Ok(factors)
}

/// Of each number the median of those up to `reach` away, `reach` being less than the length: the first is repeated before the
/// start, and the last ones are reflected past the end.
fn median(numbers: &[f64], reach: usize) -> Vec<f64> {
    let last = numbers.len() - 1;
    // number `i - reach` of the padded sequence
    let at = |i: usize| {
        let i = i.saturating_sub(reach);
        numbers[if i > last { 2 * last - i } else { i }]
    };
    let place = |window: &[f64], x: f64| window.partition_point(|y| *y < x);
    let mut window: Vec<f64> = (0..2 * reach).map(at).collect();
    window.sort_by(f64::total_cmp);
    (0..numbers.len())
        .map(|i| {
            let new = at(i + 2 * reach);
            window.insert(place(&window, new), new);
            let middle = window[reach];
            window.remove(place(&window, at(i)));
            middle
        })
        .collect()
}

/// From 0 to 1, and 1 after the last step.
fn progress(step: u64, steps: u64) -> f64 {
    if step < steps { step as f64 / steps as f64 } else { 1.0 }
}

/// From `start` to `end` along half a period of the cosine, as `progress` goes from 0 to 1.
fn anneal(start: f64, end: f64, progress: f64) -> f64 {
    if progress >= 1.0 {
        return end;
    }
    end + (start - end) / 2.0 * (1.0 + (std::f64::consts::PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: impl IntoIterator<Item = f64>, expected: &[f64]) {
        let found: Vec<f64> = found.into_iter().collect();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 2e-15 * expected.abs().max(0.1), "{found} {expected}");
        }
    }

    /// PyTorch's closed form with `base_lr` 1, at angles whose cosines are known: 0, 60, 90, 120 and 180 degrees.
    #[test]
    fn cosine_annealing() {
        let least = 0.2;
        close([0, 4, 6, 8, 12, 13].map(|step| cosine(step, 12, least)), &[1.0, 0.8, 0.6, 0.4, 0.2, 0.2]);
        assert_eq!((cosine(0, 0, 0.5), linear(0, 0)), (0.5, 0.0));
        assert_eq!(linear(u64::MAX, u64::MAX), 0.0);
    }

    /// PyTorch's recurrence for the same schedule: it must give the closed form.
    #[test]
    fn cosine_by_recurrence() {
        let (steps, least) = (50, 0.05);
        let mut rate = 1.0;
        for step in 1..=steps {
            let angle = |step: u64| std::f64::consts::PI * step as f64 / steps as f64;
            rate = (1.0 + angle(step).cos()) / (1.0 + angle(step - 1).cos()) * (rate - least) + least;
            assert!((cosine(step, steps, least) - rate).abs() < 1e-12, "{step}");
        }
    }

    /// By hand from PyTorch's phases: 20 steps with a start of 0.35 rise over steps 0 to 6 and fall over 6 to 19, the first at
    /// angles of 0, 60, 90, 120 and 180 degrees.
    #[test]
    fn one_cycle_phases() {
        let of = |step| one_cycle(step, 20, 0.35, 4.0, 25.0);
        let (first, last) = (0.25, 0.01);
        close([0, 2, 3, 4, 6].map(of), &[first, 0.25 + 0.75 / 4.0, 0.625, 0.25 + 0.75 * 0.75, 1.0]);
        close([19, 20, u64::MAX].map(of), &[last; 3]);
        for step in 6..=19 {
            let angle = std::f64::consts::PI * (step - 6) as f64 / 13.0;
            close([of(step)], &[last + 0.99 * (1.0 + angle.cos()) / 2.0]);
        }
        // a peak between steps: at 2.5 - 1 of 5
        let of = |step| one_cycle(step, 5, 0.5, 4.0, 25.0);
        let third = 0.5 * (std::f64::consts::PI / 1.5).cos() + 0.5; // 60 of 90 degrees up
        let fall = |x: f64| last + 0.99 * (1.0 + (std::f64::consts::PI * x / 2.5).cos()) / 2.0;
        close((0..5).map(of), &[first, 1.0 - 0.75 * third, fall(0.5), fall(1.5), last]);
        // no way up: PyTorch begins one step into the way down; no way down; one step, none
        close([one_cycle(0, 4, 0.0, 4.0, 25.0)], &[last + 0.99 * (1.0 + (std::f64::consts::PI / 4.0).cos()) / 2.0]);
        close([0, 3].map(|step| one_cycle(step, 4, 1.0, 4.0, 25.0)), &[first, 1.0]);
        close([one_cycle(0, 10, 0.1, 4.0, 25.0), one_cycle(0, 1, 1.0, 4.0, 25.0)], &[1.0, 1.0]);
        close([one_cycle(0, 1, 0.3, 4.0, 25.0), one_cycle(0, 0, 0.3, 4.0, 25.0)], &[last; 2]);
    }

    #[test]
    fn warmup_stable_decay_parts() {
        close((0..3).map(|step| warmup_stable_decay(step, 0, 0, 2)), &[1.0, 0.5, 0.0]);
        close((0..3).map(|step| warmup_stable_decay(step, 2, 0, 0)), &[0.5, 1.0, 0.0]);
        close([warmup_stable_decay(u64::MAX, 1, u64::MAX, 1)], &[1.0]);
    }

    /// Against the definition, with its sums written out; equal norms give linear decay; scales and powers beyond f64's range.
    #[test]
    fn refinement() {
        let norms: [f64; 6] = [5.0, 3.0, 8.0, 1.0, 2.0, 4.0];
        for power in [1.0, 2.0] {
            let weight = |t: usize| norms[t].powf(-power);
            let raw: Vec<f64> = (0..6).map(|t| weight(t) * (t + 1..6).map(weight).sum::<f64>()).collect();
            let peak = raw.iter().copied().fold(0.0, f64::max);
            let expected: Vec<f64> = raw.iter().map(|x| x / peak).collect();
            for scale in [1.0, 1e-300, 1e300] {
                for (found, expected) in refined(&norms.map(|norm| norm * scale), power, 0.0).unwrap().iter().zip(&expected) {
                    assert!((found - expected).abs() < 1e-12);
                }
            }
        }
        for smoothing in [0.0, 0.5, 1.0] {
            close(refined(&[0.3; 5], 2.0, smoothing).unwrap(), &[1.0, 0.75, 0.5, 0.25, 0.0]);
        }
    }

    /// `scipy.ndimage.median_filter` after numpy's reflecting pad, by hand: (1 1 5), (1 5 2), … and (7 3 7) at the end.
    #[test]
    fn running_median() {
        let numbers = [1.0, 5.0, 2.0, 2.0, 9.0, 3.0, 7.0];
        assert_eq!(median(&numbers, 0), numbers);
        assert_eq!(median(&numbers, 1), [1.0, 2.0, 2.0, 2.0, 3.0, 7.0, 3.0]);
        // (1 1 1 5 2), (1 1 5 2 2), (1 5 2 2 9), (5 2 2 9 3), (2 2 9 3 7), (2 9 3 7 3), (9 3 7 3 9)
        assert_eq!(median(&numbers, 2), [1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 7.0]);
        // a spike of one step leaves no trace
        let mut norms = [2.0; 10];
        norms[4] = 1e6;
        assert_eq!(refined(&norms, 2.0, 0.3).unwrap(), refined(&[2.0; 10], 2.0, 0.3).unwrap());
    }

    #[test]
    fn bad_input() {
        let error = |norms: &[f64], power, smoothing| match refined(norms, power, smoothing) {
            Err(Error::Option { option, .. }) => option,
            other => panic!("{other:?}"),
        };
        assert_eq!(error(&[], 2.0, 0.1), "norms");
        assert_eq!(error(&[1.0], 2.0, 0.1), "norms");
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(error(&[1.0, bad, 1.0], 2.0, 0.1), "norms[1]");
        }
        assert_eq!(error(&[1.0; 2], f64::NAN, 0.1), "power");
        for bad in [-0.1, 1.5, f64::NAN] {
            assert_eq!(error(&[1.0; 2], 2.0, bad), "smoothing");
        }
        assert_eq!(error(&[1e300, 1e300, 1e-300], 2.0, 0.0), "norms");
    }
}
