// Restriction of the residual, B = Pᵀ (b - A x), the adjoint of shared/prolongation.wgsl: a coarse cell gathers from its
// own cells, with what they leave to it, and a quarter from those beyond each face that it is connected through. The
// residual is 0 on black cells, which were relaxed last: they are not visited.

#import shared/multigrid

// The residual of a red cell that is an unknown.
fn residual(l: Level, p: vec3<u32>) -> f32 {
    return b[l.b + index_of(l, p)] - diagonal(l, p) * x[l.x + index_of(l, p)] + around(l, p);
}

fn from_own(l: Level, p: vec3<u32>) -> f32 {
    if p.x >= l.nx || p.y >= l.ny || p.z >= l.nz {
        return 0.0;
    }
    let code = code_of(l, index_of(l, p));
    if (code & UNKNOWN) == 0u {
        return 0.0;
    }
    return (1.0 - 0.25 * f32(countOneBits(code & (NEAR_X | NEAR_Y | NEAR_Z)))) * residual(l, p);
}

// p may be outside, -1 included.
fn from_near(l: Level, p: vec3<u32>, axis: u32) -> f32 {
    if p.x >= l.nx || p.y >= l.ny || p.z >= l.nz {
        return 0.0;
    }
    if (code_of(l, index_of(l, p)) & (UNKNOWN | axis)) != (UNKNOWN | axis) {
        return 0.0;
    }
    return 0.25 * residual(l, p);
}

fn restricted(l: Level, coarse: vec3<u32>) -> f32 {
    let p = 2u * coarse;
    var sum = from_own(l, p) + from_own(l, vec3(p.x + 1u, p.y + 1u, p.z));
    sum += from_near(l, vec3(p.x - 1u, p.y + 1u, p.z), NEAR_X) + from_near(l, vec3(p.x + 2u, p.y, p.z), NEAR_X);
    sum += from_near(l, vec3(p.x + 1u, p.y - 1u, p.z), NEAR_Y) + from_near(l, vec3(p.x, p.y + 2u, p.z), NEAR_Y);
    if l.nz > 1u {
        sum += from_own(l, vec3(p.x + 1u, p.y, p.z + 1u)) + from_own(l, vec3(p.x, p.y + 1u, p.z + 1u));
        sum += from_near(l, vec3(p.x - 1u, p.y, p.z + 1u), NEAR_X) + from_near(l, vec3(p.x + 2u, p.y + 1u, p.z + 1u), NEAR_X);
        sum += from_near(l, vec3(p.x, p.y - 1u, p.z + 1u), NEAR_Y) + from_near(l, vec3(p.x + 1u, p.y + 2u, p.z + 1u), NEAR_Y);
        sum += from_near(l, vec3(p.x + 1u, p.y, p.z - 1u), NEAR_Z) + from_near(l, vec3(p.x, p.y + 1u, p.z - 1u), NEAR_Z);
        sum += from_near(l, vec3(p.x, p.y, p.z + 2u), NEAR_Z) + from_near(l, vec3(p.x + 1u, p.y + 1u, p.z + 2u), NEAR_Z);
    }
    return sum;
}
