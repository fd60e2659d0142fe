// Where a solution stands before its first iteration, from ⟨r, r⟩, ⟨b, b⟩, ⟨b, x⟩ and ⟨x, A x⟩, all of them scaled:
//   threshold = max(relative_tolerance ‖b‖, absolute_tolerance 2^-e);  objective = ½⟨x, A x⟩ - ⟨b, x⟩;  rho = ⟨r, r⟩
// Iterations go on until ‖r‖ is `aim` times the threshold, for an r that is updated and b - A x differ by rounding, and to half of
// the threshold where they begin again because b - A x was not within it.
// It begins at x = 0 (`reset`) where ‖r‖ is more than 2^20 ‖b‖ or not finite, though b and x are: r would not know b to
// more than a few bits. One workgroup.

#import shared/cg_scale
#import shared/cg_state
#import shared/finite
#import shared/total

struct BeginConstants {
    partials: u32,
    relative_tolerance: f32,
    absolute_tolerance: f32,
    aim: f32,
}

@group(0) @binding(0) var<uniform> constants: BeginConstants;
@group(0) @binding(2) var<storage, read_write> state: CgState;
@group(0) @binding(3) var<storage, read> square: array<f32>;
@group(0) @binding(4) var<storage, read> linear: array<f32>;
@group(0) @binding(5) var<storage, read> quadratic: array<f32>;
// the largest |b_i| and |x_i|, as bits
@group(0) @binding(6) var<storage, read> largest_b: array<u32>;
@group(0) @binding(7) var<storage, read> largest_x: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    let c = constants;
    let rr = total_of_sums(lane, c.partials).x;
    if lane != 0u {
        return;
    }
    let finite = max(largest_b[0], largest_x[0]) < 0x7f800000u;
    var s = state;
    s.status = 0u;
    s.exponent = exponent_of_solution(largest_b[0]);
    s.threshold = max(c.relative_tolerance * sqrt(square[0]), scaled(c.absolute_tolerance, -s.exponent));
    s.target_residual = select(c.aim, 0.5, s.iteration > 0u) * s.threshold;
    s.rho = rr;
    s.objective = 0.5 * quadratic[0] - linear[0];
    // 2^40
    let far = !is_finite(rr) || rr > 1099511627776.0 * square[0];
    s.reset = select(0u, 1u, far && finite && largest_x[0] != 0u);
    if s.reset != 0u {
        s.rho = square[0];
        s.objective = 0.0;
    }
    s.residual = sqrt(s.rho);
    state = s;
}
