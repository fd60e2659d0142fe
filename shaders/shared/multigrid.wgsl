// The levels of a multigrid hierarchy, and the row of A of a cell:
//
//     (A x)_i = d_i x_i - Σ w_ij x_j over the neighbours j of i
//
// The finest level (FINE) is the flagged Laplacian: w_ij is 1 between fluid cells, and d_i, the number of neighbours
// that are not solid, is in the code of the cell. Coarser levels have weights. d_i = 0 where there is no unknown.
//
// A cell is red if the sum of its coordinates is even, black if it is odd. A kernel says with `value` what the x_j of
// its sums are.

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

// two cells a word, of 16 bits. Of the finest level, which neighbours are fluid, and d, as in
// shared/stencil.wgsl. Of all levels, whether the coarse cell beyond the
// near face of its own is connected to that, from bit 9 on (x, y, z), in bit 12 whether the cell is an unknown, in bit 13
// whether it is red.
@group(0) @binding(2) var<storage, read> codes: array<u32>;
#ifndef FINE
// for the cell of the same coordinates, the weights between it and the one below along x, y and z, and d. There is one
// more along each axis than there are cells.
@group(0) @binding(3) var<storage, read> weights: array<vec4<f32>>;
#endif

const NEAR_X: u32 = 0x200u;
const NEAR_Y: u32 = 0x400u;
const NEAR_Z: u32 = 0x800u;
const UNKNOWN: u32 = 0x1000u;

fn index_of(l: Level, p: vec3<u32>) -> u32 {
    return (p.z * l.ny + p.y) * l.nx + p.x;
}

fn code_of(l: Level, i: u32) -> u32 {
    let at = l.codes + i;
    return (codes[at / 2u] >> (16u * (at % 2u))) & 0xffffu;
}

#ifndef FINE
fn weights_of(l: Level, p: vec3<u32>) -> vec4<f32> {
    return weights[l.weights + (p.z * (l.ny + 1u) + p.y) * (l.nx + 1u) + p.x];
}
#endif

fn diagonal(l: Level, p: vec3<u32>) -> f32 {
#ifdef FINE
    return f32((code_of(l, index_of(l, p)) >> 6u) & 7u);
#else
    return weights_of(l, p).w;
#endif
}

// Σ w_ij x_j.
fn around(l: Level, p: vec3<u32>) -> f32 {
    var sum = 0.0;
#ifdef FINE
    let code = code_of(l, index_of(l, p));
    if (code & 16u) != 0u {
        sum += value(l, vec3(p.x - 1u, p.y, p.z));
    }
    if (code & 32u) != 0u {
        sum += value(l, vec3(p.x + 1u, p.y, p.z));
    }
    if (code & 4u) != 0u {
        sum += value(l, vec3(p.x, p.y - 1u, p.z));
    }
    if (code & 8u) != 0u {
        sum += value(l, vec3(p.x, p.y + 1u, p.z));
    }
    if l.nz > 1u {
        if (code & 1u) != 0u {
            sum += value(l, vec3(p.x, p.y, p.z - 1u));
        }
        if (code & 2u) != 0u {
            sum += value(l, vec3(p.x, p.y, p.z + 1u));
        }
    }
#else
    let low = weights_of(l, p);
    if p.x > 0u && low.x > 0.0 {
        sum += low.x * value(l, vec3(p.x - 1u, p.y, p.z));
    }
    if p.x + 1u < l.nx {
        let high = vec3(p.x + 1u, p.y, p.z);
        let w = weights_of(l, high).x;
        if w > 0.0 {
            sum += w * value(l, high);
        }
    }
    if p.y > 0u && low.y > 0.0 {
        sum += low.y * value(l, vec3(p.x, p.y - 1u, p.z));
    }
    if p.y + 1u < l.ny {
        let high = vec3(p.x, p.y + 1u, p.z);
        let w = weights_of(l, high).y;
        if w > 0.0 {
            sum += w * value(l, high);
        }
    }
    if l.nz > 1u {
        if p.z > 0u && low.z > 0.0 {
            sum += low.z * value(l, vec3(p.x, p.y, p.z - 1u));
        }
        if p.z + 1u < l.nz {
            let high = vec3(p.x, p.y, p.z + 1u);
            let w = weights_of(l, high).z;
            if w > 0.0 {
                sum += w * value(l, high);
            }
        }
    }
#endif
    return sum;
}
