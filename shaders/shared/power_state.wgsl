// Where the power iteration stands.
struct PowerState {
    // 0: running; 1: converged; 2: something is not finite
    stop: u32,
    iteration: u32,
    // the Rayleigh quotient of v, and ‖A v - value v‖
    value: f32,
    residual: f32,
    // by what the scaled product is to be multiplied to be of norm one
    scale: f32,
}
