// What one tensor's elements need of this step, written by optim/prepare.wgsl. The generator appends what the algorithm adds:
// its constants, what its `prepare` works out, and what that keeps from step to step.
#ifndef GENERATED
struct Step {
    // 1 if the tensor takes this step, 0 if it is frozen, has no gradient, or the step is skipped
    enabled: u32,
    // the step number t, from 1
    step: u32,
    // the key of stochastic rounding
    seed_low: u32,
    seed_high: u32,
    // the gradient's factor: sign of maximize, loss scale, clipping
    grad_scale: f32,
    // the learning rate
    lr: f32,
    // coupled decay: g += weight_decay p; 0 where decay is decoupled
    weight_decay: f32,
    // decoupled decay: p *= 1 - decay (shared/decay.wgsl); 0 where decay is coupled
    decay: f32,
    // the same for a tensor whose update is projected (AdamP, SGDP)
    projected_decay: f32,
    // how decoupled decay is rounded, at least 0 and below 1
    dither: f32,
}
#endif
