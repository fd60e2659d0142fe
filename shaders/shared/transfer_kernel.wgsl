// What kernels of transfers between two levels bind: the levels, and the transfers (shared/transfers.wgsl) as weights or by codes.

struct TransferConstants {
    level: Level,
    coarse: Level,
    // coarse cells and others, and those of a block
    jobs: u32,
    block: u32,
    // where the residual, or e, begins
    at: u32,
    // where what is corrected begins
    x: u32,
}

@group(0) @binding(0) var<uniform> constants: TransferConstants;
#ifdef WEIGHTS
@group(0) @binding(4) var<storage, read> transfers: array<vec4<f32>>;
#else
@group(0) @binding(4) var<storage, read> codes: array<u32>;
#endif
#ifdef WEIGHTS

fn transfer_of(i: u32) -> vec4<f32> {
    return transfers[i];
}
#endif
