// Whether a solution goes on, by its residual.

#import shared/cg_state
#import shared/finite

// The state with r new, of which the square of the norm is `rr`.
fn judge(before: CgState, rr: f32, max_iterations: u32) -> CgState {
    var s = before;
    s.residual = sqrt(rr);
    if !is_finite(rr) || !is_finite(s.objective) {
        s.status = 6u;
    } else if s.residual <= s.target_residual {
        s.status = 1u;
    } else if s.iteration >= max_iterations {
        s.status = 2u;
    }
    return s;
}
