// Between levels of a learned multigrid. A cell's value is p_0 times that of the coarse cell that it is in, plus p_k times those
// of the cells on its side that are further away along k axes. Along an axis of one cell that is the same cell again: fold is
// 1 there, and 0 along others.

struct InterpolationConstants {
    fine: Lattice,
    coarse: Lattice,
    transfer: vec4<f32>,
    // by axis, the fastest first; and what a correction is multiplied by
    fold: vec4<f32>,
}
