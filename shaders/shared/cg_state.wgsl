// Where a solution by conjugate gradients stands.
struct CgState {
    // 0: running; 1: converged; 2: iteration limit; 3: truncated; 4: negative curvature; 5: the
    // preconditioner is indefinite; 6: something is not finite
    status: u32,
    iteration: u32,
    // ⟨r, z⟩, and what the last direction is multiplied by in the next one
    rho: f32,
    beta: f32,
    // ‖r‖, and where it is small enough
    residual: f32,
    threshold: f32,
    // ½⟨x, A x⟩ - ⟨b, x⟩
    objective: f32,
    // the snapshots taken, and the row to which x is to be copied now, or 0xffffffff
    snapshots: u32,
    row: u32,
}
