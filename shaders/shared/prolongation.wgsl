// Prolongation of a coarse solution E: a cell takes that of its coarse cell, moved by a quarter of the way, along each
// axis, to that of the coarse cell beyond the near face, where the two are connected:
//
//     (P E)_i = E_I + ¼ Σ θ_a (E_Ja - E_I)
//
// What is outside has E = 0.

#import shared/multigrid

fn prolongated(l: Level, c: Level, p: vec3<u32>) -> f32 {
    let code = code_of(l, index_of(l, p));
    if (code & UNKNOWN) == 0u {
        return 0.0;
    }
    let own = p / 2u;
    let here = coarse_x(c, index_of(c, own));
    var sum = here;
    // beyond the face below for an even coordinate, else above; -1 is outside as well
    let near = own + 2u * (p % vec3(2u)) - vec3(1u);
    if (code & NEAR_X) != 0u {
        var there = 0.0;
        if near.x < c.nx {
            there = coarse_x(c, index_of(c, vec3(near.x, own.y, own.z)));
        }
        sum += 0.25 * (there - here);
    }
    if (code & NEAR_Y) != 0u {
        var there = 0.0;
        if near.y < c.ny {
            there = coarse_x(c, index_of(c, vec3(own.x, near.y, own.z)));
        }
        sum += 0.25 * (there - here);
    }
    if (code & NEAR_Z) != 0u {
        var there = 0.0;
        if near.z < c.nz {
            there = coarse_x(c, index_of(c, vec3(own.x, own.y, near.z)));
        }
        sum += 0.25 * (there - here);
    }
    return sum;
}
