//! Steps of the second-order optimizers, over closures.

use super::krylov::{CgEnd, cg};

/// The product of a matrix at some parameters, which come first, with a vector.
pub type Product<'a> = &'a dyn Fn(&[f64], &[f64]) -> Vec<f64>;

/// A loss, its gradient, and products of a curvature matrix: of parameters, and of parameters and a vector.
pub struct Problem<'a> {
    /// The loss.
    pub loss: &'a dyn Fn(&[f64]) -> f64,
    /// Its gradient.
    pub gradient: &'a dyn Fn(&[f64]) -> Vec<f64>,
    /// The curvature.
    pub product: Product<'a>,
}

/// How much the loss fell: where the difference is less than 1e-5 of the larger, `½⟨g + g', x - x'⟩`; minus infinity if it is
/// not finite.
fn reduction(problem: &Problem, p: &[f64], trial: &[f64]) -> f64 {
    let (before, after) = ((problem.loss)(p), (problem.loss)(trial));
    let difference = before - after;
    if !after.is_finite() {
        f64::NEG_INFINITY
    } else if difference.abs() > 1e-5 * before.abs().max(after.abs()) {
        difference
    } else {
        let moved = moved(p, -1.0, trial);
        0.5 * (dot(&(problem.gradient)(p), &moved) + dot(&(problem.gradient)(trial), &moved))
    }
}

/// The state of [`hessian_free`]: the damping λ, and the solution of the last step.
#[derive(Clone, Debug)]
pub struct HessianFree {
    /// λ.
    pub lambda: f64,
    /// The last solution, zeros at first.
    pub solution: Vec<f64>,
}

/// A step of Hessian-free optimization without preconditioner (Martens 2010; Martens and Sutskever 2012), with decay 0.95
/// and truncation 5e-4. It returns the loss after it.
pub fn hessian_free(problem: &Problem, p: &mut Vec<f64>, state: &mut HessianFree, iterations: usize) -> f64 {
    let (before, gradient) = ((problem.loss)(p), (problem.gradient)(p));
    let b: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let start: Vec<f64> = state.solution.iter().map(|x| 0.95 * x).collect();
    let lambda = state.lambda;
    let solve = |count: usize| {
        let damped = |v: &[f64]| (problem.product)(p, v).iter().zip(v).map(|(y, v)| y + lambda * v).collect();
        cg(damped, <[f64]>::to_vec, &b, &start, 1e-5 * dot(&b, &b).sqrt(), 5e-4, count)
    };
    let last = solve(iterations);
    let taken = last.history.len() - 1;
    // the iterates are computed again rather than kept
    let mut kept: Vec<usize> = (0..).map(|j| 1.3f64.powi(j).ceil() as usize).take_while(|&i| i < taken).collect();
    kept.dedup();
    let mut candidates: Vec<Vec<f64>> = kept.into_iter().map(|i| solve(i).x).collect();
    candidates.push(last.x.clone());
    let mut best: Option<(Vec<f64>, f64)> = None;
    for candidate in candidates.into_iter().rev() {
        let fall = reduction(problem, p, &moved(p, 1.0, &candidate));
        if best.as_ref().is_some_and(|(_, most)| fall <= *most) {
            break;
        }
        best = Some((candidate, fall));
    }
    let Some((direction, mut fall)) = best else { return before };
    let slope = dot(&gradient, &direction);
    let model = slope + 0.5 * dot(&direction, &(problem.product)(p, &direction));
    let ratio = -fall / model;
    let mut step_size = 1.0;
    for _ in 0..60 {
        if slope < 0.0 && fall > 0.0 && fall >= -1e-2 * step_size * slope {
            state.solution = last.x;
            state.lambda *= if ratio > 0.75 {
                2.0 / 3.0
            } else if ratio < 0.25 {
                1.5
            } else {
                1.0
            };
            *p = moved(p, step_size, &direction);
            return (problem.loss)(p);
        }
        step_size *= 0.8;
        fall = reduction(problem, p, &moved(p, step_size, &direction));
    }
    state.solution.fill(0.0);
    state.lambda *= 1.5;
    before
}

/// A step of Newton's method with `λ = ‖g‖/γ`: accepted, with γ doubled, if the loss falls by `‖g'‖²/(8λ)`; else γ
/// becomes half. Conjugate gradients go to `tolerance ‖g‖`, or to negative curvature. It returns the loss after it.
pub fn gradient_normalized_newton(problem: &Problem, p: &mut Vec<f64>, gamma: &mut f64, tolerance: f64, iterations: usize) -> f64 {
    let (before, gradient) = ((problem.loss)(p), (problem.gradient)(p));
    let norm = dot(&gradient, &gradient).sqrt();
    if norm == 0.0 {
        return before;
    }
    let lambda = norm / *gamma;
    let b: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let damped = |v: &[f64]| (problem.product)(p, v).iter().zip(v).map(|(y, v)| y + lambda * v).collect();
    let solution = cg(damped, <[f64]>::to_vec, &b, &vec![0.0; p.len()], tolerance * norm, 0.0, iterations);
    let nothing = solution.history.len() == 1 && matches!(solution.end, CgEnd::NegativeCurvature);
    let direction = if nothing { b.iter().map(|b| b / lambda).collect() } else { solution.x };
    let trial = moved(p, 1.0, &direction);
    let (after, slope) = ((problem.loss)(&trial), (problem.gradient)(&trial));
    let fall = reduction(problem, p, &trial);
    if fall > 0.0 && fall >= dot(&slope, &slope) / (8.0 * lambda) {
        *p = trial;
        *gamma *= 2.0;
        return after;
    }
    *gamma *= 0.5;
    before
}

fn moved(p: &[f64], step_size: f64, direction: &[f64]) -> Vec<f64> {
    p.iter().zip(direction).map(|(p, d)| p + step_size * d).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
