// The scalars of flexible conjugate gradients (Notay 2000). One workgroup.
//
// START: after krylov/cg_begin.wgsl. No direction is kept, which is what a curvature of 0 says.
// GAMMA: gamma_i = ⟨z, A d_i⟩ / ⟨d_i, A d_i⟩ for the next four directions; 0 for one that is not kept.
// NUMERATOR: rho = ⟨q, r⟩.
// STEP: after alpha = rho / ⟨q, A q⟩ and the step, objective -= ½ alpha rho, history_i = (‖r‖, objective), and
// whether to stop. A negative ⟨q, A q⟩ is the end. If there was no step for another reason, for ⟨q, A q⟩ or rho
// is 0 or something not finite, the direction is dropped and the next one is made of r; if it was, that is the end.
// REFRESH: after r = b - A x was computed anew. The solution has stagnated if what rounding has done to r is more
// than half of what the steps since the last time moved it, or than half of r, which has not halved since then. If
// there is a preconditioner, and none of these steps was made of r, the next one is.

#import shared/cg_judge
#import shared/total

#permute START | GAMMA | NUMERATOR | STEP | REFRESH

struct FcgConstants {
    partials: u32,
    max_iterations: u32,
    // how many are kept, and which of them is the oldest and will be the newest
    directions: u32,
    oldest: u32,
    // of the four, counted from the oldest on
    first: u32,
    // 1 if z is not r
    preconditioned: u32,
}

@group(0) @binding(0) var<uniform> constants: FcgConstants;
@group(0) @binding(2) var<storage, read_write> state: CgState;
#ifdef GAMMA
@group(0) @binding(3) var<storage, read> curvatures: array<f32>;
#endif
#ifdef START
@group(0) @binding(3) var<storage, read_write> curvatures: array<f32>;
@group(0) @binding(4) var<storage, read_write> history: array<vec2<f32>>;
#endif
#ifdef STEP
@group(0) @binding(3) var<storage, read_write> curvatures: array<f32>;
@group(0) @binding(4) var<storage, read_write> history: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read> curvature: array<f32>;
#endif
#ifdef REFRESH
@group(0) @binding(4) var<storage, read_write> history: array<vec2<f32>>;
#endif

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    let c = constants;
    let sums = total_of_sums(lane, c.partials);
    if lane != 0u {
        return;
    }
    var s = state;
#ifdef START
    for (var i = 0u; i < c.directions; i++) {
        curvatures[i] = 0.0;
    }
    s.plain = 0u;
    s.tried = 0u;
    s.moved = 0.0;
    s.refreshed = s.residual;
    s = judge(s, s.rho, c.max_iterations);
    history[s.iteration] = vec2(s.residual, s.objective);
#endif
#ifdef GAMMA
    for (var i = 0u; i < 4u; i++) {
        var gamma = 0.0;
        if c.first + i < c.directions {
            let curvature = curvatures[(c.oldest + c.first + i) % c.directions];
            if curvature > 0.0 {
                gamma = sums[i] / curvature;
            }
        }
        s.gamma[i] = gamma;
    }
#endif
#ifdef NUMERATOR
    s.rho = sums.x;
#endif
#ifdef STEP
    if s.status == 0u {
        let alpha = s.rho / curvature[0];
        let finite = is_finite(curvature[0]);
        // the same test as in cg_update.wgsl; there a step of 0 is one
        if finite && curvature[0] > 0.0 && is_finite(alpha) && alpha != 0.0 {
            s.iteration += 1u;
            s.objective -= 0.5 * alpha * s.rho;
            s.moved += abs(alpha) * sqrt(sums.y);
            s.tried |= s.plain;
            s.plain = 0u;
            if c.directions > 0u {
                curvatures[c.oldest] = curvature[0];
            }
            s = judge(s, sums.x, c.max_iterations);
        } else if finite && (curvature[0] < 0.0 || (curvature[0] == 0.0 && s.plain != 0u)) {
            s.status = 4u;
        } else if s.plain != 0u {
            s.status = 6u;
        } else {
            s.iteration += 1u;
            if c.directions > 0u {
                curvatures[c.oldest] = 0.0;
            }
            s.plain = 1u;
            s.lost += 1u;
            s.status = select(0u, 2u, s.iteration >= c.max_iterations);
        }
        history[s.iteration] = vec2(s.residual, s.objective);
    }
#endif
#ifdef REFRESH
    if s.status <= 1u {
        s.status = 0u;
        s = judge(s, sums.x, c.max_iterations);
        let gap = sqrt(sums.y);
        let no_effect = gap > 0.5 * s.moved;
        let no_progress = gap > 0.5 * s.residual && s.residual > 0.5 * s.refreshed;
        if s.status == 0u && s.moved > 0.0 && (no_effect || no_progress) {
            if c.preconditioned != 0u && s.tried == 0u {
                s.lost += 1u - s.plain;
                s.plain = 1u;
            } else {
                s.status = 7u;
            }
        }
        s.tried = 0u;
        s.moved = 0.0;
        s.refreshed = s.residual;
        history[s.iteration] = vec2(s.residual, s.objective);
    }
#endif
    state = s;
}
