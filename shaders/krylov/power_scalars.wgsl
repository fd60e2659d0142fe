// The scalars of a power iteration: the Rayleigh quotient `value` = ⟨v, A v⟩ of v, whose norm is one, and the
// residual ‖A v - value v‖, which the sums have in units of `unit`; the iteration ends when it is at most tolerance
// |value|. START: only the norm of the start. One workgroup.

#import shared/finite
#import shared/power_state
#import shared/total

#permute - | START

struct PowerConstants {
    partials: u32,
    tolerance: f32,
}

@group(0) @binding(0) var<uniform> constants: PowerConstants;
@group(0) @binding(2) var<storage, read> value: array<f32>;
@group(0) @binding(3) var<storage, read_write> state: PowerState;
#ifndef START
@group(0) @binding(4) var<storage, read> unit: array<f32>;
#endif

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    let sums = total_of_sums(lane, constants.partials);
    if lane != 0u || state.stop != 0u {
        return;
    }
    let scale = 1.0 / sqrt(sums.x);
#ifdef START
    if is_finite(sums.x) && sums.x > 0.0 {
        state.scale = scale;
    } else {
        state.stop = 2u;
    }
#else
    state.iteration += 1u;
    state.value = value[0];
    state.residual = unit[0] * sqrt(sums.y);
    if !is_finite(value[0]) || !is_finite(sums.x) || !is_finite(sums.y) {
        state.stop = 2u;
    } else if sqrt(sums.y) <= constants.tolerance * abs(value[0] / unit[0]) {
        state.stop = 1u;
    } else {
        state.scale = scale;
    }
#endif
}
