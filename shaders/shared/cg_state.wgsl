// Where a solution stands, by conjugate gradients, plain or flexible, or by a stationary iteration. Its first word is the
// gate of the iterations (shared/gate.wgsl). Vectors and norms are scaled by 2^-exponent (shared/cg_scale.wgsl),
// the objective by its square.
struct CgState {
    // 0: running; 1: ‖r‖ is small enough; 2: iteration limit; 3: truncated; 4: negative curvature; 6: something is not
    // finite; 7: stagnated
    status: u32,
    iteration: u32,
    // ‖r‖, and the norm of b - A x that is asked for
    residual: f32,
    threshold: f32,
    // of flexible ones: what the next four directions are multiplied by
    gamma: vec4<f32>,
    // ‖b - A x‖ as computed anew for a report, with what rounding x does to it
    true_residual: f32,
    rounding: f32,
    // ½⟨x, A x⟩ - ⟨b, x⟩
    objective: f32,
    // ⟨r, z⟩, and what the last direction is multiplied by in the next one; of flexible ones ⟨r, q⟩
    rho: f32,
    beta: f32,
    // the snapshots taken, and the row to which x is to be copied now, or 0xffffffff
    snapshots: u32,
    row: u32,
    // 1 if the next direction is to be made of r and not of M r, and the iterations in which M r was of no use
    plain: u32,
    lost: u32,
    // of flexible ones: the norm of r when it was last computed from x, how far it has moved since, and 1 if a
    // direction made of r has moved it
    refreshed: f32,
    moved: f32,
    tried: u32,
    // of stationary iterations: the smallest ‖r‖ so far, and how many iterations ago it was
    best: f32,
    since: u32,
    // e of the scaling by 2^-e, and 1 if the solution begins at 0 and not at the caller's x
    exponent: i32,
    reset: u32,
    // the ‖r‖ at which iterations end
    target_residual: f32,
}
