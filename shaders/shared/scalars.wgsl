// What one tensor's elements need of this step, written by optim/bias_correction.wgsl.
struct Scalars {
    // 1 if the tensor takes this step, 0 if it is frozen, has no gradient, or the step is skipped
    enabled: u32,
    // the step number t, from 1
    step: u32,
    // the gradient's factor: sign of maximize, loss scale, clipping
    grad_scale: f32,
    // coupled decay: g += weight_decay p; 0 where decay is decoupled
    weight_decay: f32,
    // decoupled decay: p *= 1 - decay (shared/decay.wgsl); 0 where decay is coupled
    decay: f32,
    // the same for a tensor whose update is projected (AdamP, SGDP)
    projected_decay: f32,
    // the learning rate, bias corrections included
    step_size: f32,
    // 1 / sqrt(1 - beta2^t)
    root_scale: f32,
    // SGD: the gradient's share in the momentum buffer
    blend: f32,
    // how decoupled decay is rounded, at least 0 and below 1
    dither: f32,
}
