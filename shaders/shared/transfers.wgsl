// Between a level and the next coarser one. Of most unknowns i, a cell whose parent is a cell,
//
//     (P e)_i = p_x E_x + p_y E_y + p_z E_z + p E
//
// with E of the parent and of the coarse cells next to it, on the side that i is on. By flags p_a is 1 / max(d, 4) where the neighbour on that
// side is fluid, and p is 1 less that for each neighbour on those sides that is not solid: a code has their number from bit 9 on, in two
// bits. WEIGHTS: transfers has (p_x, p_y, p_z, p) of each unknown. Bit 11, or p < 0, says that a list does instead (LINKED), which restriction has by
// coarse unknowns. A fluid cell without a fluid neighbour takes no part.
//
// A job is a coarse cell with its children. Further jobs of restriction are further unknowns, those of prolongation unknowns that lists say P
// of. A kernel says with `load` what vectors hold.

#import shared/levels

#ifdef LINKED
@group(0) @binding(6) var<storage, read> links: array<u32>;
#endif

// Of unknown i, which is even or odd along each axis.
fn transfer(l: Level, i: u32, odd: vec3<u32>) -> vec4<f32> {
#ifdef WEIGHTS
    return transfer_of(l.transfers + i);
#else
    let code = (codes[i / 2u] >> (16u * (i % 2u))) & 0xffffu;
    let d = (code >> 6u) & 7u;
    let p = select(select(1.0 / 6.0, 0.2, d == 5u), 0.25, d <= 4u);
    let beyond = vec3(code) & ((vec3(16u, 4u, 1u) << odd) * halves_of(l));
    let near = select(vec3(0.0), vec3(p), beyond != vec3(0u));
    let regular = select(vec4(0.0), vec4(near, 1.0 - p * f32((code >> 9u) & 3u)), (code & 63u) != 0u);
    return select(regular, vec4(0.0, 0.0, 0.0, -1.0), (code & 0x800u) != 0u);
#endif
}

#ifdef LINKED
// Σ over a list of what vectors hold from `at` on. Not a `loop` with a `break` in its middle, of which SwiftShader makes something else.
fn listed(first: u32, at: u32) -> f32 {
    var sum = 0.0;
    var link = first;
    var last = false;
    while !last {
        let index = links[link];
        sum += bitcast<f32>(links[link + 1u]) * load(at + (index & 0x7fffffffu));
        last = (index >> 31u) != 0u;
        link += 2u;
    }
    return sum;
}
#endif

fn jobs_of(c: Level) -> u32 {
    return c.nx * c.ny * c.nz;
}

fn place_of(c: Level, job: u32) -> vec3<u32> {
    let row = job / c.nx;
    return vec3(job % c.nx, row % c.ny, row / c.ny);
}

// How many corners of a coarse cell may have children.
fn corners_of(l: Level) -> u32 {
    return select(4u, 8u, l.nz > 1u);
}
