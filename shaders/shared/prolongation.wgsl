// Prolongation of a coarse solution E: a cell takes that of its coarse cell, moved by a quarter of the way, along each
// axis, to that of the coarse cell beyond the near face, where the two are connected:
//
//     (P E)_i = E_I + ¼ Σ θ_a (E_Ja - E_I)
//
// What is outside has E = 0.

#import shared/multigrid

// E of a coarse cell that may not be there.
fn there(c: Level, p: vec3<u32>) -> f32 {
    let inside = is_within(c, p);
    return select(0.0, coarse_x(c, index_of(c, select(vec3(0u), p, inside))), inside);
}

fn prolongated(l: Level, c: Level, p: vec3<u32>) -> f32 {
    let code = code_of(l, index_of(l, p));
    let own = p / 2u;
    let here = coarse_x(c, index_of(c, own));
    // beyond the face below for an even coordinate, else above; -1 is outside as well
    let near = own + 2u * (p % vec3(2u)) - vec3(1u);
    var moved = select(0.0, there(c, vec3(near.x, own.y, own.z)) - here, (code & NEAR_X) != 0u);
    moved += select(0.0, there(c, vec3(own.x, near.y, own.z)) - here, (code & NEAR_Y) != 0u);
    if l.nz > 1u {
        moved += select(0.0, there(c, vec3(own.x, own.y, near.z)) - here, (code & NEAR_Z) != 0u);
    }
    return select(0.0, here + 0.25 * moved, (code & UNKNOWN) != 0u);
}
