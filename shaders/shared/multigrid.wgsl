// The levels of a multigrid hierarchy. A cell is red if the sum of its coordinates is even, black if it is odd.

struct Level {
    // the cells by axis, the fastest first
    nx: u32,
    ny: u32,
    nz: u32,
    // where its elements begin in what holds x and b, its codes and its weights
    x: u32,
    b: u32,
    codes: u32,
    weights: u32,
    // of each colour, before and after the coarser levels
    sweeps: u32,
}

// Of a kernel that goes from a level to the next or back.
struct TransferConstants {
    level: Level,
    coarse: Level,
}

// two cells a word, of 16 bits. Of the finest level, which neighbours are fluid, and d, as in shared/codes.wgsl. Of all
// levels, whether the coarse cell beyond the near face of its own is connected to that, from bit 9 on (x, y, z), in bit 12
// whether the cell is an unknown, in bit 13 whether it is red.
@group(0) @binding(2) var<storage, read> codes: array<u32>;

const NEAR_X: u32 = 0x200u;
const NEAR_Y: u32 = 0x400u;
const NEAR_Z: u32 = 0x800u;
const UNKNOWN: u32 = 0x1000u;

fn index_of(l: Level, p: vec3<u32>) -> u32 {
    return (p.z * l.ny + p.y) * l.nx + p.x;
}

// Whether there is such a cell; -1 is none as well. Without branches: it is inlined often.
fn is_within(l: Level, p: vec3<u32>) -> bool {
    return all(p < vec3(l.nx, l.ny, l.nz));
}

fn code_of(l: Level, i: u32) -> u32 {
    let at = l.codes + i;
    return (codes[at / 2u] >> (16u * (at % 2u))) & 0xffffu;
}
