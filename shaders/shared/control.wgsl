// What the host may change of a tensor between steps.
struct Control {
    // the number of its group
    group: u32,
    enabled: u32,
    // a factor of its learning rate, decoupled decay included
    lr_factor: f32,
}

// What optim/global_norm.wgsl finds in the gradients of a step.
struct GradientStatus {
    // the factor that the caller's loss is to be multiplied by
    loss_scale: f32,
    // the factor of every gradient: 1 / loss scale, times the clip factor
    factor: f32,
    // 1 if this step is skipped
    skip: u32,
    // the global norm of the unscaled gradients
    norm: f32,
    // how many steps were skipped so far
    skipped: u32,
    // finite steps since the scale last changed
    growth_tracker: u32,
}
