// Restriction of the residual, B = Pᵀ (b - A x), the adjoint of shared/prolongation.wgsl: a coarse cell gathers from its
// own cells what they do not leave to others, and a quarter from those beyond each face that it is connected through. The
// residual is 0 on black cells, which were relaxed last: they are not visited. A kernel says with `residual` what it is at a
// red cell.

#import shared/multigrid

// From a cell, which may not be there, to its own coarse cell, or to the one beyond the near face along an axis.
fn part(l: Level, p: vec3<u32>, axis: u32) -> f32 {
    let inside = is_within(l, p);
    // another where there is none: what is not there is not used
    let place = select(vec3(0u), p, inside);
    let code = code_of(l, index_of(l, place));
    var share = 1.0 - 0.25 * f32(countOneBits(code & (NEAR_X | NEAR_Y | NEAR_Z)));
    if axis != 0u {
        share = select(0.0, 0.25, (code & axis) != 0u);
    }
    if inside && (code & UNKNOWN) != 0u && share > 0.0 {
        return share * residual(l, place);
    }
    return 0.0;
}

fn restricted(l: Level, coarse: vec3<u32>) -> f32 {
    let p = 2u * coarse;
    var sum = part(l, p, 0u) + part(l, vec3(p.x + 1u, p.y + 1u, p.z), 0u);
    sum += part(l, vec3(p.x - 1u, p.y + 1u, p.z), NEAR_X) + part(l, vec3(p.x + 2u, p.y, p.z), NEAR_X);
    sum += part(l, vec3(p.x + 1u, p.y - 1u, p.z), NEAR_Y) + part(l, vec3(p.x, p.y + 2u, p.z), NEAR_Y);
    if l.nz > 1u {
        sum += part(l, vec3(p.x + 1u, p.y, p.z + 1u), 0u) + part(l, vec3(p.x, p.y + 1u, p.z + 1u), 0u);
        sum += part(l, vec3(p.x - 1u, p.y, p.z + 1u), NEAR_X) + part(l, vec3(p.x + 2u, p.y + 1u, p.z + 1u), NEAR_X);
        sum += part(l, vec3(p.x, p.y - 1u, p.z + 1u), NEAR_Y) + part(l, vec3(p.x + 1u, p.y + 2u, p.z + 1u), NEAR_Y);
        sum += part(l, vec3(p.x + 1u, p.y, p.z - 1u), NEAR_Z) + part(l, vec3(p.x, p.y + 1u, p.z - 1u), NEAR_Z);
        sum += part(l, vec3(p.x, p.y, p.z + 2u), NEAR_Z) + part(l, vec3(p.x + 1u, p.y + 1u, p.z + 2u), NEAR_Z);
    }
    return sum;
}
