// ‖b - A x‖ and 2^-24 ‖A w‖, w = ±x, for a report, of which nothing else of the state takes notice. One workgroup.

#import shared/cg_state
#import shared/total

struct CheckConstants {
    partials: u32,
}

@group(0) @binding(0) var<uniform> constants: CheckConstants;
@group(0) @binding(2) var<storage, read_write> state: CgState;
// ⟨A w, A w⟩
@group(0) @binding(3) var<storage, read> signed: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    let rr = total_of_sums(lane, constants.partials).x;
    if lane == 0u {
        state.true_residual = sqrt(rr);
        state.rounding = 5.9604644775390625e-8 * sqrt(signed[0]);
    }
}
