// Whether a stationary iteration goes on, from ‖b - A x‖ and ⟨x, b + r⟩ = -2 φ(x). It has stagnated when as many
// iterations as `patience` have not led to a smaller residual. START: after krylov/cg_begin.wgsl. One workgroup.

#import shared/cg_judge
#import shared/total

#permute - | START

struct RichardsonConstants {
    partials: u32,
    max_iterations: u32,
    patience: u32,
}

@group(0) @binding(0) var<uniform> constants: RichardsonConstants;
@group(0) @binding(2) var<storage, read_write> state: CgState;
@group(0) @binding(3) var<storage, read_write> history: array<vec2<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    let c = constants;
    let sums = total_of_sums(lane, c.partials);
    if lane != 0u {
        return;
    }
    var s = state;
#ifdef START
    let rr = s.rho;
    s.best = s.residual;
    s.since = 0u;
#else
    let rr = sums.x;
    if s.status != 0u {
        return;
    }
    s.iteration += 1u;
    if is_finite(rr) && sqrt(rr) < s.best {
        s.best = sqrt(rr);
        s.since = 0u;
    } else {
        s.since += 1u;
    }
    s.objective = -0.5 * sums.y;
#endif
    s = judge(s, rr, c.max_iterations);
    if s.status == 0u && s.since >= c.patience {
        s.status = 7u;
    }
    history[s.iteration] = vec2(s.residual, s.objective);
    state = s;
}
