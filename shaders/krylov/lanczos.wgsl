// The scalars of a Lanczos step (Golub and Van Loan 2013, section 10.1), with the projections of two
// passes of full reorthogonalisation, c = Q w and then d = Q (w - Qᵀc), and ⟨w, w⟩ after both, w having been divided by
// `unit`, a power of two, so that squares neither overflow nor vanish:
//   alpha_j = c_j + d_j;  beta_j = unit ‖w‖;  q_{j+1} = w / ‖w‖
// A breakdown is beta_j <= 64 eps ‖A‖, where ‖A‖ is estimated by the largest absolute row sum of the
// tridiagonal matrix so far. One invocation.
//
// RESUME: before a vector is made orthogonal to the basis, to begin the first block or a further one after
// a breakdown; NORMALIZE: after it. STEP: the end of a step.

#import shared/finite
#import shared/lanczos_state

#permute STEP | RESUME | NORMALIZE

struct LanczosConstants {
    // the rows of the basis
    capacity: u32,
}

@group(0) @binding(0) var<uniform> constants: LanczosConstants;
@group(0) @binding(1) var<storage, read_write> state: LanczosState;
// alpha and beta of each step
#ifndef NORMALIZE
@group(0) @binding(2) var<storage, read_write> coefficients: array<vec2<f32>>;
#endif
#ifndef RESUME
@group(0) @binding(3) var<storage, read> square: array<f32>;
#endif
#ifdef STEP
@group(0) @binding(4) var<storage, read> first_pass: array<f32>;
@group(0) @binding(5) var<storage, read> second_pass: array<f32>;
@group(0) @binding(6) var<storage, read> unit: array<f32>;
#endif

@compute @workgroup_size(1)
fn main() {
#ifdef RESUME
    state.stop = 0u;
    state.active_rows = state.step;
    if state.step > 0u {
        coefficients[state.step - 1u].y = 0.0;
    }
    if state.step == constants.capacity {
        state.stop = 3u;
        state.active_rows = 0u;
    }
#endif
#ifdef NORMALIZE
    if state.stop != 0u {
        return;
    }
    if is_finite(square[0]) && square[0] > 0.0 {
        state.active_rows = state.step + 1u;
        state.scale = 1.0 / sqrt(square[0]);
    } else {
        state.stop = select(2u, 4u, is_finite(square[0]));
        state.active_rows = 0u;
    }
#endif
#ifdef STEP
    if state.stop != 0u {
        return;
    }
    let j = state.step;
    let alpha = first_pass[j] + second_pass[j];
    let rest = sqrt(square[0]);
    let beta = unit[0] * rest;
    var row_sum = abs(alpha) + beta;
    if j > 0u {
        row_sum += coefficients[j - 1u].y;
    }
    if !is_finite(row_sum) || !is_finite(square[0]) {
        state.stop = 2u;
        state.active_rows = 0u;
        return;
    }
    let norm = max(state.norm, row_sum);
    coefficients[j] = vec2(alpha, beta);
    state.norm = norm;
    state.step = j + 1u;
    if beta <= 7.62939453125e-6 * norm {
        state.stop = 1u;
        state.active_rows = 0u;
    } else if j + 1u == constants.capacity {
        state.stop = 3u;
        state.active_rows = 0u;
    } else {
        state.scale = 1.0 / rest;
        state.active_rows = j + 2u;
    }
#endif
}
