// Where the Lanczos iteration stands.
struct LanczosState {
    // the rows of the basis that the next product is made orthogonal to; 0 when nothing is to be done.
    // First, because gemv.wgsl reads it there.
    active_rows: u32,
    // the steps taken
    step: u32,
    // 0: running; 1: breakdown; 2: something is not finite; 3: the basis is full; 4: the start is zero
    stop: u32,
    // an estimate of the operator's norm from the coefficients so far
    norm: f32,
    // what the next basis vector is to be multiplied by
    scale: f32,
}
