// The scalars of an iteration of conjugate gradients, and whether to stop. With rho = ⟨r, z⟩, z = M r
// (PRECONDITIONED) or r:
//   beta = rho_new / rho;  objective -= ½ alpha rho;  history_i = (‖r‖, objective)
// Truncation (Martens 2010, section 4.4): with k = max(10, i/10), stop at iteration i > k if
//   objective_i < 0 and (objective_i - objective_{i-k}) / objective_i < k truncation
// PRECONDITIONED: where rho is not a positive number, or there is no step along a direction that M has a part in, M is not asked
// again (`plain`), and the iterations begin again with z = r. START: after krylov/cg_begin.wgsl. One workgroup.

#import shared/cg_judge
#import shared/total

#permute - | START
#permute - | PRECONDITIONED

struct CgConstants {
    partials: u32,
    max_iterations: u32,
    // 0: none
    truncation: f32,
}

@group(0) @binding(0) var<uniform> constants: CgConstants;
@group(0) @binding(2) var<storage, read_write> state: CgState;
@group(0) @binding(3) var<storage, read_write> history: array<vec2<f32>>;
#ifdef PRECONDITIONED
@group(0) @binding(4) var<storage, read> preconditioned: array<f32>;
#endif
#ifndef START
@group(0) @binding(5) var<storage, read> curvature: array<f32>;
// the iterations after which snapshots are taken, ascending; the last is 0xffffffff
@group(0) @binding(6) var<storage, read> schedule: array<u32>;
#endif

// The state with rho = ⟨r, z⟩, and z = r where the preconditioner is of no use.
fn with_rho(before: CgState, rr: f32) -> CgState {
    var s = before;
    var rho = rr;
#ifdef PRECONDITIONED
    let found = preconditioned[0];
    if s.plain == 0u && is_finite(rr) {
        if is_finite(found) && found > 0.0 {
            rho = found;
        } else if rr > 0.0 {
            s.plain = 1u;
            s.lost += 1u;
            s.rho = 0.0;
        }
    }
#endif
    // a direction made of another z begins anew
    s.beta = select(0.0, rho / s.rho, s.rho > 0.0);
    s.rho = rho;
    return s;
}

// The state after an iteration, of which r and rho are new.
fn judge_all(c: CgConstants, before: CgState, rr: f32) -> CgState {
    var s = judge(before, rr, c.max_iterations);
    if s.status == 0u {
        let k = max(10u, (s.iteration + 9u) / 10u);
        if c.truncation > 0.0 && s.iteration > k && s.objective < 0.0 {
            let progress = (s.objective - history[s.iteration - k].y) / s.objective;
            if progress < f32(k) * c.truncation {
                s.status = 3u;
            }
        }
    }
    history[s.iteration] = vec2(s.residual, s.objective);
    return s;
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    let c = constants;
    let rr = total_of_sums(lane, c.partials).x;
    if lane != 0u {
        return;
    }
    var s = state;
    s.row = 0xffffffffu;
#ifdef START
    let start = s.rho;
    s.rho = 0.0;
    s.plain = 0u;
    s = judge_all(c, with_rho(s, start), start);
#else
    if s.status == 0u {
        let alpha = s.rho / curvature[0];
#ifdef PRECONDITIONED
        let step = is_finite(curvature[0]) && curvature[0] > 0.0 && is_finite(alpha);
        let again = !step && s.plain == 0u;
#else
        let again = false;
#endif
        if again {
            // there was no step, so that r is what it was
            s.plain = 1u;
            s.lost += 1u;
            s.beta = 0.0;
            s.rho = s.residual * s.residual;
        } else if !is_finite(curvature[0]) {
            s.status = 6u;
        } else if curvature[0] <= 0.0 {
            s.status = 4u;
        } else if !is_finite(alpha) {
            s.status = 6u;
        } else {
            s.iteration += 1u;
            s.objective -= 0.5 * alpha * s.rho;
            s = judge_all(c, with_rho(s, rr), rr);
            if s.iteration == schedule[s.snapshots] {
                s.row = s.snapshots;
                s.snapshots += 1u;
            }
        }
    }
#endif
    state = s;
}
