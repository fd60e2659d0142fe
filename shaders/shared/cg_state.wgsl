// Where a solution stands, by conjugate gradients, plain or flexible, or by a stationary iteration. Its first word is the
// gate of the iterations (shared/gate.wgsl).
struct CgState {
    // 0: running; 1: converged; 2: iteration limit; 3: truncated; 4: negative curvature; 5: the
    // preconditioner is indefinite; 6: something is not finite; 7: stagnated
    status: u32,
    iteration: u32,
    // ‖r‖, and where it is small enough
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
    // of flexible ones: 1 if the next direction is to be made of r, the iterations lost to directions of no
    // use, the norm of r when it was last computed from x, how far it has moved since, and 1 if a direction
    // made of r has moved it
    plain: u32,
    lost: u32,
    refreshed: f32,
    moved: f32,
    tried: u32,
    // of stationary iterations: the smallest ‖r‖ so far, and how many iterations ago it was
    best: f32,
    since: u32,
}
